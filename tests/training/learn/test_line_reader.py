from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import CHARACTERS, READER_STRIDE
from tests.training.runs import TRAINS
from training.learn.line_reader import (
    BLANK,
    ctc_loss,
    decode_labels,
    encode_texts,
    line_reader,
    read_greedily,
)

pytestmark = TRAINS


def certain(frames: str) -> np.ndarray:
    """Return logits of one strip; a blank in the text is CTC's."""
    labels = [BLANK if frame == " " else CHARACTERS.index(frame) for frame in frames]
    return (np.eye(BLANK + 1, dtype=np.float32)[labels] * 12)[None]


def test_texts_become_classes_and_texts_again() -> None:
    texts = ["1.50-", "", "~7"]
    labels = encode_texts(texts)
    assert labels.shape == (3, 5)
    assert labels[1].tolist() == [BLANK] * 5
    assert decode_labels(labels) == texts


@pytest.mark.parametrize(("frames", "text"), [("1133", "13"), ("1 13", "113"), ("   ", ""), ("~~.", "~.")])
def test_repeated_frames_are_one_character_unless_a_blank_parts_them(frames: str, text: str) -> None:
    assert read_greedily(certain(frames)) == [text]


def test_the_loss_is_low_for_what_is_read_and_high_for_anything_else() -> None:
    losses = [float(ctc_loss(encode_texts([text]), certain("1 3  "))[0]) for text in ("13", "31", "1", "")]
    assert losses[0] < 0.01
    assert min(losses[1:]) > 10


def test_an_empty_strip_has_a_loss_too() -> None:
    assert float(ctc_loss(encode_texts([""]), certain("    "))[0]) < 0.01


def test_the_line_reader_takes_any_width_and_is_as_small_as_promised() -> None:
    model = line_reader()
    assert model.count_params() < 640_000
    for width in (96, 320):
        logits = model(np.zeros((2, 32, width, 1), np.uint8))
        assert logits.shape == (2, width // READER_STRIDE, BLANK + 1)
