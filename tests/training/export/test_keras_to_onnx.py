from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.contract import CLASSIFIER, CONTRACT_VERSIONS, MIN_DIGIT_LIKELIHOOD, Metadata
from tests.training.runs import QUICK, TRAINING, TRAINS, VALIDATION
from training.errors import ExportError
from training.export import keras_to_onnx, parity
from training.learn.runs import Origin, Run

pytestmark = TRAINS


def test_an_exported_run_can_be_served_and_carries_its_origin(trained: Run, tmp_path: Path) -> None:
    file = keras_to_onnx.export(trained, TRAINING.pictures, models=tmp_path)
    assert file == tmp_path / "mlp-128" / "model.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    classifier = Classifier.load(file.read_bytes())
    assert (
        classifier.classify(VALIDATION.pictures).probabilities.argmax(axis=1) == VALIDATION.digits
    ).mean() > 0.9
    assert classifier.metadata == {
        Metadata.CONTRACT_VERSION: str(CONTRACT_VERSIONS[CLASSIFIER]),
        Metadata.NAME: "mlp-128",
        Metadata.VERSION: "1.0.0",
        Metadata.RECIPE: QUICK.to_json(),
        Metadata.DATA_SHA256: TRAINING.sha256,
        Metadata.COMMIT: trained.read_origin().commit,
        Metadata.PARAMETERS: "101770",
        Metadata.MULTIPLY_ADDS: str(784 * 128 + 128 * 10),
    }
    assert {one.name for one in file.parent.iterdir()} == {"model.onnx", "model.keras"}
    parity.verify_same(keras.models.load_model(file.with_name("model.keras")), classifier)


def test_a_run_is_exported_beside_earlier_versions(trained: Run, tmp_path: Path) -> None:
    first = keras_to_onnx.export(trained, TRAINING.pictures, models=tmp_path)
    second = keras_to_onnx.export(trained, TRAINING.pictures, models=tmp_path, version=2)
    assert second == tmp_path / "mlp-128" / "2" / "model.onnx"
    assert list(Catalogue.load(tmp_path, default="mlp-128").models) == ["mlp-128@1", "mlp-128@2"]
    with pytest.raises(ExportError, match=r"several versions of mlp-128: choose with --version"):
        keras_to_onnx.export(trained, TRAINING.pictures, models=tmp_path)
    assert keras_to_onnx.export(trained, TRAINING.pictures, models=tmp_path, version=1) == first


def test_an_unfinished_run_is_not_exported(tmp_path: Path, trained: Run) -> None:
    run = Run(tmp_path / "half")
    run.start(trained.read_origin())
    with pytest.raises(ExportError, match=r"has not ended.*--resume"):
        keras_to_onnx.export(run, TRAINING.pictures, models=tmp_path)


def test_a_network_that_eight_bits_would_change_is_refused() -> None:
    """Seven bits lose the small ones among these weights, and the answer depends on them."""
    image = keras.Input((28, 28), dtype="uint8")
    x = keras.layers.Reshape((28, 28, 1))(keras.layers.Rescaling(1 / 255)(image))
    wide = keras.layers.Conv2D(1, (1, 28))
    x = keras.layers.ReLU()(wide(x))
    likes = keras.layers.Dense(10, activation="softmax")
    model = keras.Model(image, likes(keras.layers.Flatten()(x)))
    weights = np.full((1, 28, 1, 1), 0.004, np.float32)
    weights[0, 0] = 1.0
    wide.set_weights([weights, np.zeros(1, np.float32)])
    likes.set_weights(
        [np.tile(np.linspace(-400, 400, 10, dtype=np.float32), (28, 1)), np.zeros(10, np.float32)]
    )
    onnx_bytes = keras_to_onnx.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    with pytest.raises(ExportError, match=r"Quantised to int8, the network's outputs differ by"):
        keras_to_onnx.quantise_verified(onnx_bytes, TRAINING.pictures)


def test_a_network_with_two_heads_learns_both(two_headed_run: Run, tmp_path: Path) -> None:
    file = keras_to_onnx.export(two_headed_run, TRAINING.pictures, models=tmp_path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(file).graph.node}
    classifier = Classifier.load(file.read_bytes())
    assert classifier.recipe_version == "1.0.0+int8"
    scores = classifier.classify(VALIDATION.pictures)
    accuracy = (scores.probabilities.argmax(axis=1) == VALIDATION.digits).mean()
    assert accuracy > 0.8
    losses, accuracies = two_headed_run.validation()  # of the first head alone
    assert losses[-1] < two_headed_run.read_history()["val_loss"][-1]
    assert accuracies[-1] == pytest.approx(accuracy, abs=0.03)  # eight bits, and another temperature
    blots = np.load(two_headed_run.scenes)["pictures"][-300:]
    blot_scores = classifier.classify(blots)
    assert scores.digit_likelihood is not None
    assert blot_scores.digit_likelihood is not None
    assert scores.digit_likelihood.mean() > blot_scores.digit_likelihood.mean() + 0.4
    # calibration accepts 99 % of the held-out digits
    assert (scores.digit_likelihood >= MIN_DIGIT_LIKELIHOOD).mean() > 0.9
