"""SIGHUP: keys and models are loaded again, each for itself, while the old ones keep serving."""

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

log = logging.getLogger("app")

# SIGHUP loads keys and models again, SIGUSR1 keys alone: the parent of several workers sends it to them
RELOAD_SIGNALS: Final = (
    frozenset({signal.SIGHUP, signal.SIGUSR1}) if hasattr(signal, "SIGHUP") else frozenset()
)


class _SignalRecorder:
    """A handler that notes signals which come before anybody can act on them; by default they kill."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.signals.append(number)


def record_reloads() -> None:
    """Note signals to reload until `get_recorded_signals` is asked for them."""
    recorder = _SignalRecorder()
    for number in RELOAD_SIGNALS:
        signal.signal(number, recorder)


def get_recorded_signals() -> list[int]:
    """Return the signals to reload that have been noted, or that are to be noted yet."""
    recorder = signal.getsignal(signal.SIGHUP)
    return recorder.signals if isinstance(recorder, _SignalRecorder) else []


@contextmanager
def reload_on_sighup(catalogue: Catalogue, keyring: Keyring) -> Iterator[None]:
    """Load keys and models again on SIGHUP, off the event loop, and each for itself.

    Where either can't be used, the old ones are kept. With several workers their parent takes the signal.
    """
    if not RELOAD_SIGNALS or threading.current_thread() is not threading.main_thread():
        yield  # Windows, or under a test client
        return
    loop = asyncio.get_running_loop()
    keys, models = asyncio.Event(), asyncio.Event()
    tasks = [
        loop.create_task(_reload_repeatedly(keys, partial(reload_keys, keyring))),
        loop.create_task(_reload_repeatedly(models, partial(reload_models, catalogue))),
    ]

    def request_all() -> None:
        keys.set()
        models.set()

    recorded = get_recorded_signals()
    loop.add_signal_handler(signal.SIGHUP, request_all)
    loop.add_signal_handler(signal.SIGUSR1, keys.set)
    # the parent of several workers starts them blocked
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


async def _reload_repeatedly(due: asyncio.Event, reload: Callable[[], None]) -> None:
    """Reload whenever it is asked for; requests that come in during a reload are served by one more."""
    while True:
        await due.wait()
        due.clear()
        try:
            await asyncio.to_thread(reload)
        except Exception:  # whatever it was, the next signal must not be ignored
            log.exception("not reloaded")


def reload_keys(keyring: Keyring) -> None:
    """Read the keys again, if there are any, or keep them; and log which it was."""
    if not keyring.keys:
        return
    try:
        added, removed = keyring.reload()
    except (BadKeys, OSError) as error:
        log_keys_not_reloaded(error)
    else:
        log.info("keys reloaded", extra={"keys": len(keyring.keys), "added": added, "removed": removed})


def reload_models(catalogue: Catalogue) -> None:
    """Load the models again, or keep them; and log which it was."""
    try:
        catalogue.reload()
    except InvalidModel as error:
        log_models_not_reloaded(error)
    else:
        log.info("models reloaded", extra={"models": catalogue.get_recipe_versions()})


def log_keys_not_reloaded(error: Exception) -> None:
    """Log why the keys are still the old ones."""
    log.error("keys not reloaded, the old ones stay valid", extra={"reason": str(error)})


def log_models_not_reloaded(error: Exception) -> None:
    """Log why the models are still the old ones."""
    log.error("models not reloaded, the old ones keep serving", extra={"reason": str(error)})
