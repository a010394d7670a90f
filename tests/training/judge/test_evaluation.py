from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_networks import DRAWINGS, write_network
from training.data.labelled import Labelled
from training.data.real_sets import UploadSets
from training.errors import TrainingError
from training.judge import evaluation
from training.recipe import find_recipe

FEW = 10
SMALL = Labelled(DRAWINGS.pictures[:, ::2, ::2][:, 1:29, 1:29], DRAWINGS.digits)


def test_a_score_equals_that_computed_by_hand() -> None:
    probabilities = np.full((4, 10), 0.05, np.float32)
    probabilities[[0, 1, 2, 3], [0, 0, 1, 1]] = 0.55
    score = evaluation.measure_quality(probabilities, np.array([0, 1, 1, 1], np.uint8))
    assert score.accuracy == 0.75
    assert score.loss == pytest.approx(-(3 * np.log(0.55) + np.log(0.05)) / 4)
    assert (score.precision[0], score.recall[0]) == (0.5, 1.0)
    assert (score.precision[1], score.recall[1]) == (1.0, pytest.approx(2 / 3))
    assert score.f1[1] == pytest.approx(0.8)
    assert score.confusion[1, 0] == 1
    assert score.to_dict()["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 10)


def test_a_certain_error_has_a_large_but_finite_loss() -> None:
    certain = np.eye(10, dtype=np.float32)[[3]]
    assert evaluation.measure_quality(certain, np.array([4], np.uint8)).loss == pytest.approx(-np.log(1e-7))


def test_metrics_are_written_beside_the_model(tmp_path: Path) -> None:
    folder = write_network(tmp_path)
    returned = evaluation.evaluate(folder, DRAWINGS)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == returned
    assert metrics["data"] == {"name": "MNIST test", "pictures": 20, "sha256": DRAWINGS.sha256}
    assert metrics["model"]["bytes"] == (folder / "model.onnx").stat().st_size
    assert np.sum(metrics["test"]["confusion"]) == 20
    assert min(metrics["microseconds"].values()) > 0


def test_robustness_is_measured_only_on_request(tmp_path: Path) -> None:
    folder = write_network(tmp_path)
    basic = evaluation.evaluate(folder, SMALL)
    assert not {"corruptions", "real", "rejection"} & basic.keys()
    full = evaluation.evaluate(folder, SMALL, real_sets=UploadSets(), corrupted=FEW)
    assert full.keys() - basic.keys() == {"corruptions", "real", "rejection"}
    assert all(full[part] == basic[part] for part in ("model", "data", "test", "calibration"))
    assert json.loads((folder / "metrics.json").read_text()) == full


def test_an_accuracy_below_the_recipes_target_fails() -> None:
    recipe = find_recipe("cnn")
    evaluation.check_target({"test": {"accuracy": recipe.target}}, recipe)
    with pytest.raises(
        TrainingError, match=r"cnn reaches 99.50% on the test set, but its recipe promises 99.60%"
    ):
        evaluation.check_target({"test": {"accuracy": 0.995}}, recipe)


def test_an_accuracy_of_100_percent_fails() -> None:
    with pytest.raises(TrainingError, match=r"100 % is impossible .* the evaluation is broken"):
        evaluation.check_target({"test": {"accuracy": 1.0}}, None)


def test_a_missing_model_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training export nothing"):
        evaluation.evaluate(tmp_path / "nothing", DRAWINGS)
