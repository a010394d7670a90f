"""Converts a Keras model to an ONNX file that keeps the contract, and verifies it before it replaces one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import keras
import onnx
import tensorflow as tf
import tf2onnx
from onnx import ModelProto

from app.digits.catalogue import MODEL_FILE, VERSION_SEPARATOR, find_files, locate_folder
from app.digits.contract import CLASSIFIER, CONTRACT_VERSIONS, INPUT, SIDE, DigitBatch, Metadata
from training.errors import ExportError
from training.export import onnx_graph, quantisation
from training.export.lineage import Lineage
from training.export.parity import KERAS_FILE, verify_equal, verify_quantised
from training.files import write_atomically
from training.learn.networks import compute_outputs
from training.learn.runs import Origin, Run
from training.recipe import Recipe

OPSET: Final = 18  # the newest that tf2onnx 1.17 writes


def export(run: Run, pictures: DigitBatch, *, models: Path, version: int | None = None) -> Path:
    """Write the trained model of `run` to `models`/NAME/model.onnx, with 8-bit convolutions.

    The file is checked by `onnx.checker`, loaded as the service loads it, and compared with Keras
    on random pictures; only then does it replace an earlier file, atomically. The Keras model is
    written beside it, for fine-tuning.

    Args:
        run: a run that has ended.
        pictures: uint8 (n, 28, 28), of the training split, to choose the ranges of the 8-bit values.
        models: the folder of all models.
        version: the N of NAME@N; not needed while 1 is the only version.

    Raises:
        TrainingError: the run has not ended, the exported file differs from the model, or there are several
            versions and none was chosen.
    """
    origin = run.read_origin()
    file = _choose_folder(models, origin.recipe.name, version) / MODEL_FILE
    if not run.model.exists():
        command = f"python -m training train {origin.recipe.name} --run {run.folder} --resume"
        msg = f"{run.folder} has not ended: `{command}` continues it."
        raise ExportError(msg)
    onnx_bytes = convert_and_verify(keras.models.load_model(run.model), origin, pictures)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file.with_name(KERAS_FILE), run.model.read_bytes())
    write_atomically(file, onnx_bytes)
    return file


def _choose_folder(models: Path, name: str, version: int | None) -> Path:
    if version is None and any(one.model == name and one.number > 1 for one in find_files(models)):
        msg = f"There are several versions of {name}: choose with --version which one to write."
        raise ExportError(msg)
    return locate_folder(models, f"{name}{VERSION_SEPARATOR}{version or 1}")


def convert_and_verify(model: keras.Model, origin: Origin[Recipe] | Lineage, pictures: DigitBatch) -> bytes:
    """Return the model as the bytes of a verified ONNX file, with 8-bit convolutions."""
    onnx_bytes = convert(model, origin)
    verify_equal(model, onnx_bytes)
    return quantise_verified(onnx_bytes, pictures)


def convert(model: keras.Model, origin: Origin[Recipe] | Lineage) -> bytes:
    """Return the model as the bytes of an ONNX file with the contract's names, shapes and metadata."""
    signature = [tf.TensorSpec((None, SIDE, SIDE), tf.uint8, name=INPUT)]

    def serve(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return compute_outputs(model, image)

    proto: ModelProto
    proto, _ = tf2onnx.convert.from_function(tf.function(serve), signature, opset=OPSET)
    onnx_graph.name_arrays(proto)
    onnx_graph.fix_shapes(proto)
    metadata = {
        Metadata.CONTRACT_VERSION: str(CONTRACT_VERSIONS[CLASSIFIER]),
        **origin.metadata,
        Metadata.PARAMETERS: str(model.count_params()),
        Metadata.MULTIPLY_ADDS: str(onnx_graph.count_multiply_adds(proto)),
    }
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def quantise_verified(onnx_bytes: bytes, pictures: DigitBatch) -> bytes:
    """Return the network with 8-bit convolutions and `SUFFIX` in its version; unchanged if it has none."""
    proto = onnx.load_from_string(onnx_bytes)
    if not quantisation.is_convolutional(proto):
        return onnx_bytes
    quantised = quantisation.quantise(proto, pictures)
    quantised_bytes = quantisation.finish(quantised, proto)
    verify_quantised(onnx_bytes, quantised_bytes, pictures)
    return quantised_bytes
