"""Edits ONNX graphs in place without changing their results, and counts their multiply-adds."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
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


def fold_pixels(proto: ModelProto) -> None:
    """Let a first convolution with stride 2 read blocks of 2x2 pixels as four channels, with stride 1.

    onnxruntime's fast kernels for eight bits need a multiple of four channels: with them, this layer takes
    5 µs instead of 9. The results are the same: a kernel of 5x5 pixels becomes one of 3x3 blocks, with zeros
    for the pixels that it did not cover.
    """
    producers = {output: node for node in proto.graph.node for output in node.output}
    weights = {weight.name: weight for weight in proto.graph.initializer}
    convolution = next(node for node in proto.graph.node if node.op_type == "Conv")
    picture, kernel_node = (producers[name] for name in convolution.input[:2])
    kernel = numpy_helper.to_array(weights[kernel_node.input[0]])
    if not _is_foldable(convolution, kernel):
        return
    blocks = f"folded_{picture.input[0]}"
    fold = onnx.helper.make_node("SpaceToDepth", [picture.input[0]], [blocks], blocksize=2)
    proto.graph.node.insert(list(proto.graph.node).index(picture), fold)
    picture.input[0] = blocks
    weights[kernel_node.input[0]].CopyFrom(numpy_helper.from_array(_fold(kernel), kernel_node.input[0]))
    for attribute in [one for one in convolution.attribute if one.name in {"kernel_shape", "strides"}]:
        convolution.attribute.remove(attribute)
    del proto.graph.value_info[:]  # they hold the old shape of the picture


def _is_foldable(convolution: NodeProto, kernel: NDArray[np.int8]) -> bool:
    """Whether a convolution reads one channel with stride 2, without padding or gaps."""
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in convolution.attribute}
    is_padded = any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") != b"NOTSET"
    is_dilated = any(step > 1 for step in settings.get("dilations", ()))
    return kernel.shape[1] == 1 and settings.get("strides") == [2, 2] and not (is_padded or is_dilated)


def _fold(kernel: NDArray[np.int8]) -> NDArray[np.int8]:
    """Rearrange a kernel (filters, 1, height, width) for blocks: (filters, 4, height / 2, width / 2)."""
    filters, _, height, width = kernel.shape
    even = np.pad(kernel[:, 0], ((0, 0), (0, height % 2), (0, width % 2)))
    _, rows, columns = even.shape
    blocks = even.reshape(filters, rows // 2, 2, columns // 2, 2)
    return blocks.transpose(0, 2, 4, 1, 3).reshape(filters, 4, rows // 2, columns // 2)


def merge_biases(proto: ModelProto) -> None:
    """Merge each matrix product and its bias into a `Gemm`, which onnxruntime can compute in eight bits."""
    constant_names = {weight.name for weight in proto.graph.initializer}
    products = {node.output[0]: node for node in proto.graph.node if node.op_type == "MatMul"}
    for addition in [node for node in proto.graph.node if node.op_type == "Add"]:
        product = products.get(addition.input[0])
        if product is not None and constant_names.issuperset((product.input[1], addition.input[1])):
            inputs = [*product.input, addition.input[1]]
            addition.CopyFrom(onnx.helper.make_node("Gemm", inputs, addition.output, name=addition.name))
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
