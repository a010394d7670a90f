"""HEIF with HEVC or AV1, as phones write it."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from app.digits import images
from app.digits.contract import GreyPicture
from app.digits.errors import ImageTooLarge, UnreadableImage, UnsupportedFormat
from app.digits.formats import heif
from tests.data.golden import encode
from tests.data.heif import HEVC, Item, build, build_grid, extent, load_hevc, load_item
from tests.data.strokes import ink

NINE = 255 - ink(9, (120, 140), box=(35, 25, 50, 90), pen=9)
TILES = [load_hevc(f"9-tile-{index}") for index in range(6)]
FROM_AVIF = load_item(encode(Image.fromarray(NINE).convert("RGB"), "AVIF", quality=90))


def decode(data: bytes) -> GreyPicture:
    return images.decode(images.identify(data)).grey


def assert_similar(grey: GreyPicture, expected: GreyPicture) -> None:
    assert grey.shape == expected.shape
    assert np.abs(grey.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("name", ["colour", "grey", "whole-chroma", "ten-bits", "alpha", "turned"])
def test_depths_and_kinds_of_hevc_give_the_same_picture(name: str) -> None:
    assert_similar(decode((HEVC / f"9-{name}.heic").read_bytes()), NINE)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4", "4:0:0"])
def test_modes_of_av1_give_the_same_picture(mode: str, subsampling: str) -> None:
    data = encode(Image.fromarray(NINE).convert(mode), "AVIF", quality=90, subsampling=subsampling)
    assert images.identify(data).header.format == "AVIF"
    assert_similar(decode(data), NINE)


def test_tiles_are_put_together() -> None:
    data = build_grid(TILES, 2, (120, 140))
    assert images.identify(data).header.description == "HEIC of 6 tiles"
    assert_similar(decode(data), NINE)


def test_tiles_of_av1_are_put_together() -> None:
    padded = Image.fromarray(np.pad(NINE, ((0, 52), (0, 8)), mode="edge")).convert("RGB")
    boxes = [(column, row, column + 64, row + 64) for row in (0, 64, 128) for column in (0, 64)]
    tiles = [load_item(encode(padded.crop(box), "AVIF", quality=90)) for box in boxes]
    assert_similar(decode(build_grid(tiles, 2, (120, 140), brand=b"avif")), NINE)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("item", [load_hevc("9-grey"), FROM_AVIF], ids=["HEIC", "AVIF"])
def test_turns_and_reflections_are_done_in_their_order(item: Item, turns: int, axis: int | None) -> None:
    changed = item.change(irot=bytes([turns]))
    expected = np.rot90(NINE, turns)
    if axis is not None:
        changed = changed.change(imir=bytes([axis]))
        expected = np.fliplr(expected) if axis else np.flipud(expected)
    assert_similar(decode(build([changed])), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_that_others_write_is_done_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored_as_jpeg = encode(Image.fromarray(NINE), "JPEG", quality=95, exif=exif)
    # Pillow takes the orientation out of the EXIF data, and writes turns and reflections
    data = encode(Image.fromarray(NINE).convert("RGB"), "AVIF", quality=90, exif=exif)
    assert_similar(decode(data), decode(stored_as_jpeg))


def test_a_picture_may_be_cropped() -> None:
    clap = struct.pack(">8l", 100, 1, 120, 1, 0, 1, 0, 1)
    data = build([FROM_AVIF.change(clap=clap)])
    assert images.identify(data).size == (100, 120)
    assert_similar(decode(data), np.ascontiguousarray(NINE[10:130, 10:110]))


def test_other_items_and_metadata_are_dropped() -> None:
    secret = Item(b"Exif", b"where it was taken")
    thumbnail = load_hevc("costly-tile")
    data = build([load_hevc("9-grey"), secret, thumbnail], references=[(b"thmb", 3, [1]), (b"cdsc", 2, [1])])
    header = heif.read_header(data)
    assert header.mosaic is not None
    (file,) = header.mosaic.tiles
    assert b"taken" in data
    assert b"taken" not in file
    assert thumbnail.data not in file
    assert_similar(decode(data), NINE)


def test_the_still_picture_of_an_animation_is_read() -> None:
    frames = [Image.fromarray(NINE).convert("RGB"), Image.new("RGB", (120, 140))]
    assert_similar(decode(encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])), NINE)


@pytest.mark.parametrize(
    ("kind", "name"), [(b"vvc1", r"VVC \(H.266\)"), (b"iovl", "an overlay"), (b"zzzz", "the codec 'zzzz'")]
)
def test_another_codec_is_named(kind: bytes, name: str) -> None:
    item = load_hevc("9-grey")
    with pytest.raises(UnsupportedFormat, match=f"This HEIF file holds {name}.* not supported"):
        images.identify(build([Item(kind, item.data, item.properties)]))


def test_a_picture_that_is_too_costly_is_named_with_its_cost() -> None:
    tiles = [load_hevc("white-tile")] * 120
    with pytest.raises(ImageTooLarge, match=r"HEIC of 120 tiles of 6144x5120 pixels .* an ordinary JPEG"):
        images.identify(build_grid(tiles, 12, (6_144, 5_120)))


def test_a_declared_size_does_not_hide_the_size_that_is_decoded() -> None:
    with pytest.raises(UnreadableImage):
        images.identify(build([load_hevc("white-tile").change(ispe=extent(64, 64))]))


def test_the_decoders_are_imported_when_the_first_such_picture_arrives() -> None:
    code = "import sys, app.main; sys.exit({'pi_heif', 'PIL.AvifImagePlugin'} & sys.modules.keys() != set())"
    subprocess.run([sys.executable, "-c", code], check=True)
