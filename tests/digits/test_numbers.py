"""Numbers are assembled of what the networks say; here, what they say is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from app.digits.contract import CHARACTERS, READER_STRIDE, GreyPicture
from app.digits.finder import LEVELS, Characters, Finder
from app.digits.line_reader import LineReader
from app.digits.numbers import MAX_IGNORED, Number, NumberReader

HEIGHT, STEP = 40.0, 34.0  # pixels: of a digit, and from one to the next
BLANK = len(CHARACTERS)
MARGIN = 6.0  # frames at both ends of a strip, where no digit was found
PAGE = np.full((300, 420), 255, np.uint8)
PAGE[:, ::7] = 120  # so that its contrast is that of writing


PlacedMark: TypeAlias = tuple[str, float, float, float]  # character, centre, size


def write(text: str, x: float, y: float, *, size: float = 1.0) -> list[PlacedMark]:
    places = [x + STEP * size * at for at in range(len(text))]
    return [
        (character, place, y, size) for character, place in zip(text, places, strict=True) if character != " "
    ]


class ScriptedFinder:
    """Finds the characters that it is given, each with a certainty."""

    def __init__(self, *marks: PlacedMark, **certainties: float) -> None:
        count = len(marks)
        likelihoods = np.full((count, len(CHARACTERS)), 0.001, np.float32)
        boxes = np.zeros((count, 4), np.float32)
        for row, (character, x, y, size) in enumerate(marks):
            half = np.array((12, HEIGHT / 2) if character.isdigit() or character == "~" else (4, 4)) * size
            boxes[row] = (x - half[0], y - half[1], x + half[0], y + half[1])
            likelihoods[row, CHARACTERS.index(character)] = certainties.get(f"at{row}", 0.9)
        self.found = Characters(
            boxes, likelihoods, likelihoods.max(axis=1, initial=0), np.zeros(count, np.int8)
        )

    def find(self, _: GreyPicture, *, levels: Sequence[int] = LEVELS) -> Characters:
        assert levels == LEVELS
        return self.found


class ScriptedLineReader:
    """Reads one text after another; if there are doubts, in both views.

    Where there is a doubt, another character is the next likeliest one; `wider` is read in the second view.
    """

    def __init__(
        self,
        *texts: str,
        certainty: float = 0.99,
        doubts: Mapping[int, str] | None = None,
        wider: str | None = None,
    ) -> None:
        self.certainty, self.doubts = certainty, doubts or {}
        self.texts = [view for text in texts for view in ([text, wider or text] if doubts else [text])]

    def read(self, strip: GreyPicture) -> NDArray[np.float32]:
        text = self.texts.pop(0)
        frames = np.zeros((strip.shape[1] // READER_STRIDE, BLANK + 1), np.float32)
        frames[:, BLANK] = 1
        places = np.linspace(MARGIN, len(frames) - MARGIN, 2 * len(text) + 1)[1::2]
        for at, character in enumerate(text):
            certainty = self.certainty if at in self.doubts else 0.9995
            frame = frames[int(places[at])]
            frame[:] = 0
            frame[CHARACTERS.index(character)] = certainty
            frame[CHARACTERS.index(self.doubts.get(at, "~"))] += 1 - certainty
        return frames


def read(finder: ScriptedFinder, line_reader: ScriptedLineReader, page: GreyPicture = PAGE) -> Number:
    return NumberReader(cast("Finder", finder), cast("LineReader", line_reader)).read(page)


def test_a_line_is_what_the_line_reader_reads() -> None:
    number = read(ScriptedFinder(*write("4011", 60, 150)), ScriptedLineReader("4071"))
    assert (number.text, number.written) == ("4071", ("4071",))
    assert [mark.character for mark in number.digits] == list("4071")


def test_lines_come_from_top_to_bottom() -> None:
    finder = ScriptedFinder(*write("12", 60, 220), *write("407", 60, 80))
    number = read(finder, ScriptedLineReader("407", "12"))
    assert number.text == "407\n12"
    assert [digit.line for digit in number.digits] == [0, 0, 0, 1, 1]


def test_signs_are_written_and_are_no_digits() -> None:
    number = read(ScriptedFinder(*write("12,50", 60, 150)), ScriptedLineReader("12,50"))
    assert (number.text, number.written) == ("1250", ("12,50",))
    assert [(sign.character, sign.line) for sign in number.signs] == [(",", 0)]


def test_every_digit_has_the_box_that_the_finder_saw() -> None:
    number = read(ScriptedFinder(*write("4071", 60, 150)), ScriptedLineReader("4071"))
    assert [digit.box for digit in number.digits] == [(48 + 34 * at, 130, 24, 40) for at in range(4)]
    assert number.box == (48, 130, 126, 40)


def test_a_digit_that_the_finder_missed_has_a_box_between_its_neighbours() -> None:
    number = read(ScriptedFinder(*write("40 1", 60, 150)), ScriptedLineReader("4071"))
    left, top, width, height = number.digits[2].box
    assert left + width / 2 == pytest.approx(60 + 2 * STEP, abs=0.5 * STEP)
    assert (top, height) == pytest.approx((130, 40), abs=4)
    assert width == pytest.approx(24, abs=2)
    assert number.text == "4071"


def test_a_doubt_lowers_the_confidence_of_its_digit_and_of_the_number() -> None:
    reader = ScriptedLineReader("4071", certainty=0.7, doubts={0: "9", 2: "2"})
    number = read(ScriptedFinder(*write("4071", 60, 150)), reader)
    assert 0.7**2 < number.confidence < 0.9  # the finder agrees, so some of the doubt goes
    first, second, third, fourth = (digit.confidence for digit in number.digits)
    assert max(first, third) < 0.95 < min(second, fourth)


def test_a_line_that_is_in_doubt_is_viewed_wider_and_the_mean_counts() -> None:
    reader = ScriptedLineReader("4071", certainty=0.6, doubts={0: "9"}, wider="9071")
    assert read(ScriptedFinder(*write("4071", 60, 150)), reader).text == "9071"


def test_networks_that_count_differently_are_less_confident() -> None:
    alike = read(ScriptedFinder(*write("4071", 60, 150)), ScriptedLineReader("4071"))
    apart = read(ScriptedFinder(*write("4071", 60, 150)), ScriptedLineReader("40711"))
    assert apart.confidence < alike.confidence


def test_what_may_be_a_digit_lowers_the_confidence() -> None:
    clear = read(ScriptedFinder(*write("4071", 60, 150)), ScriptedLineReader("4071"))
    finder = ScriptedFinder(*write("4071", 60, 150), *write("8", 300, 150), at4=0.25)
    faint = read(finder, ScriptedLineReader("4071"))
    assert (faint.text, faint.confidence < clear.confidence) == ("4071", True)


def test_a_line_that_is_far_less_certain_is_left_out_with_its_box() -> None:
    finder = ScriptedFinder(*write("4071", 60, 80), *write("0", 300, 230), at4=0.35)
    number = read(finder, ScriptedLineReader("4071", "0"))
    assert number.text == "4071"
    assert number.ignored == ((288, 210, 24, 40),)
    assert "ignored_writing" in number.cautions


@pytest.mark.parametrize(("size", "lines"), [(0.5, ("4071",)), (1.0, ("4071", "2505"))])
def test_a_line_that_is_low_and_hardly_readable_is_print(size: float, lines: tuple[str, ...]) -> None:
    finder = ScriptedFinder(*write("4071", 60, 80), *write("2505", 60, 230, size=size))
    reader = ScriptedLineReader("4071", "2505", certainty=0.7, doubts={0: "3", 1: "8", 2: "9"})
    assert read(finder, reader).lines == lines


def test_letters_beside_a_line_are_listed_and_those_elsewhere_are_not() -> None:
    finder = ScriptedFinder(*write("4071", 120, 80), *write("~", 60, 80), *write("~", 60, 270))
    number = read(finder, ScriptedLineReader("4071"))
    assert number.ignored == ((48, 60, 24, 40),)
    assert "ignored_writing" in number.cautions


def test_no_answer_lists_more_writing_than_anybody_looks_at() -> None:
    letters = [("~", 20 + 3.0 * at, 80.0, 1.0) for at in range(120)]
    number = read(ScriptedFinder(*write("4071", 120, 80), *letters), ScriptedLineReader("4071"))
    assert len(number.ignored) == MAX_IGNORED


def test_a_page_without_digits_has_no_number() -> None:
    number = read(ScriptedFinder(*write("~", 60, 80)), ScriptedLineReader())
    assert (number.text, number.digits, number.confidence, number.box) == ("", (), 0.0, None)
    assert "no_digits" in number.cautions


def test_a_digit_at_the_border_may_be_cut_off() -> None:
    assert "touches_border" in read(ScriptedFinder(*write("407", 8, 150)), ScriptedLineReader("407")).cautions


def test_pale_ink_is_a_caution() -> None:
    page = np.full((300, 420), 200, np.uint8)
    page[:, ::7] = 180
    assert (
        "low_contrast"
        in read(ScriptedFinder(*write("407", 60, 150)), ScriptedLineReader("407"), page).cautions
    )


def test_more_lines_than_the_service_reads_are_a_caution() -> None:
    rows = [write("1" * 40, 10, 30.0 + 60 * row) for row in range(50)]
    page = np.full((3100, 1400), 255, np.uint8)
    number = read(
        ScriptedFinder(*(mark for row in rows for mark in row)), ScriptedLineReader(*["1" * 40] * 50), page
    )
    assert "crowded" in number.cautions
    assert number.lines
