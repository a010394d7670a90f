from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.digits.catalogue import Catalogue, Version, locate_folder
from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from app.digits.errors import InvalidModel, ModelInUse, UnknownModel, UnsuitableModel
from tests.tiny import GOOD, build_tiny_model
from tests.versions import copy_with_metadata, make_two_line_readers


def store_model(folder: Path, place: str, onnx: bytes | None = None, metrics: object = None) -> None:
    """Put a model at NAME or NAME/N."""
    name = place.partition("/")[0]
    (folder / place).mkdir(parents=True)
    (folder / place / "model.onnx").write_bytes(
        onnx or build_tiny_model(metadata=GOOD | {Metadata.NAME: name})
    )
    if metrics is not None:
        (folder / place / "metrics.json").write_text(json.dumps(metrics))


def test_every_folder_with_a_model_is_loaded_under_its_name(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    store_model(tmp_path, "two")
    (tmp_path / "notes").mkdir()
    catalogue = Catalogue.load(tmp_path, default="two")
    assert list(catalogue.models) == ["one", "two"]
    assert catalogue.get().name == "two"
    assert catalogue.get("one").name == "one"
    assert catalogue.get().metrics is None


def test_an_error_about_an_unknown_name_lists_the_known_names(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    with pytest.raises(UnknownModel, match=r"no model 'three'. The models are one"):
        Catalogue.load(tmp_path, default="one").get("three")


def test_a_default_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"'one' is not in .* no model at all"):
        Catalogue.load(tmp_path, default="one")


def test_an_error_names_the_invalid_file(tmp_path: Path) -> None:
    store_model(tmp_path, "one", b"no model")
    with pytest.raises(InvalidModel, match=r"one/model.onnx can't be served: onnxruntime can't load it"):
        Catalogue.load(tmp_path, default="one")


def test_an_error_names_the_file_that_cant_be_opened(tmp_path: Path) -> None:
    (tmp_path / "one" / "model.onnx").mkdir(parents=True)
    with pytest.raises(InvalidModel, match=r"one/model.onnx can't be read: Is a directory"):
        Catalogue.load(tmp_path, default="one")


def test_a_model_in_anothers_folder_is_refused(tmp_path: Path) -> None:
    store_model(tmp_path, "one", build_tiny_model())
    with pytest.raises(InvalidModel, match=r"calls it 'tiny', but its folder is called 'one'"):
        Catalogue.load(tmp_path, default="one")


def test_metrics_of_the_same_file_are_loaded(tmp_path: Path) -> None:
    onnx = build_tiny_model(metadata=GOOD | {Metadata.NAME: "one"})
    metrics = {"model": {"sha256": Classifier.load(onnx).sha256}, "test": {"accuracy": 0.5}}
    store_model(tmp_path, "one", onnx, metrics)
    assert Catalogue.load(tmp_path, default="one").get().metrics == metrics


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [({"model": {"sha256": "0"}}, "with another file"), ([], "damaged"), ({}, "damaged")],
)
def test_metrics_of_another_file_and_damaged_metrics_are_refused(
    tmp_path: Path, metrics: object, reason: str
) -> None:
    store_model(tmp_path, "one", metrics=metrics)
    with pytest.raises(InvalidModel, match=reason):
        Catalogue.load(tmp_path, default="one")


def test_a_model_that_is_loaded_again_returns_to_its_old_position(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        store_model(tmp_path, name)
    catalogue = Catalogue.load(tmp_path, default="one")
    asked = catalogue.get("three")
    catalogue.unload("three")
    assert list(catalogue.models) == ["one", "two"]
    assert catalogue.list_versions()[1] == [Version("three", 1)]
    assert asked.classifier.recipe_version == "0.0.1"  # who has asked for it keeps it
    assert catalogue.reload_one("three").name == "three"
    assert list(catalogue.models) == ["one", "three", "two"]
    assert catalogue.list_versions()[1] == []


def test_the_default_cant_be_unloaded(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    catalogue = Catalogue.load(tmp_path, default="one")
    with pytest.raises(ModelInUse, match="'one' is the default model"):
        catalogue.unload("one")
    assert catalogue.get().name == "one"


@pytest.mark.parametrize("name", ["..", ".", "", "one/..", "two"])
def test_only_the_folders_models_are_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    store_model(tmp_path / "models", "one")
    (tmp_path / "model.onnx").write_bytes(build_tiny_model())
    (tmp_path / "models" / "model.onnx").write_bytes(build_tiny_model())
    catalogue = Catalogue.load(tmp_path / "models", default="one")
    with pytest.raises(UnknownModel, match=r"in the folder, which has one"):
        catalogue.reload_one(name)


def test_if_the_new_file_cant_be_served_the_old_model_stays(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    catalogue = Catalogue.load(tmp_path, default="one")
    (tmp_path / "one" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InvalidModel, match=r"^one/model.onnx can't be served"):
        catalogue.reload_one("one")
    assert catalogue.get("one").name == "one"


@pytest.fixture
def versions_folder(tmp_path: Path) -> Path:
    """Three versions of `one`, and a single one of `two`."""
    for place in ("one", "one/2", "one/10", "two"):
        store_model(tmp_path, place)
    return tmp_path


def test_versions_are_loaded_side_by_side_in_the_order_of_their_numbers(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="two")
    assert list(catalogue.models) == ["one@1", "one@2", "one@10", "two"]
    assert catalogue.get("one@2").version == Version("one", 2)
    assert catalogue.get("two@1") is catalogue.get("two")
    assert catalogue.get("two").version == Version("two", 1)


def test_a_name_alone_means_the_highest_version_and_so_does_the_default(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="one")
    assert catalogue.get("one").name == catalogue.get().name == "one@10"


def test_the_default_may_be_any_version(versions_folder: Path) -> None:
    assert Catalogue.load(versions_folder, default="one@1").get().name == "one@1"
    with pytest.raises(InvalidModel, match=r"'one@3' is not in .*, which holds one@1, one@2, one@10, two$"):
        Catalogue.load(versions_folder, default="one@3")


def test_an_error_about_a_missing_version_lists_the_existing_ones(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="two")
    for asked in ("one@3", "one@02", "one@", "one@2@2", "@1"):
        with pytest.raises(
            UnknownModel, match=f"no model '{asked}'. The models are one@1, one@2, one@10, two"
        ):
            catalogue.get(asked)


def test_each_version_has_metrics_of_its_own(tmp_path: Path) -> None:
    onnx = build_tiny_model(metadata=GOOD | {Metadata.NAME: "one", Metadata.VERSION: "0.0.2"})
    metrics = {"model": {"sha256": Classifier.load(onnx).sha256}}
    store_model(tmp_path, "one")
    store_model(tmp_path, "one/2", onnx, metrics)
    catalogue = Catalogue.load(tmp_path, default="one")
    assert catalogue.get("one@1").metrics is None
    assert catalogue.get("one@2").metrics == metrics
    assert catalogue.get_recipe_versions() == {"one@1": "0.0.1", "one@2": "0.0.2"}


@pytest.mark.parametrize(
    ("places", "known"),
    [
        (["one/1"], ["one"]),  # the only version, wherever it lies
        (["one/2"], ["one@2"]),
        (["one/1", "one/2"], ["one@1", "one@2"]),
        (["one", "one/0", "one/02", "one/x", "one/-1", "one/2.0", "one/٢"], ["one"]),
    ],
)
def test_only_folders_named_by_a_number_are_versions(
    tmp_path: Path, places: list[str], known: list[str]
) -> None:
    for place in places:
        store_model(tmp_path, place)
    assert list(Catalogue.load(tmp_path, default="one").models) == known


def test_a_model_with_two_first_versions_is_refused(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    store_model(tmp_path, "one/1")
    with pytest.raises(InvalidModel, match=r"^one/model.onnx .* version 1, and so is one/1/model.onnx; give"):
        Catalogue.load(tmp_path, default="one")


def test_an_error_names_the_version_that_cant_be_served(versions_folder: Path) -> None:
    (versions_folder / "one" / "2" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidModel, match=r"^one/2/model.onnx can't be served"):
        Catalogue.load(versions_folder, default="one")


def test_a_name_that_looks_like_a_version_is_refused(tmp_path: Path) -> None:
    store_model(tmp_path, "one@2")
    with pytest.raises(InvalidModel, match=r"^one@2/model.onnx .* version N of NAME belongs in NAME/N$"):
        Catalogue.load(tmp_path, default="one@2")


def test_a_reload_switches_to_a_new_version_and_old_references_stay_valid(tmp_path: Path) -> None:
    store_model(tmp_path, "one")
    catalogue = Catalogue.load(tmp_path, default="one")
    old_model = catalogue.get()
    store_model(tmp_path, "one/2")
    assert catalogue.list_versions()[1] == [Version("one", 2)]
    catalogue.reload()
    assert (old_model.name, catalogue.get().name) == ("one", "one@2")
    assert catalogue.get("one@1").classifier.sha256 == old_model.classifier.sha256


def test_a_name_refers_to_the_highest_version_that_is_loaded(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="one")
    catalogue.unload("one@10")
    assert catalogue.get().name == "one@2"
    catalogue.unload("one@1")
    assert list(catalogue.models) == ["one@2", "two"]
    with pytest.raises(ModelInUse, match="'one' is the default model"):
        catalogue.unload("one@2")
    assert catalogue.reload_one("one@10").name == "one@10"
    assert catalogue.list_versions()[1] == [Version("one", 1)]


def test_a_name_unloads_and_loads_all_its_versions(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="two")
    catalogue.unload("one")
    assert list(catalogue.models) == ["two"]
    assert catalogue.reload_one("one").name == "one@10"
    assert list(catalogue.models) == ["one@1", "one@2", "one@10", "two"]


@pytest.mark.parametrize("asked", ["one@2", "one"])
def test_a_pinned_default_cant_be_unloaded(versions_folder: Path, asked: str) -> None:
    catalogue = Catalogue.load(versions_folder, default="one@2")
    with pytest.raises(ModelInUse, match="'one@2' is the default model"):
        catalogue.unload(asked)
    catalogue.unload("one@10")


def test_if_one_of_several_versions_cant_be_served_all_stay_as_they_were(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="one")
    before = [model.classifier for model in catalogue]
    (versions_folder / "one" / "2" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InvalidModel, match=r"^one/2/model.onnx"):
        catalogue.reload_one("one")
    assert all(
        one is other for one, other in zip(before, (model_.classifier for model_ in catalogue), strict=True)
    )


def test_a_version_removed_from_the_folder_stays_until_a_reload(versions_folder: Path) -> None:
    catalogue = Catalogue.load(versions_folder, default="two")
    (versions_folder / "one" / "10" / "model.onnx").unlink()
    assert catalogue.reload_one("one").name == "one@10"
    catalogue.reload()
    assert catalogue.get("one").name == "one@2"


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("one", "one/10"),
        ("one@1", "one"),
        ("one@2", "one/2"),
        ("one@3", "one/3"),
        ("two", "two"),
        ("three", "three"),
        ("three@1", "three"),
        ("four", "four/1"),
        ("four@1", "four/1"),
    ],
)
def test_a_versions_folder_is_located_even_if_it_does_not_exist(
    versions_folder: Path, asked: str, place: str
) -> None:
    store_model(versions_folder, "four/1")
    assert locate_folder(versions_folder, asked) == versions_folder / place


@pytest.mark.parametrize("asked", ["one@", "one@0", "one@02", "one@x", "one@1@2", "one@../two"])
def test_a_version_that_is_not_a_number_is_refused(versions_folder: Path, asked: str) -> None:
    with pytest.raises(UnknownModel, match="names no version: write NAME@N"):
        locate_folder(versions_folder, asked)


@pytest.fixture
def reading_folder(tmp_path: Path) -> Path:
    """A folder with a classifier, a finder and two versions of a line reader."""
    return make_two_line_readers(tmp_path)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "line-reader@2"),
        ("cnn", "line-reader@2"),
        ("line-reader", "line-reader@2"),
        ("line-reader@2", "line-reader@2"),
        ("line-reader@1", "line-reader@1"),
    ],
)
def test_a_number_is_read_by_the_line_reader_that_is_asked_for_or_the_highest(
    reading_folder: Path, asked: str | None, name: str
) -> None:
    catalogue = Catalogue.load(reading_folder, default="cnn")
    line_reader = catalogue.get_line_reader(asked)
    assert line_reader.name == name
    reader = catalogue.get_number_reader(line_reader)
    assert (reader.line_reader, reader.finder) == (line_reader.network, catalogue.get_finder())
    assert catalogue.get_number_reader().line_reader is catalogue.get("line-reader@2").network


def test_models_of_another_kind_are_refused(reading_folder: Path) -> None:
    catalogue = Catalogue.load(reading_folder, default="cnn")
    with pytest.raises(UnsuitableModel, match="'finder' is a finder, and this needs a line-reader"):
        catalogue.get_line_reader("finder")
    with pytest.raises(UnsuitableModel, match=r"'line-reader@2' is .* needs a classifier"):
        catalogue.get("line-reader").as_kind(Classifier)
    with pytest.raises(UnknownModel, match="no model 'none'"):
        catalogue.get_line_reader("none")


def test_what_is_missing_to_read_numbers_is_named(reading_folder: Path) -> None:
    catalogue = Catalogue.load(reading_folder, default="cnn")
    catalogue.unload("finder")
    assert catalogue.get_finder() is None
    with pytest.raises(UnknownModel, match="no finder among the models"):
        catalogue.get_number_reader()
    catalogue.unload("line-reader")
    with pytest.raises(UnknownModel, match="no line-reader among the models"):
        catalogue.get_line_reader("cnn")


def test_the_default_must_be_a_classifier(reading_folder: Path) -> None:
    with pytest.raises(InvalidModel, match="the default model 'finder' is a finder, and only a classifier"):
        Catalogue.load(reading_folder, default="finder")


def test_the_default_cant_be_replaced_by_a_model_of_another_kind(reading_folder: Path) -> None:
    catalogue = Catalogue.load(reading_folder, default="cnn")
    finder = catalogue.get("finder")
    copy_with_metadata(reading_folder / "finder", reading_folder / "cnn", {Metadata.NAME: "cnn"})
    (reading_folder / "cnn" / "metrics.json").unlink()
    with pytest.raises(InvalidModel, match="the default model 'cnn' is a finder"):
        catalogue.reload_one("cnn")
    assert catalogue.get("cnn").classifier.kind != finder.network.kind
