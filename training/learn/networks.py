"""The networks, from a single dense layer to the convolutional network that is served by default.

Each takes `image`, uint8 (batch, 28, 28), ink 255 on 0, scales it, and returns probabilities, float32
(batch, 10): all arithmetic is in the graph, and none is left to the service. `cnn` also returns the digit
likelihood, float32 (batch, 1) in Keras and (batch,) once it is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import keras
from keras import layers

from app.digits.contract import CLASSES, DIGIT_LIKELIHOOD, INPUT, PROBABILITIES, SIDE, DigitBatch
from training.recipe import Recipe


def linear() -> keras.Model:
    """Build one dense layer with a sigmoid for each digit, divided by their sum.

    Written as softmax(log sigmoid(x)), which equals sigmoid(x) / Σ sigmoid(x): for a picture unlike any
    digit, all ten sigmoids underflow, and their quotient would be 0 / 0.
    """
    image, scaled = _scaled_image()
    log_sigmoids = layers.Dense(CLASSES, activation="log_sigmoid")(layers.Flatten()(scaled))
    return keras.Model(image, layers.Softmax(name=PROBABILITIES)(log_sigmoids), name="linear")


def mlp_128(*, dropout: float = 0.0) -> keras.Model:
    """Build a network with one hidden layer of 128 units."""
    return _mlp(hidden=128, dropout=dropout, name="mlp_128")


def mlp_1000(*, dropout: float = 0.0) -> keras.Model:
    """Build a network with one hidden layer of 1000 units."""
    return _mlp(hidden=1000, dropout=dropout, name="mlp_1000")


def cnn() -> keras.Model:
    """Build five convolutions without padding, the first with stride 2, and two heads.

    28x28 → 12x12x32 → 10x10x48 → 8x8x64 → 6x6x96 → 4x4x128: the rim of a canonical picture is empty, so
    convolutions without padding lose nothing, and all layers cost about the same. The 16 positions of the
    last layer are flattened, not pooled: where a stroke lies tells a 6 from a 9. The second head returns the
    digit likelihood; the weight of its loss limits how much it shapes the shared layers.
    """
    image, scaled = _scaled_image()
    x = layers.Reshape((SIDE, SIDE, 1))(scaled)
    x = _convolution(x, 32, kernel=5, strides=2)
    for filters in (48, 64, 96, 128):
        x = _convolution(x, filters)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    likelihood = layers.Dense(32, activation="relu")(x)
    likelihood = layers.Dense(1, activation="sigmoid", dtype="float32", name=DIGIT_LIKELIHOOD)(likelihood)
    return keras.Model(image, {PROBABILITIES: _softmax(x), DIGIT_LIKELIHOOD: likelihood}, name="cnn")


NETWORKS: Final[Mapping[str, Callable[..., keras.Model]]] = {
    network.__name__: network for network in (linear, mlp_128, mlp_1000, cnn)
}


def build_network(recipe: Recipe) -> keras.Model:
    """Return the recipe's network, untrained."""
    network = NETWORKS[recipe.network]
    return network(dropout=recipe.dropout) if recipe.dropout else network()


def compute_outputs(
    model: keras.Model, batch: keras.KerasTensor | DigitBatch
) -> tuple[keras.KerasTensor, ...]:
    """Return probabilities (batch, 10) and, if there is a second head, digit likelihoods (batch,)."""
    outputs = model(batch, training=False)
    if not isinstance(outputs, dict):
        return (outputs,)
    return outputs[PROBABILITIES], keras.ops.squeeze(outputs[DIGIT_LIKELIHOOD], axis=1)


def _scaled_image() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    image = keras.Input((SIDE, SIDE), dtype="uint8", name=INPUT)
    return image, layers.Rescaling(1 / 255)(image)


def _mlp(*, hidden: int, dropout: float, name: str) -> keras.Model:
    image, scaled = _scaled_image()
    x = layers.Dense(hidden, activation="relu")(layers.Flatten()(scaled))
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(image, _softmax(x), name=name)


def _softmax(x: keras.KerasTensor) -> keras.KerasTensor:
    # float32 under every precision policy: the 2 or 3 digits of bfloat16 are too few for probabilities
    return layers.Dense(CLASSES, activation="softmax", dtype="float32", name=PROBABILITIES)(x)


def _convolution(
    x: keras.KerasTensor, filters: int, *, kernel: int = 3, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=strides, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))
