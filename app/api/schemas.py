"""Requests and answers as JSON, as documented in /docs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from ..digits.images import MIN_SIDE
from ..digits.numbers import NumberCaution
from ..digits.working_picture import Caution, Polarity
from ..docstrings import read_docstrings

Probability = Annotated[float, Field(ge=0, le=1)]
Coordinate = Annotated[int, Field(ge=0)]
Digit = Annotated[int, Field(ge=0, le=9)]
Box = tuple[Coordinate, Coordinate, int, int]


def _accept_whole_float(value: object) -> object:
    """Accept 1.0 as 1: in JSON Schema, numbers without a fraction are integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber: Final = BeforeValidator(_accept_whole_float)


def _check_kind(value: object) -> object:
    if isinstance(value, str | list):
        return value
    error_type, message = "picture", "Input should be base64 text, or rows of pixels"
    raise PydanticCustomError(error_type, message)


_ROW_SCHEMA: Final = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 255},
    "minItems": MIN_SIDE,
}
JsonImage = Annotated[
    str | list[Any],  # `app.api.pixels` checks the rows
    BeforeValidator(_check_kind),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64"},
                {"type": "array", "items": _ROW_SCHEMA, "minItems": MIN_SIDE},
            ]
        }
    ),
]


class Schema(BaseModel):
    """Base of all models: a field's docstring is its description in the OpenAPI document."""

    # validators are built when they are first needed, and those of most models seldom are
    model_config = ConfigDict(frozen=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the JSON schema, with descriptions."""
        json_schema = handler(core_schema)
        properties = handler.resolve_ref_schema(json_schema).get("properties", {})
        docstrings = read_docstrings(cls)
        for name in cls.model_fields.keys() & docstrings.keys():
            properties[cls.model_fields[name].alias or name]["description"] = docstrings[name]
        return json_schema


class RequestSchema(Schema):
    """Base of what clients send: `true` and "7" are not numbers; unknown members are ignored."""

    model_config = ConfigDict(strict=True)


class JsonPicture(RequestSchema):
    """The body of /predict as JSON."""

    image: JsonImage
    """The picture's bytes in base64, or as a `data:` URL in base64; or its grey pixels, row by row: whole
    numbers from 0 to 255, or fractions from 0 to 1 (at least one of which is written as a fraction)."""


class JsonPictures(RequestSchema):
    """The body of /predict/batch as JSON."""

    # an empty batch has a problem of its own
    images: Annotated[list[JsonImage], FailFast()] = Field(json_schema_extra={"minItems": 1})
    """The pictures, each as `image` of /predict: its bytes in base64, or its pixels."""


class JsonFeedback(JsonPicture):
    """The body of /feedback as JSON."""

    digit: Annotated[Digit, WholeNumber] | None
    """The correct digit; null if the picture shows none."""


class LabelParameters(RequestSchema):
    """The `parameters` of Hugging Face's image classification."""

    top_k: Annotated[int, Field(ge=1), WholeNumber] | None = None
    """How many labels to return; at most ten."""

    function_to_apply: Literal["softmax"] | None = None
    """What makes scores of the network's output; there is no other than this."""


class JsonInputs(RequestSchema):
    """The body of Hugging Face's image classification as JSON."""

    inputs: str
    """The picture's bytes in base64."""

    parameters: LabelParameters = LabelParameters()


class LabelScore(Schema):
    """A digit, and how likely it is."""

    label: str
    score: Probability


class LabelScores(RootModel[list[LabelScore]]):
    """The most likely digits, the likeliest first."""


class ModelRef(Schema):
    """Which model answered."""

    name: str
    """As the parameter `model` takes it: NAME@N if NAME has several versions."""

    version: str
    """The version of the recipe that trained it."""


class ImageInfo(Schema):
    """The picture after EXIF rotation, and where its ink is."""

    width: int
    height: int
    polarity: Polarity

    box: Box
    """x, y, width and height of the digit's ink, in the upright picture's pixels."""


class OtherDigit(Schema):
    """A digit that stands beside the most prominent one."""

    digit: Digit

    confidence: Probability
    """How certain the finder is of it."""

    box: Box
    """x, y, width and height of its ink, in the upright picture's pixels."""


class Prediction(Schema):
    """The digit in a picture, and how certain it is."""

    digit: Digit

    confidence: Probability
    """The largest probability."""

    probabilities: Annotated[list[Probability], Field(min_length=10, max_length=10)]
    """The probabilities of the digits 0 to 9, in this order."""

    is_digit: bool
    """False if the picture shows something else; `digit` is then only the best guess."""

    digit_likelihood: Probability | None
    """How likely it is that the picture shows a digit; null if the model does not estimate it."""

    model: ModelRef
    image: ImageInfo

    others: list[OtherDigit]
    """Further digits that the finder sees, at most 8, the most prominent first."""

    warnings: list[Caution]
    """`low_contrast`: pale ink; `several_digits`: only the most prominent one was read; `touches_border`:
    the digit may be cut off; `tiny`: it has fewer than 10 pixels."""

    view: str | None
    """With `view=true` the 28x28 picture that the network saw, as a PNG `data:` URL."""


class NumberDigit(Schema):
    """One digit of a number."""

    digit: Digit

    confidence: Probability
    """The largest of the ten digits' probabilities."""

    box: Box
    """x, y, width and height of its ink, in the upright picture's pixels."""

    line: Coordinate
    """Index of its line in `lines`."""

    view: str | None
    """With `view=true` the digit as a canonical 28x28 picture, as a PNG `data:` URL; null if its ink does not
    stand out, and after the first 64 digits."""


class NumberSign(Schema):
    """One sign of a number, such as a decimal point."""

    sign: Annotated[str, Field(min_length=1, max_length=1)]

    confidence: Probability
    """How likely it is this sign, if the digits are right."""

    box: Box
    """x, y, width and height of its ink, in the upright picture's pixels."""

    line: Coordinate
    """Index of its line in `lines`."""


class NumberPrediction(Schema):
    """The number in a picture, and how certain it is."""

    text: str
    """The lines, separated by line feeds; empty if there is ink but none of it reads as a digit."""

    lines: list[str]
    """The digits of each line, left to right; lines from top to bottom."""

    written: str
    """The lines with their signs, such as `12,50`, `-17`, `3/4`, `06:30` or `(030)12`, separated by line
    feeds."""

    confidence: Probability
    """How likely it is that every digit is correct; 0 if there are none."""

    digits: list[NumberDigit]
    """In reading order."""

    signs: list[NumberSign]
    """Points, commas, hyphens, slashes, colons, parentheses, plus and equals signs, in reading order."""

    ignored: list[Box]
    """Writing in or beside the lines that was not read, such as letters and currency signs: x, y, width and
    height of each, in the upright picture's pixels."""

    model: ModelRef

    image: ImageInfo
    """`box` holds all digits, or the whole picture if there are none."""

    warnings: list[NumberCaution]
    """`low_contrast`: pale ink; `touches_border`: a digit may be cut off; `tiny`: one has fewer than 10
    pixels; `no_digits`: there is ink, and none of it reads as a digit; `ignored_writing`: there is other
    writing, see `ignored`; `crowded`: there is more on the picture than the service examines, so digits may
    be missing."""


class LayerActivations(Schema):
    """What a layer of the network makes of the picture."""

    name: str
    """`conv1`, `conv2`, … for layers of feature maps, `dense1`, … for others; from the first to the last."""

    shape: Annotated[list[int], Field(min_length=1, max_length=3)]
    """Feature maps, height and width; or the number of units."""

    columns: int
    """How many feature maps, or units, stand side by side in the mosaic."""

    mosaic: str
    """The first 32 feature maps row by row, or the first 1024 units as a pixel each, as a PNG `data:` URL;
    the largest value of the layer is white, and 0 is black."""


class Explanation(Schema):
    """What was read, and what decided."""

    prediction: Prediction
    """As /predict answers with `view=true`."""

    heat_map: Annotated[
        list[Annotated[list[float], Field(min_length=28, max_length=28)]], Field(min_length=28, max_length=28)
    ]
    """For each pixel of `view`, row by row, by how much the log-odds of the digit drop if the ink around it
    is erased: above 0 where ink speaks for the digit, below 0 where it speaks against it."""

    layers: Annotated[list[LayerActivations], Field(max_length=16)]
    """The layers of convolutions and ReLUs; empty if the network has none."""


class Feedback(Schema):
    """A stored picture."""

    id: str
    """The SHA-256 of its bytes."""

    digit: Digit | None
    """The correct digit; null if the picture shows none."""

    prediction: Prediction
    """The service's own prediction."""


class Problem(Schema):
    """An error (RFC 9457), sent as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    """What was wrong, the limit, and the remedy."""

    code: str
    """For programs; it does not change."""

    request_id: str
    """As in the `X-Request-ID` header; quote it when asking for help."""

    limit: int | None = None
    """The limit that was exceeded, if there is one."""


class ProtocolError(Schema):
    """What went wrong."""

    error: str
    """What was wrong, the limit, and the remedy."""


class BatchResult(Schema):
    """One picture's prediction, or its problem."""

    index: int
    """Position of the picture in the request, from 0."""

    prediction: Prediction | None
    problem: Problem | None


class BatchPrediction(Schema):
    """Results in the order in which the pictures were sent."""

    results: list[BatchResult]


class TensorRequest(RequestSchema):
    """The body of `:predict` as TensorFlow Serving takes it: `instances` or `inputs`."""

    signature_name: str = "serving_default"

    instances: list[Any] | None = None
    """A list of pictures. Either each is 28x28, 28x28x1 or 784 numbers, ink bright on dark, which go to the
    network as they are: whole numbers from 0 to 255, fractions from 0 to 1. Or each is `{"b64": "…"}`, a file
    in base64."""

    inputs: list[Any] | dict[str, Any] | None = None
    """The same in the columnar format, for which the answer has `outputs`."""


class InvocationRequest(TensorRequest):
    """The body of /invocations as JSON: `image`, `instances` or `inputs`."""

    image: JsonImage | None = None
    """A single picture, as /predict takes it."""


Probabilities = Annotated[list[Probability], Field(min_length=10, max_length=10)]


class TensorPredictions(Schema):
    """For each of the `instances`, the probabilities of the digits 0 to 9."""

    predictions: list[Probabilities]


class TensorOutputs(Schema):
    """For each of the `inputs`, the probabilities of the digits 0 to 9."""

    outputs: list[Probabilities]


class VersionStatus(Schema):
    """Why a version is in its state."""

    error_code: str
    error_message: str


class ModelVersionStatus(Schema):
    """A version of a model."""

    version: str
    state: str
    status: VersionStatus


class ModelStatus(Schema):
    """The versions of a model that are loaded."""

    model_version_status: list[ModelVersionStatus]


class ModelSignature(Schema):
    """The input and the output of a model, as TensorFlow Serving describes them."""

    model_spec: dict[str, str]
    metadata: dict[str, Any]


class ArrayInfo(Schema):
    """Name, dtype and shape of a network's input or output."""

    name: str
    dtype: str
    shape: list[int | str]


class Limits(Schema):
    """What the service accepts."""

    max_body_bytes: int
    max_batch_body_bytes: int
    max_pixels: int
    min_side: int
    max_batch: int


class ModelInfo(Schema):
    """A model that is served."""

    name: str
    """As the parameter `model` takes it: NAME@N if NAME has several versions."""

    kind: str
    """`classifier`: reads single digits, and can be chosen with the parameter `model`; `finder` and
    `line-reader`: together they read whole numbers."""

    version: str
    """The version of the recipe that trained it."""

    sha256: str
    """The SHA-256 of the ONNX file."""

    default: bool
    """Whether it answers requests for single digits that name no model."""

    input: ArrayInfo
    output: list[ArrayInfo]
    metrics: dict[str, Any] | None
    """Measured by `python -m training evaluate`, through the service's own code."""

    limits: Limits


class ModelList(Schema):
    """All models, one entry for each version, the default first."""

    models: list[ModelInfo]

    feedback: bool
    """Whether /feedback stores pictures."""

    explain: bool
    """Whether /explain tells what decided."""


class Health(Schema):
    """The state of this worker."""

    status: str
