"""Measures how well `digit_likelihood` separates digits from negative examples."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from app.digits.contract import MIN_DIGIT_LIKELIHOOD, Likelihoods


def rejected_share(likelihoods: Likelihoods) -> float | None:
    """Return the share of pictures that the service calls no digit; None if there are no pictures."""
    return float((likelihoods < MIN_DIGIT_LIKELIHOOD).mean()) if len(likelihoods) else None


def auroc(digits: Likelihoods, negatives: Likelihoods) -> float | None:
    """Return the area under the receiver operating characteristic, or None if either array is empty.

    It is the probability that a random digit has a higher likelihood than a random negative example, where
    ties count half: 0.5 is guessing, 1 is perfect separation.
    """
    if not len(digits) or not len(negatives):
        return None
    truth = np.repeat([1, 0], [len(digits), len(negatives)])
    return float(roc_auc_score(truth, np.concatenate([digits, negatives])))
