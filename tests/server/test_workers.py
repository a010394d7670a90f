"""Any of several workers returns the metrics of all, even after some have been killed or replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from app.server.supervisor import MAX_SILENCE
from app.server.workers import METRICS_FOLDER_VARIABLE, SHARED_MEMORY, WorkerSlot, create_shared_folder
from tests.conftest import GOLDEN, ROOT
from tests.serving import PATIENCE, Process, list_workers, start_process, wait_until
from tests.telemetry.scrapes import scrape

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()


def request_predictions(running: Process, times: int) -> None:
    """Request predictions, each over a new connection, so that all workers get some."""
    for _ in range(times):
        url, headers = f"{running.client.base_url}/predict", {"Content-Type": "image/png"}
        assert httpx.post(url, content=THREE, headers=headers, timeout=PATIENCE).status_code == 200


def scrape_prediction_counts(running: Process) -> set[float]:
    """Return the distinct counts that several scrapes report."""
    return {scrape(running.client).value("digits_predictions_total", digit="3") for _ in range(8)}


def find_metrics_folder(running: Process) -> Path:
    environment = Path(f"/proc/{min(list_workers(running))}/environ").read_bytes().split(b"\0")
    (folder,) = [entry for entry in environment if entry.startswith(METRICS_FOLDER_VARIABLE.encode())]
    return Path(folder.decode().partition("=")[2])


def replace_workers(running: Process) -> None:
    old = list_workers(running)
    running.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: list_workers(running).isdisjoint(old) and len(list_workers(running)) == len(old))


def test_any_worker_returns_the_metrics_of_all() -> None:
    with start_process(workers="2", log_level="error") as running:
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        request_predictions(running, 20)
        wait_until(lambda: scrape_prediction_counts(running) == {20})
        metrics = scrape(running.client)
        assert metrics.value("digits_places") == 256  # 128 in each of two workers
        assert len(metrics.find("digits_model_info", model="cnn")) == 1
        assert metrics.value("process_resident_memory_bytes") > 100e6
        folder = find_metrics_folder(running)
        running.popen.send_signal(signal.SIGTERM)
        status, log = running.end()
    assert (status, log) == (0, "")
    assert not folder.exists()


def test_the_counters_of_a_killed_worker_stay_but_not_its_gauges() -> None:
    with start_process(workers="2", log_level="error") as running:
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        request_predictions(running, 10)
        wait_until(lambda: scrape_prediction_counts(running) == {10})
        before = list_workers(running)
        cpu_seconds = scrape(running.client).value("process_cpu_seconds_total")
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(list_workers(running)) == 2 and min(before) not in list_workers(running))
        # the minimum of all workers: 0 until the new one has updated its gauges
        wait_until(lambda: scrape(running.client).value("process_start_time_seconds") > 0)
        request_predictions(running, 10)
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        wait_until(lambda: scrape_prediction_counts(running) == {20})
        # the gauges of the killed worker count until its successor takes the slot
        wait_until(lambda: scrape(running.client).value("digits_places") == 256)  # 128 each
        assert scrape(running.client).value("process_cpu_seconds_total") >= cpu_seconds


def test_a_worker_that_is_killed_before_it_answers_a_ping_is_replaced_immediately() -> None:
    with start_process(workers="2", log_level="error") as running:
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        stuck = min(list_workers(running))
        os.kill(stuck, signal.SIGSTOP)
        time.sleep(2)  # the supervisor sends a ping every second, and gets no answer
        os.kill(stuck, signal.SIGKILL)
        wait_until(lambda: len(list_workers(running) - {stuck}) == 2, seconds=MAX_SILENCE / 2)


def test_replacing_workers_leaves_no_files_behind() -> None:
    with start_process(workers="2", log_level="error") as running:
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        request_predictions(running, 10)
        folder = find_metrics_folder(running)
        for _ in range(3):
            replace_workers(running)
        wait_until(lambda: scrape(running.client).value("digits_workers") == 2)
        assert scrape_prediction_counts(running) == {10}
        assert len(list(folder.glob("*.lock"))) <= 4  # at most twice as many slots as workers


def test_a_single_worker_has_no_shared_folder() -> None:
    with start_process() as running:
        environment = Path(f"/proc/{running.popen.pid}/environ").read_text()
        assert METRICS_FOLDER_VARIABLE not in environment
        maps = Path(f"/proc/{running.popen.pid}/maps").read_text()
        assert "digits-metrics-" not in maps


def test_the_shared_folder_is_in_memory_if_possible() -> None:
    with create_shared_folder():
        folder = Path(os.environ.pop(METRICS_FOLDER_VARIABLE))
        assert folder.is_dir()
        assert folder.is_relative_to(SHARED_MEMORY) or not os.access(SHARED_MEMORY, os.W_OK)
    assert not folder.exists()


TAKE_A_SLOT = """
import pathlib, sys, time
from app.server.workers import WorkerSlot
slot = WorkerSlot(pathlib.Path(sys.argv[1]))
print(slot.number, flush=True)
time.sleep(600)
"""


def test_a_killed_process_frees_its_slot_and_its_gauges_are_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE_A_SLOT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == "0\n"
        for kind in ("gauge_livesum", "counter"):
            (tmp_path / f"{kind}_0.db").touch()
        second = WorkerSlot(tmp_path)
        assert second.number == 1
        assert (tmp_path / "gauge_livesum_0.db").exists()
        killed.kill()
    successor = WorkerSlot(tmp_path)
    assert successor.number == 0
    assert [file.name for file in tmp_path.glob("*.db")] == ["counter_0.db"]
    second.release()
    successor.release()


def test_a_released_slot_is_free_and_has_no_gauges(tmp_path: Path) -> None:
    first = WorkerSlot(tmp_path)
    (tmp_path / "gauge_livesum_0.db").touch()
    first.release()
    assert not list(tmp_path.glob("*.db"))
    successor = WorkerSlot(tmp_path)
    assert successor.number == 0
    successor.release()
