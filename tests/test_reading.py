"""The package's own functions answer as the service does."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import app
from app import DigitsError, PictureReader, read_digit, read_number
from tests.conftest import GOLDEN, MODELS, ROOT

PHOTO = GOLDEN / "7-photo.jpg"
NUMBER = ROOT / "tests" / "data" / "numbers" / "4071.jpg"


def test_a_digit_reads_as_over_http(client: httpx.Client) -> None:
    answer = client.post("/predict", content=PHOTO.read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert read_digit(PHOTO).model_dump(mode="json") == answer.json()


def test_a_number_reads_as_over_http(client: httpx.Client) -> None:
    answer = client.post(
        "/predict/number", content=NUMBER.read_bytes(), headers={"Content-Type": "image/jpeg"}
    )
    assert read_number(NUMBER).model_dump(mode="json") == answer.json()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_read_as_the_file_they_come_from(mode: str) -> None:
    with Image.open(GOLDEN / "3-canvas-black-on-white.png") as picture:
        pixels = picture.convert(mode)
    file = io.BytesIO()
    pixels.save(file, "PNG")
    assert read_digit(np.asarray(pixels)) == read_digit(file.getvalue())


def test_red_and_blue_are_not_mixed_up() -> None:
    blue_ink = np.full((40, 40, 3), 255, np.uint8)
    blue_ink[8:32, 19:22, :2] = 0
    assert read_digit(blue_ink) == read_digit(_encode(blue_ink))


def _encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_paths_may_be_text() -> None:
    assert read_digit(str(PHOTO)).digit == 7


def test_an_empty_picture_is_an_error_that_says_so() -> None:
    with pytest.raises(DigitsError, match="Nothing is written") as error:
        read_number(np.full((30, 30), 255, np.uint8))
    assert error.value.code == "no_ink"


@pytest.mark.parametrize("shape", [(0, 0), (0, 28), (28, 0, 3)])
def test_an_array_without_pixels_is_too_small(shape: tuple[int, ...]) -> None:
    with pytest.raises(DigitsError, match="each side needs at least 4") as error:
        read_digit(np.zeros(shape, np.uint8))
    assert error.value.code == "image_too_small"


@pytest.mark.parametrize("shape", [(28,), (2, 28, 28), (28, 28, 2), (1, 28, 28, 3)])
def test_an_array_that_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="must be uint8"):
        read_digit(np.zeros(shape, np.uint8))


def test_pixels_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        read_digit(np.zeros((28, 28)))  # type: ignore[arg-type]


def test_models_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "linear").symlink_to(MODELS / "linear")
    reader = PictureReader(tmp_path, default_model="linear")
    assert reader.read_digit(PHOTO).model.name == "linear"
    with pytest.raises(DigitsError, match="no line-reader"):
        reader.read_number(NUMBER)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="read_letter"):
        app.read_letter  # noqa: B018
