from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.digits.classifier import Classifier
from tests.conftest import GOLDEN, HOSTILE
from training.data.labelled import Labelled
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import read_canonical
from training.errors import TrainingError
from training.judge import comparison
from training.judge.comparison import Comparison
from training.judge.mcnemar import PairedCounts

BLANK = (HOSTILE / "white.png").read_bytes()
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()


def test_right_answers_are_counted_on_the_same_pictures(compared: Comparison) -> None:
    assert compared.count() == PairedCounts(both=1, first=2, second=2, neither=2)
    assert compared.count(compared.sample.digits == 3) == PairedCounts(both=0, first=2, second=1, neither=0)


def test_a_network_does_not_differ_from_itself(tiny_versions: Path, compared: Comparison) -> None:
    same = comparison.compare(tiny_versions, "tiny@2", "tiny", compared.sample)
    assert same.count() == PairedCounts(both=3, first=0, second=0, neither=4)
    assert "right on the same pictures" in same.count().summarise("tiny@2", "tiny")


def test_uploads_are_preprocessed_as_in_the_service() -> None:
    digits = UploadSet("photos", (PHOTO, BLANK), ("7", "1"))
    letters = UploadSet("not_digit_letters", (PHOTO, BLANK, PHOTO), ("a", "b", "c"))
    sample = comparison.sample_uploads("mine", UploadSets(digits=(digits,), negatives=(letters,)))
    np.testing.assert_array_equal(sample.pictures, [read_canonical(PHOTO).picture])
    assert (sample.digits.tolist(), sample.sets.tolist()) == ([7], ["photos"])
    assert (len(sample.negatives), sample.unreadable) == (2, 2)


def test_mnist_is_preprocessed_as_in_the_service(classifier: Classifier) -> None:
    seven = read_canonical(PHOTO).picture
    sample = comparison.sample_mnist("MNIST", Labelled(seven[None], np.array([7], np.uint8)))
    assert classifier.classify(sample.pictures).probabilities.argmax() == sample.digits[0] == 7


def test_sets_without_a_readable_digit_are_refused_with_the_reason() -> None:
    sets = UploadSets(
        digits=(UploadSet("blank", (BLANK,), ("1",)),), skipped={"scans": "It holds no picture."}
    )
    with pytest.raises(
        TrainingError, match=r"^mine holds no readable picture .* scans: It holds no picture.$"
    ):
        comparison.sample_uploads("mine", sets)
