"""Reads many uploads as the service does; refusals are counted, not raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.digits.classifier import Classifier, Scores
from app.digits.contract import SIDE, DigitBatch, Likelihoods, Probabilities
from app.digits.errors import ImageError
from app.digits.finder import Finder
from app.digits.preprocessing import CanonicalForm
from app.digits.working_picture import Polarity
from training.data.uploads import read_canonical
from training.judge.rejection import rejected_share

BATCH_SIZE: Final = 500


@dataclass(frozen=True)
class Answers:
    """Answers to n uploads, m of which could be read."""

    readable: NDArray[np.bool_]  # (n,)
    polarities: tuple[Polarity, ...]  # (m,)
    probabilities: Probabilities  # (m, 10)
    likelihoods: Likelihoods | None  # (m,); None if the network returns none

    def right(self, digits: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which of the m answers are right, given the true digits (n,) of all uploads."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == digits[self.readable]
        return right

    def summarise_refusals(self) -> dict[str, Any]:
        """Return the number of uploads, of unreadable ones, and the rejected share of the others."""
        return {
            "pictures": len(self.readable),
            "unreadable": int((~self.readable).sum()),
            "rejected": None if self.likelihoods is None else rejected_share(self.likelihoods),
        }

    def report(self, digits: NDArray[np.uint8], *, polarity: Polarity | None) -> dict[str, Any]:
        """Return accuracy and refusals as in `metrics.json`; an unreadable upload is a wrong answer."""
        wrong_polarities = sum(detected != polarity for detected in self.polarities)
        return {
            "accuracy": float(self.right(digits).sum()) / max(len(digits), 1),
            "polarity_errors": None if polarity is None else wrong_polarities,
            **self.summarise_refusals(),
        }


def read_uploads(classifier: Classifier, uploads: Iterable[bytes], finder: Finder | None = None) -> Answers:
    """Read and classify uploads, with a finder for photographs, scans and pages."""
    attempts = [_try_to_read(upload, classifier, finder) for upload in uploads]
    canonical_forms = [attempt for attempt in attempts if attempt]
    pictures = np.array([form.picture for form in canonical_forms], np.uint8).reshape(-1, SIDE, SIDE)
    scores = classify(classifier, pictures)
    return Answers(
        readable=np.array([attempt is not None for attempt in attempts], bool),
        polarities=tuple(form.polarity for form in canonical_forms),
        probabilities=scores.probabilities,
        likelihoods=scores.digit_likelihood,
    )


def classify(classifier: Classifier, pictures: DigitBatch) -> Scores:
    """Return the scores of any number of canonical pictures, (n, 28, 28)."""
    starts = range(0, max(len(pictures), 1), BATCH_SIZE)
    return Scores.join([classifier.classify(pictures[start : start + BATCH_SIZE]) for start in starts])


def _try_to_read(upload: bytes, classifier: Classifier, finder: Finder | None) -> CanonicalForm | None:
    try:
        return read_canonical(upload, classifier=classifier, finder=finder)
    except ImageError:
        return None
