from __future__ import annotations

import numpy as np

from app.digits.classifier import Classifier
from tests.conftest import GOLDEN, HOSTILE
from tests.tiny import build_tiny_model
from training.judge.service_reader import classify, read_uploads

PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
BLANK = (HOSTILE / "white.png").read_bytes()
SILENT = Classifier.load(build_tiny_model())
DOUBTFUL = Classifier.load(build_tiny_model(likelihood=0.25))
SEVEN = np.array([7], np.uint8)


def test_what_cant_be_read_is_counted_and_not_raised() -> None:
    answers = read_uploads(DOUBTFUL, [b"", BLANK, PHOTO, PHOTO[:500]])
    assert answers.readable.tolist() == [False, False, True, False]
    assert answers.summarise_refusals() == {"pictures": 4, "unreadable": 3, "rejected": 1.0}
    assert answers.probabilities.shape == (1, 10)


def test_where_nothing_can_be_read_there_is_a_report_nevertheless() -> None:
    report = read_uploads(DOUBTFUL, [b"", b"no picture"]).report(np.array([1, 2], np.uint8), polarity=None)
    assert report == {
        "accuracy": 0.0,
        "polarity_errors": None,
        "pictures": 2,
        "unreadable": 2,
        "rejected": None,
    }


def test_what_cant_be_read_is_a_wrong_answer() -> None:
    """The tiny network says 0 to every canonical picture, whose top row is empty."""
    report = read_uploads(SILENT, [PHOTO, b""]).report(np.zeros(2, np.uint8), polarity=None)
    assert report["accuracy"] == 0.5


def test_a_network_that_does_not_tell_rejects_nothing() -> None:
    assert read_uploads(SILENT, [PHOTO]).summarise_refusals()["rejected"] is None


def test_ink_taken_for_ground_is_a_polarity_error() -> None:
    answers = read_uploads(SILENT, [PHOTO])
    assert answers.report(SEVEN, polarity="dark_on_light")["polarity_errors"] == 0
    assert answers.report(SEVEN, polarity="light_on_dark")["polarity_errors"] == 1


def test_many_pictures_are_classified_as_each_alone() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (501, 28, 28), np.uint8)
    together = classify(DOUBTFUL, pictures)
    assert together.digit_likelihood is not None
    assert together.digit_likelihood.shape == (501,)
    alone = np.concatenate([DOUBTFUL.classify(one[None]).probabilities for one in pictures[[0, 499, 500]]])
    np.testing.assert_allclose(together.probabilities[[0, 499, 500]], alone, rtol=1e-5)
