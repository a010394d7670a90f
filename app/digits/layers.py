"""What the layers of a classifier make of a picture.

The ONNX file of a network does not return what its layers compute. In protobuf, a message followed by another
one is the two merged, so a few bytes after the file make inner arrays outputs of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .contract import INPUT, CanonicalPicture
from .network import open_session
from .protobuf import encode_field, parse_fields

if TYPE_CHECKING:
    from typing import Self

    import onnxruntime as ort

MAX_LAYERS: Final = 16
MAX_CHANNELS: Final = 32  # of a layer of feature maps
MAX_UNITS: Final = 1024  # of a layer without them
COLUMNS: Final = 8  # feature maps side by side
UNIT_COLUMNS: Final = 32  # units side by side
# field numbers in onnx/onnx.proto3
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_OUTPUT, _VALUE_NAME = 7, 1, 12, 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_CONVOLUTION, _ACTIVATION = b"Conv", b"Relu"
# what turns a layer's output into what the next layer reads; in a quantised network also the ReLU
_CONTINUATIONS: Final = frozenset({_ACTIVATION, b"QuantizeLinear", b"DequantizeLinear"})
_FEATURE_MAPS: Final = 4  # dimensions: batch, channels, height, width
_UNITS: Final = 2  # dimensions: batch, units


class Layer(NamedTuple):
    """What a layer makes of a picture."""

    name: str  # conv1, conv2, …, dense1, …
    shape: Sequence[int]  # channels, height, width; or units
    columns: int  # feature maps, or units, side by side in the mosaic
    # uint8: the layer's feature maps row by row, or one pixel for each unit; its largest value is 255
    mosaic: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LayerReader:
    """A network that returns what its layers compute. Safe to share between threads."""

    arrays: Sequence[str]  # names of the layers' outputs
    session: ort.InferenceSession

    @classmethod
    def load(cls, onnx: bytes) -> Self:
        """Open a network's file a second time, with its layers as outputs.

        Raises:
            InvalidModel: onnxruntime can't load it.
        """
        arrays = find_layers(onnx)
        return cls([array.decode() for array in arrays], open_session(expose(onnx, arrays)))

    def read(self, picture: CanonicalPicture) -> list[Layer]:
        """Return what each layer makes of a picture, from the first to the last."""
        outputs = self.session.run(self.arrays, {INPUT: picture[None]}) if self.arrays else []
        return list(_name_layers(outputs))


def find_layers(onnx: bytes) -> list[bytes]:
    """Return the names of the first arrays that convolutions and ReLUs compute, in the graph's order.

    Raises:
        ValueError: the bytes are not protobuf.
    """
    found: list[bytes] = []
    for operator, source, target in _parse_nodes(onnx):
        if operator in _CONTINUATIONS and source in found:
            found[found.index(source)] = target
        elif operator in {_CONVOLUTION, _ACTIVATION}:
            found.append(target)
    return found[:MAX_LAYERS]


def expose(onnx: bytes, arrays: Sequence[bytes]) -> bytes:
    """Return the file of a network in which these arrays are outputs, too."""
    outputs = [encode_field(_GRAPH_OUTPUT, encode_field(_VALUE_NAME, array)) for array in arrays]
    return onnx + encode_field(_MODEL_GRAPH, b"".join(outputs))


def _parse_nodes(onnx: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield operator, first input and first output of each node."""
    for graph in _select(memoryview(onnx), _MODEL_GRAPH):
        for node in _select(graph, _GRAPH_NODE):
            fields: dict[int, bytes] = {}
            for number, value in parse_fields(node):
                if isinstance(value, memoryview):
                    fields.setdefault(number, bytes(value))
            yield (
                fields.get(_NODE_OPERATOR, b""),
                fields.get(_NODE_INPUT, b""),
                fields.get(_NODE_OUTPUT, b""),
            )


def _select(message: memoryview, number: int) -> Iterator[memoryview]:
    for field_number, value in parse_fields(message):
        if field_number == number and isinstance(value, memoryview):
            yield value


def _name_layers(outputs: Sequence[Any]) -> Iterator[Layer]:
    names = {_FEATURE_MAPS: "conv", _UNITS: "dense"}
    counts = dict.fromkeys(names, 0)
    for output in outputs:
        if output.ndim in names:
            counts[output.ndim] += 1
            build = _show_feature_maps if output.ndim == _FEATURE_MAPS else _show_units
            yield build(f"{names[output.ndim]}{counts[output.ndim]}", output[0])


def _show_feature_maps(name: str, maps: NDArray[np.float32]) -> Layer:
    _, height, width = maps.shape
    shown = _normalise(maps[:MAX_CHANNELS])
    rows = ceil(len(shown) / COLUMNS)
    grid = np.zeros((rows * COLUMNS, height, width), np.uint8)
    grid[: len(shown)] = shown
    mosaic = grid.reshape(rows, COLUMNS, height, width).swapaxes(1, 2)
    return Layer(name, maps.shape, COLUMNS, mosaic.reshape(rows * height, COLUMNS * width))


def _show_units(name: str, units: NDArray[np.float32]) -> Layer:
    shown = _normalise(units[:MAX_UNITS])
    rows = ceil(len(shown) / UNIT_COLUMNS)
    mosaic = np.zeros(rows * UNIT_COLUMNS, np.uint8)
    mosaic[: len(shown)] = shown
    return Layer(name, units.shape, UNIT_COLUMNS, mosaic.reshape(rows, UNIT_COLUMNS))


def _normalise(activations: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale activations so that the largest is 255; negative ones are 0, as after a ReLU."""
    positive = np.maximum(activations, 0)
    largest = float(positive.max(initial=0)) or 1.0
    return np.asarray(np.rint(positive / largest * 255), np.uint8)
