from __future__ import annotations

import dataclasses

import numpy as np

from tests.training.runs import QUICK, TRAINING, TRAINS
from training.learn.batches import MixedBatches, MnistBatches
from training.learn.runs import Run

pytestmark = TRAINS


def test_every_epoch_shows_every_picture_once_in_a_new_order() -> None:
    recipe = dataclasses.replace(QUICK, augmentation=None, batch_size=64)
    batches = MnistBatches(TRAINING, recipe)

    def epoch() -> np.ndarray:
        return np.concatenate([batches[batch][0] for batch in range(len(batches))]).reshape(len(TRAINING), -1)

    first = epoch()
    np.testing.assert_array_equal(first, epoch())
    batches.on_epoch_end()
    second = epoch()
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first.sum(axis=1)), np.sort(second.sum(axis=1)))


def test_only_the_first_epochs_show_mnist_alone(two_headed_run: Run) -> None:
    recipe = two_headed_run.read_origin().recipe
    assert recipe.scenes
    batches = MixedBatches(TRAINING, recipe, recipe.scenes, two_headed_run)
    pictures, targets, weights = batches[0]
    assert targets["digit_likelihood"].all()
    batches.epoch = 1
    pictures, targets, weights = batches[0]
    is_negative = targets["digit_likelihood"][:, 0] == 0
    assert len(pictures) == recipe.batch_size
    assert is_negative.sum() == recipe.batch_size // 4
    np.testing.assert_array_equal(
        weights["probabilities"] == 0, is_negative
    )  # only the second head learns them
