"""JSON of the Open Inference Protocol, with the names and shapes of its specification."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, FailFast, Field
from pydantic.json_schema import SkipJsonSchema

from ..schemas import RequestSchema, Schema, WholeNumber

MAX_ID: Final = 1024  # characters: an id is returned in the answer, and clients use counters or UUIDs


class ServerMetadata(Schema):
    """The server."""

    name: str
    version: str

    extensions: list[str]
    """Of the protocol, as Triton names them."""


class Live(Schema):
    """The event loop runs."""

    live: bool


class Ready(Schema):
    """The models are loaded and warm."""

    ready: bool


class ModelReady(Schema):
    """The model is loaded and warm."""

    name: str
    ready: bool


class TensorInfo(Schema):
    """A tensor; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Schema):
    """A model's inputs and outputs."""

    name: str

    versions: list[str]
    """The numbers of the loaded versions."""

    platform: str

    inputs: list[TensorInfo]
    """A request has exactly one of them. The finder and the line reader list their own input, but take no
    requests."""

    outputs: list[TensorInfo]


class InputParameters(RequestSchema):
    """Parameters of an input tensor; others are ignored."""

    binary_data_size: Annotated[int, Field(ge=0), WholeNumber] | None = None
    """How many bytes of this tensor's data follow the JSON, which then omits them."""


class InputTensor(RequestSchema):
    """The pictures: `image` or `picture`."""

    name: Literal["image", "picture"]

    shape: Annotated[list[Annotated[int, WholeNumber]], FailFast()]
    """[n, 28, 28] for `image`, [n] for `picture`."""

    datatype: str
    """UINT8 for `image`, BYTES for `picture`."""

    parameters: InputParameters = InputParameters()

    data: list[Any] | None = None
    """For `image`, the pixels, ink 255 on 0, flat or nested; for `picture`, each file's bytes in base64."""


class OutputParameters(RequestSchema):
    """Parameters of a requested output; others are ignored."""

    binary_data: bool | None = None
    """Whether its data follows the JSON; by default as `binary_data_output` says."""

    classification: Annotated[int, Field(ge=1), WholeNumber] | None = None
    """For `probabilities`: return this many of the most likely digits as texts, `probability:digit`."""


class RequestedOutput(RequestSchema):
    """A requested output."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(RequestSchema):
    """Parameters of the whole request; others are ignored."""

    binary_data_output: bool = False
    """Whether the outputs' data follows the JSON."""


class InferRequest(RequestSchema):
    """Pictures to be read."""

    id: Annotated[str, Field(max_length=MAX_ID)] | None = None
    """Returned in the answer."""

    parameters: RequestParameters = RequestParameters()

    inputs: Annotated[list[InputTensor], FailFast()] = Field(json_schema_extra={"minItems": 1, "maxItems": 1})
    outputs: Annotated[list[RequestedOutput], FailFast()] = Field(default_factory=list)
    """The outputs in this order; all of them if none is listed."""


class BinarySize(Schema):
    """The size of an output's binary data."""

    binary_data_size: int
    """How many of the bytes after the JSON belong to this output."""


class OutputTensor(Schema):
    """An output."""

    name: str
    datatype: str
    shape: list[int]
    parameters: BinarySize | SkipJsonSchema[None] = None
    data: list[int] | list[float] | list[str] | SkipJsonSchema[None] = None


class InferResponse(Schema):
    """The outputs for the pictures."""

    model_name: str
    model_version: str
    id: str | SkipJsonSchema[None] = None
    outputs: list[OutputTensor]


class IndexRequest(RequestSchema):
    """Which models to list."""

    ready: bool = False
    """Whether to list only the loaded ones."""


class LoadParameters(RequestSchema):
    """No parameters are allowed: models are loaded from the service's folder as they are."""

    model_config = ConfigDict(extra="forbid")


class LoadRequest(RequestSchema):
    """How to load a model; may be omitted."""

    parameters: LoadParameters = LoadParameters()


class UnloadParameters(LoadParameters):
    """Parameters that change nothing."""

    unload_dependents: bool = False
    """Ignored: models are loaded and unloaded one by one."""


class UnloadRequest(RequestSchema):
    """How to unload a model; may be omitted."""

    parameters: UnloadParameters = UnloadParameters()


class IndexEntry(Schema):
    """A model's version in the service's folder."""

    name: str

    version: str | SkipJsonSchema[None] = None
    """Its number; missing if all versions have been unloaded."""

    state: Literal["READY", "UNAVAILABLE"]
    reason: str
