"""SIGTERM, SIGHUP, and a worker's sudden death, under load."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import GOLDEN
from tests.resilience.clients import JPEG, PNG, Answer, Connection, Tally, lasting, load, posting, sockets
from tests.serving import Process, process, until
from tests.test_signals import put, served

Measured = Callable[[str, str], None]
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()


def test_sigterm_loses_no_request(measured: Measured, *, full: bool) -> None:
    answered = 0
    for _ in range(20 if full else 2):
        with process(log_level="error", drain_delay="0.2") as running:
            ended = False

            async def ask(connection: Connection) -> object:
                # a connection for each request: one that is kept may be closed just as it is used again
                return await connection.ask("POST", "/predict", PHOTO, JPEG | {"Connection": "close"})

            async def scenario() -> Tally:
                nonlocal ended

                async def end() -> None:
                    nonlocal ended
                    await asyncio.sleep(0.5)
                    running.popen.send_signal(signal.SIGTERM)
                    await asyncio.to_thread(running.popen.wait)
                    ended = True

                tally, _ = await asyncio.gather(
                    load(running.port, ask, clients=6, until=lambda: ended),  # type: ignore[arg-type]
                    end(),
                )
                return tally

            tally = asyncio.run(scenario())
            assert tally.lost == 0
            assert tally.count(200) == len(tally.answers) > 0
            assert running.popen.returncode == 0
            answered += len(tally.answers)
    measured(f"SIGTERM under load, {20 if full else 2} times: answered, lost", f"{answered:,}, 0")


@pytest.mark.parametrize("workers", [1, 2])
def test_models_are_swapped_without_a_failed_request(
    tmp_path: Path, measured: Measured, *, workers: int, full: bool
) -> None:
    """Each answer is the model's that was there, none is missing, and in the end all are the newest's."""
    swaps = (20 if full else 3) if workers == 1 else (6 if full else 2)
    put(tmp_path, "0.0.0")
    settings = {"models_dir": str(tmp_path), "default_model": "tiny", "workers": str(workers)}
    with process(log_level="error", **settings) as running:
        over = False

        async def ask(connection: Connection) -> Answer:
            return await connection.ask("POST", "/predict", THREE, PNG | {"Connection": "close"})

        async def swap() -> None:
            nonlocal over
            for number in range(1, swaps + 1):
                put(tmp_path, f"{number}.0.0")
                running.popen.send_signal(signal.SIGHUP)
                while await asyncio.to_thread(served, running) != {f"{number}.0.0"}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            over = True

        async def scenario() -> Tally:
            tally, _ = await asyncio.gather(load(running.port, ask, clients=6, until=lambda: over), swap())
            return tally

        tally = asyncio.run(scenario())
    assert tally.lost == tally.refused == 0
    assert tally.count(200) == len(tally.answers) > 0
    assert {answer.json()["model"]["version"] for answer in tally.answers} <= {
        f"{number}.0.0" for number in range(swaps + 1)
    }
    measured(
        f"models replaced by SIGHUP under load, {swaps} times with {workers} worker{'s' * (workers > 1)}: "
        "answered, failed",
        f"{len(tally.answers):,}, 0",
    )


def workers_of(running: Process) -> set[int]:
    """Return the ids of the worker processes that serve."""
    children = Path(f"/proc/{running.popen.pid}/task/{running.popen.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def test_a_killed_worker_is_replaced_and_the_others_do_not_notice(measured: Measured, *, full: bool) -> None:
    clients = 6
    with process(workers="2") as running:
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(running.popen.stderr or ()), daemon=True)
        reader.start()
        until(lambda: sum('"ready"' in line for line in log) == 2)
        before = workers_of(running)
        killed = min(before)
        idle, held = sockets(killed), 0

        async def scenario() -> Tally:
            over = lasting(20 if full else 6)

            async def kill() -> None:
                nonlocal held
                await asyncio.sleep(1)
                held = sockets(killed) - idle  # a connection each
                os.kill(killed, signal.SIGKILL)

            tally, _ = await asyncio.gather(
                load(running.port, posting("/predict", [THREE], PNG), clients=clients, until=over), kill()
            )
            return tally

        tally = asyncio.run(scenario())
        until(lambda: len(workers_of(running) - before) == 1)
        assert killed not in workers_of(running)
    assert tally.lost <= held <= clients  # the others' connections were the other worker's
    assert tally.count(200) == len(tally.answers)
    measured(
        "kill -9 of one of two workers under load: answered, lost, clients that it served",
        f"{len(tally.answers):,}, {tally.lost}, {held} of {clients}",
    )
