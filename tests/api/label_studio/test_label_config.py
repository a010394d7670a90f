"""Label configs come from outside: what can be filled is found, and nothing in them costs much."""

from __future__ import annotations

import pytest

from app.api.label_studio import label_config
from app.api.label_studio.label_config import MAX_CONFIG, Control, LabelConfig
from app.wire.problems import MalformedRequest
from tests.api.label_studio.wire import DIGITS, NUMBERS

BILLION_LAUGHS = (
    '<!DOCTYPE View [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<View><Image name="&b;" value="$image"/></View>'
)
FOREIGN_FILE = '<!DOCTYPE View [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>'


def test_choices_boxes_and_text_are_found() -> None:
    assert label_config.parse(DIGITS) == LabelConfig(
        [Control("Choices", "digit", "image", [*map(str, range(10)), "none"])], "image"
    )
    numbers = label_config.parse(NUMBERS)
    assert (numbers.picture_key, numbers.wants_digit, numbers.wants_number) == ("scan", False, True)
    assert [(control.kind, control.name) for control in numbers.controls] == [
        ("RectangleLabels", "digits"),
        ("TextArea", "number"),
    ]


def test_an_alias_is_the_label_that_annotations_carry() -> None:
    xml = (
        '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="Seven" alias="7"/>'
        '<Choice value="None"/></Choices></View>'
    )
    (control,) = label_config.parse(xml).controls
    assert [control.get_label(digit) for digit in (7, None, 8)] == ["7", "None", None]


def test_what_no_picture_has_and_what_no_digit_is_are_left_alone() -> None:
    xml = (
        '<View><Text name="t" value="$t"/><Choices name="a" toName="t"><Choice value="7"/></Choices>'
        '<Image name="i" value="$i"/><Choices name="b" toName="i"><Choice value="cat"/></Choices>'
        '<TextArea name="c" toName="i" perRegion="true"/>'
        '<Choices name="d" toName="i"><Choice value="1"/></Choices>'
        '<Image name="j" value="$j"/><TextArea name="e" toName="j"/></View>'
    )
    config = label_config.parse(xml)
    assert ([control.name for control in config.controls], config.picture_key) == (["d"], "i")


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "is not XML"),
        ("<View>", "is not XML"),
        ("digits", "is not XML"),
        ("\ud800", "is not XML"),
        (BILLION_LAUGHS, "document type"),
        (FOREIGN_FILE, "document type"),
        ("<View>&a;</View>", "is not XML"),
        ("<View/>" + " " * MAX_CONFIG, str(MAX_CONFIG)),
        ("<View/>", "nothing that can be filled"),
        (
            '<View><Image name="i" value="$i"/><RectangleLabels name="r" toName="i"/></View>',
            "nothing that can",
        ),
        ('<?xml version="1.0" encoding="utf-16"?><View/>', "nothing that can be filled"),
    ],
)
def test_a_label_config_that_is_of_no_use_is_refused(xml: str, message: str) -> None:
    with pytest.raises(MalformedRequest, match=message):
        label_config.parse(xml)


def test_deep_nesting_is_only_nesting() -> None:
    depth = MAX_CONFIG // 8
    with pytest.raises(MalformedRequest, match="nothing that can be filled"):
        label_config.parse("<a>" * depth + "</a>" * depth)
