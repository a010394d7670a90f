"""The finder: a grey picture → where characters are, how large, and which.

Every cell of 4 × 4 pixels says for each character how likely its centre lies there, and what box it would
have ("Objects as Points", Zhou et al., 2019).
"""

from __future__ import annotations

from typing import Final

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from app.digits.contract import (
    BOX_HEIGHT,
    BOX_WIDTH,
    BOXES,
    CHARACTERS,
    FINDER_STRIDE,
    HEAT,
    INPUT,
    OTHER_WRITING,
)
from training.learn.blocks import Standardise, add, convolve
from training.scenes.strips import Marks

CLASSES: Final = len(CHARACTERS)
DIGITS: Final = 10
# Pixels, height of what it answers for: the rest is found on a larger or smaller copy of the picture.
HEIGHT_RANGE: Final = (10.5, 56.0)
MEAN_PRIOR: Final = -4.0  # log-odds that any cell is a centre, at first: 2 % (RetinaNet, Lin et al., 2017)
# Of the bump about a centre: in cells for the narrowest and the widest character, and share of its size.
SPREAD_RANGE: Final = (0.52, 1.04)
SPREAD_SHARE: Final = 0.11
BOX_SHARE: Final = 0.5  # of the loss of boxes in the whole: reading comes first
OFFSET_SHARE: Final = 0.7  # of a cell's error to one of e in width or height
CROP: Final = 128  # pixels: the part of a document that it is shown; a whole one is mostly blank
MIN_CENTRES: Final = 4.0  # by which a batch's loss is divided at least: an empty page weighs little


def finder() -> keras.Model:
    """An hourglass down to a sixteenth and up to a quarter, thin where pixels are many; 526k parameters."""
    image = keras.Input((None, None, 1), dtype="uint8", name=INPUT)
    x = convolve(Standardise()(image), 24, 5, strides=2)
    quarter = convolve(convolve(x, 40, strides=2), 40)
    eighth = convolve(quarter, 88, strides=2)
    eighth = add(eighth, convolve(convolve(eighth, 88), 88, activated=False))
    sixteenth = convolve(convolve(eighth, 112, strides=2), 112)
    eighth = convolve(layers.Add()([eighth, _enlarge(sixteenth, 88)]), 88)
    x = add(convolve(quarter, 64, 1, activated=False), _enlarge(eighth, 64))
    x = convolve(x, 64)
    prior = keras.initializers.Constant(MEAN_PRIOR)
    heat = layers.Conv2D(CLASSES, 1, dtype="float32", bias_initializer=prior, name=HEAT)(x)
    boxes = layers.Conv2D(4, 1, dtype="float32", name=BOXES)(x)
    return keras.Model(image, {HEAT: heat, BOXES: boxes}, name="finder")


def _enlarge(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    return layers.UpSampling2D(2, interpolation="nearest")(convolve(x, filters, 1))


@keras.saving.register_keras_serializable(package="digits")  # type: ignore[untyped-decorator]
def heat_loss(truth: keras.KerasTensor, log_odds: keras.KerasTensor) -> keras.KerasTensor:
    """Return the focal loss of centres, for each centre of the batch.

    Args:
        truth: (batch, rows, columns, 21): 1 at centres and less around them; the last says where it counts.
        log_odds: (batch, rows, columns, 20).
    """
    heat, counts = truth[..., :-1], truth[..., -1:]
    centre = ops.cast(heat >= 1, "float32")
    share = ops.sigmoid(log_odds)
    found = centre * ops.square(1 - share) * ops.log_sigmoid(log_odds)
    empty = (1 - centre) * (1 - heat) ** 4 * ops.square(share) * ops.log_sigmoid(-log_odds)
    return -ops.sum((found + empty) * counts) / ops.maximum(ops.sum(centre), MIN_CENTRES)


@keras.saving.register_keras_serializable(package="digits")  # type: ignore[untyped-decorator]
def box_loss(truth: keras.KerasTensor, boxes: keras.KerasTensor) -> keras.KerasTensor:
    """Return the absolute error of boxes at centres, for each centre of the batch.

    Args:
        truth: (batch, rows, columns, 5): the box, and 1 at centres.
        boxes: (batch, rows, columns, 4).
    """
    centre = truth[..., -1:]
    shares = ops.convert_to_tensor([1.0, 1.0, OFFSET_SHARE, OFFSET_SHARE])
    errors = ops.sum(centre * shares * ops.abs(boxes - truth[..., :-1]))
    return errors / ops.maximum(ops.sum(centre), MIN_CENTRES)


LOSSES: Final = {HEAT: heat_loss, BOXES: box_loss}
LOSS_SHARES: Final = {HEAT: 1.0, BOXES: BOX_SHARE}


def make_truth(marks: list[Marks], shape: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Return what the finder should say of pictures of a shape, by output; see the losses."""
    rows, columns = shape[0] // FINDER_STRIDE, shape[1] // FINDER_STRIDE
    heat = np.zeros((len(marks), rows, columns, CLASSES + 1), np.float32)
    heat[..., -1] = 1
    boxes = np.zeros((len(marks), rows, columns, 5), np.float32)
    for own_heat, own_boxes, own_marks in zip(heat, boxes, marks, strict=True):
        for mark in _sort_by_size(own_marks):
            _add_mark(own_heat, own_boxes, mark)
    return {HEAT: heat, BOXES: boxes}


def _sort_by_size(marks: Marks) -> Marks:
    """Put large characters first: where two share a cell, the smaller one keeps its box."""
    return marks[np.argsort((marks[:, 1] - marks[:, 3]) * (marks[:, 4] - marks[:, 2]))]


def _add_mark(heat: NDArray[np.float32], boxes: NDArray[np.float32], mark: NDArray[np.float32]) -> None:
    label, (left, top, right, bottom) = int(mark[0]), (mark[1:] / FINDER_STRIDE).tolist()
    width, height = max(float(mark[3] - mark[1]), 1.0), max(float(mark[4] - mark[2]), 1.0)
    x, y = (left + right) / 2, (top + bottom) / 2
    column, row = int(np.floor(x)), int(np.floor(y))
    if not is_answered_for(label, height):
        heat[max(0, int(top)) : max(0, int(bottom) + 1), max(0, int(left)) : max(0, int(right) + 1), -1] = 0
        return
    if not (0 <= row < heat.shape[0] and 0 <= column < heat.shape[1]):
        return
    spread = float(np.clip(SPREAD_SHARE / FINDER_STRIDE * min(2 * width, height), *SPREAD_RANGE))
    _add_bump(heat[..., label], x, y, spread)
    heat[row, column, label] = heat[row, column, -1] = 1
    size = np.log(width / BOX_WIDTH), np.log(height / BOX_HEIGHT)
    boxes[row, column] = *size, x - column - 0.5, y - row - 0.5, 1


def is_answered_for(label: int, height: float) -> bool:
    """Whether a character is one of those that the finder has to find at this scale."""
    is_sign = DIGITS <= label < OTHER_WRITING
    return label >= 0 and (is_sign or HEIGHT_RANGE[0] <= height <= HEIGHT_RANGE[1])


def _add_bump(heat: NDArray[np.float32], x: float, y: float, spread: float) -> None:
    """Raise the heat about a centre, in cells, as a normal distribution falls."""
    reach = int(3 * spread) + 1
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    view = heat[top : int(y) + reach + 1, left : int(x) + reach + 1]
    down = np.arange(view.shape[0]) + top + 0.5 - y
    across = np.arange(view.shape[1]) + left + 0.5 - x
    bump = np.exp(-(down[:, None] ** 2 + across**2) / (2 * spread**2))
    np.maximum(view, bump, out=view, casting="unsafe")


def count_found(truth: NDArray[np.float32], log_odds: NDArray[np.float32]) -> tuple[int, int, int]:
    """Return how many characters there are, how many of them are found, and how many are claimed.

    A character is found where the likeliest class of a peak is its own, at its cell or beside it.

    Args:
        truth: (batch, rows, columns, 21), as `heat_loss` takes it.
        log_odds: (batch, rows, columns, 20).
    """
    best = log_odds.max(axis=3)
    padded = np.pad(best, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).max(axis=(3, 4))
    peaks = (best >= around) & (best > 0) & (truth[..., -1] > 0)
    claimed = np.zeros_like(log_odds, bool)
    at = np.nonzero(peaks)
    claimed[(*at, log_odds[at].argmax(axis=1))] = True
    wide = np.pad(claimed, ((0, 0), (1, 1), (1, 1), (0, 0)))
    near = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2)).any(axis=(4, 5))
    centres = truth[..., :-1] >= 1
    return int(centres.sum()), int((centres & near).sum()), int(peaks.sum())
