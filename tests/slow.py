"""Slows down Pillow: pictures are being decoded for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
from PIL.ImageFile import ImageFile

from tests.serving import ROOT, wait_until
from tests.telemetry.scrapes import scrape

LARGE = (ROOT / "tests" / "data" / "golden" / "6-photo-small-in-large.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
load = ImageFile.load


class SlowDecoder:
    """Holds up every picture that is being decoded, until the test releases it."""

    def __init__(self) -> None:
        self.begun = 0
        self.unhindered = 0  # pictures, at most, that are decoded at once before the others are held up
        self.go_on = threading.Event()

    def load(self, image: ImageFile) -> object:
        if self.unhindered:
            self.unhindered -= 1
            return load(image)
        self.begun += not self.go_on.is_set()  # Pillow comes back for pixels that it has
        self.go_on.wait(60)
        return load(image)

    @contextmanager
    def occupy(self, client: httpx.Client, places: int) -> Iterator[None]:
        """Occupy some places of a service until the block ends."""
        with ThreadPoolExecutor(places) as senders:
            for _ in range(places):
                senders.submit(client.post, "/predict", content=LARGE, headers=JPEG)
            wait_until(lambda: scrape(client).value("digits_pictures_in_flight") == places)
            try:
                yield
            finally:
                self.go_on.set()


@contextmanager
def slow_down_pillow() -> Iterator[SlowDecoder]:
    """Slow Pillow down until the block ends."""
    decoder = SlowDecoder()

    def load_slowly(image: ImageFile) -> object:  # a function, so that Python hands it the picture
        return decoder.load(image)

    ImageFile.load = load_slowly  # type: ignore[method-assign,assignment]
    try:
        yield decoder
    finally:
        decoder.go_on.set()
        ImageFile.load = load  # type: ignore[method-assign]
