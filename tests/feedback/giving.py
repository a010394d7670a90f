"""Pictures and their right digits, sent to `/feedback`."""

from __future__ import annotations

import httpx

from tests.conftest import GOLDEN

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
SEVEN = (GOLDEN / "7-photo.jpg").read_bytes()
BYTES = {"Content-Type": "application/octet-stream"}


def give(client: httpx.Client, picture: bytes, digit: str | None) -> httpx.Response:
    """Send a picture and its right digit."""
    return client.post("/feedback", content=picture, headers=BYTES, params={"digit": digit} if digit else {})
