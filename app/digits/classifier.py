"""A network: check that it conforms to the contract, load it, warm it up, run it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from app.digits.contract import (
    BATCH,
    CLASSES,
    CONTRACT_VERSION,
    DIGIT_LIKELIHOOD,
    INPUT,
    PROBABILITIES,
    SIDE,
    DigitBatch,
    Likelihoods,
    Metadata,
    Probabilities,
)
from app.digits.errors import InvalidModel
from app.digits.external import has_external_data
from app.digits.process import set_up_process

if TYPE_CHECKING:
    import onnxruntime as ort

_INPUTS: Final = {INPUT: ("tensor(uint8)", [BATCH, SIDE, SIDE])}
_OUTPUTS: Final = {PROBABILITIES: ("tensor(float)", [BATCH, CLASSES])}
_OPTIONAL_OUTPUTS: Final = {DIGIT_LIKELIHOOD: ("tensor(float)", [BATCH])}
_SUM_TOLERANCE: Final = 1e-4  # float32 softmax over 10 classes is within 1e-6


class Scores(NamedTuple):
    """What a network returns for a batch."""

    probabilities: Probabilities  # float32 (batch, 10), each row sums to 1
    digit_likelihood: Likelihoods | None  # float32 (batch,), None if the network does not estimate it


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network that conforms to the contract. Safe to share between threads."""

    name: str
    recipe_version: str
    sha256: str
    metadata: Mapping[str, str]
    outputs: tuple[str, ...]
    _output_names: tuple[str, ...]  # outputs in the order of `Scores`
    _session: ort.InferenceSession = field(repr=False)

    @classmethod
    def load(cls, onnx: bytes) -> Classifier:
        """Load an ONNX file's bytes and run it once, so that the first picture is as fast as the rest.

        Raises:
            InvalidModel: the bytes are not a complete ONNX model, or its names, dtypes, shapes or contract
                version differ from those in `app.digits.contract`.
        """
        _check_self_contained(onnx)
        session = _open_session(onnx)
        metadata = dict(session.get_modelmeta().custom_metadata_map)
        _check_metadata(metadata)
        _check_arrays(session)
        outputs = tuple(output.name for output in session.get_outputs())
        model = cls(
            name=metadata[Metadata.NAME],
            recipe_version=metadata[Metadata.VERSION],
            sha256=hashlib.sha256(onnx).hexdigest(),
            metadata=metadata,
            outputs=outputs,
            _output_names=tuple(name for name in (PROBABILITIES, DIGIT_LIKELIHOOD) if name in outputs),
            _session=session,
        )
        _check_sums(model.classify(np.zeros((2, SIDE, SIDE), np.uint8)))
        return model

    def classify(self, batch: DigitBatch) -> Scores:
        """Run the network on `batch`, uint8 (batch, 28, 28), ink 255 on 0."""
        probabilities, *likelihood = self._session.run(self._output_names, {INPUT: batch})
        return Scores(probabilities, likelihood[0] if likelihood else None)


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


def _open_session(onnx: bytes) -> ort.InferenceSession:
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
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except load_errors as error:
        reason = str(error).splitlines()[0]
        msg = f"onnxruntime can't load it as an ONNX model ({reason})"
        raise InvalidModel(msg) from error


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key in (Metadata.CONTRACT_VERSION, Metadata.NAME, Metadata.VERSION):
        if key not in metadata:
            msg = f"its metadata lacks {key!r}; export it with `python -m training export`"
            raise InvalidModel(msg)
    version = metadata[Metadata.CONTRACT_VERSION]
    if version != str(CONTRACT_VERSION):
        msg = (
            f"it was exported for version {version} of the contract, but this service needs version "
            f"{CONTRACT_VERSION}; train and export it again"
        )
        raise InvalidModel(msg)


def _check_arrays(session: ort.InferenceSession) -> None:
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    if inputs != _INPUTS:
        msg = f"its inputs are {inputs}, the contract's are {_INPUTS}"
        raise InvalidModel(msg)
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    if outputs not in (_OUTPUTS, _OUTPUTS | _OPTIONAL_OUTPUTS):
        msg = f"its outputs are {outputs}, the contract's are {_OUTPUTS} and optionally {_OPTIONAL_OUTPUTS}"
        raise InvalidModel(msg)


def _check_sums(scores: Scores) -> None:
    largest_error = float(np.abs(scores.probabilities.sum(axis=1) - 1).max())
    if not largest_error <= _SUM_TOLERANCE:  # catches NaN, too
        msg = f"its probabilities do not sum to 1 (off by {largest_error}); softmax belongs in the graph"
        raise InvalidModel(msg)
