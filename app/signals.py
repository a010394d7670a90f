"""What signals ask for: SIGTERM to end without a lost request, SIGHUP to load models and keys again."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.guard.keys import BadKeys, Keyring
from app.guard.sharing import ListeningSocket
from app.state import Readiness

log = logging.getLogger("app")

LINGER: Final = 0.5  # seconds


@contextmanager
def drain_on_sigterm(readiness: Readiness, *, delay: float) -> Iterator[None]:
    """Put a pause of `delay` seconds before the server's own handling of SIGTERM.

    In the pause the worker serves on, but says that it is not ready, so that load balancers turn
    away from it. Then it takes no more connections, and gives those that it has just taken time to bring
    their request: uvicorn would close them unanswered. A second signal ends it at once. Works for whatever
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
        loop.call_soon_threadsafe(loop.call_later, delay, close)

    def close() -> None:
        for listening in ListeningSocket.all:
            listening.leave(loop)
        loop.call_later(LINGER, stop, signal.SIGTERM, None)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)


@contextmanager
def reload_on_sighup(catalogue: Catalogue, keyring: Keyring) -> Iterator[None]:
    """Load models and keys again on SIGHUP, off the event loop; where they can't be used, keep the old ones.

    With several workers uvicorn's parent takes the signal, and replaces one worker after the other.
    """
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield  # Windows, or under a test client
        return
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()  # the loop itself keeps but weak references

    def reload() -> None:
        task = loop.create_task(_reload(catalogue, keyring))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _reload(catalogue: Catalogue, keyring: Keyring) -> None:
    try:
        await asyncio.to_thread(catalogue.reload)
        keyring.reload()
    except (InvalidModel, BadKeys, OSError) as error:
        log.error("not reloaded, the old ones serve on", extra={"reason": str(error)})  # noqa: TRY400
    else:
        log.info("reloaded", extra={"models": catalogue.versions(), "keys": len(keyring.keys)})
