"""TIFF, as scanners write it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from app.digits import images
from app.digits.contract import GreyPicture
from app.digits.errors import UnreadableImage, UnsupportedFormat
from app.digits.formats import tiff
from tests.data.golden import ROWS_PER_STRIP, encode
from tests.data.strokes import ink

NINE = 255 - ink(9, (120, 140), box=(35, 25, 50, 90), pen=9)
PICTURE = Image.fromarray(NINE)
COMPRESSIONS = [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"]
FAXES = ["group3", "group4", "tiff_ccitt"]


def decode(data: bytes) -> GreyPicture:
    return images.decode(images.identify(data)).grey


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "LA"])
def test_modes_and_compressions_without_loss_give_the_same_pixels(mode: str, compression: str | None) -> None:
    np.testing.assert_array_equal(
        decode(encode(PICTURE.convert(mode), "TIFF", compression=compression)), NINE
    )


@pytest.mark.parametrize("compression", [*COMPRESSIONS, *FAXES])
def test_a_fax_has_one_bit(compression: str | None) -> None:
    black_and_white = PICTURE.convert("1")
    expected = np.asarray(black_and_white.convert("L"))
    np.testing.assert_array_equal(decode(encode(black_and_white, "TIFF", compression=compression)), expected)


def test_jpeg_within_a_tiff_is_read() -> None:
    difference = (
        decode(encode(PICTURE.convert("RGB"), "TIFF", compression="jpeg", quality=95)).astype(int) - NINE
    )
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_picture_may_be_stored_in_strips(compression: str | None) -> None:
    data = encode(PICTURE, "TIFF", compression=compression, tiffinfo={ROWS_PER_STRIP: 9})
    np.testing.assert_array_equal(decode(data), NINE)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = Image.fromarray(NINE.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(encode(deep, "TIFF")), NINE)


def test_only_the_first_page_is_read_and_the_others_are_dropped() -> None:
    pages = [Image.new("L", (2000, 2000), 0) for _ in range(3)]
    data = encode(PICTURE, "TIFF", save_all=True, append_images=pages)
    header = tiff.read_header(data)
    assert header.size == PICTURE.size
    assert len(header.stripped_file) < NINE.size + 500
    np.testing.assert_array_equal(decode(data), NINE)


def test_private_tags_and_metadata_are_dropped() -> None:
    data = encode(PICTURE, "TIFF", tiffinfo={270: "a secret", 65_000: "another"}, icc_profile=b"profile")
    stripped = tiff.read_header(data).stripped_file
    assert b"secret" in data
    assert not [word for word in (b"secret", b"another", b"profile") if word in stripped]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda grey: grey), (3, lambda grey: np.rot90(grey, 2)), (6, lambda grey: np.rot90(grey, -1))],
)
def test_the_orientation_turns_the_picture_upright(orientation: int, turn: object) -> None:
    data = encode(PICTURE, "TIFF", tiffinfo={274: orientation})
    assert callable(turn)
    np.testing.assert_array_equal(decode(data), turn(NINE))


def build_tiled(order: str, *, planes: int = 1) -> bytes:
    """Return NINE in tiles of 64x64, in either byte order, in one plane or in three."""
    down, across = -(-NINE.shape[0] // 64), -(-NINE.shape[1] // 64)
    padded = np.pad(NINE, ((0, down * 64 - NINE.shape[0]), (0, across * 64 - NINE.shape[1])))
    tiles = [
        padded[row : row + 64, column : column + 64].tobytes()
        for _ in range(planes)
        for row in range(0, down * 64, 64)
        for column in range(0, across * 64, 64)
    ]
    offsets = [8 + index * 4096 for index in range(len(tiles))]
    tags: dict[int, list[int]] = {
        256: [NINE.shape[1]], 257: [NINE.shape[0]], 258: [8] * planes, 259: [1],
        262: [1 if planes == 1 else 2], 277: [planes], 284: [1 if planes == 1 else 2],
        322: [64], 323: [64], 324: offsets, 325: [4096] * len(tiles),
    }  # fmt: skip
    start = 8 + len(tiles) * 4096
    beyond, entries = b"", b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}L", *values)
        if len(packed) > 4:
            offset = start + 2 + 12 * len(tags) + 4 + len(beyond)
            beyond, packed = beyond + packed, struct.pack(f"{order}L", offset)
        entries += struct.pack(f"{order}HHL", tag, 4, len(values)) + packed
    signature = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + beyond
    return signature + struct.pack(f"{order}L", start) + b"".join(tiles) + directory


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_picture_may_be_stored_in_tiles_and_in_either_byte_order(order: str) -> None:
    np.testing.assert_array_equal(decode(build_tiled(order)), NINE)


def test_colours_may_be_stored_in_planes() -> None:
    np.testing.assert_array_equal(decode(build_tiled("<", planes=3)), NINE)


def test_a_compression_that_is_not_read_is_named() -> None:
    data = encode(PICTURE, "TIFF").replace(
        struct.pack("<HHLL", 259, 3, 1, 1), struct.pack("<HHLL", 259, 3, 1, 50_000)
    )
    with pytest.raises(UnsupportedFormat, match="compressed with Zstandard, which is not supported"):
        images.identify(data)


def test_strips_that_share_their_bytes_are_refused_before_they_are_copied() -> None:
    data = encode(PICTURE, "TIFF", tiffinfo={ROWS_PER_STRIP: 1})
    sizes = struct.pack("<140L", *[120] * 140)
    assert sizes in data
    with pytest.raises(UnreadableImage):
        images.identify(data.replace(sizes, struct.pack("<140L", *[16_000] * 140)))


def test_a_damaged_file_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encode(PICTURE, "TIFF", compression="tiff_adobe_deflate"))
    data[8:40] = bytes(32)
    with pytest.raises(UnreadableImage):
        decode(bytes(data))
    assert capfd.readouterr().err == ""
