"""Responses that are sent at the end of a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from app.server.outbox import Outbox, OutboxTransport


class Transport:
    """A transport that keeps what happens to it."""

    def __init__(self) -> None:
        self.events: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        """Keep data."""
        self.events.append(data)

    def close(self) -> None:
        """Note that the connection is closed."""
        self.events.append("closed")

    def write_eof(self) -> None:
        """Note that this side of the connection is closed."""
        self.events.append("half closed")

    def abort(self) -> None:
        """Note that the connection is closed at once."""
        self.events.append("aborted")

    def is_closing(self) -> bool:
        """Tell whether it has been closed."""
        return "closed" in self.events


async def use(*uses: Callable[[OutboxTransport], None]) -> tuple[list[bytes | str], list[bytes | str]]:
    """Use a transport; return what has happened before the end of the turn, and after it."""
    transport = Transport()
    outgoing = OutboxTransport(cast("asyncio.Transport", transport), Outbox())
    for each in uses:
        each(outgoing)
    before = list(transport.events)
    await asyncio.sleep(0)
    return before, transport.events


def test_data_waits_for_the_end_of_the_turn() -> None:
    before, after = asyncio.run(use(lambda out: out.write_soon(b"a"), lambda out: out.write_soon(b"b")))
    assert (before, after) == ([], [b"ab"])


def test_data_that_is_written_at_once_comes_after_data_that_waits() -> None:
    before, after = asyncio.run(use(lambda out: out.write_soon(b"a"), lambda out: out.write(b"b")))
    assert before == after == [b"a", b"b"]


@pytest.mark.parametrize(
    ("end", "event"), [("close", "closed"), ("abort", "aborted"), ("write_eof", "half closed")]
)
def test_a_connection_is_closed_after_all_is_sent(end: str, event: str) -> None:
    before, after = asyncio.run(use(lambda out: out.write_soon(b"a"), lambda out: getattr(out, end)()))
    assert before == after == [b"a", event]


def test_everything_else_is_asked_of_the_transport() -> None:
    outgoing = OutboxTransport(cast("asyncio.Transport", Transport()), Outbox())
    assert not outgoing.is_closing()
    outgoing.close()
    assert outgoing.is_closing()
