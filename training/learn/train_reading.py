"""Trains the finder or the line reader by its recipe; every epoch is kept, so that a run can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import HEAT
from training.errors import RunError
from training.files import open_draft
from training.learn import finder, line_reader
from training.learn.drawn_batches import Batch, yield_epoch, yield_held_out
from training.learn.runs import History, Origin, ReadingRun, get_current_commit
from training.learn.train import JIT
from training.recipe import ReadingRecipe
from training.scenes.shards import Shelf, Shelves

Scores: TypeAlias = dict[str, float]
RunNetwork: TypeAlias = Callable[[NDArray[np.uint8]], Any]  # pictures → logits, or outputs by name

HELD_OUT_BATCHES: Final = 40  # of each kind of picture: some 1,600 strips, 480 documents; seconds
NETWORKS: Final[Mapping[str, Callable[[], keras.Model]]] = {
    "finder": finder.finder,
    "line_reader": line_reader.line_reader,
}


@keras.saving.register_keras_serializable(package="digits")
class SteadyAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras has no types
    """AdamW for which a batch counts nothing whose gradient is not finite.

    One strip in some hundred thousand has a CTC loss that is too large for float32, and would turn all
    weights into NaN.
    """

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Update the variables."""
        ops = keras.ops
        is_finite = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in grads]))
        steady = [ops.where(is_finite, gradient, ops.zeros_like(gradient)) for gradient in grads]
        super().apply(steady, trainable_variables)


def train(recipe: ReadingRecipe, shelves: Shelves, *, run: ReadingRun, resume: bool = False) -> keras.Model:
    """Train `recipe` into `run`, from the start or from the last complete epoch.

    Returns:
        The trained model in float32, its weights averaged, as in `run.model`.

    Raises:
        RunError: the run exists already, or `resume` finds none, or one of another recipe or other drawings.
    """
    if resume:
        _check_resumable(run, recipe, shelves)
    else:
        run.start(Origin(recipe=recipe, data_sha256=shelves.sha256, commit=get_current_commit()))
    model = fit(run, shelves)
    return _finish(model, recipe, run)


def fit(run: ReadingRun, shelves: Shelves) -> keras.Model:
    """Train for the epochs that a run still lacks; return the model as it was trained."""
    recipe = run.read_origin().recipe
    keras.utils.set_random_seed(recipe.seed)
    is_begun = run.checkpoint.exists()
    model = keras.models.load_model(run.checkpoint) if is_begun else compile_model(recipe)
    epochs_done = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // recipe.steps_in_epoch
    # a crash between the two files may have left one epoch more in the history
    history = {metric: values[:epochs_done] for metric, values in run.read_history().items()}
    for epoch in range(epochs_done, recipe.epochs):
        scores = _train_epoch(model, yield_epoch(recipe, shelves.training, epoch))
        with averaged_weights(model):
            scores |= measure(model.predict_on_batch, recipe, shelves.validation)
        _keep(run, model, history, scores, epoch)
    return model


def compile_model(recipe: ReadingRecipe) -> keras.Model:
    """Return the recipe's network, untrained, with its losses and optimizer."""
    keras.config.set_dtype_policy(recipe.precision)
    model = NETWORKS[recipe.network]()
    steps = recipe.epochs * recipe.steps_in_epoch
    warmup = min(recipe.warmup, steps // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - warmup,
        alpha=recipe.last_learning_rate,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = SteadyAdamW(
        schedule,
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=True,
        ema_momentum=recipe.average,
    )
    optimizer.build(model.trainable_variables)  # otherwise the first batch traces the step twice: 8 s
    is_finder = recipe.network == "finder"
    model.compile(
        optimizer=optimizer,
        loss=finder.LOSSES if is_finder else line_reader.ctc_loss,
        loss_weights=finder.LOSS_SHARES if is_finder else None,
        jit_compile=JIT,
    )
    return model


def measure(run_network: RunNetwork, recipe: ReadingRecipe, shelf: Shelf) -> Scores:
    """Return how well pictures of held-out writers and digits are read: synthetic ones, to choose by."""
    batches = yield_held_out(recipe, shelf, batches=HELD_OUT_BATCHES)
    measure_one = _measure_finder if recipe.network == "finder" else _measure_reader
    return measure_one(run_network, batches)


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Put the averaged weights in the place of the last ones for a while."""
    last = [keras.ops.copy(weights) for weights in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for weights, value in zip(model.trainable_variables, last, strict=True):
            weights.assign(value)


def _train_epoch(model: keras.Model, batches: Iterable[Batch]) -> Scores:
    started, pictures = time.monotonic(), 0
    model.reset_metrics()
    for batch, truth in batches:
        logs = model.train_on_batch(batch, truth, return_dict=True)
        pictures += len(batch)
    scores = {metric: float(value) for metric, value in logs.items()}  # means over the epoch
    return scores | {"pictures": pictures, "seconds": time.monotonic() - started}


def _measure_reader(run_network: RunNetwork, batches: Iterable[Batch]) -> Scores:
    loss, right, count = 0.0, 0, 0
    for strips, labels in batches:
        logits = run_network(strips)
        loss += float(np.sum(keras.ops.convert_to_numpy(line_reader.ctc_loss(labels, logits))))
        texts = line_reader.decode_labels(labels)
        right += sum(
            one == other for one, other in zip(line_reader.read_greedily(logits), texts, strict=True)
        )
        count += len(strips)
    return {"val_loss": loss / count, "val_right": right / count}


def _measure_finder(run_network: RunNetwork, batches: Iterable[Batch]) -> Scores:
    counts = np.zeros(3)
    losses = []
    for pictures, truth in batches:
        outputs = run_network(pictures)
        losses.append(
            sum(
                share * float(finder.LOSSES[name](truth[name], outputs[name]))
                for name, share in finder.LOSS_SHARES.items()
            )
        )
        counts += finder.count_found(truth[HEAT], outputs[HEAT])
    there, found, claimed = counts
    return {
        "val_loss": float(np.mean(losses)),
        "val_recall": found / there,
        "val_precision": found / max(claimed, 1),
    }


def _keep(run: ReadingRun, model: keras.Model, history: History, scores: Scores, epoch: int) -> None:
    """Write history, checkpoint and a line of the log.

    Raises:
        RunError: the network has diverged; the checkpoint of the epoch before stays.
    """
    if not np.isfinite(scores["val_loss"]):
        msg = f"Epoch {epoch + 1} has diverged: its loss is {scores['val_loss']}. Lower the learning rate."
        raise RunError(msg)
    for metric, value in scores.items():
        history.setdefault(metric, []).append(float(value))
    run.write_history(history)
    _save(model, run)
    line = f"epoch {epoch + 1}: " + ", ".join(f"{metric} {value:.4g}" for metric, value in scores.items())
    print(line, flush=True)
    with run.log.open("a") as log:
        log.write(line + "\n")


def _check_resumable(run: ReadingRun, recipe: ReadingRecipe, shelves: Shelves) -> None:
    """Check that the run is of this recipe on these drawings, and has an epoch to go on from."""
    origin = run.read_origin()
    if origin.recipe != recipe:
        msg = f"{run.folder} was started with another recipe: check that one out, or --fresh."
        raise RunError(msg)
    if origin.data_sha256 != shelves.sha256:
        msg = f"{run.folder} was started on other drawings: check their version out, or --fresh."
        raise RunError(msg)
    if not run.checkpoint.exists():
        msg = f"{run.folder} has no complete epoch to go on from: --fresh starts it again."
        raise RunError(msg)


def _finish(model: keras.Model, recipe: ReadingRecipe, run: ReadingRun) -> keras.Model:
    """Keep the averaged weights in a float32 model: bfloat16 was for speed, and ONNX need not know of it."""
    plain = copy_averaged(model, recipe)
    with open_draft(run.model) as draft:
        plain.save(draft)
    return plain


def copy_averaged(model: keras.Model, recipe: ReadingRecipe) -> keras.Model:
    """Return a copy in float32, with the averaged weights."""
    keras.config.set_dtype_policy("float32")
    plain = NETWORKS[recipe.network]()
    with averaged_weights(model):
        plain.set_weights(model.get_weights())
    return plain


def _save(model: keras.Model, run: ReadingRun) -> None:
    with open_draft(run.checkpoint) as draft:
        model.save(draft)
