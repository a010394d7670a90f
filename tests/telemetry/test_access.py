"""The line of log that each request leaves."""

from __future__ import annotations

import json
import re
import signal
import socket
from typing import Any

from tests.conftest import ROOT
from tests.serving import Process, start_process
from tests.telemetry.pictures import BLANK, LARGE, PNG, THREE


def lines(running: Process) -> list[dict[str, Any]]:
    """End the service; return the lines of its requests."""
    running.popen.send_signal(signal.SIGTERM)
    _, log = running.end()
    found = [json.loads(line) for line in log.splitlines()]
    return [line for line in found if line["message"] == "request" and not line["path"].startswith("/health")]


def test_a_prediction_leaves_its_stages_its_model_and_how_sure_it_was_but_not_the_digit() -> None:
    with start_process() as running:
        answer = running.client.post("/predict", content=THREE, headers=PNG | {"X-Request-ID": "order-66"})
        (line,) = lines(running)
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "observe.md").read_text(), re.DOTALL)
    assert list(line) == list(json.loads(shown))
    assert (line["route"], line["outcome"], line["model"], line["digits"]) == ("/predict", "ok", "cnn", 1)
    assert line["request_id"] == "order-66"
    assert line["confidence"] == round(answer.json()["confidence"], 4)
    timing = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    stages = {name: line[f"{name}_ms"] for name in ("decode", "preprocess", "infer")}
    assert stages == {name: float(milliseconds) for name, milliseconds in timing.items()}
    assert 0 < sum(stages.values()) < line["duration_ms"]
    assert line["client"] == "127.0.0.1"


def test_a_long_path_is_cut_off_in_the_log_and_in_the_answer() -> None:
    path = "/" + "a" * 60_000
    with start_process() as running:
        answer = running.client.get(path)
        (line,) = lines(running)
    assert answer.status_code == 404
    assert line["path"] == path[:256] + "…"
    assert len(answer.content) < 2000


def test_a_refusal_leaves_its_code_and_the_stages_that_it_came_through() -> None:
    with start_process() as running:
        running.client.post("/predict", content=BLANK, headers=PNG)
        running.client.post("/predict?model=nothing", content=THREE, headers=PNG)
        running.client.get("/wp-login.php")
        blank, model, path = lines(running)
    assert (blank["outcome"], blank["status"], blank["digits"]) == ("no_ink", 422, 0)
    assert blank["decode_ms"] > 0
    assert blank["infer_ms"] == 0
    assert "confidence" not in blank
    assert (model["outcome"], model["route"]) == ("unknown_model", "/predict")
    assert "decode_ms" not in model
    assert (path["outcome"], path["route"]) == ("not_found", None)


def test_a_batch_leaves_how_many_digits_it_had_and_the_least_confidence() -> None:
    with start_process() as running:
        answer = running.client.post(
            "/predict/batch", files=[("files", one) for one in (THREE, BLANK, LARGE)]
        )
        (line,) = lines(running)
    confidences = [one["prediction"]["confidence"] for one in answer.json()["results"] if one["prediction"]]
    assert line["digits"] == len(confidences) == 2
    assert line["confidence"] == round(min(confidences), 4)


def test_who_hangs_up_is_told_from_who_is_refused() -> None:
    with start_process() as running:
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            head = (
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
            )
            connection.sendall(head)
        *_, line = lines(running)
    assert (line["outcome"], line["status"]) == ("hung_up", 499)
