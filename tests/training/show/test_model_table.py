from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app.digits.catalogue import Catalogue
from tests.training.tiny_networks import DRAWINGS, write_network
from training.errors import TrainingError
from training.judge import evaluation
from training.show import model_table


def test_each_version_has_its_own_metrics_and_row(tmp_path: Path) -> None:
    write_network(tmp_path, name="two")
    folder = write_network(tmp_path, name="one")
    shutil.copytree(folder, folder / "2")
    evaluation.evaluate(folder / "2", DRAWINGS)
    assert [row[0] for row in model_table.build_rows(tmp_path)] == ["`one@2`"]
    evaluation.evaluate(folder, DRAWINGS)
    evaluation.evaluate(tmp_path / "two", DRAWINGS)
    assert sorted(row[0] for row in model_table.build_rows(tmp_path)) == ["`one@1`", "`one@2`", "`two`"]
    assert Catalogue.load(tmp_path, default="one").get().metrics


def test_the_table_is_sorted_by_accuracy(tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluation.evaluate(write_network(tmp_path, name=name), DRAWINGS)
    file = tmp_path / "one" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["test"]["accuracy"] = 0.999
    file.write_text(json.dumps(metrics))
    assert [row[0] for row in model_table.build_rows(tmp_path)] == ["`two`", "`one`"]
    assert model_table.build_rows(tmp_path)[1][4] == "99.90%"
    assert model_table.format_markdown(tmp_path).count("\n") == 3


def test_a_folder_without_metrics_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training evaluate NAME"):
        model_table.build_rows(tmp_path)


def test_damaged_metrics_are_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.json").write_text("{")
    with pytest.raises(TrainingError, match=r"is damaged: .*evaluate NAME"):
        model_table.build_rows(tmp_path)
