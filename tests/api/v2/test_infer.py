"""`infer` over a real socket: what it reads is what /predict/batch reads, and what it refuses it names."""

from __future__ import annotations

import base64
import gzip
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.digits.catalogue import Catalogue
from app.settings import Settings
from tests.api.v2.wire import body, error, image_input, infer, outputs, picture_input
from tests.conftest import GOLDEN, HOSTILE, golden_uploads, hostile_files
from tests.data.writing import draw_lines, encode_png, shade
from tests.serving import serve
from training.data.uploads import read_canonical

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
UPLOADS = [file.read_bytes() for file in golden_uploads()[::5]]  # few: a request's time is limited
BLANK = np.zeros((2, 28, 28), np.uint8)
BINARY = pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])


@BINARY
def test_pictures_are_read_as_by_predict_batch(client: httpx.Client, *, binary: bool) -> None:
    found = outputs(infer(client, picture_input(UPLOADS, binary=binary)))
    batch = client.post("/predict/batch", files=[("files", ("a", upload)) for upload in UPLOADS]).json()
    predictions = [result["prediction"] for result in batch["results"]]
    np.testing.assert_array_equal(found["digit"], [one["digit"] for one in predictions])
    np.testing.assert_array_equal(found["probabilities"], [one["probabilities"] for one in predictions])
    np.testing.assert_array_equal(found["digit_likelihood"], [one["digit_likelihood"] for one in predictions])


def test_a_photograph_of_several_digits_is_read_as_by_predict(client: httpx.Client) -> None:
    photograph = encode_png(shade(draw_lines("283", height=100)))
    found = outputs(infer(client, picture_input([photograph], binary=True)))
    prediction = client.post("/predict", files={"file": photograph}).json()
    assert prediction["others"]
    np.testing.assert_array_equal(found["probabilities"], [prediction["probabilities"]])


@BINARY
def test_images_reach_the_network_unchanged(
    client: httpx.Client, catalogue: Catalogue, *, binary: bool
) -> None:
    images = np.array([read_canonical(upload).picture for upload in UPLOADS])
    found = outputs(infer(client, image_input(images, binary=binary)))
    scores = catalogue.get("cnn").classifier.classify(images)
    np.testing.assert_allclose(found["probabilities"], scores.probabilities, atol=1e-7)
    np.testing.assert_array_equal(found["digit"], scores.probabilities.argmax(axis=1))
    assert scores.digit_likelihood is not None
    np.testing.assert_allclose(found["digit_likelihood"], scores.digit_likelihood, atol=1e-7)


def test_a_data_url_is_read(client: httpx.Client) -> None:
    tensor, _ = picture_input([THREE], binary=False)
    tensor["data"] = [f"data:image/png;base64,{tensor['data'][0]}"]
    assert outputs(infer(client, (tensor, b"")))["digit"] == [3]


def test_an_answer_has_exactly_the_documented_members(client: httpx.Client) -> None:
    answer = infer(client, picture_input([THREE], binary=True), id="some id", parameters={"mine": [1]})
    document = answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert list(document) == ["model_name", "model_version", "id", "outputs"]
    assert (document["model_name"], document["model_version"], document["id"]) == ("cnn", "1", "some id")
    assert [(one["name"], one["datatype"], one["shape"]) for one in document["outputs"]] == [
        ("probabilities", "FP32", [1, 10]),
        ("digit", "INT64", [1]),
        ("digit_likelihood", "FP32", [1]),
    ]
    assert all(list(one) == ["name", "datatype", "shape", "data"] for one in document["outputs"])
    timing = answer.headers["Server-Timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == ["decode", "preprocess", "infer"]


def test_without_an_id_the_answer_has_none(client: httpx.Client) -> None:
    assert "id" not in infer(client, image_input(BLANK, binary=True)).json()


def test_the_requested_outputs_are_returned_in_their_order(client: httpx.Client) -> None:
    wanted = [{"name": "digit", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    answer = infer(client, image_input(BLANK, binary=False), outputs=wanted)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert list(outputs(answer)) == ["digit", "probabilities"]
    other = infer(
        client,
        image_input(BLANK, binary=False),
        outputs=[{"name": "digit", "parameters": {"binary_data": False}}, {"name": "probabilities"}],
        parameters={"binary_data_output": True},
    )
    for name, values in outputs(other).items():
        np.testing.assert_array_equal(values, outputs(answer)[name])
    assert len(other.content) - int(other.headers["Inference-Header-Content-Length"]) == BLANK.shape[0] * 40


@BINARY
def test_classes_are_sorted_by_probability(client: httpx.Client, *, binary: bool) -> None:
    picture = picture_input(UPLOADS[:3], binary=True)
    probabilities = outputs(infer(client, picture))["probabilities"]
    parameters = {"classification": 4, "binary_data": binary}
    wanted = [{"name": "probabilities", "parameters": parameters}]
    classes = outputs(infer(client, picture, outputs=wanted))["probabilities"]
    assert classes.shape == (3, 4)
    for row, texts in zip(probabilities, classes, strict=True):
        best = np.argsort(-row)[:4]
        assert list(texts) == [f"{row[digit]:.6f}:{digit}" for digit in best]


def test_there_are_no_more_than_ten_classes(client: httpx.Client) -> None:
    wanted = [{"name": "probabilities", "parameters": {"classification": 1000}}]
    classes = outputs(infer(client, image_input(BLANK, binary=True), outputs=wanted))["probabilities"]
    assert classes.shape == (2, 10)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([{"name": "nothing"}], "'nothing' of 'linear' does not exist. The outputs are probabilities, digit"),
        ([{"name": "digit_likelihood"}], "'digit_likelihood' of 'linear' does not exist"),
        ([{"name": "digit"}, {"name": "digit"}], "'digit' of 'linear' is asked for twice"),
        ([{"name": "digit", "parameters": {"classification": 1}}], "'digit' has no classes"),
        (
            [{"name": "probabilities", "parameters": {"classification": 0}}],
            "outputs.0.parameters.classification",
        ),
        ([{"name": "probabilities", "parameters": {"classification": "3"}}], "outputs.0.parameters"),
        ([{"name": "digit", "parameters": {"binary_data": "yes"}}], "outputs.0.parameters.binary_data"),
        ([{}], "outputs.0.name"),
        ("digit", "outputs"),
    ],
)
def test_unavailable_outputs_are_refused(client: httpx.Client, wanted: Any, message: str) -> None:  # noqa: ANN401
    error(infer(client, image_input(BLANK, binary=True), model="linear", outputs=wanted), 400, message)


IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}
PICTURE = {"name": "picture", "datatype": "BYTES", "shape": [1]}


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (IMAGE | {"datatype": "FP32", "data": []}, "is FP32 [1, 28, 28]. Send 'image' as UINT8 [n, 28, 28]"),
        (IMAGE | {"datatype": "INT64", "data": [0] * 784}, "'image' is INT64"),
        (IMAGE | {"shape": [784], "data": [0] * 784}, "UINT8 [784]. Send 'image' as UINT8 [n, 28, 28]"),
        (IMAGE | {"shape": [1, 1, 28, 28], "data": [0] * 784}, "UINT8 [1, 1, 28, 28]"),
        (IMAGE | {"shape": [], "data": [0] * 784}, "UINT8 []"),
        (IMAGE | {"shape": [1.5, 28, 28], "data": [0] * 784}, "inputs.0.shape.0"),
        (IMAGE | {"data": [0] * 783}, "'image' has 783 values, its shape [1, 28, 28] holds 784"),
        (IMAGE | {"data": [0] * 785}, "'image' has 785 values"),
        (IMAGE | {"data": []}, "'image' has 0 values"),
        (IMAGE | {"data": [0] * 783 + [256]}, "Value 783 of input 'image' is 256"),
        (IMAGE | {"data": [0] * 10 + [-1] + [0] * 773}, "Value 10 of input 'image' is -1"),
        (IMAGE | {"data": [0.5] + [0] * 783}, "Value 0 of input 'image' is 0.5"),
        (IMAGE | {"data": [True] + [0] * 783}, "Value 0 of input 'image' is True"),
        (IMAGE | {"data": [None] * 784}, "Value 0 of input 'image' is None"),
        (IMAGE | {"data": ["0"] * 784}, "Value 0 of input 'image' is 0. Send whole numbers"),
        (IMAGE | {"data": [[0] * 783, 0]}, "Value 0 of input 'image' is [0, 0"),
        (IMAGE | {"data": [10**400] * 784}, "Value 0 of input 'image' is 1000"),
        (IMAGE | {"data": "0" * 784}, "inputs.0.data"),
        (IMAGE, "'image' has neither 'data' nor 'binary_data_size'"),
        (IMAGE | {"parameters": {"binary_data_size": 784}}, "is 784, but 0 bytes follow the JSON"),
        (IMAGE | {"parameters": {"binary_data_size": -1}}, "inputs.0.parameters.binary_data_size"),
        (IMAGE | {"parameters": {"binary_data_size": "0"}}, "inputs.0.parameters.binary_data_size"),
        (IMAGE | {"data": [0] * 784, "parameters": {"binary_data_size": 0}}, "has both 'data' and"),
        (IMAGE | {"name": "pixels", "data": []}, "inputs.0.name"),
        (PICTURE | {"datatype": "UINT8", "data": ["AAAA"]}, "Send 'picture' as BYTES [n]"),
        (PICTURE | {"shape": [1, 1], "data": ["AAAA"]}, "'picture' is BYTES [1, 1]"),
        (PICTURE | {"data": ["AAAA", "AAAA"]}, "'picture' has 2 values, its shape [1] holds 1"),
        (PICTURE | {"data": [7]}, "picture[0] is not a string"),
        (PICTURE | {"data": [["AAAA"]]}, "picture[0] is not a string"),
        (PICTURE | {"data": ["?"]}, "'picture[0]' is not base64"),
    ],
)  # fmt: skip
def test_400_for_a_tensor_of_another_shape_or_type(
    client: httpx.Client, tensor: dict[str, Any], message: str
) -> None:
    error(infer(client, (tensor, b"")), 400, message)


def test_422_for_no_pictures_and_for_too_many(client: httpx.Client) -> None:
    for count in (0, -1):
        error(infer(client, (PICTURE | {"shape": [count], "data": []}, b"")), 422, "no pictures")
    images = np.zeros((65, 28, 28), np.uint8)
    for binary in (True, False):
        message = "65 pictures in the request, at most 64 are taken"
        error(infer(client, image_input(images, binary=binary)), 422, message)
        error(infer(client, picture_input([THREE] * 65, binary=binary)), 422, message)


def test_400_for_both_inputs_and_for_neither(client: httpx.Client) -> None:
    both = (image_input(BLANK, binary=False), picture_input([THREE], binary=True))
    error(
        infer(client, *both), 400, "There are 2 inputs. Send one: 'image' as UINT8 [n, 28, 28], or 'picture'"
    )
    error(infer(client), 400, "There are 0 inputs")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"inputs": 7}'])
def test_400_for_an_invalid_request(client: httpx.Client, content: bytes) -> None:
    error(client.post("/v2/models/cnn/infer", content=content), 400, "The JSON can't be accepted")


def test_an_error_does_not_repeat_the_request(client: httpx.Client) -> None:
    long = "7" * 4000
    for tensor in (
        IMAGE | {"shape": [int(long), 28, 28], "data": []},
        IMAGE | {"shape": [-int(long), 28, 28], "data": []},
        IMAGE | {"shape": [1, int(long), 28], "data": []},
        IMAGE | {"datatype": long, "data": []},
        IMAGE | {"data": [int(long)] * 784},
        IMAGE | {"data": [[long], 0]},
        IMAGE | {"data": [{long: long}]},
        PICTURE | {"data": [long + "?"]},
    ):
        answer = infer(client, (tensor, b""))
        assert answer.status_code in {400, 422}
        assert len(answer.content) < 500


def test_a_long_id_is_refused(client: httpx.Client) -> None:
    picture = picture_input([THREE], binary=True)
    assert infer(client, picture, id="a" * 1024).json()["id"] == "a" * 1024
    error(infer(client, picture, id="a" * 1025), 400, "id: String should have at most 1024 characters")


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "999999", "9" * 5000, "٣", "0x10"])
def test_400_for_an_invalid_length_of_the_json(client: httpx.Client, length: str) -> None:
    content, _ = body(image_input(BLANK, binary=True))
    headers = {b"Inference-Header-Content-Length": length.encode()}
    error(client.post("/v2/models/cnn/infer", content=content, headers=headers), 400, "Inference-Header")


@pytest.mark.parametrize("more", [-1, 1])
def test_400_for_binary_data_of_another_length_than_declared(client: httpx.Client, more: int) -> None:
    tensor, data = image_input(BLANK, binary=True)
    other = data[:-1] if more < 0 else data + b"\0"
    message = f"'binary_data_size' is {len(data)}, but {len(other)} bytes follow the JSON"
    error(infer(client, (tensor, other)), 400, message)


@BINARY
def test_an_error_names_the_picture_that_fails_the_request(client: httpx.Client, *, binary: bool) -> None:
    white = (HOSTILE / "white.png").read_bytes()
    answer = infer(client, picture_input([THREE, white, b"no picture"], binary=binary))
    error(answer, 422, "picture[1]: ")


@pytest.mark.parametrize(("name", "expected"), hostile_files().items())
def test_a_hostile_file_gets_the_status_that_predict_gives_it(
    client: httpx.Client, name: str, expected: tuple[int, str | None]
) -> None:
    answer = infer(client, picture_input([THREE, (HOSTILE / name).read_bytes()], binary=True))
    if expected[0] == 200:
        assert outputs(answer)["digit"].shape == (2,)
    else:
        error(answer, expected[0], "picture[1]: ")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@BINARY
def test_a_compressed_request_is_read(client: httpx.Client, coding: str, pack: Any, *, binary: bool) -> None:  # noqa: ANN401
    content, headers = body(picture_input(UPLOADS, binary=binary))
    answer = client.post(
        "/v2/models/cnn/infer", content=pack(content), headers=headers | {"Content-Encoding": coding}
    )
    plain = infer(client, picture_input(UPLOADS, binary=binary))
    np.testing.assert_array_equal(outputs(answer)["probabilities"], outputs(plain)["probabilities"])


def test_the_unpacked_body_counts_against_the_limit() -> None:
    gzipped = {"Content-Encoding": "gzip"}
    with serve(Settings(max_batch_body_bytes=100_000)) as client:
        bomb = gzip.compress(bytes(10_000_000))
        detail = "more than 100000 bytes once it is unpacked"
        error(client.post("/v2/models/cnn/infer", content=bomb, headers=gzipped), 413, detail)
        error(client.post("/v2/models/cnn/infer", content=b"x" * 20, headers=gzipped), 400, "not in gzip")
        error(client.post("/v2/models/cnn/infer", content=b"", headers=gzipped), 400, "is cut off")
        brotli = {"Content-Encoding": "br"}
        error(client.post("/v2/models/cnn/infer", content=b"", headers=brotli), 415, "gzip, deflate or none")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@BINARY
def test_a_large_answer_is_compressed(client: httpx.Client, coding: str, *, binary: bool) -> None:
    parameters = {"binary_data_output": binary}
    for count, expected in ((1, None), (64, coding)):
        content, headers = body(
            image_input(np.zeros((count, 28, 28), np.uint8), binary=True), parameters=parameters
        )
        answer = client.post(
            "/v2/models/cnn/infer", content=content, headers=headers | {"Accept-Encoding": coding}
        )
        assert answer.headers.get("Content-Encoding") == expected
        assert outputs(answer)["digit"].shape == (count,)  # httpx has unpacked it


def test_a_picture_gets_the_same_answer_alone_and_in_a_batch(client: httpx.Client) -> None:
    alone = outputs(infer(client, picture_input([THREE], binary=True)))
    among = outputs(infer(client, picture_input([*UPLOADS, THREE], binary=True)))
    np.testing.assert_allclose(among["probabilities"][-1], alone["probabilities"][0], atol=1e-6)


def test_a_body_is_read_whatever_its_content_type(client: httpx.Client) -> None:
    content, headers = body(image_input(BLANK, binary=True))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
        answer = client.post(
            "/v2/models/cnn/infer", content=content, headers=headers | {"Content-Type": kind}
        )
        assert outputs(answer)["digit"].shape == (2,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200),
    length=st.none() | st.integers(0, 250),
    coding=st.sampled_from(["", "gzip"]),
)
def test_arbitrary_bytes_never_give_500(
    client: httpx.Client, content: bytes, length: int | None, coding: str
) -> None:
    headers = {"Content-Encoding": coding}
    if length is not None:
        headers["Inference-Header-Content-Length"] = str(length)
    error(client.post("/v2/models/cnn/infer", content=content, headers=headers), 400, "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(upload=st.binary(max_size=200))
def test_arbitrary_pictures_never_give_500(client: httpx.Client, upload: bytes) -> None:
    texts = {"data": [base64.b64encode(upload).decode()]}
    for tensor in (picture_input([upload], binary=True), (PICTURE | texts, b"")):
        answer = infer(client, tensor)
        assert answer.status_code in {415, 422}
        error(answer, answer.status_code, "picture[0]: ")
