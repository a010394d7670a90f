from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from app.digits import finder
from app.digits.catalogue import Catalogue
from app.digits.contract import BOX_HEIGHT, BOX_WIDTH, CHARACTERS, FINDER_MULTIPLE, FINDER_STRIDE
from app.digits.finder import MIN_LIKELIHOOD, Characters, Finder
from tests.data.strokes import ink

COUNT = len(CHARACTERS)


def build_maps(
    *characters: tuple[str, int, int, float], rows: int = 16, columns: int = 24
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return heat and boxes with characters in some cells, of some height in pixels of the copy."""
    heat = np.full((rows, columns, COUNT), -6, np.float32)
    boxes = np.zeros((rows, columns, 4), np.float32)
    for character, row, column, height in characters:
        heat[row, column, CHARACTERS.index(character)] = 3
        boxes[row, column, 1] = np.log(height / BOX_HEIGHT)
    return heat, boxes


def decode(*characters: tuple[str, int, int, float], scale: float = 1.0) -> Characters:
    shape = (round(64 / scale), round(96 / scale))
    return finder.decode(*build_maps(*characters), scale, shape=shape, level=0)


def test_a_peak_is_a_character_with_its_box_in_the_picture() -> None:
    found = decode(("7", 8, 10, 24.0), scale=0.5)
    assert found.labels.tolist() == [7]
    assert found.certainties[0] == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-3)
    x, y = (10.5 * FINDER_STRIDE, 8.5 * FINDER_STRIDE)
    expected = (x - BOX_WIDTH / 2, y - 12, x + BOX_WIDTH / 2, y + 12)
    assert found.boxes[0].tolist() == pytest.approx([2 * edge for edge in expected])


def test_only_the_highest_of_neighbouring_cells_is_a_character() -> None:
    heat, boxes = build_maps(("7", 8, 10, 24.0), ("7", 8, 11, 24.0))
    heat[8, 11, 7] = 2
    assert len(finder.decode(heat, boxes, 1.0, shape=(64, 96), level=0)) == 1


@pytest.mark.parametrize("height", [8.0, 70.0])
def test_a_digit_that_another_copy_shows_better_is_left_to_it(height: float) -> None:
    assert not len(decode(("7", 8, 10, height)))


def test_a_comma_may_be_small() -> None:
    assert decode((",", 8, 10, 6.0)).labels.tolist() == [CHARACTERS.index(",")]


def test_what_lies_in_the_padding_is_left_out() -> None:
    heat, boxes = build_maps(("7", 8, 20, 24.0))
    assert not len(finder.decode(heat, boxes, 1.0, shape=(64, 70), level=0))


def test_no_copy_gives_more_characters_than_are_worth_the_time() -> None:
    heat = np.random.default_rng(0).normal(2, 3, (256, 256, COUNT)).astype(np.float32)
    found = finder.decode(heat, np.zeros((256, 256, 4), np.float32), 1.0, shape=(1024, 1024), level=0)
    assert len(found) == finder.MAX_PER_LEVEL


def test_a_digit_on_two_copies_is_one_digit_of_the_better_copy() -> None:
    coarse = decode(("7", 8, 10, 12.0), scale=0.5)
    fine = finder.decode(
        *build_maps(("7", 17, 21, 24.0), rows=32, columns=48), 1.0, shape=(128, 192), level=1
    )
    merged = finder.merge([coarse, fine])
    assert merged.labels.tolist() == [7]
    assert merged.levels.tolist() == [1]


def test_neighbouring_digits_stay_two() -> None:
    assert len(finder.merge([decode(("7", 8, 6, 24.0), ("7", 8, 10, 24.0))])) == 2


def test_a_part_of_a_digit_on_a_larger_copy_is_no_digit() -> None:
    whole = decode(("8", 8, 10, 24.0))
    part = finder.decode(*build_maps(("0", 18, 21, 20.0), rows=32, columns=48), 2.0, shape=(64, 96), level=1)
    assert finder.merge([whole, part]).labels.tolist() == [8]


def test_hints_are_enclosed_with_a_margin_in_the_pictures_pixels() -> None:
    heat, _ = build_maps(("7", 20, 30, 6.0), ("1", 22, 60, 6.0), rows=64, columns=128)
    left, right = 30 * FINDER_STRIDE - finder.HINT_MARGIN, 61 * FINDER_STRIDE + finder.HINT_MARGIN
    top, bottom = 20 * FINDER_STRIDE - finder.HINT_MARGIN, 23 * FINDER_STRIDE + finder.HINT_MARGIN
    region = finder.find_hints(heat, 0.5, shape=(512, 1024))
    assert region == (slice(2 * top, 2 * bottom), slice(2 * left, 2 * right))


def test_hints_at_the_edges_reach_no_further_than_the_picture() -> None:
    heat, _ = build_maps(("7", 0, 0, 6.0), ("7", 15, 23, 6.0))
    assert finder.find_hints(heat, 1.0, shape=(64, 96)) == (slice(0, 64), slice(0, 96))


def test_nothing_is_no_hint() -> None:
    assert finder.find_hints(build_maps()[0], 1.0, shape=(64, 96)) is None


class RecordingFinder(Finder):
    """A finder that keeps the sizes of what it is shown."""

    shown: ClassVar[list[tuple[int, ...]]] = []

    def run(self, outputs: Sequence[str], pictures: NDArray[np.uint8]) -> list[Any]:
        self.shown.append(pictures.shape[1:3])
        return super().run(outputs, pictures)


@pytest.fixture
def recording(catalogue: Catalogue) -> RecordingFinder:
    found = catalogue.get_finder()
    assert found
    recording = found.as_kind(RecordingFinder)
    recording.shown.clear()
    return recording


def test_of_a_page_without_writing_no_large_copy_is_looked_at(recording: RecordingFinder) -> None:
    assert not len(recording.find(np.full((1024, 1024), 230, np.uint8)))
    assert max(recording.shown) == (512, 512)


def test_of_a_small_picture_without_writing_no_large_copy_is_looked_at(recording: RecordingFinder) -> None:
    assert not len(recording.find(np.full((512, 512), 230, np.uint8)))
    assert max(recording.shown) == (256, 256)


def test_of_a_page_with_small_writing_the_part_with_the_writing_is_enlarged(
    recording: RecordingFinder,
) -> None:
    page = np.zeros((1024, 1024), np.uint8)
    for at, digit in enumerate((4, 0, 7, 1)):
        page |= ink(digit, (1024, 1024), box=(300 + 14 * at, 600, 10, 16), pen=2)
    found = recording.find(255 - page)
    assert sorted(found.labels[found.certainties > MIN_LIKELIHOOD].tolist()) == [0, 1, 4, 7]
    left, top, right, bottom = found.boxes.T
    assert (left.min(), top.min()) == pytest.approx((300, 600), abs=6)
    assert (right.max(), bottom.max()) == pytest.approx((352, 616), abs=6)
    height, width = recording.shown[-1]
    assert max(height, width) < 512


def test_a_line_that_half_of_its_resolution_shows_clearly_is_not_looked_at_larger(
    recording: RecordingFinder,
) -> None:
    line = np.hstack([ink(digit, (40, 60), box=(8, 12, 24, 36), pen=4) for digit in (4, 0, 7, 1, 5, 3)])
    found = recording.find(255 - line)
    found = found[found.certainties > MIN_LIKELIHOOD]
    assert found.labels[np.argsort(found.boxes[:, 0])].tolist() == [4, 0, 7, 1, 5, 3]
    assert recording.shown == [(16, 64), (32, 128)]


def test_small_digits_below_large_ones_are_found_in_a_small_picture(recording: RecordingFinder) -> None:
    large = np.hstack([ink(digit, (48, 60), box=(12, 12, 24, 36), pen=4) for digit in (4, 0, 7, 3)])
    small = np.hstack([ink(digit, (48, 40), box=(16, 12, 8, 12), pen=2) for digit in (5, 2, 8, 6)])
    found = recording.find(255 - np.vstack([large, small]))
    found = found[found.certainties > MIN_LIKELIHOOD]
    assert sorted(found.labels.tolist()) == [0, 2, 3, 4, 5, 6, 7, 8]


def test_a_page_with_more_digits_than_are_read_is_not_enlarged_further(recording: RecordingFinder) -> None:
    row = np.hstack([ink(digit, (18, 22), box=(4, 5, 8, 12), pen=2) for digit in (4, 0, 7, 1, 5, 3) * 6])
    page = np.tile(row, (30, 1))
    recording.find(255 - page)
    assert max(max(size) for size in recording.shown) <= 512 + FINDER_MULTIPLE
