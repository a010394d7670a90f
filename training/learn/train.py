"""Trains a network from its recipe, with a checkpoint after every epoch, from which a run can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import DIGIT_LIKELIHOOD, PROBABILITIES
from training.data.labelled import Labelled
from training.errors import RunError
from training.files import open_draft
from training.learn.batches import make_batches
from training.learn.calibration import calibrate
from training.learn.networks import build_network
from training.learn.runs import Origin, Run, get_current_commit
from training.recipe import Recipe
from training.scenes.scene_pool import load_or_draw_held_out

# weight of the second head's loss; the loss of the digits has weight 1, because the digits matter more
LIKELIHOOD_WEIGHT: Final = 0.5
_LOSSES: Final = {PROBABILITIES: "sparse_categorical_crossentropy", DIGIT_LIKELIHOOD: "binary_crossentropy"}
# With TensorFlow, XLA takes twice as long on two CPU cores as oneDNN's kernels do: 56 s an epoch
# against 28 s for a `cnn` of 7.3 million multiply-adds, in float32. JAX always compiles with XLA.
JIT: str | bool = "auto" if keras.backend.backend() == "jax" else False


def train(
    recipe: Recipe, training: Labelled, validation: Labelled, *, run: Run, resume: bool = False
) -> keras.Model:
    """Train a network from `recipe` in the folder of `run`, from the start or after the last complete epoch.

    The order of the pictures and their augmentation depend only on seed, epoch and batch, and the checkpoint
    holds the optimizer's state, so a resumed run gives the same network as an uninterrupted one. Returns the
    model in float32, as in `run.model`.

    Raises:
        RunError: the run exists already; or, with `resume`, it does not exist or has another recipe or data.
    """
    if resume:
        _check_resumable(run, recipe, training)
    else:
        run.start(Origin(recipe=recipe, data_sha256=training.sha256, commit=get_current_commit()))
    model = fit(run, training, validation, callbacks=[keras.callbacks.TensorBoard(run.tensorboard)])
    return _finish(model, recipe, run, validation)


def fit(
    run: Run,
    training: Labelled,
    validation: Labelled,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Literal["auto", 0] = "auto",
) -> keras.Model:
    """Train for the remaining epochs of a run; `callbacks` are called after each epoch has been saved.

    Returns the model in the recipe's precision, not calibrated.
    """
    recipe = run.read_origin().recipe
    keras.utils.set_random_seed(recipe.seed)
    batches = make_batches(training, recipe, run)
    if run.checkpoint.exists():
        model = keras.models.load_model(run.checkpoint)
    else:
        model = _compile(recipe, steps=recipe.epochs * len(batches))
    epochs_done = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // len(batches)
    batches.epoch = epochs_done
    model.fit(
        batches,
        # `batches` shuffles by seed and epoch; Keras would use a random state that no checkpoint stores
        shuffle=False,
        validation_data=(validation.pictures, _build_targets(recipe, validation.digits)),
        validation_batch_size=1000,
        initial_epoch=epochs_done,
        epochs=recipe.epochs,
        callbacks=[_EpochSaver(run, epochs_done=epochs_done), *callbacks],
        verbose=verbose,
    )
    return model


class _EpochSaver(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Writes model, optimizer and history to the run's folder after every epoch."""

    def __init__(self, run: Run, *, epochs_done: int) -> None:
        super().__init__()
        self._run = run
        # a crash between writing history and checkpoint may have left one epoch too many in the history
        self._history = {metric: values[:epochs_done] for metric, values in run.read_history().items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        for metric, value in (logs or {}).items():
            self._history.setdefault(metric, []).append(float(value))
        self._run.write_history(self._history)
        _save(self.model, self._run.checkpoint)


def _build_targets(recipe: Recipe, digits: NDArray[np.uint8]) -> NDArray[np.uint8] | dict[str, np.ndarray]:
    if recipe.scenes is None:
        return digits
    return {PROBABILITIES: digits, DIGIT_LIKELIHOOD: np.ones((len(digits), 1), np.float32)}


def _compile(recipe: Recipe, *, steps: int) -> keras.Model:
    keras.config.set_dtype_policy(recipe.precision)
    model = build_network(recipe)
    model.compile(
        optimizer=keras.optimizers.AdamW(_build_schedule(recipe, steps), weight_decay=recipe.weight_decay),
        loss=_LOSSES if recipe.scenes else _LOSSES[PROBABILITIES],
        loss_weights={PROBABILITIES: 1.0, DIGIT_LIKELIHOOD: LIKELIHOOD_WEIGHT} if recipe.scenes else None,
        weighted_metrics={PROBABILITIES: ["accuracy"]} if recipe.scenes else ["accuracy"],
        jit_compile=JIT,
    )
    return model


def _build_schedule(recipe: Recipe, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = steps // 20  # Adam's second moments are noise in the first few hundred steps
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=recipe.learning_rate, warmup_steps=warmup
    )


def _check_resumable(run: Run, recipe: Recipe, training: Labelled) -> None:
    origin = run.read_origin()
    if origin.recipe != recipe:
        problem = "was started with another recipe: give the same options, or --fresh"
    elif origin.data_sha256 != training.sha256:
        problem = "was started on other pictures: give the same options, or --fresh"
    elif not run.checkpoint.exists():
        problem = "has no complete epoch to resume from: --fresh starts it again"
    else:
        return
    msg = f"{run.folder} {problem}."
    raise RunError(msg)


def _finish(model: keras.Model, recipe: Recipe, run: Run, validation: Labelled) -> keras.Model:
    """Copy the weights into a float32 model, calibrate it and save it; bfloat16 is for fast training only."""
    keras.config.set_dtype_policy("float32")
    float32_model = build_network(recipe)
    float32_model.set_weights(model.get_weights())
    if recipe.scenes is not None:
        held_out_scenes = load_or_draw_held_out(validation, recipe, file=run.held_out)
        calibrate(float32_model, validation, held_out_scenes.digits)
    _save(float32_model, run.model)
    return float32_model


def _save(model: keras.Model, file: Path) -> None:
    with open_draft(file) as draft:
        model.save(draft)
