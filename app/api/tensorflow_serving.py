"""`/v1/models/{name}`: the REST API of TensorFlow Serving, for clients that exist.

Its names and shapes are those of https://www.tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from fastapi import APIRouter, Request, Response

from ..digits.catalogue import Model
from ..digits.contract import INPUT, PROBABILITIES, SIDE, DigitBatch
from ..digits.errors import UnknownModel, UnsuitableModel
from ..state import get_state
from ..wire.problems import BatchTooLarge, EmptyBatch, MalformedRequest
from . import base64_text, json_body, openapi, pixels, uploads
from .models import ModelPath
from .reader import DigitReader
from .schemas import (
    ModelSignature,
    ModelStatus,
    ModelVersionStatus,
    TensorOutputs,
    TensorPredictions,
    TensorRequest,
    VersionStatus,
)
from .v2.infer import classify, count_predictions
from .v2.server import VersionPath, find_model
from .v2.tensors import Pictures

BASE64: Final = "b64"  # the member of an object that stands for bytes
SIGNATURE: Final = "serving_default"
_DTYPES: Final = {"tensor(uint8)": "DT_UINT8", "tensor(float)": "DT_FLOAT"}  # by onnxruntime's names
SHAPES: Final = frozenset({(SIDE, SIDE), (SIDE, SIDE, 1), (SIDE * SIDE,)})  # of a canonical picture
EXPECTED: Final = (
    f"Send {SIDE}x{SIDE}, {SIDE}x{SIDE}x1 or {SIDE * SIDE} numbers, ink bright on dark, "
    f'or {{"{BASE64}": "…"}} with any picture'
)

router = APIRouter(prefix="/v1/models", tags=[openapi.V1_TAG])
_BODY: Final = openapi.describe_body(
    "The pictures, all of one kind: canonical pictures as numbers, or files in base64.",
    {"application/json": openapi.describe_model(TensorRequest)},
)
_PREDICT_RESPONSES: Final = openapi.describe_problems(
    *openapi.PICTURE_PROBLEMS, *openapi.BATCH_PROBLEMS, protocol=True
)
_STATUS_RESPONSES: Final = openapi.describe_problems(UnknownModel, protocol=True)
_METADATA_RESPONSES: Final = openapi.describe_problems(UnknownModel, UnsuitableModel, protocol=True)


class Instances(NamedTuple):
    """The pictures of a request, and the member that they are in: `instances` or `inputs`."""

    member: str
    pictures: DigitBatch | Pictures


# `:predict` comes first: the other paths would match it, too
@router.post(
    "/{name}:predict",
    openapi_extra=_BODY,
    response_model=TensorPredictions | TensorOutputs,
    responses=_PREDICT_RESPONSES,
)
async def tensor_predict(request: Request, name: ModelPath) -> Response:
    """Return the probabilities of the digits 0 to 9 for each picture."""
    return await _predict(request, find_model(request, name))


@router.post(
    "/{name}/versions/{version}:predict",
    openapi_extra=_BODY,
    response_model=TensorPredictions | TensorOutputs,
    responses=_PREDICT_RESPONSES,
)
async def tensor_predict_version(request: Request, name: ModelPath, version: VersionPath) -> Response:
    """Return the probabilities that this version of the model gives."""
    return await _predict(request, find_model(request, name, version))


@router.get("/{name}/metadata", responses=_METADATA_RESPONSES)
async def tensor_metadata(request: Request, name: ModelPath) -> ModelSignature:
    """Describe the input and the output of a model."""
    model = find_model(request, name)
    network = model.classifier
    signature = {
        "inputs": {INPUT: _describe_array(*network.inputs[INPUT])},
        "outputs": {PROBABILITIES: _describe_array(*network.outputs[PROBABILITIES])},
        "method_name": "tensorflow/serving/predict",
    }
    return ModelSignature(
        model_spec={"name": model.version.model, "signature_name": "", "version": str(model.version.number)},
        metadata={"signature_def": {"signature_def": {SIGNATURE: signature}}},
    )


def _describe_array(dtype: str, shape: Sequence[int | str]) -> dict[str, Any]:
    sizes = [str(size if isinstance(size, int) else -1) for size in shape]
    dimensions = [{"size": size, "name": ""} for size in sizes]
    return {"dtype": _DTYPES[dtype], "tensor_shape": {"dim": dimensions, "unknown_rank": False}}


@router.get("/{name}", responses=_STATUS_RESPONSES)
async def tensor_status(request: Request, name: ModelPath) -> ModelStatus:
    """Tell which versions of a model are loaded."""
    model = find_model(request, name)
    versions = [other.version for other in get_state(request).catalogue]
    return _build_status(number for other, number in versions if other == model.version.model)


@router.get("/{name}/versions/{version}", responses=_STATUS_RESPONSES)
async def tensor_version_status(request: Request, name: ModelPath, version: VersionPath) -> ModelStatus:
    """Tell that a version of a model is loaded."""
    return _build_status([find_model(request, name, version).version.number])


def _build_status(numbers: Iterable[int]) -> ModelStatus:
    states = [
        ModelVersionStatus(
            version=str(number),
            state="AVAILABLE",
            status=VersionStatus(error_code="OK", error_message=""),
        )
        for number in numbers
    ]
    return ModelStatus(model_version_status=states)


async def _predict(request: Request, model: Model) -> Response:
    reader = DigitReader(request, model)
    max_pictures = reader.state.settings.max_batch
    instances = await uploads.read_body(request, lambda body: _parse(body, max_pictures))
    return await answer_instances(reader, instances)


async def answer_instances(reader: DigitReader, instances: Instances) -> Response:
    """Return the response with the probabilities of several pictures.

    Raises:
        DigitsError: the error of the first picture that can't be read.
    """
    with reader.hold_places(len(instances.pictures)):
        scores = await classify(instances.pictures, reader, where=instances.member)
    count_predictions(scores, reader)
    probabilities = scores.probabilities.tolist()
    if instances.member == "inputs":
        return reader.respond(TensorOutputs(outputs=probabilities))
    return reader.respond(TensorPredictions(predictions=probabilities))


def _parse(body: bytes, max_pictures: int) -> Instances:
    try:
        request = json_body.parse(
            body,
            TensorRequest,
            max_values=max_pictures + json_body.MAX_VALUES,
            max_numbers=max_pictures * SIDE * SIDE,
        )
    except json_body.TooManyValues:
        raise _build_too_large(max_pictures) from None
    return read_instances(request, max_pictures)


def read_instances(request: TensorRequest, max_pictures: int) -> Instances:
    """Return the pictures of a request.

    Raises:
        MalformedRequest: they are neither canonical pictures nor files in base64.
        EmptyBatch, BatchTooLarge: there is no picture, or there are more than `max_pictures`.
    """
    member, values = _choose_member(request)
    if not values:
        msg = f"{member!r} has no pictures. Send at least one."
        raise EmptyBatch(msg)
    if len(values) > max_pictures:
        raise _build_too_large(max_pictures)
    values = [_strip_name(value) for value in values]
    if all(isinstance(value, dict) for value in values):
        files = [_decode_file(value, f"{member}[{index}]") for index, value in enumerate(values)]
        return Instances(member, files)
    return Instances(member, _read_canonical(values, member))


def _choose_member(request: TensorRequest) -> tuple[str, list[Any]]:
    if request.signature_name not in {"", SIGNATURE}:
        msg = f"There is no signature {request.signature_name[:64]!r}. Send {SIGNATURE!r}, or leave it out."
        raise MalformedRequest(msg)
    column = request.inputs
    if isinstance(column, dict) and list(column) == [INPUT]:
        column = column[INPUT]
    if (request.instances is None) == (column is None):
        msg = "Send either 'instances' or 'inputs'."
        raise MalformedRequest(msg)
    if request.instances is not None:
        return "instances", request.instances
    if not isinstance(column, list):
        msg = f"'inputs' is no list of pictures. Send them as {{\"inputs\": [picture, …]}}. {EXPECTED}."
        raise MalformedRequest(msg)
    return "inputs", column


def _strip_name(picture: object) -> object:
    """Return the value of an object that has the model's only input as its only member."""
    if isinstance(picture, dict) and list(picture) == [INPUT]:
        return picture[INPUT]
    return picture


def _decode_file(file: Any, where: str) -> bytes:  # noqa: ANN401  JSON
    text = file.get(BASE64)
    if not isinstance(text, str):
        msg = f"{where} is an object without a text {BASE64!r}. {EXPECTED}."
        raise MalformedRequest(msg)
    return base64_text.decode(text, where)


def _read_canonical(pictures: list[Any], member: str) -> DigitBatch:
    """Return canonical pictures, which have one scale, as they are one tensor."""
    rows = [_flatten(picture, f"{member}[{index}]") for index, picture in enumerate(pictures)]
    levels = pixels.scale_to_bytes(list(chain.from_iterable(rows)), lambda index: _locate(index, member))
    return np.frombuffer(levels, np.uint8).reshape(-1, SIDE, SIDE)


def _flatten(picture: object, where: str) -> list[Any]:
    """Return the numbers of one picture."""
    if not isinstance(picture, list):
        msg = f"{where} is not a list of numbers. {EXPECTED}; all pictures of a request in the same way."
        raise MalformedRequest(msg)
    values, shape = picture, [len(picture)]
    while set(map(type, values)) == {list} and len(set(map(len, values))) == 1:
        shape.append(len(values[0]))
        values = list(chain.from_iterable(values))
    if tuple(shape) in SHAPES:
        return values
    is_ragged = list in map(type, values)
    found = "rows of different lengths" if is_ragged else f"{'x'.join(map(str, shape))} numbers"
    msg = f"{where} has {found}. {EXPECTED}."
    raise MalformedRequest(msg)


def _locate(index: int, member: str) -> str:
    picture, pixel = divmod(index, SIDE * SIDE)
    return f"{member}[{picture}], row {pixel // SIDE}, column {pixel % SIDE}"


def _build_too_large(max_pictures: int) -> BatchTooLarge:
    msg = f"There are more than {max_pictures} pictures in the request. Send them in several requests."
    return BatchTooLarge(msg, limit=max_pictures)
