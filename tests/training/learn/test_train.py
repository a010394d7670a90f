"""Training on drawn digits, which needs no MNIST."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.runs import QUICK, TRAINING, TRAINS, VALIDATION
from training.errors import RunError
from training.learn.runs import History, Run
from training.learn.train import train

pytestmark = TRAINS


def test_a_run_learns_and_keeps_its_model_history_and_origin(trained: Run) -> None:
    history = trained.read_history()
    assert {metric: len(values) for metric, values in history.items()} == {
        "accuracy": 3, "loss": 3, "val_accuracy": 3, "val_loss": 3,
    }  # fmt: skip
    assert history["val_accuracy"][-1] > 0.9
    assert trained.read_origin().recipe == QUICK
    assert trained.read_origin().data_sha256 == TRAINING.sha256
    assert trained.model.exists()
    assert list(trained.tensorboard.rglob("events*"))


def test_a_resumed_run_gives_the_same_network_as_an_uninterrupted_one(trained: Run, tmp_path: Path) -> None:
    class FullDisk(Run):
        def write_history(self, history: History) -> None:
            if len(history["loss"]) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write_history(history)

    run = Run(tmp_path / "broken")
    with pytest.raises(OSError, match=r"No space left"):
        train(QUICK, TRAINING, VALIDATION, run=FullDisk(run.folder))
    assert not run.model.exists()
    assert len(run.read_history()["loss"]) == 1
    with pytest.raises(RunError, match=r"--resume continues it. --fresh discards it"):
        train(QUICK, TRAINING, VALIDATION, run=run)
    train(QUICK, TRAINING, VALIDATION, run=run, resume=True)
    for metric, values in trained.read_history().items():
        np.testing.assert_allclose(run.read_history()[metric], values, rtol=1e-3)
    uninterrupted, resumed = (keras.models.load_model(one.model).get_weights() for one in (trained, run))
    for expected, actual in zip(uninterrupted, resumed, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_a_network_learns_at_a_constant_rate_and_its_run_can_be_discarded(tmp_path: Path) -> None:
    run = Run(tmp_path / "constant")
    recipe = dataclasses.replace(QUICK, schedule="constant", epochs=1, augmentation=None)
    train(recipe, TRAINING, VALIDATION, run=run)
    assert run.read_history()["val_accuracy"][-1] > 0.8
    run.discard()
    assert not run.folder.exists()
    run.discard()


def test_a_folder_with_other_files_is_neither_used_nor_discarded(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"holds files that are not a run"):
        Run(tmp_path).discard()
    with pytest.raises(RunError, match=r"holds files that are not a run"):
        train(QUICK, TRAINING, VALIDATION, run=Run(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_without_a_complete_epoch_cant_be_resumed(trained: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "early")
    run.start(dataclasses.replace(trained.read_origin()))
    with pytest.raises(RunError, match=r"no complete epoch to resume from: --fresh"):
        train(QUICK, TRAINING, VALIDATION, run=run, resume=True)


def test_a_run_is_not_overwritten_without_fresh(trained: Run) -> None:
    with pytest.raises(RunError, match=r"holds a run. --fresh discards it"):
        train(QUICK, TRAINING, VALIDATION, run=trained)


def test_a_run_is_resumed_only_with_its_own_recipe_and_data(trained: Run, tmp_path: Path) -> None:
    longer = dataclasses.replace(QUICK, epochs=4)
    with pytest.raises(RunError, match=r"another recipe"):
        train(longer, TRAINING, VALIDATION, run=trained, resume=True)
    with pytest.raises(RunError, match=r"other pictures"):
        train(QUICK, TRAINING[:100], VALIDATION, run=trained, resume=True)
    with pytest.raises(RunError, match=r"no run in"):
        train(QUICK, TRAINING, VALIDATION, run=Run(tmp_path / "none"), resume=True)
