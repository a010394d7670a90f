"""Work that nobody waits for any more ends, and gives its places back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from app.digits import images, numbers
from app.digits.images import Picture, Upload
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serving, until

LARGE = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
decode = images.decode


class Slow:
    """A decoder that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()

    def __call__(self, upload: Upload) -> Picture:
        self.begun += 1
        self.go_on.wait(60)
        return decode(upload)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    decoder = Slow()
    monkeypatch.setattr(images, "decode", decoder)
    yield decoder
    decoder.go_on.set()


def free(client: httpx.Client) -> bool:
    """Tell whether there is a place for one more tiny picture, whose body is refused before it is decoded."""
    return client.post("/predict", content=b"?", headers=JPEG).status_code == 415


def test_what_has_timed_out_ends_before_its_next_stage(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    segmented: list[object] = []
    monkeypatch.setattr(numbers, "segment", segmented.append)
    with serving(Settings(max_in_flight=1, max_batch=1, request_timeout=0.1)) as client:
        assert client.post("/predict/number", content=LARGE, headers=JPEG).status_code == 504
        assert client.post("/predict", content=TINY, headers=JPEG).json()["code"] == "overloaded"
        slow.go_on.set()
        until(lambda: free(client))
    assert slow.begun == 1
    assert not segmented


def test_a_client_that_hangs_up_gives_its_place_back(slow: Slow) -> None:
    with serving(Settings(max_in_flight=1, max_batch=1)) as client:
        raw = socket.create_connection((client.base_url.host, client.base_url.port or 80))
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n")
        raw.sendall(b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
        until(lambda: slow.begun == 1)
        raw.close()
        slow.go_on.set()
        until(lambda: free(client))


def test_a_client_that_hangs_up_while_it_uploads_gives_its_place_back() -> None:
    with serving(Settings(max_in_flight=1, max_batch=1, read_timeout=3600)) as client:
        raw = socket.create_connection((client.base_url.host, client.base_url.port or 80))
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
        )
        until(lambda: not free(client))
        raw.close()
        until(lambda: free(client))
