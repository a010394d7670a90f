"""The task: scores a shard of pictures and writes the result file, in Parquet."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice, repeat
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES, MIN_DIGIT_LIKELIHOOD
from app.digits.errors import ImageError
from app.digits.finder import Finder
from app.digits.preprocessing import CanonicalForm
from app.digits.process import set_up_process
from deploy.ray.folders import describe_error, write_file
from deploy.ray.sources import PARQUET_ERRORS, Content, Failure, Shard, Source

BATCH: Final = 256  # canonical pictures that the network classifies at a time
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
ErrorCounts: TypeAlias = Counter[str | None]  # pictures by error code; None for those that were read


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The source, the networks and the options, which all tasks share."""

    source: Source
    out: DirFileSystem
    onnx: bytes  # of the classifier
    finder_onnx: bytes | None
    max_pixels: int  # of a picture
    probabilities: bool  # whether the results have a column of probabilities


def score(job: Job, name: str, shard: Shard) -> tuple[ErrorCounts, bool]:
    """Write the result file of a shard, unless it exists; return its errors, and whether it existed."""
    error_counts = _read_error_counts(job.out, name)
    if error_counts is not None:
        return error_counts, True
    schema = COLUMNS.append(PROBABILITIES) if job.probabilities else COLUMNS
    batches = (pa.Table.from_pylist(rows, schema) for rows in _score_batches(job, shard))
    table = pa.concat_tables([schema.empty_table(), *batches])
    file = pa.BufferOutputStream()
    pq.write_table(table, file, compression="zstd")
    write_file(job.out, name, file.getvalue().to_pybytes())
    return Counter(table["error_code"].to_pylist()), False


def _read_error_counts(out: DirFileSystem, name: str) -> ErrorCounts | None:
    try:
        with out.open(name) as file:
            return Counter(pq.read_table(file, columns=["error_code"])["error_code"].to_pylist())
    except PARQUET_ERRORS:  # the file doesn't exist, or was cut off by a power failure
        return None


def _score_batches(job: Job, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """Yield rows of results in batches."""
    classifier, finder = _load_networks(job.onnx, job.finder_onnx)
    pictures = job.source.read(shard)
    canonicalise = partial(_canonicalise, max_pixels=job.max_pixels, classifier=classifier, finder=finder)
    forms = ((_escape(name), canonicalise(content)) for name, content in pictures)
    while batch := list(islice(forms, BATCH)):
        predictions = _classify([form for _, form in batch if isinstance(form, CanonicalForm)], classifier)
        yield [
            {"path": path, "error_code": form.code, "error": form.detail}
            if isinstance(form, Failure)
            else {"path": path, **next(predictions)}
            for path, form in batch
        ]


@lru_cache(maxsize=1)
def _load_networks(onnx: bytes, finder_onnx: bytes | None) -> tuple[Classifier, Finder | None]:
    """Load the networks, once in each process."""
    set_up_process()
    pa.set_cpu_count(1)
    warnings.filterwarnings("ignore", module="PIL")  # about unreadable pictures: their rows have the error
    return Classifier.load(onnx), None if finder_onnx is None else Finder.load(finder_onnx)


def _escape(name: str) -> str:
    r"""Return a file's name as valid UTF-8; bytes that are not become escapes such as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _canonicalise(
    content: Content, *, max_pixels: int, classifier: Classifier, finder: Finder | None
) -> CanonicalForm | Failure:
    if isinstance(content, Failure):
        return content
    try:
        upload = images.identify(content, max_pixels=max_pixels)
        return canonicalise_upload(upload, classifier=classifier, finder=finder).canonical
    except ImageError as error:
        return Failure(error.code, error.detail)
    except Exception as error:  # noqa: BLE001  a bug must not stop the run at one of a billion pictures
        return Failure("internal_error", f"{type(error).__name__}: {describe_error(error)}")


def _classify(forms: Sequence[CanonicalForm], classifier: Classifier) -> Iterator[dict[str, Any]]:
    if not forms:
        return
    scores = classifier.classify(np.array([form.picture for form in forms]))
    likelihoods = repeat(None) if scores.digit_likelihood is None else scores.digit_likelihood.tolist()
    for form, row, likelihood in zip(forms, scores.probabilities.tolist(), likelihoods, strict=False):
        confidence = max(row)
        yield {
            "digit": row.index(confidence),
            "confidence": confidence,
            "is_digit": likelihood is None or likelihood >= MIN_DIGIT_LIKELIHOOD,
            "digit_likelihood": likelihood,
            "warnings": form.cautions,
            "probabilities": row,
        }
