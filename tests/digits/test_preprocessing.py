from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from PIL import Image

from app.digits.classifier import Classifier
from app.digits.contract import CLASSIFIER, CONTRACT_VERSIONS, GreyPicture
from app.digits.errors import NoInk
from app.digits.finder import Finder
from app.digits.light import remove_dead_pixels
from app.digits.preprocessing import STEPS, CanonicalForm, canonicalise, is_canonical
from app.digits.working_picture import THUMBNAIL_SIDE, WorkingPicture
from tests.conftest import golden_uploads
from tests.data.golden import CANONICAL, FOLDER, uploads, whole_uploads
from tests.data.strokes import ink
from training.data.labelled import Labelled
from training.data.uploads import encode_png, read_canonical

ROUNDING = 2  # grey levels in which processors' vector units may differ; a changed step differs by more


@pytest.mark.parametrize("name", dict(whole_uploads()))
def test_a_golden_upload_still_gives_its_canonical_picture(name: str) -> None:
    found = read_canonical((FOLDER / name).read_bytes()).picture
    expected = np.asarray(Image.open(FOLDER / f"{name}{CANONICAL}"))
    distance = np.abs(found.astype(int) - expected).max()
    assert distance <= ROUNDING, (
        f"The canonical picture has changed. If that is meant, raise {CONTRACT_VERSIONS[CLASSIFIER]} in "
        "CONTRACT_VERSIONS, train and export the classifiers again, and run `python -m tests.data.golden`."
    )


@pytest.mark.parametrize("upload", golden_uploads(), ids=lambda file: file.name)
def test_the_default_model_reads_every_golden_upload(
    upload: Path, classifier: Classifier, finder: Finder
) -> None:
    found = read_canonical(upload.read_bytes(), classifier=classifier, finder=finder).picture
    assert classifier.classify(found[np.newaxis]).probabilities.argmax() == int(upload.name[0])


def test_every_golden_upload_is_made_by_the_script_beside_it() -> None:
    assert {name for name, _ in uploads()} == {file.name for file in golden_uploads()}


@pytest.mark.mnist
def test_mnist_pictures_stay_as_they_are(mnist_test: Labelled) -> None:
    unchanged = sum(
        np.array_equal(read_canonical(encode_png(picture)).picture, picture)
        for picture in mnist_test.pictures
    )
    assert unchanged >= 9_997


@pytest.mark.mnist
def test_mnist_in_black_on_white_gives_the_same_pictures(mnist_test: Labelled) -> None:
    for picture in mnist_test.pictures[:500]:
        found = read_canonical(encode_png(255 - picture))
        np.testing.assert_array_equal(found.picture, picture)
        assert found.polarity == "dark_on_light"


SHAPES = nps.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
FEW_TONES = st.sampled_from([0, 1, 40, 128, 254, 255])


@given(nps.arrays(np.uint8, SHAPES) | nps.arrays(np.uint8, SHAPES, elements=FEW_TONES))
@example(np.pad(np.full((2, 138), 255, np.uint8), 1))  # a frame with next to nothing inside
@example(np.array([[0], [255], [0], [9]], np.uint8))  # OpenCV takes 4x1 for a scalar
def test_any_picture_is_brought_into_canonical_form_or_has_no_ink(grey: GreyPicture) -> None:
    try:
        found = canonicalise(grey)
    except NoInk:
        return
    assert is_canonical(found.picture)
    left, top, width, height = found.box
    assert left >= 0
    assert top >= 0
    assert left + width <= grey.shape[1]
    assert top + height <= grey.shape[0]


@st.composite
def drawings(draw: st.DrawFn) -> tuple[int, GreyPicture]:
    """A digit, dark on light: anywhere, at any size, with any pen."""
    digit, height = draw(st.integers(0, 9)), draw(st.integers(24, 200))
    width = max(10, int(height * draw(st.floats(0.4, 0.8))))
    room = (width + draw(st.integers(30, 200)), height + draw(st.integers(30, 200)))
    x = draw(st.integers(15, room[0] - width - 15))
    y = draw(st.integers(15, room[1] - height - 15))
    pen = draw(st.integers(1, max(1, height // 6)))
    return digit, 255 - ink(digit, room, box=(x, y, width, height), pen=pen)


@given(drawings())
def test_preprocessing_twice_gives_the_same_as_once(drawing: tuple[int, GreyPicture]) -> None:
    first = canonicalise(drawing[1]).picture
    second = read_canonical(encode_png(first))
    np.testing.assert_array_equal(second.picture, first)
    np.testing.assert_array_equal(read_canonical(encode_png(255 - first)).picture, first)


@given(drawings())
def test_polarity_changes_nothing_but_its_name(drawing: tuple[int, GreyPicture]) -> None:
    dark, light = canonicalise(drawing[1]), canonicalise(255 - drawing[1])
    assert (dark.polarity, light.polarity) == ("dark_on_light", "light_on_dark")
    assert draw_apart(dark, light) < HALF_A_STROKE
    # shrinking rounds grey levels: now and then the ink is one pixel longer on the small copy
    copy_pixel = max(drawing[1].shape) / THUMBNAIL_SIDE
    np.testing.assert_allclose(dark.box, light.box, atol=1 + max(1, copy_pixel))


@pytest.mark.parametrize(
    ("size", "box", "pen"),
    [((162, 240), (39, 20, 96, 200), 33), ((279, 229), (15, 15, 79, 199), 33)],
)
def test_a_bold_1_from_border_to_border_is_not_taken_for_paper_on_a_desk(
    size: tuple[int, int], box: tuple[int, int, int, int], pen: int
) -> None:
    bar = canonicalise(255 - ink(1, size, box=box, pen=pen))
    assert bar.polarity == "dark_on_light"
    assert bar.box[3] > 0.9 * size[1]


@given(drawings(), st.integers(0, 60), st.integers(0, 60))
def test_more_room_around_the_digit_changes_little(
    drawing: tuple[int, GreyPicture], across: int, down: int
) -> None:
    roomy = cv2.copyMakeBorder(drawing[1], down, 0, across, 0, cv2.BORDER_CONSTANT, value=255)
    assert draw_apart(canonicalise(roomy), canonicalise(drawing[1])) < HALF_A_STROKE


def digit(number: int = 6, *, side: int = 200, pen: int = 10) -> NDArray[np.uint8]:
    return 255 - ink(number, (side, side), box=(side * 0.35, side * 0.2, side * 0.3, side * 0.55), pen=pen)


HALF_A_STROKE = 14.0  # grey levels, of all pixels on average; other digits differ by 60


def draw_apart(one: CanonicalForm, other: CanonicalForm) -> float:
    """Return by how many grey levels two pictures differ; the centre may be rounded to the next pixel."""
    shifted = (np.roll(other.picture, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1))
    return min(float(np.abs(one.picture.astype(int) - picture).mean()) for picture in shifted)


def is_same(one: CanonicalForm, other: CanonicalForm) -> bool:
    return draw_apart(one, other) < 4


def test_the_box_encloses_the_ink() -> None:
    grey = np.full((100, 150), 255, np.uint8)
    grey[20:70, 90:100] = 0
    assert canonicalise(grey).box == (90, 20, 10, 50)


def test_a_gradient_of_light_changes_little() -> None:
    light = np.linspace(1, 0.45, 200)[None, :]
    assert is_same(canonicalise((digit() * light).astype(np.uint8)), canonicalise(digit()))


def test_a_frame_is_cut_off_and_the_box_stays_in_the_whole_pictures_pixels() -> None:
    framed = digit()
    cv2.rectangle(framed, (0, 0), (199, 199), 0, 8)
    assert is_same(canonicalise(framed), canonicalise(digit()))
    np.testing.assert_allclose(canonicalise(framed).box, canonicalise(digit()).box, atol=2)


def test_a_bar_that_fills_its_paper_is_a_one_rather_than_a_frame() -> None:
    paper = np.full((84, 24), 255, np.uint8)
    paper[6:78, 6:18] = 0
    assert canonicalise(paper).box == (6, 6, 12, 72)
    assert canonicalise(cv2.GaussianBlur(paper, (5, 5), 1)).polarity == "dark_on_light"


def test_a_dark_strip_along_the_border_is_not_ink() -> None:
    shadowed = digit()
    shadowed[:, 180:] = 70
    assert is_same(canonicalise(shadowed), canonicalise(digit()))


def test_specks_are_dropped_and_broken_strokes_are_joined() -> None:
    broken = digit(5)
    broken[95:99] = 255
    broken[10:12, 10:12] = 0
    assert canonicalise(broken).box == canonicalise(digit(5)).box


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_blank_picture_has_no_ink(level: int) -> None:
    with pytest.raises(NoInk):
        canonicalise(np.full((50, 60), level, np.uint8))


@pytest.mark.parametrize("grain", [1, 3, 8, 20])
def test_noise_is_not_ink(grain: float) -> None:
    noise = np.random.default_rng(1).normal(150, grain, (120, 160))
    with pytest.raises(NoInk):
        canonicalise(np.clip(np.rint(noise), 0, 255).astype(np.uint8))


def test_pale_ink_is_read_with_a_warning() -> None:
    pale = canonicalise((230 + digit() * 0.1).astype(np.uint8))
    assert pale.cautions == ("low_contrast",)
    assert pale.picture.max() == 255


def test_two_digits_give_the_larger_one_and_a_warning() -> None:
    pair = np.hstack(
        [np.full((200, 50), 255, np.uint8), digit(3), 255 - ink(1, (200, 200), box=(60, 60, 20, 60), pen=6)]
    )
    found = canonicalise(pair)
    assert found.cautions == ("several_digits",)
    assert 50 <= found.box[0] < 250


def test_a_digit_cut_by_the_border_is_read_with_a_warning() -> None:
    assert "touches_border" in canonicalise(digit()[60:]).cautions


def test_a_tiny_digit_is_read_with_a_warning() -> None:
    assert "tiny" in canonicalise(cv2.resize(digit(), (12, 12), interpolation=cv2.INTER_AREA)).cautions


def test_hair_thin_strokes_come_out_as_bold_as_mnists() -> None:
    thin, usual = canonicalise(digit(pen=1)).picture, canonicalise(digit(pen=12)).picture
    assert 0.5 < thin.sum() / usual.sum() < 1.5


def test_the_steps_can_be_read_aloud() -> None:
    names = [step.__name__ for step in STEPS]
    assert names == [
        "remove_dead_pixels",
        "remove_bands",
        "normalise_polarity",
        "even_light",
        "extract_ink",
        "isolate_digit",
        "crop_to_ink",
        "thicken_strokes",
        "scale_to_size",
        "stretch_contrast",
        "centre",
    ]


def reads(picture: GreyPicture, classifier: Classifier) -> int:
    return int(classifier.classify(canonicalise(picture).picture[np.newaxis]).probabilities.argmax())


def test_a_bold_stroke_that_divides_the_picture_is_not_taken_for_a_desk(classifier: Classifier) -> None:
    paper = np.full((120, 90), 230, np.uint8)
    paper[:, 36:52] = 20
    assert reads(paper, classifier) == 1


@pytest.mark.parametrize("number", range(10))
def test_dead_pixels_are_removed(number: int, classifier: Classifier) -> None:
    scan = ink(number, (56, 56), box=(14, 8, 28, 40), pen=5)
    rng = np.random.default_rng(number)
    struck = np.where(rng.random(scan.shape) < 0.15, rng.choice([0, 255], scan.shape), scan)
    assert reads(struck.astype(np.uint8), classifier) == number


def test_a_digit_of_dots_is_not_taken_for_dead_pixels() -> None:
    dotted = np.zeros((48, 48), np.uint8)
    for angle in np.linspace(0, 2 * np.pi, 36, endpoint=False):
        x, y = round(24 + 14 * np.cos(angle)), round(24 + 20 * np.sin(angle))
        dotted[y : y + 2, x : x + 2] = 255
    np.testing.assert_array_equal(remove_dead_pixels(WorkingPicture(pixels=dotted)).pixels, dotted)


@pytest.mark.parametrize("side", ["left", "across"])
def test_a_band_with_another_background_is_evened_out(side: str, classifier: Classifier) -> None:
    scan = 255 - ink(4, (56, 56), box=(16, 10, 24, 36), pen=5)
    band = np.s_[:, :20] if side == "left" else np.s_[30:44, :]
    scan[band] = 255 - scan[band]
    assert reads(scan, classifier) == 4


def test_a_one_from_border_to_border_is_not_taken_for_a_band(classifier: Classifier) -> None:
    paper = np.full((60, 44), 255, np.uint8)
    paper[:, 18:26] = 0
    assert reads(paper, classifier) == 1


def test_an_open_4_is_one_digit() -> None:
    sheet = np.full((200, 200), 255, np.uint8)
    cv2.line(sheet, (70, 50), (66, 110), 0, 8, cv2.LINE_AA)
    cv2.line(sheet, (66, 110), (112, 108), 0, 8, cv2.LINE_AA)
    cv2.line(sheet, (126, 46), (124, 160), 0, 8, cv2.LINE_AA)
    left, _, width, _ = canonicalise(sheet).box
    assert left < 70
    assert left + width > 124


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("pen", [7, 9])
def test_bold_ink_up_to_the_border_of_a_scan_keeps_its_polarity(number: int, pen: int) -> None:
    cell = ink(number, (60, 76), box=(8, 4, 52, 64), pen=pen) * (170 / 255)
    grain = np.random.default_rng(number).normal(0, 6, cell.shape)
    scan = np.clip(225 - cell + grain, 0, 255).astype(np.uint8)
    assert canonicalise(scan).polarity == "dark_on_light"
    assert canonicalise(255 - scan).polarity == "light_on_dark"


@pytest.mark.parametrize("number", [0, 2, 3, 8])
def test_a_dashed_stroke_is_one_digit(number: int, classifier: Classifier) -> None:
    whole = ink(number, (90, 90), box=(20, 12, 44, 64), pen=2)
    y, x = np.mgrid[:90, :90]
    dashed = np.where((x % 11 < 2) | (y % 11 < 2), 0, whole)
    assert reads(np.asarray(255 - dashed, np.uint8), classifier) == number


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("pen", [9, 11])
def test_ink_that_fills_its_frame_is_not_taken_for_background(number: int, pen: int) -> None:
    drawn = ink(number, (40, 56), box=(5, 5, 30, 46), pen=pen)
    assert canonicalise(255 - drawn).polarity == "dark_on_light"
    assert canonicalise(drawn).polarity == "light_on_dark"


def test_a_small_digit_beside_a_large_one_is_not_part_of_it() -> None:
    alone = 255 - ink(9, (300, 200), box=(60, 40, 70, 120), pen=9)
    pair = alone.copy()
    pair[30:80, 170:210] = 255 - ink(5, (40, 50), box=(8, 4, 24, 42), pen=5)
    found = canonicalise(pair)
    assert found.box == canonicalise(alone).box
    assert found.cautions == ("several_digits",)
