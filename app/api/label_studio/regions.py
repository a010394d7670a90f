"""Predictions as regions in Label Studio's JSON, and annotations back as digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..schemas import ImageInfo, NumberDigit, NumberPrediction, Prediction
from .label_config import Control, LabelConfig, read_label

Region = dict[str, Any]
CHOICES: Final = "choices"


def describe_digit(control: Control, prediction: Prediction) -> Iterator[Region]:
    """Yield the choice of a digit, or of "no digit"; nothing if the project offers no such choice."""
    digit, score = prediction.digit, prediction.confidence
    label = control.get_label(digit)
    if not prediction.is_digit:
        label, score = control.get_label(None), 1 - (prediction.digit_likelihood or 0)
    if label is not None:
        yield _build_region(control, CHOICES, [label], score)


def describe_number(control: Control, number: NumberPrediction) -> Iterator[Region]:
    """Yield the number as text, or the box of each of its digits; nothing if there are no digits."""
    if control.kind == "TextArea":
        if number.digits:
            yield _build_region(control, "text", [number.written], number.confidence, kind="textarea")
        return
    for index, digit in enumerate(number.digits):
        yield _describe_box(control, digit, number.image) | {"id": f"{control.name}-{index}"}


def _describe_box(control: Control, digit: NumberDigit, image: ImageInfo) -> Region:
    """Return a rectangle with its digit as label, or with the first label if there is none for digits."""
    label = control.get_label(digit.digit) or control.labels[0]
    x, y, width, height = digit.box
    region = _build_region(control, "rectanglelabels", [label], digit.confidence)
    region["value"] |= {
        "x": 100 * x / image.width,
        "y": 100 * y / image.height,
        "width": 100 * width / image.width,
        "height": 100 * height / image.height,
        "rotation": 0,
    }
    return region | {"original_width": image.width, "original_height": image.height, "image_rotation": 0}


def _build_region(
    control: Control, member: str, labels: Sequence[str], score: float, *, kind: str | None = None
) -> Region:
    return {
        "from_name": control.name,
        "to_name": control.object_name,
        "type": kind or member,
        "value": {member: labels},
        "score": score,
    }


def find_digit(regions: Sequence[Mapping[str, Any]], config: LabelConfig) -> tuple[int | None] | None:
    """Return the digit that somebody chose for a picture, in a tuple; None if they chose none or several."""
    names = {control.name for control in config.controls if control.kind == "Choices"}
    chosen = {
        read_label(label)
        for region in regions
        if region.get("type") == CHOICES and region.get("from_name") in names
        for label in _list_choices(region)
    }
    return chosen.pop() if len(chosen) == 1 else None


def _list_choices(region: Mapping[str, Any]) -> Sequence[object]:
    value = region.get("value")
    choices = value.get(CHOICES) if isinstance(value, dict) else None
    return choices if isinstance(choices, list) else ()
