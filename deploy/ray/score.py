"""`python -m deploy.ray.score SOURCE OUT`: scores millions of pictures, on a machine or a cluster.

The source is always divided into the same shards; each shard becomes one Parquet file, which a Ray task
writes atomically. So however a run ends, the same command continues it, and every picture has exactly one
row. Only lists of names go through Ray's object store; pictures and rows stay within a task.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import ray
from fsspec.implementations.dirfs import DirFileSystem
from ray.exceptions import RayError

from app.digits.catalogue import Catalogue, find_files
from app.digits.errors import ModelError
from app.server.cores import count_cores
from app.settings import SettingsError, load_settings
from deploy.ray.folders import RunAborted, describe_error, open_folder, write_file
from deploy.ray.scorer import ErrorCounts, Job, score
from deploy.ray.sources import PARQUET, Shard, Source

RUN_FILE: Final = "_run.json"  # beside the results: the source, model and options, which must not change
INTERVAL: Final = 10.0  # seconds between two lines of progress
MAX_SHARD: Final = 100_000  # pictures: the list of their names, 10 MB, is sent to a core
# bytes for each core, whose lists of names wait there, and one more such share for the job
OBJECT_STORE_PER_CORE: Final = 64 * 1024 * 1024
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """SOURCE and OUT are paths or URIs (s3://, gs://, abfs://, file://). The command starts Ray,
or uses the cluster at RAY_ADDRESS. Limits and models are the service's, set by DIGITS_MAX_PIXELS,
DIGITS_MAX_BODY_BYTES, DIGITS_MODELS_DIR and DIGITS_DEFAULT_MODEL. The exit status is 0 if all pictures were
read, 1 if some could not be read, 2 if the run could not start or continue, and 130 after Ctrl-C. To
continue a run, repeat the command."""


def main() -> int:
    """Run the command line; return the exit status."""
    options = _parse_arguments()
    try:
        return _run(options)
    except (RunAborted, SettingsError, ModelError, OSError, pa.ArrowException) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        return INTERRUPTED


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m deploy.ray.score",
        description="Score pictures of digits by the million, and write Parquet files.",
        epilog=EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder of pictures or Parquet files, or one file")
    parser.add_argument(
        "out", metavar="OUT", help="the folder for the results: a new one, or that of a run to continue"
    )
    parser.add_argument("--model", metavar="NAME", help="the network (default: DIGITS_DEFAULT_MODEL)")
    parser.add_argument(
        "--bytes",
        metavar="COLUMN",
        default="bytes",
        help="Parquet column of the encoded pictures; PARENT.FIELD for a field of a struct (default: bytes)",
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="Parquet column of the pictures' names (default: FILE#ROW)"
    )
    parser.add_argument(
        "--shard",
        metavar="N",
        default=10_000,
        type=_parse_count,
        help="pictures per result file (default: 10,000)",
    )
    parser.add_argument(
        "--cores",
        metavar="N",
        type=_parse_count,
        help="number of cores to use (default: all of the machine or the cluster)",
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="add a column with all ten probabilities"
    )
    return parser.parse_args()


def _parse_count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_SHARD):
        msg = f"{text!r} is not a number from 1 to {MAX_SHARD}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _run(options: argparse.Namespace) -> int:
    settings = load_settings()
    source = Source.find(
        options.source,
        picture_column=options.bytes,
        id_column=options.id,
        max_bytes=settings.max_body_bytes,
    )
    out = open_folder(options.out)
    if not source.file_name and f"{out.path}/".startswith(f"{source.folder.path}/"):
        msg = (
            f"{options.out} is in {options.source}: results would be read as pictures. Choose another folder."
        )
        raise RunAborted(msg)
    catalogue = Catalogue.load(settings.models_dir, default=options.model or settings.default_model)
    model, finder = catalogue.get(), catalogue.get_finder_model()
    plan = {
        **{name: getattr(options, name) for name in ("bytes", "id", "shard", "probabilities")},
        # without the credentials that a bucket's URI may hold
        "source": f"{source.folder.path}/{source.file_name}",
        "model": f"{model.name} {model.classifier.recipe_version} {model.classifier.sha256}",
        "finder": finder and f"{finder.name} {finder.network.recipe_version} {finder.network.sha256}",
        "max_pixels": settings.max_pixels,
        "max_body_bytes": settings.max_body_bytes,
    }
    _begin(options.out, out, plan)
    files = find_files(settings.models_dir)
    job = Job(
        source=source,
        out=out,
        onnx=files[model.version].read_bytes(),
        finder_onnx=files[finder.version].read_bytes() if finder else None,
        max_pixels=settings.max_pixels,
        probabilities=options.probabilities,
    )
    shards = _name_shards(out, source.divide(shard_size=options.shard))
    error_counts = _score(job, shards, cores=options.cores)
    del error_counts[None]  # pictures that were read have no code
    for code, count in error_counts.most_common():
        print(f"{code}: {count:,}", file=sys.stderr)
    return SOME_FAILED if error_counts else ALL_READ


def _begin(location: str, out: DirFileSystem, plan: Mapping[str, Any]) -> None:
    """Record the source, model and options; refuse a folder with another run's results or other files."""
    out.makedirs("", exist_ok=True)
    text = json.dumps(plan, indent=2)
    recorded = text
    if out.exists(RUN_FILE):
        recorded = out.cat_file(RUN_FILE).decode()
    elif any(not name.startswith("_") for name in out.ls("", detail=False)):
        msg = f"{location} holds files that are not results. Choose a new folder."
        raise RunAborted(msg)
    if changed_lines := set(recorded.splitlines()) - set(text.splitlines()):
        differences = ", ".join(sorted(line.strip(" ,") for line in changed_lines))
        msg = f"{location} was started with {differences}. Use the same options, or choose another folder."
        raise RunAborted(msg)
    write_file(out, RUN_FILE, text.encode())


def _name_shards(out: DirFileSystem, shards: Iterable[Shard]) -> Iterator[tuple[str, Shard]]:
    """Yield each shard with the name of its result file; refuse a source that has changed since."""
    names = [name for name in out.ls("", detail=False) if name.endswith(PARQUET)]
    existing = {name.partition("-")[0]: name for name in names}
    for number, shard in enumerate(shards):
        name = f"{number:08}-{shard.fingerprint}{PARQUET}"
        if existing.setdefault(f"{number:08}", name) != name:
            break
        del existing[f"{number:08}"]
        yield name, shard
    if existing:
        msg = (
            f"{min(existing.values())} was made from other pictures: the source has changed since. "
            "Restore it, or choose another folder for the results."
        )
        raise RunAborted(msg)


def _score(job: Job, shards: Iterable[tuple[str, Shard]], *, cores: int | None) -> ErrorCounts:
    """Score all shards, and print the progress every `INTERVAL` seconds."""
    error_counts: ErrorCounts = Counter()
    started_at = printed_at = time.monotonic()
    earlier_count = 0
    for shard_counts, is_earlier in _run_tasks(job, shards, cores=cores):
        error_counts.update(shard_counts)
        earlier_count += shard_counts.total() if is_earlier else 0
        if time.monotonic() > printed_at + INTERVAL:
            printed_at = time.monotonic()
            progress = _format_progress(error_counts, earlier_count, printed_at - started_at)
            print(progress, file=sys.stderr, flush=True)
    print(_format_progress(error_counts, earlier_count, time.monotonic() - started_at), file=sys.stderr)
    return error_counts


def _format_progress(error_counts: ErrorCounts, earlier_count: int, seconds: float) -> str:
    total = error_counts.total()
    earlier = f", {earlier_count:,} of them in earlier runs" if earlier_count else ""
    failed = total - error_counts[None]
    speed = (total - earlier_count) / seconds
    return f"{total:,} pictures{earlier}, {failed:,} with an error, {speed:,.0f} a second"


def _run_tasks(
    job: Job, shards: Iterable[tuple[str, Shard]], *, cores: int | None
) -> Iterator[tuple[ErrorCounts, bool]]:
    """Yield what `score` returns for each shard; Ray repeats a task whose process or machine is lost."""
    _connect(cores)
    task = ray.remote(num_cpus=1, max_retries=-1)(score)
    limit = cores or int(ray.cluster_resources()["CPU"])
    job_reference = ray.put(job)
    pending: list[ray.ObjectRef[tuple[ErrorCounts, bool]]] = []
    try:
        for name, shard in shards:
            if len(pending) == limit:
                (done,), pending = ray.wait(pending)
                yield ray.get(done)
            pending.append(task.remote(job_reference, name, shard))
        while pending:
            (done,), pending = ray.wait(pending)
            yield ray.get(done)
    except RayError as error:
        cause = getattr(error, "cause", error)  # Ray wraps what a task raises
        msg = f"Ray can't continue: {describe_error(cause)}. Run the same command again to continue."
        raise RunAborted(msg) from None


def _connect(cores: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports usage to its developers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = os.environ.get("RAY_ADDRESS")
    cores = cores or count_cores()
    memory = (cores + 1) * OBJECT_STORE_PER_CORE
    local = {"num_cpus": cores, "object_store_memory": memory, "include_dashboard": False}
    options = {} if address else local
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError) as error:
        problem = f"Ray can't be started: {describe_error(error)}. Try fewer --cores, which need less memory."
        if address:
            problem = f"RAY_ADDRESS={address} can't be used: {describe_error(error)}. Correct or unset it."
        raise RunAborted(problem) from None


if __name__ == "__main__":
    sys.exit(main())
