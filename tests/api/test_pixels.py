"""Pictures as arrays of numbers in JSON: one explicit scale, and errors that name the place."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from app.api import pixels
from app.settings import Settings
from app.wire.problems import MalformedRequest
from tests.conftest import GOLDEN
from tests.serving import serve

SEVEN = Image.open(GOLDEN / "7-photo.jpg").convert("L").resize((160, 120))
LEVELS = np.asarray(SEVEN)
JSON = {"Content-Type": "application/json"}


def read(client: httpx.Client, image: object, path: str = "/predict") -> httpx.Response:
    return client.post(path, json={"image": image})


def encode(levels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("path", ["/predict", "/predict/number"])
@pytest.mark.parametrize("levels", [LEVELS, 255 - LEVELS], ids=["dark on light", "light on dark"])
def test_pixels_are_read_as_the_same_picture_in_a_file(
    client: httpx.Client, path: str, levels: np.ndarray
) -> None:
    expected = read(client, encode(levels), path).json()
    assert expected.get("digit", expected.get("text")) in {7, "7"}
    assert read(client, levels.tolist(), path).json() == expected
    assert read(client, (levels / 255).tolist(), path).json() == expected


def test_one_picture_of_a_batch_may_be_pixels(client: httpx.Client) -> None:
    images = [LEVELS.tolist(), encode(LEVELS), [[0, 256]] * 4]
    first, second, third = client.post("/predict/batch", json={"images": images}).json()["results"]
    assert first["prediction"] == second["prediction"]
    assert third["problem"]["detail"] == "images.2[0][1] is 256. Whole numbers go from 0 to 255."


def test_feedback_keeps_pixels_as_a_file(tmp_path: Path) -> None:
    with serve(Settings(feedback_url=f"sqlite:///{tmp_path}/feedback.db")) as client:
        answers = [
            client.post("/feedback", json={"image": LEVELS.tolist(), "digit": 7}).json() for _ in range(2)
        ]
    assert answers[0]["id"] == hashlib.sha256(pixels.encode_rows(LEVELS.tolist(), "image")).hexdigest()
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("rows", "levels"),
    [
        ([[0, 255], [1, 2]], [0, 255, 1, 2]),
        ([[0, 0]], [0, 0]),
        ([[0, 0.5, 1]], [0, 128, 255]),  # a single fraction decides
        ([[1, 1.0]], [255, 255]),
        ([[0.0, 0.001]], [0, 0]),
        ([[1e-9, 1]], [0, 255]),
    ],
)
def test_how_numbers_are_written_decides_their_scale(rows: list[list[float]], levels: list[int]) -> None:
    png = pixels.encode_rows(rows, "image")
    assert np.asarray(Image.open(io.BytesIO(png))).ravel().tolist() == levels


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "'image' has no rows"),
        ([[]], "have no numbers"),
        ([[1, 2], [3]], "image[1] has 1 numbers, image[0] has 2"),
        ([[1, 2], 3], "image[1] is 3. Send a list of rows"),
        ([[1, 2], [3, -1]], "image[1][1] is -1. Whole numbers go from 0 to 255"),
        ([[10**30]], "image[0][0] is 100000000000"),
        ([[0, 1], [1, 0]], "all numbers are 0 or 1, without a fraction, which may mean two scales"),
        ([[0.5, 3]], "image[0][1] is 3. An array with a fraction or an exponent, as in image[0][0]"),
        ([[0.5, 10**400]], "image[0][1] is 1000"),
        ([[0.0, 255.0]], "image[0][1] is 255.0"),
        ([[float("nan"), 0.5]], "image[0][0] is nan"),
        ([[0.5, float("-inf")]], "image[0][1] is -inf"),
        ([[[1, 2, 3]]], "image[0][0] is a list. Send one number for each pixel"),
        ([[1, True]], "image[0][1] is a truth value"),
        ([[1, None]], "image[0][1] is null"),
        ([[1, "2"]], "image[0][1] is '2'"),
    ],
)
def test_an_error_names_place_value_and_limit(rows: list[list[float]], message: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        pixels.encode_rows(rows, "image")
    assert message in refused.value.detail


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"image": [[NaN, 0], [0, 1]]}', "malformed_request"),
        (b'{"image": [[1e999, 0], [0, 1]]}', "malformed_request"),
        (b'{"image": 7}', "malformed_request"),
        (b'{"image": [[0, 2, 0], [0, 2, 0], [0, 2, 0]]}', "image_too_small"),
        (b'{"image": [' + b",".join([b"[" + b"0," * 511 + b"0]"] * 520) + b"]}", "malformed_request"),
        (b'{"image": [' + b",".join([b"[0]"] * 9000) + b"]}", "malformed_request"),
        (b'{"image": [' + b",".join([b"[0,0,0,0]"] * 4) + b"]}", "no_ink"),
    ],
    ids=["NaN", "infinity", "a number", "small", "large", "many rows", "blank"],
)
def test_a_bad_array_gets_its_code(client: httpx.Client, body: bytes, code: str) -> None:
    assert client.post("/predict", content=body, headers=JSON).json()["code"] == code
