"""Compressed bodies: gzip and deflate, which is zlib's format (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping
from typing import Final

from ...wire.problems import BodyTooLarge, MalformedRequest, UnsupportedMediaType

# coding → zlib's `wbits`, the preferred coding first
WINDOW_BITS: Final[Mapping[str, int]] = {"gzip": 31, "deflate": 15}
MIN_COMPRESSED_BYTES: Final = 1024  # bytes: less travels in one packet anyway
COMPRESSION_LEVEL: Final = 1  # of 9: level 6 takes 2.6 times as long for answers that are 3 % shorter
STEP_BYTES: Final = 65_536  # bytes of the packed body at a time: a few milliseconds, however they were packed
# Seconds of processor time. 32 MiB of base64 take 0.2; but a stream that describes a new Huffman code every
# 12 bytes and holds nothing else takes 2 s for 32 MiB.
MAX_UNPACK_SECONDS: Final = 0.5
_CODING: Final = re.compile(r"\s*(?P<name>[^\s;]+)\s*(?:;\s*q=(?P<weight>[01](?:\.\d{0,3})?)\s*)?")


def decompress(body: bytes, coding: str, *, max_bytes: int) -> bytes:
    """Unpack a body by its Content-Encoding, which may be empty, without ever exceeding `max_bytes`.

    Raises:
        UnsupportedMediaType: the coding is not supported.
        MalformedRequest: the body is not in this coding, is cut off, or has bytes after its end.
        BodyTooLarge: the body holds more than `max_bytes` bytes.
    """
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in WINDOW_BITS:
        msg = f"The Content-Encoding {coding[:64]!r} is not supported here. Send gzip, deflate or none."
        raise UnsupportedMediaType(msg)
    try:
        return _unpack(body, coding, max_bytes=max_bytes)
    except zlib.error as error:
        msg = f"The body is not in {coding}, as its Content-Encoding says: {error}."
        raise MalformedRequest(msg) from None


def _unpack(body: bytes, coding: str, *, max_bytes: int) -> bytes:
    """Unpack in steps, so that none of them can take long."""
    decompressor = zlib.decompressobj(WINDOW_BITS[coding])
    pieces: list[bytes] = []
    size, offset, started = 0, 0, time.thread_time()
    while offset < len(body) and not decompressor.eof:
        pieces.append(decompressor.decompress(body[offset : offset + STEP_BYTES], max_bytes + 1 - size))
        size += len(pieces[-1])
        offset += STEP_BYTES
        _check_effort(coding, size, max_bytes=max_bytes, seconds=time.thread_time() - started)
    if not decompressor.eof or decompressor.unused_data or offset < len(body):
        fault = "has bytes after its end" if decompressor.eof else "is cut off"
        msg = f"The body's {coding} {fault}. Send a single, complete stream."
        raise MalformedRequest(msg)
    return b"".join(pieces)


def _check_effort(coding: str, size: int, *, max_bytes: int, seconds: float) -> None:
    if size > max_bytes:
        msg = f"The body has more than {max_bytes} bytes once it is unpacked. Send fewer or smaller pictures."
        raise BodyTooLarge(msg, limit=max_bytes)
    if seconds > MAX_UNPACK_SECONDS:
        msg = (
            f"Unpacking the body's {coding} took more than {MAX_UNPACK_SECONDS:g} s, and yielded "
            f"{size} bytes. Compress it with a common encoder, or send it uncompressed."
        )
        raise MalformedRequest(msg)


def choose_encoding(header: str) -> str | None:
    """Return the preferred coding of those that an Accept-Encoding header allows, None if it allows none."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        if coding := _CODING.fullmatch(part):
            weights[coding["name"]] = float(coding["weight"] or 1)
    return next((name for name in WINDOW_BITS if weights.get(name, weights.get("*", 0)) > 0), None)


def compress(body: bytes, coding: str) -> bytes:
    """Return `body` in that coding."""
    return zlib.compress(body, COMPRESSION_LEVEL, WINDOW_BITS[coding])
