"""ONNX files of every kind: check that one is complete and made for this service, and open it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from .contract import CLASSIFIER, CONTRACT_VERSIONS, INPUT, Metadata
from .errors import InvalidModel
from .external import has_external_data
from .process import set_up_process

if TYPE_CHECKING:
    from typing import Self

    import onnxruntime as ort

Arrays: TypeAlias = Mapping[str, tuple[str, Sequence[int | str]]]  # name → onnxruntime's dtype, and shape


@dataclass(frozen=True, slots=True)
class Network:
    """An ONNX file that has been opened; a subclass for each kind. Safe to share between threads."""

    name: str
    recipe_version: str
    kind: str
    sha256: str
    metadata: Mapping[str, str]
    inputs: Arrays
    outputs: Arrays
    session: ort.InferenceSession = field(repr=False)

    @classmethod
    def load(cls, onnx: bytes) -> Self:
        """Open an ONNX file's bytes.

        Raises:
            InvalidModel: the bytes are not a complete ONNX model, or its names, dtypes, shapes or contract
                version differ from those in `app.digits.contract`.
        """
        _check_self_contained(onnx)
        session = open_session(onnx)
        metadata = dict(session.get_modelmeta().custom_metadata_map)
        _check_metadata(metadata)
        return cls(
            name=metadata[Metadata.NAME],
            recipe_version=metadata[Metadata.VERSION],
            kind=metadata.get(Metadata.KIND, CLASSIFIER),
            sha256=hashlib.sha256(onnx).hexdigest(),
            metadata=metadata,
            inputs={node.name: (node.type, node.shape) for node in session.get_inputs()},
            outputs={node.name: (node.type, node.shape) for node in session.get_outputs()},
            session=session,
        )

    def as_kind(self, kind: type[Kind]) -> Kind:
        """Return the same file as a network of another class, which checks it."""
        return kind(**{member.name: getattr(self, member.name) for member in dataclasses.fields(self)})

    def check_arrays(self, inputs: Arrays, *outputs: Arrays) -> None:
        """Check that the network has these inputs, and one of these sets of outputs.

        Raises:
            InvalidModel: it has others.
        """
        if self.inputs != inputs:
            msg = f"its inputs are {self.inputs}, the contract's are {inputs}"
            raise InvalidModel(msg)
        if self.outputs not in outputs:
            expected = " or ".join(map(str, outputs))
            msg = f"its outputs are {self.outputs}, the contract's are {expected}"
            raise InvalidModel(msg)

    def run(self, outputs: Sequence[str], pictures: NDArray[np.uint8]) -> list[Any]:
        """Return these outputs for a batch of pictures."""
        arrays: list[Any] = self.session.run(outputs, {INPUT: pictures})
        return arrays


Kind = TypeVar("Kind", bound=Network)


def _check_self_contained(onnx: bytes) -> None:
    try:
        external = has_external_data(onnx)
    except ValueError as error:
        msg = f"onnxruntime can't load it as an ONNX model (it is not protobuf: {error})"
        raise InvalidModel(msg) from error
    if external:
        msg = (
            "it keeps data in other files, which its hash does not cover; save it as one file, "
            "with onnx.save(model, file, save_as_external_data=False)"
        )
        raise InvalidModel(msg)


def open_session(onnx: bytes) -> ort.InferenceSession:
    """Return a session of an ONNX file's bytes, on one thread.

    Raises:
        InvalidModel: onnxruntime can't load them.
    """
    set_up_process()
    import onnxruntime as ort  # noqa: PLC0415  reads the environment that `set_up_process` has set
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # noqa: PLC0415

    load_errors = (
        ort_errors.Fail,
        ort_errors.InvalidArgument,
        ort_errors.InvalidGraph,
        ort_errors.InvalidProtobuf,
        ort_errors.NotImplemented,
        ort_errors.RuntimeException,
    )
    options = ort.SessionOptions()
    # One thread a session: the networks are small, and two threads that spin on a busy two-core
    # machine gave a 99th percentile of up to 138 ms (measured November 2026, onnxruntime 1.31).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # otherwise onnxruntime might recognise another format, which `_check_self_contained` can't parse
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.enable_cpu_mem_arena = False  # costs nothing at this size and keeps memory flat
    options.log_severity_level = 4  # fatal: the exception says what it would print about a bad file
    try:
        session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except load_errors as error:
        reason = str(error).splitlines()[0]
        msg = f"onnxruntime can't load it as an ONNX model ({reason})"
        raise InvalidModel(msg) from error
    session.disable_fallback()  # to other providers, for which it would keep the file in memory
    session._model_bytes = None  # noqa: SLF001
    return session


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key in (Metadata.CONTRACT_VERSION, Metadata.NAME, Metadata.VERSION):
        if key not in metadata:
            msg = f"its metadata lacks {key!r}; export it with `python -m training export`"
            raise InvalidModel(msg)
    version = metadata[Metadata.CONTRACT_VERSION]
    expected = CONTRACT_VERSIONS.get(metadata.get(Metadata.KIND, CLASSIFIER), CONTRACT_VERSIONS[CLASSIFIER])
    if version != str(expected):
        msg = (
            f"it was exported for version {version} of the contract, but this service needs version "
            f"{expected}; train and export it again"
        )
        raise InvalidModel(msg)
