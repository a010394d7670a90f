"""A model that leaves numbers in other files is refused, wherever in the graph it does so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from app.digits.errors import InvalidModel
from app.digits.external import has_external_data
from tests.conftest import MODELS
from tests.tiny import GOOD, build_tiny_model

Path_ = Sequence[FieldDescriptor]
TINY = build_tiny_model()


def move_to_external_file(tensor: TensorProto, location: str = "weights.bin") -> None:
    """Say that a tensor's data lies in a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def list_tensor_paths(message: Descriptor, above: Path_ = ()) -> Iterator[Path_]:
    """Yield the fields that lead to a tensor; each message is entered once on the way."""
    entered = {message, *(field.containing_type for field in above)}
    for field in message.fields:
        if field.message_type is TensorProto.DESCRIPTOR:
            yield [*above, field]
        elif field.message_type is not None and field.message_type not in entered:
            yield from list_tensor_paths(field.message_type, [*above, field])


PATHS = list(list_tensor_paths(ModelProto.DESCRIPTOR))


def build_model_with(path: Path_) -> tuple[ModelProto, TensorProto]:
    """Return the tiny model with one more tensor at the end of a path, and that tensor."""
    model = onnx.load_from_string(TINY)
    message = model
    for field in path:
        value = getattr(message, field.name)
        message = value.add() if field.is_repeated else value
    message.name = "found"
    return model, message


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(field.name for field in path))
def test_external_data_is_detected_wherever_onnx_allows_tensors(path: Path_) -> None:
    model, tensor = build_model_with(path)
    tensor.raw_data = b"1234"
    assert not has_external_data(model.SerializeToString())
    move_to_external_file(tensor)
    assert has_external_data(model.SerializeToString())
    with pytest.raises(InvalidModel, match="keeps data in other files, which its hash does not cover"):
        Classifier.load(model.SerializeToString())


def test_the_paths_to_tensors_cover_all_that_onnx_defines() -> None:
    names = {".".join(field.name for field in path) for path in PATHS}
    assert {"graph.initializer", "graph.sparse_initializer.values", "graph.node.attribute.t"} <= names
    assert {"functions.node.attribute.g.initializer", "training_info.algorithm.initializer"} <= names


def test_subgraphs_are_searched_at_any_depth() -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "deep")
    move_to_external_file(tensor)
    graph = helper.make_graph([], "innermost", [], [], [tensor])
    for depth in range(25):
        node = helper.make_node("If", ["condition"], ["out"], then_branch=graph)
        graph = helper.make_graph([node], f"level {depth}", [], [])
    model = onnx.load_from_string(TINY)
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=graph))
    assert has_external_data(model.SerializeToString())


@pytest.mark.parametrize(
    "piece", [b"\x70\x01", b"\x70\x81\x80\x80\x80\x10", b"\x6a\x00", b"\xf0\x80\x00\x01"]
)
def test_unusual_encodings_are_understood(piece: bytes) -> None:
    """A location in more bytes than it needs, or an entry without a key, after all that the tensor has."""
    tensor = onnx.load_from_string(TINY).graph.initializer[0].SerializeToString() + piece
    graph = b"\x2a" + encode_varint(len(tensor)) + tensor
    assert has_external_data(
        TINY + b"\x3a" + encode_varint(len(graph)) + graph
    )  # a second graph: the two are merged


def encode_varint(number: int) -> bytes:
    pieces = [number >> shift & 0x7F for shift in range(0, 35, 7)]
    while len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
    return bytes([*(piece | 0x80 for piece in pieces[:-1]), pieces[-1]])


def test_onnxruntime_itself_reads_the_external_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is why this is looked for; where it refuses such models itself, that is not needed any more."""
    model = onnx.load_from_string(TINY)
    (tmp_path / "weights.bin").write_bytes(model.graph.initializer[0].raw_data)
    move_to_external_file(model.graph.initializer[0])
    monkeypatch.chdir(tmp_path)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 28, 28), np.uint8)})
    with pytest.raises(InvalidModel, match="keeps data in other files"):
        Classifier.load(model.SerializeToString())


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/dev/zero", "*/_ORT_MEM_ADDR_/*", ""])
def test_a_catalogue_refuses_a_model_with_external_data_at_any_location(
    tmp_path: Path, location: str
) -> None:
    model = onnx.load_from_string(TINY)
    helper.set_model_props(model, GOOD | {Metadata.NAME: "tiny"})
    move_to_external_file(model.graph.initializer[1], location)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match=r"tiny/model\.onnx can't be served: it keeps data in other files"):
        Catalogue.load(tmp_path, default="tiny")


def test_a_model_that_onnx_saved_with_external_data_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(onnx.load_from_string(TINY), file, save_as_external_data=True, size_threshold=0)
    with pytest.raises(InvalidModel, match="keeps data in other files"):
        Classifier.load(file.read_bytes())


@pytest.mark.parametrize("name", ["cnn", "linear", "mlp-128", "mlp-1000"])
def test_the_models_of_this_repository_are_self_contained(name: str) -> None:
    assert not has_external_data((MODELS / name / "model.onnx").read_bytes())


def test_onnxruntimes_own_format_is_refused(tmp_path: Path) -> None:
    """It is not protobuf, so nothing is known of what is in it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "tiny.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    ort.InferenceSession(TINY, options, providers=["CPUExecutionProvider"])
    with pytest.raises(InvalidModel, match="can't load it as an ONNX model"):
        Classifier.load((tmp_path / "tiny.ort").read_bytes())


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused(garbage: bytes) -> None:
    for onnx_bytes in (garbage, TINY + garbage):
        try:
            has_external_data(onnx_bytes)
        except ValueError:
            continue


@pytest.mark.parametrize("end", [1, 10, 200, -40, -1])
def test_a_truncated_file_is_refused(end: int) -> None:
    with pytest.raises(InvalidModel, match="can't load it as an ONNX model"):
        Classifier.load(TINY[:end])
