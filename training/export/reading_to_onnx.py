"""Finder and line reader → ONNX files for pictures of any size, verified before they replace earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from app.digits.catalogue import MODEL_FILE
from app.digits.contract import (
    BATCH,
    BOXES,
    CHARACTERS,
    CONTRACT_VERSIONS,
    HEAT,
    INPUT,
    LOGITS,
    STRIP_HEIGHT,
    GreyPicture,
    Metadata,
)
from training.errors import ExportError
from training.export import quantisation
from training.export.keras_to_onnx import OPSET
from training.files import write_atomically
from training.learn.drawn_batches import yield_epoch
from training.learn.line_reader import BLANK
from training.learn.runs import Origin, ReadingRun
from training.learn.train_reading import Scores, measure
from training.recipe import ReadingRecipe
from training.scenes.shards import Shelves

Outputs = dict[str, NDArray[np.float32]]

FREE_HEIGHT, FREE_WIDTH = "height", "width"
_COUNT: Final = len(CHARACTERS)
# Shapes by network: input, and outputs; a name is a free dimension.
SHAPES: Final[Mapping[str, dict[str, tuple[str | int, ...]]]] = {
    "finder": {
        INPUT: (BATCH, FREE_HEIGHT, FREE_WIDTH, 1),
        HEAT: (BATCH, "rows", "columns", _COUNT),
        BOXES: (BATCH, "rows", "columns", 4),
    },
    "line_reader": {
        INPUT: (BATCH, STRIP_HEIGHT, FREE_WIDTH, 1),
        LOGITS: (BATCH, "frames", BLANK + 1),
    },
}
# Pictures, height and width: one small, and a few larger ones of another shape.
PARITY_SHAPES: Final[Mapping[str, tuple[tuple[int, int, int], ...]]] = {
    "finder": ((1, 64, 160), (3, 128, 96)),
    "line_reader": ((1, STRIP_HEIGHT, 96), (5, STRIP_HEIGHT, 320)),
}
# float32 carries 7 digits; logits reach some tens, and sums in another order differ in the last digits by up
# to 1e-4 of them after ten layers. A wrong layer is off by whole units.
TOLERANCE: Final = 1e-3
CALIBRATION_BATCHES: Final = 24  # some 500 pictures: of more the ranges grow no more than their rounding
QUANTISED: Final = ("Conv", "Relu", "Add")
MAX_LOSS: Final = (
    0.005  # share of strips or characters that eight bits may cost: eight of the held-out strips
)


def export(run: ReadingRun, shelves: Shelves, *, models: Path) -> Path:
    """Write the trained model of `run` to `models`/NAME/model.onnx, once it has been compared with Keras.

    Its convolutions but the last are rounded to eight bits, which makes it twice as fast, if it then reads
    the pictures of held-out writers as well as before.

    Raises:
        RunError: there is no run.
        ExportError: the run has not ended, or the exported file differs from the model.
    """
    origin = run.read_origin()
    if not run.model.exists():
        command = f"python -m training train {origin.recipe.name} --run {run.folder} --resume"
        msg = f"{run.folder} has not ended: `{command}` goes on."
        raise ExportError(msg)
    model = keras.models.load_model(run.model)
    onnx_bytes = convert(model, origin)
    verify_equal(model, onnx_bytes)
    onnx_bytes = quantise_if_as_good(onnx_bytes, origin.recipe, shelves)
    file = models / origin.recipe.name / MODEL_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, onnx_bytes)
    return file


def convert(model: keras.Model, origin: Origin[ReadingRecipe]) -> bytes:
    """Return the model as the bytes of an ONNX file, names, free dimensions and metadata set."""
    shapes = SHAPES[model.name]
    free = [size if isinstance(size, int) else None for size in shapes[INPUT]]
    signature = [tf.TensorSpec(free, tf.uint8, name=INPUT)]

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(image, training=False)
        return outputs if isinstance(outputs, dict) else {LOGITS: outputs}

    proto: ModelProto
    proto, _ = tf2onnx.convert.from_function(tf.function(serve), signature, opset=OPSET)
    _name_dimensions(proto, shapes)
    onnx.helper.set_model_props(proto, _list_metadata(model, origin))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def verify_equal(model: keras.Model, onnx_bytes: bytes) -> None:
    """Compare the file with Keras on pictures of two sizes.

    Raises:
        ExportError: their outputs differ.
    """
    rng = np.random.default_rng(0)
    for count, height, width in PARITY_SHAPES[model.name]:
        pictures = rng.integers(0, 256, (count, height, width, 1), np.uint8)
        expected, actual = run_keras(model, pictures), run_onnx(onnx_bytes, pictures)
        apart = max(float(np.abs(expected[name] - actual[name]).max()) for name in expected)
        if not apart <= TOLERANCE:
            msg = (
                f"At {width}x{height} ONNX differs from Keras by {apart:.2g}, the tolerance is {TOLERANCE:g}."
            )
            raise ExportError(msg)


def quantise_if_as_good(onnx_bytes: bytes, recipe: ReadingRecipe, shelves: Shelves) -> bytes:
    """Return the file with its convolutions in eight bits, or as it is if it would read worse."""
    shown = islice(yield_epoch(recipe, shelves.training, 0), CALIBRATION_BATCHES)
    proto = onnx.load_from_string(onnx_bytes)
    quantised = quantisation.quantise_graph(
        proto,
        (pictures for pictures, _ in shown),
        operators=QUANTISED,
        excluded=quantisation.find_heads(proto),  # they cost little, and their rounding would show most
    )
    rounded_bytes = quantisation.finish(quantised, proto)
    plain, rounded = (measure_file(file, recipe, shelves) for file in (onnx_bytes, rounded_bytes))
    is_as_good = all(rounded[name] >= plain[name] - MAX_LOSS for name in plain if name != "val_loss")
    return rounded_bytes if is_as_good else onnx_bytes


def measure_file(onnx_bytes: bytes, recipe: ReadingRecipe, shelves: Shelves) -> Scores:
    """Return how well a file reads pictures of held-out writers, as training measures it."""
    session = open_session(onnx_bytes)
    names = [output.name for output in session.get_outputs()]

    def run_network(pictures: NDArray[np.uint8]) -> Outputs | NDArray[np.float32]:
        outputs: Outputs = dict(zip(names, session.run(names, {INPUT: pictures}), strict=True))
        return outputs.get(LOGITS, outputs)

    return measure(run_network, recipe, shelves.validation)


def run_keras(model: keras.Model, pictures: GreyPicture) -> Outputs:
    """Return the model's outputs by name."""
    outputs = model(pictures, training=False)
    named = outputs if isinstance(outputs, dict) else {LOGITS: outputs}
    return {name: keras.ops.convert_to_numpy(output) for name, output in named.items()}


def run_onnx(onnx_bytes: bytes, pictures: GreyPicture) -> Outputs:
    """Return the file's outputs by name, on one core as the service runs it."""
    session = open_session(onnx_bytes)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: pictures}), strict=True))


def open_session(onnx_bytes: bytes) -> onnxruntime.InferenceSession:
    """Load a file on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def _name_dimensions(proto: ModelProto, shapes: Mapping[str, tuple[str | int, ...]]) -> None:
    """Call the free dimensions what the contract calls them."""
    values = {value.name: value for value in (*proto.graph.input, *proto.graph.output)}
    for name, shape in shapes.items():
        kind = TensorProto.UINT8 if name == INPUT else TensorProto.FLOAT
        values[name].CopyFrom(onnx.helper.make_tensor_value_info(name, kind, shape))
    del proto.graph.value_info[:]  # they hold other names of the same dimensions


def _list_metadata(model: keras.Model, origin: Origin[ReadingRecipe]) -> dict[str, str]:
    return {
        Metadata.CONTRACT_VERSION: str(CONTRACT_VERSIONS[origin.recipe.name]),
        Metadata.KIND: origin.recipe.name,
        Metadata.CHARACTERS: CHARACTERS,
        **origin.metadata,
        Metadata.PARAMETERS: str(model.count_params()),
    }
