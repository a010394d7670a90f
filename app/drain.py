"""SIGTERM without a lost request: not ready first, stopping later."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.state import Readiness


@contextmanager
def drain_on_sigterm(readiness: Readiness, *, delay: float) -> Iterator[None]:
    """Put a pause of `delay` seconds before the server's own handling of SIGTERM.

    In the pause the worker serves on, but says that it is not ready, so that load balancers turn
    away from it before it stops to accept. A second signal ends it at once. Works for whatever
    server has set a handler before the lifespan begins, in the parent as in a worker process.
    """
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop) or threading.current_thread() is not threading.main_thread():
        yield  # under a test client nobody handles signals
        return
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        if readiness.draining:
            stop(number, frame)
            stop(signal.SIGINT, frame)  # uvicorn's word for "at once" is a SIGINT after any signal
            return
        readiness.draining = True
        loop.call_soon_threadsafe(loop.call_later, delay, stop, number, None)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
