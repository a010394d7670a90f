"""The supervisor of several workers.

It starts them, replaces those that die or hang, restarts them one by one on SIGHUP, and stops them.

uvicorn's supervisor blocks during each of these, and does not react to SIGTERM meanwhile. This one never
blocks: ten times a second, it checks on its workers and takes the next step that is due.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from fastapi import FastAPI
from uvicorn.supervisors.multiprocess import Process

from ..digits.catalogue import Catalogue
from ..digits.errors import InvalidModel
from ..guard.keys import InvalidKeys, Keyring
from ..settings import Settings, SettingsError
from .process import LINGER_SECONDS, Server, announce, configure
from .signals import (
    RELOAD_SIGNALS,
    get_recorded_signals,
    log_keys_not_reloaded,
    log_models_not_reloaded,
)
from .workers import METRICS_FOLDER_VARIABLE, SharedMetrics

TICK: Final = 0.1  # seconds between two checks
PING_INTERVAL: Final = 1.0  # seconds between two pings of a worker
MAX_SILENCE: Final = 60.0  # seconds without an answer to a ping: longer than any load could explain
RETRY_INTERVAL: Final = 10.0  # seconds between two attempts to start a worker that fails to start
SHUTDOWN_MARGIN: Final = 10.0  # seconds that workers get beyond their own timeouts before they are killed
SHUTDOWN_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
log = logging.getLogger("app")


class WorkerProcess(Process):
    """The process of a worker: it serves, and uvicorn's base class answers pings from a thread."""

    def __init__(
        self, settings: Settings, app_factory: Callable[..., FastAPI], sockets: list[socket.socket]
    ) -> None:
        """Prepare the process, which starts later.

        Args:
            settings: the service's settings.
            app_factory: returns the application; takes `open_registry`, as `create_app` does.
            sockets: the bound sockets to listen on.
        """
        super().__init__(configure(settings, app=app_factory), sockets)
        self._app_factory = app_factory

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends the process, or its supervisor dies."""
        gc.disable()  # until it serves, as in a service with one process
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
        shared_metrics = SharedMetrics(Path(os.environ[METRICS_FOLDER_VARIABLE]))
        self.config.app = partial(self._app_factory, open_registry=shared_metrics.open_registry)
        # before uvicorn installs its signal handlers, so that SIGTERM still ends the process immediately
        self.config.load()
        self._server = Server(self.config, shared_metrics)
        super().target(sockets)


def _stop_with_supervisor() -> None:
    """Drain when the supervisor dies: nobody else would stop this worker and free its port."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        log.error("the supervisor has died; this worker is shutting down")
        os.kill(os.getpid(), signal.SIGTERM)


class Worker:
    """A worker, as its supervisor sees it."""

    def __init__(self, process: WorkerProcess) -> None:
        """Start the process."""
        self._process = process
        # inherited by the worker: otherwise, these signals would end it before it has installed its handlers
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, RELOAD_SIGNALS)
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.started_at = self._answered_at = self._pinged_at = time.monotonic()
        self.is_ready = False
        self._has_answered = True

    @property
    def exitcode(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.exitcode

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._process.pid

    def check_heartbeat(self) -> None:
        """Receive the answer to the last ping, if it has arrived, and send the next one when it is due."""
        now, pipe = time.monotonic(), self._process.parent_conn
        with suppress(OSError, EOFError):  # the worker has died, which its exit code will show
            if not self._has_answered and pipe.poll():
                self.is_ready = pipe.recv()
                self._answered_at, self._has_answered = now, True
            if self._has_answered and (now > self._pinged_at + PING_INTERVAL or not self.is_ready):
                pipe.send(b"ping")
                self._pinged_at, self._has_answered = now, False

    def is_hung(self) -> bool:
        """Tell whether the worker has not answered pings for too long."""
        return time.monotonic() > self._answered_at + MAX_SILENCE

    def send_signal(self, signal_number: signal.Signals) -> None:
        """Send a signal to the worker, if it still runs."""
        if self.exitcode is None and self.pid is not None:
            os.kill(self.pid, signal_number)

    def kill(self) -> None:
        """Kill the worker, and wait for it to exit."""
        self._process.kill()
        self._process.join()


class Supervisor:
    """Keeps several workers serving until a signal stops it."""

    def __init__(self, settings: Settings, keyring: Keyring, spawn: Callable[[], WorkerProcess]) -> None:
        """Install the signal handlers.

        Args:
            settings: the number of workers, and their timeouts.
            keyring: the keys that new workers start with.
            spawn: creates the process of a worker.
        """
        self._settings = settings
        self._keyring = keyring
        self._spawn = spawn
        self._is_announced = False
        self._workers: list[Worker] = []
        self._outdated: list[Worker] = []  # those workers that a renewal has yet to replace
        self._successor: Worker | None = None  # starting, to replace the first outdated worker
        self._retired: list[Worker] = []  # draining
        self._renewal_due = False
        # signals may interrupt any step, so the handler only records them
        self._shutdown_signals: list[int] = []
        self._reload_signals = get_recorded_signals()  # the list itself, with signals that arrived before now
        for number in SHUTDOWN_SIGNALS | RELOAD_SIGNALS:
            signal.signal(number, self._record_signal)

    def _record_signal(self, number: int, _: FrameType | None) -> None:
        (self._shutdown_signals if number in SHUTDOWN_SIGNALS else self._reload_signals).append(number)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and return when all workers have exited.

        Raises:
            SettingsError: no worker can start.
        """
        try:
            self._workers = [self._start() for _ in range(self._settings.workers)]
            while not self._shutdown_signals:
                self._check_workers()
                time.sleep(TICK)
        finally:
            self._stop_workers()

    def _start(self) -> Worker:
        return Worker(self._spawn())

    def _list_all_workers(self) -> list[Worker]:
        successor = [self._successor] if self._successor else []
        return [*self._workers, *successor, *self._retired]

    def _check_workers(self) -> None:
        for worker in self._list_all_workers():
            worker.check_heartbeat()
        self._retired = [worker for worker in self._retired if worker.exitcode is None]
        self._workers = [self._replace_if_dead(worker) for worker in self._workers]
        if not self._is_announced and all(worker.is_ready for worker in self._workers):
            announce(self._settings)
            self._is_announced = True
        if self._reload_signals:
            self._renewal_due |= signal.SIGHUP in self._reload_signals
            self._reload_signals.clear()  # one reload serves all signals recorded so far
            self._reload_keys()
        self._renew()

    def _replace_if_dead(self, worker: Worker) -> Worker:
        if worker.exitcode is None and worker.is_hung():
            log.error("a worker does not respond and is killed", extra={"pid": worker.pid})
            worker.kill()
        if worker.exitcode is None or self._must_wait(worker):
            return worker
        log.error("a worker has died", extra={"pid": worker.pid, "exitcode": worker.exitcode})
        return self._start()

    def _must_wait(self, dead: Worker) -> bool:
        """Tell whether it is too early to replace a worker that failed to start.

        Raises:
            SettingsError: no other worker serves.
        """
        if dead.is_ready or (dead.exitcode or 0) <= 0:  # it had started, or a signal ended it
            return False
        if not any(worker.is_ready and worker.exitcode is None for worker in self._workers):
            msg = "no worker could start; the lines above say why"
            raise SettingsError(msg)
        return time.monotonic() < dead.started_at + RETRY_INTERVAL

    def _reload_keys(self) -> None:
        """Make all workers reload the keys, unless they are bad.

        This does not wait for the models, so that a revoked key stops working immediately.
        """
        try:
            self._keyring.reload()
        except (InvalidKeys, OSError) as error:
            log_keys_not_reloaded(error)
            return
        for worker in self._list_all_workers():
            worker.send_signal(signal.SIGUSR1)

    def _renew(self) -> None:
        """Take the next step of a renewal, which replaces all workers one by one."""
        self._outdated = [worker for worker in self._outdated if worker in self._workers]
        if self._successor:
            self._promote(self._successor)
        elif self._outdated:
            # memory is planned for at most one process more than there are workers
            if not self._retired:
                self._successor = self._start()
        elif self._renewal_due:
            self._renewal_due = False
            self._outdated = list(self._workers) if self._can_load_models() else []

    def _promote(self, successor: Worker) -> None:
        """Replace the first outdated worker with its successor, once the successor is ready."""
        if successor.exitcode is not None or successor.is_hung():
            successor.kill()
            self._outdated = []
            log.error("a new worker could not start; the old ones keep serving")
        elif not successor.is_ready:
            return
        elif self._outdated:
            old = self._outdated.pop(0)
            self._workers[self._workers.index(old)] = successor
            self._retire(old)
        else:  # the outdated worker has died and been replaced already
            self._retire(successor)
        self._successor = None

    def _retire(self, worker: Worker) -> None:
        worker.send_signal(signal.SIGTERM)
        self._retired.append(worker)

    def _can_load_models(self) -> bool:
        try:
            Catalogue.load(self._settings.models_dir, default=self._settings.default_model)
        except InvalidModel as error:
            log_models_not_reloaded(error)
        except Exception:  # the running workers must not stop because of it
            log.exception("models not reloaded; the old ones keep serving")
        else:
            return True
        return False

    def _stop_workers(self) -> None:
        """Let all workers drain; pass further signals on, and kill workers that take too long."""
        forwarded = len(self._shutdown_signals)
        for worker in self._list_all_workers():
            if worker not in self._retired:
                worker.send_signal(signal.SIGTERM)
        timeout = self._settings.drain_delay + LINGER_SECONDS + self._settings.graceful_timeout
        deadline = time.monotonic() + timeout + SHUTDOWN_MARGIN
        while running := [worker for worker in self._list_all_workers() if worker.exitcode is None]:
            for worker in running:
                if len(self._shutdown_signals) > forwarded:
                    worker.send_signal(signal.SIGTERM)
                if time.monotonic() > deadline:
                    worker.kill()
            forwarded = len(self._shutdown_signals)
            time.sleep(TICK)
