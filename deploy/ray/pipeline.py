"""Ray Data's part: one task lists shards as they are asked for, an actor for each core scores them.

Nothing but lists of names and notes of what has been done goes through Ray's object store; pictures and rows
go from file to file within an actor.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import Final

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray's reports to its makers
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what Ray Data itself does

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from app.server.cores import count_cores
from deploy.ray.places import Refused, reason
from deploy.ray.scorer import SHARDS, Job, Outcome, Scorer
from deploy.ray.sources import shards

OBJECT_STORE: Final = 64 * 1024 * 1024  # bytes for each core, and as many more: lists of names wait there
ADDRESS: Final = "RAY_ADDRESS"


def outcomes(job: Job, *, pictures: int, cores: int | None) -> Generator[Outcome]:
    """Score a source; yield what has become of each shard, as soon as it is done.

    Args:
        job: what is to be done.
        pictures: in a shard.
        cores: to score with; all if not given.

    Raises:
        Refused: there is no cluster at RAY_ADDRESS, or Ray can't go on.
    """
    address = os.environ.get(ADDRESS)
    try:
        if address:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            cores = cores or count_cores()
            ray.init(
                "local",
                num_cpus=cores,
                object_store_memory=(cores + 1) * OBJECT_STORE,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except (ConnectionError, ValueError) as error:
        msg = f"{ADDRESS}={address}: {reason(error)}."
        raise Refused(msg) from None
    try:
        yield from _streamed(job, pictures=pictures, cores=cores or int(ray.cluster_resources()["CPU"]))
    except Exception as error:  # noqa: BLE001  what ended the run, whatever it is, is told in a line
        lines = str(error).strip().splitlines() or [type(error).__name__]
        told = lines[-1].rstrip(".")  # after the stacks of other processes
        msg = f"Ray can't go on: {told}. Run the same command again to go on."
        raise Refused(msg) from None
    finally:
        ray.shutdown()


def _streamed(job: Job, *, pictures: int, cores: int) -> Iterator[Outcome]:
    _configure()

    def listed(_: pa.Table) -> Iterator[pa.Table]:
        for shard in shards(job.source, pictures=pictures):
            yield pa.Table.from_pylist([asdict(shard)], SHARDS)

    done = (
        ray.data.from_items([{"source": ""}])
        .map_batches(listed, batch_format="pyarrow", num_cpus=0)
        .map_batches(
            Scorer,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=cores),
            num_cpus=1,
        )
    )
    for table in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from (Outcome(**row) for row in table.to_pylist())


def _configure() -> None:
    context = DataContext.get_current()
    context.target_max_block_size = 1  # byte: every shard is a block, to be scored by whoever is free
    context.execution_no_progress_timeout_s = -1  # a shard of large photos may take hours
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what stops it is told in a line
