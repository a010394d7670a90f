"""Authentication with API keys. The service stores only their SHA-256 digests.

A generated key has 256 random bits, so a plain hash is safe; a password would need a slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from app.guard.rates import WrongKeyLimiter
from app.wire.paths import DOCUMENT_PATHS, PUBLIC_PATHS
from app.wire.problems import ProblemResponse, Unauthorized
from app.wire.scope import KEY_ID, get_header

KEY_PREFIX: Final = "dig_"  # lets secret scanners find keys that were published by mistake
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENTRY: Final = re.compile(rf"(?P<id>{_ID.pattern})[:\s]\s*(?P<digest>[0-9A-Fa-f]{{64}})")
_NEAR_ENTRY: Final = re.compile(rf"{_ID.pattern}(?::.*|\s+[0-9A-Fa-f]+)")  # probably a mistyped entry


class InvalidKeys(ValueError):
    """The list of keys is invalid. The message says where, and never contains a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, as the service stores it."""

    id: str
    digest: bytes  # SHA-256


def create_key(key_id: str) -> tuple[str, str]:
    """Generate a key. Return it, and its line for `DIGITS_API_KEYS_FILE`.

    Raises:
        InvalidKeys: the id is too long, or has characters that are not allowed.
    """
    if not _ID.fullmatch(key_id):
        msg = f"{key_id!r} is not a valid id; use 1 to 64 letters, digits, dots, dashes and underscores"
        raise InvalidKeys(msg)
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, f"{key_id} {_hash_key(key).hex()}"


class Keyring:
    """The valid keys, from a setting and a file."""

    def __init__(self, entries: Sequence[str], file: Path | None) -> None:
        """Read the keys.

        Args:
            entries: plain keys, or entries in the format of the file.
            file: a text file with an id and a digest on each line; a # starts a comment.

        Raises:
            InvalidKeys: an entry is invalid, or the file has no keys.
            OSError: the file can't be read.
        """
        self._entries = entries
        self._file = file
        self.keys = _read_keys(entries, file)

    def reload(self) -> tuple[list[str], list[str]]:
        """Read the keys again. Return the ids that were added, and those that were removed.

        An id with a new digest is in both lists.

        Raises:
            InvalidKeys, OSError: the keys can't be read; the old ones stay valid.
        """
        old_keys, new_keys = self.keys, _read_keys(self._entries, self._file)
        self.keys = new_keys
        added, removed = {*new_keys} - {*old_keys}, {*old_keys} - {*new_keys}
        return sorted(key.id for key in added), sorted(key.id for key in removed)

    def find(self, key: str) -> Key | None:
        """Return the entry of a key, if it is valid. Takes constant time, whether it is or not."""
        digest = _hash_key(key)
        match = None
        for known_key in self.keys:
            if hmac.compare_digest(digest, known_key.digest):
                match = known_key
        return match


def _read_keys(entries: Sequence[str], file: Path | None) -> tuple[Key, ...]:
    keys = [_parse_setting(text, number) for number, text in enumerate(entries, 1)]
    if file is not None:
        keys += _read_file(file)
    for key_id, count in Counter(key.id for key in keys).items():
        if count > 1:
            msg = f"the id {key_id!r} occurs more than once"
            raise InvalidKeys(msg)
    return tuple(keys)


def _read_file(file: Path) -> list[Key]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()  # editors on Windows add a byte order mark
    except UnicodeDecodeError:
        msg = "the file is not a text file"
        raise InvalidKeys(msg) from None
    entries = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    keys = [_parse_line(entry, number) for number, entry in entries if entry]
    if not keys:
        msg = "the file has no keys; `python -m app keys new ID` creates one"
        raise InvalidKeys(msg)
    return keys


def _parse_line(entry: str, number: int) -> Key:
    key = _parse_entry(entry)
    if key is None:
        fault = f"line {number} does not consist of an id and a SHA-256 digest"
        msg = f"{fault}; `python -m app keys new ID` creates one"
        raise InvalidKeys(msg)
    return key


def _parse_setting(text: str, number: int) -> Key:
    """Parse an entry or a plain key, whose id is the beginning of its digest."""
    entry = _parse_entry(text)
    if entry:
        return entry
    if _NEAR_ENTRY.fullmatch(text):
        msg = f"key {number} looks like ID:DIGEST, but a SHA-256 has 64 hexadecimal digits"
        raise InvalidKeys(msg)
    if not (text.isascii() and text.isprintable()):
        msg = f"key {number} has characters other than printable ASCII, which HTTP headers can't carry"
        raise InvalidKeys(msg)
    digest = _hash_key(text)
    return Key(f"key-{digest.hex()[:8]}", digest)


def _parse_entry(text: str) -> Key | None:
    match = _ENTRY.fullmatch(text)
    return Key(match["id"], bytes.fromhex(match["digest"])) if match else None


class KeyGuard:
    """Refuse requests without a valid key, except to public paths.

    Each wrong key counts against the rate limit of the address that it comes from. A valid key is accepted
    even if that limit is reached, so clients behind a shared address can't lock each other out.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, *, public_docs: bool, wrong_keys: WrongKeyLimiter
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._public_paths = PUBLIC_PATHS | DOCUMENT_PATHS if public_docs else PUBLIC_PATHS
        self._wrong_keys = wrong_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in self._public_paths:
            await self._app(scope, receive, send)
            return
        presented_key = _get_presented_key(scope)
        key = self._keyring.find(presented_key) if presented_key else None
        if key is None:
            # a response if the limit is reached, else None
            rate_limit_refusal = self._wrong_keys.count(scope) if presented_key else None
            refusal = rate_limit_refusal or ProblemResponse(Unauthorized(has_key=bool(presented_key)))
            await refusal(scope, receive, send)
            return
        scope[KEY_ID] = key.id
        await self._app(scope, receive, send)


def _get_presented_key(scope: Scope) -> str:
    scheme, _, token = get_header(scope, b"authorization").partition(b" ")
    key = token if scheme.lower() == b"bearer" else get_header(scope, b"x-api-key")
    return key.decode("latin-1").strip()


def _hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1")).digest()  # the encoding of HTTP headers
