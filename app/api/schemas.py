"""What goes over the wire, as documented in /docs."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from app.digits.numbers import NumberCaution
from app.digits.sheet import Caution, Polarity

Probability = Annotated[float, Field(ge=0, le=1)]
Coordinate = Annotated[int, Field(ge=0)]
Digit = Annotated[int, Field(ge=0, le=9)]


def _accept_whole_float(value: object) -> object:
    """Take 1.0 for 1: JSON Schema counts numbers without a fraction as integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber: Final = BeforeValidator(_accept_whole_float)


class Schema(BaseModel):
    """Base of everything below: a field's docstring is its description in the OpenAPI document."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class RequestSchema(Schema):
    """Base of what clients send: `true` and "7" are no numbers here; unknown members are ignored."""

    model_config = ConfigDict(strict=True)


class JsonPicture(RequestSchema):
    """The body of /predict as JSON."""

    image: str = Field(json_schema_extra={"contentEncoding": "base64"})
    """The picture's bytes in base64, or as a `data:` URL in base64."""


class JsonPictures(RequestSchema):
    """The body of /predict/batch as JSON."""

    # an empty batch has a problem of its own
    images: Annotated[list[str], FailFast()] = Field(json_schema_extra={"minItems": 1})
    """Each picture's bytes in base64, or as a `data:` URL in base64."""


class JsonFeedback(JsonPicture):
    """The body of /feedback as JSON."""

    digit: Annotated[Digit, WholeNumber] | None
    """The correct digit; null if the picture shows none."""


class ModelRef(Schema):
    """Which model answered."""

    name: str
    """As the parameter `model` takes it: NAME@N if NAME has several versions."""

    version: str
    """Of the recipe that trained it."""


class ImageInfo(Schema):
    """What was found in the upright picture."""

    width: int
    """Pixels, after EXIF rotation."""

    height: int

    polarity: Polarity

    box: tuple[Coordinate, Coordinate, int, int]
    """x, y, width and height of the digit's ink, in the upright picture's pixels."""


class Prediction(Schema):
    """What a picture's digit is, and how sure that is."""

    digit: Digit

    confidence: Probability
    """The largest probability."""

    probabilities: Annotated[list[Probability], Field(min_length=10, max_length=10)]
    """Of the digits 0 to 9, in this order."""

    is_digit: bool
    """False where the picture holds something else; `digit` is then the best guess all the same."""

    digit_likelihood: Probability | None
    """How likely it is that the picture shows a digit; null if the model does not estimate it."""

    model: ModelRef

    image: ImageInfo

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

    box: tuple[Coordinate, Coordinate, int, int]
    """x, y, width and height of its ink, in the upright picture's pixels."""

    line: Coordinate
    """Which of `lines` it stands in, from 0."""


class NumberPrediction(Schema):
    """What number a picture shows, and how sure that is."""

    text: str
    """The lines, separated by line feeds; empty if there is ink but none of it reads as a digit."""

    lines: list[str]
    """The digits of each line, left to right; lines from top to bottom."""

    confidence: Probability
    """How likely every digit is right: the product of the digits' confidences; 0 if there are none."""

    digits: list[NumberDigit]
    """In reading order."""

    model: ModelRef

    image: ImageInfo
    """`box` holds all digits; the whole picture where there is none."""

    warnings: list[NumberCaution]
    """`low_contrast`: pale ink; `touches_border`: a digit may be cut off; `tiny`: one has fewer than 10
    pixels; `no_digits`: there is ink, and none of it reads as a digit; `crowded`: there is more on the
    picture than the service examines, so digits may be missing."""


class Feedback(Schema):
    """A picture that is kept."""

    id: str
    """The SHA-256 of its bytes."""

    digit: Digit | None
    """The correct digit; null if the picture shows none."""

    prediction: Prediction
    """What the service itself reads in the picture."""


class Problem(Schema):
    """An error (RFC 9457), sent as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    """What was wrong, the limit, and the remedy."""

    code: str
    """Stable; for programs."""

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


class ArrayInfo(Schema):
    """Name, dtype and shape of a network's input or output."""

    name: str
    dtype: str
    shape: list[int | str]


class Limits(Schema):
    """What the service takes."""

    max_body_bytes: int
    max_batch_body_bytes: int
    max_pixels: int
    min_side: int
    max_batch: int


class ModelInfo(Schema):
    """A model that can be asked for."""

    name: str
    """As the parameter `model` takes it: NAME@N if NAME has several versions."""

    version: str
    """Of the recipe that trained it."""

    sha256: str
    """Of the ONNX file."""

    default: bool
    """Whether it answers when a request names no model."""

    input: ArrayInfo
    output: list[ArrayInfo]

    metrics: dict[str, Any] | None
    """What `python -m training evaluate` measured through this service's own path."""

    limits: Limits


class ModelList(Schema):
    """All models, each version by itself, the default first."""

    models: list[ModelInfo]

    feedback: bool
    """Whether /feedback keeps pictures here."""


class Health(Schema):
    """The state of this worker."""

    status: str
