from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from app.digits.classifier import Classifier
from training import glyphs, pool, scenes
from training.data.labelled import Labelled
from training.number_scenes import NO_DIGIT
from training.recipe import Recipe, Scenes, recipe_named

SCENES = (scenes.photograph, scenes.scan, scenes.drawing, scenes.boxed)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_drawn_digit_is_cut_out_tightly() -> None:
    for seed in range(20):
        glyph, digit = glyphs.drawn_digit(rng(seed))
        assert 0 <= digit <= 9
        assert cv2.boundingRect(glyph) == (0, 0, *glyph.shape[::-1])


def test_an_mnist_digit_stays_itself_when_it_is_enlarged(classifier: Classifier) -> None:
    picture = scenes.seen(
        cv2.cvtColor(cv2.copyMakeBorder(glyphs.drawn_digit(rng(3))[0], *[20] * 4, 0), cv2.COLOR_GRAY2RGB)
    )
    assert picture is not None
    glyph = glyphs.from_mnist(picture)
    large = scenes.seen(cv2.cvtColor(cv2.copyMakeBorder(glyph, *[20] * 4, 0), cv2.COLOR_GRAY2RGB))
    assert large is not None
    told = classifier.classify(np.stack([picture, large])).probabilities.argmax(axis=1)
    assert told[0] == told[1]


def test_a_pen_makes_strokes_of_its_width() -> None:
    bar = np.full((120, 15), 255, np.uint8)
    for pen in (1, 3, 9):
        widths = np.count_nonzero(glyphs.with_pen(bar, pen), axis=1)
        assert abs(np.median(widths) - pen) <= 1


@pytest.mark.usefixtures("font_folder")
def test_a_character_that_a_font_lacks_is_an_empty_glyph() -> None:
    assert glyphs.from_font("5", "caveat").size
    assert not glyphs.from_font("\u0905", "caveat").size  # a Devanagari letter
    for seed in range(40):
        assert glyphs.no_digit(rng(seed)).size


@pytest.mark.usefixtures("font_folder")  # a neighbour may be typed
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_equal_generators_give_equal_scenes(scene: pool.Draw) -> None:
    glyph, _ = glyphs.drawn_digit(rng())
    first, second = scene(glyph, rng=rng(5)), scene(glyph, rng=rng(5))  # type: ignore[call-arg, arg-type]
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8  # type: ignore[attr-defined]


@pytest.mark.usefixtures("font_folder")
def test_people_s_digits_can_be_read_in_most_scenes(classifier: Classifier) -> None:
    right = []
    for seed in range(120):
        glyph, digit = glyphs.drawn_digit(rng(seed))
        picture = scenes.seen(SCENES[seed % 4](glyph, rng=rng(seed)))
        right.append(
            picture is not None and classifier.classify(picture[np.newaxis]).probabilities.argmax() == digit
        )
    assert np.mean(right) > 0.8


def test_worn_pictures_are_of_any_polarity_and_size() -> None:
    picture = np.asarray(Image.fromarray(glyphs.drawn_digit(rng())[0]).resize((20, 20)))
    picture = np.pad(picture, 4)
    sizes = {scenes.worn(picture, rng=rng(seed)).shape for seed in range(30)}
    assert {shape[0] for shape in sizes} == {28, 56, 84}


@pytest.fixture
def small() -> tuple[Labelled, Recipe]:
    counts = Scenes(photographs=3, scans=3, drawings=3, worn=3, no_digits=3, pieces=3, boxed=3)
    recipe = Recipe(
        name="cnn", network="cnn", epochs=1, batch_size=8, learning_rate=0.01, scenes=counts, target=0.5
    )
    pictures = np.zeros((10, 28, 28), np.uint8)
    pictures[:, 6:22, 12:16] = 255
    return Labelled(pictures, np.ones(10, np.uint8)), recipe


@pytest.mark.usefixtures("font_folder")
def test_a_pool_is_drawn_once_and_the_same_by_any_number_of_hands(
    small: tuple[Labelled, Recipe], tmp_path: Path
) -> None:
    training, recipe = small
    file = tmp_path / "scenes.npz"
    first = pool.drawn(training, recipe, file=file, chunk=3)
    written = file.stat().st_mtime_ns
    again = pool.drawn(training, recipe, file=file, chunk=3)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.digits.pictures, again.digits.pictures)
    alone, labels = pool._chunk(("worn", 0), training=training, seed=recipe.seed, size=3)  # noqa: SLF001
    assert all(any(np.array_equal(one, other) for other in first.digits.pictures) for one in alone[:3])
    assert labels[0] == 1
    assert len(first.digits.digits) + len(first.no_digits) == 3 * (len(pool.KINDS) + 1)


def test_a_scene_in_which_the_digit_is_lost_is_shown_to_no_network() -> None:
    glyph = glyphs.drawn_digit(rng(3))[0]
    scene = np.full((200, 200, 3), 255, np.uint8)
    scene[20 : 20 + len(glyph), 20 : 20 + glyph.shape[1]] -= glyph[..., None]
    assert pool.Example(scene, 1, glyph).seen() is not None
    scene[:, :] = 255
    scene[90:110, 20:180] = 0  # a bar is all there is
    assert pool.Example(scene, 1, glyph).seen() is None
    assert pool.Example(scene, NO_DIGIT).seen() is not None


@pytest.mark.usefixtures("font_folder")
def test_every_kind_of_scene_can_be_looked_at(small: tuple[Labelled, Recipe]) -> None:
    shown = pool.samples(small[0], each=2)
    assert [kind for kind, _ in shown] == list(pool.KINDS)
    assert all(picture.shape == (28, 28) for _, row in shown for _, picture in row)


def test_the_champions_recipe_has_scenes() -> None:
    assert recipe_named("cnn").scenes is not None
