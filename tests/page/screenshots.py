"""The pictures of the page in the documents: `python -m tests.page.screenshots` takes them again."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.settings import Settings
from tests.conftest import ROOT
from tests.page.browser import chromium, write, write_number
from tests.serving import serve

DOCS: Final = ROOT / "docs"
DESKTOP: Final = (1280, 744)
PHONE: Final = (390, 844)
COLOURS: Final = 256  # nobody sees the others, and the file is half as large


def main() -> None:
    """Take all of them."""
    with serve(Settings(log_level="error")) as client, chromium() as browser:
        address = str(client.base_url)
        page = _open_page(browser, address, DESKTOP)
        write(page, 7)
        _take_screenshot(page, "7", DOCS / "page-desktop.png")
        page = _open_page(browser, address, DESKTOP, scheme="dark")
        page.get_by_label("Whole number").check()
        write_number(page, "4071")
        _take_screenshot(page, "4071", DOCS / "page-dark.png")
        page.get_by_text("Service metrics").click()
        expect(page.locator("#digits-read dd")).to_have_count(10)
        _save(page.locator("#numbers").screenshot(), DOCS / "page-numbers.png")
        page = _open_page(browser, address, PHONE, scale=2)
        write(page, 3)
        _take_screenshot(page, "3", DOCS / "page-phone.png")


def _open_page(
    browser: Browser,
    address: str,
    size: tuple[int, int],
    *,
    scheme: Literal["light", "dark"] = "light",
    scale: float = 1,
) -> Page:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        device_scale_factor=scale,
    )
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#model option")).not_to_have_count(0)
    return page


def _take_screenshot(page: Page, text: str, file: Path) -> None:
    expect(page.locator("#status")).to_contain_text(text)  # the last answer has come
    _save(page.screenshot(), file)


def _save(picture: bytes, file: Path) -> None:
    Image.open(BytesIO(picture)).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
