from __future__ import annotations

import keras

from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from tests.training.runs import QUICK, TRAINS
from training.export import keras_to_onnx
from training.learn.runs import Origin

pytestmark = TRAINS


def test_multiply_adds_equal_those_counted_by_hand() -> None:
    image = keras.Input((28, 28), dtype="uint8")
    x = keras.layers.Reshape((28, 28, 1))(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)  # 14 x 14 x 4, each of 3 x 3 x 1
    x = keras.layers.DepthwiseConv2D(14)(x)  # 4, each of 14 x 14
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))
    file = keras_to_onnx.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    multiply_adds = Classifier.load(file).metadata[Metadata.MULTIPLY_ADDS]
    assert int(multiply_adds) == 14 * 14 * 4 * 9 + 4 * 14 * 14 + 4 * 10
