"""Responses of applications that do what ours does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from fastapi import Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.main import create_app
from app.settings import Settings
from tests.serving import PATIENCE, serve


class Silent(Response):
    """A response that is not sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""


class Breaking(Response):
    """A response that breaks off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send a part."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def stream(_: Request) -> Response:
    """Answer in parts, one of which is empty."""
    return StreamingResponse(iter([b"one", b"", b"two"]))


async def break_lines(request: Request) -> Response:
    """Answer with a header that the client chooses."""
    return Response(headers={"X-Text": request.query_params["text"]})


async def be_silent(_: Request) -> Response:
    """Do not answer."""
    return Silent()


async def break_off(_: Request) -> Response:
    """Answer by halves."""
    return Breaking()


async def mislead(request: Request) -> Response:
    """Answer with another Content-Length than the body has."""
    response = Response(b"body")
    response.headers["Content-Length"] = request.query_params["length"]
    return response


@pytest.fixture(scope="module")
def odd() -> Iterator[httpx.Client]:
    """A service with routes whose responses are odd."""
    app = create_app(Settings())
    for endpoint in (stream, break_lines, be_silent, break_off, mislead):
        app.add_api_route(f"/{endpoint.__name__}", endpoint)
    with serve(Settings(), app) as client:
        yield client


def test_a_streamed_response_is_chunked(odd: httpx.Client) -> None:
    answer = odd.get("/stream")
    assert (answer.text, answer.headers["Transfer-Encoding"]) == ("onetwo", "chunked")
    head = odd.head("/stream")
    assert (head.status_code, head.content) == (200, b"")
    assert odd.get("/stream").text == "onetwo"  # nothing is left of the last one on the connection


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "a\x1fb", "a\x7fb"])
def test_no_header_of_a_response_can_begin_another(odd: httpx.Client, text: str) -> None:
    answer = odd.get("/break_lines", params={"text": text})
    assert answer.status_code == 500
    assert "X-Text" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    assert odd.get("/break_lines", params={"text": "a\tb"}).headers["X-Text"] == "a\tb"


@pytest.mark.parametrize("path", ["/be_silent", "/mislead?length=3", "/mislead?length=5"])
def test_a_response_that_is_none_becomes_an_error(odd: httpx.Client, path: str) -> None:
    answer = odd.get(path)
    assert (answer.status_code, answer.headers["Connection"]) == (500, "close")


def test_a_response_that_breaks_off_closes_the_connection(odd: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        odd.get("/break_off")


def test_head_and_body_of_a_response_are_one_packet(odd: httpx.Client) -> None:
    with socket.create_connection((odd.base_url.host, odd.base_url.port or 0), PATIENCE) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
