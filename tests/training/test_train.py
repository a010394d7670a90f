"""Real training and export, on digits that are draw_digits here: MNIST is not needed."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.contract import CONTRACT_VERSION, IS_DIGIT, Metadata
from tests.training.hands import draw_digits
from training.errors import ExportError, RunError
from training.recipe import RECIPES, Augmentation, Recipe, Scenes, recipe_named
from training.runs import History, Origin, Run
from training.scenes.numbers import NO_DIGIT

keras = pytest.importorskip("keras", reason="needs the training extra")

from training import export as exporting  # noqa: E402
from training.networks import NETWORKS  # noqa: E402
from training.train import Mixture, Pictures, train  # noqa: E402

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's and tf2onnx' own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
QUICK = Recipe(
    name="mlp-128",
    network="mlp_128",
    epochs=3,
    batch_size=32,
    learning_rate=0.01,
    schedule="cosine",
    augmentation=Augmentation(),
    target=0.9,
)


TRAINING, VALIDATION = draw_digits(600, seed=1), draw_digits(200, seed=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "quick")
    train(QUICK, TRAINING, VALIDATION, run=run)
    return run


def test_a_run_learns_and_keeps_model_history_and_origin(trained: Run) -> None:
    history = trained.history()
    assert {metric: len(values) for metric, values in history.items()} == {
        "accuracy": 3, "loss": 3, "val_accuracy": 3, "val_loss": 3,
    }  # fmt: skip
    assert history["val_accuracy"][-1] > 0.9
    assert trained.origin().recipe == QUICK
    assert trained.origin().data_sha256 == TRAINING.sha256
    assert trained.model.exists()
    assert list(trained.tensorboard.rglob("events*"))


def test_a_resumed_run_ends_where_an_unbroken_one_does(trained: Run, tmp_path: Path) -> None:
    class FullDisk(Run):
        def keep_history(self, history: History) -> None:
            if len(history["loss"]) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().keep_history(history)

    run = Run(tmp_path / "broken")
    with pytest.raises(OSError, match=r"No space left"):
        train(QUICK, TRAINING, VALIDATION, run=FullDisk(run.folder))
    assert not run.model.exists()
    assert len(run.history()["loss"]) == 1
    with pytest.raises(RunError, match=r"--resume goes on with it. --fresh discards it"):
        train(QUICK, TRAINING, VALIDATION, run=run)
    train(QUICK, TRAINING, VALIDATION, run=run, resume=True)
    for metric, values in trained.history().items():
        np.testing.assert_allclose(run.history()[metric], values, rtol=1e-3)
    unbroken, resumed = (keras.models.load_model(one.model).get_weights() for one in (trained, run))
    for one, other in zip(unbroken, resumed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_constant_learning_rate_learns_too_and_a_run_can_be_discarded(tmp_path: Path) -> None:
    run = Run(tmp_path / "constant")
    recipe = dataclasses.replace(QUICK, schedule="constant", epochs=1, augmentation=None)
    train(recipe, TRAINING, VALIDATION, run=run)
    assert run.history()["val_accuracy"][-1] > 0.8
    run.discard()
    assert not run.folder.exists()
    run.discard()


def test_a_folder_that_is_no_run_is_neither_used_nor_discarded(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"holds something that is no run"):
        Run(tmp_path).discard()
    with pytest.raises(RunError, match=r"holds something that is no run"):
        train(QUICK, TRAINING, VALIDATION, run=Run(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_without_a_whole_epoch_cant_be_resumed(trained: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "early")
    run.start(dataclasses.replace(trained.origin()))
    with pytest.raises(RunError, match=r"no whole epoch to go on from: --fresh"):
        train(QUICK, TRAINING, VALIDATION, run=run, resume=True)


def test_a_run_is_never_overwritten_unasked(trained: Run) -> None:
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


def test_every_epoch_has_every_picture_once_in_another_order() -> None:
    recipe = dataclasses.replace(QUICK, augmentation=None, batch_size=64)
    pictures = Pictures(TRAINING, recipe)

    def epoch() -> np.ndarray:
        return np.concatenate([pictures[batch][0] for batch in range(len(pictures))]).reshape(
            len(TRAINING), -1
        )

    first = epoch()
    np.testing.assert_array_equal(first, epoch())
    pictures.on_epoch_end()
    second = epoch()
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first.sum(axis=1)), np.sort(second.sum(axis=1)))


def test_an_exported_run_is_served_with_its_origin_in_its_metadata(trained: Run, tmp_path: Path) -> None:
    file = exporting.export(trained, TRAINING.pictures, models=tmp_path)
    assert file == tmp_path / "mlp-128" / "model.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    classifier = Classifier.load(file.read_bytes())
    assert (
        classifier.classify(VALIDATION.pictures).probabilities.argmax(axis=1) == VALIDATION.digits
    ).mean() > 0.9
    assert classifier.metadata == {
        Metadata.CONTRACT_VERSION: str(CONTRACT_VERSION),
        Metadata.NAME: "mlp-128",
        Metadata.VERSION: "1.0.0",
        Metadata.RECIPE: QUICK.to_json(),
        Metadata.DATA_SHA256: TRAINING.sha256,
        Metadata.COMMIT: trained.origin().commit,
        Metadata.PARAMETERS: "101770",
        Metadata.MULTIPLY_ADDS: str(784 * 128 + 128 * 10),
    }
    assert {one.name for one in file.parent.iterdir()} == {"model.onnx", "model.keras"}
    exporting.prove_same(keras.models.load_model(file.with_name("model.keras")), classifier)


def test_a_run_is_exported_beside_earlier_versions_and_says_which_it_is(trained: Run, tmp_path: Path) -> None:
    first = exporting.export(trained, TRAINING.pictures, models=tmp_path)
    second = exporting.export(trained, TRAINING.pictures, models=tmp_path, version=2)
    assert second == tmp_path / "mlp-128" / "2" / "model.onnx"
    assert list(Catalogue.load(tmp_path, default="mlp-128").models) == ["mlp-128@1", "mlp-128@2"]
    with pytest.raises(ExportError, match=r"several versions of mlp-128: say with --version"):
        exporting.export(trained, TRAINING.pictures, models=tmp_path)
    assert exporting.export(trained, TRAINING.pictures, models=tmp_path, version=1) == first


def test_an_unfinished_run_is_not_exported(tmp_path: Path, trained: Run) -> None:
    run = Run(tmp_path / "half")
    run.start(trained.origin())
    with pytest.raises(ExportError, match=r"has not ended.*--resume"):
        exporting.export(run, TRAINING.pictures, models=tmp_path)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_the_contract_and_equals_keras_in_onnx(name: str) -> None:
    model = NETWORKS[name]()
    origin = Origin(recipe=recipe_named("cnn"), data_sha256="0", commit="0")
    exporting.prove_equal(model, exporting.convert(model, origin))


def test_a_network_without_softmax_is_refused_as_the_service_would() -> None:
    image = keras.Input((28, 28), dtype="uint8")
    model = keras.Model(
        image, keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image)))
    )
    onnx_bytes = exporting.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    with pytest.raises(ExportError, match=r"can't be served: .* do not sum to 1"):
        exporting.prove_equal(model, onnx_bytes)


def test_a_file_that_differs_from_keras_is_refused(trained: Run) -> None:
    origin = trained.origin()
    other = exporting.convert(NETWORKS["mlp_128"](), origin)
    with pytest.raises(ExportError, match=r"At batch size 1 ONNX differs from Keras by"):
        exporting.prove_equal(keras.models.load_model(trained.model), other)


def test_eight_bits_that_read_otherwise_are_refused() -> None:
    """The weights' spread is such that seven bits lose the small ones, and the small ones decide."""
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
    onnx_bytes = exporting.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    with pytest.raises(ExportError, match=r"In eight bits the network differs by"):
        exporting.in_eight_bits(onnx_bytes, TRAINING.pictures)


def test_multiply_adds_of_a_convolution_are_counted_by_hand() -> None:
    image = keras.Input((28, 28), dtype="uint8")
    x = keras.layers.Reshape((28, 28, 1))(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)  # 14 x 14 x 4, each of 3 x 3 x 1
    x = keras.layers.DepthwiseConv2D(14)(x)  # 4, each of 14 x 14
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))
    file = exporting.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    counted = Classifier.load(file).metadata[Metadata.MULTIPLY_ADDS]
    assert int(counted) == 14 * 14 * 4 * 9 + 4 * 14 * 14 + 4 * 10


def test_there_is_a_network_for_every_recipe() -> None:
    assert {recipe.network for recipe in RECIPES.values()} <= NETWORKS.keys()
    assert json.loads(QUICK.to_json())["network"] in NETWORKS


CHAMPION = dataclasses.replace(
    QUICK,
    name="cnn",
    network="cnn",
    epochs=3,
    scenes=Scenes(plain_epochs=1, share=0.25, share_no_digits=0.25),
)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network with two heads, taught that blots are no digits; its scenes are given, not draw_digits."""
    run = Run(tmp_path_factory.mktemp("champion") / "run")
    rng = np.random.default_rng(3)
    noise = [cv2.GaussianBlur(rng.normal(0, 1, (28, 28)), (0, 0), 2) for _ in range(300)]
    blots = (np.stack(noise) > 0.05) * np.uint8(255)
    scenes = draw_digits(300, seed=4)
    given = {
        "pictures": np.concatenate([scenes.pictures, blots]),
        "labels": np.concatenate([scenes.digits, np.full(300, NO_DIGIT, np.uint8)]),
    }
    np.savez(run.folder.parent / "scenes.npz", pictures=given["pictures"], labels=given["labels"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "scenes", property(lambda run: run.folder.parent / "scenes.npz"))
        patch.setattr(Run, "held_out", property(lambda run: run.folder.parent / "scenes.npz"))
        train(CHAMPION, TRAINING, VALIDATION, run=run)
    return run


def test_a_network_with_two_heads_learns_both(champion: Run, tmp_path: Path) -> None:
    file = exporting.export(champion, TRAINING.pictures, models=tmp_path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(file).graph.node}
    classifier = Classifier.load(file.read_bytes())
    assert classifier.version == "1.0.0+int8"
    told = classifier.classify(VALIDATION.pictures)
    right = (told.probabilities.argmax(axis=1) == VALIDATION.digits).mean()
    assert right > 0.8
    losses, accuracies = champion.validation()  # of the first head alone
    assert losses[-1] < champion.history()["val_loss"][-1]
    assert accuracies[-1] == pytest.approx(right, abs=0.03)  # eight bits, and another temperature
    blots = np.load(champion.folder.parent / "scenes.npz")["pictures"][-300:]
    others = classifier.classify(blots)
    assert told.digit_likelihood is not None
    assert others.digit_likelihood is not None
    assert told.digit_likelihood.mean() > others.digit_likelihood.mean() + 0.4
    assert (told.digit_likelihood >= IS_DIGIT).mean() > 0.9  # the threshold keeps 99 % of the held-out ones


def test_only_the_first_epochs_are_plain(champion: Run) -> None:
    pictures = Mixture(TRAINING, CHAMPION, CHAMPION.scenes or Scenes(), champion)
    shown, truth, weights = pictures[0]
    assert truth["digit_likelihood"].all()
    pictures.epoch = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "scenes", property(lambda run: run.folder.parent / "scenes.npz"))
        shown, truth, weights = pictures[0]
    others = truth["digit_likelihood"][:, 0] == 0
    assert len(shown) == CHAMPION.batch_size
    assert others.sum() == CHAMPION.batch_size // 4
    np.testing.assert_array_equal(weights["probabilities"] == 0, others)  # they teach the second head alone
