"""Past the framework's routing predictions are answered as its own routes would answer them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from app.api.direct import ENDPOINTS, DirectDispatch
from app.main import create_app
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serve

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PNG = {"Content-Type": "image/png"}
ID = {"X-Request-ID": "the same"}
QUERIES = (
    "",
    "model=linear",
    "model=nothing",
    "model=",
    "model=nothing&model=linear",
    "view=true",
    "view=YES&model=mlp-128",
    "view=0",
    "view=",
    "view=perhaps",
    "view=true&view=perhaps",
    "view=perhaps&model=nothing",
    "view",
    "model=%ff%00",
    "model=a+b%2B",
    "other=thing&view=1",
    "format=hf",
    "format=xml",
)


@pytest.fixture(scope="module")
def framework() -> Iterator[httpx.Client]:
    """A client of the service without its short way."""
    app = create_app(Settings())
    assert DirectDispatch.__name__ in repr(app.user_middleware.pop())  # the innermost layer
    with serve(Settings(), app) as client:
        yield client


def answer(client: httpx.Client, path: str, query: str, content: bytes) -> tuple[int, object, list[str]]:
    """Return status, body and the names of the headers."""
    sent = {"headers": PNG | ID, "content": content}
    if path == "/predict/batch":
        sent = {"headers": ID, "files": [("files", content)] * 2}
    response = client.post(f"{path}?{query}", **sent)  # type: ignore[arg-type]
    return response.status_code, response.json(), sorted(response.headers)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("content", [THREE, b"no picture"], ids=["a picture", "none"])
def test_every_query_gets_the_answer_that_fastapi_gives(
    client: httpx.Client, framework: httpx.Client, path: str, query: str, content: bytes
) -> None:
    assert answer(client, path, query, content) == answer(framework, path, query, content)
