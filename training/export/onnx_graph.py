"""Edits ONNX graphs in place without changing their results, and counts their multiply-adds."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from app.digits.contract import BATCH, CLASSES, DIGIT_LIKELIHOOD, INPUT, PROBABILITIES, SIDE

INFERRED: Final = -1  # the dimension that `Reshape` computes from the others
_SHAPES: Final = {PROBABILITIES: (BATCH, CLASSES), DIGIT_LIKELIHOOD: (BATCH,)}  # in the order of `outputs`


def fix_shapes(proto: ModelProto) -> None:
    """Give every `Reshape` a constant shape; Keras computes each anew, with eight nodes."""
    constant_names = {weight.name for weight in proto.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.graph.value_info}
    for node in proto.graph.node:
        if node.op_type != "Reshape" or node.input[1] in constant_names:
            continue
        shape = [dimension.dim_value or INFERRED for dimension in shapes[node.output[0]]]
        name = f"fixed_shape_{node.output[0]}"
        proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        node.input[1] = name
    prune(proto)


def feed_pictures_directly(proto: ModelProto) -> None:
    """Feed the uint8 picture to the first layer: scaling and quantising it gives the same numbers again."""
    producers = {output: node for node in proto.graph.node for output in node.output}
    first = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    path = [first]
    while path[-1].input[0] != INPUT:
        path.append(producers[path[-1].input[0]])
    weights = {weight.name: weight for weight in proto.graph.initializer}
    scale, zero = (numpy_helper.to_array(weights[name]) for name in first.input[1:])
    assert np.isclose(scale, 1 / 255) and zero == 0, "the network does more than scale its input"  # noqa: S101, PT018
    (shape,) = (node.input[1] for node in path if node.op_type == "Reshape")
    first.CopyFrom(onnx.helper.make_node("Reshape", [INPUT, shape], list(first.output)))
    prune(proto)


def prune(proto: ModelProto) -> None:
    """Remove nodes and weights that no output depends on."""
    needed = {output.name for output in proto.graph.output}
    for node in reversed(proto.graph.node):  # a graph is sorted: a node comes after those that it depends on
        if needed.intersection(node.output):
            needed.update(node.input)
    for node in [node for node in proto.graph.node if not needed.intersection(node.output)]:
        proto.graph.node.remove(node)
    for weight in [weight for weight in proto.graph.initializer if weight.name not in needed]:
        proto.graph.initializer.remove(weight)


def name_arrays(proto: ModelProto) -> None:
    """Give the input, the outputs and the batch dimension the names of the contract."""
    (image,) = proto.graph.input
    outputs = dict(zip(_SHAPES, [output.name for output in proto.graph.output], strict=False))
    _rename(proto, image.name, INPUT)
    for name, old in outputs.items():
        _rename(proto, old, name)
    del proto.graph.input[:], proto.graph.output[:]
    proto.graph.input.append(
        onnx.helper.make_tensor_value_info(INPUT, TensorProto.UINT8, (BATCH, SIDE, SIDE))
    )
    for name in outputs:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, _SHAPES[name]))
    del proto.graph.value_info[:]  # they hold the old name of the batch dimension


def _rename(proto: ModelProto, old: str, new: str) -> None:
    for node in proto.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def count_multiply_adds(proto: ModelProto) -> int:
    """Count the multiply-adds of convolutions and matrix products for one picture."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    weights = {weight.name: tuple(weight.dims) for weight in proto.graph.initializer}
    return sum(_count_node_multiply_adds(node, shapes, weights) for node in inferred.graph.node)


def _count_node_multiply_adds(
    node: NodeProto, shapes: dict[str, tuple[int, ...]], weights: dict[str, tuple[int, ...]]
) -> int:
    if node.op_type == "Conv":  # every output pixel is a sum over the kernel and its input channels
        return math.prod(shapes[node.output[0]][1:]) * math.prod(weights[node.input[1]][1:])
    if node.op_type in {"MatMul", "Gemm"}:
        return math.prod(weights[node.input[1]])
    return 0
