from __future__ import annotations

import numpy as np
import pytest

from training.scenes.pens import Pen, draw_pen, resample

LINE = np.array([(20, 20), (20, 60), (60, 60)], np.float32)


def draw(pen: Pen) -> np.ndarray:
    canvas = np.zeros((80, 80), np.uint8)
    pen.draw(canvas, resample(LINE, 3), np.random.default_rng(0))
    return canvas


def test_a_wider_pen_leaves_more_ink() -> None:
    fine, bold = draw(Pen(width=2)), draw(Pen(width=8))
    assert 3 < np.count_nonzero(bold > 127) / np.count_nonzero(fine > 127) < 5


def test_a_flat_nib_thins_in_its_own_direction() -> None:
    upright = draw(Pen(width=8, flatness=0.7, angle=np.pi / 2))
    assert np.count_nonzero(upright[40]) < np.count_nonzero(upright[:, 40])


def test_a_lifted_pen_thins_at_the_end() -> None:
    assert np.count_nonzero(draw(Pen(width=8, tapers=True))[:, 58]) < np.count_nonzero(
        draw(Pen(width=8))[:, 58]
    )


def test_pressure_changes_the_width_along_the_line() -> None:
    widths = np.count_nonzero(draw(Pen(width=10, pressure=0.35))[25:55], axis=1)
    assert np.ptp(widths) >= 2


def test_a_single_point_is_a_dot() -> None:
    canvas = np.zeros((40, 40), np.uint8)
    Pen(width=6).draw(canvas, np.array([(20, 20)], np.float32), np.random.default_rng(0))
    rows, columns = np.nonzero(canvas)
    assert (rows.mean(), columns.mean()) == (pytest.approx(20, abs=0.5), pytest.approx(20, abs=0.5))


def test_points_are_at_equal_distances_whatever_they_were() -> None:
    uneven = np.array([(0, 0), (1, 0), (2, 0), (90, 0)], np.float32)
    steps = np.diff(resample(uneven, 3)[:, 0])
    assert steps == pytest.approx(np.full(len(steps), 3), rel=0.05)


def test_a_line_without_length_is_a_point() -> None:
    assert len(resample(np.zeros((5, 2), np.float32), 3)) == 1


def test_pens_differ_and_come_again() -> None:
    pens = [draw_pen(np.random.default_rng(seed), 5) for seed in (1, 1, 2)]
    assert pens[0] == pens[1] != pens[2]
