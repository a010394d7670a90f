"""Compressed bodies: gzip and deflate, which is zlib's format (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Final

from app.api.problems import BodyTooLarge, MalformedRequest, UnsupportedMediaType

WINDOWS: Final[Mapping[str, int]] = {"gzip": 31, "deflate": 15}  # coding → zlib's `wbits`; the liked first
WORTHWHILE: Final = 1024  # bytes: less travels in one packet anyway
LEVEL: Final = 1  # of 9: probabilities of 64 pictures would be 3 % shorter with 6, in 2.6 times the time
_CODING: Final = re.compile(r"\s*(?P<name>[^\s;]+)\s*(?:;\s*q=(?P<weight>[01](?:\.\d{0,3})?)\s*)?")


def decompressed(body: bytes, coding: str, *, most: int) -> bytes:
    """Return what `body` holds, of which no more than `most` bytes are ever unpacked.

    Args:
        body: as it was sent.
        coding: the Content-Encoding; empty if there is none.
        most: bytes.

    Raises:
        UnsupportedMediaType: the coding is another one.
        MalformedRequest: the body is not coded like that, breaks off, or goes on behind its end.
        BodyTooLarge: it holds more.
    """
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in WINDOWS:
        msg = f"The Content-Encoding {coding[:64]!r} is not read here. Send gzip, deflate or none."
        raise UnsupportedMediaType(msg)
    unpacking = zlib.decompressobj(WINDOWS[coding])
    try:
        data = unpacking.decompress(body, most + 1)
    except zlib.error as error:
        msg = f"The body is not in {coding}, as its Content-Encoding says: {error}."
        raise MalformedRequest(msg) from None
    if len(data) > most:
        msg = f"The body holds more than {most} bytes once it is unpacked. Send fewer or smaller pictures."
        raise BodyTooLarge(msg, limit=most)
    if not unpacking.eof or unpacking.unused_data:
        how = "goes on behind its end" if unpacking.eof else "breaks off"
        msg = f"The body's {coding} {how}. Send the whole of it, in one piece."
        raise MalformedRequest(msg)
    return data


def accepted(header: str) -> str | None:
    """Return the coding that an Accept-Encoding header lets an answer have, if any is worth it."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        if coding := _CODING.fullmatch(part):
            weights[coding["name"]] = float(coding["weight"] or 1)
    return next((name for name in WINDOWS if weights.get(name, weights.get("*", 0)) > 0), None)


def compressed(body: bytes, coding: str) -> bytes:
    """Return `body` in that coding."""
    return zlib.compress(body, LEVEL, WINDOWS[coding])
