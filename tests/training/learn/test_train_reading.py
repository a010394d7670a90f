from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.readers import QUICK_FINDER, QUICK_READER
from tests.training.runs import TRAINS
from training.errors import RunError
from training.learn.runs import ReadingRun
from training.learn.train_reading import averaged_weights, compile_model, train
from training.recipe import ReadingRecipe, ShardKind
from training.scenes.shards import Group, Shelf, Shelves

pytestmark = TRAINS


class StoppedError(Exception):
    """Stands for a kill."""


# in float32, a resumed run ends where an unbroken one does
READER = dataclasses.replace(QUICK_READER, precision="float32")


@dataclass(frozen=True)
class Trained:
    run: ReadingRun
    model: keras.Model


@pytest.fixture(scope="module")
def reader(shelves: Shelves, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A line reader that was trained without a break."""
    run = ReadingRun(tmp_path_factory.mktemp("reader") / "run")
    return Trained(run, train(READER, shelves, run=run))


@pytest.fixture(scope="module")
def finder(shelves: Shelves, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A finder, which is trained in bfloat16."""
    run = ReadingRun(tmp_path_factory.mktemp("finder") / "run")
    return Trained(run, train(QUICK_FINDER, shelves, run=run))


@pytest.mark.parametrize(("name", "recipe"), [("reader", READER), ("finder", QUICK_FINDER)])
def test_a_run_keeps_what_trained_it_and_how_far_it_came(
    name: str, recipe: ReadingRecipe, request: pytest.FixtureRequest
) -> None:
    trained: Trained = request.getfixturevalue(name)
    run = trained.run
    assert run.read_origin().recipe == recipe
    history = run.read_history()
    assert [len(values) for values in history.values()] == [recipe.epochs] * len(history)
    assert np.isfinite(history["val_loss"]).all()
    assert history["loss"][1] < history["loss"][0]
    assert len(run.log.read_text().splitlines()) == recipe.epochs
    assert {str(weights.dtype) for weights in trained.model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


@dataclass(frozen=True)
class StoppingShelf(Shelf):
    """A shelf for validation that ends the training when it is used for the second time."""

    uses: list[None] = field(default_factory=list)

    def load_or_draw(self, kind: ShardKind, number: int) -> list[Group]:
        self.uses.append(None)
        if len(self.uses) > 1:
            raise StoppedError
        return super().load_or_draw(kind, number)


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    reader: Trained, shelves: Shelves, tmp_path: Path
) -> None:
    run = ReadingRun(tmp_path / "broken")
    shelf = shelves.validation
    stopping = StoppingShelf(shelf.split, shelf.mnist_file, shelf.strokes_folder, shelf.folder)
    with pytest.raises(StoppedError):
        train(READER, dataclasses.replace(shelves, validation=stopping), run=run)
    assert run.log.read_text().startswith("epoch 1:")
    resumed = train(READER, shelves, run=run, resume=True)
    # Sums in another order turn the signs of tiny gradients, and so the steps of single weights. Another way
    # through the batches would move every kernel's weights apart by several steps.
    kernels = [
        (one, other)
        for one, other in zip(reader.model.get_weights(), resumed.get_weights(), strict=True)
        if one.ndim > 1
    ]
    assert max(np.median(np.abs(one - other)) for one, other in kernels) < READER.learning_rate


def test_a_run_is_resumed_only_with_its_own_recipe_and_drawings(
    reader: Trained, shelves: Shelves, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="no run in"):
        train(READER, shelves, run=ReadingRun(tmp_path / "run"), resume=True)
    with pytest.raises(RunError, match="another recipe"):
        train(dataclasses.replace(READER, epochs=3), shelves, run=reader.run, resume=True)
    others = dataclasses.replace(shelves, sha256="1" * 64)
    with pytest.raises(RunError, match="other drawings"):
        train(READER, others, run=reader.run, resume=True)
    with pytest.raises(RunError, match="holds a run"):
        train(READER, shelves, run=reader.run)


def test_averaged_weights_are_put_in_for_a_while() -> None:
    model = compile_model(dataclasses.replace(READER, average=0.9))
    rng = np.random.default_rng(0)
    for _ in range(2):
        model.train_on_batch(
            rng.integers(0, 255, (2, 32, 64, 1)).astype(np.uint8), np.array([[1, 2], [3, 20]])
        )
    last = [np.array(weights) for weights in model.trainable_variables]
    with averaged_weights(model):
        averaged = [np.array(weights) for weights in model.trainable_variables]
    assert any(not np.array_equal(one, other) for one, other in zip(last, averaged, strict=True))
    assert all(
        np.array_equal(one, np.array(other))
        for one, other in zip(last, model.trainable_variables, strict=True)
    )
