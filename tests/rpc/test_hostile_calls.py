"""Messages and connections that mean harm cost little, and are answered clearly."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rpc.cost import check_cost
from app.rpc.messages import CLASSES, parse
from app.rpc.transport import MAX_STREAMS
from app.wire.problems import BatchTooLarge, MalformedRequest
from tests.api.v2 import slow_deflate
from tests.costs import measure_cost, needs_proc
from tests.rpc import frames
from tests.rpc.calling import Caller, build_request, image_tensor, serve_grpc
from tests.serving import Process, free_port, start_process, wait_until
from tests.telemetry.scrapes import scrape

MEBIBYTE = 1 << 20
INFER = "/inference.GRPCInferenceService/ModelInfer"
BLANK = build_request(image_tensor(), raw_input_contents=[bytes(784)])
REQUEST = CLASSES["ModelInferRequest"]
Status = grpc.StatusCode


def nest(number: int, content: bytes) -> bytes:
    """Return a field that holds bytes."""
    length = len(content)
    digits = bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *digits, length]) + content


CONTENTS = nest(1, b"image")
HOSTILE: dict[str, Callable[[], bytes]] = {  # built when a test asks: the bombs take a second each
    "empty tensors": lambda: b"\x2a\x00" * (16 * MEBIBYTE - 10),
    "empty parameters": lambda: nest(5, b"\x22\x00" * (15 * MEBIBYTE)),
    "empty pictures": lambda: nest(5, nest(5, b"\x42\x00" * (15 * MEBIBYTE))),
    "raw contents": lambda: b"\x3a\x00" * (16 * MEBIBYTE - 10),
    "packed numbers": lambda: nest(5, nest(5, nest(4, bytes(31 * MEBIBYTE)))),
    "packed booleans": lambda: nest(5, nest(5, nest(1, bytes(31 * MEBIBYTE)))),
    "numbers one by one": lambda: nest(5, nest(5, b"\x20\x01" * (15 * MEBIBYTE))),
    "a long shape": lambda: nest(5, nest(3, bytes(31 * MEBIBYTE))),
    "unknown fields": lambda: b"\xf8\x07\x00" * (10 * MEBIBYTE),
    "groups": lambda: b"\x53" * (31 * MEBIBYTE),
    "a long id": lambda: nest(3, b"x" * (31 * MEBIBYTE)),
    "a long name": lambda: nest(5, nest(1, b"x" * (31 * MEBIBYTE))),
    "raw zeros": lambda: build_request(image_tensor(64), raw_input_contents=[bytes(31 * MEBIBYTE)]),
    "a bomb of gzip": lambda: gzip.compress(bytes(500 * MEBIBYTE), 9),
    "a bomb of deflate": lambda: zlib.compress(bytes(500 * MEBIBYTE), 9),
    "slow deflate": lambda: slow_deflate.make(31 * MEBIBYTE),
}


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[Process, Caller]]:
    port = free_port()
    with start_process(grpc_port=str(port)) as running:
        yield running, Caller(port, running.client)


@needs_proc
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_refused_at_little_cost(process: tuple[Process, Caller], name: str) -> None:
    running, caller = process
    message = HOSTILE[name]()
    caller.call("ModelInfer", BLANK)
    with measure_cost(running.popen.pid) as cost:
        answer = caller.call("ModelInfer", message)
    assert answer.code in {Status.INVALID_ARGUMENT, Status.RESOURCE_EXHAUSTED, Status.NOT_FOUND}, answer
    assert cost.seconds < 1
    assert cost.megabytes < 256
    assert caller.call("ModelInfer", BLANK).code is Status.OK


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message = parse("ModelInferRequest", data, max_pictures=64)
    except MalformedRequest:
        return
    assert parse("ModelInferRequest", message.SerializeToString(), max_pictures=64) == message


@given(st.data())
def test_a_cut_or_changed_message_is_a_message_or_malformed(data: st.DataObject) -> None:
    changed = bytearray(build_request(image_tensor(uint_contents=[7] * 20), id="x"))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedRequest, BatchTooLarge):
        parse("ModelInferRequest", bytes(changed[: data.draw(st.integers(0, len(changed)))]), max_pictures=1)


def test_the_largest_batch_of_typed_contents_is_accepted() -> None:
    pixels = np.full(64 * 784, 255).tolist()
    message = build_request(image_tensor(64, uint_contents=pixels))
    check_cost(message, REQUEST.DESCRIPTOR, max_pictures=64)
    with pytest.raises(BatchTooLarge):
        check_cost(message, REQUEST.DESCRIPTOR, max_pictures=62)


def test_a_message_that_does_not_arrive_in_time_is_given_up() -> None:
    with serve_grpc(read_timeout=1) as caller, frames.connect(caller.port) as connection:
        connection.sendall(
            frames.headers(INFER, stream=1) + frames.message_start(b"\x0a", length=1000, stream=1)
        )
        wait_until(lambda: scrape(caller.http).value("digits_refusals_total", code="slow_upload") == 1)
        assert caller.call("ModelInfer", BLANK).code is Status.OK


def test_messages_that_stall_give_way_to_others() -> None:
    budget = {"max_body_bytes": 4096, "max_batch_body_bytes": 4096, "max_bytes_in_flight": 8192}
    with serve_grpc(read_timeout=100, **budget) as caller, ExitStack() as connections:
        for _ in range(2):  # as many as may arrive at a time
            connection = connections.enter_context(frames.connect(caller.port))
            start = frames.message_start(b"\x0a", length=1000, stream=1)
            connection.sendall(frames.headers(INFER, stream=1) + start)

        def have_given_way() -> bool:
            assert caller.call("ModelInfer", BLANK).code is Status.OK
            return scrape(caller.http).value("digits_refusals_total", code="slow_upload") == 2

        wait_until(have_given_way)


def test_thousands_of_calls_that_send_nothing_lock_out_nobody_else() -> None:
    with (
        serve_grpc(max_connections=3000, trusted_proxies=("127.0.0.1",)) as caller,
        ExitStack() as connections,
    ):
        calls = b"".join(frames.headers(INFER, stream=stream) for stream in range(1, 201, 2))
        for _ in range(20):
            connections.enter_context(frames.connect(caller.port)).sendall(calls)
        caller.metadata["x-forwarded-for"] = "192.0.2.1"  # another client
        others = [caller.begin("ModelInfer", BLANK) for _ in range(20)]
        assert {call.code() for call in others} == {Status.OK}
        assert caller.http.get("/health/ready").status_code == 200


def test_more_calls_at_a_time_than_a_connection_has_are_queued_by_the_client() -> None:
    batch = build_request(image_tensor(64), raw_input_contents=[bytes([127]) * 64 * 784])
    with serve_grpc(max_in_flight=100_000) as caller:
        for _ in range(3):
            calls = [caller.begin("ModelInfer", batch) for _ in range(3 * MAX_STREAMS)]
            assert {call.code() for call in calls} == {Status.OK}


def test_a_client_that_begins_and_cancels_calls_without_end_locks_out_nobody_else() -> None:
    cancel = (8).to_bytes(4)
    with serve_grpc() as caller, frames.connect(caller.port) as connection:
        for stream in range(1, 100_001, 2):
            reset = frames.frame(frames.RST_STREAM, cancel, stream=stream)
            connection.sendall(frames.headers(INFER, stream=stream) + reset)
        assert caller.call("ModelInfer", BLANK).code is Status.OK
        assert caller.http.get("/health/ready").status_code == 200


def test_a_client_that_hangs_up_during_its_message_is_counted_as_hung_up() -> None:
    begin = frames.headers(INFER, stream=1) + frames.message_start(b"\x0a", length=1000, stream=1)
    with serve_grpc() as caller:

        def is_counted() -> bool:
            with frames.connect(caller.port) as connection:
                connection.sendall(begin)
                return scrape(caller.http).value("digits_refusals_total", code="hung_up") > 0

        wait_until(is_counted)


def test_a_call_without_a_message_is_malformed() -> None:
    with serve_grpc() as caller, frames.connect(caller.port) as connection:
        connection.sendall(
            frames.headers(INFER, stream=1) + frames.frame(frames.DATA, b"", flags=1, stream=1)
        )
        wait_until(lambda: scrape(caller.http).value("digits_refusals_total", code="malformed_request") == 1)


def test_garbage_on_the_port_closes_only_its_connection(process: tuple[Process, Caller]) -> None:
    _, caller = process
    with frames.connect(caller.port) as connection:
        connection.sendall(b"\xff" * 1000)
        while connection.recv(65536):
            pass
    assert caller.call("ModelInfer", BLANK).code is Status.OK
