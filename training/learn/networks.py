"""The networks, from one dense layer to the one that is served.

Each takes `image`, uint8 (batch, 28, 28), ink 255 on 0, scales it itself, and gives probabilities,
float32 (batch, 10): all arithmetic is in the graph, so that none is left to the service. `cnn` also
gives the likelihood that the picture is a digit at all, float32 (batch, 1) until it is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import keras
from keras import layers

from app.digits.contract import CLASSES, DIGIT_LIKELIHOOD, INPUT, PROBABILITIES, SIDE, DigitBatch
from training.recipe import Recipe


def linear() -> keras.Model:
    """One dense layer with sigmoids, each digit on its own, divided by their sum.

    Written as softmax(log sigmoid(x)), which is sigmoid(x) / Σ sigmoid(x): far from any digit all ten
    sigmoids underflow, and their quotient would be 0 / 0.
    """
    image, scaled = _scaled_image()
    log_sigmoids = layers.Dense(CLASSES, activation="log_sigmoid")(layers.Flatten()(scaled))
    return keras.Model(image, layers.Softmax(name=PROBABILITIES)(log_sigmoids), name="linear")


def mlp_128(*, dropout: float = 0.0) -> keras.Model:
    """One hidden layer of 128."""
    return _mlp(hidden=128, dropout=dropout, name="mlp_128")


def mlp_1000(*, dropout: float = 0.0) -> keras.Model:
    """One hidden layer of 1000."""
    return _mlp(hidden=1000, dropout=dropout, name="mlp_1000")


def cnn() -> keras.Model:
    """Five convolutions without padding, the first with stride 2, and two heads.

    28x28 → 12x12x32 → 10x10x48 → 8x8x64 → 6x6x80 → 4x4x112: a canonical picture keeps its rim empty, so
    nothing is lost there, and each layer costs about the same. The 16 places of the last one are kept
    apart: where a stroke lies tells a 6 from a 9. The second head tells whether it is a digit at all;
    it does not steer the trunk by more than its share of the loss.
    """
    image, scaled = _scaled_image()
    x = layers.Reshape((SIDE, SIDE, 1))(scaled)
    x = _convolution(x, 32, kernel=5, strides=2)
    for filters in (48, 64, 80, 112):
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
    """Return probabilities (batch, 10) and, with a second head, the likelihood (batch,) of a digit."""
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
    # float32 under every precision policy: bfloat16 keeps 2-3 digits, too few for probabilities
    return layers.Dense(CLASSES, activation="softmax", dtype="float32", name=PROBABILITIES)(x)


def _convolution(
    x: keras.KerasTensor, filters: int, *, kernel: int = 3, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=strides, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))
