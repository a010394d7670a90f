"""Several workers, whatever happens to them: they end when they should, and nothing of them is left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.conftest import MODELS
from tests.server.reloads import PNG, THREE, asking, count_starts, follow_log
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


def assert_nothing_is_left(running: Process) -> None:
    """Look for processes by their group, and for a listener by taking its place."""
    wait_until(lambda: not list_members(running))
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", running.port))


@pytest.mark.parametrize("workers", [2, 3], ids=["as soon as it is asked for", "while a new worker starts"])
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
        assert_nothing_is_left(running)
    assert count_starts(log) <= before + 1  # the one that was on its way


def test_eighty_signals_are_two_renewals_at_most() -> None:
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
        assert_nothing_is_left(running)
    assert 3 <= count_starts(log) <= 2 + 3 * 2


def test_a_renewal_takes_what_was_changed_during_it() -> None:
    """The second signal comes while the first one's workers start, and is not lost."""
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
    with start_process(**QUIET) as running, asking(running) as statuses:
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: len(list_workers(running)) == 3)
        wait_until(lambda: len(statuses) > 20)
    assert set(statuses) == {200}


def test_workers_end_when_their_parent_is_killed() -> None:
    with start_process(workers="2") as running:
        log, reader = follow_log(running)
        wait_until(lambda: count_starts(log) == 2)
        os.kill(running.popen.pid, signal.SIGKILL)
        reader.join(PATIENCE)  # it ends with the last process that holds the log's pipe
        assert not reader.is_alive()
        assert_nothing_is_left(running)
    assert sum("the supervisor has died" in line for line in log) == 2
    assert sum('"stopped"' in line for line in log) == 2  # they have drained


def test_workers_that_still_start_end_when_their_parent_is_killed() -> None:
    with start(**QUIET) as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        os.kill(running.popen.pid, signal.SIGKILL)
        assert_nothing_is_left(running)


def test_an_orphan_answers_what_it_has_begun() -> None:
    with start_process(**QUIET) as running:
        with send_half(running, THREE) as answers:
            os.kill(running.popen.pid, signal.SIGKILL)
        assert_nothing_is_left(running)
    assert answers[0].json()["digit"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_it(number: signal.Signals) -> None:
    with start(**QUIET) as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        running.popen.send_signal(number)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_is_left(running)


def test_a_signal_to_one_process_that_starts_ends_it() -> None:
    with start(log_level="error") as running:
        wait_until(lambda: handles_signal(running.popen.pid, signal.SIGHUP))  # set behind that for SIGTERM
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0


def test_a_second_signal_ends_them_at_once() -> None:
    with start_process(**QUIET, graceful_timeout="3600", drain_delay="3600") as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ready() == 503)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_is_left(running)


def test_a_worker_that_does_not_end_is_killed_when_its_time_is_over() -> None:
    with start_process(**QUIET, graceful_timeout="1") as running:
        wait_until(lambda: len(list_workers(running)) == 2)
        os.kill(min(list_workers(running)), signal.SIGSTOP)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(PATIENCE) == 0
        assert_nothing_is_left(running)


def test_a_worker_that_cannot_start_leaves_the_others_serving(tmp_path: Path) -> None:
    """The folder is damaged when one dies: those that serve have their models."""
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
