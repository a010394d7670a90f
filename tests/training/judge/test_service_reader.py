from __future__ import annotations

import numpy as np

from app.digits.classifier import Classifier
from tests.conftest import GOLDEN, HOSTILE
from tests.tiny import build_tiny_model
from training.judge.service_reader import classify, read_uploads

PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
BLANK = (HOSTILE / "white.png").read_bytes()
WITHOUT_LIKELIHOOD = Classifier.load(build_tiny_model())
WITH_LIKELIHOOD = Classifier.load(build_tiny_model(likelihood=0.25))
LABEL = np.array([7], np.uint8)


def test_unreadable_uploads_are_counted_and_not_raised() -> None:
    answers = read_uploads(WITH_LIKELIHOOD, [b"", BLANK, PHOTO, PHOTO[:500]])
    assert answers.readable.tolist() == [False, False, True, False]
    assert answers.summarise_refusals() == {"pictures": 4, "unreadable": 3, "rejected": 1.0}
    assert answers.probabilities.shape == (1, 10)


def test_there_is_a_report_even_if_no_upload_can_be_read() -> None:
    report = read_uploads(WITH_LIKELIHOOD, [b"", b"no picture"]).report(
        np.array([1, 2], np.uint8), polarity=None
    )
    assert report == {
        "accuracy": 0.0,
        "polarity_errors": None,
        "pictures": 2,
        "unreadable": 2,
        "rejected": None,
    }


def test_an_unreadable_upload_is_a_wrong_answer() -> None:
    """The tiny network reads 0 in every canonical picture, because its top row is empty."""
    report = read_uploads(WITHOUT_LIKELIHOOD, [PHOTO, b""]).report(np.zeros(2, np.uint8), polarity=None)
    assert report["accuracy"] == 0.5


def test_a_network_without_likelihoods_rejects_nothing() -> None:
    assert read_uploads(WITHOUT_LIKELIHOOD, [PHOTO]).summarise_refusals()["rejected"] is None


def test_a_wrongly_detected_polarity_is_counted_as_an_error() -> None:
    answers = read_uploads(WITHOUT_LIKELIHOOD, [PHOTO])
    assert answers.report(LABEL, polarity="dark_on_light")["polarity_errors"] == 0
    assert answers.report(LABEL, polarity="light_on_dark")["polarity_errors"] == 1


def test_a_large_batch_gives_the_same_scores_as_single_pictures() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (501, 28, 28), np.uint8)
    together = classify(WITH_LIKELIHOOD, pictures)
    assert together.digit_likelihood is not None
    assert together.digit_likelihood.shape == (501,)
    alone = np.concatenate(
        [WITH_LIKELIHOOD.classify(one[None]).probabilities for one in pictures[[0, 499, 500]]]
    )
    np.testing.assert_allclose(together.probabilities[[0, 499, 500]], alone, rtol=1e-5)
