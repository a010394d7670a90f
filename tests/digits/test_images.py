from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.digits import colours, images
from app.digits.errors import ImageError, ImageTooLarge, ImageTooSmall, UnreadableImage, UnsupportedFormat
from app.digits.images import Picture
from app.digits.scaling import shrink
from tests.conftest import HOSTILE
from tests.data.golden import encode
from tests.data.hostile import run_length_bmp
from tests.data.strokes import ink

NINE = 255 - ink(9, (60, 80), box=(17, 12, 26, 54), pen=6)


def decode_bytes(data: bytes) -> Picture:
    return images.decode(images.identify(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_gives_the_same_grey_picture(mode: str) -> None:
    black_and_white = Image.fromarray(np.where(NINE < 128, 0, 255).astype(np.uint8))
    picture = decode_bytes(encode(black_and_white.convert(mode), "PNG"))
    np.testing.assert_array_equal(picture.grey, np.asarray(black_and_white))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = NINE.astype(np.uint16) * 257
    picture = decode_bytes(encode(Image.fromarray(deep), "PNG"))
    np.testing.assert_array_equal(picture.grey, NINE)


def test_cmyk_keeps_its_polarity() -> None:
    picture = decode_bytes(encode(Image.fromarray(NINE).convert("RGB").convert("CMYK"), "JPEG", quality=95))
    assert np.abs(picture.grey.astype(int) - NINE).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(NINE)
    turns = {1: None, **{number: Image.Transpose(_store_turned(number)) for number in range(2, 9)}}
    turn = turns[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = decode_bytes(encode(stored, "PNG", exif=exif))
    assert (picture.width, picture.height) == upright.size
    np.testing.assert_array_equal(picture.grey, NINE)


def _store_turned(orientation: int) -> int:
    names = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE"]
    return int(Image.Transpose[[*names, "ROTATE_270"][orientation - 2]])


@pytest.mark.parametrize(("tone", "ground"), [(0, 255), (40, 255), (255, 0), (200, 0)])
def test_ink_on_a_transparent_canvas_stands_out_from_the_background(tone: int, ground: int) -> None:
    alpha = 255 - NINE
    drawing = np.dstack([np.full((*NINE.shape, 3), tone, np.uint8), alpha])
    picture = decode_bytes(encode(Image.fromarray(drawing), "PNG"))
    assert picture.grey[0, 0] == ground
    assert picture.grey[alpha == 255].mean() == tone


def test_a_photo_with_transparent_corners_keeps_its_background() -> None:
    alpha = np.full_like(NINE, 255)
    alpha[:8, :8] = 0
    paper = np.where(NINE > 128, 180, 30).astype(np.uint8)
    picture = decode_bytes(encode(Image.fromarray(np.dstack([paper, paper, paper, alpha])), "PNG"))
    assert picture.grey[0, 0] == 180


def test_fully_transparent_pixels_are_not_read() -> None:
    hidden = np.dstack([NINE, NINE, NINE, np.zeros_like(NINE)])
    assert decode_bytes(encode(Image.fromarray(hidden), "PNG")).grey.min() == 255


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_large_picture_is_decoded_small_and_boxes_map_to_the_original(file_format: str) -> None:
    large = Image.new("L", (4000, 3000), 255)
    large.paste(0, (1000, 600, 1200, 1400))
    picture = decode_bytes(encode(large.convert("RGB"), file_format))
    assert 0.75 * images.WORKING_SIDE <= max(picture.grey.shape) <= images.WORKING_SIDE
    assert (picture.width, picture.height) == (4000, 3000)
    rows, columns = np.nonzero(picture.grey < 128)
    left, top, right, bottom = (int(edge) for edge in (columns.min(), rows.min(), columns.max(), rows.max()))
    box = (left, top, right - left + 1, bottom - top + 1)
    np.testing.assert_allclose(picture.map_to_original(box), (1000, 600, 200, 800), atol=8)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
@pytest.mark.parametrize("upright", [False, True])
def test_a_picture_may_be_extremely_thin(file_format: str, upright: object) -> None:
    line = Image.new("L", (4, 16_000) if upright else (16_000, 4), 255)
    picture = decode_bytes(encode(line.convert("RGB"), file_format))
    assert (picture.width, picture.height) == line.size
    assert min(picture.grey.shape) >= 1


def test_a_moved_file_name_changes_nothing_but_the_first_frame_counts() -> None:
    frames = [Image.fromarray(NINE), Image.new("L", (60, 80), 0)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode_bytes(data).grey.astype(int) - NINE).max() <= 2


def test_pixels_are_counted_from_the_header_before_any_is_decoded() -> None:
    with pytest.raises(
        ImageTooLarge, match=r"30000x30000 = 900000000 pixels; at most 40000000"
    ) as error_type:
        images.identify((HOSTILE / "bomb.png").read_bytes())
    assert error_type.value.limit == images.MAX_PIXELS


def test_the_limits_are_exact() -> None:
    four = encode(Image.new("L", (4, 4), 255), "PNG")
    assert images.identify(four, max_pixels=16).pixels == 16
    with pytest.raises(ImageTooLarge):
        images.identify(four, max_pixels=15)
    with pytest.raises(ImageTooSmall):
        images.identify(encode(Image.new("L", (4, 3), 255), "PNG"))


def test_a_truncated_picture_is_unreadable_and_another_format_unsupported() -> None:
    png = encode(Image.fromarray(NINE), "PNG")
    with pytest.raises(UnreadableImage):
        decode_bytes(png[: len(png) // 2])
    with pytest.raises(UnsupportedFormat):
        decode_bytes(encode(Image.fromarray(NINE), "ICO"))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_a_file_truncated_at_any_byte_raises_only_our_errors(file_format: str) -> None:
    data = encode(Image.fromarray(NINE[::2, ::2]).convert("RGB"), file_format)
    for length in range(len(data)):
        with contextlib.suppress(ImageError):  # a file without its last bytes may still be whole
            decode_bytes(data[:length])


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"GIF89a",
            b"BM",
            b"II*\0",
            b"MM\0*",
            b"\0\0\0\x18ftypheic",
        ]
    ),
)
def test_arbitrary_bytes_raise_only_our_errors(tail: bytes, head: bytes) -> None:
    with pytest.raises(ImageError):
        decode_bytes(head + tail)


@given(st.data())
def test_flipped_bytes_raise_only_our_errors(chance: st.DataObject) -> None:
    file_format = chance.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"]))
    file = io.BytesIO()
    Image.fromarray(NINE).convert("RGB").save(file, file_format)
    data = bytearray(file.getvalue())
    for place in chance.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=8)):
        data[place] = chance.draw(st.integers(0, 255))
    try:
        picture = decode_bytes(bytes(data))
    except ImageError:
        return
    assert picture.grey.dtype == np.uint8
    assert picture.grey.ndim == 2


def _pad(file_format: str, piece: bytes, count: int) -> bytes:
    """Put many tiny pieces behind a file's head."""
    head = {"PNG": 33, "JPEG": 2, "GIF": 13}[file_format]
    data = encode(Image.fromarray(NINE), file_format)
    if file_format == "GIF":  # the pieces of one comment, before the picture
        head = data.index(b",", head)
        return data[:head] + b"!\xfe" + piece * count + b"\0" + data[head:]
    return data[:head] + piece * count + data[head:]


def _chunk(name: bytes) -> bytes:
    return struct.pack(">I", 0) + name + struct.pack(">I", zlib.crc32(name))


@pytest.mark.parametrize(
    ("file_format", "piece"),
    [
        ("PNG", _chunk(b"xxXx")),
        ("PNG", _chunk(b"tEXt")),
        ("JPEG", b"\xff\xfe\x00\x02"),
        ("JPEG", b"\xff\xe1\x00\x02"),
        ("GIF", b"\x01a"),
    ],
    ids=["chunks", "texts", "comments", "application markers", "comment's pieces"],
)
def test_a_file_of_millions_of_parts_is_refused_and_a_file_of_hundreds_is_read(
    file_format: str, piece: bytes
) -> None:
    assert decode_bytes(_pad(file_format, piece, 20)).width == 60
    with pytest.raises(UnreadableImage):
        decode_bytes(_pad(file_format, piece, 150_000))


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
    assert decode_bytes(whole[:start] + b"".join(chunks) + whole[-12:]).width == 1500


def test_padding_between_the_segments_of_a_jpeg_costs_nothing() -> None:
    assert decode_bytes(_pad("JPEG", b"\xff", 150_000)).width == 60


def test_every_way_to_write_the_orientation_is_understood() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    lines = b"\nexif\n%8d\n" % len(raw) + raw.hex().encode()
    xmp = b'<x tiff:Orientation="6"/>'
    texts = {
        "eXIf": (b"eXIf", raw.removeprefix(b"Exif\0\0")),
        "tEXt": (b"tEXt", b"Raw profile type exif\0" + lines),
        "zTXt": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(lines)),
        "iTXt": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "packed iTXt": (b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(xmp)),
    }
    turned = Image.fromarray(NINE).transpose(Image.Transpose.ROTATE_90)
    png = encode(turned, "PNG")
    for where in (33, -12):  # before the pixels and behind them
        for name, (chunk_name, data) in texts.items():
            checksum = struct.pack(">I", zlib.crc32(chunk_name + data))
            chunk = struct.pack(">I", len(data)) + chunk_name + data + checksum
            np.testing.assert_array_equal(
                decode_bytes(png[:where] + chunk + png[where:]).grey, NINE, err_msg=name
            )
    for file_format in ("JPEG", "WEBP"):
        colour = turned.convert("RGB")
        for metadata in ({"exif": raw}, {"xmp": xmp}):
            assert decode_bytes(encode(colour, file_format, **metadata)).grey.shape == NINE.shape


def test_an_exif_directory_that_claims_to_be_huge_is_not_searched_to_its_end() -> None:
    entry = struct.pack(">HHLL", 0x0100, 5, 2**31, 0)  # each refers to all there is
    exif = b"MM\0*" + struct.pack(">LH", 8, 65_535) + entry * 65_535
    png = encode(Image.fromarray(NINE), "PNG", exif=b"Exif\0\0" + exif)
    started = time.thread_time()
    np.testing.assert_array_equal(decode_bytes(png).grey, NINE)
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_jpeg_is_read_without_its_end_marker_but_not_without_its_last_rows(
    options: dict[str, object],
) -> None:
    grain = np.random.default_rng(1).integers(-40, 40, (400, 300))
    picture = np.clip(np.kron(NINE, np.ones((5, 5)))[:400, :300] + grain, 0, 255).astype(np.uint8)
    whole = encode(Image.fromarray(picture).convert("RGB"), "JPEG", quality=90, **options)
    for missing in (1, 2):
        np.testing.assert_array_equal(decode_bytes(whole[:-missing]).grey, decode_bytes(whole).grey)
    start = whole.rindex(b"\xff\xda") + 20
    for end in np.linspace(start, len(whole) - 60, 40).astype(int).tolist():
        with pytest.raises(UnreadableImage):
            decode_bytes(whole[:end])


def test_a_failed_decoding_is_not_reused_with_black_in_place_of_missing_pixels() -> None:
    png = encode(Image.fromarray(NINE), "PNG")
    upload = images.identify(png[: len(png) // 2])
    decoding = images.Decoder(upload)
    for side in (images.WORKING_SIDE, 32, 32):
        with pytest.raises(UnreadableImage):
            decoding.decode(side=side)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_run_length_encoded_bmp_gives_the_same_pixels_as_an_uncompressed_one(bits: int) -> None:
    levels = NINE // (1 if bits == 8 else 17)
    grey = levels * (1 if bits == 8 else 17)
    np.testing.assert_array_equal(decode_bytes(run_length_bmp(levels, bits=bits)).grey, grey)


def test_a_picture_that_would_cost_too_much_is_refused_with_a_remedy() -> None:
    scans = encode(Image.fromarray(NINE).resize((1600, 1200)), "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    with pytest.raises(
        ImageTooLarge,
        match=r"progressive JPEG with 9\d scans of 6400x4800 pixels may take .* Send a smaller picture",
    ):
        images.identify(_resize(scans[:-2] + last * 90 + scans[-2:], 6400, 4800))


def test_a_higher_limit_on_pixels_raises_the_limit_on_the_cost() -> None:
    jpeg = _resize(encode(Image.fromarray(NINE).convert("RGB"), "JPEG", progressive=True), 12_000, 10_000)
    with pytest.raises(ImageTooLarge, match="120000000 pixels"):
        images.identify(jpeg)
    assert images.identify(jpeg, max_pixels=120_000_000).cost > images.MAX_COST


def _resize(jpeg: bytes, width: int, height: int) -> bytes:
    """Have a JPEG declare another size."""
    place = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_a_picture_reduced_in_strips_equals_one_reduced_at_once(mode: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (2500, 2100, 3), np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
        whole = Image.fromarray(noise[..., 0])
    else:
        picture = Image.fromarray(noise).convert(mode)
        whole = picture.convert({"1": "L", "P": "RGB"}.get(mode, mode))
    reduced = np.asarray(whole.reduce(2))
    expected = shrink(reduced if reduced.ndim == 2 else colours.to_grey(reduced), images.WORKING_SIDE)
    np.testing.assert_array_equal(decode_bytes(encode(picture, "PNG", compress_level=1)).grey, expected)


def test_a_damaged_file_writes_nothing_to_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    bmp = run_length_bmp(NINE)
    for length in range(14, len(bmp), 500):
        with contextlib.suppress(ImageError):
            decode_bytes(bmp[:length])
    assert capfd.readouterr() == ("", "")
