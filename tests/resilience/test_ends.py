"""SIGTERM, SIGHUP and the sudden end of a worker, under load."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import GOLDEN
from tests.resilience.clients import (
    JPEG,
    PNG,
    Answer,
    Connection,
    Tally,
    build_ask,
    count_sockets,
    load,
    stop_after,
)
from tests.server.reloads import find_served_versions, put_model
from tests.serving import Process, start_process, wait_until

Measured = Callable[[str, str], None]
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()


def test_sigterm_loses_no_request(measured: Measured, *, full: bool) -> None:
    answered = 0
    for _ in range(20 if full else 2):
        with start_process(log_level="error", drain_delay="0.2") as running:
            ended = False

            async def ask(connection: Connection) -> object:
                # a new connection for each request: the service may close an idle one just as it is reused
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
    """Every request is answered, by a model that was there, and finally by the newest one."""
    swaps = (20 if full else 3) if workers == 1 else (6 if full else 2)
    put_model(tmp_path, "0.0.0")
    settings = {"models_dir": str(tmp_path), "default_model": "tiny", "workers": str(workers)}
    with start_process(log_level="error", **settings) as running:
        over = False

        async def ask(connection: Connection) -> Answer:
            return await connection.ask("POST", "/predict", THREE, PNG | {"Connection": "close"})

        async def swap() -> None:
            nonlocal over
            for number in range(1, swaps + 1):
                put_model(tmp_path, f"{number}.0.0")
                running.popen.send_signal(signal.SIGHUP)
                while await asyncio.to_thread(find_served_versions, running) != {f"{number}.0.0"}:  # noqa: ASYNC110
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


def list_serving_workers(running: Process) -> set[int]:
    """Return the ids of the worker processes that serve."""
    children = Path(f"/proc/{running.popen.pid}/task/{running.popen.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def test_a_killed_worker_is_replaced_and_other_workers_lose_no_request(
    measured: Measured, *, full: bool
) -> None:
    clients = 6
    with start_process(workers="2") as running:
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(running.popen.stderr or ()), daemon=True)
        reader.start()
        wait_until(lambda: sum('"ready"' in line for line in log) == 2)
        before = list_serving_workers(running)
        killed = min(before)
        idle, held = count_sockets(killed), 0

        async def scenario() -> Tally:
            over = stop_after(20 if full else 6)

            async def kill() -> None:
                nonlocal held
                await asyncio.sleep(1)
                held = count_sockets(killed) - idle  # the connections of clients
                os.kill(killed, signal.SIGKILL)

            tally, _ = await asyncio.gather(
                load(running.port, build_ask("/predict", [THREE], PNG), clients=clients, until=over), kill()
            )
            return tally

        tally = asyncio.run(scenario())
        wait_until(lambda: len(list_serving_workers(running) - before) == 1)
        assert killed not in list_serving_workers(running)
    assert tally.lost <= held <= clients  # all other connections are those of the other worker
    assert tally.count(200) == len(tally.answers)
    measured(
        "kill -9 of one of two workers under load: answered, lost, clients connected to that worker",
        f"{len(tally.answers):,}, {tally.lost}, {held} of {clients}",
    )
