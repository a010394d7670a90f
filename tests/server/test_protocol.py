from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from app.server.protocol import MAX_CHUNKS, MAX_DISCARDED, MAX_HEAD, read_framing
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, serve, wait_until

NINE = (GOLDEN / "9-grey.bmp").read_bytes()
HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    """A service that waits an hour for heads and bodies."""
    with serve(Settings(models_dir=MODELS, read_timeout=3600)) as client:
        yield client


@pytest.fixture(scope="module")
def impatient() -> Iterator[httpx.Client]:
    with serve(Settings(models_dir=MODELS, read_timeout=0.4)) as client:
        yield client


def connect(service: httpx.Client) -> socket.socket:
    return socket.create_connection((service.base_url.host, service.base_url.port or 80), timeout=PATIENCE)


def read_refusal(raw: socket.socket) -> tuple[int, str]:
    """Check that the response is a problem document and the connection closes; return status and code."""
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
def test_an_oversized_head_is_refused(service: httpx.Client, head: bytes) -> None:
    with connect(service) as raw:
        for start in range(0, len(head), 8192):
            raw.sendall(head[start : start + 8192])
            if start <= MAX_HEAD:
                time.sleep(0.01)  # otherwise the rest is in transit when the service closes the connection
            else:
                break
        assert read_refusal(raw) == (431, "head_too_large")


@pytest.mark.parametrize(
    "tail", [b"5;" + b"a" * 9 * MAX_HEAD, b"0\r\nX-A: " + b"a" * 9 * MAX_HEAD], ids=["chunk", "trailer"]
)
def test_chunk_extensions_and_trailers_have_a_limit(service: httpx.Client, tail: bytes) -> None:
    with connect(service) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n"
        )
        with suppress(ConnectionError):  # the service closes the connection before reading everything
            raw.sendall(tail)
            while raw.recv(8192):
                pass


@pytest.mark.parametrize("body", [b"", NINE], ids=["alone", "with a body"])
@pytest.mark.parametrize("reused", [False, True], ids=["first", "later"])
def test_an_oversized_head_in_one_packet_is_refused(
    service: httpx.Client, body: bytes, reused: object
) -> None:
    with connect(service) as raw:
        if reused:
            raw.sendall(HEAD + b"\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            answer.read()
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * MAX_HEAD + b"\r\n" + length + body)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["code"]) == (431, "head_too_large")


def test_large_heads_within_the_limit_are_accepted(service: httpx.Client) -> None:
    assert service.get("/health/live", headers={"Cookie": "a" * (MAX_HEAD // 2)}).status_code == 200


def test_a_late_head_gets_408(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        raw.sendall(HEAD)
        assert read_refusal(raw) == (408, "slow_upload")


def test_a_late_head_gets_408_on_a_keep_alive_connection(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        raw.sendall(HEAD + b"\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        answer.read()
        time.sleep(0.6)  # an idle connection is not late
        raw.sendall(HEAD)
        assert read_refusal(raw) == (408, "slow_upload")


def test_a_request_in_small_pieces_is_accepted(service: httpx.Client) -> None:
    whole = build_head() + NINE
    with connect(service) as raw:
        for start in range(0, len(whole), 45):
            raw.sendall(whole[start : start + 45])
            time.sleep(0.002)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["digit"]) == (200, 9)


def test_a_connection_without_a_request_is_closed(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        assert raw.recv(1) == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"hello\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    ],
    ids=[
        *("tls", "no http", "path", "negative", "two lengths", "huge length", "version", "blank", "folded"),
        *("no host", "two hosts", "two hosts of 1.0", "host and path", "blank in host", "user in host"),
        *("gzip in chunks", "chunks of 1.0", "http/2", "connect"),
    ],
)
def test_invalid_http_is_refused_with_a_problem_document(service: httpx.Client, request_line: bytes) -> None:
    with connect(service) as raw:
        raw.sendall(request_line)
        assert read_refusal(raw) == (400, "malformed_request")


def test_content_length_with_transfer_encoding_is_refused(service: httpx.Client) -> None:
    with connect(service) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /models HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400")


def build_head(*headers: str, length: int = len(NINE)) -> bytes:
    """Return the head of a request to read NINE."""
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: image/bmp", *headers]
    framing = [] if "Transfer-Encoding: chunked" in headers else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, *framing, "", ""]).encode()


def read_responses(raw: socket.socket) -> list[tuple[int, dict[str, object]]]:
    """Return the status and JSON of all responses until the connection closes."""
    stream = raw.makefile("rb")
    received = []
    while line := stream.readline():
        headers = http.client.parse_headers(stream)
        body = stream.read(int(headers["Content-Length"]))
        received.append((int(line.split()[1]), json.loads(body)))
    return received


def chunks(body: bytes, size: int) -> bytes:
    """Return a body as chunks of `size` bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0, HTTP/1.1", "x"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("separate", [False, True], ids=["at once", "in two packets"])
def test_an_upgrade_header_is_ignored_and_the_body_is_read(
    service: httpx.Client, offer: str, chunked: object, separate: object
) -> None:
    framing = ["Transfer-Encoding: chunked"] if chunked else []
    head = build_head(f"Upgrade: {offer}", "Connection: Upgrade, HTTP2-Settings", *framing)
    body = chunks(NINE, 1000) if chunked else NINE
    with connect(service) as raw:
        for _ in range(2):
            raw.sendall(head if separate else head + body)
            if separate:
                time.sleep(0.05)
                raw.sendall(body)
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            assert (answer.status, json.loads(answer.read())["digit"]) == (200, 9)


def test_a_body_after_an_upgrade_header_is_never_another_request(service: httpx.Client) -> None:
    hidden = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"
    offer = ["Upgrade: websocket", "Connection: upgrade"]
    with connect(service) as raw:
        raw.sendall(build_head(*offer, length=len(hidden)) + hidden)
        raw.sendall(HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        raw.sendall(HEAD + b"Connection: close\r\n\r\n")
        received = read_responses(raw)
    assert [status for status, _ in received] == [415, 200, 200]
    assert [body.get("status") for _, body in received[1:]] == ["live", "live"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_garbage_after_a_valid_request_does_not_cost_its_response(
    service: httpx.Client, chunked: object
) -> None:
    head = build_head("Transfer-Encoding: chunked") if chunked else build_head()
    with connect(service) as raw:
        raw.sendall(head + (chunks(NINE, 500) if chunked else NINE) + b"\x16\x03rubbish\r\n\r\n")
        received = read_responses(raw)
    assert received[0][1]["digit"] == 9
    assert [status for status, _ in received] == ([200] if chunked else [200, 400])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_pipelined_requests_are_answered_in_order(service: httpx.Client, chunked: object) -> None:
    chunked_request = build_head("Transfer-Encoding: chunked") + chunks(NINE, 700)
    request = chunked_request if chunked else build_head() + NINE
    with connect(service) as raw:
        for _ in range(4):
            raw.sendall(request)
        raw.sendall(HEAD + b"\r\n" + HEAD + b"Connection: close\r\n\r\n")
        received = read_responses(raw)
    # after a chunked body, the connection may close before the other requests are answered
    expected = [9, 9, 9, 9, None, None]
    assert [body.get("digit") for _, body in received] == (expected[: len(received)] if chunked else expected)


def test_a_broken_chunk_is_refused(service: httpx.Client) -> None:
    with connect(service) as raw:
        raw.sendall(build_head("Transfer-Encoding: chunked") + b"5\r\nabcdeXX\r\n")
        assert read_refusal(raw) == (400, "malformed_request")


def test_a_body_in_tiny_chunks_is_refused(service: httpx.Client) -> None:
    with connect(service) as raw, suppress(ConnectionError):
        raw.sendall(build_head("Transfer-Encoding: chunked") + b"1\r\na\r\n" * (2 * MAX_CHUNKS))
        assert read_refusal(raw) == (400, "malformed_request")


def test_the_rest_of_a_refused_body_has_a_timeout(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        raw.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(10))
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (404, None)
        answer.read()
        with suppress(ConnectionError):  # it may have closed already
            raw.sendall(b"a")
        assert read_all(raw) == b""


def test_the_rest_of_a_refused_body_is_skipped_and_the_connection_kept_alive(service: httpx.Client) -> None:
    with connect(service) as raw:
        for _ in range(3):
            raw.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            answer.read()
            raw.sendall(bytes(1000))
        raw.sendall(build_head() + NINE)
        assert raw.recv(12) == b"HTTP/1.1 200"


LARGE = 16 * 2**20  # bytes: more than sockets buffer


@pytest.mark.parametrize(
    "request_bytes",
    [
        build_head(length=LARGE) + bytes(LARGE),
        build_head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, bytes(LARGE)),
    ],
    ids=["sized", "chunked"],
)
def test_a_client_that_sends_all_before_it_reads_gets_the_refusal_of_its_body_and_nothing_more(
    service: httpx.Client, request_bytes: bytes
) -> None:
    with connect(service) as raw:
        raw.sendall(request_bytes)
        assert read_refusal(raw) == (413, "body_too_large")
        with suppress(ConnectionError):  # closed for a body whose end is known
            raw.sendall(HEAD + b"\r\n")
            assert raw.recv(1) == b""


def test_the_rest_of_a_refused_body_has_a_limit(service: httpx.Client) -> None:
    with connect(service) as raw:
        raw.sendall(build_head("Transfer-Encoding: chunked") + b"%x\r\n" % 2**40)
        sent = 0
        with suppress(ConnectionError):
            while sent < 2**30:
                sent += raw.send(bytes(LARGE))
        assert MAX_DISCARDED < sent < 2**30


def test_who_does_not_send_the_rest_of_a_large_refused_body_is_disconnected(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        raw.sendall(build_head(length=LARGE) + bytes(10))
        assert read_refusal(raw) == (413, "body_too_large")
        wait_until(lambda: is_closed(raw))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_bytes_of_a_head_start_its_timeout(impatient: httpx.Client, count: int) -> None:
    with connect(impatient) as raw:
        raw.sendall(HEAD + b"\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        answer.read()
        raw.sendall(b"GET"[:count])
        assert read_all(raw) == b""


def test_a_client_that_reads_no_responses_is_disconnected() -> None:
    with serve(Settings(write_timeout=0.2)) as client, connect(client) as raw:
        raw.settimeout(0.1)
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with suppress(TimeoutError):
            raw.sendall(ask * 100_000)  # more than the kernel buffers in both directions
        wait_until(lambda: is_closed(raw))


def is_closed(raw: socket.socket) -> bool:
    """Tell whether the service has closed a connection, without reading from it."""
    try:
        raw.send(b"a")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def test_a_client_that_reads_slowly_gets_the_complete_response() -> None:
    with serve(Settings(write_timeout=0.3)) as client, connect(client) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        expected = client.get("/openapi.json").content
        raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := raw.recv(8192):
            received += piece
            time.sleep(0.01)
    assert received.endswith(expected)


@pytest.mark.parametrize(
    "host", [b"x", b"x:8000", b"digits.example.org", b"127.0.0.1:80", b"[::1]:8000", b"[fe80::1]", b"x:", b""]
)
def test_valid_hosts_are_accepted(host: bytes) -> None:
    assert read_framing([(b"host", host)], "1.1") == ("", 0)


def test_at_the_limit_a_new_connection_replaces_the_longest_idle() -> None:
    with serve(Settings(max_connections=3, read_timeout=3600)) as client:
        first, second, third = (connect(client) for _ in range(3))
        for raw in (second, first, third):  # so that `second` has been idle longest
            raw.sendall(HEAD + b"\r\n")
            assert raw.recv(12) == b"HTTP/1.1 200"
        with connect(client) as fourth:
            fourth.sendall(HEAD + b"\r\n")
            assert fourth.recv(12) == b"HTTP/1.1 200"
            assert re.fullmatch(rb"(?s).*live.{2}", read_all(second))
            first.sendall(HEAD + b"Connection: close\r\n\r\n")
            assert read_all(first).count(b"HTTP/1.1 200") == 1
        for raw in (first, second, third):
            raw.close()


def read_all(raw: socket.socket) -> bytes:
    """Return the remaining bytes until the connection closes or is reset."""
    received = b""
    with suppress(ConnectionError):
        while piece := raw.recv(65_536):
            received += piece
    return received


def test_a_new_connection_is_refused_if_all_others_are_busy() -> None:
    settings = Settings(max_connections=2, read_timeout=3600)
    with serve(settings) as client, connect(client) as one, connect(client) as other:
        for raw in (one, other):
            raw.sendall(build_head("Expect: 100-continue"))
            assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with connect(client) as third:
            assert read_refusal(third) == (503, "overloaded")
        for raw in (one, other):
            raw.sendall(NINE)
            assert raw.recv(12) == b"HTTP/1.1 200"
