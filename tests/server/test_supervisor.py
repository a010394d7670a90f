"""Several workers stop when they should, and leave neither a process nor a listener behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.conftest import MODELS
from tests.server.reloads import PNG, THREE, count_starts, follow_log, request_continuously
from tests.serving import (
    PATIENCE,
    Process,
    handles_signal,
    list_members,
    list_workers,
    send_half,
    start,
    start_process,
    wait_until,
)

QUIET = {"log_level": "error", "workers": "2"}


def assert_nothing_remains(running: Process) -> None:
    """Check that the process group is empty and that the port can be bound."""
    wait_until(lambda: not list_members(running))
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", running.port))


@pytest.mark.parametrize("workers", [2, 3], ids=["immediately", "while a new worker starts"])
def test_a_sigterm_interrupts_a_renewal(workers: int) -> None:
    with start_process(workers="2") as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: len(list_workers(running)) == workers)
        before = count_starts(log)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        reader.join()
        assert_nothing_remains(running)
    assert count_starts(log) <= before + 1  # one may have been starting


def test_eighty_signals_cause_two_renewals_at_most() -> None:
    with start_process(workers="2") as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        before = list_workers(running)
        for _ in range(80):
            running.popen.send_signal(signal.SIGHUP)
            threading.Event().wait(0.02)
        wait_until(lambda: len(list_workers(running)) == 2 and list_workers(running).isdisjoint(before))
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        reader.join()
        assert_nothing_remains(running)
    assert 3 <= count_starts(log) <= 2 + 3 * 2


def test_changes_during_a_renewal_are_served_after_it() -> None:
    """A second signal arrives while the workers of the first renewal start, and is not lost."""
    with start_process(workers="2") as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        first = list_workers(running)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: len(list_workers(running) - first) > 0)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: count_starts(log) == 6)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        reader.join()


def test_no_request_is_lost_when_a_renewal_is_interrupted() -> None:
    with start_process(**QUIET) as running, request_continuously(running) as statuses:
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: len(list_workers(running)) == 3)
        wait_until(lambda: len(statuses) > 20)
    assert set(statuses) == {200}


def test_workers_stop_when_their_supervisor_is_killed() -> None:
    with start_process(workers="2") as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        os.kill(running.popen.pid, signal.SIGKILL)
        reader.join(PATIENCE)  # it ends with the last process that has the log's pipe open
        assert not reader.is_alive()
        assert_nothing_remains(running)
    assert sum("the supervisor has died" in line for line in log) == 2
    assert sum('"stopped"' in line for line in log) == 2  # they have drained


def test_starting_workers_stop_when_their_supervisor_is_killed() -> None:
    with start(**QUIET) as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        os.kill(running.popen.pid, signal.SIGKILL)
        assert_nothing_remains(running)


def test_an_orphaned_worker_finishes_its_requests() -> None:
    with start_process(**QUIET) as running:
        with send_half(running, THREE) as answers:
            os.kill(running.popen.pid, signal.SIGKILL)
        assert_nothing_remains(running)
    assert answers[0].json()["digit"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_of_workers_ends_it(number: signal.Signals) -> None:
    with start(**QUIET) as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        running.popen.send_signal(number)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_remains(running)


def test_a_signal_during_the_start_of_a_single_process_ends_it() -> None:
    with start(log_level="error") as running:
        # the handler for SIGHUP is installed after the one for SIGTERM
        wait_until(lambda: handles_signal(running.popen.pid, signal.SIGHUP))
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0


def test_a_second_signal_ends_all_workers_immediately() -> None:
    with start_process(**QUIET, graceful_timeout="3600", drain_delay="3600") as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ready() == 503)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_remains(running)


def test_a_worker_that_does_not_stop_in_time_is_killed() -> None:
    with start_process(**QUIET, graceful_timeout="1") as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        os.kill(min(list_workers(running)), signal.SIGSTOP)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_remains(running)


def test_a_worker_that_cannot_start_leaves_the_others_serving(tmp_path: Path) -> None:
    """A model is damaged before a worker dies: the others have loaded it already."""
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    settings = {"models_dir": str(tmp_path), "default_model": "linear", "workers": "2"}
    with start_process(**settings) as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        (tmp_path / "linear" / "model.onnx").write_bytes(b"damaged")
        killed = min(list_workers(running))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: any("Application startup failed" in line for line in log))
        assert running.client.post("/predict", content=THREE, headers=PNG).json()["digit"] == 3
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        reader.join()
    assert any("a worker has died" in line and f'"pid":{killed}' in line for line in log)
