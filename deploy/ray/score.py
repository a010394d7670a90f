"""`python -m deploy.ray.score SOURCE OUT`: scores millions of pictures, on a machine or a cluster.

The source is always divided into the same shards, and each becomes one Parquet file, written in one step by a
Ray task. So however a run ends, the same command continues it, and every picture has exactly one row. Only
lists of names go through Ray's object store; pictures and rows stay within a task.
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
from deploy.ray.scorer import Codes, Job, score
from deploy.ray.sources import PARQUET, Shard, Source

RUN_FILE: Final = "_run.json"  # beside the results: the source, model and options, which must not change
INTERVAL: Final = 10.0  # seconds between two lines of progress
MAX_SHARD: Final = 100_000  # pictures: the list of their names, 10 MB, is sent to a core
OBJECT_STORE: Final = 64 * 1024 * 1024  # bytes for each core, and as many more: lists of names wait there
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
    add, count = parser.add_argument, _parse_count
    add("source", metavar="SOURCE", help="a folder of pictures or Parquet files, or one file")
    add("out", metavar="OUT", help="the folder for the results: a new one, or that of a run to continue")
    add("--model", metavar="NAME", help="the network (default: DIGITS_DEFAULT_MODEL)")
    add("--bytes", metavar="COLUMN", default="bytes", help="Parquet column of pictures, a.b in a struct")
    add("--id", metavar="COLUMN", help="Parquet column of the pictures' names (default: FILE#ROW)")
    add("--shard", metavar="N", default=10_000, type=count, help="pictures in a file of results (10,000)")
    add("--cores", metavar="N", type=count, help="(default: all of the machine or the cluster)")
    add("--probabilities", action="store_true", help="add a column with all ten probabilities")
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
    model = Catalogue.load(settings.models_dir, default=options.model or settings.default_model).get()
    plan = {
        **{name: getattr(options, name) for name in ("bytes", "id", "shard", "probabilities")},
        "source": f"{source.folder.path}/{source.file_name}",  # without the keys that a bucket's URI may hold
        "model": f"{model.name} {model.classifier.recipe_version} {model.classifier.sha256}",
        "max_pixels": settings.max_pixels,
        "max_body_bytes": settings.max_body_bytes,
    }
    _begin(options.out, out, plan)
    job = Job(
        source=source,
        out=out,
        onnx=find_files(settings.models_dir)[model.version].read_bytes(),
        max_pixels=settings.max_pixels,
        probabilities=options.probabilities,
    )
    codes = _score(job, _name_shards(out, source.divide(shard_size=options.shard)), cores=options.cores)
    del codes[None]
    for code, count in codes.most_common():
        print(f"{code}: {count:,}", file=sys.stderr)
    return SOME_FAILED if codes else ALL_READ


def _begin(location: str, out: DirFileSystem, plan: Mapping[str, Any]) -> None:
    """Record the source, model and options; refuse a folder with results of others, or with other files."""
    out.makedirs("", exist_ok=True)
    text = json.dumps(plan, indent=2)
    earlier = text
    if out.exists(RUN_FILE):
        earlier = out.cat_file(RUN_FILE).decode()
    elif any(not name.startswith("_") for name in out.ls("", detail=False)):
        msg = f"{location} holds files that are not results. Choose a new folder."
        raise RunAborted(msg)
    if changes := set(earlier.splitlines()) - set(text.splitlines()):
        settings = ", ".join(sorted(line.strip(" ,") for line in changes))
        msg = f"{location} was started with {settings}. Use the same options, or choose another folder."
        raise RunAborted(msg)
    write_file(out, RUN_FILE, text.encode())


def _name_shards(out: DirFileSystem, shards: Iterable[Shard]) -> Iterator[tuple[str, Shard]]:
    """Yield each shard with the name of its file of results, unless the source has changed."""
    names = [name for name in out.ls("", detail=False) if name.endswith(PARQUET)]
    earlier = {name.partition("-")[0]: name for name in names}
    for number, shard in enumerate(shards):
        name = f"{number:08}-{shard.fingerprint}{PARQUET}"
        if earlier.setdefault(f"{number:08}", name) != name:
            break
        del earlier[f"{number:08}"]
        yield name, shard
    if earlier:
        msg = (
            f"{min(earlier.values())} was made from other pictures: the source has changed since. "
            "Restore it, or choose another folder for the results."
        )
        raise RunAborted(msg)


def _score(job: Job, shards: Iterable[tuple[str, Shard]], *, cores: int | None) -> Codes:
    """Score all shards, and print the progress every `INTERVAL` seconds."""
    codes: Codes = Counter()
    started = printed = time.monotonic()
    earlier = 0
    for shard_codes, is_earlier in _run_tasks(job, shards, cores=cores):
        codes.update(shard_codes)
        earlier += shard_codes.total() if is_earlier else 0
        if time.monotonic() > printed + INTERVAL:
            printed = time.monotonic()
            print(_format_progress(codes, earlier, printed - started), file=sys.stderr, flush=True)
    print(_format_progress(codes, earlier, time.monotonic() - started), file=sys.stderr)
    return codes


def _format_progress(codes: Codes, earlier: int, seconds: float) -> str:
    total = codes.total()
    before = f", {earlier:,} of them before" if earlier else ""
    failed = total - codes[None]
    return (
        f"{total:,} pictures{before}, {failed:,} with an error, {(total - earlier) / seconds:,.0f} a second"
    )


def _run_tasks(
    job: Job, shards: Iterable[tuple[str, Shard]], *, cores: int | None
) -> Iterator[tuple[Codes, bool]]:
    """Yield what `score` returns for each shard; Ray repeats a task whose process or machine is lost."""
    _connect(cores)
    task = ray.remote(num_cpus=1, max_retries=-1)(score)
    limit = cores or int(ray.cluster_resources()["CPU"])
    job_reference = ray.put(job)
    pending: list[ray.ObjectRef[tuple[Codes, bool]]] = []
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
    local = {"num_cpus": cores, "object_store_memory": (cores + 1) * OBJECT_STORE, "include_dashboard": False}
    options = {} if address else local
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError) as error:
        msg = f"RAY_ADDRESS={address}: {describe_error(error)}."
        raise RunAborted(msg) from None


if __name__ == "__main__":
    sys.exit(main())
