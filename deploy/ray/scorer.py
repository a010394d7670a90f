"""The task: a shard of pictures in, a Parquet file of what is written on them out."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice, repeat
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.digits import images
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES, MIN_DIGIT_LIKELIHOOD
from app.digits.errors import ImageError
from app.digits.look import canonicalise_upload
from app.digits.preprocessing import CanonicalForm
from app.digits.process import set_up_process
from deploy.ray.places import Location, RunAborted, describe_error
from deploy.ray.reading import Content, Failure, Picture, read
from deploy.ray.sources import Shard, Source

MODEL: Final = "_model.onnx"  # in the place of the results: the network that made them, for every task
NOTE: Final = b"digits"  # in the metadata of a shard's file: what is known of it without reading its rows
BATCH: Final = 256  # pictures that the network is asked about at a time
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


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a shard that has been scored."""

    fingerprint: str
    pictures: int
    errors: Mapping[str, int]  # code → how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done, the same for every shard."""

    source: Source
    out: Location
    max_pixels: int  # of a picture, as of the service
    max_bytes: int
    probabilities: bool  # whether there is a column of them


def score(job: Job, shard: Shard) -> tuple[Note, bool]:
    """Score a shard, unless an earlier run has; return what is known of it, and whether one had.

    Raises:
        Refused: the earlier run scored other pictures, or the results can't be written.
    """
    name = f"{shard.number:08}.parquet"
    note = _read_note(job.out, name)
    if note is None:
        return _write_results(job, shard, name), False
    if note.fingerprint != shard.fingerprint:
        msg = (
            f"{name} was made of other pictures: the source has changed since. "
            "Put it back, or give another folder for the results."
        )
        raise RunAborted(msg)
    return note, True


def _read_note(out: Location, name: str) -> Note | None:
    try:
        with out.open(name) as file:
            return Note(**json.loads(pq.read_metadata(file).metadata[NOTE]))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):  # nothing there, or a part of it
        return None


def _write_results(job: Job, shard: Shard, name: str) -> Note:
    with job.out.open(MODEL) as file:
        classifier = _load(file.read())
    columns = COLUMNS.append(PROBABILITIES) if job.probabilities else COLUMNS
    pictures = read(job.source, shard, limit=job.max_bytes)
    batches = iter(lambda: list(islice(pictures, BATCH)), [])
    answers = (list(_answer(batch, classifier, job.max_pixels)) for batch in batches)
    tables = (pa.Table.from_pylist(answer, columns) for answer in answers)
    rows = pa.concat_tables([columns.empty_table(), *tables])
    errors = dict(Counter(code for code in rows["error_code"].to_pylist() if code))
    note = Note(shard.fingerprint, rows.num_rows, errors)
    file = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({NOTE: json.dumps(asdict(note))}), file, compression="zstd")
    try:
        job.out.write(name, file.getvalue().to_pybytes())
    except OSError as error:
        msg = f"{name} can't be written: {describe_error(error)}."
        raise RunAborted(msg) from None
    return note


@lru_cache(maxsize=1)
def _load(onnx: bytes) -> Classifier:
    """Load the network, once in a process, of which there is one for every core."""
    set_up_process()
    pa.set_cpu_count(1)
    warnings.filterwarnings("ignore", module="PIL")  # of what it can't read: the row has the error
    return Classifier.load(onnx)


def _answer(batch: Sequence[Picture], classifier: Classifier, max_pixels: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each picture."""
    found = [_prepare(content, max_pixels) for _, content in batch]
    answers = _classify([each for each in found if isinstance(each, CanonicalForm)], classifier)
    for (name, _), each in zip(batch, found, strict=True):
        if isinstance(each, Failure):
            yield {"path": name, "error_code": each.code, "error": each.detail}
        else:
            yield {"path": name, **next(answers)}


def _prepare(content: Content, max_pixels: int) -> CanonicalForm | Failure:
    if isinstance(content, Failure):
        return content
    try:
        return canonicalise_upload(images.identify(content, max_pixels=max_pixels)).canonical
    except ImageError as error:
        return Failure(error.code, error.detail)
    except Exception as error:  # noqa: BLE001  a defect of ours must not stop a billion pictures at one
        return Failure("internal_error", f"{type(error).__name__}: {describe_error(error)}")


def _classify(found: Sequence[CanonicalForm], classifier: Classifier) -> Iterator[dict[str, Any]]:
    if not found:
        return
    scores = classifier.classify(np.array([each.picture for each in found]))
    likelihoods = repeat(None) if scores.digit_likelihood is None else scores.digit_likelihood.tolist()
    ten = scores.probabilities.tolist()
    for each, probabilities, likelihood in zip(found, ten, likelihoods, strict=False):
        confidence = max(probabilities)
        yield {
            "digit": probabilities.index(confidence),
            "confidence": confidence,
            "is_digit": likelihood is None or likelihood >= MIN_DIGIT_LIKELIHOOD,
            "digit_likelihood": likelihood,
            "warnings": each.cautions,
            "probabilities": probabilities,
        }
