"""What reads a picture: the service's readers, and the type that all readers have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue
from app.digits.errors import ImageError
from benchmarks.rivals.sets import is_single_digits
from training.data.real_sets import UploadSet


class Reading(NamedTuple):
    """What is read on a picture: digits alone, in reading order, without line breaks."""

    digits: str
    confidence: float


NOTHING: Final = Reading("", 0.0)
Read: TypeAlias = Callable[[bytes], Reading]


@dataclass(frozen=True)
class Reader:
    """A way to read uploads, and the sets that it suits."""

    name: str
    read: Read
    suits: Callable[[UploadSet], bool]


def keep_digits(text: str) -> str:
    """Return the digits of a text."""
    return "".join(filter(str.isdigit, text))


def build_service_readers(catalogue: Catalogue) -> list[Reader]:
    """Return the service's readers, without HTTP: of numbers, and of single digits."""
    number_reader = catalogue.get_number_reader()
    classifier, finder = catalogue.get().classifier, catalogue.get_finder()

    def read_number(upload: bytes) -> Reading:
        number = number_reader.read(images.decode(images.identify(upload)).grey)
        return Reading(keep_digits(number.text), number.confidence)

    def read_digit(upload: bytes) -> Reading:
        form = canonicalise_upload(images.identify(upload), finder=finder).canonical
        (probabilities,), _ = classifier.classify(np.array([form.picture]))
        return Reading(str(probabilities.argmax()), float(probabilities.max()))

    return [
        Reader("/predict/number", _read_or_refuse(read_number), lambda _: True),
        Reader("/predict", _read_or_refuse(read_digit), is_single_digits),
    ]


def _read_or_refuse(read: Read) -> Read:
    """Return a function that reads nothing where the service refuses an upload."""

    def read_or_refuse(upload: bytes) -> Reading:
        try:
            return read(upload)
        except ImageError:
            return NOTHING

    return read_or_refuse
