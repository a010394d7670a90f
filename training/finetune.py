"""Adapts a trained network to a few pictures of one's own, and lets it forget nothing.

Own pictures are a part of every batch. The others, MNIST's and scribbles that are no digits, are rehearsed:
of them the network is to say what it said before, with both heads, as sure or unsure as it was (Li and Hoiem:
Learning without Forgetting, 2016). Batch normalisation keeps its means: those of a few pictures are chance.
In the end the weights go only a share of the way from the old to the learned ones, which keeps more of what
the old ones could (Wortsman et al.: Robust Fine-tuning of Zero-shot Models, 2022).

How long to train is found by cross-validation: each quarter of the own pictures is read by a network that
was taught the other three, after every round, and the round with the least loss is the last one of the
network that is then taught all of them. So every own picture is held out once, and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from app.digits.classifier import Classifier, Scores
from app.digits.contract import CLASSES, DIGIT_LIKELIHOOD, PROBABILITIES, DigitBatch
from training.data.labelled import Labelled
from training.errors import ExportError, WorkshopError
from training.export import KERAS_FILE, outputs, prove_same
from training.judge import evaluation
from training.judge.service_reader import classify
from training.learn.calibration import apply_temperature, fit_temperature, log_probabilities
from training.recipe import FineTuning
from training.scenes import scene_pool
from training.scenes.augmentation import augment
from training.train import JIT, cool

_LOSSES: Final = {PROBABILITIES: "categorical_crossentropy", DIGIT_LIKELIHOOD: "binary_crossentropy"}
SCRIBBLES: Final = 500  # that are no digits; each is bent anew whenever it is shown


@dataclass(frozen=True)
class Parent:
    """A network to begin with: as Keras keeps it, and as the service reads with it."""

    model: keras.Model
    classifier: Classifier

    @classmethod
    def load(cls, folder: Path) -> Parent:
        """Load both from the folder of an exported network.

        Raises:
            WorkshopError: one of them is missing, they are not the same network, or it can't be adapted.
        """
        classifier = evaluation.load_classifier(folder)
        file = folder / KERAS_FILE
        if not file.exists():
            msg = f"There is no {file}: `python -m training export {classifier.name}` writes it."
            raise ExportError(msg)
        try:
            model = keras.models.load_model(file)
        except (OSError, ValueError) as error:
            msg = f"{file} is damaged: `python -m training export {classifier.name}` writes it again."
            raise ExportError(msg) from error
        prove_same(model, classifier)
        if not model.get_layer(PROBABILITIES).weights:
            msg = f"{classifier.name} can't be fine-tuned: its last layer has no weights."
            raise WorkshopError(msg)
        return cls(model, classifier)

    @property
    def tells_digits(self) -> bool:
        """Whether it has a second head."""
        return DIGIT_LIKELIHOOD in self.classifier.outputs


@dataclass(frozen=True)
class Adapted:
    """What came of fine-tuning."""

    model: keras.Model  # calibrated
    rounds: int  # that it was taught
    held_out: Scores  # of each own picture, by a network that was not taught it


def adapt(
    parent: Parent, own: Labelled, *, rehearsed: DigitBatch, validation: Labelled, how: FineTuning
) -> Adapted:
    """Teach a network the own pictures, for as long as it reads others of their kind better for it.

    Args:
        parent: stays as it is.
        own: at least `user_pictures.MIN_PICTURES` of each digit that is there.
        rehearsed: MNIST's training pictures.
        validation: MNIST's, for the temperature.
        how: the numbers.

    Raises:
        WorkshopError: held-out pictures are read best by the network as it is.
    """
    course = _Course(parent, rehearsed, how)
    with Progress(transient=True) as progress:
        task = progress.add_task("Fine-tuning", total=how.rounds * (how.folds + 1))
        after = _held_out(course, own, done=lambda: progress.advance(task))
        rounds = int(np.argmin([_loss(scores, own.digits) for scores in after]))
        if not rounds:
            msg = "Held-out pictures are read best by the network as it is: nothing is gained or written."
            raise WorkshopError(msg)
        model = _copy(parent.model)
        for _ in islice(course.rounds(model, own), rounds):
            progress.advance(task)
    model, scores = course.part_of_the_way(model), after[rounds]
    temperature = _temperature(model, validation, scores, own)
    cool(model, temperature)
    probabilities = apply_temperature(scores.probabilities, temperature).astype(np.float32)
    return Adapted(model, rounds, Scores(probabilities, scores.digit_likelihood))


@dataclass(frozen=True)
class _Course:
    """What is taught along with the own pictures, and how."""

    parent: Parent
    rehearsed: DigitBatch
    how: FineTuning

    @property
    def _batch_size(self) -> int:
        return self.how.own + self.how.rehearsed + self.how.scribbles

    def rounds(self, model: keras.Model, own: Labelled) -> Iterator[None]:
        """Teach the model a round, then another: the last layer first, then all of them."""
        how = self.how
        keras.utils.set_random_seed(how.seed)  # of dropout
        for number in range(how.rounds):
            if number == 0:
                self._begin(model, how.head_rounds, all_layers=False)
            elif number == how.head_rounds:
                self._begin(model, how.rounds - how.head_rounds, all_layers=True)
            shown, truth = self._lesson(own, rng=np.random.default_rng((how.seed, number)))
            model.fit(shown, truth, batch_size=self._batch_size, shuffle=False, verbose=0)
            yield

    def part_of_the_way(self, model: keras.Model) -> keras.Model:
        """Return the network between the parent and what was learned, which keeps more of the parent."""
        both = zip(self.parent.model.get_weights(), model.get_weights(), strict=True)
        between = _copy(model)
        between.set_weights([before + self.how.share * (learned - before) for before, learned in both])
        return between

    def _begin(self, model: keras.Model, rounds: int, *, all_layers: bool) -> None:
        """Let the last layer learn, or all but batch normalisation, which keeps its means."""
        for layer in model.layers:
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = layer.name == PROBABILITIES or (all_layers and not normalises)
        rate = keras.optimizers.schedules.CosineDecay(self.how.learning_rate, rounds * self.how.steps)
        loss = _LOSSES if self.parent.tells_digits else _LOSSES[PROBABILITIES]
        model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=JIT)

    def _lesson(
        self, own: Labelled, *, rng: np.random.Generator
    ) -> tuple[DigitBatch, NDArray[np.float32] | dict[str, NDArray[np.float32]]]:
        """Return the pictures of a round, batch after batch, and what is to be said of them."""
        how, steps = self.how, self.how.steps
        taught = own[rng.integers(len(own), size=steps * how.own)]
        rehearsed = self.rehearsed[rng.integers(len(self.rehearsed), size=steps * how.rehearsed)]
        scribbles = _scribbles()[rng.integers(SCRIBBLES, size=steps * how.scribbles)]
        parts = (taught.pictures, rehearsed, scribbles)
        shown = _batched([augment(part, how.augmentation, rng=rng) for part in parts], steps)
        probabilities, likelihoods = classify(self.parent.classifier, shown)
        is_own = np.arange(len(shown)) % self._batch_size < how.own
        probabilities[is_own] = np.eye(CLASSES)[taught.digits]
        if likelihoods is None:
            return shown, probabilities
        likelihoods[is_own] = 1
        return shown, {PROBABILITIES: probabilities, DIGIT_LIKELIHOOD: likelihoods[:, np.newaxis]}


@cache
def _scribbles() -> DigitBatch:
    return scene_pool.draw_scribbles(SCRIBBLES, seed=0)


def _batched(parts: Sequence[NDArray[Any]], steps: int) -> NDArray[Any]:
    """Share each part out among the batches, and put these after each other."""
    shares = [part.reshape(steps, len(part) // steps, *part.shape[1:]) for part in parts]
    together = np.concatenate(shares, axis=1)
    return together.reshape(-1, *together.shape[2:])


def _held_out(course: _Course, own: Labelled, *, done: Callable[[], None]) -> list[Scores]:
    """Return what is said of the own pictures at first, and after each round by networks not taught them."""
    how, parent = course.how, course.parent
    before = _said(parent.model, own.pictures)
    times = how.rounds + 1
    probabilities = np.stack([before.probabilities] * times)
    likelihoods = None if before.digit_likelihood is None else np.stack([before.digit_likelihood] * times)
    for held in _folds(own.digits, how):
        model = _copy(parent.model)
        taught = np.setdiff1d(np.arange(len(own)), held)
        for number, _ in enumerate(course.rounds(model, own[taught]), start=1):
            said = _said(course.part_of_the_way(model), own.pictures[held])
            probabilities[number, held] = said.probabilities
            if likelihoods is not None:
                likelihoods[number, held] = said.digit_likelihood
            done()
    if likelihoods is None:
        return [Scores(said, None) for said in probabilities]
    return [Scores(*both) for both in zip(probabilities, likelihoods, strict=True)]


def _folds(digits: NDArray[np.uint8], how: FineTuning) -> list[NDArray[np.intp]]:
    """Part row numbers by chance, each digit's evenly."""
    order = np.random.default_rng(how.seed).permutation(len(digits))
    by_digit = order[np.argsort(digits[order], kind="stable")]
    return [np.sort(by_digit[first :: how.folds]) for first in range(how.folds)]


def _loss(scores: Scores, digits: NDArray[np.uint8]) -> float:
    return evaluation.score(scores.probabilities, digits).loss


def _temperature(model: keras.Model, validation: Labelled, held_out: Scores, own: Labelled) -> float:
    """Find what makes confidence honest, of MNIST and of held-out own pictures."""
    said = np.concatenate([_said(model, validation.pictures).probabilities, held_out.probabilities])
    return fit_temperature(log_probabilities(said), np.concatenate([validation.digits, own.digits]))


def _said(model: keras.Model, pictures: DigitBatch) -> Scores:
    probabilities, *likelihood = (keras.ops.convert_to_numpy(said) for said in outputs(model, pictures))
    return Scores(probabilities, likelihood[0] if likelihood else None)


def _copy(model: keras.Model) -> keras.Model:
    """Return the same network, all of it to be trained, without an optimizer."""
    copy = keras.Model.from_config(model.get_config())  # `clone_model` would copy the optimizer, too
    copy.set_weights(model.get_weights())
    copy.trainable = True
    return copy
