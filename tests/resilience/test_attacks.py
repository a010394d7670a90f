"""Clients that send without reading, or hold what others need: ordinary clients do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from app.feedback.keeper import MOST
from tests.costs import measure_cost, needs_proc
from tests.resilience.attacks import HEAD, TINY, attacking
from tests.resilience.clients import PNG, Answer, Connection, Tally, lasting, load, posting
from tests.serving import process

Measured = Callable[[str, str], None]
MEGABYTES = 256  # that no attack may take
ROOM = 256  # megabytes of bodies that a worker holds at a time, by default


async def _check_health(connection: Connection) -> Answer:
    await asyncio.sleep(0.02)
    return await connection.ask("GET", "/health/live")


async def serve_others(port: int, seconds: float) -> tuple[Tally, Tally]:
    """Return what ordinary clients and health checks meet."""
    over = lasting(seconds)
    predict = posting("/predict", [TINY], PNG)
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
def test_ordinary_clients_are_served_beside(
    measured: Measured, attack: str, clients: int, what: str, room: int, *, full: bool
) -> None:
    with (
        process(log_level="error") as running,
        measure_cost(running.popen.pid) as cost,
        attacking(attack, running.port, clients=clients),
    ):
        ordinary, health = asyncio.run(serve_others(running.port, 20.0 if full else 2.0))
    assert health.count(200) == len(health.answers) > 0
    assert ordinary.lost == ordinary.refused == health.lost == health.refused == 0
    assert ordinary.count(200) > 0
    # bodies that have stalled give way to others after a second
    assert ordinary.count(200) + (ordinary.count(503) if room else 0) == len(ordinary.answers)
    assert cost.megabytes <= MEGABYTES + room
    measured(
        f"beside {what}: ordinary requests answered, their median, 99th percentile of health checks; memory",
        f"{ordinary.count(200):,}, {ordinary.quantile(0.5) * 1e3:.0f} ms, "
        f"{health.quantile(0.99) * 1e3:.0f} ms; {cost.megabytes:.0f} MB",
    )


@needs_proc
def test_idle_connections_leave_room_for_new_clients_and_use_up_no_descriptors() -> None:
    with (
        process(log_level="error", max_connections="50") as running,
        attacking("stay_idle", running.port, clients=200),
    ):
        ordinary, health = asyncio.run(serve_others(running.port, 1.0))
        assert len(list(Path(f"/proc/{running.popen.pid}/fd").iterdir())) < 100
    assert ordinary.count(200) == len(ordinary.answers) > 0
    assert health.count(200) == len(health.answers) > 0


def test_uploads_of_feedback_that_trickle_hold_no_place(tmp_path: Path) -> None:
    path = "/feedback?digit=1"
    begun = HEAD.replace(b"/predict", path.encode()) + b"Content-Length: 1000\r\n\r\na"

    async def scenario(port: int) -> Tally:
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2 * MOST)]
        for writer in writers:
            writer.write(begun)
        tally = await load(port, posting(path, [TINY], PNG), clients=2, until=lasting(1.0))
        for writer in writers:
            writer.transport.abort()
        return tally

    with process(log_level="error", feedback_url=f"sqlite:///{tmp_path}/feedback.db") as running:
        tally = asyncio.run(scenario(running.port))
    assert {answer.status for answer in tally.answers} <= {200, 201}
    assert tally.answers
    assert tally.lost == 0
