"""Quantises a network's layers to eight bits: it is twice as fast, and as accurate.

The outputs of a layer are rounded to uint8, over the range that they have on training pictures, and the
weights of each filter to int8. Weights use seven bits only: x86 processors without VNNI add two products in
16 bits, which eight-bit weights would overflow (onnxruntime's documentation, "Quantize ONNX models"). So
results are the same on all processors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from app.digits.contract import INPUT, DigitBatch, Metadata
from training.export import onnx_graph

CALIBRATION_PICTURES: Final = 1000  # with more, the ranges grow by less than one step of rounding
BATCH_SIZE: Final = 50
SUFFIX: Final = "+int8"  # of the version: build metadata in the sense of Semantic Versioning
# Dense layers take a fifth of the time in float32: their weights are half of all, and four times as large.
_QUANTISED: Final = ("Conv", "Relu", "Transpose", "Reshape", "Gemm")


def is_convolutional(proto: ModelProto) -> bool:
    """Whether the network has convolutions; dense layers alone are fast enough in float32."""
    return any(node.op_type == "Conv" for node in proto.graph.node)


def quantise(proto: ModelProto, pictures: DigitBatch) -> ModelProto:
    """Return a float32 network with 8-bit convolutions and dense layers.

    The `pictures`, uint8 (n, 28, 28), give the range of each layer's outputs.
    """
    shown = pictures[:CALIBRATION_PICTURES]
    starts = range(0, len(shown), BATCH_SIZE)
    prepared = ModelProto()
    prepared.CopyFrom(proto)
    onnx_graph.merge_biases(prepared)
    quantised_model = quantise_graph(prepared, (shown[start : start + BATCH_SIZE] for start in starts))
    onnx_graph.feed_pictures_directly(quantised_model)
    onnx_graph.fold_pixels(quantised_model)
    return quantised_model


def finish(quantised: ModelProto, proto: ModelProto) -> bytes:
    """Return the bytes of a quantised network with the metadata of the original, `SUFFIX` in its version."""
    metadata = {member.key: member.value for member in proto.metadata_props}
    metadata[Metadata.VERSION] += SUFFIX
    del quantised.metadata_props[:]
    onnx.helper.set_model_props(quantised, metadata)
    onnx.checker.check_model(quantised, full_check=True)
    return bytes(quantised.SerializeToString())


def find_heads(proto: ModelProto) -> list[str]:
    """Return the names of the last convolutions, which lead to the outputs."""
    producers = {output: node for node in proto.graph.node for output in node.output}
    heads, waiting = set[str](), [output.name for output in proto.graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node.op_type == "Conv":
            heads.add(node.name)
        elif node is not None:
            waiting += node.input
    return sorted(heads)


def quantise_graph(
    proto: ModelProto,
    batches: Iterable[NDArray[np.uint8]],
    *,
    operators: Sequence[str] = _QUANTISED,
    excluded: Sequence[str] = (),
) -> ModelProto:
    """Return a float32 network with some operators in eight bits.

    Args:
        proto: the network.
        batches: pictures that show how far values reach.
        operators: types of the nodes to quantise.
        excluded: names of nodes that are not quantised.
    """
    prepared = ModelProto()
    prepared.CopyFrom(proto)
    prepared.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # avoids a warning
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quantised.onnx"
        quantize_static(
            prepared,
            file,
            _Sample(batches),
            op_types_to_quantize=list(operators),
            nodes_to_exclude=list(excluded),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},  # such as logits
        )
        return onnx.load(file)


class _Sample(CalibrationDataReader):  # type: ignore[misc]  # it has no types
    def __init__(self, batches: Iterable[NDArray[np.uint8]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
