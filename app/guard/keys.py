"""Who may come in: API keys, of which the service knows digests alone.

A key is 32 random bytes, so a plain SHA-256 of it can't be searched for; passwords would need more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from app.guard.rates import WrongKeyLimiter
from app.wire.paths import DOCUMENT_PATHS, PUBLIC_PATHS
from app.wire.problems import ProblemResponse, Unauthorized
from app.wire.scope import KEY_ID, get_header

KEY_PREFIX: Final = "dig_"  # so that scanners find keys that were published by mistake
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENTRY: Final = re.compile(rf"(?P<id>{_ID.pattern})[:\s]\s*(?P<digest>[0-9A-Fa-f]{{64}})")
_LIKE_ENTRY: Final = re.compile(rf"{_ID.pattern}(?::.*|\s+[0-9A-Fa-f]+)")  # what no plain key looks like


class BadKeys(ValueError):
    """The list of keys is wrong; the text says where, and never repeats a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the service knows of a key."""

    id: str
    digest: bytes  # SHA-256


def create_key(identity: str) -> tuple[str, str]:
    """Make a new key; return it and the line for `DIGITS_API_KEYS_FILE`.

    Raises:
        BadKeys: the id has other characters, or too many.
    """
    if not _ID.fullmatch(identity):
        msg = f"{identity!r} is not an id; use 1 to 64 letters, digits, dots, dashes and underscores"
        raise BadKeys(msg)
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, f"{identity} {_hash_key(key).hex()}"


class Keyring:
    """The keys that let in: of a setting and of a file together."""

    def __init__(self, plain: Sequence[str], file: Path | None) -> None:
        """Read them.

        Args:
            plain: keys themselves, or entries as a file has them.
            file: an id and a digest on each line; what follows a # is skipped.

        Raises:
            BadKeys: an entry is wrong, or the file has none.
            OSError: the file can't be read.
        """
        self._plain = plain
        self._file = file
        self.keys = _read(plain, file)

    def reload(self) -> tuple[list[str], list[str]]:
        """Read them again; return the ids of the keys that are new, and of those that are gone.

        A key that was replaced under its old id is both.

        Raises:
            BadKeys, OSError: as at first; the old ones are kept.
        """
        old_keys, new_keys = self.keys, _read(self._plain, self._file)
        self.keys = new_keys
        added, removed = ({*new_keys} - {*old_keys}), ({*old_keys} - {*new_keys})
        return sorted(key.id for key in added), sorted(key.id for key in removed)

    def find(self, text: str) -> Key | None:
        """Compare with every key, in the same time whichever it is, or none."""
        digest = _hash_key(text)
        match = None
        for key in self.keys:
            if hmac.compare_digest(digest, key.digest):
                match = key
        return match


def _read(plain: Sequence[str], file: Path | None) -> tuple[Key, ...]:
    keys = [_read_setting(text, number) for number, text in enumerate(plain, 1)]
    if file is not None:
        keys += _read_file(file)
    if len({key.id for key in keys}) < len(keys):
        msg = "an id occurs twice"
        raise BadKeys(msg)
    return tuple(keys)


def _read_file(file: Path) -> list[Key]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()  # editors on Windows begin a file with a mark
    except UnicodeDecodeError:
        msg = "it is not a text file"
        raise BadKeys(msg) from None
    entries = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    keys = [_read_line(entry, number) for number, entry in entries if entry]
    if not keys:
        msg = "it has no key; `python -m app keys new ID` makes one"
        raise BadKeys(msg)
    return keys


def _read_line(entry: str, number: int) -> Key:
    key = _read_entry(entry)
    if key is None:
        msg = f"line {number} is not an id and a SHA-256; `python -m app keys new ID` makes one"
        raise BadKeys(msg)
    return key


def _read_setting(text: str, number: int) -> Key:
    """Read an entry, or else a key itself, which is named by the beginning of its digest."""
    entry = _read_entry(text)
    if entry:
        return entry
    if _LIKE_ENTRY.fullmatch(text):
        msg = f"key {number} looks like ID:DIGEST, but a SHA-256 has 64 hexadecimal digits"
        raise BadKeys(msg)
    if not (text.isascii() and text.isprintable()):
        msg = f"key {number} has characters beyond printable ASCII, which headers don't carry unchanged"
        raise BadKeys(msg)
    digest = _hash_key(text)
    return Key(f"key-{digest.hex()[:8]}", digest)


def _read_entry(text: str) -> Key | None:
    match = _ENTRY.fullmatch(text)
    return Key(match["id"], bytes.fromhex(match["digest"])) if match else None


class KeyGuard:
    """Let in who shows a key; health, the page, and if wanted the documents, are for all.

    A wrong key takes a token of its address. A right one never needs any: whoever shares an address with
    a stranger, as all clients of a proxy that is not trusted do, can't be locked out by that stranger.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, *, public_docs: bool, wrong: WrongKeyLimiter) -> None:
        self._app = app
        self._keyring = keyring
        self._public = PUBLIC_PATHS | DOCUMENT_PATHS if public_docs else PUBLIC_PATHS
        self._wrong = wrong

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        presented_key = _get_presented_key(scope)
        key = self._keyring.find(presented_key) if presented_key else None
        if key is None:
            rate_limited = self._wrong.count(scope) if presented_key else None
            refusal = rate_limited or ProblemResponse(Unauthorized(has_key=bool(presented_key)))
            await refusal(scope, receive, send)
            return
        scope[KEY_ID] = key.id
        await self._app(scope, receive, send)


def _get_presented_key(scope: Scope) -> str:
    scheme, _, token = get_header(scope, b"authorization").partition(b" ")
    shown = token if scheme.lower() == b"bearer" else get_header(scope, b"x-api-key")
    return shown.decode("latin-1").strip()


def _hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1")).digest()  # as headers are decoded
