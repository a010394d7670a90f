"""Compares two exported networks on the same pictures, preprocessed as in the service."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from app.digits.catalogue import MODEL_FILE, locate_folder
from app.digits.classifier import Classifier, Scores
from app.digits.contract import SIDE, CanonicalPicture, DigitBatch
from app.digits.errors import ImageError
from app.digits.finder import Finder
from training.data.labelled import Labelled
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import encode_png, read_canonical
from training.errors import TrainingError
from training.judge.evaluation import TIMED_PICTURES, load_classifier
from training.judge.mcnemar import PairedCounts
from training.judge.service_reader import classify


@dataclass(frozen=True)
class Sample:
    """The pictures that two networks are compared on: digits and negative examples."""

    name: str
    pictures: DigitBatch  # (n, 28, 28)
    digits: NDArray[np.uint8]  # (n,)
    sets: NDArray[np.str_]  # (n,) the name of the set that each picture comes from
    negatives: DigitBatch  # (m, 28, 28)
    unreadable: int  # uploads that the service refuses whatever the network


@dataclass(frozen=True)
class Side:
    """One of the two networks, and its answers."""

    name: str
    classifier: Classifier
    size: int  # bytes of its file
    scores: Scores  # of the digits
    negatives: Scores  # of the negative examples
    microseconds: float  # for one picture, without preprocessing

    @property
    def digits(self) -> NDArray[np.intp]:
        """The digits that it reads, (n,)."""
        digits: NDArray[np.intp] = self.scores.probabilities.argmax(axis=1)
        return digits


@dataclass(frozen=True)
class Comparison:
    """Two networks, and the pictures that they were compared on."""

    sample: Sample
    first: Side
    second: Side

    def count(self, rows: NDArray[np.bool_] | slice = slice(None)) -> PairedCounts:
        """Count which networks read the pictures correctly, or those in some rows."""
        first, second = (side.digits == self.sample.digits for side in (self.first, self.second))
        return PairedCounts.count(first[rows], second[rows])


def sample_mnist(name: str, labelled: Labelled) -> Sample:
    """Return a part of MNIST, preprocessed as in the service."""
    uploads = tuple(encode_png(picture) for picture in track(labelled.pictures, "Writing", transient=True))
    labels = tuple(map(str, labelled.digits.tolist()))
    return sample_uploads(name, UploadSets(digits=(UploadSet(name, uploads, labels),)))


def sample_uploads(name: str, sets: UploadSets, finder: Finder | None = None) -> Sample:
    """Return sets of uploads, preprocessed as in the service with this finder.

    Raises:
        TrainingError: no upload of a digit can be read.
    """
    digits, others = (list(_read_sets(part, finder)) for part in (sets.digits, sets.negatives))
    if not digits:
        why = "".join(f" {one}: {reason}" for one, reason in sets.skipped.items())
        msg = f"{name} holds no readable picture of a digit.{why}"
        raise TrainingError(msg)
    return Sample(
        name=name,
        pictures=_stack([picture for _, _, picture in digits]),
        digits=np.array([int(label) for _, label, _ in digits], np.uint8),
        sets=np.array([source for source, _, _ in digits]),
        negatives=_stack([picture for _, _, picture in others]),
        unreadable=sum(map(len, (*sets.digits, *sets.negatives))) - len(digits) - len(others),
    )


def compare(models: Path, first: str, second: str, sample: Sample) -> Comparison:
    """Read the same pictures with two networks, given as NAME or NAME@N in `models`."""
    folders = [locate_folder(models, name) for name in (first, second)]
    classifiers = [load_classifier(folder) for folder in folders]
    speeds = _time_single_pictures(classifiers, sample.pictures)
    sides = (
        Side(
            name=name,
            classifier=classifier,
            size=(folder / MODEL_FILE).stat().st_size,
            scores=classify(classifier, sample.pictures),
            negatives=classify(classifier, sample.negatives),
            microseconds=speed,
        )
        for name, folder, classifier, speed in zip((first, second), folders, classifiers, speeds, strict=True)
    )
    return Comparison(sample, *sides)


def _read_sets(
    sets: Sequence[UploadSet], finder: Finder | None
) -> Iterator[tuple[str, str, CanonicalPicture]]:
    """Yield the set's name, the label and the canonical picture of each upload that the service accepts."""
    uploads = [
        (upload_set.name, *pair)
        for upload_set in sets
        for pair in zip(upload_set.labels, upload_set.uploads, strict=True)
    ]
    for source, label, upload in track(uploads, "Preprocessing", transient=True):
        try:
            yield source, label, read_canonical(upload, finder=finder).picture
        except ImageError:
            continue


def _stack(pictures: Sequence[CanonicalPicture]) -> DigitBatch:
    return np.array(pictures, np.uint8).reshape(-1, SIDE, SIDE)


def _time_single_pictures(classifiers: Sequence[Classifier], pictures: DigitBatch) -> list[float]:
    """Return median times in microseconds; networks take turns, so that a busy machine slows down both."""
    durations: list[list[float]] = [[] for _ in classifiers]
    for row in range(TIMED_PICTURES):
        picture = pictures[row % len(pictures)][None]
        for classifier, times in zip(classifiers, durations, strict=True):
            started = time.perf_counter()
            classifier.classify(picture)
            times.append(time.perf_counter() - started)
    return [statistics.median(times) * 1e6 for times in durations]
