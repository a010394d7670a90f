"""What the layers of a network make of a picture, from files that do not return it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from app.digits.catalogue import Catalogue
from app.digits.contract import INPUT
from app.digits.layers import (
    COLUMNS,
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_UNITS,
    LayerReader,
    expose,
    find_layers,
)
from tests.conftest import MODELS
from tests.tiny import build_tiny_model

PICTURE = np.zeros((28, 28), np.uint8)
PICTURE[4:24, 13:15] = 255


def load(name: str) -> bytes:
    return (MODELS / name / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("cnn", {"conv1": (32, 12, 12), "conv5": (128, 4, 4), "dense1": (32,)}),
        ("mlp-128", {"dense1": (128,)}),
        ("linear", {}),
    ],
)
def test_the_layers_of_the_models_are_found(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    layers = {layer.name: layer for layer in LayerReader.load(load(name)).read(PICTURE)}
    assert {layer: tuple(layers[layer].shape) for layer in shapes} == shapes
    assert len(layers) == (6 if name == "cnn" else len(shapes))
    assert all(layer.mosaic.dtype == np.uint8 and layer.mosaic.max() == 255 for layer in layers.values())


def test_a_hidden_layer_is_what_its_weights_give() -> None:
    weights = {
        weight.name.rpartition("dense_1")[2]: numpy_helper.to_array(weight)
        for weight in onnx.load_from_string(load("mlp-128")).graph.initializer
    }
    matrix = next(value for value in weights.values() if value.shape == (784, 128))
    bias = next(value for value in weights.values() if value.shape == (128,))
    expected = np.maximum(PICTURE.reshape(-1) / 255 @ matrix + bias, 0)
    (layer,) = LayerReader.load(load("mlp-128")).read(PICTURE)
    np.testing.assert_allclose(layer.mosaic.ravel() / 255, expected / expected.max(), atol=0.01)


def test_a_bright_picture_is_not_brighter_than_white_and_a_dark_one_has_no_noise() -> None:
    reader = LayerReader.load(build_layers(dense=4))
    (bright,), (dark,) = reader.read(PICTURE), reader.read(np.zeros_like(PICTURE))
    assert bright.mosaic.max() == 255
    assert not dark.mosaic.any()


def build_layers(*, dense: int = 0, channels: int = 0, layers: int = 1) -> bytes:
    """Return a network with layers of so many units or feature maps, whose weights are all 1."""
    size = dense or channels
    weight = np.ones((784, dense) if dense else (channels, 1, 3, 3), np.float32)
    shape = np.array([-1, 784] if dense else [-1, 1, 28, 28])
    nodes = [
        helper.make_node("Cast", [INPUT], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "shape"], ["flat"]),
        helper.make_node("MatMul" if dense else "Conv", ["flat", "weight"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["layer0"]),
        *(helper.make_node("Relu", ["sum"], [f"layer{index}"]) for index in range(1, layers)),
        helper.make_node("ReduceSum", ["layer0"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        f"layers of {size}",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ("batch", 28, 28))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(shape, "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_no_network_makes_the_answer_long() -> None:
    (wide,) = LayerReader.load(build_layers(dense=5000)).read(PICTURE)
    assert (wide.shape, wide.mosaic.size) == ((5000,), MAX_UNITS)
    (deep,) = LayerReader.load(build_layers(channels=100)).read(PICTURE)
    assert deep.shape == (100, 26, 26)
    assert deep.mosaic.shape == (26 * MAX_CHANNELS // COLUMNS, 26 * COLUMNS)
    assert len(LayerReader.load(build_layers(dense=1, layers=40)).read(PICTURE)) == MAX_LAYERS


def test_feature_maps_fill_the_mosaic_row_by_row() -> None:
    (layer,) = LayerReader.load(build_layers(channels=9)).read(PICTURE)
    assert layer.mosaic.shape == (2 * 26, COLUMNS * 26)
    assert layer.mosaic[26:, :26].any()
    assert not layer.mosaic[26:, 26:].any()


def test_a_network_with_no_layers_to_show_has_none() -> None:
    assert LayerReader.load(build_tiny_model()).read(PICTURE) == []


def test_the_extended_file_is_the_same_network_with_more_outputs() -> None:
    original = load("cnn")
    arrays = find_layers(original)
    extended = expose(original, arrays)
    assert extended.startswith(original)
    model: ModelProto = onnx.load_from_string(extended)
    names = [output.name for output in model.graph.output]
    assert names == ["probabilities", "digit_likelihood", *(array.decode() for array in arrays)]
    before, after = (
        ort.InferenceSession(file).run(names[:2], {INPUT: PICTURE[None]}) for file in (original, extended)
    )
    np.testing.assert_allclose(before[0], after[0], atol=0.01)


def test_readers_are_built_once_and_only_from_the_file_that_was_loaded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("models")
    for name in ("mlp-128", "linear"):
        (folder / name).mkdir()
        (folder / name / "model.onnx").write_bytes(load(name))
    catalogue = Catalogue.load(folder, default="mlp-128")
    model, other = catalogue.get(), catalogue.get("linear")
    reader = catalogue.get_layer_reader(model)
    assert reader is not None
    assert catalogue.get_layer_reader(model) is reader
    (folder / "linear" / "model.onnx").write_bytes(load("linear") + b"\n")
    assert catalogue.get_layer_reader(other) is None
