from __future__ import annotations

import numpy as np
import pytest

from tests.training.drawn import make_surface
from training.scenes.backgrounds import Ink
from training.scenes.handwriting import Mark
from training.scenes.surfaces import COVERED, Surface, draw_ellipse, draw_quadrilateral


def test_a_character_below_a_thing_cant_be_made_out() -> None:
    surface = make_surface()
    surface.marks = [Mark(7, 40, 40, 60, 60), Mark(8, 100, 40, 110, 60)]
    surface.hide_below(draw_quadrilateral((50, 50), (40, 40), surface.rng))
    assert [mark.label for mark in surface.marks] == [COVERED, 8]


def test_writing_keeps_off_what_stands_there() -> None:
    surface = make_surface()
    surface.occupy(np.array([(0, 0), (160, 120)], float))
    assert surface.find_free_corner(20) is None


def test_ink_is_light_on_dark_grounds_and_dark_on_light_ones() -> None:
    dark = Surface(np.full((50, 50), 20, np.float32), np.random.default_rng(0), unit=20)
    assert np.mean([dark.pick_ink().tone > 20 for _ in range(50)]) > 0.8
    assert all(make_surface(seed).pick_ink().tone < 220 for seed in range(20))


def test_an_ellipse_has_its_axes() -> None:
    points = draw_ellipse((50, 40), (20, 10))
    assert np.ptp(points, axis=0) == pytest.approx([40, 20], rel=0.01)
    surface = make_surface()
    cover = surface.draw(points, Ink(0), 1, filled=True)
    assert np.count_nonzero(cover > 127) == pytest.approx(np.pi * 200, rel=0.1)
