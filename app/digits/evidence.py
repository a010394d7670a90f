"""Second opinions on a line that was read: what the finder and the classifier say of each of its digits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .classifier import Classifier
from .contract import CLASSES, CanonicalPicture, GreyPicture
from .ctc import Text
from .errors import NoInk
from .finder import Characters
from .lines import Line, round_box
from .preprocessing import canonicalise_part

Evidence: TypeAlias = NDArray[np.float64]  # (digits, 10): what speaks for each class, as a logarithm

FINDER_WEIGHT: Final = 0.2  # of the logarithm of the finder's likelihood
MIN_LIKELIHOOD: Final = (
    1e-3  # less likely classes count as this likely, so that no opinion outvotes all others
)
MAX_SHARED_WIDTH: Final = 0.1  # of a digit's box: with more, its neighbour is on the cut-out, too
MIN_DIGIT_LIKELIHOOD: Final = 0.9  # of a cut-out, for the classifier's opinion to count
# Logarithm, for each digit: what speaks for a text of another length than the number of digits that were
# found. A text of the same length gets what the finder and the classifier say, which is 0 or less.
OTHER_LENGTH: Final = -0.36
VARIED_TEXTS: Final = 3  # the likeliest, in each of which single digits are replaced
REPLACEMENT: Final = 1e-3  # probability of a replaced digit, by the line reader


def collect_evidence(grey: GreyPicture, line: Line, classifier: Classifier) -> Evidence:
    """Return what the finder says of a line's digits, and the classifier of those that stand clear."""
    digits = line.digits
    evidence = FINDER_WEIGHT * np.log(np.maximum(digits.likelihoods[:, :CLASSES], MIN_LIKELIHOOD))
    cut_outs = dict(_cut_out_digits(grey, digits))
    if cut_outs:
        scores = classifier.classify(np.array(list(cut_outs.values())))
        opinions = np.log(np.maximum(scores.probabilities, MIN_LIKELIHOOD))
        if scores.digit_likelihood is not None:
            opinions[scores.digit_likelihood < MIN_DIGIT_LIKELIHOOD] = 0
            opinions *= scores.digit_likelihood[:, None]
        evidence[list(cut_outs)] += opinions
    return np.asarray(evidence, np.float64)


def _cut_out_digits(grey: GreyPicture, digits: Characters) -> Iterator[tuple[int, CanonicalPicture]]:
    left, _, right, _ = digits.boxes.T
    for row, box in enumerate(digits.boxes.tolist()):
        shared = np.minimum(right, right[row]) - np.maximum(left, left[row])
        shared[row] = 0
        if shared.max() <= MAX_SHARED_WIDTH * (right[row] - left[row]):
            with suppress(NoInk):
                yield row, canonicalise_part(grey, round_box(box)).picture


def weigh(texts: Mapping[Text, float], evidence: Evidence) -> dict[Text, float]:
    """Return the probabilities of texts, given second opinions; texts with one digit replaced are added.

    Args:
        texts: probabilities by the line reader, the likeliest first.
        evidence: of the digits that were found, from left to right.
    """
    candidates = dict(texts)
    for text in islice(texts, VARIED_TEXTS):
        for variant in _replace_digits(text, len(evidence)):
            candidates.setdefault(variant, REPLACEMENT * texts[text])
    rows = evidence.tolist()
    weighed = {text: share * math.exp(_sum_up(text, rows)) for text, share in candidates.items()}
    scale = sum(texts.values()) / sum(weighed.values())
    return {text: share * scale for text, share in weighed.items()}


def _replace_digits(text: Text, count: int) -> Iterator[Text]:
    """Yield a text of so many digits with each of its digits replaced by each other one."""
    places = [place for place, label in enumerate(text) if label < CLASSES]
    if len(places) == count:
        for place in places:
            for label in range(CLASSES):
                yield (*text[:place], label, *text[place + 1 :])


def _sum_up(text: Text, evidence: Sequence[Sequence[float]]) -> float:
    digits = [label for label in text if label < CLASSES]
    if len(digits) != len(evidence):
        return OTHER_LENGTH * len(evidence)
    return sum(row[digit] for row, digit in zip(evidence, digits, strict=True))
