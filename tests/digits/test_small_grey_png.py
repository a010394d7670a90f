"""Small grey PNGs go past Pillow: they are read as by Pillow, or refused where it refuses them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.digits import images
from app.digits.errors import ImageError
from tests.data.golden import encode
from tests.data.strokes import ink

FIVE = ink(5, (28, 28), box=(6, 4, 16, 20), pen=2)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(pixels: bytes, *, size: tuple[int, int], interlaced: int = 0, methods: bytes = b"\0\0") -> bytes:
    header = struct.pack(">IIBB", *size, 8, 0) + methods + bytes([interlaced])
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _decode(data: bytes) -> np.ndarray | None:
    try:
        return images.decode(images.identify(data)).grey
    except ImageError:
        return None


def _decode_by_pillow(data: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, zlib.error):
        return None


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """Draw a grey PNG, often with something wrong in it."""
    width, height = draw(st.integers(4, 12)), draw(st.integers(4, 12))
    row = st.tuples(st.integers(0, 5), st.binary(min_size=width, max_size=width))
    rows = draw(st.lists(row, min_size=height - 1, max_size=height + 1))
    pixels = bytearray(zlib.compress(b"".join(bytes([filter_]) + pixels for filter_, pixels in rows)))
    for place in draw(st.lists(st.integers(0, len(pixels) - 1), max_size=2)):
        pixels[place] = draw(st.integers(0, 255))
    del pixels[draw(st.sampled_from([len(pixels), len(pixels) - 1, len(pixels) // 2])) :]
    pixels += draw(st.sampled_from([b"", b"", b"more"]))
    return _png(bytes(pixels), size=(width, height), interlaced=draw(st.sampled_from([0, 0, 0, 1])))


@given(pngs())
@settings(max_examples=1000)
def test_it_is_decoded_as_by_pillow(data: bytes) -> None:
    expected, found = _decode_by_pillow(data), _decode(data)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("methods", [b"\x01\0", b"\0\x01"])
def test_a_png_of_an_unknown_method_is_not_read_by_opencv(
    methods: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in FIVE)
    _decode(_png(zlib.compress(rows), size=(28, 28), methods=methods))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", [slice(-1), slice(-9), slice(60), slice(45)])
def test_a_damaged_png_writes_nothing_to_the_log(damage: slice, capfd: pytest.CaptureFixture[str]) -> None:
    _decode(encode(Image.fromarray(FIVE), "PNG")[damage])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compress_level", [0, 1, 9])
@pytest.mark.parametrize("size", [(28, 28), (64, 64), (65, 64), (4, 1024)])
def test_its_size_does_not_matter(size: tuple[int, int], compress_level: int) -> None:
    picture = np.resize(FIVE, size[::-1])
    data = encode(Image.fromarray(picture), "PNG", compress_level=compress_level)
    np.testing.assert_array_equal(_decode(data), picture)


def test_a_rotated_png_comes_out_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(Image.fromarray(np.rot90(FIVE)), "PNG", exif=exif)
    np.testing.assert_array_equal(_decode(turned), FIVE)


def test_a_long_png_is_shrunk_to_the_requested_side() -> None:
    upload = images.identify(encode(Image.fromarray(np.resize(FIVE, (1024, 4))), "PNG"))
    assert max(images.decode(upload, side=256).grey.shape) <= 256
