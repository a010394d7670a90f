"""Streams of deflate (RFC 1951) whose blocks hold next to nothing, each with Huffman codes of its own.

A decoder builds its tables for every block: that takes a microsecond, and a block needs twelve bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

HEADER: Final = b"\x78\x9c"  # of zlib's format: deflate with a window of 32 KiB
END_OF_BLOCK: Final = 256
ZEROS: Final = 18  # of the code lengths: 11 to 138 zeros follow
# In this order a block gives the lengths of the codes for code lengths.
ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
LENGTHS: Final[Mapping[int, int]] = {ZEROS: 1, 0: 2, 1: 2}  # symbol → length of its code
CODES: Final[Mapping[int, Sequence[int]]] = {ZEROS: (0,), 0: (1, 0), 1: (1, 1)}


def make(size: int) -> bytes:
    """Return the beginning of a stream, about `size` bytes long, in which no block holds anything."""
    eight = [*_empty_block()] * 8  # so that they end with a byte
    pattern = bytes(
        sum(bit << place for place, bit in enumerate(eight[start : start + 8]))
        for start in range(0, len(eight), 8)
    )
    return HEADER + pattern * (size // len(pattern))


def _empty_block() -> Iterator[int]:
    """Yield the bits of a block: one code for the end of the block, one for a distance, and that end."""
    yield 0  # not the last block
    yield from _number(2, bits=2)  # with codes of its own
    yield from _number(0, bits=5)  # 257 codes for literals and lengths
    yield from _number(0, bits=5)  # one for distances
    yield from _number(len(ORDER) - 1 - 4, bits=4)  # all but the last of the lengths below
    for symbol in ORDER[:-1]:
        yield from _number(LENGTHS.get(symbol, 0), bits=3)
    for zeros in (138, END_OF_BLOCK - 138):
        yield from CODES[ZEROS]
        yield from _number(zeros - 11, bits=7)
    for _ in ("the end of the block", "a distance"):
        yield from CODES[1]
    yield 0  # the end of the block


def _number(value: int, *, bits: int) -> Iterator[int]:
    return (value >> place & 1 for place in range(bits))
