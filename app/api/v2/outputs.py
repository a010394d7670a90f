"""The outputs of a model: which ones exist, which ones a request asks for, and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...digits.classifier import Classifier, Scores
from ...digits.contract import CLASSES, DIGIT_LIKELIHOOD, PROBABILITIES, Probabilities
from ...wire.problems import MalformedRequest
from .schemas import InferRequest, RequestedOutput, TensorInfo
from .tensors import Output, Values

DIGIT: Final = "digit"
OUTPUTS: Final[Mapping[str, TensorInfo]] = {
    PROBABILITIES: TensorInfo(name=PROBABILITIES, datatype="FP32", shape=[-1, CLASSES]),
    DIGIT: TensorInfo(name=DIGIT, datatype="INT64", shape=[-1]),
    DIGIT_LIKELIHOOD: TensorInfo(name=DIGIT_LIKELIHOOD, datatype="FP32", shape=[-1]),
}


def list_outputs(classifier: Classifier) -> list[str]:
    """Return the names of a model's outputs."""
    return [name for name in OUTPUTS if name == DIGIT or name in classifier.outputs]


def select_outputs(request: InferRequest, classifier: Classifier) -> Sequence[RequestedOutput]:
    """Return the outputs that a request asks for, in its order; all of them if it names none.

    Raises:
        MalformedRequest: an output does not exist, is requested twice, or has none of the classes requested.
    """
    available = list_outputs(classifier)
    seen: set[str] = set()
    for output in request.outputs:
        name, quoted = output.name, f"The output {output.name[:64]!r} of {classifier.name!r}"
        if name not in available:
            msg = f"{quoted} does not exist. The outputs are {', '.join(available)}."
            raise MalformedRequest(msg)
        if name in seen:
            msg = f"{quoted} is asked for twice."
            raise MalformedRequest(msg)
        if output.parameters.classification and name != PROBABILITIES:
            msg = f"The output {name!r} has no classes. Ask for 'classification' of {PROBABILITIES!r}."
            raise MalformedRequest(msg)
        seen.add(name)
    return request.outputs or [RequestedOutput(name=name) for name in available]


def build_outputs(scores: Scores, requested: Sequence[RequestedOutput], *, binary: bool) -> list[Output]:
    """Return the requested outputs; `binary` applies to those that do not say whether they are binary."""
    values: dict[str, Values] = {
        PROBABILITIES: scores.probabilities,
        DIGIT: scores.probabilities.argmax(axis=1).astype(np.int64),
    }
    if scores.digit_likelihood is not None:
        values[DIGIT_LIKELIHOOD] = scores.digit_likelihood
    outputs = []
    for name, parameters in ((output.name, output.parameters) for output in requested):
        as_binary = binary if parameters.binary_data is None else parameters.binary_data
        if parameters.classification:
            classes = _format_classes(scores.probabilities, parameters.classification)
            outputs.append(Output(name, "BYTES", classes, as_binary))
        else:
            outputs.append(Output(name, OUTPUTS[name].datatype, values[name], as_binary))
    return outputs


def _format_classes(probabilities: Probabilities, count: int) -> NDArray[np.str_]:  # (batch, count)
    """Return the most likely digits as Triton writes them, `probability:digit`; ten at most."""
    order = (-probabilities).argsort(axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[digit]:f}:{digit}" for digit in digits]
        for row, digits in zip(probabilities, order, strict=True)
    ]
    return np.array(texts)
