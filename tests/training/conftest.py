"""Fixtures of networks; each is trained once for all tests of a process."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.drawn import make_material, write_fonts
from tests.training.hands import draw_digits
from tests.training.runs import QUICK, TRAINING, VALIDATION
from tests.training.tiny_networks import build_sample, write_versions
from training.judge.comparison import Comparison, compare
from training.learn.runs import Run
from training.recipe import Scenes
from training.scenes.handwriting import Material
from training.scenes.numbers import NEGATIVE_LABEL
from training.scenes.shards import SHARD_SIZES, Shelf, Shelves, draw_shard, save


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from training.learn.train import train  # noqa: PLC0415  slow: imports TensorFlow

    run = Run(tmp_path_factory.mktemp("runs") / "quick")
    train(QUICK, TRAINING, VALIDATION, run=run)
    return run


class RunWithScenes(Run):
    """A run with one file of scenes, to learn from and to calibrate with."""

    @property
    def held_out(self) -> Path:
        return self.scenes


@pytest.fixture(scope="session")
def two_headed_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of a network with two heads, which learned that blots are negative examples."""
    from training.learn.train import train  # noqa: PLC0415  slow: imports TensorFlow

    folder = tmp_path_factory.mktemp("two_headed_run")
    run = RunWithScenes(folder / "run", scenes_folder=folder)
    rng = np.random.default_rng(3)
    noise = [cv2.GaussianBlur(rng.normal(0, 1, (28, 28)), (0, 0), 2) for _ in range(300)]
    blots = (np.stack(noise) > 0.05) * np.uint8(255)
    digits = draw_digits(300, seed=4)
    labels = np.concatenate([digits.digits, np.full(300, NEGATIVE_LABEL, np.uint8)])
    np.savez(run.scenes, pictures=np.concatenate([digits.pictures, blots]), labels=labels)
    recipe = dataclasses.replace(
        QUICK,
        name="cnn",
        network="cnn",
        scenes=Scenes(plain_epochs=1, share=0.25, share_no_digits=0.25),
    )
    train(recipe, TRAINING, VALIDATION, run=run)
    return run


@pytest.fixture(scope="session")
def tiny_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that holds two versions of a tiny network."""
    folder = tmp_path_factory.mktemp("models")
    write_versions(folder)
    return folder


@pytest.fixture(scope="session")
def compared(tiny_versions: Path) -> Comparison:
    return compare(tiny_versions, "tiny@1", "tiny", build_sample())


@pytest.fixture(scope="session")
def material() -> Material:
    """What hands are made of, without MNIST and recorded strokes."""
    return make_material()


@pytest.fixture
def drawn_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fonts, all the same one."""
    folder = write_fonts(tmp_path / "fonts")
    monkeypatch.setenv("DIGITS_FONTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def shelves(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Shelves:
    """Two small shards of strips and documents to train on, and one of each to choose by."""
    folder = tmp_path_factory.mktemp("drawings")
    training, validation = (
        Shelf(split, folder / "no-mnist", folder / "no-strokes", folder)
        for split in ("training", "validation")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITS_FONTS", str(write_fonts(folder / "fonts")))
        for shelf, numbers in ((training, (0, 1)), (validation, (0,))):
            for kind, number in itertools.product(SHARD_SIZES, numbers):
                groups = draw_shard(kind, number, material, split=shelf.split, count=24)
                save(groups, shelf.locate(kind, number))
    return Shelves(training, validation, sha256="0" * 64)
