"""The metrics of several workers, added up: a folder for their files, and a slot for each worker.

Each worker keeps its metrics in files of that folder, in prometheus_client's multiprocess mode, and updates
its gauges every second. The worker that is scraped adds up all files.

prometheus_client names the files after the process id, so that every worker ever started would leave some
behind. With slots there are at most twice as many files as workers, and a replacement goes on counting where
its predecessor stopped.
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

UPDATE_INTERVAL: Final = 1.0  # seconds between two updates of the gauges
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name; workers inherit it
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a folder of our own in it; writable even in a read-only container


@contextmanager
def share_folder() -> Iterator[None]:
    """Create a folder for the workers that are started in the block, and remove it afterwards.

    Raises:
        SettingsError: no folder can be created.
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
        """Take the lowest free number, and remove the gauges of workers that are gone."""
        self._folder = folder
        free = ((number, lock) for number in itertools.count() if (lock := _lock(folder, number)))
        self.number, self._lock = next(free)
        for file in folder.glob("*.lock"):
            number = int(file.stem)
            if number != self.number and (lock := _lock(folder, number)):
                _remove_gauges(folder, number)
                lock.close()
        _remove_gauges(folder, self.number)  # a predecessor may have been killed

    def open_registry(self) -> CollectorRegistry:
        """Keep metrics in the files of this slot from now on; return the registry of all workers."""
        values.ValueClass = values.MultiProcessValue(lambda: self.number)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return registry

    @asynccontextmanager
    async def publish(self, metrics: Metrics) -> AsyncIterator[None]:
        """Update a worker's gauges every second while the block runs; then free the slot."""
        updates = asyncio.create_task(_update(metrics))
        try:
            yield
        finally:
            updates.cancel()
            with suppress(asyncio.CancelledError):
                await updates
            self.release()

    def release(self) -> None:
        """Remove this worker's gauges and free its slot; its counters stay."""
        _remove_gauges(self._folder, self.number)
        self._lock.close()


async def _update(metrics: Metrics) -> None:
    while True:
        metrics.update_gauges()
        await asyncio.sleep(UPDATE_INTERVAL)


def _remove_gauges(folder: Path, number: int) -> None:
    for file in folder.glob(f"gauge_live*_{number}.db"):
        file.unlink(missing_ok=True)


def _lock(folder: Path, number: int) -> IO[bytes] | None:
    """Lock a slot until the file is closed; return None if another worker holds it."""
    import fcntl  # noqa: PLC0415  Windows has none, and one worker needs none

    lock = (folder / f"{number}.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
