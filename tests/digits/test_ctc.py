from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.digits import ctc

BLANK = 2  # of three classes: two characters and the blank


def build_frames(*classes: int, certainty: float = 0.9, count: int = BLANK + 1) -> NDArray[np.float32]:
    frames = np.full((len(classes), count), (1 - certainty) / (count - 1), np.float32)
    frames[np.arange(len(classes)), classes] = certainty
    return frames


def sum_spellings(frames: NDArray[np.float32]) -> dict[ctc.Text, float]:
    """Return the probability of every text, by adding up all sequences of frames."""
    texts: dict[ctc.Text, float] = {}
    for spelling in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        text = tuple(label for label, _ in itertools.groupby(spelling) if label != BLANK)
        probability = math.prod(frames[frame, label] for frame, label in enumerate(spelling))
        texts[text] = texts.get(text, 0.0) + probability
    return texts


@given(st.lists(st.tuples(*[st.floats(0.05, 1)] * 3), min_size=1, max_size=5))
def test_probabilities_are_sums_over_all_spellings(weights: list[tuple[float, ...]]) -> None:
    frames = np.array(weights, np.float32)
    frames /= frames.sum(axis=1, keepdims=True)
    exact, found = sum_spellings(frames), ctc.find_texts(frames, beams=100)
    assert next(iter(found.values())) == pytest.approx(max(exact.values()), rel=1e-3)
    for text, probability in found.items():
        assert probability == pytest.approx(exact[text], rel=1e-3, abs=1e-4)


def test_equal_neighbours_need_a_blank_between_them() -> None:
    assert next(iter(ctc.find_texts(build_frames(0, 0, BLANK, 0)))) == (0, 0)
    assert next(iter(ctc.find_texts(build_frames(0, 0, 0, 0)))) == (0,)


def test_blank_frames_are_the_empty_text() -> None:
    assert ctc.find_texts(build_frames(BLANK, BLANK, certainty=1.0)) == {(): pytest.approx(1.0)}


def test_the_work_is_bounded() -> None:
    rng = np.random.default_rng(0)
    frames = rng.random((300, 21)).astype(np.float32)
    frames /= frames.sum(axis=1, keepdims=True)
    assert len(ctc.find_texts(frames)) <= ctc.BEAMS


def test_characters_are_located_at_the_middle_of_their_frames() -> None:
    frames = build_frames(BLANK, 0, 0, 0, BLANK, 1, BLANK, 1, 1)
    assert ctc.locate(frames, (0, 1, 1)) == [2.0, 5.0, 7.5]


def test_no_characters_have_no_places() -> None:
    assert ctc.locate(build_frames(BLANK, BLANK), ()) == []
