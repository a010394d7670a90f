"""The protocol's JSON: names and shapes are its specification's."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, FailFast, Field
from pydantic.json_schema import SkipJsonSchema

from app.api.schemas import Payload, Whole, Wire

MAX_ID: Final = 1024  # characters: it is sent back, and clients count or use UUIDs


class ServerMetadata(Wire):
    """What serves here."""

    name: str
    version: str

    extensions: list[str]
    """Of the protocol, as Triton names them."""


class Live(Wire):
    """The event loop turns."""

    live: bool


class Ready(Wire):
    """The models are loaded and warm."""

    ready: bool


class ModelReady(Wire):
    """The model is loaded and warm."""

    name: str
    ready: bool


class TensorInfo(Wire):
    """Name, datatype and shape of a tensor; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Wire):
    """A model: what it takes and what it gives."""

    name: str

    versions: list[str]
    """The numbers of those that are loaded."""

    platform: str

    inputs: list[TensorInfo]
    """A request has one of them."""

    outputs: list[TensorInfo]


class InputParameters(Payload):
    """Of an input tensor; others are ignored."""

    binary_data_size: Annotated[int, Field(ge=0), Whole] | None = None
    """How many bytes behind the JSON are this tensor's data, which the JSON then lacks."""


class InputTensor(Payload):
    """The pictures: `image` or `picture`."""

    name: Literal["image", "picture"]

    shape: Annotated[list[Annotated[int, Whole]], FailFast()]
    """[n, 28, 28] of `image`, [n] of `picture`."""

    datatype: str
    """UINT8 of `image`, BYTES of `picture`."""

    parameters: InputParameters = InputParameters()

    data: list[Any] | None = None
    """Of `image` the pixels, ink 255 on 0, flat or nested; of `picture` each file's bytes in base64."""


class OutputParameters(Payload):
    """Of a requested output; others are ignored."""

    binary_data: bool | None = None
    """Whether its data follow the JSON; else as `binary_data_output` says."""

    classification: Annotated[int, Field(ge=1), Whole] | None = None
    """Of `probabilities`: the so many most likely digits as texts, `probability:digit`."""


class RequestedOutput(Payload):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(Payload):
    """Of the whole request; others are ignored."""

    binary_data_output: bool = False
    """Whether the outputs' data follow the JSON."""


class InferRequest(Payload):
    """Pictures to be read."""

    id: Annotated[str, Field(max_length=MAX_ID)] | None = None
    """Comes back in the answer."""

    parameters: RequestParameters = RequestParameters()

    inputs: Annotated[list[InputTensor], FailFast()] = Field(json_schema_extra={"minItems": 1, "maxItems": 1})
    outputs: Annotated[list[RequestedOutput], FailFast()] = Field(default_factory=list)
    """Which, and in which order; none: all that the model has."""


class BinarySize(Wire):
    """Where an output's data are."""

    binary_data_size: int
    """How many bytes behind the JSON they take."""


class OutputTensor(Wire):
    """What was read."""

    name: str
    datatype: str
    shape: list[int]
    parameters: BinarySize | SkipJsonSchema[None] = None
    data: list[int] | list[float] | list[str] | SkipJsonSchema[None] = None


class InferResponse(Wire):
    """What was read in the pictures."""

    model_name: str
    model_version: str
    id: str | SkipJsonSchema[None] = None
    outputs: list[OutputTensor]


class IndexRequest(Payload):
    """Which models are listed."""

    ready: bool = False
    """Only those that are loaded."""


class LoadParameters(Payload):
    """None is taken: models are loaded from the service's folder, as they are."""

    model_config = ConfigDict(extra="forbid")


class LoadRequest(Payload):
    """May be left out."""

    parameters: LoadParameters = LoadParameters()


class UnloadParameters(LoadParameters):
    """None changes anything."""

    unload_dependents: bool = False
    """No model depends on another."""


class UnloadRequest(Payload):
    """May be left out."""

    parameters: UnloadParameters = UnloadParameters()


class IndexEntry(Wire):
    """A model's version in the service's folder."""

    name: str

    version: str | SkipJsonSchema[None] = None
    """Its number; missing where all versions have been unloaded."""

    state: Literal["READY", "UNAVAILABLE"]
    reason: str
