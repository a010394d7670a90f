"""Pictures as base64 text, bare or as a `data:` URL.

Clients write base64 in several ways, and all of them are accepted: with or without padding, in lines, in the
standard or the URL-safe alphabet. Every step is a single pass in C, because the text may be megabytes long;
long steps go block by block, so that other threads are not kept waiting.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, NoReturn

from ..wire.problems import MalformedRequest

_REMEDY: Final = "Send the file's bytes in base64, or as a data: URL that begins data:image/png;base64."
SIGNATURE_BYTES: Final = 64  # bytes at the start of a file that show its format
BLOCK: Final = 2**15  # characters: a decoded block stays in the cache; a multiple of 4 splits no group

_BLANKS: Final = b" \t\r\n\f\v"
_INNER_SPACE: Final = re.compile(rb"\S ")  # a space that does not indent a line
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_INVALID_PADDING: Final = 3  # characters missing from the last group of four: one alone is less than a byte
_SCHEME: Final = "data:"
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# How files of the formats that are read begin in base64; none of these files itself begins like that.
_PICTURE_SIGNATURE: Final = re.compile(
    rb"\s*(?:iVBORw0KGg|[/_]9j[/_]|R0lGOD|UklGR|Qk[0-3]|SUkqA|TU0AK|AAAA.[GWm2]Z0eX|(?i:data:))"
)


class _NotBase64(Exception):
    """The text is not base64; the argument says why."""


def decode(text: str, where: str) -> bytes:
    """Decode base64, or a `data:` URL in base64; an error names the text as `where`.

    Raises:
        MalformedRequest: the text is neither.
    """
    try:
        if not text.isascii():
            _refuse("it has characters that are not ASCII")
        return _decode_lines(_strip_data_url(text.strip()))
    except _NotBase64 as error:
        msg = f"The text in {where!r} is not base64: {error}. {_REMEDY}"
        raise MalformedRequest(msg) from None


def _refuse(why: str) -> NoReturn:
    raise _NotBase64(why)


def looks_like_base64(data: bytes) -> bool:
    """Tell whether bytes that should be a picture are a picture in base64."""
    return _PICTURE_SIGNATURE.match(data, 0, SIGNATURE_BYTES) is not None


def _strip_data_url(text: str) -> bytes:
    """Return the base64 of a `data:` URL (RFC 2397), or the text itself if it is not such a URL."""
    if text[: len(_SCHEME)].lower() != _SCHEME:
        return text.encode()
    comma = text.find(",")
    if comma < 0:
        _refuse("the data: URL has no comma before its data")
    _, semicolon, coding = text[len(_SCHEME) : comma].rpartition(";")
    if not semicolon or coding.strip().lower() != "base64":
        _refuse("the data: URL does not say ;base64 before its comma")
    data = text[comma + 1 :].encode()
    return _percent_decode(data) if b"%" in data else data


def _percent_decode(data: bytes) -> bytes:
    pieces = []
    start = 0
    while start < len(data):
        end = min(start + BLOCK, len(data))
        split = data.rfind(b"%", end - 2, end) if end < len(data) else -1
        end = end if split < 0 else split  # an escape stays whole
        pieces.append(_percent_decode_block(data[start:end]))
        start = end
    return b"".join(pieces)


def _percent_decode_block(data: bytes) -> bytes:
    """Decode as quoted-printable, in C: `urllib` takes 100 ns an escape, and there may be millions."""
    if _BROKEN_ESCAPE.search(data):
        _refuse("it has a '%' that is not followed by two hexadecimal digits")
    return binascii.a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))


def _decode_lines(data: bytes) -> bytes:
    if b" " in data:
        _check_spaces(data.strip(_BLANKS))
    if any(blank in data for blank in _BLANKS):
        data = data.translate(None, _BLANKS)
    if b"-" in data or b"_" in data:
        if b"+" in data or b"/" in data:
            _refuse("it mixes the standard alphabet (+ and /) with the URL-safe one (- and _)")
        data = data.translate(_FROM_URL_SAFE)
    return _decode_digits(data)


def _check_spaces(data: bytes) -> None:
    """Refuse spaces that do not indent a line: forms and URLs read '+' as a space."""
    for start in range(0, len(data), BLOCK):
        if _INNER_SPACE.search(data, start, start + BLOCK + 1):
            _refuse(
                "it has a space inside, where a '+' was probably lost: in forms and URLs '+' is written %2B"
            )


def _decode_digits(data: bytes) -> bytes:
    digits = data.rstrip(b"=")
    needed = -len(digits) % 4
    if b"=" in digits or needed == _INVALID_PADDING or len(data) - len(digits) > needed:
        _refuse(_explain_fault(digits))
    padded = memoryview(digits + b"=" * needed)
    blocks = (padded[start : start + BLOCK] for start in range(0, len(padded), BLOCK))
    try:
        return b"".join(binascii.a2b_base64(block, strict_mode=True) for block in blocks)
    except binascii.Error:
        _refuse(_explain_fault(digits))


def _explain_fault(digits: bytes) -> str:
    if wrong := digits.translate(None, _ALPHABET):
        return f"it has the character {chr(wrong[0])!r}"
    if -len(digits) % 4 == _INVALID_PADDING:
        return f"{len(digits)} characters do not make whole bytes, so some are missing"
    return "it has more '=' at its end than its length needs"
