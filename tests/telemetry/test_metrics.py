"""GET /metrics."""

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
def client() -> Iterator[httpx.Client]:
    """A client of a service that receives no other requests."""
    with serve(Settings()) as client:
        yield client


def star() -> bytes:
    """Draw a star, which is not a digit."""
    picture = np.full((100, 100), 255, np.uint8)
    for start, end in (
        ((50, 10), (50, 90)),
        ((10, 50), (90, 50)),
        ((20, 20), (80, 80)),
        ((80, 20), (20, 80)),
    ):
        cv2.line(picture, start, end, 0, 7, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", picture)[1])


def test_a_prediction_is_counted_by_model_and_digit_and_its_stages_are_timed(client: httpx.Client) -> None:
    client.post("/predict", content=THREE, headers=PNG)
    client.post("/predict?model=linear", content=THREE, headers=PNG)
    metrics = scrape(client)
    assert metrics.value("digits_predictions_total", model="cnn", digit="3") == 1
    assert metrics.value("digits_predictions_total", model="linear", digit="3") == 1
    assert metrics.value("digits_predictions_total") == 2
    assert 0.9 < metrics.value("digits_confidence_sum", model="cnn") <= 1
    for stage in ("decode", "preprocess", "infer"):
        assert metrics.value("digits_stage_duration_seconds_count", stage=stage) == 2
        assert 0 < metrics.value("digits_stage_duration_seconds_sum", stage=stage) < 60


def test_each_digit_of_a_number_is_counted(client: httpx.Client) -> None:
    client.post("/predict/number", content=NUMBER, headers={"Content-Type": "image/jpeg"})
    metrics = scrape(client)
    assert [metrics.value("digits_predictions_total", digit=digit) for digit in "4071"] == [1, 1, 1, 1]
    assert metrics.value("digits_predictions_total", model="line-reader") == 4
    assert metrics.value("digits_confidence_count") == 4
    assert metrics.value("digits_stage_duration_seconds_count", stage="infer") == 1


def test_a_batch_is_counted_with_its_refused_pictures(client: httpx.Client) -> None:
    files = [("files", picture) for picture in (THREE, BLANK, b"no picture", THREE)]
    assert client.post("/predict/batch", files=files).status_code == 200
    metrics = scrape(client)
    assert metrics.value("digits_batch_pictures_sum", model="cnn") == 4
    assert metrics.value("digits_predictions_total", digit="3") == 2
    assert metrics.value("digits_refusals_total", code="no_ink") == 1
    assert metrics.value("digits_refusals_total", code="unsupported_media_type") == 1
    assert metrics.value("digits_refusals_total") == 2


def test_warnings_and_negatives_are_counted_as_answered(client: httpx.Client) -> None:
    pictures = [TINY, star(), THREE]
    answers = [client.post("/predict", content=picture, headers=PNG).json() for picture in pictures]
    warnings = [code for answer in answers for code in answer.get("warnings", ())]
    negatives = [answer for answer in answers if answer.get("is_digit") is False]
    assert warnings
    assert answers[1] in negatives
    metrics = scrape(client)
    assert metrics.value("digits_warnings_total") == len(warnings)
    assert metrics.value("digits_warnings_total", code="tiny") == warnings.count("tiny") > 0
    assert metrics.value("digits_not_a_digit_total", model="cnn") == len(negatives)


def test_requests_are_counted_by_route_and_never_by_path(client: httpx.Client) -> None:
    for path in ("/models/cnn", "/models/linear", "/models/nothing", "/wp-login.php", "/predict"):
        client.get(path)
    client.request("PROPFIND", "/predict")
    metrics = scrape(client)
    assert metrics.value("digits_requests_total", route="/models/{name}", status="200") == 2
    assert metrics.value("digits_requests_total", route="/models/{name}", status="404") == 1
    assert metrics.value("digits_requests_total", method="GET", route="/predict", status="405") == 1
    assert metrics.value("digits_requests_total", method="other", route="/predict", status="405") == 1
    assert metrics.value("digits_requests_total", route="unknown", status="404") == 1
    assert metrics.value("digits_request_duration_seconds_count", route="/models/{name}") == 3
    assert metrics.value("digits_refusals_total", code="unknown_model") == 1
    routes = {sample.labels["route"] for sample in metrics if "route" in sample.labels}
    assert routes == {"/models/{name}", "/predict", "unknown"}


def test_invalid_http_is_counted_as_a_refusal(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(b"?\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert scrape(client).value("digits_refusals_total", code="malformed_request") == 1


def test_time_series_start_at_0(client: httpx.Client) -> None:
    metrics = scrape(client)
    assert {sample.labels["code"] for sample in metrics.find("digits_refusals_total")} == set(TITLES)
    for model in ("cnn", "line-reader"):
        assert len(metrics.find("digits_predictions_total", model=model)) == 10
    assert metrics.value("digits_refusals_total") == metrics.value("digits_predictions_total") == 0


def test_places_and_threads_have_gauges(client: httpx.Client) -> None:
    metrics = scrape(client)
    assert metrics.value("digits_workers") == 1
    assert metrics.value("digits_places") == Settings().max_in_flight
    assert metrics.value("digits_pictures_in_flight") == 0
    assert metrics.value("digits_threads") >= 1
    assert metrics.value("digits_threads_busy") == metrics.value("digits_threads_waiting") == 0


def test_a_picture_that_is_being_read_is_in_flight(client: httpx.Client, slow_decoder: SlowDecoder) -> None:
    with slow_decoder.occupy(client, 1):
        assert scrape(client).value("digits_pictures_in_flight") == 1
    wait_until(lambda: scrape(client).value("digits_pictures_in_flight") == 0)


def test_models_and_build_have_info_series(client: httpx.Client, catalogue: Catalogue) -> None:
    metrics = scrape(client)
    assert metrics.value("digits_build_info", version=__version__, python=platform.python_version()) == 1
    for model in catalogue:
        known = {
            "model": model.name,
            "version": model.network.recipe_version,
            "default": str(model.name == "cnn").lower(),
        }
        (info,) = metrics.find("digits_model_info", **known)
        assert model.network.sha256.startswith(info.labels["sha256"])


def test_process_metrics_have_their_standard_names(client: httpx.Client) -> None:
    metrics = scrape(client)
    assert metrics.value("process_resident_memory_bytes") > 50e6
    assert metrics.value("process_cpu_seconds_total") > 0
    assert metrics.value("process_open_fds") > 3
    assert metrics.value("process_start_time_seconds") > 1.7e9


def test_openmetrics_has_the_same_samples(client: httpx.Client) -> None:
    client.post("/predict", content=THREE, headers=PNG)
    text, openmetrics = scrape(client), scrape_openmetrics(client)
    assert {sample.name for sample in text} == {sample.name for sample in openmetrics}
    assert openmetrics.value("digits_predictions_total", digit="3") == 1


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=x.y", "text/plain; version=;;=", ","]
)
def test_a_malformed_accept_header_gets_metrics(client: httpx.Client, accept: str) -> None:
    assert client.get("/metrics", headers={"Accept": accept}).status_code == 200


def test_if_the_service_has_keys_metrics_require_one() -> None:
    key, entry = keys.create_key("prometheus")
    with serve(Settings(api_keys=(entry,))) as client:
        assert client.get("/metrics").status_code == 401
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert 'digits_refusals_total{code="unauthorized"} 1.0' in answer.text
