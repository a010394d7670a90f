"""The dearest files that there are of each format, made cheaply."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from tests.data import heif

WIDTH, HEIGHT = 8000, 5000  # 40 megapixels, the most that is allowed
PAETH: Final = 4  # the most expensive of PNG's filters
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    depth: int,
    colour: int,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    interlaced: bool = False,
    noise: int = 0,
    extra: bytes = b"",
) -> bytes:
    """Return a PNG of zeros, or of `noise` bytes over and over, every row filtered by Paeth's predictor."""
    deflate = zlib.compressobj(1)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    pattern = np.random.default_rng(1).integers(0, 256, noise or 1, np.uint8).tobytes() if noise else b"\0"
    packed = []
    for left, top, right, down in passes:
        length = (-(-(width - left) // right) * depth * _CHANNELS[colour] + 7) // 8
        rows = bytes([PAETH]) + (pattern * (length // len(pattern) + 1))[:length]
        count, at_once = -(-(height - top) // down), max(1, 2**20 // len(rows))
        packed += [deflate.compress(rows * at_once) for _ in range(count // at_once)]
        packed.append(deflate.compress(rows * (count % at_once)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    pixels = chunk(b"IDAT", b"".join([*packed, deflate.flush()]))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


PALETTE: Final = chunk(b"PLTE", bytes(range(256)) * 3)
TRANSPARENCY: Final = chunk(b"tRNS", bytes(range(256)))


def jpeg(scans: Sequence[bytes], *, components: int = 1, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a progressive JPEG. Its Huffman tables have three symbols: end, coefficient, run of blocks."""
    frame = struct.pack(">BHHB", 8, height, width, components)
    frame += b"".join(bytes([index + 1, 0x11, 0]) for index in range(components))
    tables = [
        _segment(0xDB, b"\0" + bytes([1] * 64)),
        _segment(0xC2, frame),
        _segment(0xC4, b"\x00" + bytes([1, 1, *[0] * 14]) + bytes([0, 1])),
        _segment(0xC4, b"\x10" + bytes([1, 1, 1, *[0] * 13]) + bytes([0xE0, 1, 0])),
    ]
    return b"\xff\xd8" + b"".join([*tables, *scans]) + b"\xff\xd9"


def first_scan(components: int = 1, *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return the scan of all components' means, a bit for each block."""
    blocks = -(-width // 8) * -(-height // 8) * components
    return _scan(range(1, components + 1), (0, 0, 0), bytes(-(-blocks // 8)))


def refining_scan(component: int = 1, *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a scan that walks over all coefficients to refine none: 15 bits for 32,767 blocks."""
    runs = -(-(-(-width // 8) * -(-height // 8)) // 32_767)
    bits = ("0" + "1" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return _scan([component], (1, 63, 0x10), data)


def _scan(components: Sequence[int], spectrum: tuple[int, int, int], data: bytes) -> bytes:
    head = bytes([len(components), *(part for index in components for part in (index, 0)), *spectrum])
    return _segment(0xDA, head) + data


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def bmp(bits: int, *, compression: int = 0, width: int = WIDTH, height: int = HEIGHT, data: bytes) -> bytes:
    """Return a BMP, whose palette, if it has one, is not grey."""
    palette = bytes([0, 40, 80, 0, 250, 200, 220, 0]) if bits <= 8 else b""
    start = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def gif(
    *, before: bytes = b"", canvas: tuple[int, int] | None = None, side: tuple[int, int] = (WIDTH, HEIGHT)
) -> bytes:
    """Return a GIF of one colour, with blocks before its frame, on a canvas that may be larger."""
    file = io.BytesIO()
    Image.new("P", side).save(file, "GIF")
    data = file.getvalue()
    frame = data.index(b",", 13 + (3 << (data[10] & 7) + 1))
    return data[:6] + struct.pack("<HH", *(canvas or side)) + data[10:frame] + before + data[frame:]


def webp(width: int, height: int) -> bytes:
    """Return a lossless WebP of one colour: the same 30 bytes or so for every size."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "white").save(file, "WEBP", lossless=True, quality=0, method=0)
    data = file.getvalue()
    place = data.index(b"VP8L") + 9
    return data[:place] + struct.pack("<I", width - 1 | height - 1 << 14) + data[place + 4 :]


def tiff(
    mode: str, compression: str, *, size: tuple[int, int] = (WIDTH, HEIGHT), rows: int = 1 << 20
) -> bytes:
    """Return a white TIFF in strips of so many rows: by default, the whole picture is one."""
    file = io.BytesIO()
    white = Image.new(mode, size, "white" if mode != "1" else 1)
    white.save(file, "TIFF", compression=compression, tiffinfo={278: min(rows, size[1])})
    return file.getvalue()


def heic(name: str, columns: int, rows: int) -> bytes:
    """Return a HEIC of so many tiles of 512x512, all of them the same, as a committed picture has it."""
    return heif.build_grid([heif.load_hevc(name)] * columns * rows, columns, (columns * 512, rows * 512))


def avif(mode: str, size: tuple[int, int]) -> bytes:
    """Return a white AVIF, which is one frame."""
    file = io.BytesIO()
    Image.new(mode, size, "white").save(file, "AVIF", speed=10, quality=50)
    return file.getvalue()
