"""How the page shows a whole number: digits, signs and other writing, and how one gets to it from a digit.

Most answers here are written by the tests, so that nothing depends on how well the networks read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from app.api.reader import encode_data_url
from app.api.schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction, NumberSign
from app.digits.numbers import NumberCaution
from tests.page.browser import Watch, write
from tests.page.conftest import Open
from tests.page.test_page import (
    NUMBER,
    PHONE,
    check_accessible,
    expect_reading,
    expect_settled,
    select_number_mode,
)

VIEW: Final = encode_data_url(np.zeros((28, 28), np.uint8))
WIDTH, HEIGHT = 900, 300  # of the picture 4071.jpg
TABLET: Final = {"width": 768, "height": 1024}
DESKTOP: Final = {"width": 1280, "height": 800}
MANY_DIGITS: Final = ("0123456789" * 4, "9876543210" * 2)


def build_answer(
    lines: Sequence[str],
    *,
    ignored: Sequence[tuple[int, int, int, int]] = (),
    warnings: Sequence[NumberCaution] = (),
) -> NumberPrediction:
    """Return an answer with these lines, whose characters stand on a grid; the last digit has no view."""
    pitch = WIDTH // max(map(len, lines), default=1)
    digits, signs = [], []
    for line, text in enumerate(lines):
        for column, character in enumerate(text):
            box = (column * pitch, 20 + 140 * line, pitch // 2, 100)
            if character.isdigit():
                digits.append(
                    NumberDigit(digit=int(character), confidence=0.9, box=box, line=line, view=VIEW)
                )
            else:
                signs.append(NumberSign(sign=character, confidence=0.9, box=box, line=line))
    digits[-1:] = [digit.model_copy(update={"view": None}) for digit in digits[-1:]]
    numbers = ["".join(filter(str.isdigit, line)) for line in lines]
    return NumberPrediction(
        text="\n".join(numbers),
        lines=numbers,
        written="\n".join(lines),
        confidence=0.9 if digits else 0.0,
        digits=digits,
        signs=signs,
        ignored=list(ignored),
        model=ModelRef(name="cnn", version="1"),
        image=ImageInfo(width=WIDTH, height=HEIGHT, polarity="dark_on_light", box=(0, 0, WIDTH, HEIGHT)),
        warnings=list(warnings),
    )


def show_answer(page: Page, answer: NumberPrediction) -> None:
    """Let the service give this answer, and ask it."""
    body: Any = answer.model_dump(mode="json")

    def give_answer(route: Route) -> None:
        route.fulfill(json=body)

    page.route("**/predict/number?*", give_answer)
    select_number_mode(page)
    page.locator("#file").set_input_files(NUMBER)
    expect_reading(page, answer.written or "?")


def test_digits_signs_and_other_writing_have_lines_of_three_kinds(page: Page) -> None:
    show_answer(page, build_answer(["10,5"], ignored=[(800, 20, 60, 100)], warnings=["ignored_writing"]))
    expect(page.locator(".boxes text:not(:empty)")).to_have_text(["1", "0", "5", ","])
    patterns = page.locator(".boxes rect:not(.casing)").evaluate_all(
        "boxes => boxes.map((box) => getComputedStyle(box).strokeDasharray)"
    )
    digits, (sign, other) = patterns[:3], patterns[3:]
    assert set(digits) == {"none"}
    assert len({"none", sign, other}) == 3
    expect(page.locator("#warnings")).to_contain_text("other writing, which was not read")
    check_accessible(page)


@pytest.mark.parametrize(
    ("answer", "explained"),
    [
        (build_answer(["42"]), []),
        (build_answer(["4,2"]), ["digit", "sign"]),
        (build_answer(["42"], ignored=[(800, 20, 60, 100)]), ["digit", "not in the answer"]),
        (
            build_answer(["4,2"], ignored=[(800, 20, 60, 100)]),
            ["digit", "sign", "not in the answer"],
        ),
    ],
    ids=["digits", "signs", "other writing", "all"],
)
def test_the_kinds_of_boxes_are_explained_if_there_are_several(
    page: Page, answer: NumberPrediction, explained: list[str]
) -> None:
    legend = page.locator(".legend span:visible")
    expect(legend).to_have_count(0)
    show_answer(page, answer)
    expect(legend).to_have_text(explained)
    page.get_by_role("button", name="Clear").click()
    expect(legend).to_have_count(0)


def test_each_digit_is_shown_as_the_network_saw_it_in_rows_by_lines(page: Page) -> None:
    show_answer(page, build_answer(["12,5", "07"]))
    expect(page.locator("#digit")).to_have_text("12,5\n07", use_inner_text=True)
    expect(page.locator("#bars .name")).to_have_text(list("12507"))
    expect(page.locator("#bars img:visible")).to_have_count(4)  # the last digit has none
    boxes = [column.bounding_box() for column in page.locator("#bars li").all()]
    left, top = zip(*((box["x"], box["y"]) for box in boxes if box), strict=True)
    assert left[0] < left[1] < left[2]
    assert left[3] == left[0]
    assert top[0] == top[2] < top[3] == top[4]
    expect_settled(page, "12,5, 07: 90.0 % sure that all 5 digits are right.")


@pytest.mark.parametrize("viewport", [PHONE, TABLET, DESKTOP], ids=["phone", "tablet", "desktop"])
def test_a_long_number_wraps(open_page: Open, client: httpx.Client, viewport: dict[str, int]) -> None:
    page = open_page(str(client.base_url), viewport=viewport, reduced_motion="reduce")
    show_answer(page, build_answer(MANY_DIGITS))
    expect(page.locator("#bars img:visible")).to_have_count(59)
    check_accessible(page)
    panel = page.locator("#answer").bounding_box()
    assert panel
    for column in page.locator("#bars li").all():
        box = column.bounding_box()
        assert box
        assert box["width"] >= 28  # each pixel of the picture is at least one of the screen
        assert panel["x"] <= box["x"]
        assert box["x"] + box["width"] <= panel["x"] + panel["width"] + 1


def test_a_number_without_digits_has_neither_columns_nor_pictures(page: Page) -> None:
    show_answer(page, build_answer([], warnings=["no_digits"]))
    expect(page.locator("#words")).to_have_text("No digit was found.")
    expect(page.locator("#warnings")).to_contain_text("very small or very pale")
    expect(page.locator("#bars-title")).not_to_be_visible()
    expect(page.locator("#view")).not_to_be_visible()


def test_a_picture_of_several_digits_offers_to_read_them_all(page: Page, watch: Watch) -> None:
    offer = page.get_by_role("button", name="Read the whole number")
    expect(offer).not_to_be_visible()
    page.get_by_label("One digit").check()
    page.locator("#file").set_input_files(NUMBER)
    expect(offer).to_be_visible()
    expect(page.locator(".boxes rect.other")).not_to_have_count(0)
    expect(page.locator(".legend span:visible")).to_have_text(["digit", "not in the answer"])
    check_accessible(page)
    offer.click()
    expect_reading(page, "4071")
    expect(offer).not_to_be_visible()
    expect(page.locator("#sheet")).to_have_attribute("data-state", "picture")
    assert [url.partition("?")[0].rpartition("/predict")[2] for url in watch.requested_urls] == [
        "",
        "/number",
    ]


def test_the_offer_is_announced_and_taken_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("One digit").check()
    write(page, 7, (0.55, 0.2, 0.3, 0.6))
    write(page, 1, (0.2, 0.3, 0.1, 0.5))
    expect_settled(page, "There are several digits")
    page.get_by_role("button", name="Read the whole number").press("Enter")
    expect(page.get_by_label("Whole number")).to_be_checked()
    expect(page.get_by_label("Whole number")).to_be_focused()
    expect_settled(page, "17: ")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("One digit")).to_be_checked()
    expect(page.get_by_role("button", name="Read the whole number")).to_be_visible()


def test_one_digit_alone_gets_no_offer(page: Page) -> None:
    write(page, 7)
    expect_settled(page, "7, ")
    expect(page.get_by_role("button", name="Read the whole number")).not_to_be_visible()
