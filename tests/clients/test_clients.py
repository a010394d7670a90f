"""Clients that others wrote post a picture and get its digit, from the service itself and through nginx."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.clients.nginx import run_nginx
from tests.conftest import GOLDEN
from tests.serving import PATIENCE

HERE: Final = Path(__file__).parent
PICTURE: Final = GOLDEN / "7-photo.jpg"
JPEG: Final = {"Content-Type": "image/jpeg"}
AGAIN: Final = 3  # requests of a kind, on one connection
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # RFC 9113, 3.4


def run(*command: str) -> list[Any]:
    """Run a program that prints an answer on each line."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def bodies() -> Iterator[bytes | Iterator[bytes]]:
    """Return the picture as a whole and in pieces, which are sent as chunks, by turns."""
    picture = PICTURE.read_bytes()
    for _ in range(AGAIN):
        yield picture
        yield (picture[start : start + 4096] for start in range(0, len(picture), 4096))


def ask_by_java(url: str) -> list[Any]:
    return run("java", str(HERE / "Post.java"), url, str(PICTURE))


def ask_by_node(url: str) -> list[Any]:
    return run("node", str(HERE / "post.mjs"), url, str(PICTURE))


def ask_by_curl(url: str, *options: str) -> list[Any]:
    body = ["--data-binary", f"@{PICTURE}", "--header", "Content-Type: image/jpeg"]
    return run("curl", "--silent", "--show-error", "--write-out", "\n", *options, *body, *[url] * AGAIN)


def ask_by_curl_for_http2(url: str) -> list[Any]:
    return ask_by_curl(url, "--http2")


def ask_by_curl_for_http2_in_chunks(url: str) -> list[Any]:
    return ask_by_curl(url, "--http2", "--header", "Transfer-Encoding: chunked")


def ask_by_httpx(url: str) -> list[Any]:
    with httpx.Client(timeout=PATIENCE) as client:
        return [client.post(url, content=body, headers=JPEG).json() for body in bodies()]


def ask_by_requests(url: str) -> list[Any]:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        return [session.post(url, data=body, headers=JPEG, timeout=PATIENCE).json() for body in bodies()]


CLIENTS: Final = [
    pytest.param(ask_by_java, marks=pytest.mark.needs("java")),
    pytest.param(ask_by_node, marks=pytest.mark.needs("node")),
    *(
        pytest.param(ask, marks=pytest.mark.needs("curl"))
        for ask in (ask_by_curl, ask_by_curl_for_http2, ask_by_curl_for_http2_in_chunks)
    ),
    ask_by_httpx,
    ask_by_requests,
]


@pytest.fixture(scope="module")
def proxy(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service with default settings, through nginx."""
    with run_nginx(client.base_url.port or 0, tmp_path_factory.mktemp("nginx")) as client_of_proxy:
        yield client_of_proxy


@pytest.mark.parametrize("way", ["client", pytest.param("proxy", marks=pytest.mark.needs("nginx"))])
@pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)
def test_a_client_gets_the_digit_of_every_picture(
    request: pytest.FixtureRequest, way: str, ask: Callable[[str], list[Any]]
) -> None:
    answers = ask(f"{request.getfixturevalue(way).base_url}/predict")
    assert len(answers) >= AGAIN
    assert [answer.get("digit", answer) for answer in answers] == [7] * len(answers)


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(
    ("path", "answer"), [("/predict", (413, "body_too_large")), ("/nowhere", (404, "not_found"))]
)
def test_a_proxy_hands_on_the_answer_to_a_body_that_is_not_read(
    proxy: httpx.Client, path: str, answer: tuple[int, str]
) -> None:
    large = bytes(11 * 2**20)
    for content in (large, large, iter([large])):
        refusal = proxy.post(path, content=content, headers=JPEG)
        assert (refusal.status_code, refusal.json()["code"]) == answer


def test_http2_without_an_upgrade_is_refused_at_once(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), PATIENCE) as connection:
        connection.sendall(PREFACE)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"malformed_request"' in answer


@pytest.mark.needs("curl")
def test_curl_that_insists_on_http2_does_not_hang(client: httpx.Client) -> None:
    command = ["curl", "--silent", "--http2-prior-knowledge", f"{client.base_url}/health/live"]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode


@pytest.fixture
def paths() -> Iterator[list[str]]:
    """The paths of all requests to the service, from its access log."""
    requested: list[str] = []

    class PathRecorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            requested.append(vars(record).get("path", ""))

    log, recorder = logging.getLogger("app.access"), PathRecorder()
    log.addHandler(recorder)
    log.setLevel("INFO")
    yield requested
    log.removeHandler(recorder)
    log.setLevel("NOTSET")


# Through nginx the body is more than the service reads at once; what it reads next begins with line breaks,
# which a parser skips before a request.
@pytest.mark.parametrize(
    ("way", "breaks"), [("client", 0), pytest.param("proxy", 140_000, marks=pytest.mark.needs("nginx"))]
)
@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("protocol", ["websocket", "h2c", "anything"])
def test_what_follows_an_upgrades_head_is_its_body_and_never_a_request(
    request: pytest.FixtureRequest, paths: list[str], *, way: str, breaks: int, framing: str, protocol: str
) -> None:
    client = request.getfixturevalue(way)
    hidden = b"\r\n" * breaks + b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = post_with_upgrade(client, protocol, framing, hidden)
    assert [client.get("/health/live").json() for _ in range(AGAIN)] == [{"status": "live"}] * AGAIN
    assert "/metrics" not in paths
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b'"unsupported_media_type"' in answers


def post_with_upgrade(client: httpx.Client, protocol: str, framing: str, body: bytes) -> bytes:
    """Post a body, well after a head that asks for an upgrade; return all that is answered."""
    sized = framing == "sized"
    length = f"Content-Length: {len(body)}" if sized else "Transfer-Encoding: chunked"
    head = (
        f"POST /predict HTTP/1.1\r\nHost: a\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n"
        f"Content-Type: image/png\r\n{length}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), PATIENCE) as connection:
        connection.sendall(head.encode())
        client.get("/health/live").raise_for_status()  # by then the head has been read
        connection.sendall(body if sized else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        return read_answers(connection)


def read_answers(connection: socket.socket) -> bytes:
    """Return what comes until the end of an answer, and what comes within a moment after that."""
    answers = b""
    while b"}" not in answers and (piece := connection.recv(4096)):  # a problem is flat JSON
        answers += piece
    connection.settimeout(0.2)
    with suppress(TimeoutError):
        while piece := connection.recv(65536):
            answers += piece
    return answers
