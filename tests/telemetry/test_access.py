"""The log line of each request."""

from __future__ import annotations

import json
import re
import signal
import socket
from contextlib import ExitStack
from typing import Any

from tests.conftest import ROOT
from tests.serving import PATIENCE, Process, start_process
from tests.telemetry.pictures import BLANK, LARGE, NUMBER, PNG, SMALL_BLANK, THREE


def read_log_lines(running: Process) -> list[dict[str, Any]]:
    """Stop the service, and return the log lines of its requests."""
    running.popen.send_signal(signal.SIGTERM)
    _, log = running.end()
    records = [json.loads(line) for line in log.splitlines()]
    return [
        line for line in records if line["message"] == "request" and not line["path"].startswith("/health")
    ]


def test_a_prediction_logs_stages_model_and_confidence_but_not_the_digit() -> None:
    with start_process() as running:
        answer = running.client.post("/predict", content=THREE, headers=PNG | {"X-Request-ID": "order-66"})
        (line,) = read_log_lines(running)
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "observe.md").read_text(), re.DOTALL)
    assert list(line) == list(json.loads(example))
    assert (line["route"], line["outcome"], line["model"], line["digits"]) == ("/predict", "ok", "cnn", 1)
    assert line["request_id"] == "order-66"
    assert line["confidence"] == round(answer.json()["confidence"], 4)
    timing = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    stages = {name: line[f"{name}_ms"] for name in ("decode", "preprocess", "infer")}
    assert stages == {name: float(milliseconds) for name, milliseconds in timing.items()}
    assert 0 < sum(stages.values()) < line["duration_ms"]
    assert line["client"] == "127.0.0.1"


def test_no_line_is_lost_when_the_service_ends_and_none_waits_for_the_next_request() -> None:
    request = b"GET /models HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %d\r\n\r\n"
    with start_process() as running, ExitStack() as stack:
        address = running.client.base_url.host, running.client.base_url.port or 0
        connections = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(50)]
        for number, connection in enumerate(connections):
            connection.sendall(request % number)
        for connection in connections:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        lines = read_log_lines(running)
    assert sorted(int(line["request_id"]) for line in lines) == list(range(50))


def test_a_long_path_is_shortened_in_the_log_and_in_the_answer() -> None:
    path = "/" + "a" * 60_000
    with start_process() as running:
        answer = running.client.get(path)
        (line,) = read_log_lines(running)
    assert answer.status_code == 404
    assert line["path"] == path[:256] + "…"
    assert len(answer.content) < 2000


def test_a_refusal_logs_its_code_and_the_stages_that_it_reached() -> None:
    with start_process() as running:
        running.client.post("/predict", content=SMALL_BLANK, headers=PNG)
        running.client.post("/predict?model=nothing", content=THREE, headers=PNG)
        running.client.get("/wp-login.php")
        blank, model, path = read_log_lines(running)
    assert (blank["outcome"], blank["status"], blank["digits"]) == ("no_ink", 422, 0)
    assert blank["decode_ms"] > 0
    assert blank["infer_ms"] == 0
    assert "confidence" not in blank
    assert (model["outcome"], model["route"]) == ("unknown_model", "/predict")
    assert "decode_ms" not in model
    assert (path["outcome"], path["route"]) == ("not_found", None)


def test_a_number_logs_the_line_reader_and_how_many_digits_it_has() -> None:
    with start_process() as running:
        answer = running.client.post("/predict/number", content=NUMBER, headers=PNG).json()
        (line,) = read_log_lines(running)
    assert (line["route"], line["model"], line["digits"]) == ("/predict/number", "line-reader", 4)
    assert line["confidence"] == round(min(digit["confidence"] for digit in answer["digits"]), 4)


def test_a_batch_logs_the_number_of_digits_and_the_lowest_confidence() -> None:
    with start_process() as running:
        answer = running.client.post(
            "/predict/batch", files=[("files", picture) for picture in (THREE, BLANK, LARGE)]
        )
        (line,) = read_log_lines(running)
    predictions = [result["prediction"] for result in answer.json()["results"]]
    confidences = [prediction["confidence"] for prediction in predictions if prediction]
    assert line["digits"] == len(confidences) == 2
    assert line["confidence"] == round(min(confidences), 4)


def test_a_client_that_disconnects_is_logged_as_hung_up() -> None:
    with start_process() as running:
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            head = (
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
            )
            connection.sendall(head)
        *_, line = read_log_lines(running)
    assert (line["outcome"], line["status"]) == ("hung_up", 499)
