"""What can go wrong with a picture or a model.

    DigitsError
    ├── ImageError
    │   ├── UnsupportedFormat   not a PNG, JPEG, WebP, BMP or GIF
    │   ├── UnreadableImage     one of these, but truncated or corrupt
    │   ├── ImageTooLarge       more pixels than allowed, or too costly to decode
    │   ├── ImageTooSmall       a side of fewer than 4 pixels
    │   ├── NoInk               nothing is written on it
    │   └── OutOfMemory         the machine has too little memory left to decode it
    └── ModelError
        ├── UnknownModel        no model has that name
        ├── ModelInUse          the default, which is not unloaded
        └── InvalidModel        a file that the service must not serve

The text of an error is public: it names the value, the limit and the remedy, and nothing of the
machine. `status_hint` is what an HTTP layer may answer with; nothing here knows HTTP.
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
    """The bytes begin like an allowed format and do not go on like it."""

    code = "unreadable_image"


class ImageTooLarge(ImageError):
    """The header declares more pixels, or more work, than is allowed; nothing has been decoded."""

    code = "image_too_large"


class ImageTooSmall(ImageError):
    """A side has too few pixels to hold a digit."""

    code = "image_too_small"


class NoInk(ImageError):
    """Nothing stands out from the ground."""

    code = "no_ink"


class OutOfMemory(ImageError):
    """The picture may be good, but the machine has too little memory left to decode it."""

    code = "overloaded"
    status_hint = 503


class ModelError(DigitsError):
    """A model can't be had."""


class UnknownModel(ModelError):
    """No model has the name that was asked for."""

    code = "unknown_model"
    status_hint = 404


class ModelInUse(ModelError):
    """The model answers requests that name none, and stays."""

    code = "model_in_use"
    status_hint = 409


class InvalidModel(ModelError):
    """The file is no ONNX model, or does not keep the contract. Raised at start, and to who has it loaded."""

    code = "invalid_model"
    status_hint = 409
