"""Measures how well numbers are read, from an upload to the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.digits import images, numbers
from app.digits.classifier import Classifier
from app.digits.errors import NoInk
from training.data.labelled import Labelled
from training.data.uploads import encode_png
from training.scenes.numbers import draw_scenes

NUMBER_COUNT: Final = 600  # the standard error at 98 % is half a percentage point
SEED: Final = 4071


def score_numbers(
    classifier: Classifier, digits: Labelled, *, count: int = NUMBER_COUNT, seed: int = SEED
) -> dict[str, Any]:
    """Draw numbers with the ink of `digits`, read them as the service does, and count the right ones.

    Returns:
        The shares of right numbers, without and with touching digits, and of right digits:
        1 - (edit distance / length).
    """
    right: dict[bool, list[bool]] = {False: [], True: []}
    distance = length = 0
    for scene in draw_scenes(digits, count=count, seed=seed):
        text = read_number(encode_png(scene.picture), classifier)
        right[scene.style.touching].append(text == scene.text)
        distance += min(edit_distance(text, scene.text), len(scene.text))
        length += len(scene.text)
    return {
        "numbers": count,
        "seed": seed,
        "right": {"apart": _share_of_true(right[False]), "touching": _share_of_true(right[True])},
        "digits": 1 - distance / max(1, length),
    }


def read_number(upload: bytes, classifier: Classifier) -> str:
    """Read the number in an upload as the service does; return "" if nothing is written."""
    picture = images.decode(images.identify(upload))
    try:
        page = numbers.segment(picture.grey)
    except NoInk:
        return ""
    if not len(page.pictures):
        return ""
    scores = classifier.classify(page.pictures)
    return numbers.assemble(page, scores.probabilities, scores.digit_likelihood).text


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
