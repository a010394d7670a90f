"""The protocol's JSON: names and shapes are its specification's."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, FailFast, Field
from pydantic.json_schema import SkipJsonSchema

from app.api.schemas import RequestSchema, Schema, WholeNumber

MAX_ID: Final = 1024  # characters: it is sent back, and clients count or use UUIDs


class ServerMetadata(Schema):
    """What serves here."""

    name: str
    version: str

    extensions: list[str]
    """Of the protocol, as Triton names them."""


class Live(Schema):
    """The event loop turns."""

    live: bool


class Ready(Schema):
    """The models are loaded and warm."""

    ready: bool


class ModelReady(Schema):
    """The model is loaded and warm."""

    name: str
    ready: bool


class TensorInfo(Schema):
    """Name, datatype and shape of a tensor; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Schema):
    """A model: what it takes and what it gives."""

    name: str

    versions: list[str]
    """The numbers of those that are loaded."""

    platform: str

    inputs: list[TensorInfo]
    """A request has one of them."""

    outputs: list[TensorInfo]


class InputParameters(RequestSchema):
    """Of an input tensor; others are ignored."""

    binary_data_size: Annotated[int, Field(ge=0), WholeNumber] | None = None
    """How many bytes after the JSON are this tensor's data, which the JSON then omits."""


class InputTensor(RequestSchema):
    """The pictures: `image` or `picture`."""

    name: Literal["image", "picture"]

    shape: Annotated[list[Annotated[int, WholeNumber]], FailFast()]
    """[n, 28, 28] of `image`, [n] of `picture`."""

    datatype: str
    """UINT8 of `image`, BYTES of `picture`."""

    parameters: InputParameters = InputParameters()

    data: list[Any] | None = None
    """Of `image` the pixels, ink 255 on 0, flat or nested; of `picture` each file's bytes in base64."""


class OutputParameters(RequestSchema):
    """Of a requested output; others are ignored."""

    binary_data: bool | None = None
    """Whether its data follow the JSON; else as `binary_data_output` says."""

    classification: Annotated[int, Field(ge=1), WholeNumber] | None = None
    """Of `probabilities`: the so many most likely digits as texts, `probability:digit`."""


class RequestedOutput(RequestSchema):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(RequestSchema):
    """Of the whole request; others are ignored."""

    binary_data_output: bool = False
    """Whether the outputs' data follow the JSON."""


class InferRequest(RequestSchema):
    """Pictures to be read."""

    id: Annotated[str, Field(max_length=MAX_ID)] | None = None
    """Returned in the answer."""

    parameters: RequestParameters = RequestParameters()

    inputs: Annotated[list[InputTensor], FailFast()] = Field(json_schema_extra={"minItems": 1, "maxItems": 1})
    outputs: Annotated[list[RequestedOutput], FailFast()] = Field(default_factory=list)
    """Which outputs, and in which order; all of them if none are listed."""


class BinarySize(Schema):
    """Where an output's data are."""

    binary_data_size: int
    """How many bytes after the JSON they take."""


class OutputTensor(Schema):
    """What was read."""

    name: str
    datatype: str
    shape: list[int]
    parameters: BinarySize | SkipJsonSchema[None] = None
    data: list[int] | list[float] | list[str] | SkipJsonSchema[None] = None


class InferResponse(Schema):
    """What was read in the pictures."""

    model_name: str
    model_version: str
    id: str | SkipJsonSchema[None] = None
    outputs: list[OutputTensor]


class IndexRequest(RequestSchema):
    """Which models are listed."""

    ready: bool = False
    """Only those that are loaded."""


class LoadParameters(RequestSchema):
    """None is taken: models are loaded from the service's folder, as they are."""

    model_config = ConfigDict(extra="forbid")


class LoadRequest(RequestSchema):
    """May be left out."""

    parameters: LoadParameters = LoadParameters()


class UnloadParameters(LoadParameters):
    """None changes anything."""

    unload_dependents: bool = False
    """No model depends on another."""


class UnloadRequest(RequestSchema):
    """May be left out."""

    parameters: UnloadParameters = UnloadParameters()


class IndexEntry(Schema):
    """A model's version in the service's folder."""

    name: str

    version: str | SkipJsonSchema[None] = None
    """Its number; missing where all versions have been unloaded."""

    state: Literal["READY", "UNAVAILABLE"]
    reason: str
