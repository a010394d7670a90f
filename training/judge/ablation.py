"""Measures what each step, each network and each size that the finder sees contributes, by leaving it out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from app.digits import ctc, images, lines
from app.digits.canonical_upload import CanonicalUpload, canonicalise_upload
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES, SIDE, CanonicalPicture, GreyPicture, Likelihoods
from app.digits.errors import ImageError
from app.digits.finder import LEVELS, MIN_LIKELIHOOD, Finder
from app.digits.line_reader import LineReader
from app.digits.numbers import NumberReader
from app.digits.preprocessing import STEPS, centre, extract_ink, scale_to_size
from training.data.labelled import Labelled
from training.data.real_sets import UploadSet, UploadSets, load_cases
from training.data.uploads import encode_png
from training.judge.mcnemar import CONFIDENCE_LEVEL, PairedCounts
from training.judge.service_reader import classify
from training.scenes import pages, symbols
from training.scenes.corruptions import CORRUPTIONS
from training.scenes.numbers import draw_scenes

ReadDigit: TypeAlias = Callable[..., CanonicalUpload]  # takes an upload and `time_stage`
ReadText: TypeAlias = Callable[[GreyPicture], str]

SEED: Final = 1  # of the samples, corruptions and scenes
# of the digits; the threshold that accepts this share rejects the negatives below it
ACCEPTED_SHARE: Final = 0.99
# without them there is no canonical picture
ESSENTIAL_STEPS: Final = frozenset({extract_ink, scale_to_size, centre})
MAX_LISTED_SETS: Final = 4  # per row of the table; those that lose the most come first
COLUMNS: Final = (
    "without",
    "accuracy",
    "negatives rejected",
    "ms per picture",
    "sets that change significantly: lost, gained",
)
SCENES: Final = {
    "photograph scenes": pages.draw_photograph,
    "scan scenes": pages.draw_scan,
    "drawing scenes": pages.draw_drawing,
    "boxed scenes": pages.draw_boxed,
}


@dataclass(frozen=True)
class VariantResult:
    """How one variant of a pipeline reads all sets."""

    right: Mapping[str, NDArray[np.bool_]]  # by the name of each set
    milliseconds: float  # processor time per picture, without decoding
    # share of the negatives below the threshold that accepts ACCEPTED_SHARE of the digits
    rejected: float | None = None

    @property
    def accuracy(self) -> float:
        """The share of right answers over all pictures."""
        return float(np.concatenate(list(self.right.values())).mean())


@dataclass(frozen=True)
class Ablation:
    """The results of the complete pipeline, and of those that lack one of its parts."""

    complete: VariantResult
    without: Mapping[str, VariantResult]

    def build_rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a row for the complete pipeline and one for each part, in the order of `COLUMNS`."""
        yield self._format_row("nothing", self.complete, "")
        for part, result in self.without.items():
            changes = sorted(self.list_changes(part), key=lambda change: change[1].gain)
            cells = [f"{name} -{counts.first} +{counts.second}" for name, counts in changes[:MAX_LISTED_SETS]]
            if len(changes) > MAX_LISTED_SETS:
                cells.append(f"and {len(changes) - MAX_LISTED_SETS} more")
            yield self._format_row(part, result, ", ".join(cells))

    @staticmethod
    def _format_row(part: str, result: VariantResult, changes: str) -> tuple[str, ...]:
        rejected = "" if result.rejected is None else f"{result.rejected:.1%}"
        return part, f"{result.accuracy:.2%}", rejected, f"{result.milliseconds:.2f}", changes

    def list_changes(self, part: str) -> Iterator[tuple[str, PairedCounts]]:
        """Yield the sets that are read significantly better or worse without a part (McNemar's test)."""
        for name, right in self.without[part].right.items():
            counts = PairedCounts.count(self.complete.right[name], right)
            if counts.p_value < 1 - CONFIDENCE_LEVEL:
                yield name, counts


class _Stopwatch:
    """Sums up the processor time of all stages but decoding."""

    seconds = 0.0

    @contextmanager
    def time_stage(self, stage: str = "preprocess") -> Iterator[None]:
        started = time.thread_time()
        try:
            yield
        finally:
            if stage != "decode":
                self.seconds += time.thread_time() - started


def ablate_digits(classifier: Classifier, finder: Finder | None, sets: UploadSets) -> Ablation:
    """Read the sets without the finder, without second looks, and without each optional step in turn."""
    complete = partial(canonicalise_upload, classifier=classifier, finder=finder)
    variants = {
        "the finder": partial(complete, finder=None),
        "second looks": partial(complete, classifier=None),
    }
    for step in STEPS:
        if step not in ESSENTIAL_STEPS:
            steps = tuple(other for other in STEPS if other is not step)
            variants[step.__name__] = partial(complete, steps=steps)
    read_sets = partial(_read_digits, classifier, sets)
    return Ablation(
        read_sets(complete),
        {name: read_sets(read) for name, read in track(variants.items(), console=Console(stderr=True))},
    )


def ablate_numbers(reader: NumberReader, sets: Sequence[UploadSet]) -> Ablation:
    """Read numbers by one network alone, and without second opinions or one of the sizes."""
    read_sets = partial(_read_numbers, sets)
    variants: dict[str, ReadText] = {
        "the line reader": partial(read_by_finder, reader.finder),
        "the finder": partial(read_as_line, reader.line_reader),
        "second opinions": partial(_read_text, dataclasses.replace(reader, classifier=None), LEVELS),
    }
    for side in LEVELS:
        variants[f"{side} pixels"] = partial(_read_text, reader, [other for other in LEVELS if other != side])
    return Ablation(
        read_sets(partial(_read_text, reader, LEVELS)),
        {name: read_sets(read) for name, read in track(variants.items(), console=Console(stderr=True))},
    )


def _read_text(reader: NumberReader, levels: Sequence[int], grey: GreyPicture) -> str:
    return reader.read(grey, levels=levels).text


def read_by_finder(finder: Finder, grey: GreyPicture) -> str:
    """Return the digits that the finder sees, in lines."""
    found = finder.find(grey)
    clear = found[found.certainties > MIN_LIKELIHOOD]
    return "\n".join("".join(map(str, line.digits.labels.tolist())) for line in lines.group(clear))


def read_as_line(line_reader: LineReader, grey: GreyPicture) -> str:
    """Return the digits that the line reader sees if the whole picture is one line."""
    texts = ctc.find_texts(line_reader.read(lines.resize_to_strip(grey).pixels))
    return "".join(str(label) for label in next(iter(texts)) if label < CLASSES)


def _read_digits(classifier: Classifier, sets: UploadSets, read: ReadDigit) -> VariantResult:
    stopwatch = _Stopwatch()
    right, likelihoods = {}, []
    for upload_set in sets.digits:
        pictures, readable = _canonicalise(upload_set, read, stopwatch)
        scores = classify(classifier, pictures)
        right[upload_set.name] = readable & (scores.probabilities.argmax(axis=1) == upload_set.digits)
        likelihoods.append(_zero_unreadable(scores.digit_likelihood, readable))
    threshold = np.quantile(np.concatenate(likelihoods), 1 - ACCEPTED_SHARE)
    negatives = []
    for upload_set in sets.negatives:
        pictures, readable = _canonicalise(upload_set, read, stopwatch)
        negatives.append(_zero_unreadable(classify(classifier, pictures).digit_likelihood, readable))
    count = sum(map(len, (*sets.digits, *sets.negatives)))
    rejected = float((np.concatenate(negatives) < threshold).mean()) if negatives else None
    return VariantResult(right, stopwatch.seconds / count * 1e3, rejected)


def _canonicalise(
    upload_set: UploadSet, read: ReadDigit, stopwatch: _Stopwatch
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return canonical pictures (n, 28, 28), black for unreadable uploads, and which are readable (n,)."""
    pictures: list[CanonicalPicture | None] = []
    for upload in upload_set.uploads:
        try:
            result = read(images.identify(upload), time_stage=stopwatch.time_stage)
            pictures.append(result.canonical.picture)
        except ImageError:
            pictures.append(None)
    empty = np.zeros((SIDE, SIDE), np.uint8)
    readable = np.array([picture is not None for picture in pictures])
    return np.stack([empty if picture is None else picture for picture in pictures]), readable


def _zero_unreadable(likelihoods: Likelihoods | None, readable: NDArray[np.bool_]) -> Likelihoods:
    return np.where(readable, 1.0 if likelihoods is None else likelihoods, 0.0).astype(np.float32)


def _read_numbers(sets: Sequence[UploadSet], read: ReadText) -> VariantResult:
    stopwatch = _Stopwatch()
    right = {}
    for upload_set in sets:
        pictures = [images.decode(images.identify(upload)).grey for upload in upload_set.uploads]
        with stopwatch.time_stage():
            texts = [read(picture) for picture in pictures]
        right[upload_set.name] = np.array(list(map(str.__eq__, texts, upload_set.labels)))
    return VariantResult(right, stopwatch.seconds / sum(map(len, sets)) * 1e3)


def sample_digits(
    validation: Labelled, real_sets: UploadSets, *, cases_folder: Path | None, max_per_set: int
) -> UploadSets:
    """Return samples of all sets of digits and negatives: real uploads, corrupted pictures and scenes.

    Args:
        validation: MNIST's validation pictures, which are corrupted and placed in scenes.
        real_sets: sets of real uploads.
        cases_folder: folder of cases, which are pictures with the answer expected of a route, and of their
            labels.csv with the columns file, route and expected.
        max_per_set: the most pictures to take from a set.
    """
    rng = np.random.default_rng(SEED)
    chosen = validation[rng.permutation(len(validation))[:max_per_set]]
    labels = tuple(map(str, chosen.digits.tolist()))
    digits = [_sample(upload_set, max_per_set) for upload_set in real_sets.digits]
    digits.append(UploadSet("MNIST validation", tuple(map(encode_png, chosen.pictures)), labels))
    for name, corrupt in CORRUPTIONS.items():
        pictures = corrupt(chosen.pictures, np.random.default_rng(SEED))
        digits.append(UploadSet(name, tuple(map(encode_png, pictures)), labels))
    for name, draw in SCENES.items():
        glyphs = (symbols.distort(symbols.enlarge_mnist(picture), rng=rng) for picture in chosen.pictures)
        scenes = tuple(encode_png(draw(glyph, rng=rng)) for glyph in glyphs)
        digits.append(UploadSet(name, scenes, labels))
    worn_uploads = tuple(encode_png(pages.draw_worn(picture, rng=rng)) for picture in chosen.pictures)
    framed_uploads = tuple(encode_png(_frame(picture, rng=rng)) for picture in chosen.pictures)
    digits += [UploadSet("worn scenes", worn_uploads, labels), UploadSet("framed", framed_uploads, labels)]
    digits += load_cases(cases_folder).digits
    return UploadSets(
        digits=tuple(digits),
        negatives=tuple(_sample(upload_set, max_per_set) for upload_set in real_sets.negatives),
    )


def sample_numbers(
    validation: Labelled,
    real_sets: UploadSets,
    *,
    cases_folder: Path | None,
    max_per_set: int,
) -> tuple[UploadSet, ...]:
    """Return samples of all sets of numbers, real and drawn.

    Args:
        validation: MNIST's validation pictures, from which numbers are composed.
        real_sets: sets of real uploads.
        cases_folder: see `sample_digits`.
        max_per_set: the most pictures to take from a set.
    """
    drawn: dict[str, list[tuple[bytes, str]]] = {}
    for scene in draw_scenes(validation, count=2 * max_per_set, seed=SEED):
        name = "touching digits" if scene.style.touching else "separate digits"
        drawn.setdefault(name, []).append((encode_png(scene.picture), scene.text))
    sets = [_sample(UploadSet(name, *zip(*pairs, strict=True)), max_per_set) for name, pairs in drawn.items()]
    sets += [_sample(upload_set, max_per_set) for upload_set in real_sets.numbers]
    return (*sets, *load_cases(cases_folder).numbers)


def _frame(picture: CanonicalPicture, *, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a digit inside a frame, with or without a margin of paper around the frame."""
    large = 255 - cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    frame, margin = int(rng.integers(1, 9)), int(rng.choice([0, 4, 8]))
    framed = cv2.copyMakeBorder(large, *(frame,) * 4, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.copyMakeBorder(framed, *(margin,) * 4, cv2.BORDER_CONSTANT, value=255), np.uint8)


def _sample(upload_set: UploadSet, count: int) -> UploadSet:
    rows = np.random.default_rng(SEED).permutation(len(upload_set))[:count]
    columns = (upload_set.uploads, upload_set.labels)
    return UploadSet(upload_set.name, *(tuple(column[row] for row in rows) for column in columns))
