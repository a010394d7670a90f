"""Two exported networks that read the same pictures, as the service sees them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from app.digits.catalogue import MODEL_FILE, folder_of
from app.digits.classifier import Classifier, Scores
from app.digits.contract import SIDE, CanonicalPicture, DigitBatch, Metadata
from app.digits.errors import ImageError
from training.data.labelled import Labelled
from training.data.real_sets import RealSet, RealSets
from training.data.uploads import encode_png, read_canonical
from training.errors import WorkshopError
from training.judge import reliability
from training.judge.evaluation import TIMED, load_classifier, score
from training.judge.mcnemar import PairedCounts
from training.judge.rejection import auroc, rejected_share
from training.judge.service_reader import classify

PERCENT: Final = ".2%"
DECIMALS: Final = ".4f"
WHOLE: Final = ",.0f"


@dataclass(frozen=True)
class Sample:
    """The pictures that two networks are compared on: digits, and negative examples."""

    name: str
    pictures: DigitBatch  # (n, 28, 28)
    digits: NDArray[np.uint8]  # (n,)
    sets: NDArray[np.str_]  # (n,) where each comes from
    others: DigitBatch  # (m, 28, 28)
    unreadable: int  # uploads that the service refuses, whatever the network


@dataclass(frozen=True)
class Side:
    """One of the two networks, and what it says."""

    name: str
    classifier: Classifier
    size: int  # bytes of its file
    scores: Scores  # of the digits
    others: Scores  # of the negative examples
    microseconds: float  # for one picture, the network alone

    @property
    def found(self) -> NDArray[np.intp]:
        """The digits that it reads, (n,)."""
        found: NDArray[np.intp] = self.scores.probabilities.argmax(axis=1)
        return found


# Its name; how it is measured, None where it can't be; its format.
Quantity: TypeAlias = tuple[str, Callable[[Side], float | None], str]


@dataclass(frozen=True)
class Comparison:
    """Two networks, and the pictures that they were compared on."""

    sample: Sample
    first: Side
    second: Side

    def paired(self, rows: NDArray[np.bool_] | slice = slice(None)) -> PairedCounts:
        """Count which of them is right, on all pictures or on some."""
        first, second = (side.found == self.sample.digits for side in (self.first, self.second))
        return PairedCounts.count(first[rows], second[rows])


def sample_mnist(name: str, labelled: Labelled) -> Sample:
    """Return a part of MNIST, as the service sees it."""
    uploads = tuple(encode_png(picture) for picture in track(labelled.pictures, "Writing", transient=True))
    labels = tuple(map(str, labelled.digits.tolist()))
    return sample_uploads(name, RealSets(digits=(RealSet(name, uploads, labels),)))


def sample_uploads(name: str, sets: RealSets) -> Sample:
    """Return sets of uploads, as the service sees them.

    Raises:
        WorkshopError: there is no digit that can be read.
    """
    digits, others = list(_readable(sets.digits)), list(_readable(sets.others))
    if not digits:
        why = "".join(f" {one}: {reason}" for one, reason in sets.skipped.items())
        msg = f"{name} holds no picture of a digit that can be read.{why}"
        raise WorkshopError(msg)
    return Sample(
        name=name,
        pictures=_stacked([picture for _, _, picture in digits]),
        digits=np.array([int(label) for _, label, _ in digits], np.uint8),
        sets=np.array([source for source, _, _ in digits]),
        others=_stacked([picture for _, _, picture in others]),
        unreadable=sum(map(len, (*sets.digits, *sets.others))) - len(digits) - len(others),
    )


def compare(models: Path, first: str, second: str, sample: Sample) -> Comparison:
    """Have two networks, NAME or NAME@N in `models`, read the same pictures.

    Raises:
        WorkshopError: there is no such network.
    """
    folders = [folder_of(models, name) for name in (first, second)]
    classifiers = [load_classifier(folder) for folder in folders]
    speeds = _microseconds(classifiers, sample.pictures)
    sides = (
        Side(
            name=name,
            classifier=classifier,
            size=(folder / MODEL_FILE).stat().st_size,
            scores=classify(classifier, sample.pictures),
            others=classify(classifier, sample.others),
            microseconds=speed,
        )
        for name, folder, classifier, speed in zip((first, second), folders, classifiers, speeds, strict=True)
    )
    return Comparison(sample, *sides)


def report(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield tables and lines: what changed, who is right where, and whether it is more than chance."""
    sample, first, second = comparison.sample, comparison.first.name, comparison.second.name
    yield _changes(comparison)
    columns = ("pictures", "both right", f"{first} alone", f"{second} alone", "both wrong")
    yield _counts(comparison, "digit", columns, sample.digits)
    if len(np.unique(sample.sets)) > 1:
        yield _counts(comparison, "set", columns, sample.sets)
    if sample.unreadable:
        yield f"{sample.unreadable} uploads are refused by the service, whatever the network, and left out."
    yield comparison.paired().summarise(first, second)


def _quantities(digits: NDArray[np.uint8]) -> tuple[Quantity, ...]:
    return (
        ("accuracy", lambda side: float((side.found == digits).mean()), PERCENT),
        ("loss", lambda side: score(side.scores.probabilities, digits).loss, DECIMALS),
        ("calibration error", lambda side: _calibration_error(side, digits), PERCENT),
        ("digits called none", lambda side: _rejected(side.scores), PERCENT),
        ("others called none", lambda side: _rejected(side.others), PERCENT),
        ("AUROC of that", _auroc, DECIMALS),
        ("parameters", lambda side: float(side.classifier.metadata.get(Metadata.PARAMETERS, 0)), WHOLE),
        ("multiply-adds", lambda side: float(side.classifier.metadata.get(Metadata.MULTIPLY_ADDS, 0)), WHOLE),
        ("bytes", lambda side: side.size, WHOLE),
        ("microseconds", lambda side: side.microseconds, ",.1f"),
    )


def _readable(sets: Sequence[RealSet]) -> Iterator[tuple[str, str, CanonicalPicture]]:
    """Yield set, label and canonical picture of each upload that the service would read."""
    uploads = [(one.name, *each) for one in sets for each in zip(one.labels, one.uploads, strict=True)]
    for source, label, upload in track(uploads, "Preprocessing", transient=True):
        try:
            yield source, label, read_canonical(upload).picture
        except ImageError:
            continue


def _stacked(pictures: Sequence[CanonicalPicture]) -> DigitBatch:
    return np.array(pictures, np.uint8).reshape(-1, SIDE, SIDE)


def _microseconds(classifiers: Sequence[Classifier], pictures: DigitBatch) -> list[float]:
    """Time single pictures in turns, so that what else the machine does slows down both; return medians."""
    spent: list[list[float]] = [[] for _ in classifiers]
    for row in range(TIMED):
        picture = pictures[row % len(pictures)][None]
        for classifier, times in zip(classifiers, spent, strict=True):
            started = time.perf_counter()
            classifier.classify(picture)
            times.append(time.perf_counter() - started)
    return [statistics.median(times) * 1e6 for times in spent]


def _calibration_error(side: Side, digits: NDArray[np.uint8]) -> float:
    error: float = reliability.report(side.scores.probabilities, side.found == digits)["expected_error"]
    return error


def _rejected(scores: Scores) -> float | None:
    return None if scores.digit_likelihood is None else rejected_share(scores.digit_likelihood)


def _auroc(side: Side) -> float | None:
    digits, others = side.scores.digit_likelihood, side.others.digit_likelihood
    return None if digits is None or others is None else auroc(digits, others)


def _changes(comparison: Comparison) -> Table:
    both = (comparison.first, comparison.second)
    title = f"on {len(comparison.sample.digits):,} pictures of {escape(comparison.sample.name)}"
    table = Table("", *(side.name for side in both), "change", title=title)
    table.add_row("recipe", *(side.classifier.version for side in both))
    for label, measured, form in _quantities(comparison.sample.digits):
        first, second = (measured(side) for side in both)
        change = None if first is None or second is None else second - first
        if first is not None or second is not None:
            table.add_row(label, _written(first, form), _written(second, form), _written(change, f"+{form}"))
    return table


def _written(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _counts(
    comparison: Comparison, what: str, columns: Sequence[str], groups: NDArray[np.uint8] | NDArray[np.str_]
) -> Table:
    table = Table(Column(what, no_wrap=True), *columns)
    for group in np.unique(groups):
        table.add_row(str(group), *_cells(comparison.paired(groups == group)))
    table.add_section()
    table.add_row("all", *_cells(comparison.paired()))
    return table


def _cells(counts: PairedCounts) -> tuple[str, ...]:
    cells = (counts.pictures, counts.both, counts.first, counts.second, counts.neither)
    return tuple(f"{count:,}" if count else "·" for count in cells)
