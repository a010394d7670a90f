from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.drawn import make_strokes
from training.data.labelled import Labelled
from training.recipe import Recipe, Scenes, find_recipe
from training.scenes import scene_pool, symbols
from training.scenes.numbers import NEGATIVE_LABEL
from training.scenes.scene_pool import Sources


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def small() -> tuple[Sources, Recipe]:
    counts = Scenes(photographs=3, scans=3, drawings=3, worn=3, no_digits=3, pieces=3, boxed=3)
    recipe = Recipe(
        name="cnn", network="cnn", epochs=1, batch_size=8, learning_rate=0.01, scenes=counts, target=0.5
    )
    pictures = np.zeros((10, 28, 28), np.uint8)
    pictures[:, 6:22, 12:16] = 255
    return Sources(Labelled(pictures, np.ones(10, np.uint8)), make_strokes(writers=2)), recipe


@pytest.mark.usefixtures("font_folder")
def test_a_pool_is_drawn_once_and_does_not_depend_on_the_number_of_processes(
    small: tuple[Sources, Recipe], tmp_path: Path
) -> None:
    sources, recipe = small
    file = tmp_path / "scenes.npz"
    first = scene_pool.load_or_draw(lambda: sources, recipe, file=file, chunk=3)

    def fail() -> Sources:
        raise AssertionError

    again = scene_pool.load_or_draw(fail, recipe, file=file, chunk=3)
    np.testing.assert_array_equal(first.digits.pictures, again.digits.pictures)
    alone, labels = scene_pool._draw_chunk(("worn", 0), sources=sources, seed=recipe.seed, count=3)  # noqa: SLF001
    assert all(any(np.array_equal(one, other) for other in first.digits.pictures) for one in alone[:3])
    assert labels[0] == 1
    assert len(first.digits.digits) + len(first.negatives) == 3 * (len(scene_pool.KINDS) + 1)


def test_a_scene_in_which_the_digit_is_unreadable_is_discarded() -> None:
    glyph, digit = symbols.draw_digit(rng(3))
    scene = np.full((200, 200, 3), 255, np.uint8)
    scene[20 : 20 + len(glyph), 20 : 20 + glyph.shape[1]] -= glyph[..., None]
    assert scene_pool.Example(scene, digit, glyph).canonicalise() is not None
    scene[:, :] = 255
    scene[90:110, 20:180] = 0  # nothing but a bar
    assert scene_pool.Example(scene, digit, glyph).canonicalise() is None
    assert scene_pool.Example(scene, NEGATIVE_LABEL).canonicalise() is not None


@pytest.mark.usefixtures("font_folder")
def test_samples_are_drawn_of_every_kind_of_scene(small: tuple[Sources, Recipe]) -> None:
    samples = scene_pool.draw_samples(small[0], per_kind=2)
    assert [kind for kind, _ in samples] == list(scene_pool.KINDS)
    assert all(picture.shape == (28, 28) for _, row in samples for _, picture in row)


def test_the_default_networks_recipe_has_scenes() -> None:
    assert find_recipe("cnn").scenes is not None
