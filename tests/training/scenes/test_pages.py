from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.digits.classifier import Classifier
from training.scenes import pages, scene_pool, symbols

SCENES = (pages.draw_photograph, pages.draw_scan, pages.draw_drawing, pages.draw_boxed)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.usefixtures("font_folder")  # a neighbour may come from a font
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_equal_generators_give_equal_scenes(scene: scene_pool.DrawExample) -> None:
    glyph, _ = symbols.draw_digit(rng())
    first, second = scene(glyph, rng=rng(5)), scene(glyph, rng=rng(5))  # type: ignore[call-arg, arg-type]
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8  # type: ignore[attr-defined]


@pytest.mark.usefixtures("font_folder")
def test_drawn_digits_can_be_read_in_most_scenes(classifier: Classifier) -> None:
    right = []
    for seed in range(120):
        glyph, digit = symbols.draw_digit(rng(seed))
        picture = pages.read_scene(SCENES[seed % 4](glyph, rng=rng(seed)))
        right.append(
            picture is not None and classifier.classify(picture[np.newaxis]).probabilities.argmax() == digit
        )
    assert np.mean(right) > 0.8


def test_worn_pictures_have_one_to_three_times_the_size() -> None:
    picture = np.asarray(Image.fromarray(symbols.draw_digit(rng())[0]).resize((20, 20)))
    picture = np.pad(picture, 4)
    sizes = {pages.draw_worn(picture, rng=rng(seed)).shape for seed in range(30)}
    assert {shape[0] for shape in sizes} == {28, 56, 84}
