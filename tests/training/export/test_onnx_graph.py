from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import onnx
import pytest
from onnx import ModelProto

from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from tests.training.runs import QUICK, TRAINING, TRAINS
from training.export import keras_to_onnx, onnx_graph, quantisation
from training.learn.runs import Origin

pytestmark = TRAINS

PICTURES = TRAINING.pictures[:100]


def convert(model: keras.Model) -> ModelProto:
    file = keras_to_onnx.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    return onnx.load_from_string(file)


def build_network(*first_layers: keras.layers.Layer) -> keras.Model:
    image = keras.Input((28, 28), dtype="uint8")
    x = keras.layers.Reshape((28, 28, 1))(keras.layers.Rescaling(1 / 255)(image))
    for layer in first_layers:
        x = layer(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))


def count_operators(proto: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def classify(proto: ModelProto) -> np.ndarray:
    return Classifier.load(proto.SerializeToString()).classify(PICTURES).probabilities


def test_multiply_adds_equal_those_counted_by_hand() -> None:
    model = build_network(
        keras.layers.Conv2D(4, 3, strides=2, padding="same"),  # 14 x 14 x 4, each of 3 x 3 x 1
        keras.layers.DepthwiseConv2D(14),  # 4, each of 14 x 14
    )
    metadata = {member.key: member.value for member in convert(model).metadata_props}
    assert int(metadata[Metadata.MULTIPLY_ADDS]) == 14 * 14 * 4 * 9 + 4 * 14 * 14 + 4 * 10


@pytest.mark.parametrize(
    ("layer", "is_folded"),
    [
        (keras.layers.Conv2D(3, 5, strides=2), True),
        (keras.layers.Conv2D(3, (4, 3), strides=2), True),
        (keras.layers.Conv2D(3, 5), False),
        (keras.layers.Conv2D(3, 5, strides=2, padding="same"), False),
    ],
    ids=["5x5", "4x3", "stride 1", "padded"],
)
def test_folding_pixels_changes_no_answer(layer: keras.layers.Layer, *, is_folded: bool) -> None:
    keras.utils.set_random_seed(1)
    proto = convert(build_network(layer, keras.layers.ReLU()))
    quantised = quantisation.quantise_graph(proto, [PICTURES], operators=("Conv", "Relu"))
    onnx_graph.feed_pictures_directly(quantised)
    before = classify(quantised)
    onnx_graph.fold_pixels(quantised)
    assert count_operators(quantised)["SpaceToDepth"] == is_folded
    onnx.checker.check_model(quantised, full_check=True)
    np.testing.assert_array_equal(classify(quantised), before)


def test_merging_biases_changes_no_answer() -> None:
    keras.utils.set_random_seed(1)
    flatten, dense = keras.layers.Flatten(), keras.layers.Dense(5, bias_initializer="normal")
    proto = convert(build_network(flatten, dense))  # its last layer's bias is 0, so that it has no Add
    before, operators = classify(proto), count_operators(proto)
    onnx_graph.merge_biases(proto)
    assert operators - count_operators(proto) == {"MatMul": 1, "Add": 1}
    assert count_operators(proto) - operators == {"Gemm": 1}
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_allclose(classify(proto), before, atol=1e-6)
