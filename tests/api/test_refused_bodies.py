"""A body that was refused is not kept until Python's garbage collector comes by."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.serving import wait_until

BODY: Final = 8 * 2**20  # bytes
TIMES: Final = 6

NO_PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(BODY)
TEXT: Final = "A" * BODY
BODIES: Final = {
    "picture": ("image/png", NO_PNG),
    "base64": ("application/json", json.dumps({"image": TEXT}).encode()),
    "JSON": ("application/json", b'{"image":' + b"[" * BODY),
    "form": ("multipart/form-data; boundary=b", b"--b" + bytes(BODY)),
}
BATCHES: Final = {
    "base64": ("application/json", json.dumps({"images": [TEXT]}).encode()),
    "many": ("application/json", json.dumps({"images": ["A" * (BODY // 16)] * 16}).encode()),
    "form": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        + NO_PNG
        + b"\r\n--b--\r\n",
    ),
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disable the garbage collector: without it, objects in reference cycles are never freed."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        *(
            (path, *body)
            for path in ("/predict", "/predict?view=true", "/predict/number")
            for body in BODIES.values()
        ),
        *(("/predict/batch", *batch) for batch in BATCHES.values()),
    ],
    ids=[
        *(
            f"{path} {name}"
            for path in ("/predict", "/predict?view=true", "/predict/number")
            for name in BODIES
        ),
        *(f"/predict/batch {name}" for name in BATCHES),
    ],
)
def test_a_refused_body_is_not_kept(client: httpx.Client, path: str, media_type: str, body: bytes) -> None:
    client.post(path, content=body, headers={"Content-Type": media_type})
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(TIMES):
        answer = client.post(path, content=body, headers={"Content-Type": media_type})
        assert answer.status_code in {400, 415, 422} or answer.json()["results"][0]["problem"]
    # the last request may end a little after its answer has arrived
    wait_until(lambda: tracemalloc.get_traced_memory()[0] - before < BODY)
