"""What signals ask for: SIGTERM to end without a lost request, SIGHUP to load keys and models again."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.guard.keys import BadKeys, Keyring
from app.guard.sharing import ListeningSocket
from app.state import Readiness

log = logging.getLogger("app")

LINGER: Final = 0.5  # seconds
# SIGHUP loads keys and models again, SIGUSR1 keys alone: the parent of several workers sends it to them
RELOADS: Final = frozenset({signal.SIGHUP, signal.SIGUSR1}) if hasattr(signal, "SIGHUP") else frozenset()


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


class _Notes:
    """A handler that notes signals which come before anybody can act on them; by default they kill."""

    def __init__(self) -> None:
        self.arrived: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.arrived.append(number)


def note_reloads() -> None:
    """Note signals to reload until `take_noted` is asked for them."""
    notes = _Notes()
    for number in RELOADS:
        signal.signal(number, notes)


def take_noted() -> list[int]:
    """Return the signals to reload that have been noted, or that are to be noted yet."""
    notes = signal.getsignal(signal.SIGHUP)
    return notes.arrived if isinstance(notes, _Notes) else []


@contextmanager
def reload_on_sighup(catalogue: Catalogue, keyring: Keyring) -> Iterator[None]:
    """Load keys and models again on SIGHUP, off the event loop, and each for itself.

    Where either can't be used, the old ones are kept. With several workers their parent takes the signal.
    """
    if not RELOADS or threading.current_thread() is not threading.main_thread():
        yield  # Windows, or under a test client
        return
    loop = asyncio.get_running_loop()
    keys, models = asyncio.Event(), asyncio.Event()
    tasks = [
        loop.create_task(_repeat(keys, partial(reload_keys, keyring))),
        loop.create_task(_repeat(models, partial(reload_models, catalogue))),
    ]

    def ask_for_all() -> None:
        keys.set()
        models.set()

    noted = take_noted()
    loop.add_signal_handler(signal.SIGHUP, ask_for_all)
    loop.add_signal_handler(signal.SIGUSR1, keys.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, RELOADS)  # the parent of several workers starts them blocked
    if noted:
        ask_for_all()
    try:
        yield
    finally:
        for number in RELOADS:
            loop.remove_signal_handler(number)
        note_reloads()
        for task in tasks:
            task.cancel()


async def _repeat(asked: asyncio.Event, reload: Callable[[], None]) -> None:
    """Reload whenever it is asked for; requests that come in during a reload are served by one more."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            await asyncio.to_thread(reload)
        except Exception:  # of any kind: a failed reload must not stop later ones
            log.exception("not reloaded")


def reload_keys(keyring: Keyring) -> None:
    """Read the keys again, if there are any, or keep them; and log which it was."""
    if not keyring.keys:
        return
    try:
        added, removed = keyring.reload()
    except (BadKeys, OSError) as error:
        log_kept_keys(error)
    else:
        log.info("keys reloaded", extra={"keys": len(keyring.keys), "added": added, "removed": removed})


def reload_models(catalogue: Catalogue) -> None:
    """Load the models again, or keep them; and log which it was."""
    try:
        catalogue.reload()
    except InvalidModel as error:
        log_kept_models(error)
    else:
        log.info("models reloaded", extra={"models": catalogue.versions()})


def log_kept_keys(error: Exception) -> None:
    """Log why the keys are still the old ones."""
    log.error("keys not reloaded, the old ones stay valid", extra={"reason": str(error)})


def log_kept_models(error: Exception) -> None:
    """Log why the models are still the old ones."""
    log.error("models not reloaded, the old ones serve on", extra={"reason": str(error)})
