"""Places and bytes that requests hold are refused to others until they are released."""

from __future__ import annotations

import gzip
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from app.capacity import BodyBudget, Places
from app.settings import Settings
from app.wire.problems import Overloaded
from tests.conftest import GOLDEN
from tests.serving import serve, wait_until
from tests.slow import LARGE, SlowDecoder

TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
PNG = {"Content-Type": "image/png"}
BUDGET = 100_000  # bytes
NARROW = Settings(max_body_bytes=BUDGET, max_batch_body_bytes=BUDGET, max_bytes_in_flight=BUDGET)


def pad_picture(size: int) -> bytes:
    """Return a picture, padded with bytes that decoders ignore."""
    return TINY + bytes(size - len(TINY))


@contextmanager
def hold_upload(client: httpx.Client, decoder: SlowDecoder, size: int) -> Iterator[None]:
    """Let the service hold a body of that size while the block runs."""
    with ThreadPoolExecutor(1) as sender:
        sender.submit(client.post, "/predict", content=LARGE + bytes(size - len(LARGE)), headers=PNG)
        wait_until(lambda: decoder.begun > 0)
        yield
        decoder.go_on.set()


def start_upload(client: httpx.Client, *, size: int, declared: int) -> socket.socket:
    """Send the head and the first bytes of an upload."""
    raw = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n")
    raw.sendall(b"Content-Length: %d\r\n\r\n" % declared + pad_picture(size))
    return raw


def fits(client: httpx.Client, size: int) -> bool:
    """Tell whether a body of that size is accepted. It holds no picture, so nothing is decoded."""
    answer = client.post("/predict", content=bytes(size), headers=PNG)
    assert answer.status_code in {415, 503}
    return answer.status_code == 415


def test_a_body_takes_bytes_from_the_budget_until_its_request_ends(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client:
        assert fits(client, BUDGET)
        with hold_upload(client, slow_decoder, 60_000):
            assert not fits(client, 40_001)
            assert fits(client, 40_000)
        wait_until(lambda: fits(client, BUDGET))


def test_only_bytes_that_have_arrived_count() -> None:
    with serve(NARROW) as client, start_upload(client, size=1000, declared=BUDGET):
        assert fits(client, BUDGET - 1000)


def test_the_refusal_names_the_sizes_and_when_to_try_again(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client, hold_upload(client, slow_decoder, 60_000):
        answer = client.post("/predict", content=pad_picture(50_000), headers=PNG)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    problem = answer.json()
    assert (problem["code"], problem["limit"]) == ("overloaded", BUDGET)
    assert problem["detail"] == (
        "Other requests hold 60000 of 100000 bytes, and 50000 more don't fit. Try again in a second."
    )


def test_a_body_in_chunks_is_refused_by_the_chunk_that_does_not_fit(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client:
        with hold_upload(client, slow_decoder, 60_000):
            answer = client.post("/predict", content=iter([pad_picture(30_000), bytes(30_000)]), headers=PNG)
            assert answer.json()["code"] == "overloaded"
            assert fits(client, 40_000)  # the refused body holds nothing
        wait_until(lambda: fits(client, BUDGET))


def test_a_client_that_disconnects_during_its_upload_releases_its_bytes() -> None:
    with serve(NARROW) as client:
        with start_upload(client, size=60_000, declared=80_000):
            pass
        wait_until(lambda: fits(client, BUDGET))


@pytest.mark.parametrize("budget", [BUDGET, 2 * BUDGET])
def test_the_unpacked_size_of_a_compressed_body_counts(budget: int, slow_decoder: SlowDecoder) -> None:
    pictures = np.zeros((64, 28, 28), np.uint8)
    header = (
        b'{"inputs":[{"name":"image","shape":[64,28,28],"datatype":"UINT8",'
        b'"parameters":{"binary_data_size":%d}}]}' % pictures.nbytes
    )
    packed = gzip.compress(header + pictures.tobytes())
    settings = Settings(max_body_bytes=BUDGET, max_batch_body_bytes=BUDGET, max_bytes_in_flight=budget)
    with serve(settings) as client, hold_upload(client, slow_decoder, 60_000):
        answer = client.post(
            "/v2/models/linear/infer",
            content=packed,
            headers={"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(header))},
        )
    assert answer.status_code == (503 if budget == BUDGET else 200)


def test_a_stalled_body_gives_way_to_another() -> None:
    with serve(NARROW) as client, start_upload(client, size=60_000, declared=80_000) as stalled:
        wait_until(lambda: fits(client, 90_000) and select.select([stalled], [], [], 0)[0] != [])
        assert stalled.recv(12) == b"HTTP/1.1 408"


class PartialBody:
    """A body that has arrived in part."""

    def __init__(self, held_bytes: int, *, stalled: bool) -> None:
        self.held_bytes = held_bytes
        self.dropped = False
        self._stalled = stalled

    def is_stalled(self) -> bool:
        return self._stalled

    def drop(self) -> None:
        self.dropped = True


def test_only_stalled_bodies_give_way_and_only_when_bytes_are_short() -> None:
    budget = BodyBudget(100)
    budget.reserve(90)
    steady, stalled = PartialBody(50, stalled=False), PartialBody(40, stalled=True)
    budget.add(steady)
    budget.add(stalled)
    budget.check(10)
    assert not stalled.dropped
    with pytest.raises(Overloaded):
        budget.check(60)
    assert (steady.dropped, stalled.dropped) == (False, True)
    budget.reserve(50)
    budget.remove(steady)
    budget.remove(stalled)
    budget.check(50)  # the bytes of the stalled body are not released twice
    with pytest.raises(Overloaded):
        budget.check(51)


def test_a_client_that_holds_all_places_does_not_lock_out_others() -> None:
    places = Places(32)
    with places.hold(32, "greedy"):
        with pytest.raises(Overloaded, match="up to 32 pictures at a time and has room for 0 more"):
            places.check(1, "greedy")
        with pytest.raises(Overloaded, match="needs room for 5"):
            places.check(5, "not so modest")
        full = pytest.raises(Overloaded, match="room for 0 more")
        with places.hold(4, "modest"), places.hold(4, "other"), full:
            places.check(1, "another")
    assert places.taken == 0


def test_a_client_may_send_batches_that_take_all_places() -> None:
    places = Places(128)
    with places.hold(64, "alone"), places.hold(64, "alone"):
        assert places.taken == 128


def test_a_worker_with_few_places_reserves_none() -> None:
    places = Places(8)
    with places.hold(8, "greedy"), pytest.raises(Overloaded):
        places.check(1, "modest")
