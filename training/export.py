"""Keras model → ONNX file that keeps the contract, proved equal before it is put in place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import cv2
import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from app.digits.catalogue import MARK, MODEL_FILE, folder_of, stored
from app.digits.classifier import Classifier
from app.digits.contract import (
    BATCH,
    CLASSES,
    CONTRACT_VERSION,
    DIGIT_LIKELIHOOD,
    INPUT,
    PROBABILITIES,
    SIDE,
    CanonicalPicture,
    DigitBatch,
    Metadata,
)
from app.digits.errors import InvalidModel
from training import graphs, quantise
from training.errors import ExportError
from training.files import write_atomically
from training.runs import Described, Run

KERAS_FILE: Final = "model.keras"  # beside the ONNX file; no part of the image
OPSET: Final = 18  # the newest that tf2onnx 1.17 writes
PARITY_BATCHES: Final = (1, 7)  # one picture, and a batch that is no power of two
# float32 carries 7 digits, and sums in another order differ in the last of them: by up to 2e-6 in the
# probabilities of 500 scribbles. A wrong layer is off by hundredths.
TOLERANCE: Final = 1e-5
SCRIBBLED: Final = 200  # on which a network is known: eight bits differ by 0.003, another seed's by 0.05
ROUNDED_SAMPLE: Final = 1000  # pictures on which eight bits are compared with thirty-two
ROUNDED_TOLERANCE: Final = 0.01  # of their outputs, on average; of the committed network it is 0.0003
_SHAPES: Final = {PROBABILITIES: (BATCH, CLASSES), DIGIT_LIKELIHOOD: (BATCH,)}  # in the order of `outputs`


def export(run: Run, pictures: DigitBatch, *, models: Path, version: int | None = None) -> Path:
    """Write the trained model of `run` to `models`/NAME/model.onnx, its convolutions in eight bits.

    The file is checked by `onnx.checker`, loaded as the service loads it, and compared with Keras
    on random pictures; only then does it take the place of an earlier one, atomically. The Keras model
    lies beside it: `finetune` goes on from there.

    Args:
        run: that has ended.
        pictures: uint8 (pictures, 28, 28), of the training split: for the rounding to eight bits.
        models: the folder.
        version: of NAME, which is written to its own folder; not needed as long as 1 is the only one.

    Raises:
        RunError: there is no run.
        ExportError: the run has not ended, the exported file differs from the model, or it is not clear
            which version it is.
    """
    origin = run.origin()
    file = _place(models, origin.recipe.name, version) / MODEL_FILE
    if not run.model.exists():
        msg = (
            f"{run.folder} has not ended: "
            f"`python -m training train {origin.recipe.name} --run {run.folder} --resume` goes on."
        )
        raise ExportError(msg)
    onnx_bytes = proved(keras.models.load_model(run.model), origin, pictures)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file.with_name(KERAS_FILE), run.model.read_bytes())
    write_atomically(file, onnx_bytes)
    return file


def _place(models: Path, name: str, version: int | None) -> Path:
    if version is None and any(one.model == name and one.number > 1 for one in stored(models)):
        msg = f"There are several versions of {name}: say with --version which one this replaces, or is."
        raise ExportError(msg)
    return folder_of(models, f"{name}{MARK}{version or 1}")


def proved(model: keras.Model, origin: Described, pictures: DigitBatch) -> bytes:
    """Return the model as an ONNX file that was compared with Keras, its convolutions in eight bits.

    Raises:
        ExportError: it differs from the model.
    """
    onnx_bytes = convert(model, origin)
    prove_equal(model, onnx_bytes)
    return in_eight_bits(onnx_bytes, pictures)


def convert(model: keras.Model, origin: Described) -> bytes:
    """Return the model as the bytes of an ONNX file, names, batch dimension and metadata set."""
    signature = [tf.TensorSpec((None, SIDE, SIDE), tf.uint8, name=INPUT)]

    def serve(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return outputs(model, image)

    proto: ModelProto
    proto, _ = tf2onnx.convert.from_function(tf.function(serve), signature, opset=OPSET)
    _name_arrays(proto)
    graphs.with_fixed_shapes(proto)
    onnx.helper.set_model_props(proto, _metadata(model, proto, origin))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def prove_equal(model: keras.Model, onnx_bytes: bytes) -> None:
    """Load the file as the service does and compare it with Keras on scribbles.

    Raises:
        ExportError: the service would refuse the file, or its probabilities are others.
    """
    try:
        classifier = Classifier.load(onnx_bytes)
    except InvalidModel as error:
        msg = f"The exported file can't be served: {error.detail}."
        raise ExportError(msg) from error
    rng = np.random.default_rng(0)
    for size in PARITY_BATCHES:
        batch = np.stack([_scribble(rng) for _ in range(size)])
        wanted = [keras.ops.convert_to_numpy(output) for output in outputs(model, batch)]
        found = [output for output in classifier.classify(batch) if output is not None]
        worst = max(float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True))
        if not worst <= TOLERANCE:
            msg = f"At batch size {size} ONNX differs from Keras by {worst:.2g}, allowed are {TOLERANCE:g}."
            raise ExportError(msg)


def prove_same(model: keras.Model, classifier: Classifier) -> None:
    """Compare Keras with a file that was exported earlier, in eight bits or not, on scribbles.

    Raises:
        ExportError: they are different networks.
    """
    rng = np.random.default_rng(0)
    batch = np.stack([_scribble(rng) for _ in range(SCRIBBLED)])
    wanted = keras.ops.convert_to_numpy(outputs(model, batch)[0])
    apart = float(np.abs(classifier.classify(batch).probabilities - wanted).mean())
    if not apart <= ROUNDED_TOLERANCE:
        msg = (
            f"{classifier.name}'s {KERAS_FILE} and {MODEL_FILE} are different networks, {apart:.2g} apart: "
            f"`python -m training export {classifier.name}` writes both."
        )
        raise ExportError(msg)


def in_eight_bits(onnx_bytes: bytes, pictures: DigitBatch) -> bytes:
    """Return the network with its convolutions in eight bits, which its version says; others as they are.

    Raises:
        ExportError: it says other things of `pictures` than before.
    """
    proto = onnx.load_from_string(onnx_bytes)
    if not quantise.is_convolutional(proto):
        return onnx_bytes
    rounded = quantise.quantised(proto, pictures)
    metadata = {member.key: member.value for member in proto.metadata_props}
    metadata[Metadata.VERSION] += quantise.SUFFIX
    del rounded.metadata_props[:]
    onnx.helper.set_model_props(rounded, metadata)
    onnx.checker.check_model(rounded, full_check=True)
    rounded_bytes = bytes(rounded.SerializeToString())
    both = [
        Classifier.load(file).classify(pictures[-ROUNDED_SAMPLE:]) for file in (onnx_bytes, rounded_bytes)
    ]
    for one, other in zip(*both, strict=True):
        apart = 0.0 if one is None else float(np.abs(one - other).mean())
        if apart > ROUNDED_TOLERANCE:
            allowed = f"allowed are {ROUNDED_TOLERANCE:g}"
            msg = f"In eight bits the network differs by {apart:.2g} on average, {allowed}."
            raise ExportError(msg)
    return rounded_bytes


def outputs(model: keras.Model, batch: tf.Tensor | DigitBatch) -> tuple[tf.Tensor, ...]:
    """Return probabilities (batch, 10) and, where the model tells, the likelihood (batch,) of a digit."""
    found = model(batch, training=False)
    if not isinstance(found, dict):
        return (found,)
    return found[PROBABILITIES], keras.ops.squeeze(found[DIGIT_LIKELIHOOD], axis=1)


def _scribble(rng: np.random.Generator) -> CanonicalPicture:
    """Draw a bent line as long and as bold as a digit's: noise is nothing that a network ever sees."""
    picture = np.zeros((SIDE, SIDE), np.uint8)
    points = rng.integers(4, SIDE - 4, (5, 2), np.int32)
    cv2.polylines(picture, [points], isClosed=False, color=255, thickness=2, lineType=cv2.LINE_AA)
    return picture


def multiply_adds(proto: ModelProto) -> int:
    """Count the multiply-adds that one picture costs: convolutions and matrix products."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = {value.name: _shape(value) for value in (*inferred.graph.value_info, *inferred.graph.output)}
    weights = {weight.name: tuple(weight.dims) for weight in proto.graph.initializer}
    return sum(_node_cost(node, shapes, weights) for node in inferred.graph.node)


def _node_cost(
    node: NodeProto, shapes: dict[str, tuple[int, ...]], weights: dict[str, tuple[int, ...]]
) -> int:
    if node.op_type == "Conv":  # every output pixel is a sum over the kernel and its input channels
        return math.prod(shapes[node.output[0]][1:]) * math.prod(weights[node.input[1]][1:])
    if node.op_type in {"MatMul", "Gemm"}:
        return math.prod(weights[node.input[1]])
    return 0


def _shape(value: ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _name_arrays(proto: ModelProto) -> None:
    """Call input, outputs and batch dimension what the contract calls them."""
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


def _metadata(model: keras.Model, proto: ModelProto, origin: Described) -> dict[str, str]:
    return {
        Metadata.CONTRACT_VERSION: str(CONTRACT_VERSION),
        **origin.metadata,
        Metadata.PARAMETERS: str(model.count_params()),
        Metadata.MULTIPLY_ADDS: str(multiply_adds(proto)),
    }
