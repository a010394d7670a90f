"""Calls pass through the guards of every request: keys, rates, places, timeouts, log and metrics."""

from __future__ import annotations

import json

import grpc
import httpx
import pytest

from tests.rpc import frames
from tests.rpc.calling import Caller, build_request, image_tensor, picture_tensor, serve_grpc
from tests.serving import free_port, start_process, wait_until
from tests.slow import LARGE, SlowDecoder
from tests.telemetry.scrapes import scrape

KEY = "a key of some length"
BLANK = build_request(image_tensor(), raw_input_contents=[bytes(784)])
PHOTO = build_request(picture_tensor(LARGE))
INFER = "/inference.GRPCInferenceService/ModelInfer"
Status = grpc.StatusCode


@pytest.mark.parametrize("metadata", [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
def test_a_key_is_accepted_in_either_way(metadata: dict[str, str]) -> None:
    with serve_grpc(api_keys=(KEY,)) as caller:
        assert caller.call("ModelInfer", BLANK, metadata=metadata).code is Status.OK


def test_without_a_valid_key_only_health_is_told() -> None:
    with serve_grpc(api_keys=(KEY,)) as caller:
        for method in ("ServerLive", "ServerReady", "Check"):
            assert caller.call(method).code is Status.OK
        missing, wrong = (
            caller.call("ModelInfer", BLANK),
            caller.infer(options={"metadata": {"x-api-key": "no"}}),
        )
        assert {missing.code, wrong.code} == {Status.UNAUTHENTICATED}
        assert missing.detail.startswith("The request has no key. Send one as 'Authorization: Bearer KEY'")
        assert wrong.detail.startswith("The key is not valid.")
        assert 'error="invalid_token"' in wrong.metadata["www-authenticate"]
        for method in ("ServerMetadata", "ModelMetadata", "ModelReady", "RepositoryIndex"):
            assert caller.call(method).code is Status.UNAUTHENTICATED


def test_the_rate_limit_is_shared_with_http() -> None:
    with serve_grpc(rate_limit=2) as caller:
        assert caller.http.get("/models").status_code == 200
        answer = caller.call("ServerMetadata")
        assert answer.metadata["ratelimit"].startswith('"default";r=0;')
        refused = caller.call("ModelInfer", BLANK)
        assert refused.code is Status.RESOURCE_EXHAUSTED
        assert refused.detail.startswith("Requests are limited to 2 a minute. Try again in ")
        assert refused.metadata["problem-code"] == "rate_limited"
        assert int(refused.metadata["retry-after"]) > 0
        assert caller.call("ServerLive").code is Status.OK


def test_wrong_keys_are_limited_together_with_those_of_http() -> None:
    with serve_grpc(rate_limit=2, api_keys=(KEY,)) as caller:
        wrong = {"x-api-key": "wrong"}
        assert caller.http.get("/models", headers=wrong).status_code == 401
        assert caller.call("ServerMetadata", metadata=wrong).code is Status.UNAUTHENTICATED
        assert caller.call("ServerMetadata", metadata=wrong).code is Status.RESOURCE_EXHAUSTED


def test_a_trusted_proxy_tells_the_client() -> None:
    with serve_grpc(rate_limit=1, trusted_proxies=("127.0.0.1",)) as caller:
        for client in ("192.0.2.1", "192.0.2.2"):
            answer = caller.call("ServerMetadata", metadata={"x-forwarded-for": client})
            assert answer.code is Status.OK


def test_a_message_that_is_too_large_is_refused_and_the_service_goes_on() -> None:
    with serve_grpc(max_batch_body_bytes=2000) as caller:
        answer = caller.infer(image_tensor(3), raw_input_contents=[bytes(3 * 784)])
        assert answer.code is Status.RESOURCE_EXHAUSTED
        assert "larger than max" in answer.detail
        assert "vs. 2000" in answer.detail
        assert caller.call("ModelInfer", BLANK).code is Status.OK


def test_other_methods_take_messages_as_large_as_other_requests() -> None:
    with serve_grpc(max_body_bytes=1024) as caller:
        answer = caller.call("ModelReady", bytes(2000))
        assert answer.code is Status.RESOURCE_EXHAUSTED
        assert answer.metadata["problem-code"] == "body_too_large"
        assert answer.detail.startswith("The body has at least 2000 bytes; at most 1024 are allowed.")


def test_a_call_beyond_the_places_is_refused_before_its_message(slow_decoder: SlowDecoder) -> None:
    with serve_grpc(max_in_flight=1, max_batch=1) as caller, slow_decoder.occupy(caller.http, 1):
        answer = caller.call("ModelInfer", BLANK)
        assert answer.code is Status.UNAVAILABLE
        assert answer.detail.startswith("The service processes up to 1 pictures at a time")
        assert (answer.metadata["problem-code"], answer.metadata["retry-after"]) == ("overloaded", "1")


def test_a_prediction_that_takes_too_long_is_given_up(slow_decoder: SlowDecoder) -> None:
    with serve_grpc(request_timeout=0.1) as caller:
        answer = caller.call("ModelInfer", PHOTO)
        assert answer.code is Status.DEADLINE_EXCEEDED
        assert answer.detail.startswith("There was no prediction within 0.1 s.")
        assert slow_decoder.begun


def test_a_client_that_hangs_up_keeps_its_place_until_the_work_has_ended(slow_decoder: SlowDecoder) -> None:
    with serve_grpc() as caller:
        call = caller.begin("ModelInfer", PHOTO)
        # an earlier test may still decode a picture, so this service must say that it has one, too
        wait_until(lambda: scrape(caller.http).value("digits_pictures_in_flight") == 1)
        wait_until(lambda: slow_decoder.begun > 0)
        call.cancel()
        wait_until(lambda: scrape(caller.http).value("digits_requests_total", route=INFER, status="499") == 1)
        assert scrape(caller.http).value("digits_pictures_in_flight") == 1
        slow_decoder.go_on.set()
        wait_until(lambda: scrape(caller.http).value("digits_pictures_in_flight") == 0)


def test_calls_are_counted_by_method_status_and_stage() -> None:
    with serve_grpc() as caller:
        caller.call("ModelInfer", BLANK)
        caller.infer(image_tensor(), model_name="vgg")
        metrics = scrape(caller.http)
    assert metrics.value("digits_requests_total", route=INFER, status="200") == 1
    assert metrics.value("digits_requests_total", route=INFER, status="404") == 1
    assert metrics.value("digits_refusals_total", code="unknown_model") == 1
    assert metrics.value("digits_predictions_total", model="cnn") == 1
    assert metrics.value("digits_batch_pictures_count", model="cnn") == 1
    assert metrics.value("digits_stage_duration_seconds_count", stage="infer") == 1


def test_the_log_has_a_line_for_each_call() -> None:
    grpc_port = free_port()
    with start_process(grpc_port=str(grpc_port), api_keys=KEY) as running:
        caller = Caller(grpc_port, running.client, {"x-api-key": KEY, "x-request-id": "mine"})
        caller.call("ModelInfer", BLANK)
        running.popen.terminate()
        status, log = running.end()
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line.get("path") == INFER]
    assert status == 0
    assert (line["request_id"], line["status"], line["outcome"], line["route"]) == ("mine", 200, "ok", INFER)
    assert (line["model"], line["digits"], line["client"]) == ("cnn", 1, "127.0.0.1")
    assert line["key"].startswith("key-")


def test_a_key_that_is_no_text_is_refused_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with serve_grpc(api_keys=(KEY,)) as caller, frames.connect(caller.port) as connection:
        headers = frames.headers(INFER, stream=1, **{"x-api-key": b"\xff\xfe"})
        connection.sendall(headers + frames.message_start(b"", length=0, stream=1))
        wait_until(
            lambda: caller.http.get("/metrics", headers={"x-api-key": KEY}).text.count('status="401"') == 1
        )
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_while_draining_the_service_is_not_ready_but_answers() -> None:
    grpc_port = free_port()
    with start_process(grpc_port=str(grpc_port), drain_delay="60") as running:
        caller = Caller(grpc_port, running.client)
        assert caller.call("ServerReady").message.ready
        running.popen.terminate()
        wait_until(lambda: running.ready() == httpx.codes.SERVICE_UNAVAILABLE)
        assert not caller.call("ServerReady").message.ready
        assert caller.call("Check").message.status == 2
        assert caller.call("ModelInfer", BLANK).code is Status.OK
        running.popen.terminate()  # the second one skips the delay
        assert running.end()[0] == 0
