"""Pictures as base64 text, bare or as a `data:` URL.

Clients write base64 in several ways, and all of these are read: with padding or without, in lines, in the
standard alphabet or the URL-safe one. Every step is a single pass in C over the text, because it may have
megabytes; long steps go block by block, so that other threads are not kept waiting.
"""

from __future__ import annotations

import binascii
import re
from string import hexdigits
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from app.wire.problems import MalformedRequest

_REMEDY: Final = "Send the file's bytes in base64, or as a data: URL that begins data:image/png;base64."
SIGNATURE_BYTES: Final = 64  # bytes: where a file shows what it is
BLOCK: Final = 2**15  # characters: what they become stays in the cache; a multiple of 4 splits no group

_BLANKS: Final = b" \t\r\n\f\v"
_SPACE: Final = ord(" ")
_STARTS_LINE: Final = np.isin(np.arange(256), list(b"\t\r\n\f\v"))  # of characters
_POSITIONS: Final = np.arange(1, BLOCK + 1)  # within a block, from 1
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_INCOMPLETE_GROUP: Final = 3  # characters short of a group of four: one alone holds less than a byte
_SCHEME: Final = "data:"
_PERCENT: Final = ord("%")
_NOT_HEX: Final = 255
_HEX: Final = np.array(  # character → value of the hexadecimal digit
    [int(chr(code), 16) if chr(code) in hexdigits else _NOT_HEX for code in range(256)], np.uint8
)
# How PNG, JPEG, GIF, WebP and BMP files begin in base64; none of them begins so itself.
_PICTURE_SIGNATURE: Final = re.compile(rb"\s*(?:iVBORw0KGg|[/_]9j[/_]|R0lGOD|UklGR|Qk[0-3]|(?i:data:))")


class _NotBase64(Exception):
    """The text is not base64; the argument says why."""


def decode(text: str, where: str) -> bytes:
    """Decode base64, or a `data:` URL in base64.

    Args:
        text: as the client sent it.
        where: what the client calls it, for the error.

    Raises:
        MalformedRequest: it is neither.
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
    """Tell whether what should be a picture's file is base64 text of one."""
    return _PICTURE_SIGNATURE.match(data, 0, SIGNATURE_BYTES) is not None


def _strip_data_url(text: str) -> bytes:
    """Return the base64 that a `data:` URL (RFC 2397) holds, or the text itself if it is none."""
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
        pieces.append(_percent_decode_block(np.frombuffer(data[start:end], np.uint8)))
        start = end
    return b"".join(pieces)


def _percent_decode_block(codes: NDArray[np.uint8]) -> bytes:
    """Decode all escapes at once: Python takes 100 ns for each, and 10 MiB may have three million."""
    escapes = np.flatnonzero(codes == _PERCENT)
    if len(escapes) and escapes[-1] + 2 >= len(codes):
        _refuse("it ends within a percent escape")
    high, low = _HEX[codes[escapes + 1]], _HEX[codes[escapes + 2]]
    if (np.maximum(high, low) == _NOT_HEX).any():
        _refuse("it has a '%' that is not followed by two hexadecimal digits")
    decoded, keep = codes.copy(), np.ones(len(codes), np.bool_)
    decoded[escapes] = high << 4 | low
    keep[escapes + 1] = keep[escapes + 2] = False
    return decoded[keep].tobytes()


def _decode_lines(data: bytes) -> bytes:
    """Decode base64 that may stand in lines, whichever its alphabet."""
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
    codes = np.frombuffer(data, np.uint8)
    previous = codes[:1]  # the last character so far that is not a space
    for start in range(0, len(codes), BLOCK):
        block = codes[start : start + BLOCK]
        spaces = block == _SPACE
        last = np.maximum.accumulate(np.where(spaces, 0, _POSITIONS[: len(block)]))
        preceding = np.concatenate((previous, block))[last]
        if not _STARTS_LINE[preceding[spaces]].all():
            _refuse(
                "it has a space inside, where a '+' was probably lost: in forms and URLs '+' is written %2B"
            )
        previous = preceding[-1:]


def _decode_digits(data: bytes) -> bytes:
    """Decode base64 in the standard alphabet, with or without padding."""
    digits = data.rstrip(b"=")
    needed = -len(digits) % 4
    if b"=" in digits or needed == _INCOMPLETE_GROUP or len(data) - len(digits) > needed:
        _refuse(_explain(digits))
    padded = memoryview(digits + b"=" * needed)
    blocks = (padded[start : start + BLOCK] for start in range(0, len(padded), BLOCK))
    try:
        return b"".join(binascii.a2b_base64(block, strict_mode=True) for block in blocks)
    except binascii.Error:
        _refuse(_explain(digits))


def _explain(digits: bytes) -> str:
    """Say what is wrong with digits that can't be decoded."""
    if wrong := digits.translate(None, _ALPHABET):
        return f"it has the character {chr(wrong[0])!r}"
    if -len(digits) % 4 == _INCOMPLETE_GROUP:
        return f"{len(digits)} characters do not make whole bytes, so some are missing"
    return "it has more '=' at its end than its length needs"
