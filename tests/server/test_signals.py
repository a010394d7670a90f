"""SIGHUP: keys and models are loaded again under the eyes of clients, each for themselves."""

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
from tests.server.reloads import asking, count_starts, follow_log, put_model, served_versions
from tests.serving import PATIENCE, Process, handles_signal, list_workers, start, start_process, wait_until

WORKERS = ["1", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models whose default is tiny."""
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    put_model(tmp_path, "1.0.0")
    return tmp_path


@pytest.mark.parametrize("workers", WORKERS)
def test_a_new_model_is_served_without_a_failed_request(folder: Path, workers: str) -> None:
    quiet = {"log_level": "error"}  # nobody reads the log, and a full pipe would hold up the service
    with start_process(models_dir=str(folder), default_model="tiny", workers=workers, **quiet) as running:
        assert served_versions(running) == {"1.0.0"}
        with asking(running) as statuses:
            put_model(folder, "2.0.0")
            running.popen.send_signal(signal.SIGHUP)
            wait_until(lambda: served_versions(running) == {"2.0.0"})
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
        assert served_versions(running) == {"1.0.0"}
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        reader.join()
    (told,) = [line for line in log if "keep serving" in line]
    assert "tiny/model.onnx can't be served: onnxruntime can't load it" in told
    assert not any("Traceback" in line for line in log)


ALICE, ALICES_LINE = keys.create_key("alice")
BOB, BOBS_LINE = keys.create_key("bob")


def statuses(running: Process, key: str) -> set[int]:
    """Return what several new connections are answered."""
    url = f"{running.client.base_url}/models"
    return {httpx.get(url, headers={"X-API-Key": key}, timeout=PATIENCE).status_code for _ in range(8)}


@contextmanager
def locked(folder: Path, workers: str) -> Iterator[tuple[Process, Path, list[str]]]:
    """Serve the folder's models to alice; yield the file of keys and the log, too. It ends with 0."""
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


def lines_with(log: list[str], words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log if words in line]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_key_is_revoked_although_a_model_is_damaged(folder: Path, workers: str) -> None:
    with locked(folder, workers) as (running, file, log):
        file.write_text(BOBS_LINE)
        (folder / "linear" / "model.onnx").write_bytes(b"damaged")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: statuses(running, ALICE) == {401})
        assert statuses(running, BOB) == {200}
        wait_until(lambda: len(lines_with(log, "models not reloaded")) == 1)
        wait_until(lambda: len(lines_with(log, "keys reloaded")) == int(workers))
    for line in lines_with(log, "keys reloaded"):
        assert (line["keys"], line["added"], line["removed"]) == (1, ["bob"], ["alice"])
    (refused,) = lines_with(log, "models not reloaded, the old ones keep serving")
    assert str(refused["reason"]).startswith("linear/model.onnx can't be served")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("damage", ["empty", "nonsense", "gone"])
def test_a_new_model_is_taken_although_the_keys_are_damaged(folder: Path, workers: str, damage: str) -> None:
    with locked(folder, workers) as (running, file, log):
        running.client.headers["X-API-Key"] = ALICE
        if damage == "gone":
            file.unlink()
        else:
            file.write_text("" if damage == "empty" else damage)
        put_model(folder, "2.0.0")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: versions(running) == {"2.0.0"})
        assert statuses(running, ALICE) == {200}
    (kept,) = lines_with(log, "keys not reloaded, the old ones stay valid")
    wanted = {"empty": "it has no keys", "nonsense": "line 1 is not an id", "gone": "No such file"}
    assert wanted[damage] in str(kept["reason"])
    assert not lines_with(log, '"keys reloaded')


def versions(running: Process) -> set[str]:
    url, headers = f"{running.client.base_url}/models/tiny", {"X-API-Key": ALICE}
    return {httpx.get(url, headers=headers, timeout=PATIENCE).json()["version"] for _ in range(8)}


def test_with_neither_in_order_both_stay_and_each_has_its_line(folder: Path) -> None:
    with locked(folder, "1") as (running, file, log):
        file.write_text("nonsense")
        (folder / "tiny" / "model.onnx").write_bytes(b"damaged")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(
            lambda: bool(lines_with(log, "models not reloaded") and lines_with(log, "keys not reloaded"))
        )
        assert statuses(running, ALICE) == {200}
        assert versions(running) == {"1.0.0"}
        file.write_text(BOBS_LINE)  # a signal that came to nothing does not stop the next one
        put_model(folder, "2.0.0")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: statuses(running, BOB) == {200})
        wait_until(lambda: len(lines_with(log, "models reloaded")) == 1)


def test_a_worker_that_is_killed_is_replaced_by_one_with_the_keys_that_are_valid(folder: Path) -> None:
    with locked(folder, "2") as (running, file, log):
        file.write_text("nonsense")  # somebody is just editing it
        for worker in list_workers(running):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: count_starts(log) == 4)
        assert statuses(running, ALICE) == {200}
        assert statuses(running, BOB) == {401}


def test_a_signal_before_the_service_listens_to_it_ends_nothing(folder: Path) -> None:
    settings = {"models_dir": str(folder), "default_model": "tiny"}
    with start(**settings) as running:
        wait_until(lambda: handles_signal(running.popen.pid, signal.SIGTERM))
        for _ in range(20):
            running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: running.ready() == 200 or running.popen.poll() is not None)
        assert running.ready() == 200
        running.popen.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
