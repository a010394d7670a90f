"""Makes the hostile files: uploads that are broken, absurd or no pictures, and what each must give.

    python -m tests.data.hostile           writes hostile/* and hostile/expected.json

`expected.json` maps a file's name to the status and code of the answer; 200 has no code.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, PngImagePlugin

from app.digits.formats import av1
from tests.data import heif
from tests.data.golden import encode, photo
from tests.data.heif import Item, box, build, build_grid, extent
from tests.data.strokes import ink

FOLDER: Final = Path(__file__).parent / "hostile"
Field = tuple[int, tuple[int, ...]]  # of a TIFF: type and values
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
    for make in (
        _no_pictures,
        _truncated,
        _cut,
        _corrupt,
        _flipped,
        _absurd_sizes,
        _no_sides,
        _blank,
        _odd_but_good,
        _depths,
        _polyglots,
        _metadata,
        _animated,
        _without_an_end,
        _run_lengths,
        _tiff,
        _heif,
        _heic,
        _avif,
    ):
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
        "document.jpg": b"%PDF-1.7\n1 0 obj\n",
        "big.tif": b"II+\0\x08\0\0\0" + bytes(40),
        "film.gif": b"\0\0\0\x18ftypisom" + bytes(40),
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
        "tif": encode(_nine(), "TIFF", compression="tiff_lzw"),
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
    indices = _chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 3, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(29 * 28)))
    yield "no-palette.png", png[:8] + indices + pixels + png[-12:], 422, "unreadable_image"
    transparency = _chunk(b"tRNS", bytes(3))
    yield "no-palette-clear.png", png[:8] + indices + transparency + pixels, 422, "unreadable_image"
    arithmetic = encode(_nine(), "JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    yield "arithmetic.jpg", arithmetic, 422, "unreadable_image"
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
    yield "text-bombs.png", many, 200, None  # nobody unpacks them
    jpeg = encode(_nine(), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    yield "scan-bomb.jpg", jpeg[:-2] + jpeg[last:-2] * 200 + jpeg[-2:], 422, "unreadable_image"
    yield (
        "text-bomb.png",
        _with_chunk(png, b"zTXt", b"k\0\0" + zlib.compress(bytes(70_000_000), 9)),
        200,
        None,
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


def _cut() -> Iterator[Case]:
    """Break files off where their parts meet; a decoder that guesses the rest is still given a chance."""
    png, jpeg, gif = encode(_nine(), "PNG"), encode(_nine(), "JPEG"), encode(_nine(), "GIF")
    webp, bmp = encode(_nine().convert("RGB"), "WEBP", lossless=True), encode(_nine(), "BMP")
    data = png.index(b"IDAT")
    scan = jpeg.index(b"\xff\xda")
    ends = {
        "png": (1, 7, 8, 12, 16, 20, 29, data - 4, data, data + 4, data + 20),
        "jpg": (
            1,
            3,
            4,
            11,
            20,
            jpeg.index(b"\xff\xdb") + 3,
            jpeg.index(b"\xff\xc0") + 6,
            scan,
            scan + 3,
            scan + 12,
        ),
        "gif": (4, 6, 9, 13, 20, gif.rindex(b",") + 4, gif.rindex(b",") + 12),
        "webp": (4, 8, 11, 12, 16, 20, 25, len(webp) - 9),
        "bmp": (1, 6, 13, 18, 26, 40, 53, 60),
    }
    files = {"png": png, "jpg": jpeg, "gif": gif, "webp": webp, "bmp": bmp}
    for kind, cuts in ends.items():
        for cut in cuts:
            yield f"cut-at-{cut}.{kind}", files[kind][:cut], 422, "unreadable_image"
    yield "cut-ending.png", png[:-12], 200, None
    yield "cut-ending.gif", gif[:-1], 200, None


def _flipped() -> Iterator[Case]:
    """Flip single bits of headers."""
    flips = {
        "png": (
            encode(_nine(), "PNG"),
            {"width": 19, "depth": 24, "colour": 25, "method": 26, "checksum": 30},
        ),
        "bmp": (encode(_nine(), "BMP"), {"planes": 28, "compression": 30}),
    }
    for kind, (data, places) in flips.items():
        for part, place in places.items():
            flipped = bytearray(data)
            flipped[place] ^= 0x40
            yield f"flipped-{part}.{kind}", bytes(flipped), 422, "unreadable_image"
    jpeg = bytearray(encode(_nine(), "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12  # bits per sample
    yield "twelve-bits.jpg", bytes(jpeg), 422, "unreadable_image"


def _no_sides() -> Iterator[Case]:
    for width, height in ((0, 9), (9, 0), (0, 0)):
        name = f"{width}x{height}"
        yield f"{name}.png", _png(width, height, zlib.compress(b"")), 422, "unreadable_image"
        yield f"{name}.bmp", _bmp(width, height), 422, "unreadable_image"
        yield f"{name}.jpg", _jpeg_of_size(width, height), 422, "unreadable_image"
        screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
        yield (
            f"{name}.gif",
            screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x00;",
            422,
            "unreadable_image",
        )
    for side in (65_535, 30_000):
        yield f"1x{side}.png", _png(1, side, zlib.compress(bytes(2 * side))), 422, "image_too_small"
        yield f"3x{side}.bmp", _bmp(3, side), 422, "image_too_small"
    yield "negative-width.bmp", _bmp(-40, 40), 422, "image_too_large"
    yield "bomb.webp", _lossless_webp_of_size(16_384, 16_384), 422, "image_too_large"


def _depths() -> Iterator[Case]:
    """Every mode and depth that the formats know."""
    nine = _nine()
    colour = nine.convert("RGB")
    grey16 = Image.fromarray(np.asarray(nine).astype(np.uint16) * 257)
    pictures: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "one-bit.png": (nine.convert("1"), "PNG", {}),
        "two-bits.png": (nine.convert("P", palette=Image.Palette.ADAPTIVE, colors=4), "PNG", {"bits": 2}),
        "four-bits.png": (nine.convert("P", palette=Image.Palette.ADAPTIVE, colors=16), "PNG", {"bits": 4}),
        "palette.png": (colour.convert("P"), "PNG", {}),
        "grey-alpha.png": (nine.convert("LA"), "PNG", {}),
        "colour-alpha.png": (nine.convert("RGBA"), "PNG", {}),
        "sixteen-bits.png": (grey16, "PNG", {}),
        "one-bit.bmp": (nine.convert("1"), "BMP", {}),
        "palette.bmp": (colour.convert("P"), "BMP", {}),
        "alpha.bmp": (nine.convert("RGBA"), "BMP", {}),
        "progressive.jpg": (colour, "JPEG", {"progressive": True}),
        "four-inks.jpg": (colour.convert("CMYK"), "JPEG", {}),
        "worst-quality.jpg": (colour, "JPEG", {"quality": 1}),
        "whole-chroma.jpg": (colour, "JPEG", {"subsampling": 0}),
        "interlaced.gif": (nine, "GIF", {"interlace": 1}),
        "one-bit.gif": (nine.convert("1"), "GIF", {}),
        "alpha.webp": (nine.convert("RGBA"), "WEBP", {"lossless": True}),
        "lossy.webp": (colour, "WEBP", {"quality": 5}),
    }
    for name, (picture, form, options) in pictures.items():
        yield name, encode(picture, form, **options), 200, None


def _polyglots() -> Iterator[Case]:
    """Files that are two things at once: what they begin as counts, and the rest never runs."""
    script = b"<script>alert(document.domain)</script>"
    for form, ending in (("PNG", "png"), ("JPEG", "jpg"), ("GIF", "gif"), ("BMP", "bmp")):
        data = encode(_nine(), form)
        yield f"and-a-page.{ending}", data + script, 200, None
        yield f"and-an-archive.{ending}", data + b"PK\x05\x06" + bytes(18), 200, None
        yield f"behind-a-page.{ending}", script + data, 415, "unsupported_media_type"
    yield "and-a-document.jpg", b"%PDF-1.7\n" + encode(_nine(), "JPEG"), 415, "unsupported_media_type"
    yield "comment-is-a-script.gif", b"GIF89a/*" + encode(_nine(), "GIF")[8:] + b"*/=1;alert(1)", 200, None
    yield "shell.png", b"#!/bin/sh\nreboot\n" + encode(_nine(), "PNG"), 415, "unsupported_media_type"


def _metadata() -> Iterator[Case]:
    """Metadata that is huge, compressed beyond reason, corrupt, or wants to be fetched."""
    png = encode(_nine(), "PNG")
    entity = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
    yield "xml-entity.png", _with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + entity), 200, None
    yield "comments.jpg", encode(_nine(), "JPEG", comment=b"x" * 65_000), 200, None
    yield "unknown-chunk.png", _with_chunk(png, b"eViL", bytes(100_000)), 200, None
    yield "critical-chunk.png", _with_chunk(png, b"EVIL", bytes(100)), 200, None
    yield (
        "profile-bomb.png",
        _with_chunk(png, b"iCCP", b"p\0\0" + zlib.compress(bytes(70_000_000), 9)),
        200,
        None,
    )
    yield "no-profile.png", _with_chunk(png, b"iCCP", b"p\0\0not compressed"), 200, None
    yield "gamma-of-zero.png", _with_chunk(png, b"gAMA", bytes(4)), 200, None
    yield "size-of-zero.png", _with_chunk(png, b"pHYs", bytes(9)), 200, None
    yield (
        "long-chunk.png",
        png[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + bytes(50),
        422,
        "unreadable_image",
    )
    yield "two-headers.png", _with_chunk(png, b"IHDR", png[16:29]), 200, None
    yield "exif-loop.jpg", encode(_nine(), "JPEG", exif=_looping_exif()), 200, None
    yield "exif-loop.webp", encode(_nine().convert("RGB"), "WEBP", exif=_looping_exif()), 200, None


def _animated() -> Iterator[Case]:
    """The first frame counts, and the others are never decoded."""
    nine, blank = _nine().convert("RGB"), Image.new("RGB", _nine().size, "white")
    for form, ending in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")):
        for name, frames in (("many-frames", [nine, *[blank] * 60]), ("blank-first", [blank, nine])):
            data = encode(frames[0], form, save_all=True, append_images=frames[1:], duration=1)
            good = name == "many-frames"
            yield f"{name}.{ending}", data, 200 if good else 422, None if good else "no_ink"


def _without_an_end() -> Iterator[Case]:
    """JPEGs without their end marker, as small cameras send them, and ones that lack pixels, too."""
    for name, options in (("", {}), ("progressive-", {"progressive": True})):
        jpeg = encode(_nine(), "JPEG", quality=90, **options)
        yield f"{name}without-end.jpg", jpeg[:-2], 200, None
        yield f"{name}half-an-end.jpg", jpeg[:-1], 200, None
        yield f"{name}without-rows.jpg", jpeg[:-200], 422, "unreadable_image"


def _run_lengths() -> Iterator[Case]:
    nine = np.asarray(_nine())
    yield "run-lengths.bmp", run_length_bmp(nine), 200, None
    yield "run-lengths-of-four-bits.bmp", run_length_bmp(nine // 17, bits=4), 200, None
    bomb = run_length_bmp(nine)[:26]
    # it declares 10,000,000x4 pixels: Pillow fills each row up in Python
    bomb = bomb[:18] + struct.pack("<ii", 10_000_000, 4) + run_length_bmp(nine)[26:54]
    yield "run-length-bomb.bmp", bomb + bytes(1024) + b"\1\0\0\0" * 4, 422, "unreadable_image"


def run_length_bmp(levels: np.ndarray, *, bits: int = 8) -> bytes:
    """Return a grey BMP that is compressed by run lengths (RLE8 or RLE4), each run of one pixel."""
    height, width = levels.shape
    pairs = levels if bits == 8 else levels << 4 | levels
    rows = (b"".join(bytes([1, level]) for level in row) for row in pairs[::-1].tolist())
    data = b"\0\0".join(rows) + b"\0\1"
    most = (1 << bits) - 1
    palette = b"".join(bytes([level * 255 // most] * 3 + [0]) for level in range(most + 1))
    start = 54 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(data), 0, 0, 0, 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


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


def _tiff() -> Iterator[Case]:
    """Directories that lie, and pages of every kind."""
    nine = _nine()
    damaged, large = (422, "unreadable_image"), (422, "image_too_large")
    strip, rows = bytes(28), {278: (4, (1,)), 257: (4, (28,))}
    kinds: dict[str, tuple[bytes, tuple[int, str]]] = {
        "no-tags.tif": (b"II*\0" + struct.pack("<LH", 8, 0) + bytes(4), damaged),
        "directory-elsewhere.tif": (b"II*\0" + struct.pack("<L", 2**32 - 1), damaged),
        "countless-tags.tif": (b"II*\0" + struct.pack("<LH", 8, 65_535) + bytes(65_535 * 12), damaged),
        "bomb.tif": (_tiff_of({256: (4, (30_000,)), 257: (4, (30_000,))}, strip), large),
        "no-rows.tif": (_tiff_of({257: (4, (0,))}, strip), damaged),
        "same-strip.tif": (_tiff_of(rows | {273: (4, (8,) * 28), 279: (4, (28,) * 28)}, strip), damaged),
        "few-strips.tif": (_tiff_of(rows, strip), damaged),
        "strip-beyond-the-end.tif": (_tiff_of({279: (4, (10_000,))}, strip), damaged),
        "countless-strips.tif": (_tiff_of({273: (4, (8,) * 30_000)}, strip), damaged),
        "giant-tile.tif": (
            _tiff_of({322: (4, (65_536,)), 323: (4, (65_536,)), 324: (4, (8,)), 325: (4, (28,))}, strip),
            damaged,
        ),
        "countless-samples.tif": (_tiff_of({277: (3, (60_000,))}, strip), damaged),
        "no-data.tif": (_tiff_of({259: (3, (8,))}, b""), damaged),
        "garbage.tif": (_tiff_of({259: (3, (5,))}, b"\xff" * 784), damaged),
        "scan-bomb.tif": (_tiff_of({259: (3, (7,))}, (FOLDER / "scan-bomb.jpg").read_bytes()), damaged),
    }
    for name, (data, (status, code)) in kinds.items():
        yield name, data, status, code
    for name, changes in {
        "floats.tif": {339: (3, (3,)), 258: (3, (32,))},
        "signed.tif": {339: (3, (2,))},
        "twelve-bits.tif": {258: (3, (12,))},
        "old-jpeg.tif": {259: (3, (6,))},
        "zstandard.tif": {259: (3, (50_000,))},
    }.items():
        yield name, _tiff_of(changes, strip), 415, "unsupported_media_type"
    deep = Image.fromarray(np.asarray(nine).astype(np.uint16) * 257)
    pictures = {
        "sixteen-bits.tif": (deep, "tiff_lzw"),
        "palette.tif": (nine.convert("RGB").convert("P"), "packbits"),
        "alpha.tif": (nine.convert("RGBA"), "tiff_adobe_deflate"),
        "four-inks.tif": (nine.convert("RGB").convert("CMYK"), "tiff_lzw"),
        "jpeg.tif": (nine.convert("RGB"), "jpeg"),
        "fax3.tif": (nine.convert("1"), "group3"),
        "runs.tif": (nine.convert("1"), "tiff_ccitt"),
    }
    for name, (picture, compression) in pictures.items():
        yield name, encode(picture, "TIFF", compression=compression), 200, None


def _tiff_of(changes: Mapping[int, Field], strip: bytes) -> bytes:
    """Return a TIFF of 28x28 grey pixels with one strip behind the head, and other tags as they are given.

    A tag has a type (3 SHORT, 4 LONG) and values.
    """
    tags: dict[int, Field] = {
        256: (4, (28,)), 257: (4, (28,)), 258: (3, (8,)), 259: (3, (1,)), 262: (3, (1,)),
        273: (4, (8,)), 277: (3, (1,)), 279: (4, (len(strip),)),
    }  # fmt: skip
    directory, beyond = b"", b""
    tags = dict(sorted({**tags, **changes}.items()))
    start = 8 + len(strip)
    for tag, (kind, values) in tags.items():
        packed = struct.pack(f"<{len(values)}{'HL'[kind - 3]}", *values)
        if len(packed) > 4:
            offset = start + 2 + 12 * len(tags) + 4 + len(beyond)
            beyond += packed
            packed = struct.pack("<L", offset)
        directory += struct.pack("<HHL", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return (
        b"II*\0"
        + struct.pack("<L", start)
        + strip
        + struct.pack("<H", len(tags))
        + directory
        + bytes(4)
        + beyond
    )


def _heif() -> Iterator[Case]:
    """Boxes and items that lie, of either codec; and codecs that are not read."""
    nine = heif.load_hevc("9-grey")
    good = build([nine])
    damaged, large = (422, "unreadable_image"), (422, "image_too_large")
    many = [Item(nine.kind, nine.data) for _ in range(4_096)]
    loop = build(
        [heif.grid(1, 1, (120, 140)), heif.grid(1, 1, (120, 140))],
        references=[(b"dimg", 1, [2]), (b"dimg", 2, [1])],
    )
    kinds: dict[str, tuple[bytes, tuple[int, str]]] = {
        "box-beyond-the-end.heic": (good.replace(b"\0\0\0\x21hdlr", b"\x7f\0\0\x21hdlr"), damaged),
        "box-of-zero-bytes.heic": (good[:24] + box(b"free", b"").replace(b"\x08", b"\x01") + good[24:], damaged),
        "countless-boxes.heic": (good[:24] + box(b"free", b"") * 30_000 + good[24:], damaged),
        "countless-items.heic": (build([nine, *many]), damaged),
        "nested-boxes.heic": (good[:24] + box(b"meta", bytes(4) + _nest(500)), damaged),
        "no-location.heic": (good.replace(b"iloc", b"free"), damaged),
        "no-size.heic": (good.replace(b"ispe", b"free"), damaged),
        "no-properties.heic": (good.replace(b"ipma", b"free"), damaged),
        "absent-property.heic": (build([nine]).replace(*_last_association(nine)), damaged),
        "data-beyond-the-end.heic": (build([nine])[:-1], damaged),
        "other-size.heic": (build([nine.change(ispe=extent(121, 140))]), damaged),
        "bomb.heic": (build([_resize_hevc(_tile(0), 30_000).change(ispe=extent(30_000, 30_000))]), large),
        "hidden-bomb.heic": (build([_resize_hevc(_tile(0), 30_000)]), damaged),
        "grid-of-itself.heic": (build([heif.grid(1, 1, (120, 140))], references=[(b"dimg", 1, [1])]), (415, "")),
        "grids-of-each-other.heic": (loop, (415, "")),
        "grid-without-tiles.heic": (build([heif.grid(9, 9, (900, 900))]), damaged),
        "grid-of-absent-tiles.heic": (
            build([heif.grid(1, 2, (128, 64)), nine], references=[(b"dimg", 1, [2, 77])]), damaged,
        ),
        "grid-of-too-few-pixels.heic": (build_grid([_tile(0)] * 4, 2, (300, 128)), damaged),
        "grid-of-hidden-tiles.heic": (build_grid([_tile(0)] * 4, 2, (64, 64)), damaged),
        "grid-of-unequal-tiles.heic": (build_grid([_tile(0), nine], 2, (128, 64)), damaged),
        "countless-tiles.heic": (build_grid([_tile(4)] * 1_600, 40, (2_560, 2_560)), damaged),
        "grid-bomb.heic": (build_grid([heif.load_hevc("white-tile")] * 1_024, 32, (16_384, 16_384)), large),
        "grid-of-no-pixels.heic": (build_grid([_tile(0)], 1, (0, 0)), damaged),
        "shared-data.heic": (_share_data(nine, 9), damaged),
        "crop-to-nothing.heic": (build([nine.change(clap=_crop(0, 0))]), damaged),
        "crop-beyond.heic": (build([nine.change(clap=_crop(500, 500))]), damaged),
        "crop-by-zero.heic": (build([nine.change(clap=bytes(32))]), damaged),
    }  # fmt: skip
    for name, (data, (status, code)) in kinds.items():
        yield name, data, status, code or "unsupported_media_type"
    for name, kind in {
        "vvc.heic": b"vvc1", "jpeg-2000.heic": b"j2k1", "uncompressed.heic": b"unci", "overlay.heic": b"iovl",
        "derived.heic": b"iden", "jpeg.heic": b"jpeg", "unknown-codec.heic": b"\xff\0\r\n",
    }.items():  # fmt: skip
        yield name, build([Item(kind, nine.data, nine.properties)]), 415, "unsupported_media_type"
    sequence = box(b"ftyp", b"msf1\0\0\0\0msf1hevc") + box(b"moov", bytes(100))
    yield "sequence.heic", sequence, 415, "unsupported_media_type"
    yield (
        "minimal-form.heic",
        box(b"ftyp", b"mif3heic") + box(b"mini", bytes(40)),
        415,
        "unsupported_media_type",
    )
    unknown = build([nine.change(a1op=b"\0")], essential=frozenset({b"a1op"}))
    yield "essential-property.heic", unknown, 415, "unsupported_media_type"
    yield "in-metadata.heic", build([nine], in_metadata=True), 200, None
    yield "mirrored.heic", build([nine.change(imir=b"\1")]), 200, None
    yield "behind-a-free-box.heic", build([nine], before=box(b"free", bytes(1_000))), 200, None
    yield "of-a-sequence.heic", build([nine], brand=b"msf1") + box(b"moov", bytes(100)), 200, None
    for cut in (10, 13, 30, 60, len(good) // 2):
        yield f"cut-at-{cut}.heic", good[:cut], 422, "unreadable_image"


def _heic() -> Iterator[Case]:
    """Coded pictures whose parameters or slices lie."""
    nine = heif.load_hevc("9-grey")
    configuration = nine.properties[b"hvcC"][8:]
    sps = configuration.index(b"\x42\x01")  # a sequence parameter set begins here
    for name, changed in {
        "no-configuration.heic": b"",
        "cut-configuration.heic": configuration[:40],
        "cut-parameters.heic": configuration[:sps + 12],
        "countless-parameters.heic": configuration[:22] + b"\x01\xa1\xff\xff" + configuration[sps - 2 :],
        "two-parameters.heic": configuration[:22] + bytes([configuration[22] * 2]) + configuration[23:]
        + _resize_hevc(nine, 128).properties[b"hvcC"][8 + 23:],
    }.items():  # fmt: skip
        yield name, build([nine.change(hvcC=changed)]), 422, "unreadable_image"
    for name, data in {
        "no-slices.heic": b"",
        "slice-beyond-the-end.heic": b"\x7f" + nine.data[1:],
        "no-first-slice.heic": nine.data[:6] + bytes([nine.data[6] & 0x7F]) + nine.data[7:],
        "needs-others.heic": nine.data[:4] + bytes([2]) + nine.data[5:],
        "countless-slices.heic": b"\0\0\0\3\x28\1\0" * 30_000,
    }.items():
        yield name, build([Item(nine.kind, data, nine.properties)]), 422, "unreadable_image"
    twice = nine.data + _pack_nal(nine.data[4:], 4)
    yield "two-pictures.heic", build([Item(nine.kind, twice, nine.properties)]), 200, None
    message = _pack_nal(b"\x4e\1" + bytes(500), 4)
    yield "messages.heic", build([Item(nine.kind, message * 50 + nine.data, nine.properties)]), 200, None


def _avif() -> Iterator[Case]:
    """Coded pictures whose headers lie."""
    nine = heif.load_item(encode(_nine().convert("RGB"), "AVIF", quality=70))
    good = build([nine], brand=b"avif")
    sequence, frame = _split_av1(nine.data)
    for name, data in {
        "no-frame.avif": sequence,
        "no-sequence.avif": frame,
        "cut-frame.avif": sequence + _pack_obu(6, _unpack_obu(frame)[:40]),
        "unit-beyond-the-end.avif": sequence + frame[:-1],
        "endless-number.avif": sequence + b"\x32" + b"\xff" * 9,
        "countless-units.avif": b"\x12\0" * 30_000 + nine.data,
    }.items():
        yield name, build([Item(nine.kind, data, nine.properties)], brand=b"avif"), 422, "unreadable_image"
    layers = Item(nine.kind, nine.data + frame, nine.properties)
    yield "layers.avif", build([layers], brand=b"avif"), 415, "unsupported_media_type"
    bomb = Item(nine.kind, _resize_av1(sequence) + frame, nine.properties)
    yield "hidden-bomb.avif", build([bomb], brand=b"avif"), 422, "unreadable_image"
    bomb = bomb.change(ispe=extent(65_536, 65_536))
    yield "bomb.avif", build([bomb], brand=b"avif"), 422, "image_too_large"
    yield "film.avif", box(b"ftyp", b"avis\0\0\0\0avis") + box(b"moov", b""), 415, "unsupported_media_type"
    padded = Item(nine.kind, _pack_obu(15, bytes(9_000)) + nine.data, nine.properties)
    yield "padding.avif", build([padded], brand=b"avif"), 200, None
    for cut in (12, 100, len(good) - 1):
        yield f"cut-at-{cut}.avif", good[:cut], 422, "unreadable_image"
    blank = Image.new("RGB", (80, 60), "white")
    frames = [blank, _nine().convert("RGB").resize(blank.size)]
    yield "blank-first.avif", encode(blank, "AVIF", save_all=True, append_images=frames[1:]), 422, "no_ink"


def _tile(index: int) -> Item:
    return heif.load_hevc(f"9-tile-{index}")


def _nest(depth: int) -> bytes:
    boxes = b""
    for _ in range(depth):
        boxes = box(b"iprp", boxes)
    return boxes


def _last_association(item: Item) -> tuple[bytes, bytes]:
    """Return the last bytes of the box ipma of a file of one item, and others that name an absent property."""
    numbers = bytes(range(1, len(item.properties) + 1))
    return numbers + b"\0\0", numbers[:-1] + b"\x7f\0\0"


def _crop(width: int, height: int) -> bytes:
    return struct.pack(">8l", width, 1, height, 1, 0, 1, 0, 1)


def _share_data(item: Item, tiles: int) -> bytes:
    """Return a grid of tiles that are different items with the same data, more than there are in the file."""
    items = [heif.grid(1, tiles, (120 * tiles, 140)), *[item] * tiles]
    return build(items, references=[(b"dimg", 1, range(2, tiles + 2))])


def _resize_hevc(item: Item, side: int) -> Item:
    """Return a picture whose sequence parameter set says that it is a square of so many pixels."""
    configuration = item.properties[b"hvcC"][8:]
    start = configuration.index(b"\x42\x01")
    size = int.from_bytes(configuration[start - 2 : start], "big")
    payload = configuration[start + 2 : start + size].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in payload)
    beginning, rest = bits[:104], bits[104:]  # profile and level
    codes = []
    for _ in range(4):  # its number, the chroma format, width and height
        length = 2 * rest.index("1") + 1
        codes.append(rest[:length])
        rest = rest[length:]
    number = f"{side + 1:b}"
    bits = beginning + "".join(codes[:2]) + 2 * (number.rjust(2 * len(number) - 1, "0")) + rest
    bits += "0" * (-len(bits) % 8)
    changed = b"\x42\x01" + re.sub(
        rb"\0\0(?=[\0-\3])", b"\0\0\3", int(bits, 2).to_bytes(len(bits) // 8, "big")
    )
    parts = configuration[: start - 2], _pack_nal(changed), configuration[start + size :]
    return item.change(hvcC=b"".join(parts))


def _resize_av1(sequence: bytes) -> bytes:
    """Return a sequence header that allows 65,536x65,536 pixels."""
    payload = _unpack_obu(sequence)
    bits = "".join(f"{byte:08b}" for byte in payload)
    width_bits, height_bits = int(bits[10:14], 2) + 1, int(bits[14:18], 2) + 1  # of a reduced header
    bits = bits[:10] + "1" * 8 + "1" * 32 + bits[18 + width_bits + height_bits :]
    bits += "0" * (-len(bits) % 8)
    return _pack_obu(1, int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _pack_nal(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _split_av1(data: bytes) -> tuple[bytes, bytes]:
    """Return sequence header and frame of an AV1 picture."""
    units = {kind: payload for kind, payload in av1.iterate_units(data) if kind in {1, 6}}
    return _pack_obu(1, units[1]), _pack_obu(6, units[6])


def _pack_obu(kind: int, payload: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(payload) & 0x7F | 0x80, len(payload) >> 7]) + payload


def _unpack_obu(unit: bytes) -> bytes:
    return unit[3:]


def _bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, 0, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62, 0, 0, 62) + info + b"\0\0\0\0\xff\xff\xff\0"


def _jpeg_of_size(width: int, height: int) -> bytes:
    jpeg = bytearray(encode(_nine(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def _lossless_webp_of_size(width: int, height: int) -> bytes:
    size = struct.pack("<I", width - 1 | height - 1 << 14)
    data = b"VP8L" + struct.pack("<I", 20) + b"\x2f" + size + bytes(15)
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data


def _looping_exif() -> bytes:
    """Return EXIF whose directory names itself as the next one, and as its own part."""
    entry = struct.pack(">HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 8)


def _orientation(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    return encode(_nine(), "JPEG", exif=exif)


if __name__ == "__main__":
    main()
