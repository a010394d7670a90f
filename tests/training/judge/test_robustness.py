from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from app.digits.classifier import Classifier
from app.digits.contract import CLASSES
from tests.conftest import GOLDEN
from tests.data.strokes import ink
from tests.tiny import build_tiny_model
from training.data.labelled import Labelled
from training.data.real_sets import RealSet, RealSets
from training.data.uploads import encode_png
from training.judge import robustness as module
from training.judge.robustness import Amounts
from training.scenes.corruptions import CORRUPTIONS

TEST = Labelled(
    np.stack([ink(row % 10, (28, 28), box=(8, 4, 12, 20), pen=3) for row in range(20)]),
    np.arange(20, dtype=np.uint8) % CLASSES,
)
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
PHOTOS = RealSet("paper_photos", (PHOTO, b"damaged"), ("7", "1"))
LETTERS = RealSet("not_digit_letters", (encode_png(TEST.pictures[4]), b"damaged"), ("alpha", "beta"))
SILENT = Classifier.load(build_tiny_model())
DOUBTFUL = Classifier.load(build_tiny_model(likelihood=0.25))
robustness = partial(module.measure_robustness, amounts=Amounts(damaged=10, numbers=6))
SURE = np.full(len(TEST), 0.75, np.float32)


def test_without_real_sets_the_reason_stands_in_the_report() -> None:
    found = robustness(SILENT, TEST, likelihoods=None, real=RealSets(skipped={"all": "none here"}))
    assert found["real"] == {"sets": {}, "calibration": None, "skipped": {"all": "none here"}}
    assert found["rejection"] is None


def test_damaged_files_of_real_sets_are_counted() -> None:
    real = RealSets(digits=(PHOTOS,), negatives=(LETTERS,))
    found = robustness(DOUBTFUL, TEST, likelihoods=SURE, real=real)
    photos, letters = found["real"]["sets"]["paper_photos"], found["rejection"]["others"]["not_digit_letters"]
    assert (photos["pictures"], photos["unreadable"], photos["polarity_errors"]) == (2, 1, 0)
    assert (letters["pictures"], letters["unreadable"], letters["rejected"]) == (2, 1, 1.0)
    assert found["real"]["calibration"]["pictures"] == 1


def test_likelihoods_of_test_and_real_digits_are_set_against_the_others() -> None:
    real = RealSets(digits=(PHOTOS,), negatives=(LETTERS,))
    found = robustness(DOUBTFUL, TEST, likelihoods=SURE, real=real)["rejection"]
    assert found["auroc"] == pytest.approx(20.5 / 21)  # one digit of 21 is as likely as the letter
    assert found["threshold"] == 0.5
    assert found["digits"]["MNIST test"] == {"pictures": 20, "unreadable": 0, "rejected": 0.0}


def test_without_other_things_there_is_no_area() -> None:
    assert robustness(DOUBTFUL, TEST, likelihoods=SURE, real=RealSets())["rejection"]["auroc"] is None


def test_every_corruption_is_judged_on_the_same_part_of_the_test_set() -> None:
    found = robustness(SILENT, TEST, likelihoods=None, real=RealSets())["corruptions"]
    assert found["each"].keys() == CORRUPTIONS.keys()
    assert {row["pictures"] for row in found["each"].values()} == {found["pictures"]} == {10}
    assert found["mean"] == pytest.approx(np.mean([row["accuracy"] for row in found["each"].values()]))


def test_the_same_is_measured_again_and_is_json() -> None:
    first, second = (robustness(SILENT, TEST, likelihoods=None, real=RealSets()) for _ in range(2))
    assert json.loads(json.dumps(first)) == second
