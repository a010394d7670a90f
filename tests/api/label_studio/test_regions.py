"""What is read becomes regions, as far as the project offers labels for it."""

from __future__ import annotations

import pytest

from app.api.label_studio.label_config import Control
from app.api.label_studio.regions import describe_digit, describe_number
from app.api.schemas import NumberPrediction, Prediction
from app.reading import read_digit, read_number
from tests.conftest import GOLDEN, ROOT


@pytest.fixture(scope="module")
def seven() -> Prediction:
    return read_digit(GOLDEN / "7-photo.jpg")


@pytest.fixture(scope="module")
def number() -> NumberPrediction:
    return read_number(ROOT / "tests" / "data" / "numbers" / "4071.jpg")


@pytest.mark.parametrize(
    ("labels", "is_digit", "chosen"),
    [
        (["7", "none"], True, {"7": 0.995}),
        (["7", "None "], False, {"None ": 0.9}),
        (["7"], False, {}),
        (["3", "none"], True, {}),
    ],
)
def test_a_digit_or_none_is_chosen_if_there_is_such_a_choice(
    seven: Prediction, *, labels: list[str], is_digit: bool, chosen: dict[str, float]
) -> None:
    prediction = seven.model_copy(update={"is_digit": is_digit, "digit_likelihood": 0.1})
    regions = list(describe_digit(Control("Choices", "c", "i", labels), prediction))
    assert {region["value"]["choices"][0]: round(region["score"], 3) for region in regions} == chosen


def test_boxes_have_the_only_label_if_none_is_a_digit(number: NumberPrediction) -> None:
    regions = list(describe_number(Control("RectangleLabels", "r", "i", ["character"]), number))
    assert [region["value"]["rectanglelabels"] for region in regions] == [["character"]] * 4


def test_a_picture_without_digits_has_no_text(number: NumberPrediction) -> None:
    empty = number.model_copy(update={"digits": [], "written": ""})
    assert list(describe_number(Control("TextArea", "t", "i", []), empty)) == []
