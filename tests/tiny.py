"""Builds tiny ONNX graphs that keep the contract, or break it in one point."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.digits.contract import CLASSIFIER, CONTRACT_VERSIONS, Metadata

GOOD = {
    Metadata.CONTRACT_VERSION: str(CONTRACT_VERSIONS[CLASSIFIER]),
    Metadata.NAME: "tiny",
    Metadata.VERSION: "0.0.1",
}


def build_tiny_model(
    *,
    metadata: Mapping[str, str] = GOOD,
    likelihood: float | None = None,
    input_name: str = "image",
    input_type: int = TensorProto.UINT8,
    output_name: str = "probabilities",
    side: int = 28,
    softmax: bool = True,
) -> bytes:
    """Return a network whose digit is the number of bright pixels in the top row, less one."""
    weights = np.zeros((side * side, 10), np.float32)
    weights[:10] = np.tri(10, dtype=np.float32).T / 255
    bias = -np.cumsum(np.arange(10, dtype=np.float32)) / 10
    nodes = [
        helper.make_node("Cast", [input_name], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["sums"]),
        helper.make_node("Add", ["sums", "bias"], ["sums_and_bias" if softmax else output_name]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["sums_and_bias"], [output_name]))
    outputs = [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ("batch", 10))]
    initializers = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    if likelihood is not None:
        nodes += [
            helper.make_node("ReduceMax", ["flat"], ["brightest"], axes=[1], keepdims=0),
            helper.make_node("Mul", ["brightest", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "likelihood"], ["digit_likelihood"]),
        ]
        initializers += [
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(np.array(likelihood, np.float32), "likelihood"),
        ]
        outputs.append(helper.make_tensor_value_info("digit_likelihood", TensorProto.FLOAT, ("batch",)))
    image = helper.make_tensor_value_info(input_name, input_type, ("batch", side, side))
    graph = helper.make_graph(nodes, "tiny", [image], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
