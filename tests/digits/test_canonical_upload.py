from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from app.digits import images
from app.digits.canonical_upload import CanonicalUpload, canonicalise_upload
from app.digits.classifier import Classifier
from app.digits.errors import NoInk
from tests.data.strokes import ink


def draw_photo(digit: int, *, length: int, side: int = 1200, file_format: str = "JPEG") -> bytes:
    """A digit so long on a sheet under a lamp."""
    rng = np.random.default_rng(1)
    written = ink(
        digit, (side, side), box=(side // 3, side // 3, int(0.6 * length), length), pen=length // 10
    )
    light = np.linspace(230, 170, side)[:, None]
    paper = light * (1 - 0.8 * written / 255.0) + cv2.GaussianBlur(rng.normal(0, 6, (side, side)), (0, 0), 1)
    file = io.BytesIO()
    Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8)).save(file, file_format)
    return file.getvalue()


def canonicalise_bytes(upload: bytes) -> tuple[CanonicalUpload, list[str]]:
    stages = []

    class RecordedStages:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def time_stage(stage: str) -> RecordedStages:
        stages.append(stage)
        return RecordedStages()

    return canonicalise_upload(images.identify(upload), time_stage=time_stage), stages


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("digit", [2, 5])
def test_a_long_digit_is_read_on_a_small_copy_and_a_short_one_at_working_size(
    digit: int, file_format: str, classifier: Classifier
) -> None:
    for length, wanted in ((600, ["decode", "preprocess"]), (90, ["decode", "preprocess"] * 2)):
        (picture, canonical), stages = canonicalise_bytes(
            draw_photo(digit, length=length, file_format=file_format)
        )
        assert stages == wanted
        assert (picture.width, picture.height) == (1200, 1200)
        assert classifier.classify(canonical.picture[np.newaxis]).probabilities.argmax() == digit
        left, top, width, height = picture.map_to_original(canonical.box)
        np.testing.assert_allclose((left, top, height), (400, 400, length), atol=length / 8 + 8)
        assert width < height


def test_ink_too_thin_for_the_small_copy_is_found() -> None:
    rows = np.full((1200, 1200), 255, np.uint8)
    cv2.line(rows, (600, 500), (600, 560), 225, 1)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG")
    (_, canonical), stages = canonicalise_bytes(file.getvalue())
    assert stages == ["decode", "preprocess"] * 2
    assert canonical.picture.any()


def test_a_large_blank_picture_has_no_ink() -> None:
    file = io.BytesIO()
    Image.new("L", (2000, 1500), 230).save(file, "JPEG")
    with pytest.raises(NoInk):
        canonicalise_upload(images.identify(file.getvalue()))
