"""The outputs of a model: which there are, which are wanted, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.api.v2.schemas import InferRequest, TensorInfo
from app.api.v2.tensors import Output, Values
from app.digits.classifier import Classifier, Scores
from app.digits.contract import CLASSES, DIGIT_LIKELIHOOD, PROBABILITIES, Probabilities
from app.wire.problems import MalformedRequest

DIGIT: Final = "digit"
OUTPUTS: Final[Mapping[str, TensorInfo]] = {
    info.name: info
    for info in (
        TensorInfo(name=PROBABILITIES, datatype="FP32", shape=[-1, CLASSES]),
        TensorInfo(name=DIGIT, datatype="INT64", shape=[-1]),
        TensorInfo(name=DIGIT_LIKELIHOOD, datatype="FP32", shape=[-1]),
    )
}


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """An output that a request wants, and how."""

    name: str
    binary: bool
    classes: int | None  # how many, where classes are wanted instead of the values


def list_outputs(classifier: Classifier) -> list[str]:
    """Return the names of the outputs that a model has."""
    return [name for name in OUTPUTS if name == DIGIT or name in classifier.outputs]


def select_outputs(request: InferRequest, classifier: Classifier) -> list[OutputRequest]:
    """Return what a request wants, in its order: all outputs, if it names none.

    Raises:
        MalformedRequest: an output does not exist, is wanted twice, or is not what has classes.
    """
    available = list_outputs(classifier)
    binary = request.parameters.binary_data_output
    if not request.outputs:
        return [OutputRequest(name, binary, None) for name in available]
    selected: dict[str, OutputRequest] = {}
    for output in request.outputs:
        parameters, name = output.parameters, output.name
        if name not in available or name in selected:
            why = (
                "is asked for twice"
                if name in selected
                else f"does not exist; there are {', '.join(available)}"
            )
            msg = f"The output {name[:64]!r} of {classifier.name!r} {why}."
            raise MalformedRequest(msg)
        if parameters.classification and name != PROBABILITIES:
            msg = f"The output {name!r} has no classes. Ask for 'classification' of {PROBABILITIES!r}."
            raise MalformedRequest(msg)
        as_binary = binary if parameters.binary_data is None else parameters.binary_data
        selected[name] = OutputRequest(name, as_binary, parameters.classification)
    return list(selected.values())


def select(scores: Scores, wanted: Sequence[OutputRequest]) -> list[Output]:
    """Return the wanted outputs."""
    values: dict[str, Values] = {
        PROBABILITIES: scores.probabilities,
        DIGIT: scores.probabilities.argmax(axis=1).astype(np.int64),
    }
    if scores.digit_likelihood is not None:
        values[DIGIT_LIKELIHOOD] = scores.digit_likelihood
    return [
        Output(one.name, "BYTES", _format_classes(scores.probabilities, one.classes), one.binary)
        if one.classes
        else Output(one.name, OUTPUTS[one.name].datatype, values[one.name], one.binary)
        for one in wanted
    ]


def _format_classes(probabilities: Probabilities, count: int) -> NDArray[np.str_]:  # (batch, count)
    """Return the most likely digits as Triton writes them, `probability:digit`; ten at most."""
    order = (-probabilities).argsort(axis=1, kind="stable")[:, :count]
    return np.array(
        [
            [f"{row[digit]:f}:{digit}" for digit in best]
            for row, best in zip(probabilities, order, strict=True)
        ]
    )
