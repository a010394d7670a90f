"""Work that nobody waits for any more ends, and gives its places back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from PIL.ImageFile import ImageFile

from app.api.work import GivenUp, Stages
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serving, until

LARGE = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
load = ImageFile.load


class Slow:
    """Pillow on a machine that is slow until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()

    def load(self, image: ImageFile) -> object:
        self.begun += not self.go_on.is_set()  # Pillow comes back for pixels that it has
        self.go_on.wait(60)
        return load(image)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    pillow = Slow()

    def load_slowly(image: ImageFile) -> object:  # a function, so that Python hands it the picture
        return pillow.load(image)

    monkeypatch.setattr(ImageFile, "load", load_slowly)
    yield pillow
    pillow.go_on.set()


def free(client: httpx.Client) -> bool:
    """Tell whether there is a place for one more tiny picture, whose body is refused before it is decoded."""
    return client.post("/predict", content=b"?", headers=JPEG).status_code == 415


def test_work_that_is_given_up_ends_before_its_next_stage() -> None:
    stages = Stages()
    with stages.timed("decode"):
        stages.given_up = True
    with pytest.raises(GivenUp), stages.timed("preprocess"):
        pytest.fail("the stage was entered")


def test_what_has_timed_out_keeps_its_place_until_its_stage_ends(slow: Slow) -> None:
    with serving(Settings(max_in_flight=1, max_batch=1, request_timeout=0.1)) as client:
        assert client.post("/predict/number", content=LARGE, headers=JPEG).status_code == 504
        assert client.post("/predict", content=TINY, headers=JPEG).json()["code"] == "overloaded"
        slow.go_on.set()
        until(lambda: free(client))
    assert slow.begun == 1


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
