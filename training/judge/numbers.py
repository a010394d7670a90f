"""Measures how well numbers are read, from an upload to the text, and by which network errors are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.digits import ctc, images
from app.digits.catalogue import METRICS_FILE, MODEL_FILE, load_network, locate_folder
from app.digits.classifier import Classifier
from app.digits.contract import CHARACTERS, CLASSES, FINDER, OTHER_WRITING, GreyPicture, Metadata
from app.digits.finder import MIN_LIKELIHOOD, Finder
from app.digits.line_reader import LineReader
from app.digits.numbers import Number, NumberReader
from training.data.labelled import Labelled
from training.data.real_sets import UploadSet
from training.data.uploads import encode_png
from training.files import write_json
from training.scenes.numbers import draw_scenes
from training.scenes.shards import Group, Shelf
from training.scenes.strips import Marks

NUMBER_COUNT: Final = 600  # the standard error at 98 % is half a percentage point
SEED: Final = 4071
HELPER: Final = "cnn"  # the classifier that helps the line reader in doubt, the service's default
SURE: Final = 0.9  # a confidence from which on an answer should hardly ever be wrong
MIN_SHARED: Final = 0.5  # of the union of two boxes: the character was found where it is


class Misreading(NamedTuple):
    """A picture of a number that was read wrongly."""

    picture: GreyPicture
    expected: str
    number: Number


@dataclass(frozen=True)
class ReadSet:
    """The numbers that were read in one set, and those that are right."""

    numbers: Sequence[Number]
    right: NDArray[np.bool_]  # (n,)

    def report(self) -> dict[str, Any]:
        """Return counts: all, right, surely wrong (wrong with a high confidence and no warning)."""
        is_sure = np.array([one.confidence >= SURE and not one.cautions for one in self.numbers], np.bool_)
        return {
            "pictures": len(self.numbers),
            "right": int(self.right.sum()),
            "surely_wrong": int((is_sure & ~self.right).sum()),
        }


def evaluate(
    folder: Path, shelf: Shelf, test: Labelled, sets: Sequence[UploadSet], *, count: int = NUMBER_COUNT
) -> dict[str, Any]:
    """Evaluate the finder or the line reader in `folder`; write `folder`/metrics.json and return it.

    Args:
        folder: of an exported network, among the other models.
        shelf: drawings of held-out writers.
        test: digits to draw numbers of.
        sets: real uploads of numbers.
        count: how many numbers are drawn.

    Raises:
        InvalidModel: a file is missing or can't be served.
    """
    onnx = (folder / MODEL_FILE).read_bytes()
    network = load_network(onnx)
    metrics: dict[str, Any] = {
        "model": {
            "name": network.name,
            "version": network.recipe_version,
            "sha256": network.sha256,
            "bytes": len(onnx),
            "parameters": int(network.metadata.get(Metadata.PARAMETERS, 0)),
        }
    }
    if isinstance(network, Finder):
        metrics["held_out"] = score_finder(network, shelf.load_or_draw("documents", 0))
    if isinstance(network, LineReader):
        metrics["held_out"] = score_line_reader(network, shelf.load_or_draw("strips", 0))
        finder, classifier = (
            load_network((locate_folder(folder.parent, name) / MODEL_FILE).read_bytes())
            for name in (FINDER, HELPER)
        )
        reader = NumberReader(finder.as_kind(Finder), network, classifier.as_kind(Classifier))
        metrics["numbers"] = score_numbers(reader, test, count=count) | {
            "finder": finder.sha256,
            "classifier": classifier.sha256,
            "real": {upload_set.name: read_set(upload_set, reader).report() for upload_set in sets},
        }
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def read_set(upload_set: UploadSet, reader: NumberReader) -> ReadSet:
    """Read the numbers in a set of uploads as the service does."""
    numbers = [read_number(upload, reader) for upload in upload_set.uploads]
    right = [number.text == label for number, label in zip(numbers, upload_set.labels, strict=True)]
    return ReadSet(numbers, np.array(right, np.bool_))


def find_misreadings(
    reader: NumberReader, digits: Labelled, *, count: int = NUMBER_COUNT, seed: int = SEED
) -> list[Misreading]:
    """Draw numbers with the ink of `digits`; return those that are read wrongly, the surest first."""
    misread = [
        Misreading(scene.picture, scene.text, number)
        for scene in draw_scenes(digits, count=count, seed=seed)
        if (number := read_number(encode_png(scene.picture), reader)).text != scene.text
    ]
    return sorted(misread, key=lambda one: -one.number.confidence)


def read_number(upload: bytes, reader: NumberReader) -> Number:
    """Read the number in an upload as the service does."""
    return reader.read(images.decode(images.identify(upload)).grey)


def score_numbers(
    reader: NumberReader, digits: Labelled, *, count: int = NUMBER_COUNT, seed: int = SEED
) -> dict[str, Any]:
    """Draw numbers with the ink of `digits`, read them as the service does, and count the right ones.

    Returns:
        The shares of right numbers, without and with touching digits, and of right digits:
        1 - (edit distance / length).
    """
    right: dict[bool, list[bool]] = {False: [], True: []}
    distance = length = 0
    for scene in draw_scenes(digits, count=count, seed=seed):
        text = read_number(encode_png(scene.picture), reader).text
        right[scene.style.touching].append(text == scene.text)
        distance += min(edit_distance(text, scene.text), len(scene.text))
        length += len(scene.text)
    return {
        "numbers": count,
        "seed": seed,
        "right": {"apart": _share_of_true(right[False]), "touching": _share_of_true(right[True])},
        "digits": 1 - distance / max(1, length),
    }


def score_finder(finder: Finder, documents: Iterable[Group]) -> dict[str, Any]:
    """Find the characters on drawn documents, and count those that are found where they are."""
    marked = found = claimed = correct = 0
    for group in documents:
        for picture, marks in zip(group.pictures, group.marks, strict=True):
            characters = finder.find(picture)
            clear = characters[characters.certainties > MIN_LIKELIHOOD]
            shared = _measure_shared(clear.boxes, marks[:, 1:])
            is_same = (clear.labels[:, None] == marks[None, :, 0]) & (shared > MIN_SHARED)
            is_digit = (marks[:, 0] >= 0) & (marks[:, 0] < CLASSES)
            marked += int(is_digit.sum())
            found += int(is_same[:, is_digit].any(axis=0).sum())
            is_claim = clear.labels < CLASSES
            # where nobody could tell, no claim is wrong
            is_claim &= ~(shared[:, marks[:, 0] < 0] > 0).any(axis=1)
            claimed += int(is_claim.sum())
            correct += int(is_same[is_claim].any(axis=1).sum())
    return {"digits": marked, "recall": found / max(1, marked), "precision": correct / max(1, claimed)}


def score_line_reader(line_reader: LineReader, strips: Iterable[Group]) -> dict[str, Any]:
    """Read drawn strips, and count those whose digits, and whose text with all signs, are right."""
    count, digits_right, text_right = 0, 0, 0
    for group in strips:
        for picture, text in zip(group.pictures, group.texts.tolist(), strict=True):
            best = next(iter(ctc.find_texts(line_reader.read(picture))))
            read = "".join(CHARACTERS[label] for label in best)
            count += 1
            digits_right += _keep(read, str.isdigit) == _keep(text, str.isdigit)
            text_right += _keep(read, _is_no_scribble) == _keep(text, _is_no_scribble)
    return {
        "strips": count,
        "digits_right": digits_right / max(1, count),
        "text_right": text_right / max(1, count),
    }


def _keep(text: str, is_kept: Callable[[str], bool]) -> str:
    return "".join(filter(is_kept, text))


def _is_no_scribble(character: str) -> bool:
    return character != CHARACTERS[OTHER_WRITING]


def _measure_shared(boxes: NDArray[np.float32], others: Marks) -> NDArray[np.float32]:
    """Return the intersection over the union of each box with each other, (boxes, others)."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    far_corner = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(far_corner - corner, 0).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (boxes, others)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared), np.float32)


def edit_distance(text: str, expected: str) -> int:
    """Return how many characters must be inserted, deleted or replaced (Levenshtein 1965)."""
    costs = list(range(len(expected) + 1))
    for row, character in enumerate(text, 1):
        before, costs[0] = costs[0], row
        for column, other in enumerate(expected, 1):
            replaced = before + (character != other)
            before = costs[column]
            costs[column] = min(replaced, costs[column] + 1, costs[column - 1] + 1)
    return costs[-1]


def _share_of_true(right: Sequence[bool]) -> float | None:
    return sum(right) / len(right) if right else None
