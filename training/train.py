"""Trains a network by its recipe, an epoch at a time, each kept so that it can be resumed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import keras
import numpy as np

from app.digits.contract import DIGIT_LIKELIHOOD, PROBABILITIES
from training import files, pool
from training.augment import augment
from training.calibration import fit_temperature, logarithms
from training.errors import RunError
from training.networks import network_of
from training.runs import Origin, Run, current_commit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.digits.contract import DigitBatch
    from training.data import Labelled
    from training.pool import Pool
    from training.recipe import Recipe, Scenes

    Told = dict[str, NDArray[Any]]  # output → what it is to say, or how much that counts

# With TensorFlow, XLA on two CPU cores takes twice as long as oneDNN's kernels do: 56 s an epoch
# against 28 s for a `cnn` of 7.3 million multiply-adds, in float32. JAX knows no other way.
LOST_DIGITS: Final = 0.01  # of real digits, at most so many are called none
LIKELIHOOD_SHARE: Final = 0.5  # of the second head's loss: reading digits comes first
_LOSSES: Final = {PROBABILITIES: "sparse_categorical_crossentropy", DIGIT_LIKELIHOOD: "binary_crossentropy"}
JIT: str | bool = "auto" if keras.backend.backend() == "jax" else False


def train(
    recipe: Recipe, training: Labelled, validation: Labelled, *, run: Run, resume: bool = False
) -> keras.Model:
    """Train `recipe` into `run`, from the start or from the last whole epoch.

    The order of the pictures and their bending depend on seed, epoch and batch alone, and the
    checkpoint holds the optimizer's state, so a resumed run walks the same way as an unbroken one.

    Returns:
        The trained model in float32, as it is kept in `run.model`.

    Raises:
        RunError: the run's folder is in the way, or `resume` finds none or one of another recipe.
    """
    if resume:
        _require(run, recipe, training)
    else:
        run.start(Origin(recipe=recipe, data_sha256=training.sha256, commit=current_commit()))
    model = fit(run, training, validation, watchers=[keras.callbacks.TensorBoard(run.tensorboard)])
    return _finished(model, recipe, run, validation)


def fit(
    run: Run,
    training: Labelled,
    validation: Labelled,
    *,
    watchers: Sequence[keras.callbacks.Callback] = (),
    verbose: Literal["auto", 0] = "auto",
) -> keras.Model:
    """Walk the epochs that a run still lacks; `watchers` hear of each once it has been kept.

    Returns:
        The model as it was trained, in the recipe's precision and not calibrated.
    """
    recipe = run.origin().recipe
    keras.utils.set_random_seed(recipe.seed)
    pictures = _pictures(training, recipe, run)
    if run.checkpoint.exists():
        model = keras.models.load_model(run.checkpoint)
    else:
        model = _compiled(recipe, steps=recipe.epochs * len(pictures))
    done = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // len(pictures)
    pictures.epoch = done
    model.fit(
        pictures,
        shuffle=False,  # `Pictures` shuffles; Keras would by a state that no checkpoint keeps
        validation_data=(validation.pictures, _truth(recipe, validation.digits)),
        validation_batch_size=1000,
        initial_epoch=done,
        epochs=recipe.epochs,
        callbacks=[_Keep(run, done=done), *watchers],
        verbose=verbose,
    )
    return model


class Pictures(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of training pictures, in a new order and bent anew in every epoch."""

    def __init__(self, training: Labelled, recipe: Recipe) -> None:
        super().__init__()
        self._training = training
        self._recipe = recipe
        self.epoch = 0
        self._shuffled = (-1, np.empty(0, np.intp))  # the order of one epoch: drawing it costs half a batch

    def __len__(self) -> int:
        return math.ceil(len(self._training) / self._recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[DigitBatch, np.ndarray]:
        size = self._recipe.batch_size
        rows = self._training[self._order()[batch * size : (batch + 1) * size]]
        how = self._recipe.augmentation
        pictures = rows.pictures if how is None else augment(rows.pictures, how, rng=self._generator(batch))
        return pictures, rows.digits

    def on_epoch_end(self) -> None:
        """Go on to the next order and the next bending; Keras calls it."""
        self.epoch += 1

    def _order(self) -> NDArray[np.intp]:
        if self._shuffled[0] != self.epoch:
            self._shuffled = self.epoch, self._generator().permutation(len(self._training))
        return self._shuffled[1]

    def _generator(self, *more: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.seed, self.epoch, *more))


class Mixture(Pictures):
    """Batches of MNIST, digits in scenes and what is no digit; of MNIST alone in the first epochs.

    The scenes are drawn when the first of them is needed, and kept beside the run.
    """

    def __init__(self, training: Labelled, recipe: Recipe, scenes: Scenes, run: Run) -> None:
        super().__init__(training, recipe)
        self._scenes = scenes
        self._run = run

    @cached_property
    def _pool(self) -> Pool:
        return pool.drawn(self._training, self._recipe, file=self._run.scenes)

    def __getitem__(  # type: ignore[override]  # Keras takes weights as a third
        self, batch: int
    ) -> tuple[DigitBatch, Told, Told]:
        pictures, digits = super().__getitem__(batch)
        if self.epoch < self._scenes.plain_epochs:
            return self._told(pictures, digits, no_digits=0)
        rng = self._generator(batch, 1)
        size = len(digits)
        no_digits, in_scenes = (
            round(size * share) for share in (self._scenes.share_no_digits, self._scenes.share)
        )
        rows = rng.integers(len(self._pool.digits), size=in_scenes)
        others = rng.integers(len(self._pool.no_digits), size=no_digits)
        shown = np.concatenate([self._pool.digits.pictures[rows], self._pool.no_digits[others]])
        kept = size - len(shown)
        pictures = np.concatenate([pictures[:kept], augment(shown, self._scenes.bending, rng=rng)])
        digits = np.concatenate(
            [digits[:kept], self._pool.digits.digits[rows], np.zeros(no_digits, np.uint8)]
        )
        return self._told(pictures, digits, no_digits=no_digits)

    def _told(
        self, pictures: DigitBatch, digits: NDArray[np.uint8], *, no_digits: int
    ) -> tuple[DigitBatch, Told, Told]:
        """Add what each head is to say; of what is no digit only the second head learns."""
        is_digit = np.arange(len(digits)) < len(digits) - no_digits
        truth: Told = {PROBABILITIES: digits, DIGIT_LIKELIHOOD: is_digit.astype(np.float32)[:, None]}
        weights: Told = {
            PROBABILITIES: is_digit.astype(np.float32),
            DIGIT_LIKELIHOOD: np.ones(len(digits), np.float32),
        }
        return pictures, truth, weights


class _Keep(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps model, optimizer and history after every epoch."""

    def __init__(self, run: Run, *, done: int) -> None:
        super().__init__()
        self._run = run
        # a crash between the two files may have left one epoch more in the history
        self._history = {metric: values[:done] for metric, values in run.history().items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        for metric, value in (logs or {}).items():
            self._history.setdefault(metric, []).append(float(value))
        self._run.keep_history(self._history)
        _save(self.model, self._run.checkpoint)


def _pictures(training: Labelled, recipe: Recipe, run: Run) -> Pictures:
    return (
        Pictures(training, recipe) if recipe.scenes is None else Mixture(training, recipe, recipe.scenes, run)
    )


def _truth(recipe: Recipe, digits: NDArray[np.uint8]) -> NDArray[np.uint8] | dict[str, np.ndarray]:
    if recipe.scenes is None:
        return digits
    return {PROBABILITIES: digits, DIGIT_LIKELIHOOD: np.ones((len(digits), 1), np.float32)}


def _compiled(recipe: Recipe, *, steps: int) -> keras.Model:
    keras.config.set_dtype_policy(recipe.precision)
    model = network_of(recipe)
    model.compile(
        optimizer=keras.optimizers.AdamW(_learning_rate(recipe, steps), weight_decay=recipe.weight_decay),
        loss=_LOSSES if recipe.scenes else _LOSSES[PROBABILITIES],
        loss_weights={PROBABILITIES: 1.0, DIGIT_LIKELIHOOD: LIKELIHOOD_SHARE} if recipe.scenes else None,
        weighted_metrics={PROBABILITIES: ["accuracy"]} if recipe.scenes else ["accuracy"],
        jit_compile=JIT,
    )
    return model


def _learning_rate(recipe: Recipe, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = steps // 20  # Adam's second moments are noise in the first few hundred steps
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=recipe.learning_rate, warmup_steps=warmup
    )


def _require(run: Run, recipe: Recipe, training: Labelled) -> None:
    """Check that the run is of this recipe on these pictures, and has an epoch to go on from."""
    origin = run.origin()
    if origin.recipe != recipe:
        msg = f"{run.folder} was started with another recipe: give the same options, or --fresh."
        raise RunError(msg)
    if origin.data_sha256 != training.sha256:
        msg = f"{run.folder} was started on other pictures: give the same options, or --fresh."
        raise RunError(msg)
    if not run.checkpoint.exists():
        msg = f"{run.folder} has no whole epoch to go on from: --fresh starts it again."
        raise RunError(msg)


def _finished(model: keras.Model, recipe: Recipe, run: Run, validation: Labelled) -> keras.Model:
    """Keep the weights in a float32 model: bfloat16 was for speed, and ONNX need not know of it."""
    keras.config.set_dtype_policy("float32")
    plain = network_of(recipe)
    plain.set_weights(model.get_weights())
    if recipe.scenes is not None:
        _calibrate(plain, validation, pool.held_out(validation, recipe, file=run.held_out))
    _save(plain, run.model)
    return plain


def _calibrate(model: keras.Model, validation: Labelled, scenes: Pool) -> None:
    """Fold into the last layers what makes confidence honest and 0.5 the threshold of `is_digit`.

    Shifting the second head's bias moves its threshold.
    """
    told = model.predict(validation.pictures, batch_size=500, verbose=0)
    temperature = fit_temperature(logarithms(told[PROBABILITIES]), validation.digits)
    cool(model, temperature)
    in_scenes = model.predict(scenes.digits.pictures, batch_size=500, verbose=0)
    # a scene that can't be read as its digit, blurred or broken beyond that, is no digit to keep
    readable = in_scenes[PROBABILITIES].argmax(axis=1) == scenes.digits.digits
    likelihoods = np.concatenate([told[DIGIT_LIKELIHOOD], in_scenes[DIGIT_LIKELIHOOD][readable]])
    least = np.clip(np.quantile(likelihoods.astype(np.float64), LOST_DIGITS), 1e-6, 1 - 1e-6)
    head = model.get_layer(DIGIT_LIKELIHOOD)
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias - np.log(least / (1 - least))])


def cool(model: keras.Model, temperature: float) -> None:
    """Fold a temperature into the last layer: dividing logits is dividing weights and bias.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    last = model.get_layer(PROBABILITIES)
    last.set_weights([weights / temperature for weights in last.get_weights()])


def _save(model: keras.Model, file: Path) -> None:
    with files.replace(file) as draft:
        model.save(draft)
