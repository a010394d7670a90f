"""`python -m app` as a process: start, log, drain, exit."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.digits.contract import Metadata
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, Process, send_half, serve, start_process, wait_until
from tests.tiny import GOOD, build_tiny_model

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PNG = {"Content-Type": "image/png"}


def test_it_serves_and_exits_with_0_on_sigterm() -> None:
    with start_process() as running:
        answer = running.client.post("/predict", content=THREE, headers=PNG)
        running.popen.send_signal(signal.SIGTERM)
        status, log = running.end()
    assert answer.json()["digit"] == 3
    assert "Server" not in answer.headers
    assert status == 0
    assert "Traceback" not in log


def test_a_worker_has_one_thread_before_it_has_work() -> None:
    """NumPy's and OpenCV's linear algebra would start one for each core."""
    with start_process() as running:
        status = Path(f"/proc/{running.popen.pid}/status").read_text()
    assert "Threads:\t1\n" in status


def test_garbage_is_collected_once_it_serves() -> None:
    gc.disable()  # as `serve` does while it starts
    try:
        with serve(Settings()):
            assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_log_lines_are_json_and_those_of_requests_have_their_id() -> None:
    with start_process() as running:
        headers = PNG | {"X-Request-ID": "order-66"}
        running.client.post("/predict", content=THREE, headers=headers)
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    lines = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (request_line,) = [line for line in lines if line.get("request_id") == "order-66"]
    assert (request_line["method"], request_line["path"], request_line["status"]) == ("POST", "/predict", 200)
    assert request_line["duration_ms"] > 0


def test_text_logs_are_for_people() -> None:
    with start_process(log_format="text") as running:
        running.client.get("/models", headers={"X-Request-ID": "order-66"})
        running.client.get("/a%0aFORGED%20LINE")
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    (line,) = [line for line in log.splitlines() if "path=/models" in line]
    assert "INFO    app.access: request method=GET path=/models status=200" in line
    assert line.endswith("request_id=order-66")
    assert not any(line.startswith("FORGED") for line in log.splitlines())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_logs_once_the_address_at_which_it_serves(workers: str) -> None:
    with start_process(workers=workers, log_format="text") as running:
        line = ""
        while "digits is ready: " not in line:
            assert running.popen.stderr
            line = running.popen.stderr.readline()
        address = line.split()[-1]
        assert address == f"http://localhost:{running.port}"
        assert httpx.post(f"{address}/predict", content=THREE, headers=PNG).json()["digit"] == 3
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    assert "digits is ready" not in log


def test_the_address_is_also_logged_as_json() -> None:
    with start_process() as running:
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    messages = [json.loads(line)["message"] for line in log.splitlines()]
    assert messages.count(f"digits is ready: http://localhost:{running.port}") == 1


def test_while_draining_it_is_not_ready_but_keeps_serving() -> None:
    with start_process(drain_delay="2") as running:
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ready() == 503)
        refusal = running.client.get("/health/ready")
        assert refusal.json()["code"] == "not_ready"
        assert "Retry-After" in refusal.headers
        assert running.client.get("/health/live").status_code == 200
        assert running.client.post("/predict", content=THREE, headers=PNG).status_code == 200
        status, _ = running.end()
    assert status == 0


def test_a_second_signal_ends_it_immediately() -> None:
    with start_process(drain_delay="3600", graceful_timeout="3600") as running:
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ready() == 503)
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


def test_a_request_in_flight_is_answered_before_the_exit() -> None:
    with start_process() as running:
        with send_half(running, THREE) as answers:
            running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert answers[0].json()["digit"] == 3
    assert status == 0


def test_work_that_outlives_its_request_does_not_delay_the_exit() -> None:
    large = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
    with start_process(request_timeout="0.001", graceful_timeout="1") as running:
        assert running.client.post("/predict", content=large, headers=PNG).status_code == 504
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


def test_several_workers_serve_and_exit_with_0() -> None:
    with start_process(workers="2") as running:
        assert running.client.post("/predict", content=THREE, headers=PNG).json()["digit"] == 3
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


def startup_error(**settings: str) -> str:
    """Return the line that the service prints when it can't start with these settings."""
    running = Process(**settings)
    status, log = running.end()
    running.client.close()
    assert status == 2
    (line,) = log.splitlines()
    return line


def test_a_bad_setting_prevents_the_start_with_one_line() -> None:
    assert startup_error(workers="many").startswith("digits can't start: DIGITS_WORKERS=many: ")


def test_a_missing_default_model_prevents_the_start_with_one_line() -> None:
    line = startup_error(default_model="nothing")
    assert "DIGITS_DEFAULT_MODEL=nothing: " in line
    assert "which holds cnn, finder, line-reader, linear, mlp-1000, mlp-128" in line


def test_an_unknown_host_prevents_the_start_with_one_line() -> None:
    assert startup_error(host="no.such.host.invalid").startswith(
        "digits can't start: DIGITS_HOST=no.such.host.invalid: "
    )


def test_a_damaged_model_prevents_the_start_with_one_line(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    file = tmp_path / "linear" / "model.onnx"
    file.write_bytes(file.read_bytes()[:1000])
    line = startup_error(models_dir=str(tmp_path), default_model="linear")
    assert "linear/model.onnx can't be served: onnxruntime can't load it" in line


def test_a_model_of_another_contract_prevents_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    older = build_tiny_model(metadata=GOOD | {Metadata.CONTRACT_VERSION: "0"})
    (tmp_path / "tiny" / "model.onnx").write_bytes(older)
    line = startup_error(models_dir=str(tmp_path), default_model="tiny")
    assert "exported for version 0 of the contract" in line


@pytest.mark.parametrize("client_id", ["x" * 129, "tab\there", "ümlaut"])
def test_a_request_id_that_is_too_long_or_not_printable_is_replaced(
    client: httpx.Client, client_id: str
) -> None:
    answer = client.get("/health/live", headers=[(b"X-Request-ID", client_id.encode())])
    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("client_id", ["x", "x" * 128, "a b:c/d"])
def test_a_clients_request_id_is_kept(client: httpx.Client, client_id: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": client_id})
    assert answer.headers["X-Request-ID"] == client_id


def test_a_port_in_use_prevents_the_start_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = os.environ | {"DIGITS_PORT": str(taken.getsockname()[1])}
        result = subprocess.run(
            [sys.executable, "-m", "app"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert result.returncode == 2
    assert "can't listen there (Address already in use)" in result.stderr
    assert result.stderr.count("\n") == 1
