"""Work that nobody waits for any more ends, and gives its places back."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import SimpleNamespace

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from app.api.work import run_in_thread
from app.capacity import Places, Threads
from app.settings import Settings
from app.state import STATE
from app.telemetry.stages import Stages, WorkAbandoned
from tests.conftest import GOLDEN
from tests.serving import serve, wait_until
from tests.slow import SlowDecoder
from tests.telemetry.scrapes import scrape

LARGE = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
JPEG, PNG = ({"Content-Type": f"image/{name}"} for name in ("jpeg", "png"))


def address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 80


def free(client: httpx.Client) -> bool:
    """Tell whether there is a place for one more tiny picture, whose body is refused before it is decoded."""
    return client.post("/predict", content=b"?", headers=JPEG).status_code == 415


def test_abandoned_work_ends_before_its_next_stage() -> None:
    stages = Stages()
    with stages.time_stage("decode"):
        stages.is_abandoned = True
    with pytest.raises(WorkAbandoned), stages.time_stage("preprocess"):
        pytest.fail("the stage was entered")


def test_work_that_timed_out_keeps_its_place_until_its_stage_ends(slow_decoder: SlowDecoder) -> None:
    with serve(Settings(max_in_flight=1, max_batch=1, request_timeout=0.1)) as client:
        assert client.post("/predict/number", content=LARGE, headers=JPEG).status_code == 504
        assert client.post("/predict", content=TINY, headers=JPEG).json()["code"] == "overloaded"
        slow_decoder.go_on.set()
        wait_until(lambda: free(client))
    assert slow_decoder.begun == 1


@pytest.mark.parametrize("path", ["/predict", "/predict/number"])
def test_a_small_picture_does_not_wait_for_large_ones(path: str, slow_decoder: SlowDecoder) -> None:
    with serve(Settings()) as client:
        threads = int(scrape(client).value("digits_threads")) - 1  # one is in reserve
        with slow_decoder.occupy(client, threads + 1):
            wait_until(lambda: scrape(client).value("digits_threads_waiting") == 1)
            assert client.post(path, content=TINY, headers=PNG).status_code == 200
            assert slow_decoder.begun == threads


def test_a_client_that_hangs_up_gives_its_place_back(slow_decoder: SlowDecoder) -> None:
    with serve(Settings(max_in_flight=1, max_batch=1)) as client:
        raw = socket.create_connection(address(client))
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n")
        raw.sendall(b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
        wait_until(lambda: slow_decoder.begun == 1)
        raw.close()
        slow_decoder.go_on.set()
        wait_until(lambda: free(client))


def test_work_of_a_cancelled_request_keeps_its_place_until_it_ends() -> None:
    places, threads = Places(4), Threads(1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def cancel() -> None:
        state = SimpleNamespace(settings=Settings(), threads=threads, places=places)
        request = Request({"type": "http", "headers": [], "state": {STATE: state}}, never)
        task = asyncio.create_task(run_in_thread(work, request))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert places.taken == 1
        go_on.set()
        await asyncio.to_thread(wait_until, lambda: not places.taken)

    asyncio.run(cancel())


def test_an_upload_takes_no_place_before_it_has_arrived() -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    settings = Settings(max_in_flight=1, max_batch=1, read_timeout=3600)
    with serve(settings) as client, socket.create_connection(address(client)) as raw:
        raw.sendall(head + b"Content-Length: %d\r\n\r\n" % len(TINY) + TINY[:-1])
        assert free(client)
        raw.sendall(TINY[-1:])
        assert raw.recv(12) == b"HTTP/1.1 200"
