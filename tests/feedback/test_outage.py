"""A database that is down, hangs or comes back: predictions go on, and so does feedback once it can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.feedback.async_store import MAX_REQUESTS
from app.settings import Settings
from tests.feedback.conftest import empty
from tests.feedback.giving import BYTES, THREE, give
from tests.feedback.postgres import Postgres
from tests.serving import serve, wait_until

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture
def service(server: Postgres) -> Iterator[httpx.Client]:
    empty(server.url)
    # a single place for predictions, which whoever waits for the database must not hold
    with serve(Settings(feedback_url=server.url, max_in_flight=1, max_batch=1)) as client:
        yield client


def predict_seven(client: httpx.Client) -> bool:
    return bool(client.post("/predict", content=THREE, headers=BYTES).json()["digit"] == 3)


def is_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "feedback_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 5


def test_predictions_continue_while_the_database_hangs(service: httpx.Client, server: Postgres) -> None:
    assert give(service, THREE, "3").status_code == 201  # a connection that will hang, too
    with ThreadPoolExecutor(MAX_REQUESTS) as others:
        with server.hang():
            waiting = [others.submit(give, service, THREE, "3") for _ in range(MAX_REQUESTS)]
            predicted = 0
            while not all(one.done() for one in waiting):
                predicted += predict_seven(service)
                assert service.get("/health/ready").status_code == 200
        for one in waiting:
            is_refused(one.result())
    assert predicted > 20
    assert predict_seven(service)
    wait_until(lambda: give(service, THREE, "3").status_code == 200)


def test_the_number_of_requests_that_wait_for_the_database_is_limited(
    service: httpx.Client, server: Postgres
) -> None:
    with ThreadPoolExecutor(4 * MAX_REQUESTS) as others, server.hang():
        waiting = [others.submit(give, service, THREE, "3") for _ in range(4 * MAX_REQUESTS)]
        codes = [one.result().json()["code"] for one in waiting]
        assert predict_seven(service)
    assert {"overloaded", "feedback_unavailable"} == set(codes)


def test_a_service_starts_without_its_database_and_connects_later(server: Postgres) -> None:
    empty(server.url)
    server.stop()
    try:
        with serve(Settings(feedback_url=server.url)) as client:
            assert client.get("/health/ready").status_code == 200
            started = time.monotonic()
            is_refused(give(client, THREE, "3"))
            is_refused(client.post("/feedback", content=b"?", headers=BYTES))  # before it is looked at
            assert predict_seven(client)
            server.start()
            wait_until(lambda: give(client, THREE, "3").status_code == 201)
            assert time.monotonic() - started > 5  # a database that has failed is left alone for so long
            server.stop()
            server.start()
            assert give(client, THREE, "3").status_code == 200  # a connection that was cut is made again
    finally:
        if not server.runs():
            server.start()
