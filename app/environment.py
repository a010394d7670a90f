"""Validation of the environment variables that begin with `DIGITS_`.

A variable that nothing reads is an error. Otherwise a typo such as `DIGITS_API_KEY=…`, without the S, would
leave a service open that its operator believes to be protected.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from typing import Final

ENV_PREFIX: Final = "DIGITS_"
IS_INSTALLED: Final = __package__ == "digits"  # in the repository, the package is `app`
COMMAND: Final = "digits" if IS_INSTALLED else "python -m app"  # that people type
# variables with our prefix that the service does not read, and what reads them
FOREIGN_VARIABLES: Final[Mapping[str, str]] = {
    "DIGITS_DRAWINGS": "python -m training",
    "DIGITS_FONTS": "python -m training",
    "DIGITS_KEY": "the client",
    "DIGITS_MNIST": "python -m training",
    "DIGITS_NOTEBOOK_SHORT": "the notebook",
    "DIGITS_NO_SKIPS": "the tests",
    "DIGITS_PUBLISH": "docker-compose.yml",
    "DIGITS_REAL": "python -m training",
    "DIGITS_REQUIREMENTS": "docker-compose.yml",
    "DIGITS_RESILIENCE": "the tests",
    "DIGITS_STROKES": "python -m training",
    "DIGITS_URL": "the clients of docs/integrate.md",
}
MIN_SIMILARITY: Final = 0.5  # for difflib: APIKEY matches API_KEYS, and FOO matches nothing
MIN_KEY_LENGTH: Final = 8  # at 100 guesses a minute, 8 random letters and digits take millions of years
MAX_VALUE_LENGTH: Final = 200  # characters of a value that a message quotes
QUOTES: Final = "\"'“”‘’"
LIST_SETTINGS: Final = frozenset({"api_keys", "trusted_proxies", "cors_origins"})
_PORT: Final = r"PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
_LINK: Final = rf"_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|{_PORT})"
_LINK_URL: Final = re.compile(r"(?:tcp|udp|sctp)://\S+")


def is_installed(module: str) -> bool:
    """Tell whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def split_list(value: str) -> tuple[str, ...]:
    """Split a comma-separated list, and drop empty entries."""
    return tuple(entry.strip() for entry in value.split(",") if entry.strip())


def find_unknown(environment: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """Return a message for each variable that nothing reads, and for each setting that is set twice.

    Args:
        environment: variables and their values. Messages never quote a value.
        settings: names of the variables that are settings.
    """
    names = [name for name in environment if name.upper().startswith(ENV_PREFIX)]
    known = {*settings, *FOREIGN_VARIABLES}
    links = find_service_links(environment)
    unknown = sorted(name for name in names if name.upper() not in known and name not in links)
    return [_suggest(name, settings) for name in unknown] + list(_find_duplicates(names, settings))


def _suggest(name: str, settings: Collection[str]) -> str:
    endings = sorted((setting.removeprefix(ENV_PREFIX) for setting in settings), key=len)
    ending = name.upper().removeprefix(ENV_PREFIX)
    similar = [setting for setting in endings if {*ending.split("_")} <= {*setting.split("_")}]
    similar += difflib.get_close_matches(ending, endings, n=1, cutoff=MIN_SIMILARITY)
    hint = f"did you mean {ENV_PREFIX}{similar[0]}?" if similar else "docs/deploy.md lists all settings."
    return f"There is no {format_value(name)}; {hint}"


def _find_duplicates(names: Collection[str], settings: Collection[str]) -> Iterator[str]:
    spellings_by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings_by_name[name.upper()].append(name)
    for name, spellings in spellings_by_name.items():
        if name in settings and len(spellings) > 1:
            yield f"{' and '.join(sorted(spellings))} are the same setting; keep one of them."


def find_service_links(environment: Mapping[str, str]) -> set[str]:
    """Return the variables that Kubernetes sets for Services such as `digits` or `digits-canary`.

    A Service counts only if both its host and its port are set and valid. Otherwise a misspelled setting
    could pass for such a variable. https://kubernetes.io/docs/concepts/services-networking/service/
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
        or (name == f"{service}_PORT" and _LINK_URL.fullmatch(value))
    }


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def find_foreign_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are not settings, and what reads or sets each of them."""
    links = dict.fromkeys(sorted(find_service_links(environment)), "Kubernetes, for a Service of that name")
    return links | {name: reader for name, reader in FOREIGN_VARIABLES.items() if name in environment}


def find_fault(name: str, value: str) -> str | None:
    """Return what is wrong with the text of a setting, regardless of its type, or None."""
    entries = split_list(value) if name in LIST_SETTINGS else (value.strip(),)
    if not value.strip():
        return "the value is blank; unset it, or set a value"
    if not entries:
        return "the list has no entries; unset it, or add one"
    if any(entry[0] in QUOTES or entry[-1] in QUOTES for entry in entries):
        return "the quotes are part of the value, as in a file for docker's --env-file; leave them out"
    return _find_short_key(entries) if name == "api_keys" else None


def _find_short_key(entries: Collection[str]) -> str | None:
    for number, entry in enumerate(entries, 1):
        if len(entry) < MIN_KEY_LENGTH:
            return (
                f"key {number} has fewer than {MIN_KEY_LENGTH} characters, so it could be guessed; "
                f"create one with `{COMMAND} keys new ID`"
            )
    return None


def format_value(value: object) -> str:
    """Return a value as printable text on a single line, truncated if it is long."""
    text = str(value)
    if len(text) > MAX_VALUE_LENGTH:
        text = f"{text[:MAX_VALUE_LENGTH]}…"
    return text if text.isprintable() else ascii(text)
