"""Real fine-tuning of the committed network, on digits that are drawn here: MNIST is not needed."""

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
from training.errors import ExportError, WorkshopError
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


def mirrored(count: int, *, seed: int) -> Labelled:
    """Digits as they are seen in a mirror: the network has never been shown them."""
    pictures = draw_digits(count, seed=seed)
    return Labelled(np.ascontiguousarray(pictures.pictures[:, :, ::-1]), pictures.digits)


OWN = mirrored(120, seed=4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(MODELS / "cnn", folder / "cnn")
    return folder


@pytest.fixture(scope="module")
def changes(models: Path) -> dict[str, Change]:
    made = export_fine_tuned(models / "cnn", models / "mirrored", OWN, mnist=MNIST, fine_tuning=QUICK)
    return {change.data: change for change in made}


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
def test_without_a_whole_keras_model_the_remedy_is_told(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    (tmp_path / "cnn").mkdir()
    shutil.copy(MODELS / "cnn" / "model.onnx", tmp_path / "cnn")
    if content:
        (tmp_path / "cnn" / "model.keras").write_bytes(content)
    with pytest.raises(ExportError, match=rf"{why}.*`python -m training export cnn` writes it"):
        load_parent(tmp_path / "cnn")


def test_held_out_own_pictures_are_read_better_and_the_others_no_worse(changes: dict[str, Change]) -> None:
    own, others = changes["own, held out"], changes["MNIST validation"]
    assert own.before
    assert own.after
    assert own.before.errors > 0.3
    assert own.after.errors < own.before.errors / 2
    assert others.before
    assert others.after
    assert others.after.errors <= others.before.errors + 0.02


def test_what_was_held_out_is_what_the_exported_file_reaches(
    models: Path, changes: dict[str, Change]
) -> None:
    after = changes["own, held out"].after
    assert after
    others = mirrored(300, seed=5)
    found = classify(Catalogue.load(models, default="mirrored").get().classifier, others.pictures)
    assert (found.probabilities.argmax(axis=1) != others.digits).mean() < after.errors + 0.1


def test_scribbles_stay_no_digits_and_own_pictures_become_digits(
    models: Path, changes: dict[str, Change]
) -> None:
    scribbles = scene_pool.draw_scribbles(100, seed=9)
    before, after = (
        [likelihoods(models, name, pictures) for pictures in (MNIST.validation.pictures, scribbles)]
        for name in ("cnn", "mirrored")
    )
    told_before, told_after = auroc(*before), auroc(*after)
    assert told_before
    assert told_after
    assert told_after > told_before - 0.02
    assert (after[1] < MIN_DIGIT_LIKELIHOOD).mean() > 0.5
    own = changes["own, held out"].after
    assert own
    assert own.rejected == pytest.approx(0, abs=0.05)


def likelihoods(models: Path, name: str, pictures: DigitBatch) -> Likelihoods:
    found = Catalogue.load(models, default=name).get().classifier.classify(pictures).digit_likelihood
    assert found is not None
    return found


@pytest.mark.usefixtures("changes")
def test_the_new_network_says_where_it_comes_from(models: Path) -> None:
    catalogue = Catalogue.load(models, default="cnn")
    parent, child = (catalogue.get(name).classifier for name in ("cnn", "mirrored"))
    assert child.version == "1.0.0+int8"
    assert json.loads(child.metadata[Metadata.PARENT]) == {
        "name": "cnn",
        "version": parent.version,
        "sha256": parent.sha256,
    }
    assert child.metadata[Metadata.DATA_SHA256] == OWN.sha256
    recipe = json.loads(child.metadata[Metadata.RECIPE])
    assert 1 <= recipe.pop("taught_rounds") <= QUICK.rounds
    assert recipe == dataclasses.asdict(QUICK)
    card = (models / "mirrored" / "README.md").read_text()
    assert parent.sha256 in card
    assert OWN.sha256 in card
    assert "| own, held out | 120 |" in card


def test_the_folder_is_as_export_and_evaluate_leave_it_and_can_be_a_parent_itself(
    models: Path, changes: dict[str, Change]
) -> None:
    folder = models / "mirrored"
    assert {file.name for file in folder.iterdir()} == {
        "README.md", "metrics.json", "model.keras", "model.onnx",
    }  # fmt: skip
    test = changes["MNIST test"].after
    assert test
    measured = json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    assert test.errors == pytest.approx(1 - measured)
    assert {one.name for one in models.iterdir()} == {"cnn", "mirrored"}
    assert (folder / "model.keras").stat().st_size < 1.5 * (models / "cnn" / "model.keras").stat().st_size
    load_parent(folder)


def test_where_nothing_is_gained_nothing_is_written(models: Path, tmp_path: Path) -> None:
    still = dataclasses.replace(QUICK, learning_rate=0.0, steps=1, rounds=1)
    with pytest.raises(WorkshopError, match=r"read best by the network as it is"):
        export_fine_tuned(models / "cnn", tmp_path / "same", OWN, mnist=MNIST, fine_tuning=still)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network with one head that knows nothing."""
    folder = tmp_path_factory.mktemp("untrained") / "mlp-128"
    folder.mkdir()
    model = NETWORKS["mlp_128"]()
    model.save(folder / "model.keras")
    origin = Origin(recipe=find_recipe("mlp-128"), data_sha256="0", commit="0")
    (folder / "model.onnx").write_bytes(convert_and_verify(model, origin, MNIST.training.pictures))
    return folder


def test_a_network_with_one_head_is_adapted_too(untrained: Path, tmp_path: Path) -> None:
    own, *_ = export_fine_tuned(untrained, tmp_path / "mirrored", OWN, mnist=MNIST, fine_tuning=QUICK)
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
    late = dataclasses.replace(MNIST, test=Interrupted(MNIST.test.pictures, MNIST.test.digits))
    with pytest.raises(KeyboardInterrupt):
        export_fine_tuned(untrained, tmp_path / "mine", OWN, mnist=late, fine_tuning=QUICK)
    assert (tmp_path / "mine" / "model.onnx").read_bytes() == b"earlier"
    assert [one.name for one in tmp_path.rglob("*")] == ["mine", "model.onnx"]
