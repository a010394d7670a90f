"""Nothing on the page moves unless the user moves it: neither while it loads nor when answers arrive."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from app.settings import Settings
from tests.page.browser import scrawl, write, write_number
from tests.page.conftest import Open
from tests.page.test_page import (
    NUMBER,
    SEVEN,
    TEXT,
    expect_reading,
    expect_settled,
    select_number_mode,
)
from tests.serving import serve

VIEWPORTS: Final = {
    "phone": {"width": 390, "height": 844},
    "tablet": {"width": 820, "height": 1180},
    "desktop": {"width": 1280, "height": 800},
    "landscape": {"width": 844, "height": 390},
}
MAX_SHIFT: Final = 0.02  # a fifth of what Web Vitals call good
BUSY: Final = {"detail": "The service is busy: all of its places are taken. Try again in 1 s."}
# also the shifts within half a second of an input, which Web Vitals ignore: somebody draws all the time
OBSERVE: Final = """
    window.shifts = [];
    const name = ({ node, previousRect, currentRect }) =>
        [node?.id || node?.className || node?.nodeName, previousRect.y, currentRect.y];
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) shifts.push([value, sources.map(name)]);
    }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(params=VIEWPORTS)
def viewport(request: pytest.FixtureRequest) -> dict[str, int]:
    return VIEWPORTS[request.param]


def open_observed(open_page: Open, address: str, viewport: dict[str, int], path: str = "/") -> Page:
    """Open a page whose font and first answers arrive late, and record what moves."""
    page = open_page("about:blank", viewport=viewport)
    page.add_init_script(OBSERVE)

    def delay(route: Route) -> None:
        time.sleep(0.15)
        route.continue_()

    for late in ("**/*.woff2", "**/models", "**/health/ready", "**/openapi.json"):
        page.route(late, delay)
    page.goto(f"{address}{path}")
    return page


def check_still(page: Page) -> None:
    page.evaluate("new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)))")
    shifts: list[Any] = page.evaluate("shifts")
    assert sum(value for value, _ in shifts) < MAX_SHIFT, shifts


def test_nothing_moves_while_the_page_loads(
    open_page: Open, tmp_path: Path, viewport: dict[str, int]
) -> None:
    with serve(Settings(feedback_url=f"sqlite:///{tmp_path}/feedback.db")) as client:
        page = open_observed(open_page, str(client.base_url).rstrip("/"), viewport)
        expect(page.locator("#model option")).to_have_count(4)
        expect(page.locator("#health")).to_have_text("Ready")
        check_still(page)
        write(page, 7)
        expect_settled(page, "7, ")
        expect(page.locator("#question")).to_be_visible()
        check_still(page)


def test_nothing_moves_while_the_reference_loads(
    open_page: Open, client: httpx.Client, viewport: dict[str, int]
) -> None:
    page = open_observed(open_page, str(client.base_url).rstrip("/"), viewport, "/docs")
    expect(page.locator("details.call")).not_to_have_count(0)
    check_still(page)


def test_nothing_moves_when_answers_warnings_and_errors_arrive(
    open_page: Open, client: httpx.Client, viewport: dict[str, int]
) -> None:
    page = open_observed(open_page, str(client.base_url).rstrip("/"), viewport)
    expect(page.locator("#model option")).to_have_count(4)
    page.get_by_label("One digit").check()
    write(page, 7, (0.55, 0.2, 0.3, 0.6))
    expect_reading(page, "7")
    write(page, 1, (0.2, 0.3, 0.1, 0.5))
    expect(page.locator("#warnings li")).not_to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    scrawl(page)
    expect(page.locator("#answer")).to_have_attribute("data-state", "doubt")
    for file, found in ((TEXT, page.get_by_role("alert")), (SEVEN, page.locator(".boxes text"))):
        page.locator("#file").set_input_files(file)
        expect(found).to_be_visible()
    page.route("**/predict?*", refuse)
    write(page, 1)
    expect(page.get_by_role("alert")).to_contain_text("Retrying in 1 s.")
    page.unroute("**/predict?*")
    expect_reading(page, "1")
    check_still(page)


def refuse(route: Route) -> None:
    route.fulfill(status=503, headers={"Retry-After": "1"}, body=json.dumps(BUSY))


def test_nothing_moves_when_numbers_are_read(
    open_page: Open, client: httpx.Client, viewport: dict[str, int]
) -> None:
    page = open_observed(open_page, str(client.base_url).rstrip("/"), viewport)
    expect(page.locator("#model option")).to_have_count(4)
    select_number_mode(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Write a number")
    page.evaluate("shifts.length = 0")  # the user has chosen another view
    page.locator("#file").set_input_files(NUMBER)
    expect_reading(page, "4071")
    page.get_by_role("button", name="Clear").click()
    write_number(page, "407")
    expect_reading(page, "407")
    check_still(page)


def test_nothing_moves_when_the_service_is_lost_or_asks_for_a_key(
    open_page: Open, client: httpx.Client, viewport: dict[str, int]
) -> None:
    page = open_observed(open_page, str(client.base_url).rstrip("/"), viewport)
    write(page, 7)
    expect_reading(page, "7")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).not_to_be_visible()
    page.route(
        "**/models", lambda route: route.fulfill(status=401, body='{"detail": "The service requires a key."}')
    )
    page.reload()
    expect(page.get_by_label("This service requires a key.")).to_be_visible()
    check_still(page)
