"""Metrics that several workers share.

Each worker has a slot, and keeps its metrics in the slot's files, in a folder that all workers share. This is
prometheus_client's multiprocess mode: a scrape reaches any one of the workers, which adds up the files of
all. They are updated several times a second, and when a worker ends.

By default, prometheus_client names files by process id, so each restart of a worker would leave some behind.
Slots are reused: there are never more than twice as many as workers, and a replacement goes on with the
counters of its predecessor.
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

from ..settings import SettingsError
from ..telemetry.metrics import Metrics

UPDATE_INTERVAL: Final = 0.2  # seconds between two updates of the files
METRICS_FOLDER_VARIABLE: Final = (
    "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's variable; workers inherit it
)
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  we create a folder in it; writable even in a read-only container


@contextmanager
def create_shared_folder() -> Iterator[None]:
    """Create the folder for the workers that the block starts, and remove it at the end.

    Raises:
        SettingsError: no folder can be created.
    """
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    try:
        temporary = tempfile.TemporaryDirectory(prefix="digits-metrics-", dir=parent)
    except OSError as error:
        reason = error.strerror
        msg = f"several DIGITS_WORKERS share a folder, which can't be created ({reason}): make /tmp writable"
        raise SettingsError(msg) from None
    with temporary as folder:
        os.environ[METRICS_FOLDER_VARIABLE] = folder
        yield


class WorkerSlot:
    """A number that no other living worker has; the kernel releases it when the process ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lowest free slot, and remove the gauges of workers that have ended."""
        self._folder = folder
        free = ((number, lock) for number in itertools.count() if (lock := _lock(folder, number)))
        self.number, self._lock = next(free)
        for file in folder.glob("*.lock"):
            number = int(file.stem)
            if number != self.number and (lock := _lock(folder, number)):
                _remove_gauges(folder, number)
                lock.close()
        _remove_gauges(folder, self.number)  # a worker that was killed leaves them behind

    def release(self) -> None:
        """Remove this worker's gauges, and free its slot; the counters stay."""
        _remove_gauges(self._folder, self.number)
        self._lock.close()


class SharedMetrics:
    """The metrics of one of several workers, in the folder that all of them share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slot: WorkerSlot | None = None

    def open_registry(self) -> CollectorRegistry:
        """Take a slot for the metrics that are created from now on; return the registry of all workers."""
        self._slot = WorkerSlot(self._folder)
        number = self._slot.number
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return registry

    @asynccontextmanager
    async def publish(self, metrics: Metrics) -> AsyncIterator[None]:
        """Update this worker's files while the block runs, and at its end; then release its slot."""
        updates = asyncio.create_task(_update_repeatedly(metrics))
        try:
            yield
        finally:
            updates.cancel()
            with suppress(asyncio.CancelledError):
                await updates
            metrics.update()
            if self._slot is not None:
                self._slot.release()


async def _update_repeatedly(metrics: Metrics) -> None:
    while True:
        metrics.update()
        await asyncio.sleep(UPDATE_INTERVAL)


def _remove_gauges(folder: Path, number: int) -> None:
    for file in folder.glob(f"gauge_live*_{number}.db"):
        file.unlink(missing_ok=True)


def _lock(folder: Path, number: int) -> IO[bytes] | None:
    """Lock a slot until the returned file is closed; return None if another worker has it."""
    import fcntl  # noqa: PLC0415  missing on Windows, which has a single worker

    lock = (folder / f"{number}.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
