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
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import encode_png
from training.judge.robustness import measure_robustness
from training.judge.service_reader import read_uploads
from training.scenes.corruptions import CORRUPTIONS

TEST = Labelled(
    np.stack([ink(row % 10, (28, 28), box=(8, 4, 12, 20), pen=3) for row in range(20)]),
    np.arange(20, dtype=np.uint8) % CLASSES,
)
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
PHOTOS = UploadSet("paper_photos", (PHOTO, b"damaged"), ("7", "1"))
LETTERS = UploadSet("not_digit_letters", (encode_png(TEST.pictures[4]), b"damaged"), ("alpha", "beta"))
WITHOUT_LIKELIHOOD = partial(read_uploads, Classifier.load(build_tiny_model()))
WITH_LIKELIHOOD = partial(read_uploads, Classifier.load(build_tiny_model(likelihood=0.25)))
measure = partial(measure_robustness, corrupted=10)
TEST_LIKELIHOODS = np.full(len(TEST), 0.75, np.float32)


def test_without_real_sets_the_report_gives_the_reason() -> None:
    report = measure(
        WITHOUT_LIKELIHOOD, TEST, likelihoods=None, real_sets=UploadSets(skipped={"all": "none here"})
    )
    assert report["real"] == {"sets": {}, "calibration": None, "skipped": {"all": "none here"}}
    assert report["rejection"] is None


def test_damaged_files_of_real_sets_are_counted() -> None:
    real_sets = UploadSets(digits=(PHOTOS,), negatives=(LETTERS,))
    report = measure(WITH_LIKELIHOOD, TEST, likelihoods=TEST_LIKELIHOODS, real_sets=real_sets)
    photos, letters = (
        report["real"]["sets"]["paper_photos"],
        report["rejection"]["others"]["not_digit_letters"],
    )
    assert (photos["pictures"], photos["unreadable"], photos["polarity_errors"]) == (2, 1, 0)
    assert (letters["pictures"], letters["unreadable"], letters["rejected"]) == (2, 1, 1.0)
    assert report["real"]["calibration"]["pictures"] == 1


def test_likelihoods_of_test_and_real_digits_are_compared_with_those_of_negatives() -> None:
    real_sets = UploadSets(digits=(PHOTOS,), negatives=(LETTERS,))
    report = measure(WITH_LIKELIHOOD, TEST, likelihoods=TEST_LIKELIHOODS, real_sets=real_sets)["rejection"]
    assert report["auroc"] == pytest.approx(20.5 / 21)  # one digit of 21 is as likely as the letter
    assert report["threshold"] == 0.5
    assert report["digits"]["MNIST test"] == {"pictures": 20, "unreadable": 0, "rejected": 0.0}


def test_each_writer_counts_the_same() -> None:
    uploads, labels = tuple(map(encode_png, TEST.pictures[[1, 2, 3]])), ("1", "2", "3")
    read = WITH_LIKELIHOOD(uploads)
    right = read.right(np.array([1, 2, 3], np.uint8)).tolist()
    real_sets = UploadSets(digits=(UploadSet("tablet", uploads, labels, writers=(7, 7, 9)),))
    report = measure(WITH_LIKELIHOOD, TEST, likelihoods=TEST_LIKELIHOODS, real_sets=real_sets)
    shares = [(right[0] + right[1]) / 2, float(right[2])]
    expected = {"count": 2, "mean": pytest.approx(np.mean(shares)), "worst": min(shares)}
    assert report["real"]["sets"]["tablet"]["writers"] == expected


def test_without_negatives_there_is_no_auroc() -> None:
    assert (
        measure(WITH_LIKELIHOOD, TEST, likelihoods=TEST_LIKELIHOODS, real_sets=UploadSets())["rejection"][
            "auroc"
        ]
        is None
    )


def test_every_corruption_is_measured_on_the_same_part_of_the_test_set() -> None:
    report = measure(WITHOUT_LIKELIHOOD, TEST, likelihoods=None, real_sets=UploadSets())["corruptions"]
    assert report["each"].keys() == CORRUPTIONS.keys()
    assert {row["pictures"] for row in report["each"].values()} == {report["pictures"]} == {10}
    assert report["mean"] == pytest.approx(np.mean([row["accuracy"] for row in report["each"].values()]))


def test_results_are_reproducible_and_can_be_written_as_json() -> None:
    first, second = (
        measure(WITHOUT_LIKELIHOOD, TEST, likelihoods=None, real_sets=UploadSets()) for _ in range(2)
    )
    assert json.loads(json.dumps(first)) == second
