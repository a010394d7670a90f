"""The parent of several workers: starts them, replaces those that die, renews them on SIGHUP, ends them.

uvicorn's own parent waits within each of these, so that a SIGTERM waits, too. Here nothing waits: the parent
looks at its workers ten times a second and takes the next step that is due.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.supervisors.multiprocess import Process

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.guard.keys import BadKeys, Keyring
from app.settings import Settings, SettingsError
from app.signals import LINGER, RELOADS, log_kept_keys, log_kept_models, take_noted

TICK: Final = 0.1  # seconds between two looks
PING: Final = 1.0  # seconds between two questions whether a worker still runs
SILENCE: Final = 60.0  # seconds after which one that does not answer, on however busy a machine, is replaced
RETRY: Final = 10.0  # seconds between two attempts at a worker that fails to start
MARGIN: Final = 10.0  # seconds beyond their own patience in which workers have to end
ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
log = logging.getLogger("app")


class _Child(Process):
    """What runs in a worker's process; uvicorn's answers the parent from a thread, and serves."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, for as long as there is a parent."""
        threading.Thread(target=_end_with_parent, daemon=True).start()
        self.config.load()  # before uvicorn handles signals: until here SIGTERM ends the process at once
        super().target(sockets)


def _end_with_parent() -> None:
    """Drain when the parent has died: nobody else would end this worker, which holds the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        log.error("the parent process is gone; this worker ends")
        os.kill(os.getpid(), signal.SIGTERM)


class Worker:
    """A worker as its parent sees it."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        """Start its process."""
        self._child = _Child(config, sockets)
        # what is sent before the worker handles it must wait: by default these signals kill
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, RELOADS)
        self._child.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.started = self._heard = self._asked = time.monotonic()
        self.ready = False
        self._answered = True

    @property
    def exitcode(self) -> int | None:
        """How it has ended; None while it runs."""
        return self._child.exitcode

    @property
    def pid(self) -> int | None:
        """The id of its process."""
        return self._child.pid

    def listen(self) -> None:
        """Take its answer, if there is one, and ask it again when it is time."""
        now, pipe = time.monotonic(), self._child.parent_conn
        with suppress(OSError, EOFError):  # it has died; its exit code says so
            if not self._answered and pipe.poll():
                self.ready = pipe.recv()
                self._heard, self._answered = now, True
            if self._answered and (now > self._asked + PING or not self.ready):
                pipe.send(b"ping")
                self._asked, self._answered = now, False

    def is_hung(self) -> bool:
        """Tell whether it has not answered for too long."""
        return time.monotonic() > self._heard + SILENCE

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.exitcode is None and self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._child.join()


class Supervisor:
    """Keeps several workers serving until a signal ends it."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        *,
        announce: Callable[[], None],
    ) -> None:
        """Handle signals from now on.

        Args:
            settings: how many workers there are, and how patient they are.
            keyring: the keys that `config` starts workers with; reloaded here first.
            config: of each worker.
            sockets: that they listen on.
            announce: called once, when all workers are ready.
        """
        self._settings = settings
        self._keyring = keyring
        self._config = config
        self._sockets = sockets
        self._announce: Callable[[], None] | None = announce
        self._workers: list[Worker] = []
        self._outdated: list[Worker] = []  # those of them that are still to be renewed
        self._successor: Worker | None = None  # of the first of those
        self._leaving: list[Worker] = []
        self._renewal_due = False
        # a signal may come in between any two steps, so all that its handler does is to append
        self._ends: list[int] = []
        self._reloads = take_noted()
        for number in ENDS | RELOADS:
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        (self._ends if number in ENDS else self._reloads).append(number)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and return when all workers have ended.

        Raises:
            SettingsError: no worker can start.
        """
        try:
            self._workers = [self._start() for _ in range(self._settings.workers)]
            while not self._ends:
                self._look_after()
                time.sleep(TICK)
        finally:
            self._end()

    def _start(self) -> Worker:
        return Worker(self._config, self._sockets)

    def _all(self) -> list[Worker]:
        successor = [self._successor] if self._successor else []
        return [*self._workers, *successor, *self._leaving]

    def _look_after(self) -> None:
        for worker in self._all():
            worker.listen()
        self._leaving = [worker for worker in self._leaving if worker.exitcode is None]
        self._workers = [self._replace_if_dead(worker) for worker in self._workers]
        if self._announce and all(worker.ready for worker in self._workers):
            self._announce()
            self._announce = None
        if self._reloads:
            self._renewal_due |= signal.SIGHUP in self._reloads
            self._reloads.clear()  # those that came in meanwhile are served by what follows
            self._reload_keys()
        self._renew()

    def _replace_if_dead(self, worker: Worker) -> Worker:
        if worker.exitcode is None and worker.is_hung():
            log.error("a worker does not answer", extra={"pid": worker.pid})
            worker.kill()
        if worker.exitcode is None or self._must_wait(worker):
            return worker
        log.error("a worker has died", extra={"pid": worker.pid, "exitcode": worker.exitcode})
        return self._start()

    def _must_wait(self, dead: Worker) -> bool:
        """Tell whether it is too early to start a worker in the place of one that failed to start.

        Raises:
            SettingsError: no other serves.
        """
        if dead.ready or (dead.exitcode or 0) <= 0:  # a signal has ended it
            return False
        if not any(worker.ready and worker.exitcode is None for worker in self._workers):
            msg = "no worker could start; the lines above say why"
            raise SettingsError(msg)
        return time.monotonic() < dead.started + RETRY

    def _reload_keys(self) -> None:
        """Have all workers read the keys, where they can be read.

        At once, whatever becomes of the models: a key that was revoked is revoked.
        """
        try:
            self._keyring.reload()
        except (BadKeys, OSError) as error:
            log_kept_keys(error)
            return
        for worker in self._all():
            worker.send(signal.SIGUSR1)

    def _renew(self) -> None:
        """Take the next step of replacing all workers, one after the other."""
        self._outdated = [worker for worker in self._outdated if worker in self._workers]
        if self._successor:
            self._promote(self._successor)
        elif self._outdated:
            if not self._leaving:  # or there would be more processes at a time than memory was planned for
                self._successor = self._start()
        elif self._renewal_due:
            self._renewal_due = False
            self._outdated = list(self._workers) if self._can_load_models() else []

    def _promote(self, successor: Worker) -> None:
        """Let a new worker take an old one's place once it serves."""
        if successor.exitcode is not None or successor.is_hung():
            successor.kill()
            self._outdated = []
            log.error("a new worker could not start, the old ones serve on")
        elif not successor.ready:
            return
        elif self._outdated:
            old = self._outdated.pop(0)
            self._workers[self._workers.index(old)] = successor
            self._retire(old)
        else:  # the one that it was to follow has died, and another has taken its place
            self._retire(successor)
        self._successor = None

    def _retire(self, worker: Worker) -> None:
        worker.send(signal.SIGTERM)
        self._leaving.append(worker)

    def _can_load_models(self) -> bool:
        try:
            Catalogue.load(self._settings.models_dir, default=self._settings.default_model)
        except InvalidModel as error:
            log_kept_models(error)
        except Exception:  # of any kind: the running workers must survive a failed reload
            log.exception("models not reloaded, the old ones serve on")
        else:
            return True
        return False

    def _end(self) -> None:
        """Let all workers drain; those that don't end in time, and all at a second signal, end at once."""
        told = len(self._ends)
        for worker in self._all():
            if worker not in self._leaving:
                worker.send(signal.SIGTERM)
        patience = self._settings.drain_delay + LINGER + self._settings.graceful_timeout + MARGIN
        deadline = time.monotonic() + patience
        while running := [worker for worker in self._all() if worker.exitcode is None]:
            for worker in running:
                if len(self._ends) > told:
                    worker.send(signal.SIGTERM)
                if time.monotonic() > deadline:
                    worker.kill()
            told = len(self._ends)
            time.sleep(TICK)
