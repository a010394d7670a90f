"""Measures how the service reads corrupted pictures, real uploads and negative examples."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import numpy as np
from rich.progress import track

from app.digits.contract import MIN_DIGIT_LIKELIHOOD, Likelihoods
from training.data.labelled import Labelled, split_stratified
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import encode_png
from training.judge import reliability
from training.judge.rejection import auroc, find_threshold, rejected_share
from training.judge.service_reader import Answers
from training.scenes.corruptions import CORRUPTIONS, Corruption

SEED: Final = 1  # of the corruptions


CORRUPTED: Final = 2_000  # stratified test pictures for each corruption: sd 0.4 % at 97 %

Read: TypeAlias = Callable[[Iterable[bytes]], Answers]

AnsweredSets = list[tuple[UploadSet, Answers]]


def measure_robustness(
    read: Read,
    test: Labelled,
    *,
    likelihoods: Likelihoods | None,
    real_sets: UploadSets,
    corrupted: int = CORRUPTED,
) -> dict[str, Any]:
    """Return the parts of `metrics.json` beyond MNIST.

    Args:
        read: reads uploads with the network.
        test: MNIST's test pictures.
        likelihoods: float32 (n,), how likely the network takes each of them to be a digit.
        real_sets: real uploads.
        corrupted: how many test pictures are corrupted in each way.
    """
    digits, others = (_read_sets(read, sets) for sets in (real_sets.digits, real_sets.negatives))
    return {
        "corruptions": _measure_corruptions(read, test, count=corrupted),
        "real": {
            "sets": {
                upload_set.name: answers.report(upload_set.digits, polarity=upload_set.polarity)
                | _report_writers(upload_set, answers)
                for upload_set, answers in digits
            },
            "calibration": _measure_calibration(digits),
            "skipped": dict(real_sets.skipped),
        },
        "rejection": None if likelihoods is None else _measure_rejection(likelihoods, digits, others),
    }


def _measure_corruptions(read: Read, test: Labelled, *, count: int) -> dict[str, Any]:
    _, rows = split_stratified(test.digits, held_out=min(count, len(test)))
    sample = test[rows]
    reports = {
        name: _measure_corruption(corrupt, read, sample)
        for name, corrupt in track(CORRUPTIONS.items(), "Corrupting", transient=True)
    }
    mean = statistics.fmean(report["accuracy"] for report in reports.values())
    return {"pictures": len(sample), "seed": SEED, "mean": mean, "each": reports}


def _measure_corruption(corrupt: Corruption, read: Read, sample: Labelled) -> dict[str, Any]:
    pictures = corrupt(sample.pictures, np.random.default_rng(SEED))
    answers = read(map(encode_png, pictures))
    return answers.report(sample.digits, polarity="light_on_dark")


def _read_sets(read: Read, sets: tuple[UploadSet, ...]) -> AnsweredSets:
    tracked = track(sets, "Reading real sets", transient=True)
    return [(upload_set, read(upload_set.uploads)) for upload_set in tracked]


def _report_writers(upload_set: UploadSet, answers: Answers) -> dict[str, Any]:
    """Return how well writers are read, where it is known who wrote: their mean, and the worst of them."""
    if not upload_set.writers:
        return {}
    right = np.zeros(len(upload_set), np.bool_)
    right[answers.readable] = answers.right(upload_set.digits)
    writers = np.array(upload_set.writers)
    shares = [float(right[writers == writer].mean()) for writer in np.unique(writers)]
    return {"writers": {"count": len(shares), "mean": statistics.fmean(shares), "worst": min(shares)}}


def _measure_calibration(digits: AnsweredSets) -> dict[str, Any] | None:
    """Summarise the calibration over all sets together, because small ones have too few answers in a bin."""
    if not digits:
        return None
    right = [answers.right(upload_set.digits) for upload_set, answers in digits]
    summary = reliability.summarise_calibration(
        np.concatenate([answers.probabilities for _, answers in digits]), np.concatenate(right)
    )
    errors = [
        reliability.summarise_calibration(answers.probabilities, one)["expected_error"]
        for one, (_, answers) in zip(right, digits, strict=True)
    ]
    return summary | {"mean_of_sets": statistics.fmean(errors)}


def _measure_rejection(test: Likelihoods, digits: AnsweredSets, others: AnsweredSets) -> dict[str, Any]:
    likelihoods = np.concatenate([test, *(_get_likelihoods(answers) for _, answers in digits)])
    threshold = find_threshold(likelihoods)
    families = {upload_set.name: _get_likelihoods(answers) for upload_set, answers in others}
    all_others = np.concatenate([np.empty(0, np.float32), *families.values()])
    return {
        "threshold": MIN_DIGIT_LIKELIHOOD,
        "auroc": auroc(likelihoods, all_others),
        "digits": {"MNIST test": {"pictures": len(test), "unreadable": 0, "rejected": rejected_share(test)}}
        | {upload_set.name: answers.summarise_refusals() for upload_set, answers in digits},
        "others": {
            upload_set.name: answers.summarise_refusals()
            | {
                "rejected_at_99": rejected_share(families[upload_set.name], threshold=threshold),
                "auroc": auroc(likelihoods, families[upload_set.name]),
            }
            for upload_set, answers in others
        },
    }


def _get_likelihoods(answers: Answers) -> Likelihoods:
    return np.empty(0, np.float32) if answers.likelihoods is None else answers.likelihoods
