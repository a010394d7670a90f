"""Measures how well `digit_likelihood` separates digits from negative examples."""

from __future__ import annotations

from typing import Final

import numpy as np

from app.digits.contract import MIN_DIGIT_LIKELIHOOD, Likelihoods

REJECTED_DIGITS: Final = 0.01  # share of the digits that a comparison of networks lets each of them reject


def rejected_share(likelihoods: Likelihoods, *, threshold: float = MIN_DIGIT_LIKELIHOOD) -> float | None:
    """Return the share of pictures below a threshold, by default the service's; None without pictures."""
    return float((likelihoods < threshold).mean()) if len(likelihoods) else None


def find_threshold(digits: Likelihoods) -> float:
    """Return the likelihood below which `REJECTED_DIGITS` of the digits lie."""
    return float(np.quantile(digits, REJECTED_DIGITS))


def auroc(digits: Likelihoods, negatives: Likelihoods) -> float | None:
    """Return the area under the receiver operating characteristic, or None if either array is empty.

    It is the probability that a random digit has a higher likelihood than a random negative example, where
    ties count half: 0.5 is guessing, 1 is perfect separation.
    """
    if not len(digits) or not len(negatives):
        return None
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  slow, and few commands need it

    truth = np.repeat([1, 0], [len(digits), len(negatives)])
    return float(roc_auc_score(truth, np.concatenate([digits, negatives])))
