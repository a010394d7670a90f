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

from app.server.protocol import MAX_CHUNKS, MAX_HEAD, read_framing
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, serve, wait_until

NINE = (GOLDEN / "9-grey.bmp").read_bytes()
HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    """A service that waits for a head and a body for as long as they take."""
    with serve(Settings(models_dir=MODELS, read_timeout=3600)) as client:
        yield client


@pytest.fixture(scope="module")
def impatient() -> Iterator[httpx.Client]:
    with serve(Settings(models_dir=MODELS, read_timeout=0.4)) as client:
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


def test_a_head_that_comes_in_pieces_is_taken(service: httpx.Client) -> None:
    whole = ask_for_nine() + NINE
    with connected(service) as raw:
        for start in range(0, len(whole), 45):
            raw.sendall(whole[start : start + 45])
            time.sleep(0.002)
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


def ask_for_nine(*headers: str, length: int = len(NINE)) -> bytes:
    """Return the head of a request for a picture's digit."""
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: image/bmp", *headers]
    framing = [] if "Transfer-Encoding: chunked" in headers else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, *framing, "", ""]).encode()


def answers(raw: socket.socket) -> list[tuple[int, dict[str, object]]]:
    """Return the status and JSON of all answers until the connection ends."""
    stream = raw.makefile("rb")
    found = []
    while line := stream.readline():
        headers = http.client.parse_headers(stream)
        body = stream.read(int(headers["Content-Length"]))
        found.append((int(line.split()[1]), json.loads(body)))
    return found


def chunks(body: bytes, size: int) -> bytes:
    """Return a body in chunks of a size."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0, HTTP/1.1", "x"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "in two packets"])
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_the_body(
    service: httpx.Client, offer: str, chunked: object, apart: object
) -> None:
    framing = ["Transfer-Encoding: chunked"] if chunked else []
    head = ask_for_nine(f"Upgrade: {offer}", "Connection: Upgrade, HTTP2-Settings", *framing)
    body = chunks(NINE, 1000) if chunked else NINE
    with connected(service) as raw:
        for _ in range(2):
            raw.sendall(head if apart else head + body)
            if apart:
                time.sleep(0.05)
                raw.sendall(body)
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            assert (answer.status, json.loads(answer.read())["digit"]) == (200, 9)


def test_a_body_behind_an_offer_to_upgrade_is_never_another_request(service: httpx.Client) -> None:
    hidden = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"
    offer = ["Upgrade: websocket", "Connection: upgrade"]
    with connected(service) as raw:
        raw.sendall(ask_for_nine(*offer, length=len(hidden)) + hidden)
        raw.sendall(HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        raw.sendall(HEAD + b"Connection: close\r\n\r\n")
        found = answers(raw)
    assert [status for status, _ in found] == [415, 200, 200]
    assert [body.get("status") for _, body in found[1:]] == ["live", "live"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_rubbish_behind_a_good_request_leaves_it_its_answer(service: httpx.Client, chunked: object) -> None:
    head = ask_for_nine("Transfer-Encoding: chunked") if chunked else ask_for_nine()
    with connected(service) as raw:
        raw.sendall(head + (chunks(NINE, 500) if chunked else NINE) + b"\x16\x03rubbish\r\n\r\n")
        found = answers(raw)
    assert found[0][1]["digit"] == 9
    assert [status for status, _ in found] == ([200] if chunked else [200, 400])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_pipelined_requests_are_answered_in_turn(service: httpx.Client, chunked: object) -> None:
    one = ask_for_nine("Transfer-Encoding: chunked") + chunks(NINE, 700) if chunked else ask_for_nine() + NINE
    with connected(service) as raw:
        for _ in range(4):
            raw.sendall(one)
        raw.sendall(HEAD + b"\r\n" + HEAD + b"Connection: close\r\n\r\n")
        found = answers(raw)
    # behind a body in chunks the rest may be left to another connection, never answered out of turn
    wanted = [9, 9, 9, 9, None, None]
    assert [body.get("digit") for _, body in found] == (wanted[: len(found)] if chunked else wanted)


def test_a_broken_chunk_is_refused(service: httpx.Client) -> None:
    with connected(service) as raw:
        raw.sendall(ask_for_nine("Transfer-Encoding: chunked") + b"5\r\nabcdeXX\r\n")
        assert refusal(raw) == (400, "malformed_request")


def test_a_body_in_tiny_chunks_is_refused(service: httpx.Client) -> None:
    with connected(service) as raw, suppress(ConnectionError):
        raw.sendall(ask_for_nine("Transfer-Encoding: chunked") + b"1\r\na\r\n" * (2 * MAX_CHUNKS))
        assert refusal(raw) == (400, "malformed_request")


def test_the_rest_of_a_refused_body_may_not_take_for_ever(impatient: httpx.Client) -> None:
    with connected(impatient) as raw:
        raw.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(10))
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (404, None)
        answer.read()
        with suppress(ConnectionError):  # it may have ended already
            raw.sendall(b"a")
        assert read_all(raw) == b""


def test_the_rest_of_a_refused_body_is_skipped_and_the_connection_kept(service: httpx.Client) -> None:
    with connected(service) as raw:
        for _ in range(3):
            raw.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            answer.read()
            raw.sendall(bytes(1000))
        raw.sendall(ask_for_nine() + NINE)
        assert raw.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_few_bytes_that_are_never_followed_by_others_are_late(impatient: httpx.Client, few: int) -> None:
    with connected(impatient) as raw:
        raw.sendall(HEAD + b"\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        answer.read()
        raw.sendall(b"GET"[:few])
        assert read_all(raw) == b""


def test_a_client_that_takes_no_answers_is_cut_off() -> None:
    with serve(Settings(write_timeout=0.2)) as client, connected(client) as raw:
        raw.settimeout(0.1)
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with suppress(TimeoutError):
            raw.sendall(ask * 100_000)  # more than the kernel holds for a connection, in both directions
        wait_until(lambda: is_cut_off(raw))


def is_cut_off(raw: socket.socket) -> bool:
    """Tell whether the service has ended a connection, without taking anything from it."""
    try:
        raw.send(b"a")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def test_a_client_that_takes_its_answers_slowly_gets_them_whole() -> None:
    with serve(Settings(write_timeout=0.3)) as client, connected(client) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wanted = client.get("/openapi.json").content
        raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = b""
        while piece := raw.recv(8192):
            found += piece
            time.sleep(0.01)
    assert found.endswith(wanted)


@pytest.mark.parametrize(
    "host", [b"x", b"x:8000", b"digits.example.org", b"127.0.0.1:80", b"[::1]:8000", b"[fe80::1]", b"x:", b""]
)
def test_usual_hosts_are_taken(host: bytes) -> None:
    assert read_framing([(b"host", host)], "1.1") == ("", 0)


def test_more_connections_than_may_be_open_close_the_one_that_was_idle_for_longest() -> None:
    with serve(Settings(max_connections=3, read_timeout=3600)) as client:
        first, second, third = (connected(client) for _ in range(3))
        for raw in (second, first, third):  # `first` has answered later than `second`
            raw.sendall(HEAD + b"\r\n")
            assert raw.recv(12) == b"HTTP/1.1 200"
        with connected(client) as fourth:
            fourth.sendall(HEAD + b"\r\n")
            assert fourth.recv(12) == b"HTTP/1.1 200"
            assert re.fullmatch(rb"(?s).*live.{2}", read_all(second))
            first.sendall(HEAD + b"Connection: close\r\n\r\n")
            assert read_all(first).count(b"HTTP/1.1 200") == 1
        for raw in (first, second, third):
            raw.close()


def read_all(raw: socket.socket) -> bytes:
    """Return what is left until the connection ends, however it does."""
    found = b""
    with suppress(ConnectionError):
        while piece := raw.recv(65_536):
            found += piece
    return found


def test_connections_that_are_all_busy_leave_no_room_for_another() -> None:
    settings = Settings(max_connections=2, read_timeout=3600)
    with serve(settings) as client, connected(client) as one, connected(client) as other:
        for raw in (one, other):
            raw.sendall(ask_for_nine("Expect: 100-continue"))
            assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with connected(client) as third:
            assert refusal(third) == (503, "overloaded")
        for raw in (one, other):
            raw.sendall(NINE)
            assert raw.recv(12) == b"HTTP/1.1 200"
