from __future__ import annotations

import numpy as np
import pytest

from app.digits import lines
from app.digits.contract import CHARACTERS, READER_STRIDE, STRIP_HEIGHT
from app.digits.finder import Characters

HEIGHT, WIDTH, STEP = 40.0, 24.0, 34.0  # of a digit, and from one to the next


def place(*written: tuple[str, float, float], height: float = HEIGHT) -> Characters:
    """Return characters with their centres."""
    boxes, likelihoods = [], np.full((len(written), len(CHARACTERS)), 0.01, np.float32)
    for row, (character, x, y) in enumerate(written):
        half = (WIDTH / 2, height / 2) if character.isdigit() else (4, 4)
        boxes.append((x - half[0], y - half[1], x + half[0], y + half[1]))
        likelihoods[row, CHARACTERS.index(character)] = 0.9
    return Characters(
        np.array(boxes, np.float32).reshape(-1, 4),
        likelihoods,
        likelihoods.max(axis=1, initial=0),
        np.zeros(len(written), np.int8),
    )


def write(text: str, x: float, y: float, *, slope: float = 0.0) -> list[tuple[str, float, float]]:
    return [(character, x + STEP * at, y + slope * STEP * at) for at, character in enumerate(text)]


def read(characters: Characters) -> list[str]:
    return [
        "".join(CHARACTERS[label] for label in line.characters.labels.tolist())
        for line in lines.group(characters)
    ]


def test_lines_are_read_from_top_to_bottom_and_from_left_to_right() -> None:
    assert read(place(*write("12", 50, 150), *write("407", 40, 60), *write("98", 60, 240))) == [
        "407",
        "12",
        "98",
    ]


@pytest.mark.parametrize("slope", [-0.25, 0.25])
def test_a_line_may_climb_or_fall(slope: float) -> None:
    assert read(place(*write("4071985", 50, 200, slope=slope))) == ["4071985"]


def test_a_line_may_wave() -> None:
    wave = [(digit, 50 + STEP * at, 100 + 12 * np.sin(at / 1.5)) for at, digit in enumerate("4071985632")]
    assert read(place(*wave)) == ["4071985632"]


def test_a_wide_gap_does_not_end_a_line() -> None:
    assert read(place(*write("030", 50, 100), *write("4711", 400, 100))) == ["0304711"]


def test_two_sizes_are_two_lines() -> None:
    small = place(*write("123", 300, 100), height=HEIGHT / 3)
    large = place(*write("45", 50, 100))
    assert sorted(read(Characters.join([large, small]))) == ["123", "45"]


def test_a_digit_within_a_line_is_a_part_of_it_found_again() -> None:
    again = place(*write("407", 50, 100), ("1", 84, 108), height=HEIGHT)
    again.boxes[3, 1::2] = (104, 112)  # much smaller
    assert read(again) == ["407"]


def test_signs_belong_to_the_nearest_line() -> None:
    sign = (",", 50 + 1.5 * STEP, 118)
    assert read(place(*write("12", 50, 100), *write("50", 50, 220), sign)) == ["12,", "50"]


def test_a_sign_far_from_all_digits_is_left_out() -> None:
    assert read(place(*write("12", 50, 100), (".", 400, 100))) == ["12"]


def test_a_strip_is_level_and_shows_the_line() -> None:
    slope = 0.2
    marks = write("4071985", 60, 80, slope=slope)
    grey = np.full((260, 360), 255, np.uint8)
    for _, x, y in marks:
        grey[round(y) - 20 : round(y) + 20, round(x) - 3 : round(x) + 3] = 0
    (line,) = lines.group(place(*marks))
    strip = lines.cut_strip(grey, line)
    assert strip.pixels.shape[0] == STRIP_HEIGHT
    assert strip.pixels.shape[1] % READER_STRIDE == 0
    ink = strip.pixels < 128
    middles = []
    for _, x, y in marks:
        column = round(strip.matrix[0] @ (x, y, 1))
        middles.append(np.nonzero(ink[:, column - 4 : column + 5])[0].mean())
    assert np.ptp(middles) < 3  # pixels of the strip, in which the line would fall by 27


def test_a_column_of_a_strip_leads_back_to_the_picture() -> None:
    marks = write("4071985", 60, 80, slope=0.2)
    (line,) = lines.group(place(*marks))
    strip = lines.cut_strip(np.zeros((260, 360), np.uint8), line)
    for _, x, y in marks:
        column = float(strip.matrix[0] @ (x, y, 1))
        assert strip.map_columns([column]) == [pytest.approx((x, y), abs=3)]


def test_lines_of_a_picture_that_is_hardly_higher_than_a_digit_are_one() -> None:
    tall, low = write("12", 30, 25), write("34", 150, 28)
    found = [*lines.group(place(*low)), *lines.group(place(*tall))]
    united = lines.unite(found, (50, 300))
    assert united
    assert [CHARACTERS[label] for label in united.characters.labels] == list("1234")
    assert lines.unite(found, (150, 300)) is None
    assert lines.unite([], (50, 300)) is None


def test_two_lines_in_a_low_picture_stay_two() -> None:
    found = lines.group(place(*write("12345", 30, 25), *write("67890", 30, 70)))
    assert lines.unite(found, (92, 300)) is None


def test_a_strip_can_be_stretched() -> None:
    strip = np.zeros((STRIP_HEIGHT, 100), np.uint8)
    assert lines.stretch(strip, 1.0) is strip
    assert lines.stretch(strip, 1.3).shape == (STRIP_HEIGHT, 132)


def test_no_strip_is_too_long() -> None:
    (line,) = lines.group(place(*write("1" * 200, 30, 100)))
    assert lines.cut_strip(np.zeros((400, 7000), np.uint8), line).pixels.shape[1] <= lines.MAX_STRIP_WIDTH
