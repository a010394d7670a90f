"""The committed models: trained by the committed recipes, measured through the committed service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.digits.catalogue import Catalogue
from app.digits.contract import DigitBatch, Metadata
from training.data import mnist, uploads
from training.data.labelled import Labelled
from training.judge import evaluation, service_reader
from training.recipe import READING_RECIPES, RECIPES, Recipe
from training.scenes.corruptions import CORRUPTIONS

LARGEST = 5 * 1024 * 1024  # bytes: a file of the repository


def metrics(catalogue: Catalogue, name: str) -> dict[str, Any]:
    found = catalogue.get(name).metrics
    assert found is not None
    return dict(found)


def test_there_is_a_model_for_every_recipe(catalogue: Catalogue) -> None:
    assert set(catalogue.models) == {*RECIPES, *READING_RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_was_trained_by_its_current_recipe(catalogue: Catalogue, name: str) -> None:
    metadata = catalogue.get(name).classifier.metadata
    assert Recipe.from_json(metadata[Metadata.RECIPE]) == RECIPES[name]
    assert len(metadata[Metadata.COMMIT]) == 40, "trained by code that was not committed"


@pytest.mark.parametrize("name", RECIPES)
def test_a_models_accuracy_reaches_its_recipes_target(catalogue: Catalogue, name: str) -> None:
    test = metrics(catalogue, name)["test"]
    assert RECIPES[name].target <= test["accuracy"] < 1
    confusion = np.array(test["confusion"])
    assert confusion.sum() == 10_000
    assert np.trace(confusion) / 10_000 == test["accuracy"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_is_small_and_has_a_card(catalogue: Catalogue, name: str) -> None:
    folder = Path("models") / name
    assert metrics(catalogue, name)["model"]["bytes"] == (folder / "model.onnx").stat().st_size < LARGEST
    card = (folder / "README.md").read_text()
    assert f"{metrics(catalogue, name)['test']['accuracy']:.2%}" in card


@pytest.mark.mnist
@pytest.mark.parametrize("name", RECIPES)
def test_a_model_was_trained_on_all_of_the_training_data(
    catalogue: Catalogue, mnist_file: Path, name: str
) -> None:
    training, _ = mnist.load_training(mnist_file)
    assert catalogue.get(name).classifier.metadata[Metadata.DATA_SHA256] == training.sha256


@pytest.fixture(scope="module")
def seen(mnist_test: Labelled) -> DigitBatch:
    return np.stack(
        [uploads.read_canonical(uploads.encode_png(picture)).picture for picture in mnist_test.pictures]
    )


@pytest.mark.mnist
@pytest.mark.parametrize("name", RECIPES)
def test_the_metrics_are_reproducible(
    catalogue: Catalogue, mnist_test: Labelled, seen: DigitBatch, name: str
) -> None:
    found = service_reader.classify(catalogue.get(name).classifier, seen).probabilities
    measured, kept = evaluation.measure_quality(found, mnist_test.digits), metrics(catalogue, name)["test"]
    # processors differ in the last bits, which may turn a picture that lies between two digits
    assert measured.accuracy == pytest.approx(kept["accuracy"], abs=3e-4)
    assert measured.loss == pytest.approx(kept["loss"], abs=1e-4)


def test_the_default_model_was_evaluated_beyond_mnist(catalogue: Catalogue) -> None:
    full = metrics(catalogue, "cnn")
    assert full["corruptions"]["pictures"] == 2_000
    assert full["corruptions"]["each"].keys() == CORRUPTIONS.keys()
    assert full["calibration"]["pictures"] == 10_000
    assert full["real"]["sets"], "python -m training evaluate cnn --full --real FOLDER"
    assert not full["real"]["skipped"]


def test_metrics_are_of_the_whole_test_set() -> None:
    for name in RECIPES:
        assert json.loads(Path("models", name, "metrics.json").read_text())["data"]["pictures"] == 10_000
