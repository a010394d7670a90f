"""Authentication with API keys. The service stores only their SHA-256 digests.

A generated key has 256 random bits, so a plain hash is safe; a password would need a slow one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..environment import COMMAND
from ..wire.paths import DOCUMENT_PATHS, PUBLIC_PATHS
from ..wire.problems import ProblemResponse, Unauthorized
from ..wire.scope import KEY_ID, get_header
from .rates import WrongKeyLimiter

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


def add_line(file: Path, line: str) -> None:
    """Add a key's line to a file, which is created if it does not exist.

    Raises:
        InvalidKeys: the file has a key of this id, or is not a file of keys.
        OSError: the file can't be read or written.
    """
    key_id = line.partition(" ")[0]
    lines = _read_lines(file) if file.exists() else []
    if any(key.id == key_id for key in _parse_lines(lines)):
        msg = f"{file} already has a key {key_id!r}; revoke it first, or choose another id"
        raise InvalidKeys(msg)
    _replace(file, [*lines, line])


def remove_key(file: Path, key_id: str) -> None:
    """Remove a key from a file.

    Raises:
        InvalidKeys: the file has no such key, or no other.
        OSError: the file can't be read or written.
    """
    lines = _read_lines(file)
    ids = [key.id for key in _parse_lines(lines)]
    if key_id not in ids:
        msg = f"{file} has no key {key_id!r}; it has {', '.join(ids) or 'none'}"
        raise InvalidKeys(msg)
    if len(ids) == 1:
        msg = f"{key_id!r} is the last key in {file}, and a service needs at least one; add another one first"
        raise InvalidKeys(msg)
    _replace(file, [line for line in lines if not _has_id(line, key_id)])


def _has_id(line: str, key_id: str) -> bool:
    key = _parse_entry(_strip_comment(line))
    return key is not None and key.id == key_id


def _replace(file: Path, lines: Sequence[str]) -> None:
    """Write a file at once, so that a service never reads half of it; its owner alone may read a new one."""
    file = file.resolve()
    draft = file.with_name(f".{file.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.writelines(f"{line}\n" for line in lines)
    if file.exists():
        shutil.copymode(file, draft)
    draft.replace(file)


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
        keys += read_file(file)
    for key_id, count in Counter(key.id for key in keys).items():
        if count > 1:
            msg = f"the id {key_id!r} occurs more than once"
            raise InvalidKeys(msg)
    return tuple(keys)


def read_file(file: Path) -> list[Key]:
    """Return the keys in a file.

    Raises:
        InvalidKeys: a line is invalid, or there are no keys.
        OSError: the file can't be read.
    """
    keys = _parse_lines(_read_lines(file))
    if not keys:
        msg = f"the file has no keys; `{COMMAND} keys new ID` creates one"
        raise InvalidKeys(msg)
    return keys


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8-sig").splitlines()  # editors on Windows add a byte order mark
    except UnicodeDecodeError:
        msg = "the file is not a text file"
        raise InvalidKeys(msg) from None


def _parse_lines(lines: Sequence[str]) -> list[Key]:
    entries = ((number, _strip_comment(line)) for number, line in enumerate(lines, 1))
    return [_parse_line(entry, number) for number, entry in entries if entry]


def _strip_comment(line: str) -> str:
    return line.partition("#")[0].strip()


def _parse_line(entry: str, number: int) -> Key:
    key = _parse_entry(entry)
    if key is None:
        fault = f"line {number} does not consist of an id and a SHA-256 digest"
        msg = f"{fault}; `{COMMAND} keys new ID` creates one"
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
    if scheme.lower() == b"bearer":
        key = token
    else:  # Basic authentication may also be meant for a proxy
        key = get_header(scope, b"x-api-key") or _get_password(scheme, token)
    return key.decode("latin-1").strip()


def _get_password(scheme: bytes, credentials: bytes) -> bytes:
    """Return the password of Basic authentication, or b"": some clients can send nothing else."""
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1")).digest()  # the encoding of HTTP headers
