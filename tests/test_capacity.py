"""Bodies and places that other requests hold limit what is accepted, until they are released."""

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
ROOM = 100_000  # bytes
NARROW = Settings(max_body_bytes=ROOM, max_batch_body_bytes=ROOM, max_bytes_in_flight=ROOM)


def pad_picture(size: int) -> bytes:
    """Return a picture with what decoders don't look at behind it."""
    return TINY + bytes(size - len(TINY))


@contextmanager
def hold_body(client: httpx.Client, decoder: SlowDecoder, size: int) -> Iterator[None]:
    """Have the service hold a body of that size, whose picture is being read until the block ends."""
    with ThreadPoolExecutor(1) as sender:
        sender.submit(client.post, "/predict", content=LARGE + bytes(size - len(LARGE)), headers=PNG)
        wait_until(lambda: decoder.begun > 0)
        yield
        decoder.go_on.set()


def begin_upload(client: httpx.Client, *, size: int, declared: int) -> socket.socket:
    """Begin an upload that breaks off."""
    raw = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n")
    raw.sendall(b"Content-Length: %d\r\n\r\n" % declared + pad_picture(size))
    return raw


def is_accepted(client: httpx.Client, size: int) -> bool:
    """Tell whether a body of that size is let in. It holds no picture, so that nothing is decoded."""
    answer = client.post("/predict", content=bytes(size), headers=PNG)
    assert answer.status_code in {415, 503}
    return answer.status_code == 415


def test_the_body_of_one_request_leaves_less_room_for_others(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client:
        assert is_accepted(client, ROOM)
        with hold_body(client, slow_decoder, 60_000):
            assert not is_accepted(client, 40_001)
            assert is_accepted(client, 40_000)
        wait_until(lambda: is_accepted(client, ROOM))


def test_a_declared_length_alone_takes_no_room() -> None:
    with serve(NARROW) as client, begin_upload(client, size=1000, declared=ROOM):
        assert is_accepted(client, ROOM - 1000)


def test_the_refusal_names_the_limit_and_when_to_retry(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client, hold_body(client, slow_decoder, 60_000):
        answer = client.post("/predict", content=pad_picture(50_000), headers=PNG)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    problem = answer.json()
    assert (problem["code"], problem["limit"]) == ("overloaded", ROOM)
    assert problem["detail"] == (
        "60000 of 100000 bytes are held for other requests, 50000 more don't fit. Try again in a second."
    )


def test_a_body_in_chunks_is_refused_by_the_chunk_that_does_not_fit(slow_decoder: SlowDecoder) -> None:
    with serve(NARROW) as client:
        with hold_body(client, slow_decoder, 60_000):
            answer = client.post("/predict", content=iter([pad_picture(30_000), bytes(30_000)]), headers=PNG)
            assert answer.json()["code"] == "overloaded"
            assert is_accepted(client, 40_000)  # what was refused holds nothing
        wait_until(lambda: is_accepted(client, ROOM))


def test_a_client_that_disconnects_during_its_upload_frees_its_room() -> None:
    with serve(NARROW) as client:
        with begin_upload(client, size=60_000, declared=80_000):
            pass
        wait_until(lambda: is_accepted(client, ROOM))


@pytest.mark.parametrize("room", [ROOM, 2 * ROOM])
def test_a_compressed_body_takes_room_for_its_unpacked_size(room: int, slow_decoder: SlowDecoder) -> None:
    pictures = np.zeros((64, 28, 28), np.uint8)
    header = (
        b'{"inputs":[{"name":"image","shape":[64,28,28],"datatype":"UINT8",'
        b'"parameters":{"binary_data_size":%d}}]}' % pictures.nbytes
    )
    packed = gzip.compress(header + pictures.tobytes())
    settings = Settings(max_body_bytes=ROOM, max_batch_body_bytes=ROOM, max_bytes_in_flight=room)
    with serve(settings) as client, hold_body(client, slow_decoder, 60_000):
        answer = client.post(
            "/v2/models/linear/infer",
            content=packed,
            headers={"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(header))},
        )
    assert answer.status_code == (503 if room == ROOM else 200)


def test_a_body_that_has_stalled_gives_way_to_another() -> None:
    with serve(NARROW) as client, begin_upload(client, size=60_000, declared=80_000) as stalled:
        wait_until(lambda: is_accepted(client, 90_000) and select.select([stalled], [], [], 0)[0] != [])
        assert stalled.recv(12) == b"HTTP/1.1 408"


class Arriving:
    """A body of which a part has arrived."""

    def __init__(self, counted: int, *, stalled: bool) -> None:
        self.held_bytes = counted
        self.given_up = False
        self._stalled = stalled

    def is_stalled(self) -> bool:
        return self._stalled

    def give_up(self) -> None:
        self.given_up = True


def test_only_stalled_bodies_give_way_and_only_if_room_is_short() -> None:
    room = BodyBudget(100)
    room.reserve(90)
    steady, stalled = Arriving(50, stalled=False), Arriving(40, stalled=True)
    room.begin(steady)
    room.begin(stalled)
    room.check(10)
    assert not stalled.given_up
    with pytest.raises(Overloaded):
        room.check(60)
    assert (steady.given_up, stalled.given_up) == (False, True)
    room.reserve(50)
    room.end(steady)
    room.end(stalled)
    room.check(50)  # what was given up is not cleared a second time
    with pytest.raises(Overloaded):
        room.check(51)


def test_one_client_that_takes_all_places_does_not_lock_out_others() -> None:
    places = Places(32)
    with places.hold(32, "greedy"):
        with pytest.raises(Overloaded, match="32 of 32"):
            places.check(1, "greedy")
        with pytest.raises(Overloaded, match="5 are needed"):
            places.check(5, "not so modest")
        full = pytest.raises(Overloaded, match="40 of 32")
        with places.hold(4, "modest"), places.hold(4, "other"), full:
            places.check(1, "another")
    assert places.taken == 0


def test_a_client_may_send_batches_that_take_all_places() -> None:
    places = Places(128)
    with places.hold(64, "alone"), places.hold(64, "alone"):
        assert places.taken == 128


def test_few_places_are_not_reserved() -> None:
    places = Places(8)
    with places.hold(8, "greedy"), pytest.raises(Overloaded):
        places.check(1, "modest")
