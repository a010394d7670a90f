"""Compares a Keras model with its ONNX file, loaded as the service loads it."""

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

KERAS_FILE: Final = "model.keras"  # beside the ONNX file; container images leave it out
PARITY_BATCH_SIZES: Final = (1, 7)  # a single picture, and a batch that is no power of two
# float32 has 7 digits, and sums in another order differ in the last one: the probabilities of 500 scribbles
# differed by up to 2e-6. A wrong layer makes a difference of hundredths.
TOLERANCE: Final = 1e-5
SCRIBBLE_COUNT: Final = (
    200  # enough: on average, eight bits differ by 0.003, a network of another seed by 0.05
)
QUANTISED_SAMPLE_SIZE: Final = 1000  # pictures on which eight bits are compared with 32
QUANTISED_TOLERANCE: Final = 0.01  # mean difference of the outputs; the committed network's is 0.0003


def verify_equal(model: keras.Model, onnx_bytes: bytes) -> None:
    """Raise ExportError unless the service can load the file and gives the same answers as Keras."""
    try:
        classifier = Classifier.load(onnx_bytes)
    except InvalidModel as error:
        msg = f"The exported file can't be served: {error.detail}."
        raise ExportError(msg) from error
    rng = np.random.default_rng(0)
    for size in PARITY_BATCH_SIZES:
        batch = _draw_scribbles(size, rng)
        expected = [keras.ops.convert_to_numpy(output) for output in compute_outputs(model, batch)]
        actual = [output for output in classifier.classify(batch) if output is not None]
        difference = max(
            float(np.abs(one - other).max()) for one, other in zip(actual, expected, strict=True)
        )
        if not difference <= TOLERANCE:
            problem = f"At batch size {size}, ONNX differs from Keras by {difference:.2g}"
            msg = f"{problem}; the tolerance is {TOLERANCE:g}."
            raise ExportError(msg)


def verify_quantised(onnx_bytes: bytes, quantised_bytes: bytes, pictures: DigitBatch) -> None:
    """Raise ExportError if a network reads `pictures` differently in eight bits than in 32."""
    sample = pictures[-QUANTISED_SAMPLE_SIZE:]
    scores = (Classifier.load(file).classify(sample) for file in (onnx_bytes, quantised_bytes))
    for output, quantised in zip(*scores, strict=True):
        difference = 0.0 if output is None else float(np.abs(output - quantised).mean())
        if difference > QUANTISED_TOLERANCE:
            problem = f"Quantised to int8, the network's outputs differ by {difference:.2g} on average"
            msg = f"{problem}; the tolerance is {QUANTISED_TOLERANCE:g}."
            raise ExportError(msg)


def verify_same(model: keras.Model, classifier: Classifier) -> None:
    """Raise ExportError unless a Keras model and an ONNX file exported earlier are the same network."""
    batch = _draw_scribbles(SCRIBBLE_COUNT, np.random.default_rng(0))
    expected = keras.ops.convert_to_numpy(compute_outputs(model, batch)[0])
    difference = float(np.abs(classifier.classify(batch).probabilities - expected).mean())
    if not difference <= QUANTISED_TOLERANCE:
        files = f"{classifier.name}'s {KERAS_FILE} and {MODEL_FILE}"
        remedy = f"`python -m training export {classifier.name}` writes both"
        msg = f"{files} are different networks, their outputs differ by {difference:.2g}: {remedy}."
        raise ExportError(msg)


def _draw_scribbles(count: int, rng: np.random.Generator) -> DigitBatch:
    """Draw polylines as long and as bold as a digit's strokes: networks are never asked to read noise."""
    pictures = np.zeros((count, SIDE, SIDE), np.uint8)
    for picture in pictures:
        points = rng.integers(4, SIDE - 4, (5, 2), np.int32)
        cv2.polylines(picture, [points], isClosed=False, color=255, thickness=2, lineType=cv2.LINE_AA)
    return pictures
