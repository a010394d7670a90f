"""What is done to an ONNX graph between Keras and the service, in place; none of it changes a result."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from app.digits.contract import INPUT

FIXED_SHAPE: Final = "fixed_shape"
FREE: Final = -1  # a dimension that follows from the others


def with_fixed_shapes(proto: ModelProto) -> None:
    """Reshape to known numbers: Keras asks for the batch's size anew, by eight nodes for each flattening."""
    known = {weight.name for weight in proto.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.graph.value_info}
    for node in proto.graph.node:
        if node.op_type != "Reshape" or node.input[1] in known:
            continue
        shape = [dimension.dim_value or FREE for dimension in shapes[node.output[0]]]
        name = f"{FIXED_SHAPE}_{node.output[0]}"
        proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        node.input[1] = name
    prune(proto)


def with_pictures_as_they_are(proto: ModelProto) -> None:
    """Let a quantised network begin with the picture itself: scaled and rounded back it is the same."""
    makers = {output: node for node in proto.graph.node for output in node.output}
    first = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    way = [first]
    while way[-1].input[0] != INPUT:
        way.append(makers[way[-1].input[0]])
    weights = {weight.name: weight for weight in proto.graph.initializer}
    scale, zero = (numpy_helper.to_array(weights[name]) for name in first.input[1:])
    assert np.isclose(scale, 1 / 255) and zero == 0, "the network begins with more than a scaling"  # noqa: S101, PT018
    (shape,) = (node.input[1] for node in way if node.op_type == "Reshape")
    first.CopyFrom(onnx.helper.make_node("Reshape", [INPUT, shape], list(first.output)))
    prune(proto)


def prune(proto: ModelProto) -> None:
    """Remove nodes and weights that no output needs."""
    needed = {output.name for output in proto.graph.output}
    for node in reversed(proto.graph.node):  # a graph is sorted: what a node needs stands before it
        if needed.intersection(node.output):
            needed.update(node.input)
    for node in [node for node in proto.graph.node if not needed.intersection(node.output)]:
        proto.graph.node.remove(node)
    for weight in [weight for weight in proto.graph.initializer if weight.name not in needed]:
        proto.graph.initializer.remove(weight)
