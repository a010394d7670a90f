"""What is ours between an upload and rapidocr; these tests need only numbers and pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rivals.pp_ocr import allow_digits_alone, has_large_pictures, join_lines, open_picture
from benchmarks.rivals.readers import NOTHING
from tests.conftest import GOLDEN
from training.data.real_sets import UploadSet
from training.data.uploads import encode_png

PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
CHARACTERS = ["blank", "l", "1", "²", "O", "0", " "]


def decode(scores: NDArray[np.float32], *, separator: str) -> str:
    """Decode as CTC does, but without merging repetitions."""
    return separator.join(CHARACTERS[label] for label in scores.argmax(axis=1) if label)


def save(picture: Image.Image, kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, exif=exif or Image.Exif())
    return file.getvalue()


def test_letters_signs_and_spaces_give_way_to_the_likeliest_digit_or_to_none() -> None:
    scores = np.array(
        [
            [0.0, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0],  # l, or else 1
            [0.1, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0],  # ², or else none
            [0.0, 0.0, 0.1, 0.0, 0.5, 0.4, 0.0],  # O, or else 0
            [0.3, 0.0, 0.0, 0.0, 0.0, 0.1, 0.6],  # a space, or else none
        ],
        np.float32,
    )
    assert decode(scores, separator=",") == "l,²,O, "
    assert allow_digits_alone(decode, CHARACTERS)(scores, separator=",") == "1,0"


def test_the_confidence_is_the_mean_of_all_characters() -> None:
    reading = join_lines(("123", "", "4"), (1.0, 0.0, 0.6))
    assert reading.digits == "1234"
    assert reading.confidence == pytest.approx(0.9)


@pytest.mark.parametrize("texts", [(), ("",)])
def test_without_text_nothing_is_read(texts: tuple[str, ...]) -> None:
    assert join_lines(texts, (0.0,) * len(texts)) == NOTHING


def test_a_picture_is_turned_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by a quarter
    picture = open_picture(save(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert picture
    assert picture.size == (20, 40)


def test_a_palette_is_resolved() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0)).convert("P", palette=Image.Palette.ADAPTIVE)
    picture = open_picture(save(red))
    assert picture
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (255, 0, 0)


def test_transparency_is_kept() -> None:
    picture = open_picture(save(Image.new("LA", (8, 8), (0, 0))))
    assert picture
    assert picture.mode == "RGBA"


@pytest.mark.parametrize("upload", [b"", b"no picture", PHOTO[: len(PHOTO) // 2]])
def test_a_damaged_upload_is_no_picture(upload: bytes) -> None:
    assert open_picture(upload) is None


@pytest.mark.parametrize(("sides", "expected"), [((28, 28), False), ((64, 20), True), ((63, 63), False)])
def test_text_is_looked_for_on_pictures_that_are_larger_than_a_digit(
    sides: tuple[int, int], *, expected: bool
) -> None:
    uploads = (encode_png(np.zeros(sides, np.uint8)), b"damaged")
    assert has_large_pictures(UploadSet("drawn", uploads, ("1", "2"))) == expected


def test_a_set_without_readable_pictures_has_no_large_ones() -> None:
    assert not has_large_pictures(UploadSet("drawn", (b"damaged",), ("1",)))
