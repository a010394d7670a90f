"""The page asks whether it was right, where the service keeps the answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.feedback.store import Store
from app.settings import Settings
from tests.page.browser import Watch, scrawl, write, write_number
from tests.page.conftest import Open
from tests.page.test_page import (
    PHONE,
    SEVEN,
    check_accessible,
    expect_reading,
    expect_settled,
    select_number_mode,
)
from tests.serving import serve


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/feedback.db"


@pytest.fixture
def service(url: str) -> Iterator[httpx.Client]:
    with serve(Settings(feedback_url=url)) as client:
        yield client


@pytest.fixture
def page_with_feedback(open_page: Open, service: httpx.Client) -> Page:
    """The page of a service that keeps what is right."""
    return open_page(str(service.base_url))


def list_stored(url: str) -> list[tuple[int | None, str, bytes]]:
    """Return the right digit, the model and the picture of all that is kept."""
    with closing(Store(url, timeout=10)) as store:
        pictures = {picture_id: picture for picture_id, _, picture in store.iterate_pictures()}
        return [
            (entry.digit, entry.prediction["model"]["name"], pictures[entry.id])
            for entry in store.iterate_entries()
        ]


def expect_question(page: Page, text: str) -> None:
    expect(page.locator("#question")).to_have_text(text)


def test_without_feedback_the_page_asks_nothing(page: Page) -> None:
    write(page, 7)
    expect_settled(page, "7, ")
    expect(page.locator("#judge")).not_to_be_visible()
    expect(page.locator("footer")).to_contain_text("which does not store them")


def test_a_yes_is_stored_with_exactly_the_picture_sent(page_with_feedback: Page, url: str) -> None:
    expect(page_with_feedback.locator("footer")).to_contain_text("which stores those you give feedback on")
    expect(page_with_feedback.locator("#judge")).not_to_be_visible()
    page_with_feedback.locator("#file").set_input_files(SEVEN)
    expect_reading(page_with_feedback, "7")
    expect_question(page_with_feedback, "Was this right?")
    page_with_feedback.get_by_role("button", name="Yes").click()
    expect_question(page_with_feedback, "Thank you. The picture has been saved for training.")
    expect(page_with_feedback.locator("#status")).to_have_text(
        "Thank you. The picture has been saved for training."
    )
    assert list_stored(url) == [(7, "cnn", SEVEN.read_bytes())]


def test_a_prediction_can_be_corrected_by_keyboard_alone(page_with_feedback: Page, url: str) -> None:
    page_with_feedback.get_by_label("Network").select_option("linear")
    write(page_with_feedback, 7)
    expect_settled(page_with_feedback, "7, ")
    page_with_feedback.get_by_role("button", name="No", exact=True).press("Enter")
    expect_question(page_with_feedback, "What is it?")
    for _ in range(3):  # no digit, 0, 1
        page_with_feedback.keyboard.press("Tab")
    page_with_feedback.keyboard.press("Enter")
    expect_question(page_with_feedback, "Thank you. The picture has been saved for training.")
    assert page_with_feedback.evaluate("document.activeElement.id") == "question"
    assert [entry[:2] for entry in list_stored(url)] == [(1, "linear")]


def test_a_picture_without_a_digit_can_be_reported_in_two_ways(page_with_feedback: Page, url: str) -> None:
    page_with_feedback.get_by_label("One digit").check()
    scrawl(page_with_feedback)
    expect(page_with_feedback.locator("#answer")).to_have_attribute("data-state", "doubt")
    expect_settled(page_with_feedback, "does not look like a digit")
    page_with_feedback.get_by_role("button", name="Yes").click()
    expect_question(page_with_feedback, "Thank you. The picture has been saved for training.")
    page_with_feedback.get_by_role("button", name="Clear").click()
    write(page_with_feedback, 7)
    expect_settled(page_with_feedback, "7, ")
    page_with_feedback.get_by_role("button", name="No", exact=True).click()
    page_with_feedback.get_by_role("button", name="No digit").click()
    expect_question(page_with_feedback, "Thank you. The picture has been saved for training.")
    assert [entry[0] for entry in list_stored(url)] == [None, None]


def test_the_page_asks_about_every_digit_but_not_about_numbers(page_with_feedback: Page) -> None:
    write(page_with_feedback, 7)
    expect_settled(page_with_feedback, "7, ")
    page_with_feedback.get_by_role("button", name="Yes").click()
    expect_question(page_with_feedback, "Thank you. The picture has been saved for training.")
    page_with_feedback.get_by_role("button", name="Clear").click()
    expect(page_with_feedback.locator("#judge")).not_to_be_visible()
    write(page_with_feedback, 3)
    expect_reading(page_with_feedback, "3")
    expect_question(page_with_feedback, "Was this right?")
    select_number_mode(page_with_feedback)
    page_with_feedback.get_by_role("button", name="Clear").click()
    write_number(page_with_feedback, "40")
    expect_reading(page_with_feedback, "40")
    expect(page_with_feedback.locator("#judge")).not_to_be_visible()


def test_feedback_that_failed_can_be_sent_again(open_page: Open, watches: dict[Page, Watch]) -> None:
    with serve(Settings(feedback_url="postgresql://127.0.0.1:1/digits")) as client:
        page = open_page(str(client.base_url))
        write(page, 7)
        expect_settled(page, "7, ")
        page.get_by_role("button", name="Yes").click()
        expect(page.locator("#question")).to_contain_text("does not answer at the moment. Try again in")
        with page.expect_request("**/feedback?digit=7&model=cnn"):
            page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        expect_reading(page, "7")
        assert watches[page].refusals == [503, 503]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desktop"])
def test_the_question_is_accessible(
    open_page: Open, service: httpx.Client, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(str(service.base_url), color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    write(page, 7)
    expect_settled(page, "7, ")
    check_accessible(page)
    page.get_by_role("button", name="No", exact=True).click()
    digits = page.locator("#judge div button")
    expect(digits).to_have_text([str(digit) for digit in range(10)])
    tops = digits.evaluate_all("buttons => buttons.map(button => button.getBoundingClientRect().top)")
    assert len(set(tops)) == (2 if viewport == PHONE else 1)  # rows: fingers need wide buttons
    check_accessible(page)
    digits.nth(1).click()
    expect_question(page, "Thank you. The picture has been saved for training.")
    check_accessible(page)
