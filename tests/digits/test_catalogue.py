from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from app.digits.errors import InvalidModel, ModelInUse, UnknownModel
from tests.tiny import GOOD, tiny_model


def keep(folder: Path, name: str, onnx: bytes | None = None, metrics: object = None) -> None:
    (folder / name).mkdir()
    (folder / name / "model.onnx").write_bytes(onnx or tiny_model(metadata=GOOD | {Metadata.NAME: name}))
    if metrics is not None:
        (folder / name / "metrics.json").write_text(json.dumps(metrics))


def test_every_folder_with_a_model_is_loaded_under_its_name(tmp_path: Path) -> None:
    keep(tmp_path, "one")
    keep(tmp_path, "two")
    (tmp_path / "notes").mkdir()
    catalogue = Catalogue.load(tmp_path, default="two")
    assert list(catalogue.models) == ["one", "two"]
    assert catalogue.get().name == "two"
    assert catalogue.get("one").name == "one"
    assert catalogue.get().metrics is None


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    keep(tmp_path, "one")
    with pytest.raises(UnknownModel, match=r"no model 'three'; there are one"):
        Catalogue.load(tmp_path, default="one").get("three")


def test_a_default_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"'one' is not in .* no model at all"):
        Catalogue.load(tmp_path, default="one")


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    keep(tmp_path, "one", b"no model")
    with pytest.raises(InvalidModel, match=r"one/model.onnx can't be served: onnxruntime can't load it"):
        Catalogue.load(tmp_path, default="one")


def test_a_file_that_cant_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "one" / "model.onnx").mkdir(parents=True)
    with pytest.raises(InvalidModel, match=r"one/model.onnx can't be read: Is a directory"):
        Catalogue.load(tmp_path, default="one")


def test_a_model_in_anothers_folder_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, "one", tiny_model())
    with pytest.raises(InvalidModel, match=r"names it 'tiny', its folder 'one'"):
        Catalogue.load(tmp_path, default="one")


def test_metrics_of_that_very_file_are_kept(tmp_path: Path) -> None:
    onnx = tiny_model(metadata=GOOD | {Metadata.NAME: "one"})
    metrics = {"model": {"sha256": Classifier.load(onnx).sha256}, "test": {"accuracy": 0.5}}
    keep(tmp_path, "one", onnx, metrics)
    assert Catalogue.load(tmp_path, default="one").get().metrics == metrics


@pytest.mark.parametrize(
    ("metrics", "reason"), [({"model": {"sha256": "0"}}, "of another file"), ([], "damaged"), ({}, "damaged")]
)
def test_metrics_of_another_file_or_none_are_refused(tmp_path: Path, metrics: object, reason: str) -> None:
    keep(tmp_path, "one", metrics=metrics)
    with pytest.raises(InvalidModel, match=reason):
        Catalogue.load(tmp_path, default="one")


def test_a_model_is_unloaded_and_loaded_again_in_its_old_place(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        keep(tmp_path, name)
    catalogue = Catalogue.load(tmp_path, default="one")
    asked = catalogue.get("three")
    catalogue.unload("three")
    assert list(catalogue.models) == ["one", "two"]
    assert catalogue.unloaded() == ["three"]
    assert asked.classifier.version == "0.0.1"  # who has asked for it keeps it
    assert catalogue.reload_one("three").name == "three"
    assert list(catalogue.models) == ["one", "three", "two"]
    assert catalogue.unloaded() == []


def test_the_default_is_not_unloaded(tmp_path: Path) -> None:
    keep(tmp_path, "one")
    catalogue = Catalogue.load(tmp_path, default="one")
    with pytest.raises(ModelInUse, match="'one' is the default model"):
        catalogue.unload("one")
    assert catalogue.get().name == "one"


@pytest.mark.parametrize("name", ["..", ".", "", "one/..", "two"])
def test_only_the_folders_models_are_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    keep(tmp_path / "models", "one")
    (tmp_path / "model.onnx").write_bytes(tiny_model())
    (tmp_path / "models" / "model.onnx").write_bytes(tiny_model())
    catalogue = Catalogue.load(tmp_path / "models", default="one")
    with pytest.raises(UnknownModel, match="in the folder; there are one"):
        catalogue.reload_one(name)


def test_a_model_that_can_no_longer_be_served_is_kept_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path, "one")
    catalogue = Catalogue.load(tmp_path, default="one")
    (tmp_path / "one" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InvalidModel, match=r"^one/model.onnx can't be served"):
        catalogue.reload_one("one")
    assert catalogue.get("one").name == "one"
