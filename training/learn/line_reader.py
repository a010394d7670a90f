"""The line reader: a strip of 32 rows → which character stands at every fourth column, or none (CTC)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from app.digits.contract import CHARACTERS, INPUT, LOGITS, STRIP_HEIGHT
from training.learn.blocks import Standardise, add, convolve, spread

BLANK: Final = len(CHARACTERS)  # CTC's class for no new character (Graves et al., 2006)


def line_reader() -> keras.Model:
    """Six convolutions down to one row, and five along it, which see three digits to either side.

    32 × w → 16 × w/2 → 8 × w/4 → 4 × w/4 → 1 × w/4: rows are given up as late as they are cheap, columns
    are kept at four pixels, which two frames of the narrowest 1 need. Along the row, depthwise convolutions
    are wide for little: an amount's zeros and its closing dash tell what stands before them.
    """
    image = keras.Input((STRIP_HEIGHT, None, 1), dtype="uint8", name=INPUT)
    x = convolve(Standardise()(image), 32, 5, strides=2)
    x = convolve(x, 64)
    x = convolve(x, 112, strides=2)
    x = add(x, convolve(x, 112, activated=False))
    x = convolve(x, 144, strides=(2, 1))
    x = convolve(x, 160, (4, 1), padding="valid")
    x = layers.Add()([x, convolve(x, 160, (1, 3))])
    for _ in range(4):
        x = layers.Add()([x, convolve(spread(x, 11), 160, 1)])
    x = layers.Dropout(0.1)(x)
    x = layers.Conv2D(BLANK + 1, 1, dtype="float32")(x)
    return keras.Model(
        image, layers.Reshape((-1, BLANK + 1), dtype="float32", name=LOGITS)(x), name="line_reader"
    )


@keras.saving.register_keras_serializable(package="digits")  # type: ignore[untyped-decorator]
def ctc_loss(labels: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return the negative log-likelihood of each text, (batch,).

    Args:
        labels: int (batch, longest text), filled up with `BLANK`.
        logits: (batch, frames, 21).
    """
    labels = ops.cast(labels, "int32")
    lengths = ops.sum(ops.cast(labels != BLANK, "int32"), axis=1)
    frames = ops.full((ops.shape(logits)[0],), ops.shape(logits)[1], dtype="int32")
    return ops.ctc_loss(labels, logits, lengths, frames, mask_index=BLANK)


def encode_texts(texts: Sequence[str]) -> NDArray[np.int32]:
    """Return the classes of some texts, filled up with `BLANK`."""
    longest = max(1, *map(len, texts), 0)
    labels = np.full((len(texts), longest), BLANK, np.int32)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [CHARACTERS.index(character) for character in text]
    return labels


def read_greedily(logits: NDArray[np.float32]) -> list[str]:
    """Return the texts along the likeliest class of every frame."""
    return [
        "".join(CHARACTERS[label] for label, _ in groupby(row) if label != BLANK)
        for row in logits.argmax(axis=2).tolist()
    ]


def decode_labels(labels: NDArray[np.int32]) -> list[str]:
    """Return the texts that `encode_texts` was given."""
    return ["".join(CHARACTERS[label] for label in row if label != BLANK) for row in labels.tolist()]
