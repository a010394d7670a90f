from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from app.digits.classifier import Classifier
from app.digits.contract import GreyPicture
from app.digits.errors import NoInk
from app.digits.glyphs import MAX_LINES, MAX_PIECES
from app.digits.images import Box
from app.digits.numbers import Number, assemble, segment
from app.digits.preprocessing import is_canonical
from tests.data.strokes import ink

HEIGHT = 60  # pixels: of the digits drawn here
STEP = 56  # pixels from digit to digit
LINE = 105  # pixels from line to line


def draw_page(*lines: str, step: int = STEP, pen: int = 7) -> tuple[NDArray[np.uint8], list[Box]]:
    """Write lines of digits as ink 255 on 0, a blank for none; also return where each digit's box is."""
    size = (step * max(map(len, lines)) + HEIGHT, LINE * len(lines) + HEIGHT)
    drawn, boxes = np.zeros(size[::-1], np.uint8), []
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            if character != " ":
                corner = (HEIGHT // 2 + column * step, HEIGHT // 2 + row * LINE)
                one = ink(int(character), size, box=(*corner, HEIGHT * 0.6, HEIGHT), pen=pen)
                boxes.append(cv2.boundingRect(one))
                drawn |= one
    return drawn, boxes


def read_number(grey: GreyPicture, classifier: Classifier) -> Number:
    found = segment(grey)
    scores = classifier.classify(found.pictures)
    return assemble(found, scores.probabilities, scores.digit_likelihood)


def read_text(drawn: NDArray[np.uint8], classifier: Classifier) -> str:
    return read_number(255 - drawn, classifier).text


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_has_no_ink(level: int) -> None:
    with pytest.raises(NoInk):
        segment(np.full((60, 300), level, np.uint8))


@given(nps.arrays(np.uint8, nps.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=60)))
@example(np.eye(60, dtype=np.uint8) * 255)
@example(np.tile(np.array([[0, 255]], np.uint8), (40, 20)))
def test_any_picture_gives_canonical_pictures_or_has_no_ink(grey: GreyPicture) -> None:
    try:
        found = segment(grey)
    except NoInk:
        return
    assert found.pictures.shape == (len(found.pieces), 28, 28)
    assert all(is_canonical(picture) for picture in found.pictures)
    for left, top, width, height in (piece.box for piece in found.pieces):
        assert left >= 0
        assert top >= 0
        assert left + width <= grey.shape[1]
        assert top + height <= grey.shape[0]


def draw_scribble(count: int, *, side: int = 1024) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    canvas = np.full((side, side), 255, np.uint8)
    for _ in range(count):
        cv2.polylines(canvas, [rng.integers(0, side, (12, 2))], isClosed=False, color=0, thickness=3)
    return canvas


def draw_crumbs() -> NDArray[np.uint8]:
    draw_noise = np.random.default_rng(2).integers(0, 2, (256, 256), np.uint8) * 255
    return np.kron(draw_noise, np.ones((4, 4), np.uint8))


def draw_tallies() -> NDArray[np.uint8]:
    bars = np.full((1024, 1024), 255, np.uint8)
    for top in range(10, 1000, 30):
        bars[top : top + 20, 5::6] = 0
    return bars


def draw_noise() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (1024, 1024), np.uint8)


def draw_hairs() -> NDArray[np.uint8]:
    """Draw pale lines a pixel wide, as high as the picture: shrunk, they all but vanish."""
    lines = np.full((1000, 600), 255, np.uint8)
    lines[:, ::7] = 190
    return lines


@pytest.mark.parametrize(
    "grey",
    [draw_scribble(3), draw_scribble(60), draw_crumbs(), draw_tallies(), draw_noise(), draw_hairs()],
    ids=["scribble", "more scribble", "crumbs", "tallies", "noise", "hairs"],
)
def test_a_picture_without_a_number_takes_bounded_work(grey: GreyPicture) -> None:
    found = segment(grey)
    assert len(found.pieces) <= MAX_PIECES
    assert len(found.skips) <= MAX_LINES
    assert found.pictures.any(axis=(1, 2)).all()


def test_a_crowded_page_adds_a_warning() -> None:
    assert "crowded" in segment(draw_tallies()).cautions


@pytest.mark.parametrize("invert", [False, True], ids=["dark on light", "light on dark"])
def test_a_line_is_read_in_either_polarity(classifier: Classifier, invert: object) -> None:
    drawn, boxes = draw_page("4071")
    found = read_number(drawn if invert else 255 - drawn, classifier)
    assert found.text == "4071"
    np.testing.assert_allclose([digit.box for digit in found.digits], boxes, atol=2)
    assert found.confidence == pytest.approx(np.prod([digit.confidence for digit in found.digits]))
    assert found.cautions == ()


def test_a_single_digit_is_a_number(classifier: Classifier) -> None:
    assert read_text(draw_page("7")[0], classifier) == "7"


def test_lines_are_read_from_top_to_bottom(classifier: Classifier) -> None:
    found = read_number(255 - draw_page("407", "12", "9835")[0], classifier)
    assert found.text == "407\n12\n9835"
    assert [digit.line for digit in found.digits] == [0, 0, 0, 1, 1, 2, 2, 2, 2]


def test_rising_lines_are_read(classifier: Classifier) -> None:
    drawn = draw_page("40717", "28356")[0]
    turn = cv2.getRotationMatrix2D((drawn.shape[1] / 2, drawn.shape[0] / 2), 5, 1)
    assert read_text(cv2.warpAffine(drawn, turn, drawn.shape[::-1]), classifier) == "40717\n28356"


@pytest.mark.parametrize("slant", [-0.4, 0.5])
def test_slanted_lines_are_read(classifier: Classifier, slant: float) -> None:
    drawn = draw_page("40717 28356")[0]
    shear = np.array([[1, -slant, slant * drawn.shape[0] / 2], [0, 1, 0]])
    assert read_text(cv2.warpAffine(drawn, shear, drawn.shape[::-1]), classifier) == "4071728356"


def test_a_gap_within_a_line_does_not_split_it(classifier: Classifier) -> None:
    assert read_text(draw_page("55     63", "47     23")[0], classifier) == "5563\n4723"


def crop_tightly(digit: str) -> NDArray[np.uint8]:
    drawn, ((left, _, width, _),) = draw_page(digit)
    return drawn[:, left : left + width]


@pytest.mark.parametrize("pair", ["33", "25", "70", "45", "60", "12"])
def test_touching_digits_are_separated(classifier: Classifier, pair: str) -> None:
    left, right = (crop_tightly(digit) for digit in pair)
    drawn = draw_page("8    6")[0]
    for overlap in range(1, 20):  # as near as it takes them to touch
        both = np.zeros((len(drawn), left.shape[1] + right.shape[1] - overlap), np.uint8)
        both[:, : left.shape[1]] = left
        both[:, left.shape[1] - overlap :] |= right
        if cv2.connectedComponents(both)[0] == 2:
            break
    drawn[:, 110 : 110 + both.shape[1]] = both
    assert read_text(drawn, classifier) == f"8{pair}6"


def test_a_broken_digit_is_joined(classifier: Classifier) -> None:
    drawn = draw_page("4528")[0]
    whole = read_text(drawn, classifier)
    drawn[HEIGHT // 2 + 30 : HEIGHT // 2 + 33, HEIGHT // 2 + STEP : HEIGHT // 2 + 2 * STEP] = 0
    assert whole == read_text(drawn, classifier) == "4528"


@pytest.mark.parametrize("below", [-4, 0, 12], ids=["crossing", "touching", "apart"])
def test_an_underline_is_not_a_digit(classifier: Classifier, below: int) -> None:
    drawn = draw_page("40923")[0]
    y = HEIGHT // 2 + HEIGHT + below
    cv2.line(drawn, (10, y), (drawn.shape[1] - 10, y + 4), 255, 3)
    assert read_text(drawn, classifier) == "40923"


def test_ruled_paper_is_not_a_digit(classifier: Classifier) -> None:
    drawn = draw_page("40923", "51678")[0]
    for y in range(15, drawn.shape[0], 35):
        cv2.line(drawn, (0, y), (drawn.shape[1], y), 255, 2)
    assert read_text(drawn, classifier) == "40923\n51678"


@pytest.mark.parametrize("empty", [0, 3])
def test_the_boxes_of_a_form_are_not_digits(classifier: Classifier, empty: int) -> None:
    drawn = draw_page("40189" + " " * empty, step=90)[0]
    for left in range(8, 8 + 90 * (5 + empty), 90):
        cv2.rectangle(drawn, (left, 12), (left + 90, 108), 255, 3)
    assert read_text(drawn, classifier) == "40189"


def test_separate_boxes_are_not_digits(classifier: Classifier) -> None:
    drawn = draw_page("40189", step=90)[0]
    for left in range(8, 450, 90):
        cv2.rectangle(drawn, (left, 14), (left + 78, 106), 255, 3)
    assert read_text(drawn, classifier) == "40189"


@pytest.mark.parametrize("mark", ["comma", "dash", "dot"])
def test_marks_between_digits_are_skipped(classifier: Classifier, mark: str) -> None:
    drawn = draw_page("12 56")[0]
    left, base = HEIGHT // 2 + 2 * STEP + 12, HEIGHT // 2 + HEIGHT
    if mark == "dash":
        cv2.line(drawn, (left, base - 30), (left + 22, base - 30), 255, 6)
    elif mark == "comma":
        cv2.line(drawn, (left + 6, base - 4), (left, base + 10), 255, 6)
    else:
        cv2.circle(drawn, (left, base - 3), 5, 255, -1)
    assert read_text(drawn, classifier) == "1256"


def test_pale_print_behind_the_ink_is_ignored(classifier: Classifier) -> None:
    drawn = 0.8 * draw_page("4071")[0].astype(np.float32)
    waves = np.sin(np.arange(drawn.shape[0])[:, None] / 1.5 + np.sin(np.arange(drawn.shape[1]) / 20)) > 0.5
    grey = 240 - np.maximum(drawn, 70 * waves)
    assert read_number(grey.astype(np.uint8), classifier).text == "4071"


def test_ink_without_any_digit_gives_no_text_and_a_warning(classifier: Classifier) -> None:
    dash = np.full((60, 300), 255, np.uint8)
    cv2.line(dash, (20, 30), (280, 30), 0, 3)
    found = read_number(dash, classifier)
    assert (found.text, found.confidence, found.box) == ("", 0.0, None)
    assert found.cautions == ("no_digits",)


def test_a_digit_cut_by_the_border_is_read_with_a_warning(classifier: Classifier) -> None:
    drawn, boxes = draw_page("4071")
    assert "touches_border" in read_number(255 - drawn[:, : boxes[-1][0] + 6], classifier).cautions


def test_pieces_that_are_certainly_not_digits_are_skipped() -> None:
    found = segment(255 - draw_page("12")[0])
    probabilities = np.full((len(found.pieces), 10), 0.01, np.float32)
    probabilities[:, 1] = 0.91
    sure, doubtful = np.ones(len(found.pieces), np.float32), np.ones(len(found.pieces), np.float32)
    doubtful[[piece.start == 0 for piece in found.pieces]] = 0
    assert assemble(found, probabilities, sure).text == "11"
    assert assemble(found, probabilities, doubtful).text == "1"


def test_without_pieces_there_is_no_number() -> None:
    found = segment(255 - cv2.line(np.zeros((60, 300), np.uint8), (20, 30), (280, 30), 255, 3))
    assert len(found.pieces) == 0
    assert assemble(found, np.empty((0, 10), np.float32), np.empty(0, np.float32)).text == ""
