"""The actor: a shard of pictures in, a Parquet file of what is written on them out. One for each core."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.digits import images
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES, IS_DIGIT
from app.digits.errors import ImageError
from app.digits.look import look
from app.digits.preprocessing import Canonical
from deploy.ray.chunks import Given, Problem, chunks
from deploy.ray.places import Place, reason
from deploy.ray.sources import Shard, Source

MODEL: Final = "_model.onnx"  # in the place of the results: the network that made them, for every actor
NOTE: Final = b"digits"  # in the metadata of a shard's file: what is known of it without reading its rows
COLUMNS: Final = pa.schema(
    {
        "path": pa.string(),
        "digit": pa.int8(),
        "confidence": pa.float32(),
        "is_digit": pa.bool_(),
        "digit_likelihood": pa.float32(),
        "warnings": pa.list_(pa.string()),
        "error_code": pa.string(),
        "error": pa.string(),
    }
)
PROBABILITIES: Final = pa.field("probabilities", pa.list_(pa.float32(), CLASSES))
SHARDS: Final = pa.schema(
    {
        "number": pa.int64(),
        "fingerprint": pa.string(),
        "names": pa.list_(pa.binary()),
        "sizes": pa.list_(pa.int64()),
        "groups": pa.list_(pa.int32()),
        "first": pa.int64(),
        "rows": pa.int64(),
    }
)
OUTCOMES: Final = pa.schema(
    {"number": pa.int64(), "note": pa.string(), "already": pa.bool_(), "stopped": pa.string()}
)


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a shard that has been scored."""

    fingerprint: str
    pictures: int
    errors: Mapping[str, int]  # code → how many


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a shard."""

    number: int
    note: str = "null"  # JSON of a `Note`
    already: bool = False  # scored by a run that this one goes on with
    stopped: str | None = None  # why the whole run can't go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done, the same for every core."""

    source: Source
    out: Place
    max_pixels: int  # of a picture, as of the service
    max_bytes: int
    probabilities: bool  # whether there is a column of them


class Scorer:
    """A classifier of its own, and where pictures come from and results go to."""

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)  # there is an actor for every core
        pa.set_cpu_count(1)
        warnings.filterwarnings("ignore", module="PIL")  # of what it can't read: the row has the error
        self._job = job
        self._columns = COLUMNS.append(PROBABILITIES) if job.probabilities else COLUMNS
        with job.out.open(MODEL.encode()) as file:
            self._classifier = Classifier.load(file.read())

    def __call__(self, table: pa.Table) -> pa.Table:
        """Score shards, unless that has been done; return what has become of each."""
        outcomes = [self._outcome(Shard(**row)) for row in table.to_pylist()]
        return pa.Table.from_pylist([asdict(outcome) for outcome in outcomes], OUTCOMES)

    def _outcome(self, shard: Shard) -> Outcome:
        before = noted(self._job.out, shard.number)
        if before and before.fingerprint != shard.fingerprint:
            told = f"{name(shard.number)} was made of other pictures: the source has changed since"
            return Outcome(
                shard.number, stopped=f"{told}. Put it back, or give another folder for the results."
            )
        if before:
            return Outcome(shard.number, json.dumps(asdict(before)), already=True)
        batches = [
            self._scored(names, data)
            for names, data in chunks(self._job.source, shard, limit=self._job.max_bytes)
        ]
        rows = pa.Table.from_batches(batches, self._columns)
        errors = dict(Counter(code for code in rows["error_code"].to_pylist() if code))
        note = json.dumps(asdict(Note(shard.fingerprint, rows.num_rows, errors)))
        file = pa.BufferOutputStream()
        pq.write_table(rows.replace_schema_metadata({NOTE: note}), file, compression="zstd")
        try:
            self._job.out.write(name(shard.number), file.getvalue())
        except OSError as error:
            return Outcome(shard.number, stopped=f"{name(shard.number)} can't be written: {reason(error)}.")
        return Outcome(shard.number, note)

    def _scored(self, names: Sequence[str], given: Sequence[Given]) -> pa.RecordBatch:
        looks = [self._looked(data) for data in given]
        seen = [found for found in looks if isinstance(found, Canonical)]
        problems = [found if isinstance(found, Problem) else Problem("", "") for found in looks]
        failed = np.array([isinstance(found, Problem) for found in looks])
        probabilities = np.zeros((len(looks), CLASSES), np.float32)
        likelihood, told = np.ones(len(looks), np.float32), False
        if seen:
            scores = self._classifier.classify(np.array([found.picture for found in seen]))
            probabilities[~failed] = scores.probabilities
            if scores.digit_likelihood is not None:
                likelihood[~failed], told = scores.digit_likelihood, True
        columns = {
            "path": pa.array(names, pa.string()),
            "digit": pa.array(probabilities.argmax(axis=1).astype(np.int8), mask=failed),
            "confidence": pa.array(probabilities.max(axis=1), mask=failed),
            "is_digit": pa.array(likelihood >= IS_DIGIT, mask=failed),
            "digit_likelihood": pa.array(likelihood, mask=failed | (not told)),
            "warnings": pa.array(
                [found.cautions if isinstance(found, Canonical) else None for found in looks],
                pa.list_(pa.string()),
            ),
            "error_code": pa.array([problem.code or None for problem in problems], pa.string()),
            "error": pa.array([problem.detail or None for problem in problems], pa.string()),
            "probabilities": pa.FixedSizeListArray.from_arrays(
                probabilities.ravel(), CLASSES, mask=pa.array(failed)
            ),
        }
        return pa.record_batch([columns[column] for column in self._columns.names], schema=self._columns)

    def _looked(self, data: Given) -> Canonical | Problem:
        if isinstance(data, Problem):
            return data
        try:
            return look(images.identify(data, max_pixels=self._job.max_pixels)).canonical
        except ImageError as error:
            return Problem(error.code, error.detail)
        except Exception as error:  # noqa: BLE001  a defect of ours must not stop a billion pictures at one
            return Problem("internal_error", f"{type(error).__name__}: {reason(error)}")


def name(number: int) -> str:
    """Return what a shard's file is called."""
    return f"{number:08}.parquet"


def noted(out: Place, number: int) -> Note | None:
    """Return what is known of a shard that has been scored, None if it has not."""
    try:
        metadata = pq.read_metadata(out.at(name(number)), filesystem=out.filesystem).metadata
        return Note(**json.loads(metadata[NOTE]))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):  # nothing there, or a part of it
        return None
