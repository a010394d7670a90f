"""Ray's part: a task for each shard, on every core that is free.

Nothing but lists of names and notes of what has been done goes through Ray's object store; pictures and rows
go from file to file within a task.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable
from typing import Any, Final

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray's reports to its makers
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray

from app.server.cores import count_cores
from deploy.ray.places import RunAborted, describe_error
from deploy.ray.scorer import Job, Note, score
from deploy.ray.sources import Shard

OBJECT_STORE: Final = 64 * 1024 * 1024  # bytes for each core, and as many more: lists of names wait there
ADDRESS: Final = "RAY_ADDRESS"


def run(job: Job, shards: Iterable[Shard], *, cores: int | None) -> Generator[tuple[Note, bool]]:
    """Score shards; yield what is known of each as soon as it is done, and whether it had been before.

    A task whose process or machine is lost is run again.

    Args:
        job: what is to be done.
        shards: of its source.
        cores: to score with; all if not given.

    Raises:
        Refused: there is no cluster at RAY_ADDRESS, or a shard can't be scored.
    """
    _connect(cores)
    try:
        yield from _run_tasks(job, shards, cores=cores or int(ray.cluster_resources()["CPU"]))
    except Exception as error:  # noqa: BLE001  whatever ended the run is said in a line
        cause = getattr(error, "cause", error)  # Ray wraps what a task raises
        if isinstance(cause, RunAborted):
            raise cause from None
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        msg = f"Ray can't go on: {lines[-1].rstrip('.')}. Run the same command again to go on."
        raise RunAborted(msg) from None
    finally:
        ray.shutdown()


def _connect(cores: int | None) -> None:
    address = os.environ.get(ADDRESS)
    cores = cores or count_cores()
    own = {
        "num_cpus": cores,
        "object_store_memory": (cores + 1) * OBJECT_STORE,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address or "local", logging_level=logging.ERROR, log_to_driver=False, **({} if address else own)
        )
    except (ConnectionError, ValueError) as error:
        msg = f"{ADDRESS}={address}: {describe_error(error)}."
        raise RunAborted(msg) from None


def _run_tasks(job: Job, shards: Iterable[Shard], *, cores: int) -> Generator[tuple[Note, bool]]:
    task = ray.remote(num_cpus=1, max_retries=-1)(score)
    reference = ray.put(job)
    pending: list[Any] = []
    for shard in shards:
        if len(pending) == cores:
            (done,), pending = ray.wait(pending)
            yield ray.get(done)
        pending.append(task.remote(reference, shard))
    while pending:
        (done,), pending = ray.wait(pending)
        yield ray.get(done)
