"""How well `digit_likelihood` tells digits from negative examples."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from app.digits.contract import MIN_DIGIT_LIKELIHOOD, Likelihoods


def rejected_share(likelihoods: Likelihoods) -> float | None:
    """Return the share that the service calls no digit; None for no pictures."""
    return float((likelihoods < MIN_DIGIT_LIKELIHOOD).mean()) if len(likelihoods) else None


def auroc(digits: Likelihoods, negatives: Likelihoods) -> float | None:
    """Return the probability that a digit gets more likelihood than something else; None if either is empty.

    It is the area under the receiver operating characteristic, ties counting half: 0.5 is guessing, 1 is
    perfect separation.
    """
    if not len(digits) or not len(negatives):
        return None
    truth = np.repeat([1, 0], [len(digits), len(negatives)])
    return float(roc_auc_score(truth, np.concatenate([digits, negatives])))
