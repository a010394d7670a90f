"""`ModelInfer`: tensors in, tensors out, as messages."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from starlette.requests import Request

from ..api.reader import DigitReader
from ..api.v2 import tensors
from ..api.v2.infer import compute_outputs
from ..api.v2.schemas import InferRequest, InputTensor
from ..api.v2.server import find_model
from ..api.v2.tensors import Inference
from ..state import get_state
from ..wire.problems import MalformedRequest
from ..wire.scope import get_client
from .bodies import read_message
from .messages import CLASSES, Message, build_invalid, read_parameters

_CONTENTS: Final = {"image": "uint_contents", "picture": "bytes_contents"}


async def infer(request: Request) -> Message:
    """Read the digits in canonical pictures (`image`) or in encoded ones (`picture`)."""
    state = get_state(request)
    state.places.check(1, get_client(request.scope))  # before the message is received
    message, unpacked_bytes = await read_message(
        request, "ModelInferRequest", max_pictures=state.settings.max_batch
    )
    reader = DigitReader(request, find_model(request, message.model_name, message.model_version or None))
    reader.publish_stages()
    with reader.stages.time_stage("decode"):
        inference = _read_inference(message, max_pictures=state.settings.max_batch)
    outputs = await compute_outputs(inference, reader, unpacked_bytes=unpacked_bytes)
    model, number = reader.model.version
    return CLASSES["ModelInferResponse"](
        model_name=model,
        model_version=str(number),
        id=message.id,
        outputs=[
            {"name": output.name, "datatype": output.datatype, "shape": output.values.shape}
            for output in outputs
        ],
        raw_output_contents=map(tensors.encode_output, outputs),
    )


def _read_inference(message: Message, *, max_pictures: int) -> Inference:
    """Return the request that a message makes, and its pictures.

    Raises:
        DigitsError: see `tensors.read_pictures`.
    """
    try:
        request = InferRequest.model_validate(_build_request(message))
    except ValidationError as error:
        raise build_invalid(error) from None
    tensor = tensors.get_input(request)
    data = _choose_data(message, tensor)
    return Inference(request, tensors.read_pictures(tensor, data, max_pictures=max_pictures))


def _build_request(message: Message) -> dict[str, Any]:
    """Return what the JSON of a request to /v2 would hold, without the data."""
    return {
        "id": message.id,
        "inputs": [
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            for tensor in message.inputs
        ],
        "outputs": [
            {"name": output.name, "parameters": dict(read_parameters(output.parameters))}
            for output in message.outputs
        ],
    }


def _choose_data(message: Message, tensor: InputTensor) -> bytes | list[Any]:
    """Return the data of a request's only input, from `raw_input_contents` or from its `contents`."""
    field, raw = _CONTENTS[tensor.name], message.raw_input_contents
    values = list(getattr(message.inputs[0].contents, field))
    if len(raw) + bool(values) != 1:
        has = f"{len(raw)} 'raw_input_contents' and {len(values)} values in {field!r}"
        msg = f"The message has {has} for input {tensor.name!r}. Send one of them."
        raise MalformedRequest(msg)
    return raw[0] if raw else values
