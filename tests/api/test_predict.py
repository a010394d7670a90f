from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.digits.catalogue import Catalogue
from app.settings import Settings
from tests.conftest import GOLDEN, golden_uploads, hostile_files
from tests.conftest import HOSTILE as HOSTILE_FOLDER
from tests.data.writing import draw_lines, shade
from tests.serving import serve
from tests.tiny import build_tiny_model
from training.data.labelled import Labelled
from training.data.uploads import encode_png, read_canonical
from training.judge.service_reader import classify
from training.recipe import CNN

THREE = GOLDEN / "3-canvas-black-on-white.png"
PHOTO = GOLDEN / "7-photo.jpg"
HOSTILE = hostile_files()


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(params=["raw", "octets", "multipart", "json", "data-url"])
def build_request(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def post_picture(client: httpx.Client, build_request: str, data: bytes, query: str = "") -> httpx.Response:
    """Send one picture in one of the ways that a client may choose."""
    url = f"/predict{query}"
    match build_request:
        case "raw":
            return client.post(url, content=data, headers={"Content-Type": "image/png"})
        case "octets":
            return client.post(url, content=data, headers={"Content-Type": "application/octet-stream"})
        case "multipart":
            return client.post(url, files={"file": ("picture", data)})
        case "json":
            return client.post(url, json={"image": encode_base64(data)})
        case _:
            return client.post(url, json={"image": f"data:image/png;base64,{encode_base64(data)}"})


def test_each_way_to_send_a_picture_gives_the_same_prediction(
    client: httpx.Client, build_request: str
) -> None:
    answer = post_picture(client, build_request, THREE.read_bytes())
    assert answer.status_code == 200
    assert answer.json() == post_picture(client, "raw", THREE.read_bytes()).json()


def test_a_prediction_has_exactly_the_documented_members(client: httpx.Client) -> None:
    prediction = post_picture(client, "raw", PHOTO.read_bytes()).json()
    probabilities = prediction["probabilities"]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    box = prediction["image"]["box"]
    assert prediction == {
        "digit": 7,
        "confidence": max(probabilities),
        "probabilities": probabilities,
        "is_digit": True,
        "digit_likelihood": pytest.approx(1, abs=0.1),
        "model": {"name": "cnn", "version": f"{CNN.version}+int8"},
        "image": {"width": 640, "height": 480, "polarity": "dark_on_light", "box": box},
        "others": [],
        "warnings": [],
        "view": None,
    }
    np.testing.assert_allclose(box, [260, 110, 130, 230], atol=25)


@pytest.mark.parametrize("upload", golden_uploads(), ids=lambda file: file.name)
def test_every_golden_upload_is_read_over_http(client: httpx.Client, upload: Path) -> None:
    answer = post_picture(client, "multipart", upload.read_bytes())
    assert answer.status_code == 200
    assert answer.json()["digit"] == int(upload.name[0])


def test_the_other_digits_of_a_photograph_are_listed_with_a_warning(client: httpx.Client) -> None:
    prediction = post_picture(client, "raw", encode_png(shade(draw_lines("283", height=100)))).json()
    assert prediction["warnings"] == ["several_digits"]
    boxes = {prediction["digit"]: prediction["image"]["box"]}
    for other in prediction["others"]:
        assert other.keys() == {"digit", "confidence", "box"}
        assert 0.3 < other["confidence"] <= 1
        boxes[other["digit"]] = other["box"]
    assert sorted(boxes, key=lambda digit: boxes[digit][0]) == [2, 8, 3]


def test_a_drawing_of_two_digits_lists_the_other_one(client: httpx.Client) -> None:
    prediction = post_picture(client, "raw", encode_png(draw_lines("28", height=100))).json()
    assert prediction["warnings"] == ["several_digits"]
    read = {prediction["digit"], *(other["digit"] for other in prediction["others"])}
    assert read == {2, 8}


def test_a_small_photograph_of_two_digits_is_read_alike_alone_and_in_a_batch(client: httpx.Client) -> None:
    page = shade(draw_lines("35", height=28))[6:-20]
    assert page.size < 64 * 64 < 64 * max(page.shape)  # small enough for the event loop without the finder
    picture = encode_png(page)
    alone = post_picture(client, "raw", picture).json()
    batch = client.post("/predict/batch", files=[("files", picture)] * 9).json()["results"]
    assert [result["prediction"]["others"] for result in batch] == [alone["others"]] * 9
    assert len(alone["others"]) == 1


def test_view_shows_the_canonical_picture(client: httpx.Client) -> None:
    view = post_picture(client, "raw", THREE.read_bytes(), "?view=true").json()["view"]
    head, _, data = view.partition(",")
    assert head == "data:image/png;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(picture, read_canonical(THREE.read_bytes()).picture)


@pytest.mark.parametrize("name", ["linear", "mlp-128", "mlp-1000", "cnn"])
def test_any_model_can_be_requested(client: httpx.Client, name: str) -> None:
    prediction = post_picture(client, "raw", THREE.read_bytes(), f"?model={name}").json()
    assert prediction["model"]["name"] == name
    assert prediction["digit"] == 3


def test_server_timing_names_the_three_stages(client: httpx.Client) -> None:
    timing = post_picture(client, "raw", THREE.read_bytes()).headers["Server-Timing"]
    stages = dict(part.split(";dur=") for part in timing.split(", "))
    assert list(stages) == ["decode", "preprocess", "infer"]
    assert all(float(milliseconds) > 0 for milliseconds in stages.values())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_its_exact_answer(client: httpx.Client, name: str) -> None:
    status, code = HOSTILE[name]
    answer = post_picture(client, "multipart", (HOSTILE_FOLDER / name).read_bytes())
    assert answer.status_code == status
    assert answer.json().get("code") == code


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_never_give_500(client: httpx.Client, build_request: str, data: bytes) -> None:
    answer = post_picture(client, build_request, data)
    assert answer.status_code in {415, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.binary(max_size=200),
    media_type=st.sampled_from(
        [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=b",
            "image/",
            "text/plain",
            "",
        ]
    ),
)
def test_arbitrary_bodies_never_give_500(client: httpx.Client, body: bytes, media_type: str) -> None:
    for path in ("/predict", "/predict/batch"):
        answer = client.post(path, content=body, headers={"Content-Type": media_type})
        assert 400 <= answer.status_code < 500
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_batch_keeps_the_order_and_survives_bad_pictures(client: httpx.Client) -> None:
    names = ["3-canvas-black-on-white.png", None, "9-grey.png", "7-photo.jpg"]
    pictures = [(GOLDEN / name).read_bytes() if name else b"no picture" for name in names]
    by_form = client.post("/predict/batch", files=[("files", ("a", data)) for data in pictures])
    by_json = client.post("/predict/batch", json={"images": [encode_base64(data) for data in pictures]})
    assert by_form.status_code == 200
    for one, other in zip(by_form.json()["results"], by_json.json()["results"], strict=True):
        assert one["prediction"] == other["prediction"]
    results = by_form.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert [result["prediction"] and result["prediction"]["digit"] for result in results] == [3, None, 9, 7]
    assert results[0]["problem"] is None
    assert results[1]["problem"] == {
        "type": "urn:digits:problem:unsupported_media_type",
        "title": "The media type is not supported",
        "status": 415,
        "detail": results[1]["problem"]["detail"],
        "code": "unsupported_media_type",
        "request_id": by_form.headers["X-Request-ID"],
    }


def test_a_batch_of_only_bad_pictures_is_answered(client: httpx.Client) -> None:
    results = client.post("/predict/batch", json={"images": ["", encode_base64(b"BM"), "?!"]}).json()[
        "results"
    ]
    codes = [result["problem"]["code"] for result in results]
    assert codes == ["unreadable_image", "unreadable_image", "malformed_request"]
    assert "images.2" in results[2]["problem"]["detail"]


@pytest.mark.parametrize(
    "form",
    [
        "DATA:image/png;BASE64,{}",
        "data:;base64,{}",
        "data:image/png;charset=utf-8; base64 ,{}",
        "  data:image/png;base64,\n{}\n",
        "{}\r\n",
    ],
)
def test_base64_is_read_as_forgivingly_as_browsers_do(client: httpx.Client, form: str) -> None:
    text = encode_base64(THREE.read_bytes())
    for variant in (text, text.rstrip("="), "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))):
        assert client.post("/predict", json={"image": form.format(variant)}).json()["digit"] == 3


def test_a_percent_encoded_data_url_is_read(client: httpx.Client) -> None:
    text = encode_base64(THREE.read_bytes()).replace("+", "%2B").replace("=", "%3D")
    assert client.post("/predict", json={"image": f"data:image/png;base64,{text}"}).json()["digit"] == 3


def test_json_may_begin_with_a_byte_order_mark(client: httpx.Client) -> None:
    body = b'\xef\xbb\xbf{"image": "%s"}' % encode_base64(THREE.read_bytes()).encode()
    assert (
        client.post("/predict", content=body, headers={"Content-Type": "application/json"}).json()["digit"]
        == 3
    )


def test_a_picture_gets_the_same_prediction_alone_and_in_a_batch(client: httpx.Client) -> None:
    data = PHOTO.read_bytes()
    others = [file.read_bytes() for file in golden_uploads()[::5]]  # few: a request's time is limited
    batch = client.post("/predict/batch", files=[("files", ("a", other)) for other in [*others, data]])
    alone = post_picture(client, "raw", data).json()
    together = batch.json()["results"][-1]["prediction"]
    assert together.pop("probabilities") == pytest.approx(alone.pop("probabilities"), abs=1e-6)
    assert together.pop("confidence") == pytest.approx(alone.pop("confidence"), abs=1e-6)
    assert together == alone


def test_a_body_that_arrives_in_pieces_is_read_completely(client: httpx.Client) -> None:
    data = PHOTO.read_bytes()
    pieces = (data[start : start + 7] for start in range(0, len(data), 7))
    answer = client.post("/predict", content=pieces, headers={"Content-Type": "image/jpeg"})
    assert answer.json() == post_picture(client, "raw", data).json()


@pytest.mark.mnist
def test_mnist_over_http_gets_the_digits_of_the_onnx_file(
    client: httpx.Client, catalogue: Catalogue, mnist_test: Labelled
) -> None:
    directly = classify(catalogue.get().classifier, mnist_test.pictures).probabilities.argmax(axis=1)
    found: list[int] = []
    for start in range(0, len(mnist_test), 50):
        pngs = [encode_base64(encode_png(picture)) for picture in mnist_test.pictures[start : start + 50]]
        results = client.post("/predict/batch", json={"images": pngs}).json()["results"]
        found += [result["prediction"]["digit"] for result in results]
    np.testing.assert_array_equal(found, directly)


@pytest.mark.parametrize(("likelihood", "is_digit"), [(0.9, True), (0.1, False)])
def test_the_digit_likelihood_of_the_network_decides_is_digit(
    tmp_path: Path, likelihood: float, is_digit: object
) -> None:
    folder = tmp_path
    (folder / "tiny").mkdir()
    (folder / "tiny" / "model.onnx").write_bytes(build_tiny_model(likelihood=likelihood))
    with serve(Settings(models_dir=folder, default_model="tiny")) as client:
        prediction = post_picture(client, "raw", THREE.read_bytes()).json()
    assert prediction["digit_likelihood"] == pytest.approx(likelihood)
    assert prediction["is_digit"] is is_digit
