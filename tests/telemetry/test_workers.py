"""Several workers are counted as one, whichever is asked, and whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from app.supervisor import SILENCE
from app.telemetry.workers import FOLDER, MEMORY, Seat, shared_folder
from tests.conftest import GOLDEN, ROOT
from tests.serving import PATIENCE, Process, process, until
from tests.telemetry.scrapes import scrape

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()


def ask(running: Process, times: int) -> None:
    """Ask for predictions, each over a new connection, so that all workers get some."""
    for _ in range(times):
        url, headers = f"{running.client.base_url}/predict", {"Content-Type": "image/png"}
        assert httpx.post(url, content=THREE, headers=headers, timeout=PATIENCE).status_code == 200


def workers_of(running: Process) -> set[int]:
    children = Path(f"/proc/{running.popen.pid}/task/{running.popen.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def predictions(running: Process) -> set[float]:
    """Return what several scrapes say."""
    return {scrape(running.client).value("digits_predictions_total", digit="3") for _ in range(8)}


def folder_of(running: Process) -> Path:
    environment = Path(f"/proc/{min(workers_of(running))}/environ").read_bytes().split(b"\0")
    (folder,) = [entry for entry in environment if entry.startswith(FOLDER.encode())]
    return Path(folder.decode().partition("=")[2])


def test_all_workers_are_told_of_whichever_is_asked() -> None:
    with process(workers="2", log_level="error") as running:
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        ask(running, 20)
        assert predictions(running) == {20}
        found = scrape(running.client)
        assert found.value("digits_places") == 256
        assert len(found.find("digits_model_info", model="cnn")) == 1
        assert found.value("process_resident_memory_bytes") > 100e6
        folder = folder_of(running)
        running.popen.send_signal(signal.SIGTERM)
        status, log = running.end()
    assert (status, log) == (0, "")
    assert not folder.exists()


def test_a_worker_that_is_killed_leaves_its_counts_and_takes_its_gauges_along() -> None:
    with process(workers="2", log_level="error") as running:
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        ask(running, 10)
        before = workers_of(running)
        spent = scrape(running.client).value("process_cpu_seconds_total")
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(workers_of(running)) == 2 and min(before) not in workers_of(running))
        until(lambda: scrape(running.client).value("process_start_time_seconds") > 0)
        ask(running, 10)
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        assert predictions(running) == {20}
        # the killed worker's gauges count until its successor takes the seat
        until(lambda: scrape(running.client).value("digits_places") == 256)
        assert scrape(running.client).value("process_cpu_seconds_total") >= spent


def test_a_worker_that_is_killed_before_it_has_answered_its_parent_is_replaced_at_once() -> None:
    with process(workers="2", log_level="error") as running:
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        stuck = min(workers_of(running))
        os.kill(stuck, signal.SIGSTOP)
        time.sleep(2)  # the parent asks every second, and is not answered
        os.kill(stuck, signal.SIGKILL)
        until(lambda: len(workers_of(running) - {stuck}) == 2, seconds=SILENCE / 2)


def test_restarts_leave_no_files_behind() -> None:
    with process(workers="2", log_level="error") as running:
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        ask(running, 10)
        folder = folder_of(running)
        for _ in range(3):
            before = workers_of(running)
            running.popen.send_signal(signal.SIGHUP)
            until(lambda old=before: workers_of(running).isdisjoint(old) and len(workers_of(running)) == 2)  # type: ignore[misc]
        until(lambda: scrape(running.client).value("digits_workers") == 2)
        assert predictions(running) == {10}
        assert len(list(folder.glob("*.lock"))) <= 4


def test_one_worker_shares_nothing() -> None:
    with process() as running:
        environment = Path(f"/proc/{running.popen.pid}/environ").read_text()
        assert FOLDER not in environment
        maps = Path(f"/proc/{running.popen.pid}/maps").read_text()
        assert "digits-metrics-" not in maps


def test_the_folder_is_in_memory_where_there_is_such_a_place() -> None:
    with shared_folder():
        folder = Path(os.environ.pop(FOLDER))
        assert folder.is_dir()
        assert folder.is_relative_to(MEMORY) or not os.access(MEMORY, os.W_OK)
    assert not folder.exists()


TAKE_A_SEAT = """
import pathlib, sys, time
from app.telemetry.workers import Seat
seat = Seat(pathlib.Path(sys.argv[1]))
print(seat.number, flush=True)
time.sleep(600)
"""


def test_who_is_killed_frees_the_seat_and_takes_the_gauges_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE_A_SEAT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "0\n"
        for kind in ("gauge_livesum", "counter"):
            (tmp_path / f"{kind}_0.db").touch()
        second = Seat(tmp_path)
        assert second.number == 1
        assert (tmp_path / "gauge_livesum_0.db").exists()
        other.kill()
    third = Seat(tmp_path)
    assert third.number == 0
    assert [file.name for file in tmp_path.glob("*.db")] == ["counter_0.db"]
    second.leave()
    third.leave()


def test_who_leaves_frees_the_seat_and_takes_the_gauges_along(tmp_path: Path) -> None:
    first = Seat(tmp_path)
    (tmp_path / "gauge_livesum_0.db").touch()
    first.leave()
    assert not list(tmp_path.glob("*.db"))
    again = Seat(tmp_path)
    assert again.number == 0
    again.leave()
