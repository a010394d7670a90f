"""What several workers need to be counted as one: a folder for their numbers, and a seat for each.

Each keeps its numbers in files of that folder, in prometheus_client's multiprocess mode, and writes down
every second what changes without a request. Whichever is asked adds up all files.

prometheus_client names a worker's files by its process id, so that every worker ever started would leave some
behind. By seats there are never more than twice as many as workers, and one that replaces another counts on.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from app.settings import SettingsError
from app.telemetry.metrics import Metrics

UPDATE_INTERVAL: Final = 1.0  # seconds between two looks at what changes without a request
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name; workers inherit it
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a folder of our own in it; writable even in a read-only container


@contextmanager
def share_folder() -> Iterator[None]:
    """Give the workers that are started in the block a fresh folder; it is removed afterwards.

    Raises:
        SettingsError: there is nowhere to make one.
    """
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    try:
        temporary = tempfile.TemporaryDirectory(prefix="digits-metrics-", dir=parent)
    except OSError as error:
        why = error.strerror
        msg = f"several DIGITS_WORKERS share a folder, which can't be made ({why}): let /tmp be writable"
        raise SettingsError(msg) from None
    with temporary as folder:
        os.environ[FOLDER] = folder
        yield


class WorkerSlot:
    """A number that no other living worker has; the kernel frees it when the process is gone."""

    def __init__(self, folder: Path) -> None:
        """Take the lowest one that is free, and forget the gauges of those who have left."""
        self._folder = folder
        free = ((number, lock) for number in itertools.count() if (lock := _lock(folder, number)))
        self.number, self._lock = next(free)
        for file in folder.glob("*.lock"):
            number = int(file.stem)
            if number != self.number and (lock := _lock(folder, number)):
                _remove_gauges(folder, number)
                lock.close()
        _remove_gauges(folder, self.number)  # a predecessor may have been killed

    def release(self) -> None:
        """Forget this worker's gauges and free its seat; what it has counted stays."""
        _remove_gauges(self._folder, self.number)
        self._lock.close()


class Share:
    """A worker's share in the numbers of all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seat: WorkerSlot | None = None

    def open(self) -> CollectorRegistry:
        """Take a seat, in whose files metrics are kept from now on; return the registry of all workers."""
        self._seat = WorkerSlot(self._folder)
        number = self._seat.number
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return registry

    @asynccontextmanager
    async def publish(self, metrics: Metrics) -> AsyncIterator[None]:
        """Write a worker's gauges down again and again while the block runs; then leave the seat."""
        updates = asyncio.create_task(_update(metrics))
        try:
            yield
        finally:
            updates.cancel()
            with suppress(asyncio.CancelledError):
                await updates
            if self._seat is not None:
                self._seat.release()


async def _update(metrics: Metrics) -> None:
    while True:
        metrics.update_gauges()
        await asyncio.sleep(UPDATE_INTERVAL)


def _remove_gauges(folder: Path, number: int) -> None:
    for file in folder.glob(f"gauge_live*_{number}.db"):
        file.unlink(missing_ok=True)


def _lock(folder: Path, number: int) -> IO[bytes] | None:
    """Take a seat, until the file is closed; return None if somebody sits there."""
    import fcntl  # noqa: PLC0415  Windows has none, and one worker needs none

    lock = (folder / f"{number}.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
