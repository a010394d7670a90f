"""The variables that begin with `DIGITS_`: which are settings, which are somebody else's, which are mistakes.

A variable that nobody reads is the worst kind of mistake: `DIGITS_API_KEY=…`, without its S, would leave open
a service that its operator believes locked.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final

ENV_PREFIX: Final = "DIGITS_"
FOREIGN_VARIABLES: Final[Mapping[str, str]] = {  # variables of the same prefix that something else reads
    "DIGITS_FONTS": "python -m training",
    "DIGITS_KEY": "python -m app.client",
    "DIGITS_MNIST": "python -m training",
    "DIGITS_NOTEBOOK_SHORT": "the notebook",
    "DIGITS_NO_SKIPS": "the tests",
    "DIGITS_PUBLISH": "docker-compose.yml",
    "DIGITS_REAL": "python -m training",
    "DIGITS_REQUIREMENTS": "docker-compose.yml",
    "DIGITS_RESILIENCE": "the tests",
    "DIGITS_URL": "the clients of docs/integrate.md",
}
MIN_SIMILARITY: Final = 0.5  # by difflib: APIKEY still finds API_KEYS, and FOO finds nothing
MIN_KEY: Final = 8  # characters: with 100 wrong keys a minute, random letters and digits last for ever
MAX_SHOWN: Final = 200  # characters of a value that a message repeats
QUOTES: Final = "\"'“”‘’"
# settings with commas in between
LIST_SETTINGS: Final = frozenset({"api_keys", "trusted_proxies", "cors_origins"})
_PORT: Final = r"PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
_LINK: Final = rf"_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|{_PORT})"
_LINK_TO: Final = re.compile(r"(?:tcp|udp|sctp)://\S+")


def split_list(value: str) -> tuple[str, ...]:
    """Return the entries of a list, as settings have them."""
    return tuple(entry.strip() for entry in value.split(",") if entry.strip())


def find_unknown(environment: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """Say of each variable that nobody reads, or that is there twice, what was probably meant.

    Args:
        environment: variables and their values, which are never repeated.
        settings: the names of the variables that are settings.
    """
    ours = [name for name in environment if name.upper().startswith(ENV_PREFIX)]
    known = {*settings, *FOREIGN_VARIABLES}
    links = find_service_links(environment)
    unknown = [name for name in ours if name.upper() not in known and name not in links]
    return [_suggest(name, settings) for name in sorted(unknown)] + list(_find_doubles(ours, settings))


def _suggest(name: str, settings: Collection[str]) -> str:
    endings = sorted((setting.removeprefix(ENV_PREFIX) for setting in settings), key=len)
    ending = name.upper().removeprefix(ENV_PREFIX)
    similar = [longer for longer in endings if {*ending.split("_")} <= {*longer.split("_")}]
    similar += difflib.get_close_matches(ending, endings, n=1, cutoff=MIN_SIMILARITY)
    hint = f"did you mean {ENV_PREFIX}{similar[0]}?" if similar else "docs/deploy.md lists all settings."
    return f"There is no {format_value(name)}; {hint}"


def _find_doubles(names: Collection[str], settings: Collection[str]) -> Iterator[str]:
    spelled: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        spelled[name.upper()].append(name)
    for name, spellings in spelled.items():
        if name in settings and len(spellings) > 1:
            yield f"{' and '.join(sorted(spellings))} are the same setting; keep one of them."


def find_service_links(environment: Mapping[str, str]) -> set[str]:
    """Return the variables that Kubernetes sets for Services such as `digits` or `digits-canary`.

    They count only where all that belongs to one is there, so that a setting with a typing error is not
    taken for one of them. https://kubernetes.io/docs/concepts/services-networking/service/
    """
    services = [
        name.removesuffix("_SERVICE_HOST")
        for name, value in environment.items()
        if name.startswith(ENV_PREFIX) and name.endswith("_SERVICE_HOST") and _is_address(value)
    ]
    return {
        name
        for service in services
        if environment.get(f"{service}_SERVICE_PORT", "").isdecimal()
        for name, value in environment.items()
        if re.fullmatch(re.escape(service) + _LINK, name)
        or (name == f"{service}_PORT" and _LINK_TO.fullmatch(value))
    }


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def find_foreign_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are not the service's, each with who reads or sets it."""
    links = dict.fromkeys(sorted(find_service_links(environment)), "Kubernetes, for a Service of that name")
    return links | {name: reader for name, reader in FOREIGN_VARIABLES.items() if name in environment}


def find_fault(name: str, value: str) -> str | None:
    """Return what is wrong with the text of a setting, whatever its type; None where nothing is."""
    entries = split_list(value) if name in LIST_SETTINGS else (value.strip(),)
    if not value.strip():
        return "it is set, but only to blanks; unset it, or give it a value"
    if not entries:
        return "the list has no entry; unset it, or name one"
    if any(entry[0] in QUOTES or entry[-1] in QUOTES for entry in entries):
        return "the quotes are part of the value, as in a file for docker's --env-file; leave them out"
    return _find_short_key(entries) if name == "api_keys" else None


def _find_short_key(entries: Collection[str]) -> str | None:
    for number, entry in enumerate(entries, 1):
        if len(entry) < MIN_KEY:
            return (
                f"key {number} has fewer than {MIN_KEY} characters, so it could be guessed; "
                "make one with `python -m app keys new ID`"
            )
    return None


def format_value(value: object) -> str:
    """Return a value as one line shows it."""
    text = str(value)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}…"
    return text if text.isprintable() else ascii(text)
