from __future__ import annotations

import numpy as np

from training.scenes.shapes import SHAPES, draw_shape


def test_every_digit_has_shapes_beyond_mnists() -> None:
    assert {digit for digit, _ in SHAPES} == set(range(10))


def test_a_shape_stands_on_the_line_about_one_high() -> None:
    rng = np.random.default_rng(0)
    for digit in range(10):
        boxes = [np.concatenate(draw_shape(digit, rng)) for _ in range(40)]
        assert 0.8 < np.median([np.ptp(points[:, 1]) for points in boxes]) < 1.2
        assert abs(np.median([points[:, 1].max() for points in boxes])) < 0.1


def test_no_two_hands_draw_the_same_shape_alike() -> None:
    drawn = {draw_shape(1, np.random.default_rng(seed))[0].tobytes() for seed in (1, 1, 2, 3)}
    assert len(drawn) == 3
