"""Requests that are made to hurt: forms of thousands of parts, JSON that nests, texts that are no base64."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serve

PICTURE = (GOLDEN / "9-grey.bmp").read_bytes()
TEXT = base64.b64encode(PICTURE).decode()
FORM = "multipart/form-data; boundary=b"
JSON = "application/json"
MALFORMED = (400, "malformed_request")
UNREADABLE = (415, "unsupported_media_type")
EMPTY = (422, "unreadable_image")
FINE = (200, None)


@pytest.fixture(scope="module")
def feedback_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that keeps pictures."""
    file = tmp_path_factory.mktemp("feedback") / "pictures.db"
    with serve(Settings(feedback_url=f"sqlite:///{file}")) as client:
        yield client


def part(head: bytes, content: bytes = PICTURE) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def field(name: str = "file", filename: str = "a.bmp") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'.encode()


END = b"--b--\r\n"
FORMS = {
    "as it should be": (FORM, part(field()) + END, FINE),
    "5,000 pictures": (FORM, part(field(), b"x") * 5000 + END, MALFORMED),
    "5,000 other fields": (FORM, part(field("x"), b"x") * 5000 + part(field()) + END, MALFORMED),
    "100,000 empty parts": (FORM, b"--b\r\n\r\n\r\n" * 100_000 + END, MALFORMED),
    "10,000 headers in a part": (FORM, part(b"X-A: b\r\n" * 10_000 + field()) + END, MALFORMED),
    "a part's header of 1 MB": (FORM, part(b"X-A: " + b"b" * 2**20 + b"\r\n" + field()) + END, MALFORMED),
    "a file name of 1 MB": (FORM, part(field(filename="a" * 2**20)) + END, MALFORMED),
    "a file name that climbs": (FORM, part(field(filename="../../../../etc/passwd")) + END, FINE),
    "a file name of Windows": (FORM, part(field(filename="C:\\\\Windows\\\\win.ini")) + END, FINE),
    "a file name with a null": (FORM, part(field(filename="a\0.bmp")) + END, FINE),
    "a file name in quotes that do not end": (FORM, part(field()[:-1]) + END, FINE),
    "no name": (FORM, part(b"Content-Disposition: form-data") + END, MALFORMED),
    "no disposition": (FORM, part(b"Content-Type: image/bmp") + END, MALFORMED),
    "no header": (FORM, b"--b\r\n\r\n" + PICTURE + b"\r\n" + END, MALFORMED),
    "no boundary": ("multipart/form-data", part(field()) + END, MALFORMED),
    "an empty boundary": ("multipart/form-data; boundary=", part(field()) + END, MALFORMED),
    "another boundary": ("multipart/form-data; boundary=c", part(field()) + END, MALFORMED),
    "a boundary of 10,000 characters": (f"multipart/form-data; boundary={'b' * 10_000}", END, MALFORMED),
    "a boundary that is everywhere": (FORM, b"--b" * 300_000, MALFORMED),
    "a boundary that almost comes": (FORM, part(field(), b"\r\n--" * 200_000) + END, UNREADABLE),
    "no end": (FORM, part(field()), MALFORMED),
    "half an end": (FORM, part(field()) + b"--b-", MALFORMED),
    "line feeds alone": (FORM, (part(field()) + END).replace(b"\r\n", b"\n"), MALFORMED),
    "an empty form": (FORM, END, MALFORMED),
    "an empty body": (FORM, b"", MALFORMED),
    "an empty file": (FORM, part(field(), b"") + END, EMPTY),
    "a form within a form": (
        FORM,
        part(field() + b"\r\nContent-Type: multipart/mixed; boundary=c") + END,
        FINE,
    ),
    "a part in base64": (
        FORM,
        part(field() + b"\r\nContent-Transfer-Encoding: base64", TEXT.encode()) + END,
        UNREADABLE,
    ),
    "a header in two lines": (FORM, part(field() + b"\r\nX: a\r\n b") + END, MALFORMED),
    "a header without a colon": (FORM, part(b"Content-Disposition") + END, MALFORMED),
    "nulls": (FORM, bytes(100_000), MALFORMED),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_gets_its_exact_answer(client: httpx.Client, name: str) -> None:
    media_type, body, expected = FORMS[name]
    answer = client.post("/predict", content=body, headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json().get("code")) == expected


def image(text: str) -> bytes:
    return json.dumps({"image": text}).encode()


BODIES = {
    "as it should be": (image(TEXT), FINE),
    "deep lists": (b"[" * 100_000, MALFORMED),
    "deep objects": (b'{"image":' * 50_000 + b"1" + b"}" * 50_000, MALFORMED),
    "a deep member beside the picture": (
        image(TEXT)[:-1] + b',"x":' + b"[" * 99_999 + b"]" * 99_999 + b"}",
        MALFORMED,
    ),
    "a huge number": (b'{"image": 1e999999}', MALFORMED),
    "100,000 digits": (b'{"image": ' + b"9" * 100_000 + b"}", MALFORMED),
    "NaN": (b'{"image": NaN}', MALFORMED),
    "Infinity": (b'{"image": -Infinity}', MALFORMED),
    "null": (b'{"image": null}', MALFORMED),
    "true": (b"true", MALFORMED),
    "a list": (b"[]", MALFORMED),
    "a text": (b'"image"', MALFORMED),
    "a list of a picture": (json.dumps({"image": [TEXT]}).encode(), MALFORMED),
    "no member": (b"{}", MALFORMED),
    "another member alone": (b'{"picture": "AAAA"}', MALFORMED),
    "100,000 members": (
        json.dumps({str(index): index for index in range(100_000)}).encode(),
        MALFORMED,
    ),
    "the member twice": (image("!")[:-1] + b"," + image(TEXT)[1:], FINE),
    "half a surrogate": (b'{"image": "\\ud800"}', MALFORMED),
    "bytes that are no UTF-8": (b'{"image": "\xff\xfe"}', MALFORMED),
    "UTF-16": (image(TEXT).decode().encode("utf-16"), MALFORMED),
    "a control character": (b'{"image": "\x01"}', MALFORMED),
    "broken off": (image(TEXT)[:-20], MALFORMED),
    "something after it": (image(TEXT) + b"x", MALFORMED),
    "nothing": (b"", MALFORMED),
    "blanks": (b" " * 1_000_000, MALFORMED),
    "a comment": (b"/* */" + image(TEXT), MALFORMED),
}


@pytest.mark.parametrize("name", BODIES)
def test_hostile_json_gets_its_exact_answer(client: httpx.Client, name: str) -> None:
    body, expected = BODIES[name]
    answer = client.post("/predict", content=body, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json().get("code")) == expected
    assert len(answer.content) < 2000  # no mirror of what was sent


TEXTS = {
    "nothing": ("", EMPTY),
    "blanks": (" \n\t" * 1000, EMPTY),
    "padding alone": ("====", MALFORMED),
    "a million of padding": ("=" * 1_000_000, MALFORMED),
    "one character": ("A", MALFORMED),
    "padding within": (TEXT[:8] + "==" + TEXT[8:], MALFORMED),
    "the alphabet of addresses": ("-_-_" + TEXT, MALFORMED),
    "other letters": ("ÄÖÜ", MALFORMED),
    "digits of another script": ("\u0660\u0661", MALFORMED),
    "a null": (TEXT + "\0", MALFORMED),
    "twice in base64": (base64.b64encode(TEXT.encode()).decode(), UNREADABLE),
    "hexadecimal": (PICTURE[:200].hex(), UNREADABLE),
    "an address": ("https://example.org/nine.png", MALFORMED),
    "a path": ("file:///etc/passwd", MALFORMED),
    "a data: URL": (f"data:image/bmp;base64,{TEXT}", FINE),
    "a data: URL of another type": (f"data:text/html;base64,{TEXT}", FINE),
    "a data: URL without base64": ("data:image/png,%89PNG", MALFORMED),
    "a data: URL without a comma": ("data:image/png;base64", MALFORMED),
    "an empty data: URL": ("data:;base64,", EMPTY),
    "a data: URL with wrong percents": ("data:;base64,%zz", MALFORMED),
    "100,000 semicolons": ("data:" + ";" * 100_000 + "base64,", EMPTY),
    "many beginnings": ("data:" * 100_000, MALFORMED),
    "many bases": ("data:" + ";base64" * 50_000 + "x,", MALFORMED),
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_base64_gets_its_exact_answer(client: httpx.Client, name: str) -> None:
    text, expected = TEXTS[name]
    answer = client.post("/predict", content=image(text), headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json().get("code")) == expected
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], (422, "empty_batch")),
        ([TEXT] * 1000, (422, "batch_too_large")),
        ([""] * 200_000, (422, "batch_too_large")),
        ([None], MALFORMED),
        ([[TEXT]], (200, None)),  # rows of pixels, whose error is their own
        ({"0": TEXT}, MALFORMED),
        (TEXT, MALFORMED),
        ([TEXT, ["!"]], (200, None)),
    ],
    ids=["none", "1,000", "200,000 empty", "null", "a list", "an object", "a text", "a text and a list"],
)
def test_a_hostile_batch_gets_its_exact_answer(
    client: httpx.Client, images: object, expected: tuple[int, str]
) -> None:
    answer = client.post("/predict/batch", json={"images": images})
    assert (answer.status_code, answer.json().get("code")) == expected


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (path, media_type)
        for path in ("/predict", "/predict/number", "/predict/batch", "/explain", "/feedback")
        for media_type in (JSON, "image/png", FORM)
        if (path, media_type) != ("/predict/batch", "image/png")
    ],
)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "x" * 1000])
def test_an_unsupported_content_encoding_is_refused_by_name(
    feedback_client: httpx.Client, path: str, media_type: str, coding: str
) -> None:
    headers = {"Content-Type": media_type, "Content-Encoding": coding}
    answer = feedback_client.post(path, content=gzip.compress(image(TEXT)), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == UNREADABLE
    assert f"The Content-Encoding '{coding[:50]}" in answer.json()["detail"]
    assert len(answer.content) < 2000


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_the_identity_encoding_is_accepted(client: httpx.Client, coding: str) -> None:
    for media_type, content in ((JSON, image(TEXT)), ("image/bmp", PICTURE), (FORM, part(field()) + END)):
        headers = {"Content-Type": media_type, "Content-Encoding": coding}
        assert client.post("/predict", content=content, headers=headers).json()["digit"] == 9


@pytest.mark.parametrize("text", [TEXT, f"data:image/bmp;base64,{TEXT}", f"\n{TEXT}"])
def test_base64_in_place_of_a_file_is_refused_with_a_remedy(client: httpx.Client, text: str) -> None:
    raw = client.post("/predict", content=text, headers={"Content-Type": "image/bmp"})
    form = client.post("/predict", data={"file": text}, files={"other": b""})
    several = client.post(
        "/predict/batch", files=[("files", ("a", PICTURE)), ("files", ("b", text.encode()))]
    )
    results = several.json()["results"]
    assert results[0]["prediction"]["digit"] == 9
    for problem, where in (
        (raw.json(), "The body is base64 text"),
        (form.json(), "The field 'file' is base64 text"),
        (results[1]["problem"], "The field 'files' (index 1) is base64 text"),
    ):
        assert (problem["status"], problem["code"]) == UNREADABLE
        assert where in problem["detail"]
        assert JSON in problem["detail"]


def test_values_of_other_types_are_not_converted_to_texts_and_digits(feedback_client: httpx.Client) -> None:
    for value in (True, 7, 7.5, None, {"data": TEXT}):
        for body in ({"image": value}, {"image": value, "digit": 9}):
            answer = feedback_client.post("/feedback" if "digit" in body else "/predict", json=body)
            assert (answer.status_code, answer.json()["code"]) == MALFORMED
            assert "image: Input should be base64 text, or rows of pixels" in answer.json()["detail"]
    digits: tuple[object, ...] = (True, False, "9", "none", "", 9.5, 10, -1, 10**30, [9], {})
    for digit in digits:
        answer = feedback_client.post("/feedback", json={"image": TEXT, "digit": digit})
        assert (answer.status_code, answer.json()["code"]) == MALFORMED
        assert "digit: Input should be" in answer.json()["detail"]


@pytest.mark.parametrize("digit", [b"9", b"9.0", b"90e-1"])
def test_a_whole_number_is_an_integer_however_it_is_written(
    feedback_client: httpx.Client, digit: bytes
) -> None:
    body = image(TEXT)[:-1] + b', "digit": ' + digit + b"}"
    answer = feedback_client.post("/feedback", content=body, headers={"Content-Type": JSON})
    assert answer.json()["digit"] == 9


def test_an_error_quotes_only_the_beginning_of_a_correct_digit(feedback_client: httpx.Client) -> None:
    long = 50_000 * "7"
    for answer in (
        feedback_client.post("/feedback", data={"digit": long}, files={"file": PICTURE}),
        feedback_client.post(
            "/feedback", content=PICTURE, headers={"Content-Type": "image/bmp"}, params={"digit": long}
        ),
        feedback_client.post(
            "/feedback",
            content=PICTURE,
            headers={"Content-Type": "image/bmp"},
            params=[("digit", f"{number}{long[:99]}") for number in range(200)],
        ),
    ):
        assert (answer.status_code, answer.json()["code"]) == MALFORMED
        assert "'7777" in answer.json()["detail"] or "77777'" in answer.json()["detail"]
        assert len(answer.content) < 2000


def test_an_error_quotes_only_the_beginning_of_a_parameter(client: httpx.Client) -> None:
    answer = client.post("/predict", params={"view": "x" * 50_000}, content=PICTURE)
    assert (answer.status_code, answer.json()["code"]) == MALFORMED
    assert len(answer.content) < 2000


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_json_of_many_values_is_refused_before_it_is_parsed(client: httpx.Client, path: str) -> None:
    member = "image" if path == "/predict" else "images"
    for values, expected in (
        ([1] * 1_000, MALFORMED),
        ([1] * 300_000, MALFORMED if path == "/predict" else (422, "batch_too_large")),
    ):
        answer = client.post(path, json={member: values})
        assert (answer.status_code, answer.json()["code"]) == expected
