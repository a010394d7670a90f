"""How the service reads what MNIST does not hold: damaged pictures, real uploads, and what is no digit."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.progress import track

from app.digits.classifier import Classifier
from app.digits.contract import IS_DIGIT, Likelihoods
from training import calibration
from training.answers import Answers, answer
from training.data.labelled import Labelled, split_stratified
from training.data.real_sets import RealSet, RealSets
from training.data.uploads import encode_png
from training.judge.numbers import SCENES, read_number, score_numbers
from training.rejection import auroc, rejected
from training.scenes.corruptions import CORRUPTIONS, Corruption

SEED: Final = 1  # of the damage


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is measured."""

    damaged: int = 2_000  # test pictures for each corruption, each digit by its share: sd 0.4 % at 97 %
    numbers: int = SCENES


ENOUGH: Final = Amounts()

Answered = list[tuple[RealSet, Answers]]


def robustness(
    classifier: Classifier,
    test: Labelled,
    *,
    likelihoods: Likelihoods | None,
    real: RealSets,
    amounts: Amounts = ENOUGH,
) -> dict[str, Any]:
    """Return the parts of `metrics.json` that go beyond MNIST.

    Args:
        classifier: the network.
        test: MNIST's test pictures; a fixed part of them is damaged.
        likelihoods: (n,) what the network says of `test`.
        real: the real sets that are at hand.
        amounts: how much of it is measured.
    """
    digits, others = _answered(classifier, real.digits), _answered(classifier, real.others)
    return {
        "corruptions": _damaged(classifier, test, count=amounts.damaged),
        "real": {
            "sets": {one.name: answers.report(one.digits, polarity=one.polarity) for one, answers in digits},
            "calibration": _calibration(digits),
            "skipped": dict(real.skipped),
        },
        "rejection": None if likelihoods is None else _rejection(likelihoods, digits, others),
        "numbers": score_numbers(classifier, test, count=amounts.numbers)
        | {"real": _real_numbers(classifier, real)},
    }


def _real_numbers(classifier: Classifier, real: RealSets) -> dict[str, Any]:
    """Count the pictures of several digits that are right in every character, and their lines."""
    sets = {one.name: [read_number(upload, classifier) for upload in one.uploads] for one in real.numbers}
    return {
        one.name: {"pictures": len(one), "right": sum(map(str.__eq__, sets[one.name], one.labels))}
        for one in real.numbers
    }


def _damaged(classifier: Classifier, test: Labelled, *, count: int) -> dict[str, Any]:
    _, rows = split_stratified(test.digits, held_out=min(count, len(test)))
    chosen = test[rows]
    each = {
        name: _under(corrupt, classifier, chosen)
        for name, corrupt in track(CORRUPTIONS.items(), "Damaging", transient=True)
    }
    mean = statistics.fmean(one["accuracy"] for one in each.values())
    return {"pictures": len(chosen), "seed": SEED, "mean": mean, "each": each}


def _under(corrupt: Corruption, classifier: Classifier, chosen: Labelled) -> dict[str, Any]:
    pictures = corrupt(chosen.pictures, np.random.default_rng(SEED))
    answers = answer(classifier, map(encode_png, pictures))
    return answers.report(chosen.digits, polarity="light_on_dark")


def _answered(classifier: Classifier, sets: tuple[RealSet, ...]) -> Answered:
    shown = track(sets, "Reading real sets", transient=True)
    return [(one, answer(classifier, one.uploads)) for one in shown]


def _calibration(answered: Answered) -> dict[str, Any] | None:
    """Measure calibration over all sets together: single ones are too small for 15 bins."""
    if not answered:
        return None
    return calibration.report(
        np.concatenate([answers.probabilities for _, answers in answered]),
        np.concatenate([answers.right(one.digits) for one, answers in answered]),
    )


def _rejection(test: Likelihoods, digits: Answered, others: Answered) -> dict[str, Any]:
    told = np.concatenate([test, *(_likelihoods(answers) for _, answers in digits)])
    every = np.concatenate([np.empty(0, np.float32), *(_likelihoods(answers) for _, answers in others)])
    return {
        "threshold": IS_DIGIT,
        "auroc": auroc(told, every),
        "digits": {"MNIST test": {"pictures": len(test), "unreadable": 0, "rejected": rejected(test)}}
        | {one.name: answers.refusals() for one, answers in digits},
        "others": {
            one.name: answers.refusals() | {"auroc": auroc(told, _likelihoods(answers))}
            for one, answers in others
        },
    }


def _likelihoods(answers: Answers) -> Likelihoods:
    return np.empty(0, np.float32) if answers.likelihoods is None else answers.likelihoods
