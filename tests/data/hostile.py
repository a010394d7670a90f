"""Makes the hostile files: uploads that are broken, absurd or no pictures, and what each must give.

    python -m tests.data.hostile           writes hostile/* and hostile/expected.json

`expected.json` maps a file's name to the status and code of the answer; 200 has no code.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, PngImagePlugin

from tests.data.golden import encode, photo
from tests.data.strokes import ink

FOLDER: Final = Path(__file__).parent / "hostile"
Case = tuple[str, bytes, int, str | None]  # name, bytes, status, code


def main() -> None:
    """Write all files and the list of what they must give."""
    expected = {}
    for name, data, status, code in cases():
        (FOLDER / name).write_bytes(data)
        expected[name] = {"status": status, "code": code}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def cases() -> Iterator[Case]:
    """Yield name, bytes, status and code of every file."""
    for make in (_no_pictures, _truncated, _corrupt, _absurd_sizes, _blank, _odd_but_good):
        yield from make()


def _no_pictures() -> Iterator[Case]:
    unsupported = {
        "text.png": b"This is no picture, whatever its name says.\n",
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
        "page.html": b"<!doctype html><img src=x onerror=alert(1)>",
        "sound.webp": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28),
        "archive.jpg": b"PK\x03\x04" + bytes(60),
        "program.bmp": b"\x7fELF" + bytes(60),
        "zeros.png": bytes(1000),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "tiff.png": encode(_nine(), "TIFF"),
        "icon.png": encode(_nine(), "ICO"),
        "portable.png": encode(_nine(), "PPM"),
        "targa.png": encode(_nine(), "TGA"),
    }
    for name, data in unsupported.items():
        yield name, data, 415, "unsupported_media_type"


def _truncated() -> Iterator[Case]:
    files = {
        "png": encode(_nine(), "PNG"),
        "jpg": encode(_nine(), "JPEG"),
        "webp": encode(_nine().convert("RGB"), "WEBP"),
        "gif": encode(_nine(), "GIF"),
        "bmp": encode(_nine(), "BMP"),
    }
    yield "empty.png", b"", 422, "unreadable_image"
    for kind, data in files.items():
        cuts = {"signature": 10 if kind == "webp" else 2, "header": 14, "half": len(data) // 2}
        for part, length in cuts.items():
            yield f"truncated-{part}.{kind}", data[:length], 422, "unreadable_image"


def _corrupt() -> Iterator[Case]:
    png = encode(_nine(), "PNG")
    start = png.index(b"IDAT") + 4
    yield "overwritten.png", png[:start] + b"\xff" * 40 + png[start + 40 :], 422, "unreadable_image"
    wrong_crc = bytearray(png)
    wrong_crc[png.index(b"IHDR") + 17] ^= 0xFF
    yield "wrong-checksum.png", bytes(wrong_crc), 422, "unreadable_image"
    yield "header-alone.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(9), 422, "unreadable_image"
    yield "no-data.png", _png(28, 28, b""), 422, "unreadable_image"
    yield "bad-size.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40), 422, "unreadable_image"
    yield (
        "odd-header.bmp",
        b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<I", 77) + bytes(90),
        422,
        "unreadable_image",
    )
    many = png
    for index in range(60):
        many = _with_chunk(many, b"zTXt", b"%d\0\0" % index + zlib.compress(bytes(1_000_000), 9))
    yield "text-bombs.png", many, 422, "unreadable_image"
    jpeg = encode(_nine(), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    yield "scan-bomb.jpg", jpeg[:-2] + jpeg[last:-2] * 200 + jpeg[-2:], 422, "unreadable_image"
    yield (
        "text-bomb.png",
        _with_chunk(png, b"zTXt", b"k\0\0" + zlib.compress(bytes(70_000_000), 9)),
        422,
        "unreadable_image",
    )


def _absurd_sizes() -> Iterator[Case]:
    yield "bomb.png", _png(30_000, 30_000, zlib.compress(bytes(200_000), 9)), 422, "image_too_large"
    yield "bomb-one-row.png", _png(2**31 - 1, 1, zlib.compress(b"\0")), 422, "image_too_large"
    yield (
        "bomb.gif",
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + _GIF_FRAME,
        422,
        "image_too_large",
    )
    yield "bomb.bmp", _bmp(40_000, 40_000), 422, "image_too_large"
    yield "bomb.jpg", _jpeg_of_size(65_500, 65_500), 422, "image_too_large"
    yield "just-too-large.png", _png(8_000, 5_001, zlib.compress(b"")), 422, "image_too_large"
    yield "three-pixels-high.png", encode(Image.new("L", (40, 3)), "PNG"), 422, "image_too_small"
    yield "one-pixel.gif", encode(Image.new("L", (1, 1)), "GIF"), 422, "image_too_small"
    yield "line.png", encode(Image.new("L", (65_535, 1)), "PNG"), 422, "image_too_small"
    yield "no-width.png", _png(0, 28, zlib.compress(b"")), 422, "unreadable_image"


def _blank() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    slope = np.linspace(250, 150, 200)[None, :].repeat(150, 0)
    blanks = {
        "white.png": Image.new("L", (100, 100), 255),
        "black.png": Image.new("L", (100, 100), 0),
        "clear.png": Image.new("RGBA", (100, 100), (0, 0, 0, 0)),
        "noise.png": _image(rng.normal(200, 4, (120, 160))),
        "strong-noise.png": _image(rng.normal(128, 20, (120, 160))),
        "grainy-slope.png": _image(slope + rng.normal(0, 3, slope.shape)),
        "faint.png": _image(np.where(np.asarray(_nine()) < 128, 250.0, 255.0)),
    }
    for name, image in blanks.items():
        yield name, encode(image, "PNG", optimize=True), 422, "no_ink"


def _odd_but_good() -> Iterator[Case]:
    """Files that look suspicious and are read all the same."""
    png = encode(_nine(), "PNG")
    yield "name-lies.gif", encode(_nine(), "JPEG"), 200, None
    yield "trailing-bytes.png", png + b"<script>alert(1)</script>" * 10, 200, None
    yield (
        "corrupt-exif.jpg",
        encode(photo(9, (120, 160), (40, 30, 50, 90), seed=9), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 30),
        200,
        None,
    )
    yield "cut-exif.png", encode(_nine(), "PNG", exif=b"Exif\0\0MM\0"), 200, None
    yield "absurd-orientation.jpg", _orientation(99), 200, None
    yield "corrupt-profile.jpg", encode(_nine(), "JPEG", icc_profile=b"\xff" * 300), 200, None
    texts = PngImagePlugin.PngInfo()
    for index in range(50):
        texts.add_text(f"key{index}", "../../etc/passwd " * 20, zip=True)
    yield "many-texts.png", encode(_nine(), "PNG", pnginfo=texts), 200, None
    yield (
        "long-thin.png",
        encode(_image(255 - ink(1, (2000, 40), box=(990, 4, 12, 32), pen=5).astype(float)), "PNG"),
        200,
        None,
    )


def _nine() -> Image.Image:
    return _image(255 - ink(9, (60, 80), box=(17, 12, 26, 54), pen=6).astype(float))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, compressed: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", compressed) + _chunk(b"IEND", b"")


def _with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    return png[:33] + _chunk(kind, data) + png[33:]  # behind signature and header


_GIF_FRAME: Final = (
    b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0x80) + bytes(6) + b"\x02\x02\x4c\x01\x00;"
)


def _bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, 0, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62, 0, 0, 62) + info + b"\0\0\0\0\xff\xff\xff\0"


def _jpeg_of_size(width: int, height: int) -> bytes:
    jpeg = bytearray(encode(_nine(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def _orientation(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    return encode(_nine(), "JPEG", exif=exif)


if __name__ == "__main__":
    main()
