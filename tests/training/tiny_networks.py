"""Tiny networks in folders, and pictures that they are known to read correctly or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from app.digits.contract import DigitBatch, Metadata
from tests.data.strokes import ink
from tests.tiny import GOOD, build_tiny_model
from training.data.labelled import Labelled
from training.judge.comparison import Sample

FACTS = GOOD | {Metadata.PARAMETERS: "7850", Metadata.MULTIPLY_ADDS: "7840"}
DRAWINGS = Labelled(
    np.stack([255 - ink(row % 10, (60, 60), box=(18, 8, 24, 44), pen=5) for row in range(20)]),
    np.arange(20, dtype=np.uint8) % 10,
)
# A tiny network counts bright pixels: here it reads 3, 3, 3, 4, 4, 0, 1. The confused one swaps 3 and 4.
COUNTS = (4, 4, 4, 5, 5, 1, 2)
TRUTH = (3, 3, 4, 3, 9, 0, 2)


def write_network(models: Path, *, name: str = "tiny", likelihood: float | None = None) -> Path:
    """Write a network as if it had been exported; return its folder."""
    (models / name).mkdir()
    file = build_tiny_model(metadata=FACTS | {Metadata.NAME: name}, likelihood=likelihood)
    (models / name / "model.onnx").write_bytes(file)
    return models / name


def write_versions(models: Path) -> None:
    """Write two versions of a network; the second swaps 3 and 4, and has a likelihood."""
    write_network(models)
    (models / "tiny" / "2").mkdir()
    facts = FACTS | {Metadata.VERSION: "0.0.2", Metadata.PARAMETERS: "8000"}
    file = confuse(build_tiny_model(metadata=facts, likelihood=0.25))
    (models / "tiny" / "2" / "model.onnx").write_bytes(file)


def confuse(file: bytes) -> bytes:
    """Return the network with the digits 3 and 4 swapped."""
    proto = onnx.load_from_string(file)
    for array in proto.graph.initializer:
        if array.name in {"weights", "bias"}:
            values = numpy_helper.to_array(array)[..., [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]]
            array.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), array.name))
    return bytes(proto.SerializeToString())


def draw_bright_pixels(*counts: int) -> DigitBatch:
    """Return pictures, each with the given number of bright pixels in the top row."""
    batch = np.zeros((len(counts), 28, 28), np.uint8)
    for picture, count in zip(batch, counts, strict=True):
        picture[0, :count] = 255
    return batch


def build_sample() -> Sample:
    """Return pictures of which each version reads some correctly."""
    sets = np.array(["photos"] * 3 + ["scans"] * 4)
    digits, others = draw_bright_pixels(*COUNTS), draw_bright_pixels(1, 2)
    return Sample("mine", digits, np.array(TRUTH, np.uint8), sets, others, unreadable=2)
