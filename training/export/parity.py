"""Compares a Keras model with its ONNX file, as the service loads it."""

from __future__ import annotations

from typing import Final

import cv2
import keras
import numpy as np

from app.digits.catalogue import MODEL_FILE
from app.digits.classifier import Classifier
from app.digits.contract import SIDE, DigitBatch
from app.digits.errors import InvalidModel
from training.errors import ExportError
from training.learn.networks import compute_outputs

KERAS_FILE: Final = "model.keras"  # beside the ONNX file; images leave it out
PARITY_BATCHES: Final = (1, 7)  # one picture, and a batch that is no power of two
# float32 carries 7 digits, and sums in another order differ in the last of them: by up to 2e-6 in the
# probabilities of 500 scribbles. A wrong layer is off by hundredths.
TOLERANCE: Final = 1e-5
SCRIBBLE_COUNT: Final = 200  # identify a network: eight bits differ by 0.003, another seed's network by 0.05
ROUNDED_SAMPLE: Final = 1000  # pictures on which eight bits are compared with thirty-two
ROUNDED_TOLERANCE: Final = 0.01  # of their outputs, on average; of the committed network it is 0.0003


def verify_equal(model: keras.Model, onnx_bytes: bytes) -> None:
    """Raise ExportError unless the service can load the file and reads scribbles as Keras does."""
    try:
        classifier = Classifier.load(onnx_bytes)
    except InvalidModel as error:
        msg = f"The exported file can't be served: {error.detail}."
        raise ExportError(msg) from error
    rng = np.random.default_rng(0)
    for size in PARITY_BATCHES:
        batch = _draw_scribbles(size, rng)
        expected = [keras.ops.convert_to_numpy(output) for output in compute_outputs(model, batch)]
        actual = [output for output in classifier.classify(batch) if output is not None]
        difference = max(
            float(np.abs(one - other).max()) for one, other in zip(actual, expected, strict=True)
        )
        if not difference <= TOLERANCE:
            between = f"At batch size {size} ONNX differs from Keras by {difference:.2g}"
            msg = f"{between}, the tolerance is {TOLERANCE:g}."
            raise ExportError(msg)


def verify_rounding(onnx_bytes: bytes, rounded_bytes: bytes, pictures: DigitBatch) -> None:
    """Raise ExportError if a network in eight bits reads `pictures` differently from the one in 32."""
    sample = pictures[-ROUNDED_SAMPLE:]
    both = (Classifier.load(file).classify(sample) for file in (onnx_bytes, rounded_bytes))
    for one, other in zip(*both, strict=True):
        apart = 0.0 if one is None else float(np.abs(one - other).mean())
        if apart > ROUNDED_TOLERANCE:
            difference = f"In eight bits the network differs by {apart:.2g} on average"
            msg = f"{difference}, the tolerance is {ROUNDED_TOLERANCE:g}."
            raise ExportError(msg)


def verify_same(model: keras.Model, classifier: Classifier) -> None:
    """Raise ExportError unless Keras and a file that was exported earlier are the same network."""
    batch = _draw_scribbles(SCRIBBLE_COUNT, np.random.default_rng(0))
    expected = keras.ops.convert_to_numpy(compute_outputs(model, batch)[0])
    difference = float(np.abs(classifier.classify(batch).probabilities - expected).mean())
    if not difference <= ROUNDED_TOLERANCE:
        files = f"{classifier.name}'s {KERAS_FILE} and {MODEL_FILE}"
        remedy = f"`python -m training export {classifier.name}` writes both"
        msg = f"{files} are different networks, {difference:.2g} apart: {remedy}."
        raise ExportError(msg)


def _draw_scribbles(count: int, rng: np.random.Generator) -> DigitBatch:
    """Draw bent lines as long and as bold as a digit's: no network ever sees noise."""
    pictures = np.zeros((count, SIDE, SIDE), np.uint8)
    for picture in pictures:
        points = rng.integers(4, SIDE - 4, (5, 2), np.int32)
        cv2.polylines(picture, [points], isClosed=False, color=255, thickness=2, lineType=cv2.LINE_AA)
    return pictures
