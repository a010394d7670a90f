"""GET /metrics: what the service counts."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator

import cv2
import httpx
import numpy as np
import pytest

from app import __version__
from app.digits.catalogue import Catalogue
from app.guard import keys
from app.settings import Settings
from app.wire.problems import TITLES
from tests.serving import serve, wait_until
from tests.slow import SlowDecoder
from tests.telemetry.pictures import BLANK, NUMBER, PNG, THREE, TINY
from tests.telemetry.scrapes import scrape, scrape_openmetrics


@pytest.fixture
def own() -> Iterator[httpx.Client]:
    """A client of a service that nobody else asks."""
    with serve(Settings()) as client:
        yield client


def star() -> bytes:
    """Draw what is not a digit."""
    picture = np.full((100, 100), 255, np.uint8)
    for one, other in (
        ((50, 10), (50, 90)),
        ((10, 50), (90, 50)),
        ((20, 20), (80, 80)),
        ((80, 20), (20, 80)),
    ):
        cv2.line(picture, one, other, 0, 7, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", picture)[1])


def test_a_prediction_is_counted_by_digit_and_model_with_its_stages(own: httpx.Client) -> None:
    own.post("/predict", content=THREE, headers=PNG)
    own.post("/predict?model=linear", content=THREE, headers=PNG)
    found = scrape(own)
    assert found.value("digits_predictions_total", model="cnn", digit="3") == 1
    assert found.value("digits_predictions_total", model="linear", digit="3") == 1
    assert found.value("digits_predictions_total") == 2
    assert 0.9 < found.value("digits_confidence_sum", model="cnn") <= 1
    for stage in ("decode", "preprocess", "infer"):
        assert found.value("digits_stage_duration_seconds_count", stage=stage) == 2
        assert 0 < found.value("digits_stage_duration_seconds_sum", stage=stage) < 60


def test_each_digit_of_a_number_is_counted(own: httpx.Client) -> None:
    own.post("/predict/number", content=NUMBER, headers={"Content-Type": "image/jpeg"})
    found = scrape(own)
    assert [found.value("digits_predictions_total", digit=digit) for digit in "4071"] == [1, 1, 1, 1]
    assert found.value("digits_confidence_count") == 4
    assert found.value("digits_stage_duration_seconds_count", stage="infer") == 1


def test_a_batch_is_counted_with_what_was_refused_of_it(own: httpx.Client) -> None:
    files = [("files", picture) for picture in (THREE, BLANK, b"no picture", THREE)]
    assert own.post("/predict/batch", files=files).status_code == 200
    found = scrape(own)
    assert found.value("digits_batch_pictures_sum", model="cnn") == 4
    assert found.value("digits_predictions_total", digit="3") == 2
    assert found.value("digits_refusals_total", code="no_ink") == 1
    assert found.value("digits_refusals_total", code="unsupported_media_type") == 1
    assert found.value("digits_refusals_total") == 2


def test_warnings_and_what_is_no_digit_are_counted_as_they_are_answered(own: httpx.Client) -> None:
    pictures = [TINY, star(), THREE]
    answers = [own.post("/predict", content=picture, headers=PNG).json() for picture in pictures]
    warnings = [code for answer in answers for code in answer.get("warnings", ())]
    strangers = [answer for answer in answers if answer.get("is_digit") is False]
    assert warnings
    assert len(strangers) == 1
    found = scrape(own)
    assert found.value("digits_warnings_total") == len(warnings)
    assert found.value("digits_warnings_total", code="tiny") == warnings.count("tiny") > 0
    assert found.value("digits_not_a_digit_total", model="cnn") == len(strangers)


def test_requests_are_counted_by_route_and_never_by_path(own: httpx.Client) -> None:
    for path in ("/models/cnn", "/models/linear", "/models/nothing", "/wp-login.php", "/predict"):
        own.get(path)
    own.request("PROPFIND", "/predict")
    found = scrape(own)
    assert found.value("digits_requests_total", route="/models/{name}", status="200") == 2
    assert found.value("digits_requests_total", route="/models/{name}", status="404") == 1
    assert found.value("digits_requests_total", method="GET", route="/predict", status="405") == 1
    assert found.value("digits_requests_total", method="other", route="/predict", status="405") == 1
    assert found.value("digits_requests_total", route="unknown", status="404") == 1
    assert found.value("digits_request_duration_seconds_count", route="/models/{name}") == 3
    assert found.value("digits_refusals_total", code="unknown_model") == 1
    routes = {sample.labels["route"] for sample in found if "route" in sample.labels}
    assert routes == {"/models/{name}", "/predict", "unknown"}


def test_a_head_that_is_no_http_is_counted_as_a_refusal(own: httpx.Client) -> None:
    with socket.create_connection((own.base_url.host, own.base_url.port or 0)) as connection:
        connection.sendall(b"?\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert scrape(own).value("digits_refusals_total", code="malformed_request") == 1


def test_what_has_not_happened_is_shown_as_0(own: httpx.Client) -> None:
    found = scrape(own)
    assert {sample.labels["code"] for sample in found.find("digits_refusals_total")} == set(TITLES)
    assert len(found.find("digits_predictions_total", model="cnn")) == 10
    assert found.value("digits_refusals_total") == found.value("digits_predictions_total") == 0


def test_places_and_threads_are_told(own: httpx.Client) -> None:
    found = scrape(own)
    assert found.value("digits_workers") == 1
    assert found.value("digits_places") == Settings().max_in_flight
    assert found.value("digits_pictures_in_flight") == 0
    assert found.value("digits_threads") >= 1
    assert found.value("digits_threads_busy") == found.value("digits_threads_waiting") == 0


def test_a_picture_that_is_being_read_is_in_flight(own: httpx.Client, slow_decoder: SlowDecoder) -> None:
    with slow_decoder.occupy(own, 1):
        assert scrape(own).value("digits_pictures_in_flight") == 1
    wait_until(lambda: scrape(own).value("digits_pictures_in_flight") == 0)


def test_models_and_program_are_told(own: httpx.Client, catalogue: Catalogue) -> None:
    found = scrape(own)
    assert found.value("digits_build_info", version=__version__, python=platform.python_version()) == 1
    for model in catalogue:
        known = {
            "model": model.name,
            "version": model.classifier.version,
            "default": str(model.name == "cnn").lower(),
        }
        (info,) = found.find("digits_model_info", **known)
        assert model.classifier.sha256.startswith(info.labels["sha256"])


def test_the_process_is_told_under_its_usual_names(own: httpx.Client) -> None:
    found = scrape(own)
    assert found.value("process_resident_memory_bytes") > 50e6
    assert found.value("process_cpu_seconds_total") > 0
    assert found.value("process_open_fds") > 3
    assert found.value("process_start_time_seconds") > 1.7e9


def test_openmetrics_says_the_same(own: httpx.Client) -> None:
    own.post("/predict", content=THREE, headers=PNG)
    plain, other = scrape(own), scrape_openmetrics(own)
    assert {sample.name for sample in plain} == {sample.name for sample in other}
    assert other.value("digits_predictions_total", digit="3") == 1


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=x.y", "text/plain; version=;;=", ","]
)
def test_whatever_is_accepted_there_is_an_answer(own: httpx.Client, accept: str) -> None:
    assert own.get("/metrics", headers={"Accept": accept}).status_code == 200


def test_where_keys_are_asked_for_they_are_here_too() -> None:
    key, entry = keys.create_key("prometheus")
    with serve(Settings(api_keys=(entry,))) as client:
        assert client.get("/metrics").status_code == 401
        found = client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert 'digits_refusals_total{code="unauthorized"} 1.0' in found.text
