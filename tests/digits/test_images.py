from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.digits import images
from app.digits.errors import ImageError, ImageTooLarge, ImageTooSmall, UnreadableImage, UnsupportedFormat
from app.digits.images import Picture
from tests.conftest import HOSTILE
from tests.data.golden import encode
from tests.data.strokes import ink

NINE = 255 - ink(9, (60, 80), box=(17, 12, 26, 54), pen=6)


def decoded(data: bytes) -> Picture:
    return images.decode(images.identify(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_gives_the_same_grey_picture(mode: str) -> None:
    black_and_white = Image.fromarray(np.where(NINE < 128, 0, 255).astype(np.uint8))
    picture = decoded(encode(black_and_white.convert(mode), "PNG"))
    np.testing.assert_array_equal(picture.grey, np.asarray(black_and_white))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = NINE.astype(np.uint16) * 257
    picture = decoded(encode(Image.fromarray(deep), "PNG"))
    np.testing.assert_array_equal(picture.grey, NINE)


def test_cmyk_keeps_its_polarity() -> None:
    picture = decoded(encode(Image.fromarray(NINE).convert("RGB").convert("CMYK"), "JPEG", quality=95))
    assert np.abs(picture.grey.astype(int) - NINE).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(NINE)
    turns = {1: None, **{number: Image.Transpose(_stored(number)) for number in range(2, 9)}}
    turn = turns[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = decoded(encode(stored, "PNG", exif=exif))
    assert (picture.width, picture.height) == upright.size
    np.testing.assert_array_equal(picture.grey, NINE)


def _stored(orientation: int) -> int:
    names = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE"]
    return int(Image.Transpose[[*names, "ROTATE_270"][orientation - 2]])


@pytest.mark.parametrize(("tone", "ground"), [(0, 255), (40, 255), (255, 0), (200, 0)])
def test_ink_on_a_transparent_canvas_stands_out_from_its_ground(tone: int, ground: int) -> None:
    alpha = 255 - NINE
    drawing = np.dstack([np.full((*NINE.shape, 3), tone, np.uint8), alpha])
    picture = decoded(encode(Image.fromarray(drawing), "PNG"))
    assert picture.grey[0, 0] == ground
    assert picture.grey[alpha == 255].mean() == tone


def test_a_photo_with_clear_corners_keeps_its_own_paper() -> None:
    alpha = np.full_like(NINE, 255)
    alpha[:8, :8] = 0
    paper = np.where(NINE > 128, 180, 30).astype(np.uint8)
    picture = decoded(encode(Image.fromarray(np.dstack([paper, paper, paper, alpha])), "PNG"))
    assert picture.grey[0, 0] == 180


def test_what_is_hidden_by_full_transparency_is_not_read() -> None:
    hidden = np.dstack([NINE, NINE, NINE, np.zeros_like(NINE)])
    assert decoded(encode(Image.fromarray(hidden), "PNG")).grey.min() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_large_picture_is_decoded_small_and_boxes_lead_back(kind: str) -> None:
    large = Image.new("L", (4000, 3000), 255)
    large.paste(0, (1000, 600, 1200, 1400))
    picture = decoded(encode(large.convert("RGB"), kind))
    assert 0.75 * images.WORKING_SIDE <= max(picture.grey.shape) <= images.WORKING_SIDE
    assert (picture.width, picture.height) == (4000, 3000)
    rows, columns = np.nonzero(picture.grey < 128)
    left, top, right, bottom = (int(edge) for edge in (columns.min(), rows.min(), columns.max(), rows.max()))
    box = (left, top, right - left + 1, bottom - top + 1)
    np.testing.assert_allclose(picture.in_original(box), (1000, 600, 200, 800), atol=8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("upright", [False, True])
def test_a_picture_may_be_as_thin_as_it_likes(kind: str, upright: object) -> None:
    line = Image.new("L", (4, 16_000) if upright else (16_000, 4), 255)
    picture = decoded(encode(line.convert("RGB"), kind))
    assert (picture.width, picture.height) == line.size
    assert min(picture.grey.shape) >= 1


def test_a_moved_file_name_changes_nothing_but_the_first_frame_counts() -> None:
    frames = [Image.fromarray(NINE), Image.new("L", (60, 80), 0)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decoded(data).grey.astype(int) - NINE).max() <= 2


def test_pixels_are_counted_from_the_header_before_any_is_decoded() -> None:
    with pytest.raises(ImageTooLarge, match=r"30000x30000 = 900000000 pixels, at most 40000000") as refused:
        images.identify((HOSTILE / "bomb.png").read_bytes())
    assert refused.value.limit == images.MAX_PIXELS


def test_the_limits_are_exact() -> None:
    four = encode(Image.new("L", (4, 4), 255), "PNG")
    assert images.identify(four, max_pixels=16).pixels == 16
    with pytest.raises(ImageTooLarge):
        images.identify(four, max_pixels=15)
    with pytest.raises(ImageTooSmall):
        images.identify(encode(Image.new("L", (4, 3), 255), "PNG"))


def test_an_allowed_format_that_breaks_off_is_unreadable_and_others_are_unsupported() -> None:
    png = encode(Image.fromarray(NINE), "PNG")
    with pytest.raises(UnreadableImage):
        decoded(png[: len(png) // 2])
    with pytest.raises(UnsupportedFormat):
        decoded(encode(Image.fromarray(NINE), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_a_file_cut_at_any_byte_raises_only_our_errors(kind: str) -> None:
    data = encode(Image.fromarray(NINE[::2, ::2]).convert("RGB"), kind)
    for length in range(len(data)):
        with contextlib.suppress(ImageError):  # a file without its last bytes may still be whole
            decoded(data[:length])


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"])
)
def test_arbitrary_bytes_raise_only_our_errors(tail: bytes, head: bytes) -> None:
    with pytest.raises(ImageError):
        decoded(head + tail)


@given(st.data())
def test_flipped_bytes_raise_only_our_errors(chance: st.DataObject) -> None:
    kind = chance.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF"]))
    file = io.BytesIO()
    Image.fromarray(NINE).convert("RGB").save(file, kind)
    data = bytearray(file.getvalue())
    for place in chance.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=8)):
        data[place] = chance.draw(st.integers(0, 255))
    try:
        picture = decoded(bytes(data))
    except ImageError:
        return
    assert picture.grey.dtype == np.uint8
    assert picture.grey.ndim == 2


def _padded(kind: str, piece: bytes, count: int) -> bytes:
    """Put many tiny pieces behind a file's head."""
    head = {"PNG": 33, "JPEG": 2, "GIF": 13}[kind]
    data = encode(Image.fromarray(NINE), kind)
    if kind == "GIF":  # the pieces of one comment, before the picture
        head = data.index(b",", head)
        return data[:head] + b"!\xfe" + piece * count + b"\0" + data[head:]
    return data[:head] + piece * count + data[head:]


def _chunk(name: bytes) -> bytes:
    return struct.pack(">I", 0) + name + struct.pack(">I", zlib.crc32(name))


@pytest.mark.parametrize(
    ("kind", "piece"),
    [
        ("PNG", _chunk(b"xxXx")),
        ("PNG", _chunk(b"tEXt")),
        ("JPEG", b"\xff\xfe\x00\x02"),
        ("JPEG", b"\xff\xe1\x00\x02"),
        ("JPEG", b"\xff"),
        ("GIF", b"\x01a"),
    ],
    ids=["chunks", "texts", "comments", "application markers", "padding", "comment's pieces"],
)
def test_a_file_of_millions_of_pieces_is_refused_and_one_of_some_is_not(kind: str, piece: bytes) -> None:
    assert decoded(_padded(kind, piece, 20)).width == 60
    with pytest.raises(UnreadableImage):
        decoded(_padded(kind, piece, 150_000))


def test_a_large_png_in_small_chunks_is_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500), np.uint8)
    whole = encode(Image.fromarray(noise), "PNG")
    start = whole.index(b"IDAT") - 4
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise))
    parts = [pixels[at : at + 4096] for at in range(0, len(pixels), 4096)]
    chunks = [
        struct.pack(">I", len(part)) + b"IDAT" + part + struct.pack(">I", zlib.crc32(b"IDAT" + part))
        for part in parts
    ]
    assert decoded(whole[:start] + b"".join(chunks) + whole[-12:]).width == 1500
