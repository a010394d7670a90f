"""The networks, from one dense layer to the one that is served.

Each takes `image`, uint8 (batch, 28, 28), ink 255 on 0, scales it itself, and gives probabilities,
float32 (batch, 10): all arithmetic is in the graph, so that none is left to the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import keras
from keras import layers

from app.digits.contract import CLASSES, INPUT, PROBABILITIES, SIDE


def linear() -> keras.Model:
    """One dense layer with sigmoids, each digit on its own, divided by their sum.

    Written as softmax(log sigmoid(x)), which is sigmoid(x) / Σ sigmoid(x): far from any digit all ten
    sigmoids underflow, and their quotient would be 0 / 0.
    """
    image, scaled = _scaled_image()
    log_sigmoids = layers.Dense(CLASSES, activation="log_sigmoid")(layers.Flatten()(scaled))
    return keras.Model(image, layers.Softmax(name=PROBABILITIES)(log_sigmoids), name="linear")


def mlp_128() -> keras.Model:
    """One hidden layer of 128."""
    return _mlp(hidden=128, name="mlp_128")


def mlp_1000() -> keras.Model:
    """One hidden layer of 1000."""
    return _mlp(hidden=1000, name="mlp_1000")


def cnn() -> keras.Model:
    """Seven convolutions, two of them with stride 2 in pooling's place, and a learned pooling.

    28x28x32 → 14x14x48 → 7x7x96: half of the multiply-adds at the lowest resolution, where a 3x3
    kernel sees a third of the digit. The last 7x7 is weighed per channel by a depthwise convolution
    instead of averaged: where a stroke lies tells a 6 from a 9.
    """
    image, scaled = _scaled_image()
    x = layers.Reshape((SIDE, SIDE, 1))(scaled)
    x = _convolution(x, 32)
    x = _convolution(x, 48, strides=2)
    x = _convolution(x, 48)
    x = _convolution(x, 96, strides=2)
    x = _convolution(x, 96)
    x = _convolution(x, 96)
    x = layers.DepthwiseConv2D(7, use_bias=False)(x)
    x = layers.BatchNormalization()(layers.Flatten()(x))
    x = layers.Dropout(0.3)(x)
    return keras.Model(image, _softmax(x), name="cnn")


NETWORKS: Final[Mapping[str, Callable[[], keras.Model]]] = {
    network.__name__: network for network in (linear, mlp_128, mlp_1000, cnn)
}


def _scaled_image() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    image = keras.Input((SIDE, SIDE), dtype="uint8", name=INPUT)
    return image, layers.Rescaling(1 / 255)(image)


def _mlp(*, hidden: int, name: str) -> keras.Model:
    image, scaled = _scaled_image()
    x = layers.Dense(hidden, activation="relu")(layers.Flatten()(scaled))
    return keras.Model(image, _softmax(x), name=name)


def _softmax(x: keras.KerasTensor) -> keras.KerasTensor:
    # float32 under every precision policy: bfloat16 keeps 2-3 digits, too few for probabilities
    return layers.Dense(CLASSES, activation="softmax", dtype="float32", name=PROBABILITIES)(x)


def _convolution(x: keras.KerasTensor, filters: int, *, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))
