"""SIGHUP reloads keys and models independently of each other, without failed requests."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.guard import keys
from tests.conftest import MODELS
from tests.server.reloads import (
    count_starts,
    find_served_versions,
    follow_log,
    put_model,
    request_continuously,
)
from tests.serving import PATIENCE, Process, handles_signal, list_workers, start, start_process, wait_until

WORKERS = ["1", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder with the tiny model."""
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    put_model(tmp_path, "1.0.0")
    return tmp_path


@pytest.mark.parametrize("workers", WORKERS)
def test_a_new_model_is_served_without_a_failed_request(folder: Path, workers: str) -> None:
    quiet = {"log_level": "error"}  # nobody reads the log, and a full pipe would block the service
    with start_process(models_dir=str(folder), default_model="tiny", workers=workers, **quiet) as running:
        assert find_served_versions(running) == {"1.0.0"}
        with request_continuously(running) as statuses:
            put_model(folder, "2.0.0")
            running.popen.send_signal(signal.SIGHUP)
            wait_until(lambda: find_served_versions(running) == {"2.0.0"})
        assert set(statuses) == {200}
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


@pytest.mark.parametrize("workers", WORKERS)
def test_a_damaged_model_leaves_the_old_one_serving(folder: Path, workers: str) -> None:
    with start_process(models_dir=str(folder), default_model="tiny", workers=workers) as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == int(workers))
        file = folder / "tiny" / "model.onnx"
        file.write_bytes(file.read_bytes()[:300])
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: any("keep serving" in line for line in log))
        assert find_served_versions(running) == {"1.0.0"}
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        reader.join()
    (line_of_refusal,) = [line for line in log if "keep serving" in line]
    assert "tiny/model.onnx can't be served: onnxruntime can't load it" in line_of_refusal
    assert not any("Traceback" in line for line in log)


ALICE, ALICES_LINE = keys.create_key("alice")
BOB, BOBS_LINE = keys.create_key("bob")


def statuses(running: Process, key: str) -> set[int]:
    """Return the distinct statuses of requests over several new connections."""
    url = f"{running.client.base_url}/models"
    return {httpx.get(url, headers={"X-API-Key": key}, timeout=PATIENCE).status_code for _ in range(8)}


@contextmanager
def serve_with_key(folder: Path, workers: str) -> Iterator[tuple[Process, Path, list[str]]]:
    """Serve with alice's key; yield the process, the key file and the log, and check that it exits with 0."""
    file = folder / "keys.txt"
    file.write_text(ALICES_LINE)
    settings = {"models_dir": str(folder), "default_model": "tiny", "workers": workers}
    with start_process(api_keys_file=str(file), **settings) as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == int(workers))
        assert statuses(running, ALICE) == {200}
        yield running, file, log
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        reader.join()
        assert not any("Traceback" in line for line in log)
        assert not any(secret in line for line in log for secret in (ALICE, BOB))


def find_lines(log: list[str], words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log if words in line]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_key_is_revoked_even_if_a_model_is_damaged(folder: Path, workers: str) -> None:
    with serve_with_key(folder, workers) as (running, file, log):
        file.write_text(BOBS_LINE)
        (folder / "linear" / "model.onnx").write_bytes(b"damaged")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: statuses(running, ALICE) == {401})
        assert statuses(running, BOB) == {200}
        wait_until(lambda: len(find_lines(log, "models not reloaded")) == 1)
        wait_until(lambda: len(find_lines(log, "keys reloaded")) == int(workers))
    for line in find_lines(log, "keys reloaded"):
        assert (line["keys"], line["added"], line["removed"]) == (1, ["bob"], ["alice"])
    (refused,) = find_lines(log, "models not reloaded; the old ones keep serving")
    assert str(refused["reason"]).startswith("linear/model.onnx can't be served")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("damage", ["empty", "nonsense", "gone"])
def test_a_new_model_is_loaded_even_if_the_keys_are_damaged(folder: Path, workers: str, damage: str) -> None:
    with serve_with_key(folder, workers) as (running, file, log):
        running.client.headers["X-API-Key"] = ALICE
        if damage == "gone":
            file.unlink()
        else:
            file.write_text("" if damage == "empty" else damage)
        put_model(folder, "2.0.0")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: versions(running) == {"2.0.0"})
        assert statuses(running, ALICE) == {200}
    (not_reloaded,) = find_lines(log, "keys not reloaded; the old ones stay valid")
    expected = {
        "empty": "the file has no keys",
        "nonsense": "line 1 does not consist of",
        "gone": "No such file",
    }
    assert expected[damage] in str(not_reloaded["reason"])
    assert not find_lines(log, '"keys reloaded')


def versions(running: Process) -> set[str]:
    url, headers = f"{running.client.base_url}/models/tiny", {"X-API-Key": ALICE}
    return {httpx.get(url, headers=headers, timeout=PATIENCE).json()["version"] for _ in range(8)}


def test_if_both_are_damaged_both_stay_and_each_has_a_log_line(folder: Path) -> None:
    with serve_with_key(folder, "1") as (running, file, log):
        file.write_text("nonsense")
        (folder / "tiny" / "model.onnx").write_bytes(b"damaged")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(
            lambda: bool(find_lines(log, "models not reloaded") and find_lines(log, "keys not reloaded"))
        )
        assert statuses(running, ALICE) == {200}
        assert versions(running) == {"1.0.0"}
        file.write_text(BOBS_LINE)  # a failed reload does not prevent the next one
        put_model(folder, "2.0.0")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: statuses(running, BOB) == {200})
        wait_until(lambda: len(find_lines(log, "models reloaded")) == 1)


def test_a_killed_worker_is_replaced_by_one_with_the_valid_keys(folder: Path) -> None:
    with serve_with_key(folder, "2") as (running, file, log):
        file.write_text("nonsense")  # as if somebody were editing it
        for worker in list_workers(running):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: count_starts(log) == 4)
        assert statuses(running, ALICE) == {200}
        assert statuses(running, BOB) == {401}


def test_signals_during_the_start_do_not_end_the_service(folder: Path) -> None:
    settings = {"models_dir": str(folder), "default_model": "tiny"}
    with start(**settings) as running:
        wait_until(lambda: handles_signal(running.popen.pid, signal.SIGTERM))
        for _ in range(20):
            running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: running.ready() == 200 or running.popen.poll() is not None)
        assert running.ready() == 200
        running.popen.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
