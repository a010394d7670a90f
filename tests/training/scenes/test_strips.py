from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import READER_STRIDE
from training.scenes import strips
from training.scenes.handwriting import Material
from training.scenes.strips import StripKind, draw_strip

pytestmark = pytest.mark.usefixtures("drawn_fonts")

KINDS: list[StripKind] = ["cheque", "comb", "note", "labelled", "word", "empty"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_strip_of_each_kind_fits_its_batch_and_its_text(material: Material, kind: StripKind) -> None:
    rng = np.random.default_rng(2)
    for _ in range(6):
        strip = draw_strip(material, rng, kind=kind)
        height, width = strip.picture.shape
        assert (height, width % strips.WIDTH_STEP) == (32, 0)
        assert strip.picture.dtype == np.uint8
        assert width <= strips.MAX_WIDTH
        assert strips.count_frames(strip.text) <= width // READER_STRIDE
        assert strip.text == strips.read_marks(strip.marks)
        assert (strip.text == "") == (kind == "empty")


def test_the_text_is_what_was_asked_for_in_its_order(material: Material) -> None:
    rng = np.random.default_rng(3)
    texts = {draw_strip(material, rng, kind="note", text="31.5-").text for _ in range(8)}
    assert texts == {"31.5-"}


def test_characters_lie_in_their_boxes(material: Material) -> None:
    rng = np.random.default_rng(4)
    contrasts = []
    for _ in range(20):
        strip = draw_strip(material, rng, kind="note", text="8")
        (_, left, top, right, bottom) = strip.marks[0]
        inside = strip.picture[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
        contrasts.append(float(inside.std()) / max(float(strip.picture.std()), 1.0))
    assert np.median(contrasts) > 1.1  # ink and ground are both in the box, elsewhere there is ground alone


def test_letters_side_by_side_count_once() -> None:
    marks = np.array([(19, 0, 0, 5, 9), (19, 6, 0, 9, 9), (4, 12, 0, 15, 9), (19, 20, 0, 22, 9)], np.float32)
    assert strips.read_marks(marks) == "~4~"


def test_equal_neighbours_need_a_blank_between() -> None:
    assert [strips.count_frames(text) for text in ("", "5", "123", "1223", "0000")] == [0, 1, 3, 5, 7]


def test_equal_generators_draw_equal_strips(material: Material) -> None:
    one, other = (draw_strip(material, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.picture, other.picture)
    assert one.text == other.text
