"""Traces are exported to the endpoint in the environment, and cost nothing without one."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from app import __version__
from app.settings import Settings
from app.telemetry import tracing
from tests.conftest import ROOT
from tests.rpc.calling import build_request, image_tensor, serve_grpc
from tests.serving import serve, start_process
from tests.telemetry.collector import Collector, attributes, collect_traces
from tests.telemetry.pictures import BLANK, LARGE, NUMBER, PNG, THREE

CALLERS_TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds
    with collect_traces() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def traced(collector: Collector) -> Iterator[httpx.Client]:
    """A client of a service that exports traces."""
    assert collector.url
    with serve(Settings()) as client:
        yield client


@pytest.mark.parametrize("query", ["", "?view=false"], ids=["direct dispatch", "FastAPI's routing"])
def test_a_prediction_is_a_child_span_of_the_callers_with_a_span_for_each_stage(
    traced: httpx.Client, collector: Collector, query: str
) -> None:
    headers = PNG | CALLER | {"X-Request-ID": "order-66"}
    assert traced.post(f"/predict{query}", content=THREE, headers=headers).status_code == 200
    span = collector.wait_for_span("POST /predict")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (CALLERS_TRACE, CALLERS_SPAN)
    assert (
        attributes(span.attributes).items()
        >= {
            "http.request.method": "POST",
            "http.route": "/predict",
            "http.response.status_code": 200,
            "digits.request_id": "order-66",
            "digits.outcome": "ok",
            "digits.model": "cnn",
            "digits.digits": 1,
        }.items()
    )
    children = collector.children(span)
    assert [child.name for child in children] == ["decode", "preprocess", "infer"]
    for child in children:
        assert child.trace_id == span.trace_id
        assert attributes(child.attributes) == {"digits.model": "cnn", "digits.pictures": 1}
        assert span.start_time_unix_nano <= child.start_time_unix_nano < child.end_time_unix_nano
        assert child.end_time_unix_nano <= span.end_time_unix_nano
    assert collector.resource["service.name"] == "digits"
    assert collector.resource["service.version"] == __version__


@pytest.mark.parametrize(
    ("path", "picture", "model"), [("/predict", LARGE, "cnn"), ("/predict/number", NUMBER, "line-reader")]
)
def test_stages_in_threads_are_child_spans_of_their_request(
    traced: httpx.Client, collector: Collector, path: str, picture: bytes, model: str
) -> None:
    assert traced.post(path, content=picture, headers={"Content-Type": "image/jpeg"}).status_code == 200
    span = collector.wait_for_span(f"POST {path}")
    children = collector.children(span)
    assert {child.name for child in children} == {"decode", "preprocess", "infer"}
    assert {attributes(child.attributes)["digits.model"] for child in children} == {model}


def test_the_infer_spans_of_a_batch_have_the_number_of_pictures(
    traced: httpx.Client, collector: Collector
) -> None:
    traced.post("/predict/batch", files=[("files", picture) for picture in (THREE, BLANK, THREE)])
    span = collector.wait_for_span("POST /predict/batch")
    spans = [child for child in collector.children(span) if child.name == "infer"]
    # each is looked at on its own; the blank picture has no span but the finder's
    assert [attributes(infer.attributes)["digits.pictures"] for infer in spans] == [1, 1, 1]
    assert attributes(span.attributes)["digits.digits"] == 2


def test_a_refused_picture_marks_the_stage_and_the_error(traced: httpx.Client, collector: Collector) -> None:
    assert traced.post("/predict", content=BLANK, headers=PNG).status_code == 422
    span = collector.wait_for_span("POST /predict")
    assert attributes(span.attributes)["digits.outcome"] == "no_ink"
    assert attributes(span.attributes)["http.response.status_code"] == 422
    failed = [child for child in collector.children(span) if child.status.code == Status.STATUS_CODE_ERROR]
    assert {(child.name, attributes(child.attributes)["error.type"]) for child in failed} == {
        ("preprocess", "no_ink")
    }


def test_spans_are_named_by_route_template_or_only_by_method(
    traced: httpx.Client, collector: Collector
) -> None:
    traced.get("/models/cnn")
    traced.get("/wp-login.php")
    collector.wait_for_span("GET /models/{name}")
    assert attributes(collector.wait_for_span("GET").attributes)["digits.outcome"] == "not_found"


def test_health_and_metrics_are_not_traced(traced: httpx.Client, collector: Collector) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/models"):
        assert traced.get(path).status_code == 200
    collector.wait_for_span("GET /models")
    assert len(collector.spans) == 1


def test_log_lines_have_the_trace_id(collector: Collector) -> None:
    with start_process() as running:
        running.client.post("/predict", content=THREE, headers=PNG | CALLER)
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    assert f'"trace_id":"{CALLERS_TRACE}"' in log
    assert collector.wait_for_span("POST /predict").trace_id.hex() == CALLERS_TRACE


@pytest.mark.parametrize("workers", ["1", "2"])
def test_remaining_spans_are_exported_on_shutdown(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "somebody-elses-digits")
    with start_process(workers=workers) as running:
        running.client.post("/predict", content=THREE, headers=PNG)
        assert not collector.spans
        running.popen.send_signal(signal.SIGTERM)
        status, log = running.end()
    assert status == 0
    assert "Traceback" not in log
    assert len(collector.children(collector.wait_for_span("POST /predict"))) == 3
    assert collector.resource["service.name"] == "somebody-elses-digits"


def test_an_unreachable_collector_does_not_affect_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with start_process() as running:
        assert running.client.post("/predict", content=THREE, headers=PNG).status_code == 200
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318/v1/metrics"},
    ],
)
def test_tracing_is_off_without_an_endpoint_or_if_disabled(environment: dict[str, str]) -> None:
    assert tracing.find_provider(environment) is None


def test_a_missing_extra_is_logged_and_the_service_runs_without_traces(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)  # as if it were not installed
    with caplog.at_level(logging.WARNING):
        assert tracing.find_provider({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}) is None
    (record,) = caplog.records
    assert "the extra 'tracing' is not installed" in record.getMessage()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "tracing"
    ]
    assert {package.partition(">")[0] for package in extra} == set(record.getMessage().split()[-2:])
    assert vars(record)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"


PRINT_WHETHER_THE_SDK_IS_LOADED = """
import sys
import tomllib
from fastapi.testclient import TestClient
from app.main import create_app
with TestClient(create_app()) as client:
    assert client.get("/models").status_code == 200
print("opentelemetry.sdk" in sys.modules)
"""


def loads_the_sdk() -> bool:
    command = [sys.executable, "-W", "ignore", "-c", PRINT_WHETHER_THE_SDK_IS_LOADED]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.split()[-1] == "True"


def test_without_an_endpoint_the_sdk_is_not_loaded() -> None:
    assert not loads_the_sdk()


def test_the_test_above_can_fail(collector: Collector) -> None:
    assert collector.url
    assert loads_the_sdk()


def test_a_call_over_grpc_is_a_child_span_of_the_callers(collector: Collector) -> None:
    assert collector.url
    with serve_grpc() as caller:
        message = build_request(image_tensor(), raw_input_contents=[bytes(784)])
        assert caller.call("ModelInfer", message, metadata=CALLER).message
        span = collector.wait_for_span("POST /inference.GRPCInferenceService/ModelInfer")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (CALLERS_TRACE, CALLERS_SPAN)
    assert attributes(span.attributes)["digits.model"] == "cnn"
    assert [child.name for child in collector.children(span)] == ["decode", "infer"]
