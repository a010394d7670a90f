from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.digits.contract import CHARACTERS, OTHER_WRITING
from training.scenes.characters import DIGIT_HEIGHT
from training.scenes.handwriting import (
    Hand,
    Material,
    Source,
    Spacing,
    WrittenLine,
    draw_hand,
    draw_zeros,
    write,
)
from training.scenes.pens import Pen

SOURCES: list[Source] = ["strokes", "mnist", "mixed", "font", "print", "segments"]


def plain_hand(material: Material, *, source: Source = "strokes") -> Hand:
    return Hand(material=material, source=source, pen=Pen(width=5), unsteadiness=0.2, bends=False)


def write_line(text: str, hand: Hand, *, seed: int = 0, spacing: Spacing | None = None) -> WrittenLine:
    line = write(text, hand, spacing or Spacing(), np.random.default_rng(seed))
    assert line is not None
    return line


def read(line: WrittenLine) -> str:
    return "".join(CHARACTERS[mark.label] for mark in line.marks)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.usefixtures("drawn_fonts")
def test_every_source_writes_what_it_is_told_and_knows_each_box(material: Material, source: Source) -> None:
    hand = draw_hand(material, np.random.default_rng(1), source=source)
    line = write_line("120.345-6", hand, spacing=Spacing(gap=0.3))
    assert read(line) == "120.345-6"
    for mark in line.marks:
        box = line.ink[round(mark.top) : round(mark.bottom) + 1, round(mark.left) : round(mark.right) + 1]
        assert box.max() > 100
        assert np.count_nonzero(line.ink.max(axis=0) > 100) > 0


def test_nothing_is_written_outside_the_boxes(material: Material) -> None:
    line = write_line("8192", plain_hand(material), spacing=Spacing(gap=0.3))
    outside = line.ink.copy()
    for mark in line.marks:
        outside[int(mark.top) - 1 : int(mark.bottom) + 3, int(mark.left) - 1 : int(mark.right) + 3] = 0
    assert not outside.any()


def test_neighbours_stand_apart_or_touch_as_asked(material: Material) -> None:
    def count_pieces(spacing: Spacing) -> int:
        import cv2  # noqa: PLC0415

        line = write_line("8888", plain_hand(material), spacing=spacing)
        return int(cv2.connectedComponents((line.ink > 60).astype(np.uint8))[0]) - 1

    assert count_pieces(Spacing(gap=0.4)) >= 4
    assert count_pieces(Spacing(gap=-0.2)) < 4


def test_a_blank_is_a_wide_gap(material: Material) -> None:
    close, apart = (write_line(text, plain_hand(material)) for text in ("44", "4 4"))
    gaps = [line.marks[1].left - line.marks[0].right for line in (close, apart)]
    assert gaps[1] - gaps[0] > 0.3 * DIGIT_HEIGHT


def test_cells_of_a_comb_are_equally_wide(material: Material) -> None:
    line = write_line("1234", plain_hand(material), spacing=Spacing(pitch=1.5))
    middles = [(mark.left + mark.right) / 2 for mark in line.marks]
    assert np.diff(middles) == pytest.approx(np.full(3, 1.5 * DIGIT_HEIGHT), abs=0.4 * DIGIT_HEIGHT)


def test_letters_are_other_writing(material: Material) -> None:
    assert [mark.label for mark in write_line("ab", plain_hand(material)).marks] == [OTHER_WRITING] * 2


def test_zeros_in_one_stroke_are_as_many_as_asked(material: Material) -> None:
    line = write_line("1000", plain_hand(material), spacing=Spacing(chained=1.0))
    assert read(line) == "1000"
    zeros = draw_zeros(3, plain_hand(material), np.random.default_rng(0))
    lefts = [zero.bounds[0] for zero in zeros]
    assert lefts == sorted(lefts)
    ends = [zero.paths[0][-1, 0] + zero.x for zero in zeros[:-1]]
    starts = [zero.paths[0][0, 0] + zero.x for zero in zeros[1:]]
    assert ends == pytest.approx(starts, abs=1.0)  # the pen is not lifted


def test_a_join_leads_from_one_digit_to_the_next(material: Material) -> None:
    hand = plain_hand(material)
    ink = [
        np.count_nonzero(write_line("2222", hand, spacing=Spacing(gap=0.3, joined=share)).ink)
        for share in (0.0, 1.0)
    ]
    assert ink[1] > ink[0]


def test_a_slanted_hand_leans(material: Material) -> None:
    def lean(slant: float) -> float:
        line = write_line(
            "1111", replace(plain_hand(material), slant=slant, long_one_share=0.0, shape_share=0.0)
        )
        half = len(line.ink) // 2
        top, bottom = (np.nonzero(part)[1].mean() for part in (line.ink[:half], line.ink[half:]))
        return float(top - bottom)

    assert lean(0.6) - lean(0.0) > 10


def test_equal_generators_write_equal_lines(material: Material) -> None:
    one, other = (write_line("90125", plain_hand(material), seed=4) for _ in range(2))
    assert np.array_equal(one.ink, other.ink)
    assert one.marks == other.marks
    assert not np.array_equal(write_line("90125", plain_hand(material), seed=5).ink.shape, (0,))


def test_a_text_of_blanks_writes_nothing(material: Material) -> None:
    assert write("  ", plain_hand(material), Spacing(), np.random.default_rng(0)) is None


def test_a_font_that_lacks_a_character_leaves_it_to_strokes(material: Material, drawn_fonts: Path) -> None:
    hand = draw_hand(material, np.random.default_rng(0), source="font")
    assert Path(hand.font).parent == drawn_fonts
    assert read(write_line("7", hand)) == "7"
