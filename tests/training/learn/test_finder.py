from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import BOXES, CHARACTERS, HEAT, OTHER_WRITING
from tests.training.runs import TRAINS
from training.learn.finder import box_loss, count_found, finder, heat_loss, is_answered_for, make_truth

pytestmark = TRAINS
SHAPE = (64, 96)


def marks(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


SEVEN = marks((7, 40, 20, 56, 44))  # centre 48, 32: column 12, row 8


def test_the_truth_is_1_at_a_centre_and_falls_about_it() -> None:
    heat = make_truth([SEVEN], SHAPE)[HEAT][0]
    assert heat.shape == (16, 24, len(CHARACTERS) + 1)
    assert heat[8, 12, 7] == 1
    assert 0.2 < heat[8, 11, 7] < 1
    assert heat[8, 13, 7] < 0.1
    assert heat[8, 16, 7] == 0
    assert heat[..., :-1].sum(axis=(0, 1)).argmax() == 7
    assert heat[..., -1].all()


def test_the_box_stands_at_the_centre_alone() -> None:
    boxes = make_truth([SEVEN], SHAPE)[BOXES][0]
    assert np.argwhere(boxes[..., -1]).tolist() == [[8, 12]]
    assert boxes[8, 12, :4] == pytest.approx([0, 0, -0.5, -0.5])  # 16 × 24 pixels, half a cell off the middle


@pytest.mark.parametrize("mark", [(3, 10, 10, 14, 18), (3, 0, 0, 60, 63), (-1, 10, 10, 30, 40)])
def test_where_nobody_can_answer_nothing_counts(mark: tuple[float, ...]) -> None:
    heat = make_truth([marks(mark)], SHAPE)[HEAT][0]
    assert not (heat[..., :-1] == 1).any()
    assert heat[3, 3, -1] == 0
    assert heat[..., -1].any()


def test_signs_count_whatever_their_size() -> None:
    assert is_answered_for(CHARACTERS.index("."), 3)
    assert not is_answered_for(OTHER_WRITING, 3)
    assert not is_answered_for(5, 80)


def test_right_answers_lose_nothing_and_wrong_ones_do() -> None:
    truth = make_truth([SEVEN], SHAPE)
    right = np.where(truth[HEAT][..., :-1] >= 1, 12.0, -12.0).astype(np.float32)
    wrong = np.full_like(right, -12.0)
    wrong[0, 3, 3, 2] = 12
    assert float(heat_loss(truth[HEAT], right)) < 0.01
    assert float(heat_loss(truth[HEAT], wrong)) > 2
    boxes = truth[BOXES][..., :4]
    assert float(box_loss(truth[BOXES], boxes)) == 0
    assert float(box_loss(truth[BOXES], boxes + 1)) == pytest.approx(
        3.4 / 4
    )  # 1 + 1 + 0.7 + 0.7, of at least 4


def test_characters_are_counted_as_there_found_and_claimed() -> None:
    truth = make_truth([marks((7, 40, 20, 56, 44), (3, 70, 20, 86, 44))], SHAPE)[HEAT]
    log_odds = np.full((*truth.shape[:3], len(CHARACTERS)), -9.0, np.float32)
    log_odds[0, 8, 13, 7] = 2  # beside its cell: found
    log_odds[0, 8, 19, 8] = 3  # another class: not found
    log_odds[0, 2, 2, 1] = 1  # nothing there
    assert count_found(truth, log_odds) == (2, 1, 3)


def test_the_finder_takes_any_multiple_of_16_and_is_as_small_as_promised() -> None:
    model = finder()
    assert model.count_params() < 560_000
    for height, width in ((64, 160), (128, 96)):
        outputs = model(np.zeros((2, height, width, 1), np.uint8))
        assert outputs[HEAT].shape == (2, height // 4, width // 4, len(CHARACTERS))
        assert outputs[BOXES].shape == (2, height // 4, width // 4, 4)


def test_light_and_contrast_change_nothing() -> None:
    model = finder()
    picture = np.random.default_rng(0).integers(80, 200, (1, 64, 64, 1)).astype(np.uint8)
    one, other = (np.array(model(shown)[HEAT]) for shown in (picture, picture // 2 + 100))
    assert one == pytest.approx(other, abs=0.05)
