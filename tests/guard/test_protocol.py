from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from app.guard.protocol import MAX_HEAD
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, serving

NINE = (GOLDEN / "9-grey.bmp").read_bytes()
HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    with serving(Settings(models_dir=MODELS, read_timeout=3600)) as client:
        yield client


@pytest.fixture(scope="module")
def impatient() -> Iterator[httpx.Client]:
    with serving(Settings(models_dir=MODELS, read_timeout=0.4)) as client:
        yield client


def connected(service: httpx.Client) -> socket.socket:
    return socket.create_connection((service.base_url.host, service.base_url.port or 80), timeout=PATIENCE)


def refusal(raw: socket.socket) -> tuple[int, str]:
    """Return the status and code of an answer in the one shape of all, after which the connection ends."""
    answer = http.client.HTTPResponse(raw)
    answer.begin()
    problem = json.loads(answer.read())
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-ID"] == problem["request_id"]
    assert answer.status == problem["status"]
    assert raw.recv(1) == b""
    return answer.status, problem["code"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MAX_HEAD * 3,
        HEAD + b"X-A: " + b"a" * MAX_HEAD * 3,
        HEAD + b"X-A: b\r\n" * (MAX_HEAD // 2),
        HEAD + b"X" * MAX_HEAD * 3,
    ],
    ids=["address", "one header", "many headers", "name of a header"],
)
def test_a_head_has_a_limit(service: httpx.Client, head: bytes) -> None:
    with connected(service) as raw:
        for start in range(0, len(head), 8192):
            raw.sendall(head[start : start + 8192])
            if start <= MAX_HEAD:
                time.sleep(0.01)  # or the rest is on its way when the service hangs up
            else:
                break
        assert refusal(raw) == (431, "head_too_large")


@pytest.mark.parametrize(
    "tail", [b"5;" + b"a" * 9 * MAX_HEAD, b"0\r\nX-A: " + b"a" * 9 * MAX_HEAD], ids=["chunk", "trailer"]
)
def test_what_stands_beside_a_body_has_a_limit(service: httpx.Client, tail: bytes) -> None:
    with connected(service) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n"
        )
        with suppress(ConnectionError):  # the service hangs up, with some of it unread
            raw.sendall(tail)
            while raw.recv(8192):
                pass


@pytest.mark.parametrize("body", [b"", NINE], ids=["alone", "with a body"])
@pytest.mark.parametrize("kept", [False, True], ids=["first", "later"])
def test_a_whole_head_that_comes_at_once_has_the_same_limit(
    service: httpx.Client, body: bytes, kept: object
) -> None:
    with connected(service) as raw:
        if kept:
            raw.sendall(HEAD + b"\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            answer.read()
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * MAX_HEAD + b"\r\n" + length + body)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["code"]) == (431, "head_too_large")


def test_usual_heads_are_taken(service: httpx.Client) -> None:
    assert service.get("/health/live", headers={"Cookie": "a" * (MAX_HEAD // 2)}).status_code == 200


def test_a_late_head_gets_408(impatient: httpx.Client) -> None:
    with connected(impatient) as raw:
        raw.sendall(HEAD)
        assert refusal(raw) == (408, "slow_upload")


def test_a_late_head_gets_408_on_a_connection_that_was_kept(impatient: httpx.Client) -> None:
    with connected(impatient) as raw:
        raw.sendall(HEAD + b"\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        answer.read()
        time.sleep(0.6)  # idle is not late
        raw.sendall(HEAD)
        assert refusal(raw) == (408, "slow_upload")


def test_a_head_that_comes_in_pieces_is_taken_and_its_body_has_its_own_time() -> None:
    with serving(Settings(models_dir=MODELS, read_timeout=6)) as client, connected(client) as raw:
        kind = "Content-Type: image/bmp"
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(NINE)}\r\n\r\n"
        for piece in (head[:30], head[30:70], head[70:]):
            time.sleep(1)
            raw.sendall(piece.encode())
        time.sleep(4)  # more than are left of the head's six seconds
        raw.sendall(NINE)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["digit"]) == (200, 9)


def test_a_connection_on_which_nothing_comes_ends(impatient: httpx.Client) -> None:
    with connected(impatient) as raw:
        assert raw.recv(1) == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"hello\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    ],
    ids=["tls", "no http", "path", "negative", "two lengths", "huge length", "version", "blank", "folded"],
)
def test_what_is_no_http_gets_the_one_shape_of_errors(service: httpx.Client, request_line: bytes) -> None:
    with connected(service) as raw:
        raw.sendall(request_line)
        assert refusal(raw) == (400, "malformed_request")


def test_smuggling_two_lengths_of_a_body_is_refused(service: httpx.Client) -> None:
    with connected(service) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /models HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400")
