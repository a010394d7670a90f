from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.digits.contract import OTHER_WRITING
from tests.training.drawn import FONT
from tests.training.hands import draw_digits
from training.scenes import characters
from training.scenes.characters import DIGIT_HEIGHT, from_paths, from_raster


def test_a_path_begins_at_0_and_its_box_includes_the_pen() -> None:
    character = from_paths("1", (np.array([(30, -60), (30, 0)], np.float32),), pen_width=6)
    assert list(character.bounds) == [-3, -63, 3, 3]
    assert list(character.move(10, -2).bounds) == [7, -65, 13, 1]
    assert character.ends[1].tolist() == [0, 0]


def test_profiles_say_how_far_a_character_reaches_at_each_height() -> None:
    seven = from_paths("7", (np.array([(0, -60), (40, -60), (20, 0)], np.float32),), pen_width=0)
    bands = [int((y - characters.TOP_BAND) / characters.BAND_HEIGHT) for y in (-60, 0)]
    assert seven.left[bands[0]] == 0
    assert seven.right[bands[0]] == 40
    assert seven.left[bands[1]] == seven.right[bands[1]] == 20
    assert seven.left[0] == characters.FAR


def test_a_raster_without_ink_is_no_character() -> None:
    assert from_raster("1", np.zeros((20, 10), np.uint8), top=0) is None


def test_what_has_no_class_is_other_writing() -> None:
    assert [characters.find_label(character) for character in "0.~€a"] == [0, 10, *[OTHER_WRITING] * 3]


def test_a_fonts_digits_are_as_high_as_all_others() -> None:
    typed = characters.typeset("8", str(FONT))
    assert typed is not None
    raster, top = typed
    assert len(raster) == pytest.approx(DIGIT_HEIGHT, abs=3)
    assert top == pytest.approx(-DIGIT_HEIGHT, abs=3)
    assert characters.typeset(" ", str(FONT)) is None


def test_segments_light_up_as_a_digit_needs_them() -> None:
    lit = {digit: np.count_nonzero(characters.draw_segments(digit, 8, 1) > 127) for digit in "1478"}
    assert lit["1"] < lit["7"] < lit["4"] < lit["8"]
    ghost = characters.draw_segments("1", 8, 1, ghost=30)
    assert set(np.unique(ghost)) >= {0, 30, 255}


def test_an_enlarged_digit_has_its_height_and_its_slant() -> None:
    (picture,) = draw_digits(1, seed=1).pictures
    plain, slanted = (
        characters.enlarge_digit(picture, height=64, aspect=1.0, slant=slant, thin=0.0)
        for slant in (0.0, 0.5)
    )
    assert len(plain) == pytest.approx(64 * 1.2, abs=16)  # with the rim about MNIST's ink
    assert slanted.shape[1] > plain.shape[1]


def test_a_piece_is_cut_off_at_the_canvas() -> None:
    canvas = np.zeros((10, 10), np.uint8)
    characters.lay(canvas, np.full((4, 4), 200, np.uint8), -2, 8)
    characters.lay(canvas, np.full((4, 4), 100, np.uint8), -2, 8)
    characters.lay(canvas, np.full((4, 4), 100, np.uint8), 40, 40)
    assert np.argwhere(canvas).tolist() == [[8, 0], [8, 1], [9, 0], [9, 1]]
    assert canvas.max() == 200


def test_fonts_are_those_that_are_fetched(drawn_fonts: Path) -> None:
    files = [*characters.list_hand_fonts(), *characters.list_print_fonts()]
    assert len(files) > 90
    assert all(Path(file).parent == drawn_fonts and Path(file).exists() for file in files)
