"""Reloading on SIGHUP: keys and models, independently of each other, without interrupting requests."""

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

from ..digits.catalogue import Catalogue
from ..digits.errors import InvalidModel
from ..guard.keys import InvalidKeys, Keyring

log = logging.getLogger("app")

# SIGHUP reloads keys and models; SIGUSR1, which a supervisor sends to its workers, only keys
RELOAD_SIGNALS: Final = (
    frozenset({signal.SIGHUP, signal.SIGUSR1}) if hasattr(signal, "SIGHUP") else frozenset()
)


class _SignalRecorder:
    """A handler that records signals until they can be handled; by default they would end the process."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.signals.append(number)


def record_reloads() -> None:
    """Record the signals to reload that arrive while the service starts."""
    recorder = _SignalRecorder()
    for number in RELOAD_SIGNALS:
        signal.signal(number, recorder)


def get_recorded_signals() -> list[int]:
    """Return the list of recorded signals, which grows as more arrive."""
    recorder = signal.getsignal(signal.SIGHUP)
    return recorder.signals if isinstance(recorder, _SignalRecorder) else []


@contextmanager
def reload_on_sighup(catalogue: Catalogue, keyring: Keyring) -> Iterator[None]:
    """Reload keys and models on SIGHUP while the block runs, in threads and independently of each other.

    If either can't be loaded, the old ones stay in use. Of several workers, the supervisor handles SIGHUP.
    """
    if not RELOAD_SIGNALS or threading.current_thread() is not threading.main_thread():
        yield  # on Windows, or in a test client's thread
        return
    loop = asyncio.get_running_loop()
    keys, models = asyncio.Event(), asyncio.Event()
    tasks = [
        loop.create_task(_reload_when_due(keys, partial(reload_keys, keyring))),
        loop.create_task(_reload_when_due(models, partial(reload_models, catalogue))),
    ]

    def request_all() -> None:
        keys.set()
        models.set()

    recorded = get_recorded_signals()
    loop.add_signal_handler(signal.SIGHUP, request_all)
    loop.add_signal_handler(signal.SIGUSR1, keys.set)
    # a supervisor starts its workers with these signals blocked
    signal.pthread_sigmask(signal.SIG_UNBLOCK, RELOAD_SIGNALS)
    if recorded:
        request_all()
    try:
        yield
    finally:
        for number in RELOAD_SIGNALS:
            loop.remove_signal_handler(number)
        record_reloads()
        for task in tasks:
            task.cancel()


async def _reload_when_due(due: asyncio.Event, reload: Callable[[], None]) -> None:
    """Reload when `due` is set; signals that arrive during a reload cause one more."""
    while True:
        await due.wait()
        due.clear()
        try:
            await asyncio.to_thread(reload)
        except Exception:  # the next signal must still be handled
            log.exception("not reloaded")


def reload_keys(keyring: Keyring) -> None:
    """Reload the keys, if the service has any, and log the result; bad ones leave the old keys valid."""
    if not keyring.keys:
        return
    try:
        added, removed = keyring.reload()
    except (InvalidKeys, OSError) as error:
        log_keys_not_reloaded(error)
    else:
        log.info("keys reloaded", extra={"keys": len(keyring.keys), "added": added, "removed": removed})


def reload_models(catalogue: Catalogue) -> None:
    """Reload the models, and log the result; if one can't be served, the old ones keep serving."""
    try:
        catalogue.reload()
    except InvalidModel as error:
        log_models_not_reloaded(error)
    else:
        log.info("models reloaded", extra={"models": catalogue.get_recipe_versions()})


def log_keys_not_reloaded(error: Exception) -> None:
    """Log why the old keys stay valid."""
    log.error("keys not reloaded; the old ones stay valid", extra={"reason": str(error)})


def log_models_not_reloaded(error: Exception) -> None:
    """Log why the old models keep serving."""
    log.error("models not reloaded; the old ones keep serving", extra={"reason": str(error)})
