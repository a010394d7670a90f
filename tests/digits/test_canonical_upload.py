from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import pytest
from PIL import Image

from app.digits import images
from app.digits.canonical_upload import FoundDigit, canonicalise_upload, glance
from app.digits.classifier import Classifier
from app.digits.contract import GreyPicture
from app.digits.errors import NoInk
from app.digits.finder import Finder
from app.digits.images import Box
from app.digits.working_picture import Polarity
from tests.data.strokes import ink
from training.data.uploads import encode_png


class Found(NamedTuple):
    digit: int
    box: Box
    polarity: Polarity
    others: tuple[FoundDigit, ...]


Read: TypeAlias = Callable[[GreyPicture], Found]


@pytest.fixture
def read(classifier: Classifier, finder: Finder) -> Read:
    """Read the digit of a grey picture as the service does."""

    def read_picture(grey: GreyPicture) -> Found:
        upload = images.identify(encode_png(grey))
        picture, form, others, _ = canonicalise_upload(upload, classifier=classifier, finder=finder)
        digit = int(classifier.classify(form.picture[None]).probabilities.argmax())
        box = picture.map_to_original(form.box)
        others = tuple(other._replace(box=picture.map_to_original(other.box)) for other in others)
        return Found(digit, box, form.polarity, others)

    return read_picture


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


class RecordedStages(list[str]):
    """Stages in the order in which they ran."""

    def time_stage(self, stage: str) -> AbstractContextManager[None]:
        self.append(stage)
        return nullcontext()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("digit", [2, 5])
def test_a_long_digit_is_read_on_a_small_copy_and_a_short_one_at_working_size(
    digit: int, file_format: str, classifier: Classifier, finder: Finder
) -> None:
    look = ["decode", "infer", "preprocess", "infer"]  # found, cut out, and judged
    for length, wanted in ((600, look), (90, [*look, *look])):
        upload = images.identify(draw_photo(digit, length=length, file_format=file_format))
        stages = RecordedStages()
        picture, canonical, _, scores = canonicalise_upload(
            upload, classifier=classifier, finder=finder, time_stage=stages.time_stage
        )
        assert stages == wanted
        assert (picture.width, picture.height) == (1200, 1200)
        assert scores
        assert scores.probabilities.argmax() == digit
        left, top, width, height = picture.map_to_original(canonical.box)
        np.testing.assert_allclose((left, top, height), (400, 400, length), atol=length / 8 + 8)
        assert width < height


def test_ink_too_thin_for_the_small_copy_is_found() -> None:
    rows = np.full((1200, 1200), 255, np.uint8)
    cv2.line(rows, (600, 500), (600, 560), 225, 1)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG")
    stages = RecordedStages()
    upload = canonicalise_upload(images.identify(file.getvalue()), time_stage=stages.time_stage)
    assert stages == ["decode", "preprocess"] * 2
    assert upload.canonical.picture.any()


def test_a_large_blank_picture_has_no_ink() -> None:
    file = io.BytesIO()
    Image.new("L", (2000, 1500), 230).save(file, "JPEG")
    with pytest.raises(NoInk):
        canonicalise_upload(images.identify(file.getvalue()))


def test_a_glance_is_enough_for_a_clear_drawing_alone(classifier: Classifier) -> None:
    drawing = 255 - ink(3, (200, 200), box=(70, 40, 60, 110), pen=10)
    upload = glance(to_picture(drawing), classifier=classifier)
    assert upload
    assert upload.scores
    assert upload.scores.probabilities.argmax() == 3
    scribble = np.full((200, 200), 255, np.uint8)
    for x in range(50, 150, 6):
        cv2.line(scribble, (x, 60), (200 - x, 140), 0, 3)
    assert glance(to_picture(scribble), classifier=classifier) is None


def to_picture(grey: GreyPicture) -> images.Picture:
    return images.decode(images.identify(encode_png(grey)))


def photo(picture: GreyPicture, *, noise: float = 3.0, seed: int = 1) -> GreyPicture:
    """Take a photo of a drawing: pale, on paper under light that falls off, with a sensor's noise."""
    height, width = picture.shape
    light = np.linspace(1.0, 0.6, width) * np.linspace(1.0, 0.8, height)[:, np.newaxis]
    grain = np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.clip((120 + picture * (100 / 255)) * light + grain, 0, 255).astype(np.uint8)


def page(number: int, *, size: tuple[int, int] = (400, 300), pen: int = 7) -> GreyPicture:
    """Write a digit 120 pixels high on a sheet of paper, black on white."""
    return 255 - ink(number, size, box=(150, 90, 75, 120), pen=pen)


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("lean", [0, 12])
def test_ruled_lines_are_removed_and_strokes_repaired(number: int, lean: int, read: Read) -> None:
    sheet = page(number)
    for y in range(10, 300, 28):
        cv2.line(sheet, (0, y), (400, y + lean), 150, 2, cv2.LINE_AA)
    assert read(photo(sheet)).digit == number


@pytest.mark.parametrize("number", range(10))
def test_squared_paper_is_removed(number: int, read: Read) -> None:
    sheet = page(number)
    for at in range(5, 400, 30):
        cv2.line(sheet, (0, at), (400, at), 150, 1)
        cv2.line(sheet, (at, 0), (at, 300), 150, 1)
    assert read(photo(sheet)).digit == number


def test_the_edge_of_a_shadow_across_the_digit_is_not_ink(read: Read) -> None:
    right = 0
    for number in range(10):
        shaded = photo(page(number)).astype(np.float32)
        y, x = np.mgrid[:300, :400]
        shaded[x + y > 310] *= 0.6
        right += read(cv2.GaussianBlur(shaded, (5, 5), 0).astype(np.uint8)).digit == number
    assert right >= 9


def test_a_dark_desk_beside_the_paper_is_not_ink(read: Read) -> None:
    sheet = photo(page(5))
    sheet[:, :30] = 25
    found = read(sheet)
    assert (found.digit, found.polarity) == (5, "dark_on_light")


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize(
    ("paper", "desk"), [(1.0, 40), (0.45, 235)], ids=["on dark wood", "on a white table"]
)
def test_a_digit_on_paper_that_lies_on_a_desk_is_read(
    number: int, paper: float, desk: int, read: Read
) -> None:
    sheet = (photo(page(number)) * paper).astype(np.uint8)
    turn = np.hstack([cv2.getRotationMatrix2D((200, 150), 4, 1)[:, :2], [[150], [120]]])
    lying = cv2.warpAffine(sheet, turn, (700, 560), borderValue=desk)
    grain = np.random.default_rng(1).normal(0, 4, lying.shape)
    desk_photo = np.clip(lying + grain, 0, 255).astype(np.uint8)
    found = read(desk_photo)
    assert (found.digit, found.polarity) == (number, "dark_on_light")


@pytest.mark.parametrize("number", range(10))
def test_a_small_pale_digit_in_a_large_photo_is_found(number: int, read: Read) -> None:
    sheet = np.full((768, 1024), 255, np.uint8)
    small = 255 - ink(number, (80, 80), box=(25, 20, 26, 40), pen=3)
    sheet[500:580, 800:880] = small
    pale = (255 - (255 - photo(sheet, noise=2.0).astype(int)) * 0.6).astype(np.uint8)
    found = read(pale)
    assert 820 <= found.box[0] <= 845
    assert abs(found.box[1] - 520) <= 8
    assert found.digit == number


def test_the_printed_border_of_a_cell_is_removed(read: Read) -> None:
    cell = 255 - ink(3, (60, 64), box=(18, 12, 26, 40), pen=5)
    cell[3:5, :] = 0
    cell[:, 56:58] = 0
    assert read(cell).digit == 3


def test_other_digits_in_a_photo_are_listed_with_their_places(read: Read) -> None:
    sheet = page(5)
    sheet[150:220, 20:80] = 255 - ink(3, (60, 70), box=(12, 8, 36, 54), pen=5)
    found = read(photo(sheet))
    assert [(other.digit, other.certainty > 0.3) for other in found.others] == [(3, True)]
    left, top, _, height = found.others[0].box
    np.testing.assert_allclose((left, top, height), (32, 158, 54), atol=16)
    assert read(photo(page(5))).others == ()


def test_other_digits_of_a_drawing_are_listed(read: Read) -> None:
    drawing = 255 - ink(2, (300, 300), box=(40, 80, 80, 140), pen=10)
    drawing = np.minimum(drawing, 255 - ink(7, (300, 300), box=(180, 90, 60, 100), pen=10))
    found = read(drawing)
    assert found.digit == 2
    assert [other.digit for other in found.others] == [7]


@pytest.mark.parametrize("number", [5, 6, 9])
def test_a_pen_beside_a_lit_corner_is_found(number: int, read: Read) -> None:
    y, x = np.mgrid[:150, :160]
    light = 1 - 0.55 / (1 + np.exp(-((x - y) / 160 + 0.35) * 25))
    paper = 215 - 120 / 255 * ink(number, (160, 150), box=(95, 70, 22, 36), pen=2)
    grain = np.random.default_rng(number).normal(0, 2, light.shape)
    assert read(np.clip(paper * light + grain, 0, 255).astype(np.uint8)).digit == number


def test_a_one_at_the_border_of_its_cell_is_not_taken_for_a_printed_line(read: Read) -> None:
    cell = np.full((80, 60), 240, np.uint8)
    cv2.polylines(cell, [np.array([(50, 4), (53, 25), (54, 50), (51, 76)])], False, 40, 2, cv2.LINE_AA)  # noqa: FBT003
    assert read(cell).digit == 1


@pytest.mark.parametrize("noise", [1.0, 4.0, 10.0])
def test_blank_paper_in_a_photo_has_no_ink(noise: float, read: Read) -> None:
    with pytest.raises(NoInk):
        read(photo(np.full((300, 400), 255, np.uint8), noise=noise))
