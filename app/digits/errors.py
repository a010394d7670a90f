"""What can go wrong with a picture or a model.

    DigitsError
    ├── ImageError
    │   ├── UnsupportedFormat   none of the formats that are read
    │   ├── UnreadableImage     one of these, but truncated or corrupt
    │   ├── ImageTooLarge       more pixels than allowed, or too costly to decode
    │   ├── ImageTooSmall       a side of fewer than 4 pixels
    │   ├── NoInk               nothing is written on it
    │   └── OutOfMemory         the machine has too little memory left to decode it
    └── ModelError
        ├── UnknownModel        no model has that name
        ├── UnsuitableModel     the model is of a kind that does not do this
        ├── ModelInUse          the default model, which can't be unloaded
        └── InvalidModel        a file that the service must not serve

The text of an error is public: it names the value, the limit and the remedy, and reveals nothing about
the machine. `status_hint` is the status that an HTTP layer may answer with; nothing here knows HTTP.
"""

from typing import ClassVar


class DigitsError(Exception):
    """Base of every error that the core raises."""

    code: ClassVar[str]
    status_hint: ClassVar[int]

    def __init__(self, detail: str, *, limit: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.limit = limit


class ImageError(DigitsError):
    """The picture can't be read as a digit."""

    status_hint = 422


class UnsupportedFormat(ImageError):
    """The bytes are not a picture in an allowed format."""

    code = "unsupported_media_type"
    status_hint = 415


class UnreadableImage(ImageError):
    """The bytes begin like a picture in an allowed format, but are truncated or corrupt."""

    code = "unreadable_image"


class ImageTooLarge(ImageError):
    """The picture has more pixels than allowed, or takes too long to decode."""

    code = "image_too_large"


class ImageTooSmall(ImageError):
    """A side has too few pixels to hold a digit."""

    code = "image_too_small"


class NoInk(ImageError):
    """Nothing stands out from the background."""

    code = "no_ink"


class OutOfMemory(ImageError):
    """The picture may be good, but the machine has too little memory left to decode it."""

    code = "overloaded"
    status_hint = 503


class ModelError(DigitsError):
    """A model can't be used, loaded or unloaded."""


class UnknownModel(ModelError):
    """No model has the requested name."""

    code = "unknown_model"
    status_hint = 404


class UnsuitableModel(ModelError):
    """The model exists, but its kind does not do what the request wants of it."""

    code = "unsuitable_model"
    status_hint = 400


class ModelInUse(ModelError):
    """The default model can't be unloaded: it answers the requests that name no model."""

    code = "model_in_use"
    status_hint = 409


class InvalidModel(ModelError):
    """The file is not an ONNX model that conforms to the contract: raised when it is loaded."""

    code = "invalid_model"
    status_hint = 409
