from __future__ import annotations

import base64
import io
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from app.settings import Settings
from tests.conftest import GOLDEN, hostile_files
from tests.conftest import HOSTILE as HOSTILE_FOLDER
from tests.data.strokes import ink
from tests.serving import serve
from tests.tiny import build_tiny_model

HOSTILE = {
    name: answer
    for name, answer in hostile_files().items()
    if answer[0] != 200  # files that are read are compared by their digit elsewhere
}


def draw_lines(*lines: str, height: int = 60) -> NDArray[np.uint8]:
    """Write lines of digits dark on light, with a pen and room enough."""
    step = round(height * 0.9)
    size = (step * max(map(len, lines)) + height, round(height * 1.7) * len(lines) + height)
    page = np.zeros(size[::-1], np.uint8)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            corner = (height // 2 + column * step, height // 2 + row * round(height * 1.7))
            page |= ink(int(character), size, box=(*corner, height * 0.6, height), pen=height // 9)
    return 255 - page


def png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def post_picture(client: httpx.Client, data: bytes, *, query: str = "") -> httpx.Response:
    return client.post(f"/predict/number{query}", content=data, headers={"Content-Type": "image/png"})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_the_answer_that_it_gets_from_predict(client: httpx.Client, name: str) -> None:
    status, code = HOSTILE[name]
    answer = client.post("/predict/number", files={"file": ("a", (HOSTILE_FOLDER / name).read_bytes())})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_blank_picture_has_no_ink(client: httpx.Client) -> None:
    answer = post_picture(client, png(np.full((40, 200), 255, np.uint8)))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_ink")


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    assert post_picture(client, png(draw_lines("12")), query="?model=gpt").json()["code"] == "unknown_model"


def test_ink_without_a_digit_gives_no_text_and_a_warning(client: httpx.Client) -> None:
    dashes = np.full((60, 300), 255, np.uint8)
    cv2.line(dashes, (20, 30), (280, 30), 0, 3)
    answer = post_picture(client, png(dashes))
    assert answer.status_code == 200
    assert answer.json() == {
        "text": "",
        "lines": [],
        "confidence": 0.0,
        "digits": [],
        "model": {"name": "cnn", "version": answer.json()["model"]["version"]},
        "image": {"width": 300, "height": 60, "polarity": "dark_on_light", "box": [0, 0, 300, 60]},
        "warnings": ["no_digits"],
    }


def test_a_prediction_has_exactly_the_documented_members(client: httpx.Client) -> None:
    answer = post_picture(client, png(draw_lines("4071"))).json()
    digits = answer["digits"]
    boxes = [digit["box"] for digit in digits]
    assert answer == {
        "text": "4071",
        "lines": ["4071"],
        "confidence": pytest.approx(np.prod([digit["confidence"] for digit in digits])),
        "digits": [
            {"digit": wanted, "confidence": digit["confidence"], "box": digit["box"], "line": 0}
            for wanted, digit in zip([4, 0, 7, 1], digits, strict=True)
        ],
        "model": {"name": "cnn", "version": answer["model"]["version"]},
        "image": {"width": 276, "height": 162, "polarity": "dark_on_light", "box": answer["image"]["box"]},
        "warnings": [],
    }
    assert boxes == sorted(boxes)
    np.testing.assert_allclose(answer["image"]["box"], [30, 27, 188, 67], atol=8)


def test_each_way_to_send_a_picture_gives_the_same_number(client: httpx.Client) -> None:
    data = png(draw_lines("508"))
    text = base64.b64encode(data).decode()
    ways = [
        post_picture(client, data),
        client.post("/predict/number", files={"file": ("picture", data)}),
        client.post("/predict/number", json={"image": text}),
        client.post("/predict/number", json={"image": f"data:image/png;base64,{text}"}),
    ]
    assert [way.json()["text"] for way in ways] == ["508"] * 4
    assert all(way.json() == ways[0].json() for way in ways)


def test_lines_are_separated_by_line_feeds(client: httpx.Client) -> None:
    answer = post_picture(client, png(draw_lines("407", "82"))).json()
    assert answer["text"] == "407\n82"
    assert answer["lines"] == ["407", "82"]
    assert [digit["line"] for digit in answer["digits"]] == [0, 0, 0, 1, 1]


def test_boxes_are_in_the_upright_originals_pixels(client: httpx.Client) -> None:
    large = np.kron(draw_lines("35", height=300), np.ones((3, 3), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.fromarray(large).transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)
    answer = post_picture(client, file.getvalue()).json()
    assert answer["text"] == "35"
    assert (answer["image"]["width"], answer["image"]["height"]) == (large.shape[1], large.shape[0])
    np.testing.assert_allclose(answer["digits"][0]["box"], [445, 400, 545, 1010], atol=30)


def test_a_single_digit_is_read_as_a_number(client: httpx.Client) -> None:
    answer = client.post("/predict/number", files={"file": (GOLDEN / "7-photo.jpg").read_bytes()})
    assert answer.json()["text"] == "7"


def test_answers_have_timing_and_request_id(client: httpx.Client) -> None:
    data = png(draw_lines("12"))
    headers = {"Content-Type": "image/png", "X-Request-ID": "mine"}
    answer = client.post("/predict/number", content=data, headers=headers)
    assert answer.headers["X-Request-ID"] == "mine"
    stages = [part.split(";dur=")[0] for part in answer.headers["Server-Timing"].split(", ")]
    assert stages == ["decode", "preprocess", "infer"]


def test_any_model_can_be_requested(client: httpx.Client) -> None:
    answer = post_picture(client, png(draw_lines("33")), query="?model=mlp-128").json()
    assert answer["model"]["name"] == "mlp-128"
    assert answer["text"] == "33"


def test_forty_megapixels_of_noise_are_answered_in_time(client: httpx.Client) -> None:
    noise = np.random.default_rng(1).integers(0, 2, (5_000, 8_000), np.uint8) * 255
    _, data = cv2.imencode(".png", np.kron(noise[::8, ::8], np.ones((8, 8), np.uint8)))
    started = time.process_time()  # the service runs in this process
    answer = post_picture(client, data.tobytes())
    assert answer.status_code in {200, 422}
    assert time.process_time() - started < 10  # seconds, decoding included


def test_the_digit_likelihood_of_the_network_decides_is_digit(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.onnx").write_bytes(build_tiny_model(likelihood=1e-6))
    with serve(Settings(models_dir=tmp_path, default_model="tiny")) as client:
        answer = post_picture(client, png(draw_lines("12"))).json()
    assert (answer["text"], answer["warnings"]) == ("", ["no_digits"])


def test_the_route_is_in_the_openapi_document(client: httpx.Client) -> None:
    route = client.get("/openapi.json").json()["paths"]["/predict/number"]["post"]
    assert "multipart/form-data" in route["requestBody"]["content"]
    assert {"200", "400", "404", "413", "415", "422", "503", "504"} <= route["responses"].keys()
