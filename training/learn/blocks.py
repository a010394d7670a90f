"""What the finder and the line reader are built of."""

from __future__ import annotations

from typing import Any, Final

import keras
from keras import layers, ops

BATCH_NORM_MOMENTUM: Final = 0.98  # of statistics over some fifty batches: batches of single widths differ


@keras.saving.register_keras_serializable(package="digits")
class Standardise(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Brings every picture to mean 0 and deviation 1: neither light nor contrast is left to be learned."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  Keras' own
        super().__init__(**{"dtype": "float32", **settings})

    def call(self, pictures: keras.KerasTensor) -> keras.KerasTensor:
        """Take uint8 (batch, height, width, 1)."""
        grey = ops.cast(pictures, "float32") / 255.0
        centred = grey - ops.mean(grey, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 2), keepdims=True)
        return centred / ops.sqrt(variance + 1e-3)  # a blank picture's noise is not blown up

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape that it is given."""
        return input_shape


def convolve(
    x: keras.KerasTensor,
    filters: int,
    kernel: int | tuple[int, int] = 3,
    *,
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
    activated: bool = True,
) -> keras.KerasTensor:
    """Convolve, normalise over the batch and cut negative values off."""
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x) if activated else x


def add(x: keras.KerasTensor, change: keras.KerasTensor) -> keras.KerasTensor:
    """Add a change to what it was computed from (He et al., 2015)."""
    return layers.ReLU()(layers.Add()([x, change]))


def spread(x: keras.KerasTensor, kernel: int) -> keras.KerasTensor:
    """Convolve each channel on its own along the row, and normalise over the batch."""
    x = layers.DepthwiseConv2D((1, kernel), padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
