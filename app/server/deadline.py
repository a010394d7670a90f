"""A time limit that is cheap to set and to clear."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls back at a time that may change often, of which the event loop's timer knows little.

    A request sets and clears the limits of its connection several times, and a timer of the event loop costs
    as much as the parser. Here the timer stays as it is: when it fires, it looks at the limit, and is set
    again if that has been postponed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._time = math.inf  # of the loop's clock
        self._callback: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self._time < math.inf

    def set(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call back in some seconds, instead of what was set before."""
        self._time, self._callback = self._loop.time() + seconds, callback
        if self._timer is None or self._timer.when() > self._time:
            self._start_timer()

    def clear(self) -> None:
        """Do not call back."""
        self._time = math.inf

    def close(self) -> None:
        """End the timer, too."""
        self.clear()
        self._callback = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._time, self._fire)

    def _fire(self) -> None:
        timer, self._timer = self._timer, None
        if self._callback is None or timer is None:
            return
        if self._time <= timer.when():
            self.clear()
            self._callback()
        elif self.is_set:
            self._start_timer()
