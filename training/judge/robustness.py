"""Measures how the service reads corrupted pictures, real uploads, numbers and negative examples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.progress import track

from app.digits.classifier import Classifier
from app.digits.contract import MIN_DIGIT_LIKELIHOOD, Likelihoods
from training.data.labelled import Labelled, split_stratified
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import encode_png
from training.judge import reliability
from training.judge.numbers import NUMBER_COUNT, read_number, score_numbers
from training.judge.rejection import auroc, rejected_share
from training.judge.service_reader import Answers, read_uploads
from training.scenes.corruptions import CORRUPTIONS, Corruption

SEED: Final = 1  # of the corruptions


@dataclass(frozen=True, slots=True)
class SampleSizes:
    """How many pictures to measure on."""

    corrupted: int = 2_000  # stratified test pictures for each corruption: sd 0.4 % at 97 %
    numbers: int = NUMBER_COUNT


FULL: Final = SampleSizes()

AnsweredSets = list[tuple[UploadSet, Answers]]


def measure_robustness(
    classifier: Classifier,
    test: Labelled,
    *,
    likelihoods: Likelihoods | None,
    real_sets: UploadSets,
    sizes: SampleSizes = FULL,
) -> dict[str, Any]:
    """Return the parts of `metrics.json` beyond MNIST; `likelihoods`, (n,), are those of `test`."""
    digits, others = _read_sets(classifier, real_sets.digits), _read_sets(classifier, real_sets.negatives)
    return {
        "corruptions": _measure_corruptions(classifier, test, count=sizes.corrupted),
        "real": {
            "sets": {
                upload_set.name: answers.report(upload_set.digits, polarity=upload_set.polarity)
                for upload_set, answers in digits
            },
            "calibration": _measure_calibration(digits),
            "skipped": dict(real_sets.skipped),
        },
        "rejection": None if likelihoods is None else _measure_rejection(likelihoods, digits, others),
        "numbers": score_numbers(classifier, test, count=sizes.numbers)
        | {"real": _measure_real_numbers(classifier, real_sets.numbers)},
    }


def _measure_real_numbers(classifier: Classifier, sets: Sequence[UploadSet]) -> dict[str, Any]:
    texts = {
        upload_set.name: [read_number(upload, classifier) for upload in upload_set.uploads]
        for upload_set in sets
    }
    return {
        upload_set.name: {
            "pictures": len(upload_set),
            "right": sum(map(str.__eq__, texts[upload_set.name], upload_set.labels)),
        }
        for upload_set in sets
    }


def _measure_corruptions(classifier: Classifier, test: Labelled, *, count: int) -> dict[str, Any]:
    _, rows = split_stratified(test.digits, held_out=min(count, len(test)))
    sample = test[rows]
    reports = {
        name: _measure_corruption(corrupt, classifier, sample)
        for name, corrupt in track(CORRUPTIONS.items(), "Corrupting", transient=True)
    }
    mean = statistics.fmean(report["accuracy"] for report in reports.values())
    return {"pictures": len(sample), "seed": SEED, "mean": mean, "each": reports}


def _measure_corruption(corrupt: Corruption, classifier: Classifier, sample: Labelled) -> dict[str, Any]:
    pictures = corrupt(sample.pictures, np.random.default_rng(SEED))
    answers = read_uploads(classifier, map(encode_png, pictures))
    return answers.report(sample.digits, polarity="light_on_dark")


def _read_sets(classifier: Classifier, sets: tuple[UploadSet, ...]) -> AnsweredSets:
    tracked = track(sets, "Reading real sets", transient=True)
    return [(upload_set, read_uploads(classifier, upload_set.uploads)) for upload_set in tracked]


def _measure_calibration(digits: AnsweredSets) -> dict[str, Any] | None:
    # over all sets together, because single sets are too small for 15 bins
    if not digits:
        return None
    return reliability.summarise_calibration(
        np.concatenate([answers.probabilities for _, answers in digits]),
        np.concatenate([answers.right(upload_set.digits) for upload_set, answers in digits]),
    )


def _measure_rejection(test: Likelihoods, digits: AnsweredSets, others: AnsweredSets) -> dict[str, Any]:
    likelihoods = np.concatenate([test, *(_get_likelihoods(answers) for _, answers in digits)])
    all_others = np.concatenate(
        [np.empty(0, np.float32), *(_get_likelihoods(answers) for _, answers in others)]
    )
    return {
        "threshold": MIN_DIGIT_LIKELIHOOD,
        "auroc": auroc(likelihoods, all_others),
        "digits": {"MNIST test": {"pictures": len(test), "unreadable": 0, "rejected": rejected_share(test)}}
        | {upload_set.name: answers.summarise_refusals() for upload_set, answers in digits},
        "others": {
            upload_set.name: answers.summarise_refusals()
            | {"auroc": auroc(likelihoods, _get_likelihoods(answers))}
            for upload_set, answers in others
        },
    }


def _get_likelihoods(answers: Answers) -> Likelihoods:
    return np.empty(0, np.float32) if answers.likelihoods is None else answers.likelihoods
