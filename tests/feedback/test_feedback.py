"""`/feedback`: what is sent is read, kept and counted; what can't be is refused."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.schemas import Feedback
from app.feedback.store import Store
from app.guard import keys
from app.settings import MEBIBYTE, Settings
from tests.conftest import HOSTILE, ROOT
from tests.feedback.giving import BYTES, SEVEN, THREE, give
from tests.serving import serve
from tests.telemetry.scrapes import scrape

BLANK = (HOSTILE / "white.png").read_bytes()
KEY = "a-key"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/feedback.db"


@pytest.fixture
def service(file: str) -> Iterator[httpx.Client]:
    with serve(Settings(feedback_url=file)) as client:
        yield client


def list_stored(file: str) -> dict[str, int | None]:
    with closing(Store(file, timeout=10)) as store:
        return {entry.id: entry.digit for entry in store.iterate_entries()}


def hash_picture(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()


@pytest.mark.parametrize(
    "request_body",
    [
        {"files": {"file": SEVEN}, "data": {"digit": "1"}},
        {"files": {"file": SEVEN}, "params": {"digit": "1"}},
        {"content": SEVEN, "headers": BYTES, "params": {"digit": "1"}},
        {"json": {"image": base64.b64encode(SEVEN).decode(), "digit": 1}},
    ],
    ids=["a form", "a form and a query", "bytes and a query", "JSON"],
)
def test_a_picture_is_stored_with_its_prediction_and_its_correct_digit(
    service: httpx.Client, file: str, request_body: dict[str, Any]
) -> None:
    before = datetime.now(UTC)
    answer = service.post("/feedback", **request_body)
    assert answer.status_code == 201
    given = Feedback.model_validate(answer.json())
    read = service.post("/predict", content=SEVEN, headers=BYTES).json()
    assert (given.id, given.digit, given.prediction.model_dump(mode="json")) == (hash_picture(SEVEN), 1, read)
    with closing(Store(file, timeout=10)) as store:
        (entry,) = store.iterate_entries()
        assert list(store.iterate_pictures()) == [(given.id, 1, SEVEN)]
    assert (entry.id, entry.digit, entry.prediction) == (given.id, 1, read)
    assert entry.model_sha256 == service.get("/models/cnn").json()["sha256"]
    assert entry.request_id == answer.headers["X-Request-ID"]
    assert before <= entry.time <= datetime.now(UTC)


def test_the_digit_of_a_known_picture_is_replaced(service: httpx.Client, file: str) -> None:
    assert [give(service, SEVEN, digit).status_code for digit in ("1", "7", "7")] == [201, 200, 200]
    assert list_stored(file) == {hash_picture(SEVEN): 7}


@pytest.mark.parametrize("request_body", [{"digit": None}, "none"], ids=["null", "none"])
def test_a_picture_can_be_labelled_as_showing_no_digit(
    service: httpx.Client, file: str, request_body: dict[str, None] | str
) -> None:
    if isinstance(request_body, str):
        answer = give(service, SEVEN, request_body)
    else:
        answer = service.post("/feedback", json={"image": base64.b64encode(SEVEN).decode(), **request_body})
    assert answer.json()["digit"] is None
    assert list_stored(file) == {hash_picture(SEVEN): None}


def test_feedback_can_be_given_on_another_model(service: httpx.Client) -> None:
    answer = service.post("/feedback", content=SEVEN, headers=BYTES, params={"digit": "7", "model": "linear"})
    assert answer.json()["prediction"]["model"]["name"] == "linear"


@pytest.mark.parametrize(
    ("request_body", "query"),
    [
        ({"files": {"file": SEVEN}}, "The correct digit is missing"),
        ({"content": SEVEN, "headers": BYTES}, "The correct digit is missing"),
        ({"files": {"file": SEVEN}, "data": {"digit": "12"}}, "given as '12'. Send 0 to 9, or 'none'"),
        ({"files": {"file": SEVEN}, "data": {"digit": ["1", "2"]}}, "Only 1 part named 'digit'"),
        ({"data": {"digit": "1"}, "files": {"other": b""}}, "no field 'file'"),
        ({"content": SEVEN, "headers": BYTES, "params": {"digit": "10"}}, "given as '10'"),
        (
            {"content": SEVEN, "headers": BYTES, "params": {"digit": ["7", "8"]}},
            "as '7' and as '8'. Send one",
        ),
        ({"files": {"file": SEVEN}, "data": {"digit": "1"}, "params": {"digit": "7"}}, "as '1' and as '7'"),
        ({"json": {"image": "", "digit": None}, "params": {"digit": "7"}}, "as '7' and as 'none'"),
        ({"json": {"image": ""}}, "digit: Field required"),
        ({"json": {"image": "", "digit": 10}}, "digit: Input should be less than or equal to 9"),
    ],
)
def test_feedback_without_a_valid_digit_is_refused(
    service: httpx.Client, file: str, request_body: dict[str, Any], query: str
) -> None:
    answer = service.post("/feedback", **request_body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert query in answer.json()["detail"]
    assert not list_stored(file)


def test_a_picture_that_cant_be_read_is_not_stored(service: httpx.Client, file: str) -> None:
    assert give(service, BLANK, "7").json()["code"] == "no_ink"
    assert not list_stored(file)


def test_a_picture_beyond_the_limit_of_bytes_is_refused(file: str) -> None:
    large = SEVEN + bytes(MEBIBYTE - 512)
    with serve(Settings(feedback_url=file, feedback_max_bytes=MEBIBYTE)) as client:
        assert give(client, SEVEN, "7").status_code == 201
        answer = give(client, large, "7")
        assert (answer.status_code, answer.json()["code"]) == (507, "feedback_full")
        assert answer.json()["limit"] == MEBIBYTE
        assert give(client, SEVEN, "1").status_code == 200
    assert list_stored(file) == {hash_picture(SEVEN): 1}


def test_a_client_with_a_key_can_delete(file: str) -> None:
    with serve(Settings(feedback_url=file, api_keys=(keys.create_key("me")[1], KEY))) as client:
        path = f"/feedback/{hash_picture(SEVEN)}"
        assert client.delete(path).status_code == 401
        client.headers["X-API-Key"] = KEY
        for picture in (SEVEN, THREE):
            give(client, picture, "7")
        result = client.delete(path)
        assert (result.status_code, result.content) == (204, b"")
        again = client.delete(path)
        assert (again.status_code, again.json()["code"]) == (404, "unknown_feedback")
        assert client.delete("/feedback/%00").json()["code"] == "unknown_feedback"
    assert list_stored(file) == {hash_picture(THREE): 7}


def test_without_configured_keys_nobody_can_delete_over_http(service: httpx.Client, file: str) -> None:
    give(service, SEVEN, "7")
    answer = service.delete(f"/feedback/{hash_picture(SEVEN)}")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert list_stored(file)


def test_feedback_is_counted_apart_from_predictions(service: httpx.Client) -> None:
    for digit in ("7", "1", "none"):
        give(service, SEVEN, digit)
    found = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for sample in scrape(service)
        if sample.name in {"digits_feedback_total", "digits_predictions_total"} and sample.value
    }
    assert found == {("digits_feedback_total", "right"): 1, ("digits_feedback_total", "wrong"): 2}


def test_the_service_says_whether_it_stores_feedback(service: httpx.Client, client: httpx.Client) -> None:
    assert service.get("/models").json()["feedback"] is True
    assert client.get("/models").json()["feedback"] is False


def test_a_service_without_feedback_refuses_before_reading_the_picture(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
        raw.sendall(
            b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
        )
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert answer.status == 403
        assert b"DIGITS_FEEDBACK_URL" in answer.read()


def test_a_missing_package_stops_the_start_with_one_line(tmp_path: Path) -> None:
    script = "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['app']; import runpy; "
    script += "runpy.run_module('app', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"DIGITS_FEEDBACK_URL": f"sqlite:///{tmp_path}/feedback.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("digits can't start: DIGITS_FEEDBACK_URL=(not shown): ")
    assert "the extra 'feedback' is not installed (sqlalchemy): pip install sqlalchemy" in result.stderr
    assert result.stderr.count("\n") == 1
