"""Adapts a trained network to a few pictures of the user's own, without forgetting others.

The user's pictures are a part of every batch. The rest is rehearsed: pictures of MNIST, and scribbles as
negative examples, for which the targets are the parent's own outputs, of both heads (Li and Hoiem: Learning
without Forgetting, 2016). Batch normalisation keeps its means, because the means of a few pictures are noise.
In the end, the weights move only a share of the way from the parent's to the learned ones, which keeps more
of the parent's accuracy (Wortsman et al.: Robust Fine-tuning of Zero-shot Models, 2022).

Cross-validation decides how long to train: after every round, each quarter of the user's pictures is read by
a network that learned from the other three. The final network learns from all of them, up to the round with
the lowest held-out loss. So every picture is held out once, and every picture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from app.digits.classifier import Classifier, Scores
from app.digits.contract import CLASSES, DIGIT_LIKELIHOOD, PROBABILITIES, DigitBatch
from training.data.labelled import Labelled
from training.errors import TrainingError
from training.judge.evaluation import measure_quality
from training.judge.service_reader import classify
from training.learn.calibration import apply_temperature, fit_temperature, fold_temperature, log_probabilities
from training.learn.networks import compute_outputs
from training.learn.train import JIT
from training.recipe import FineTuning
from training.scenes import scene_pool
from training.scenes.augmentation import augment

_LOSSES: Final = {PROBABILITIES: "categorical_crossentropy", DIGIT_LIKELIHOOD: "binary_crossentropy"}
SCRIBBLE_COUNT: Final = 500  # negative examples; each is augmented anew whenever it is shown


@dataclass(frozen=True)
class Mnist:
    """The three parts of MNIST, by their use in fine-tuning."""

    training: Labelled  # to rehearse
    validation: Labelled  # for the temperature
    test: Labelled  # for the final figure


@dataclass(frozen=True)
class Parent:
    """The network to start from, as a Keras model and as the service loads it."""

    model: keras.Model
    classifier: Classifier

    @property
    def has_likelihood(self) -> bool:
        """Whether it has a second head, for the digit likelihood."""
        return DIGIT_LIKELIHOOD in self.classifier.outputs


@dataclass(frozen=True)
class FineTuned:
    """The result of fine-tuning."""

    model: keras.Model  # calibrated
    rounds: int  # that it was trained for
    held_out: Scores  # of each of the user's pictures, by a network that did not learn from it


def fine_tune(parent: Parent, user_pictures: Labelled, *, mnist: Mnist, fine_tuning: FineTuning) -> FineTuned:
    """Train a copy on the user's pictures, for as long as it gets better at those that are held out.

    Raises:
        TrainingError: the parent reads held-out pictures best.
    """
    course = _Course(parent, mnist.training.pictures, fine_tuning)
    with Progress(transient=True) as progress:
        task = progress.add_task("Fine-tuning", total=fine_tuning.rounds * (fine_tuning.folds + 1))
        scores_by_round = _cross_validate(course, user_pictures, advance=lambda: progress.advance(task))
        rounds = int(
            np.argmin(
                [
                    measure_quality(scores.probabilities, user_pictures.digits).loss
                    for scores in scores_by_round
                ]
            )
        )
        if not rounds:
            msg = "Fine-tuning did not improve the reading of held-out pictures: nothing has been written."
            raise TrainingError(msg)
        model = _copy_model(parent.model)
        for _ in islice(course.rounds(model, user_pictures), rounds):
            progress.advance(task)
    model, scores = course.interpolate(model), scores_by_round[rounds]
    temperature = _fit_temperature(model, mnist.validation, scores, user_pictures)
    fold_temperature(model, temperature)
    probabilities = apply_temperature(scores.probabilities, temperature).astype(np.float32)
    return FineTuned(model, rounds, Scores(probabilities, scores.digit_likelihood))


@dataclass(frozen=True)
class _Course:
    """How to train on the user's pictures, and what to rehearse beside them."""

    parent: Parent
    rehearsed: DigitBatch
    fine_tuning: FineTuning

    @property
    def _batch_size(self) -> int:
        return self.fine_tuning.own + self.fine_tuning.rehearsed + self.fine_tuning.scribbles

    def rounds(self, model: keras.Model, user_pictures: Labelled) -> Iterator[None]:
        """Train the model, and yield after each round. The first rounds train the last layer alone."""
        fine_tuning = self.fine_tuning
        keras.utils.set_random_seed(fine_tuning.seed)  # of dropout
        for number in range(fine_tuning.rounds):
            if number == 0:
                self._compile(model, fine_tuning.head_rounds, all_layers=False)
            elif number == fine_tuning.head_rounds:
                self._compile(model, fine_tuning.rounds - fine_tuning.head_rounds, all_layers=True)
            pictures, targets = self._draw_round(
                user_pictures, rng=np.random.default_rng((fine_tuning.seed, number))
            )
            model.fit(pictures, targets, batch_size=self._batch_size, shuffle=False, verbose=0)
            yield

    def interpolate(self, model: keras.Model) -> keras.Model:
        """Return the network with weights between the parent's and the learned ones."""
        pairs = zip(self.parent.model.get_weights(), model.get_weights(), strict=True)
        interpolated = _copy_model(model)
        interpolated.set_weights(
            [before + self.fine_tuning.share * (learned - before) for before, learned in pairs]
        )
        return interpolated

    def _compile(self, model: keras.Model, rounds: int, *, all_layers: bool) -> None:
        """Make the last layer trainable, or all layers except batch normalisation."""
        for layer in model.layers:
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = layer.name == PROBABILITIES or (all_layers and not normalises)
        rate = keras.optimizers.schedules.CosineDecay(
            self.fine_tuning.learning_rate, rounds * self.fine_tuning.steps
        )
        loss = _LOSSES if self.parent.has_likelihood else _LOSSES[PROBABILITIES]
        model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=JIT)

    def _draw_round(
        self, user_pictures: Labelled, *, rng: np.random.Generator
    ) -> tuple[DigitBatch, NDArray[np.float32] | dict[str, NDArray[np.float32]]]:
        fine_tuning, steps = self.fine_tuning, self.fine_tuning.steps
        learned = user_pictures[rng.integers(len(user_pictures), size=steps * fine_tuning.own)]
        rehearsed = self.rehearsed[rng.integers(len(self.rehearsed), size=steps * fine_tuning.rehearsed)]
        scribbles = scene_pool.draw_scribbles(SCRIBBLE_COUNT, seed=0)[
            rng.integers(SCRIBBLE_COUNT, size=steps * fine_tuning.scribbles)
        ]
        parts = (learned.pictures, rehearsed, scribbles)
        pictures = _interleave([augment(part, fine_tuning.augmentation, rng=rng) for part in parts], steps)
        probabilities, likelihoods = classify(self.parent.classifier, pictures)
        is_own = np.arange(len(pictures)) % self._batch_size < fine_tuning.own
        probabilities[is_own] = np.eye(CLASSES)[learned.digits]
        if likelihoods is None:
            return pictures, probabilities
        likelihoods[is_own] = 1
        return pictures, {PROBABILITIES: probabilities, DIGIT_LIKELIHOOD: likelihoods[:, np.newaxis]}


def _interleave(parts: Sequence[NDArray[Any]], steps: int) -> NDArray[Any]:
    shares = [part.reshape(steps, len(part) // steps, *part.shape[1:]) for part in parts]
    together = np.concatenate(shares, axis=1)
    return together.reshape(-1, *together.shape[2:])


def _cross_validate(course: _Course, user_pictures: Labelled, *, advance: Callable[[], None]) -> list[Scores]:
    """Return the scores of held-out pictures: the parent's, then those after each round."""
    fine_tuning, parent = course.fine_tuning, course.parent
    before = _predict(parent.model, user_pictures.pictures)
    times = fine_tuning.rounds + 1
    probabilities = np.stack([before.probabilities] * times)
    likelihoods = None if before.digit_likelihood is None else np.stack([before.digit_likelihood] * times)
    for held_out in _split_folds(user_pictures.digits, fine_tuning):
        model = _copy_model(parent.model)
        rest = np.setdiff1d(np.arange(len(user_pictures)), held_out)
        for number, _ in enumerate(course.rounds(model, user_pictures[rest]), start=1):
            scores = _predict(course.interpolate(model), user_pictures.pictures[held_out])
            probabilities[number, held_out] = scores.probabilities
            if likelihoods is not None:
                likelihoods[number, held_out] = scores.digit_likelihood
            advance()
    if likelihoods is None:
        return [Scores(one, None) for one in probabilities]
    return [Scores(*both) for both in zip(probabilities, likelihoods, strict=True)]


def _split_folds(digits: NDArray[np.uint8], fine_tuning: FineTuning) -> list[NDArray[np.intp]]:
    order = np.random.default_rng(fine_tuning.seed).permutation(len(digits))
    by_digit = order[np.argsort(digits[order], kind="stable")]
    return [np.sort(by_digit[first :: fine_tuning.folds]) for first in range(fine_tuning.folds)]


def _fit_temperature(
    model: keras.Model, validation: Labelled, held_out: Scores, user_pictures: Labelled
) -> float:
    probabilities = np.concatenate(
        [_predict(model, validation.pictures).probabilities, held_out.probabilities]
    )
    return fit_temperature(
        log_probabilities(probabilities), np.concatenate([validation.digits, user_pictures.digits])
    )


def _predict(model: keras.Model, pictures: DigitBatch) -> Scores:
    probabilities, *likelihood = (keras.ops.convert_to_numpy(one) for one in compute_outputs(model, pictures))
    return Scores(probabilities, likelihood[0] if likelihood else None)


def _copy_model(model: keras.Model) -> keras.Model:
    """Return a copy of the network, with all layers trainable and no optimizer."""
    copy = keras.Model.from_config(model.get_config())  # `clone_model` would copy the optimizer, too
    copy.set_weights(model.get_weights())
    copy.trainable = True
    return copy
