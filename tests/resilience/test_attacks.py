"""Malicious clients send without reading, or hold resources; ordinary clients are served all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from app.feedback.async_store import MAX_REQUESTS
from tests.costs import measure_cost, needs_proc
from tests.resilience.attacks import HEAD, TINY, run_attack
from tests.resilience.clients import PNG, Answer, Connection, Tally, build_ask, load, stop_after
from tests.serving import start_process

Measured = Callable[[str, str], None]
MAX_MEGABYTES = 256  # of memory that an attack may cost
ROOM = 256  # megabytes of bodies that a worker holds at a time by default


async def _check_health(connection: Connection) -> Answer:
    await asyncio.sleep(0.02)
    return await connection.ask("GET", "/health/live")


async def serve_others(port: int, seconds: float) -> tuple[Tally, Tally]:
    """Return the tallies of ordinary clients and of health checks."""
    over = stop_after(seconds)
    predict = build_ask("/predict", [TINY], PNG)
    return await asyncio.gather(
        load(port, predict, clients=2, until=over), load(port, _check_health, clients=1, until=over)
    )


@needs_proc
@pytest.mark.parametrize(
    ("attack", "clients", "what", "room"),
    [
        ("never_read", 140, "140 clients that pipeline requests and read no answers", 0),
        ("pipeline", 60, "60 clients that pipeline 18 MB of requests", 0),
        ("trickle", 140, "140 clients that trickle a body", 0),
        ("stop_before_the_end", 30, "30 clients that send 10 MiB except for the last byte", ROOM),
        ("stay_idle", 500, "500 clients that keep idle connections", 0),
    ],
)
def test_ordinary_clients_are_served_during_an_attack(
    measured: Measured, attack: str, clients: int, what: str, room: int, *, full: bool
) -> None:
    with (
        start_process(log_level="error") as running,
        measure_cost(running.popen.pid) as cost,
        run_attack(attack, running.port, clients=clients),
    ):
        ordinary, health = asyncio.run(serve_others(running.port, 20.0 if full else 2.0))
    assert health.count(200) == len(health.answers) > 0
    assert ordinary.lost == ordinary.refused == health.lost == health.refused == 0
    assert ordinary.count(200) > 0
    # bodies that have stalled give way to others after a second
    assert ordinary.count(200) + (ordinary.count(503) if room else 0) == len(ordinary.answers)
    assert cost.megabytes <= MAX_MEGABYTES + room
    measured(
        f"beside {what}: ordinary requests answered, their median, 99th percentile of health checks; memory",
        f"{ordinary.count(200):,}, {ordinary.quantile(0.5) * 1e3:.0f} ms, "
        f"{health.quantile(0.99) * 1e3:.0f} ms; {cost.megabytes:.0f} MB",
    )


@needs_proc
def test_idle_connections_make_room_for_new_clients_and_do_not_use_up_descriptors() -> None:
    with (
        start_process(log_level="error", max_connections="50") as running,
        run_attack("stay_idle", running.port, clients=200),
    ):
        ordinary, health = asyncio.run(serve_others(running.port, 1.0))
        assert len(list(Path(f"/proc/{running.popen.pid}/fd").iterdir())) < 100
    assert ordinary.count(200) == len(ordinary.answers) > 0
    assert health.count(200) == len(health.answers) > 0


def test_slow_uploads_to_feedback_take_no_places(tmp_path: Path) -> None:
    path = "/feedback?digit=1"
    beginning = HEAD.replace(b"/predict", path.encode()) + b"Content-Length: 1000\r\n\r\na"

    async def scenario(port: int) -> Tally:
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2 * MAX_REQUESTS)]
        for writer in writers:
            writer.write(beginning)
        tally = await load(port, build_ask(path, [TINY], PNG), clients=2, until=stop_after(1.0))
        for writer in writers:
            writer.transport.abort()
        return tally

    with start_process(log_level="error", feedback_url=f"sqlite:///{tmp_path}/feedback.db") as running:
        tally = asyncio.run(scenario(running.port))
    assert {answer.status for answer in tally.answers} <= {200, 201}
    assert tally.answers
    assert tally.lost == 0
