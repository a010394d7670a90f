"""The batches that networks learn from: MNIST, digits in scenes, and negative examples."""

from __future__ import annotations

import math
from functools import cached_property, partial
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import DIGIT_LIKELIHOOD, PROBABILITIES, DigitBatch
from training.data.labelled import Labelled
from training.learn.runs import Run
from training.recipe import Recipe, Scenes
from training.scenes import scene_pool
from training.scenes.augmentation import augment
from training.scenes.scene_pool import Pool, Sources

ByOutput: TypeAlias = dict[str, NDArray[Any]]  # output → its targets, or the weights of its loss


class MnistBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of training pictures, shuffled and augmented anew in every epoch."""

    def __init__(self, training: Labelled, recipe: Recipe) -> None:
        super().__init__()
        self._training = training
        self._recipe = recipe
        self.epoch = 0
        self._order = (
            -1,
            np.empty(0, np.intp),
        )  # an epoch and its order, which takes half a batch's time to draw

    def __len__(self) -> int:
        return math.ceil(len(self._training) / self._recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[DigitBatch, np.ndarray]:
        size = self._recipe.batch_size
        rows = self._training[self._shuffle()[batch * size : (batch + 1) * size]]
        augmentation = self._recipe.augmentation
        pictures = (
            rows.pictures
            if augmentation is None
            else augment(rows.pictures, augmentation, rng=self._generator(batch))
        )
        return pictures, rows.digits

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's order and augmentation; Keras calls it."""
        self.epoch += 1

    def _shuffle(self) -> NDArray[np.intp]:
        if self._order[0] != self.epoch:
            self._order = self.epoch, self._generator().permutation(len(self._training))
        return self._order[1]

    def _generator(self, *more: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.seed, self.epoch, *more))


class MixedBatches(MnistBatches):
    """Batches of MNIST, digits in scenes and negative examples; in the first epochs, of MNIST alone.

    The scenes are drawn when the first one is needed, and kept in the run's folder.
    """

    def __init__(self, training: Labelled, recipe: Recipe, scenes: Scenes, run: Run) -> None:
        super().__init__(training, recipe)
        self._scenes = scenes
        self._run = run

    @cached_property
    def _pool(self) -> Pool:
        find_sources = partial(Sources.find, self._training, "training")
        return scene_pool.load_or_draw(find_sources, self._recipe, file=self._run.scenes)

    def __getitem__(  # type: ignore[override]  # Keras takes weights as a third
        self, batch: int
    ) -> tuple[DigitBatch, ByOutput, ByOutput]:
        pictures, digits = super().__getitem__(batch)
        if self.epoch < self._scenes.plain_epochs:
            return _add_targets(pictures, digits, no_digits=0)
        rng = self._generator(batch, 1)
        size = len(digits)
        no_digits, in_scenes = (
            round(size * share) for share in (self._scenes.share_no_digits, self._scenes.share)
        )
        rows = rng.integers(len(self._pool.digits), size=in_scenes)
        negative_rows = rng.integers(len(self._pool.negatives), size=no_digits)
        scenes = np.concatenate([self._pool.digits.pictures[rows], self._pool.negatives[negative_rows]])
        from_mnist = size - len(scenes)
        pictures = np.concatenate([pictures[:from_mnist], augment(scenes, self._scenes.bending, rng=rng)])
        digits = np.concatenate(
            [digits[:from_mnist], self._pool.digits.digits[rows], np.zeros(no_digits, np.uint8)]
        )
        return _add_targets(pictures, digits, no_digits=no_digits)


def make_batches(training: Labelled, recipe: Recipe, run: Run) -> MnistBatches:
    """Return the batches that the recipe asks for."""
    if recipe.scenes is None:
        return MnistBatches(training, recipe)
    return MixedBatches(training, recipe, recipe.scenes, run)


def _add_targets(
    pictures: DigitBatch, digits: NDArray[np.uint8], *, no_digits: int
) -> tuple[DigitBatch, ByOutput, ByOutput]:
    """Add targets and weights for both heads. From negative examples, at the end, only the second learns."""
    is_digit = (np.arange(len(digits)) < len(digits) - no_digits).astype(np.float32)
    targets: ByOutput = {PROBABILITIES: digits, DIGIT_LIKELIHOOD: is_digit[:, None]}
    weights: ByOutput = {PROBABILITIES: is_digit, DIGIT_LIKELIHOOD: np.ones(len(digits), np.float32)}
    return pictures, targets, weights
