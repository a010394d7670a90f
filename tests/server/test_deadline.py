"""Time limits, with a clock that the tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from app.server.deadline import Deadline


class Timer:
    """A timer of `Loop`."""

    def __init__(self, time: float, callback: Callable[[], None]) -> None:
        self.time = time
        self.callback = callback
        self.is_cancelled = False

    def when(self) -> float:
        """Return the time at which it fires."""
        return self.time

    def cancel(self) -> None:
        """Do not fire."""
        self.is_cancelled = True


class Loop:
    """What a deadline uses of an event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self.now

    def call_at(self, time: float, callback: Callable[[], None]) -> Timer:
        """Set a timer."""
        self.timers.append(Timer(time, callback))
        return self.timers[-1]

    def pass_time(self, seconds: float) -> None:
        """Turn the clock, and let timers fire."""
        end = self.now + seconds
        while due := sorted(self._find_due(end), key=Timer.when)[:1]:
            (timer,) = due
            self.timers.remove(timer)
            self.now = timer.time
            timer.callback()
        self.now = end

    def _find_due(self, end: float) -> Iterator[Timer]:
        return (timer for timer in self.timers if timer.time <= end and not timer.is_cancelled)


@pytest.fixture
def loop() -> Loop:
    """A clock at zero."""
    return Loop()


@pytest.fixture
def deadline(loop: Loop) -> Deadline:
    """A deadline that is not set."""
    return Deadline(cast("asyncio.AbstractEventLoop", loop))


def test_it_calls_back_once_when_the_time_is_over(loop: Loop, deadline: Deadline) -> None:
    times: list[float] = []
    deadline.set(5, lambda: times.append(loop.now))
    loop.pass_time(4.9)
    assert deadline.is_set
    loop.pass_time(100)
    assert times == [5]
    assert not deadline.is_set


def test_what_is_set_last_counts(loop: Loop, deadline: Deadline) -> None:
    calls: list[tuple[str, float]] = []
    deadline.set(75, lambda: calls.append(("idle", loop.now)))
    loop.pass_time(1)
    deadline.set(5, lambda: calls.append(("head", loop.now)))  # earlier than the timer
    loop.pass_time(2)
    deadline.set(75, lambda: calls.append(("idle", loop.now)))  # later
    loop.pass_time(200)
    assert calls == [("idle", 78)]


def test_it_does_not_call_back_once_it_is_cleared_or_closed(loop: Loop, deadline: Deadline) -> None:
    deadline.set(5, pytest.fail)
    deadline.clear()
    loop.pass_time(10)
    deadline.set(5, pytest.fail)
    deadline.close()
    loop.pass_time(10)


def test_a_connection_in_use_needs_a_timer_only_now_and_then(loop: Loop, deadline: Deadline) -> None:
    timers = 0
    for _ in range(1000):
        before = len(loop.timers)
        deadline.set(75, pytest.fail)
        timers += len(loop.timers) - before
        loop.pass_time(0.1)
        deadline.clear()
    assert timers <= 2
