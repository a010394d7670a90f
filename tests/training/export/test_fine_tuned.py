"""Fine-tuning of the committed network on drawn digits, which needs no MNIST."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.digits.catalogue import Catalogue
from app.digits.contract import MIN_DIGIT_LIKELIHOOD, DigitBatch, Likelihoods, Metadata
from tests.conftest import MODELS
from tests.training.hands import draw_digits
from tests.training.runs import TRAINS
from training.data.labelled import Labelled
from training.errors import ExportError, TrainingError
from training.export.fine_tuned import export_fine_tuned, load_parent
from training.export.keras_to_onnx import convert_and_verify
from training.export.lineage import Change
from training.judge.rejection import auroc
from training.judge.service_reader import classify
from training.learn.fine_tuning import Mnist
from training.learn.networks import NETWORKS
from training.learn.runs import Origin
from training.recipe import FineTuning, find_recipe
from training.scenes import scene_pool

pytestmark = TRAINS
QUICK = FineTuning(
    name="mirrored", own=24, rehearsed=24, scribbles=8, steps=25, rounds=2, folds=2, learning_rate=0.002
)
MNIST = Mnist(draw_digits(1200, seed=1), draw_digits(100, seed=2), draw_digits(100, seed=3))


def draw_mirrored_digits(count: int, *, seed: int) -> Labelled:
    """Draw digits as seen in a mirror, which the network has never learned."""
    pictures = draw_digits(count, seed=seed)
    return Labelled(np.ascontiguousarray(pictures.pictures[:, :, ::-1]), pictures.digits)


USER_PICTURES = draw_mirrored_digits(120, seed=4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(MODELS / "cnn", folder / "cnn")
    return folder


@pytest.fixture(scope="module")
def changes(models: Path) -> dict[str, Change]:
    changes = export_fine_tuned(
        models / "cnn", models / "mirrored", USER_PICTURES, mnist=MNIST, fine_tuning=QUICK
    )
    return {change.data: change for change in changes}


def test_the_committed_keras_model_and_onnx_file_are_the_same_network() -> None:
    parent = load_parent(MODELS / "cnn")
    assert parent.classifier.name == "cnn"
    assert parent.has_likelihood


def test_a_keras_model_of_another_network_is_refused(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "cnn", tmp_path / "cnn")
    NETWORKS["cnn"]().save(tmp_path / "cnn" / "model.keras")
    with pytest.raises(ExportError, match=r"different networks, .* `python -m training export cnn`"):
        load_parent(tmp_path / "cnn")


@pytest.mark.parametrize(("content", "why"), [(None, "There is no"), (b"PK", "is damaged")])
def test_a_missing_or_damaged_keras_model_is_reported_with_the_remedy(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    (tmp_path / "cnn").mkdir()
    shutil.copy(MODELS / "cnn" / "model.onnx", tmp_path / "cnn")
    if content:
        (tmp_path / "cnn" / "model.keras").write_bytes(content)
    with pytest.raises(ExportError, match=rf"{why}.*`python -m training export cnn` writes it"):
        load_parent(tmp_path / "cnn")


def test_the_users_held_out_pictures_are_read_better_and_mnist_no_worse(changes: dict[str, Change]) -> None:
    own, others = changes["the user, held out"], changes["MNIST validation"]
    assert own.before
    assert own.after
    assert own.before.errors > 0.3
    assert own.after.errors < own.before.errors / 2
    assert others.before
    assert others.after
    assert others.after.errors <= others.before.errors + 0.02


def test_the_held_out_error_predicts_that_of_the_exported_file(
    models: Path, changes: dict[str, Change]
) -> None:
    after = changes["the user, held out"].after
    assert after
    others = draw_mirrored_digits(300, seed=5)
    scores = classify(Catalogue.load(models, default="mirrored").get().classifier, others.pictures)
    assert (scores.probabilities.argmax(axis=1) != others.digits).mean() < after.errors + 0.1


def test_scribbles_are_still_rejected_and_the_users_pictures_accepted(
    models: Path, changes: dict[str, Change]
) -> None:
    scribbles = scene_pool.draw_scribbles(100, seed=9)
    before, after = (
        [measure_likelihoods(models, name, pictures) for pictures in (MNIST.validation.pictures, scribbles)]
        for name in ("cnn", "mirrored")
    )
    auroc_before, auroc_after = auroc(*before), auroc(*after)
    assert auroc_before
    assert auroc_after
    assert auroc_after > auroc_before - 0.02
    assert (after[1] < MIN_DIGIT_LIKELIHOOD).mean() > 0.5
    own = changes["the user, held out"].after
    assert own
    assert own.rejected == pytest.approx(0, abs=0.05)


def measure_likelihoods(models: Path, name: str, pictures: DigitBatch) -> Likelihoods:
    likelihoods = Catalogue.load(models, default=name).get().classifier.classify(pictures).digit_likelihood
    assert likelihoods is not None
    return likelihoods


@pytest.mark.usefixtures("changes")
def test_the_new_network_records_its_lineage(models: Path) -> None:
    catalogue = Catalogue.load(models, default="cnn")
    parent, child = (catalogue.get(name).classifier for name in ("cnn", "mirrored"))
    assert child.recipe_version == "1.0.0+int8"
    assert json.loads(child.metadata[Metadata.PARENT]) == {
        "name": "cnn",
        "version": parent.recipe_version,
        "sha256": parent.sha256,
    }
    assert child.metadata[Metadata.DATA_SHA256] == USER_PICTURES.sha256
    recipe = json.loads(child.metadata[Metadata.RECIPE])
    assert 1 <= recipe.pop("taught_rounds") <= QUICK.rounds
    assert recipe == dataclasses.asdict(QUICK)
    card = (models / "mirrored" / "README.md").read_text()
    assert parent.sha256 in card
    assert USER_PICTURES.sha256 in card
    assert "| the user, held out | 120 |" in card


def test_the_folder_looks_as_after_export_and_evaluate_and_can_be_a_parent_itself(
    models: Path, changes: dict[str, Change]
) -> None:
    folder = models / "mirrored"
    assert {file.name for file in folder.iterdir()} == {
        "README.md", "metrics.json", "model.keras", "model.onnx",
    }  # fmt: skip
    test = changes["MNIST test"].after
    assert test
    accuracy = json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    assert test.errors == pytest.approx(1 - accuracy)
    assert {one.name for one in models.iterdir()} == {"cnn", "mirrored"}
    assert (folder / "model.keras").stat().st_size < 1.5 * (models / "cnn" / "model.keras").stat().st_size
    load_parent(folder)


def test_nothing_is_written_if_fine_tuning_does_not_help(models: Path, tmp_path: Path) -> None:
    without_effect = dataclasses.replace(QUICK, learning_rate=0.0, steps=1, rounds=1)
    with pytest.raises(TrainingError, match=r"did not improve the reading of held-out pictures"):
        export_fine_tuned(
            models / "cnn", tmp_path / "same", USER_PICTURES, mnist=MNIST, fine_tuning=without_effect
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained network with one head."""
    folder = tmp_path_factory.mktemp("untrained") / "mlp-128"
    folder.mkdir()
    model = NETWORKS["mlp_128"]()
    model.save(folder / "model.keras")
    origin = Origin(recipe=find_recipe("mlp-128"), data_sha256="0", commit="0")
    (folder / "model.onnx").write_bytes(convert_and_verify(model, origin, MNIST.training.pictures))
    return folder


def test_a_network_with_one_head_can_be_fine_tuned(untrained: Path, tmp_path: Path) -> None:
    own, *_ = export_fine_tuned(
        untrained, tmp_path / "mirrored", USER_PICTURES, mnist=MNIST, fine_tuning=QUICK
    )
    assert own.before
    assert own.after
    assert own.after.errors < own.before.errors - 0.2
    assert own.after.rejected is None


def test_an_interruption_leaves_nothing_and_an_earlier_network_as_it_was(
    untrained: Path, tmp_path: Path
) -> None:
    class Interrupted(Labelled):
        @property
        def sha256(self) -> str:
            raise KeyboardInterrupt

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.onnx").write_bytes(b"earlier")
    interrupted_late = dataclasses.replace(MNIST, test=Interrupted(MNIST.test.pictures, MNIST.test.digits))
    with pytest.raises(KeyboardInterrupt):
        export_fine_tuned(
            untrained, tmp_path / "mine", USER_PICTURES, mnist=interrupted_late, fine_tuning=QUICK
        )
    assert (tmp_path / "mine" / "model.onnx").read_bytes() == b"earlier"
    assert [one.name for one in tmp_path.rglob("*")] == ["mine", "model.onnx"]
