"""`python -m deploy.ray.score SOURCE OUT`: reads millions of pictures, on a machine or a cluster.

The source is divided into shards of a fixed number of pictures, always in the same way. Each becomes one
Parquet file, in one step, so that what has been done is what is there: however a run ended, the same command
goes on with it, and every picture has exactly one row.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from app.digits.catalogue import MODEL_FILE, locate_folder
from app.digits.classifier import Classifier
from app.digits.errors import InvalidModel, UnknownModel
from app.settings import Settings, SettingsError, load_settings
from deploy.ray.places import Location, RunAborted, describe_error
from deploy.ray.scorer import MODEL, Job, Note
from deploy.ray.sources import PARQUET, Source, divide

RUN: Final = "_run.json"  # in the place of the results: what they were made with, and what must stay the same
INTERVAL: Final = 10.0  # seconds between two lines of progress
LARGEST_SHARD: Final = 100_000  # pictures: a list of their names, 10 MB, is sent to each core
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """Places are paths or URIs (s3://, gs://, abfs://, file://). It starts a Ray of its own, or
uses the cluster that RAY_ADDRESS names. Limits and models are the service's, set by DIGITS_MAX_PIXELS,
DIGITS_MAX_BODY_BYTES, DIGITS_MODELS_DIR and DIGITS_DEFAULT_MODEL. Exits with 0 if all pictures have been
read, with 1 if some could not be, with 2 if it could not run, with 130 after Ctrl-C. Run the same
command again to go on."""


@dataclass(slots=True)
class Tally:
    """How many pictures have been scored."""

    started: float = field(default_factory=time.monotonic)
    shards: int = 0
    pictures: int = 0
    already: int = 0  # of them by the runs that this one goes on with
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, note: Note, *, already: bool) -> None:
        """Count a shard."""
        self.shards += 1
        self.pictures += note.pictures
        self.already += note.pictures if already else 0
        self.errors.update(note.errors)

    def __str__(self) -> str:
        rate = (self.pictures - self.already) / (time.monotonic() - self.started)
        before = f"{self.already:,} of them before, " if self.already else ""
        return (
            f"{self.pictures:,} pictures, {before}{self.errors.total():,} with an error, {rate:,.0f} a second"
        )


def main() -> int:
    """Do what the command line says; return the exit status."""
    options = _parse_arguments()
    try:
        return _run(options)
    except (RunAborted, SettingsError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{options.out} can't be written: {describe_error(error)}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m deploy.ray.score",
        description="Read pictures of digits by the million, and write Parquet files.",
        epilog=EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder of pictures or Parquet files, or one file")
    parser.add_argument(
        "out", metavar="OUT", help="a folder for the results: a new one, or that of a run to go on with"
    )
    parser.add_argument("--model", metavar="NAME", help="the network (default: DIGITS_DEFAULT_MODEL)")
    parser.add_argument(
        "--bytes",
        default="bytes",
        metavar="COLUMN",
        help="of a Parquet file's pictures; image.bytes is a struct's field (default: %(default)s)",
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="with the names of a Parquet file's pictures (default: FILE#ROW)"
    )
    parser.add_argument(
        "--shard",
        type=_parse_count,
        default=10_000,
        metavar="N",
        help="pictures in a file of results; unfinished files are lost when a run ends (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--cores",
        type=_parse_count,
        metavar="N",
        help="to score with (default: all of this machine or the cluster)",
    )
    parser.add_argument("--probabilities", action="store_true", help="add a column of all ten")
    return parser.parse_args()


def _parse_count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= LARGEST_SHARD):
        msg = f"{text!r} is none of 1 to {LARGEST_SHARD}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _run(options: argparse.Namespace) -> int:
    settings = load_settings()
    source = Source.find(options.source, pictures=options.bytes, ids=options.id)
    out = Location.find(options.out)
    if source.file_name is None and source.place.contains(out):
        msg = f"{options.out} is in {options.source}: results would be taken for pictures."
        raise RunAborted(msg)
    _begin(options, settings, source.place.path_of(source.file_name or ""), out)
    job = Job(
        source=source,
        out=out,
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_body_bytes,
        probabilities=options.probabilities,
    )
    tally = _score(job, options)
    _check_leftovers(out, tally)
    counts = [f"{code}: {count:,}" for code, count in tally.errors.most_common()]
    print(tally, *counts, sep="\n", file=sys.stderr)
    return SOME_FAILED if tally.errors else ALL_READ


def _score(job: Job, options: argparse.Namespace) -> Tally:
    """Score all shards, and print now and then how far it is."""
    from deploy.ray.cluster import run  # noqa: PLC0415  importing Ray takes seconds, which a refusal need not

    tally, printed = Tally(), time.monotonic()
    shards = divide(job.source, pictures=options.shard)
    with closing(run(job, shards, cores=options.cores)) as outcomes:
        for note, already in outcomes:
            tally.add(note, already=already)
            if time.monotonic() > printed + INTERVAL:
                printed = time.monotonic()
                print(tally, file=sys.stderr, flush=True)
    return tally


def _begin(options: argparse.Namespace, settings: Settings, source: str, out: Location) -> None:
    """Write down what the results are made with, or compare it with what an earlier run wrote.

    Raises:
        Refused: the place holds other things, or results that were made with something else.
        OSError: it is not writable.
    """
    onnx, classifier = _load_model(options.model or settings.default_model, settings)
    plan = {
        "source": source,  # without the keys that a bucket's URI may hold
        "model": f"{classifier.name} {classifier.version} {classifier.sha256}",
        "max_pixels": settings.max_pixels,
        "max_body_bytes": settings.max_body_bytes,
        **{name: getattr(options, name) for name in ("bytes", "id", "shard", "probabilities")},
    }
    out.files.makedirs(out.path, exist_ok=True)
    before = _read_plan(options.out, out) or plan
    for name, value in plan.items():
        if before.get(name) != value:
            msg = (
                f"{options.out} was started with another {name}: {before.get(name)}, not {value}. "
                "Give the same, or another folder."
            )
            raise RunAborted(msg)
    out.write(MODEL, onnx)
    out.write(RUN, json.dumps(plan, indent=2).encode())


def _load_model(name: str, settings: Settings) -> tuple[bytes, Classifier]:
    try:
        file = locate_folder(settings.models_dir, name) / MODEL_FILE
        onnx = file.read_bytes()
        return onnx, Classifier.load(onnx)
    except OSError as error:
        msg = f"There is no model {name!r}: {file} can't be read ({error.strerror})."
        raise RunAborted(msg) from None
    except UnknownModel as error:
        raise RunAborted(error.detail) from None
    except InvalidModel as error:
        msg = f"{file} can't be used: {error.detail}."
        raise RunAborted(msg) from None


def _read_plan(where: str, out: Location) -> Mapping[str, Any] | None:
    """Return what the results of an earlier run were made with, None where there are none.

    Raises:
        Refused: there is something else.
    """
    names = out.names()
    if RUN not in names:
        if any(not name.startswith("_") for name in names):
            msg = f"{where} holds other things than results. Give a new folder."
            raise RunAborted(msg)
        return None
    with out.open(RUN) as file:
        try:
            plan: Mapping[str, Any] = json.load(file)
        except ValueError:
            msg = f"{where}/{RUN} is damaged. Give a new folder."
            raise RunAborted(msg) from None
    return plan


def _check_leftovers(out: Location, tally: Tally) -> None:
    """See that there are results of these pictures alone.

    Raises:
        Refused: there are more.
    """
    more = sum(name.endswith(PARQUET) for name in out.names()) - tally.shards
    if more:
        msg = (
            f"{more} files of results are of pictures that the source holds no more: it has changed since. "
            "Put it back, or give another folder for the results."
        )
        raise RunAborted(msg)


if __name__ == "__main__":
    sys.exit(main())
