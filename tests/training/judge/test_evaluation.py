from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from app.digits.catalogue import Catalogue
from app.digits.contract import Metadata
from tests.data.strokes import ink
from tests.tiny import GOOD, tiny_model
from training import tables
from training.data import uploads
from training.data.labelled import Labelled
from training.data.real_sets import RealSet, RealSets
from training.errors import WorkshopError
from training.judge import evaluation
from training.judge.robustness import Amounts
from training.recipe import recipe_named
from training.show import model_table

TEST = Labelled(
    np.stack([255 - ink(row % 10, (60, 60), box=(18, 8, 24, 44), pen=5) for row in range(20)]),
    np.arange(20, dtype=np.uint8) % 10,
)

FEW = Amounts(damaged=10, numbers=6)
SMALL = Labelled(TEST.pictures[:, ::2, ::2][:, 1:29, 1:29], TEST.digits)


def model_folder(folder: Path, *, name: str = "tiny", likelihood: float | None = None) -> Path:
    facts = {Metadata.NAME: name, Metadata.PARAMETERS: "7850", Metadata.MULTIPLY_ADDS: "7840"}
    (folder / name).mkdir()
    onnx = tiny_model(metadata=GOOD | facts, likelihood=likelihood)
    (folder / name / "model.onnx").write_bytes(onnx)
    return folder / name


def test_a_score_is_as_computed_by_hand() -> None:
    found = np.full((4, 10), 0.05, np.float32)
    found[[0, 1, 2, 3], [0, 0, 1, 1]] = 0.55
    score = evaluation.score(found, np.array([0, 1, 1, 1], np.uint8))
    assert score.accuracy == 0.75
    assert score.loss == pytest.approx(-(3 * np.log(0.55) + np.log(0.05)) / 4)
    assert (score.precision[0], score.recall[0]) == (0.5, 1.0)
    assert (score.precision[1], score.recall[1]) == (1.0, pytest.approx(2 / 3))
    assert score.f1[1] == pytest.approx(0.8)
    assert score.confusion[1, 0] == 1
    assert score.to_dict()["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 10)


def test_a_certain_error_costs_much_but_not_infinitely() -> None:
    found = np.eye(10, dtype=np.float32)[[3]]
    assert evaluation.score(found, np.array([4], np.uint8)).loss == pytest.approx(-np.log(1e-7))


def test_metrics_are_written_beside_the_model_that_they_belong_to(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    returned = evaluation.evaluate(folder, TEST)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == returned
    assert metrics["data"] == {"name": "MNIST test", "pictures": 20, "sha256": TEST.sha256}
    assert metrics["model"]["bytes"] == (folder / "model.onnx").stat().st_size
    assert np.sum(metrics["test"]["confusion"]) == 20
    assert min(metrics["microseconds"].values()) > 0


def test_damage_and_real_uploads_are_judged_only_where_asked_for(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    usual = evaluation.evaluate(folder, SMALL)
    assert not {"corruptions", "real", "rejection", "numbers"} & usual.keys()
    full = evaluation.evaluate(folder, SMALL, real=RealSets(), amounts=FEW)
    assert full.keys() - usual.keys() == {"corruptions", "real", "rejection", "numbers"}
    assert all(full[part] == usual[part] for part in ("model", "data", "test", "calibration"))
    assert json.loads((folder / "metrics.json").read_text()) == full


@pytest.mark.parametrize("likelihood", [None, 0.25])
def test_a_report_says_what_was_measured_and_what_was_not(tmp_path: Path, likelihood: float | None) -> None:
    folder = model_folder(tmp_path, likelihood=likelihood)
    photos = RealSet("photos", (uploads.encode_png(TEST.pictures[3]),), ("3",))
    letters = RealSet("not_digit_letters", (uploads.encode_png(TEST.pictures[4]),), ("delta",))
    real = RealSets(digits=(photos,), others=(letters,), skipped={"scans": "It holds no picture."})
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(*tables.report(evaluation.evaluate(folder, SMALL, real=real, amounts=FEW)))
    text = console.export_text()
    for word in ("zigzag", "photos", "skipped scans: It holds no picture.", "confusion", "calibration error"):
        assert word in text
    assert ("AUROC" in text) == (likelihood is not None)
    assert ("nothing is rejected" in text) == (likelihood is None)


def test_below_its_recipes_target_a_model_fails() -> None:
    recipe = recipe_named("cnn")
    evaluation.check_target({"test": {"accuracy": recipe.target}}, recipe)
    with pytest.raises(
        WorkshopError, match=r"cnn reaches 99.50% on the test set, its recipe promises 99.60%"
    ):
        evaluation.check_target({"test": {"accuracy": 0.995}}, recipe)


def test_100_percent_is_not_believed() -> None:
    with pytest.raises(WorkshopError, match=r"can't be: the evaluation is broken"):
        evaluation.check_target({"test": {"accuracy": 1.0}}, None)


def test_a_model_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=r"training export nothing"):
        evaluation.evaluate(tmp_path / "nothing", TEST)


def test_each_version_has_metrics_and_a_row_of_its_own(tmp_path: Path) -> None:
    model_folder(tmp_path, name="two")
    folder = model_folder(tmp_path, name="one")
    shutil.copytree(folder, folder / "2")
    evaluation.evaluate(folder / "2", TEST)
    assert [row[0] for row in model_table.rows(tmp_path)] == ["`one@2`"]
    evaluation.evaluate(folder, TEST)
    evaluation.evaluate(tmp_path / "two", TEST)
    assert sorted(row[0] for row in model_table.rows(tmp_path)) == ["`one@1`", "`one@2`", "`two`"]
    assert Catalogue.load(tmp_path, default="one").get().metrics


def test_the_comparison_is_sorted_by_accuracy(tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluation.evaluate(model_folder(tmp_path, name=name), TEST)
    file = tmp_path / "one" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["test"]["accuracy"] = 0.999
    file.write_text(json.dumps(metrics))
    assert [row[0] for row in model_table.rows(tmp_path)] == ["`two`", "`one`"]
    assert model_table.rows(tmp_path)[1][4] == "99.90%"
    assert model_table.markdown(tmp_path).count("\n") == 3


def test_nothing_to_compare_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=r"training evaluate NAME"):
        model_table.rows(tmp_path)


def test_damaged_metrics_are_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.json").write_text("{")
    with pytest.raises(WorkshopError, match=r"is damaged: .*evaluate NAME"):
        model_table.rows(tmp_path)
