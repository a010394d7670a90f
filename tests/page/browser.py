"""A real browser, headless, and what a person does in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.data import strokes
from tests.needs import CHROMIUM

# this machine by a name for which browsers want HTTPS before they lend a camera
ELSEWHERE: Final = "digits.test"
_ARGUMENTS: Final = (
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # which Chromium refuses to root
)
Box = tuple[float, float, float, float]  # x, y, width, height in shares of the sheet
MIDDLE: Final[Box] = (0.36, 0.2, 0.28, 0.6)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """What a page asks for, and what the browser complains of."""

    def __init__(self, page: Page) -> None:
        self.requested_urls: list[str] = []  # addresses that pictures were sent to
        self.most_at_once = 0
        self.refusals: list[int] = []  # statuses
        self._open: set[Request] = set()
        self._complaints: list[str] = []
        self._hosts: set[str] = set()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_finished)
        page.on("requestfailed", self._on_finished)
        page.on("response", self._on_response)

    def check(self, page: Page) -> None:
        """Assert that nothing was complained of and nobody else was asked."""
        assert not self._complaints, self._complaints
        assert self._hosts <= {urlsplit(page.url).netloc, ""}  # data: and blob: have none

    def _on_console(self, message: ConsoleMessage) -> None:
        # the browser's remark on every refusal and whenever it is offline; tests look at `refusals`
        if not message.text.startswith("Failed to load resource"):
            self._complaints.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        self._hosts.add(urlsplit(request.url).netloc)
        if request.method == "POST":
            self._open.add(request)
            self.requested_urls.append(request.url)
            self.most_at_once = max(self.most_at_once, len(self._open))

    def _on_finished(self, request: Request) -> None:
        self._open.discard(request)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.refusals.append(response.status)


def write(page: Page, digit: int, box: Box = MIDDLE) -> None:
    """Write a digit on the sheet with the mouse."""
    for first, *others in points(page, digit, box):
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point)
        page.mouse.up()


def write_number(page: Page, text: str) -> None:
    """Write several digits in a row."""
    pitch = 0.86 / len(text)
    for index, digit in enumerate(text):
        write(page, int(digit), (0.07 + (index + 0.12) * pitch, 0.3, 0.72 * pitch, 0.4))


def scrawl(page: Page) -> None:
    """Draw something that is no digit: a ladder."""
    for x in (0.3, 0.5):
        _line(page, (x, 0.15), (x, 0.85))
    for y in (0.2, 0.35, 0.5, 0.65, 0.8):
        _line(page, (0.3, y), (0.5, y))


def _line(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    sheet = page.locator("#sheet").bounding_box()
    assert sheet
    for (x, y), then in ((start, page.mouse.down), (end, page.mouse.up)):
        page.mouse.move(sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"], steps=8)
        then()


def points(page: Page, digit: int, box: Box = MIDDLE) -> list[list[tuple[float, float]]]:
    """Return a digit's strokes as points on the screen."""
    page.locator("#sheet").scroll_into_view_if_needed()
    sheet = page.locator("#sheet").bounding_box()
    assert sheet
    corner = np.array([sheet["x"], sheet["y"]])
    size = np.array([sheet["width"], sheet["height"]])
    return [
        [(float(x), float(y)) for x, y in corner + size * (np.array(box[:2]) + stroke * box[2:])]
        for stroke in (curve[::3] for curve in strokes.curves(digit))
    ]
