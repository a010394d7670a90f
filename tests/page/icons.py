"""The icons of the page, and its picture for links: `python -m tests.page.icons` makes them again."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.api.page import FOLDER
from app.settings import Settings
from tests.page.browser import chromium, write
from tests.serving import serve

COLOURS: Final = 64
ROUNDED, SQUARE = 'rx="8"', 'rx="0"'
# systems cut maskable icons to a shape of their own, which holds the middle 80 %
SHRUNK: Final = 'transform="translate(4 4) scale(.75)"'
CARD: Final = """async () => {
    const { drawCard } = await import("./static/card.js");
    const texts = { written: "7", words: "over 99.9 % sure", address: "Draw a digit. A network reads it." };
    const blob = await drawCard(document.querySelectorAll("#sheet canvas"), texts);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def main() -> None:
    """Make all of them."""
    icon = (FOLDER / "icon.svg").read_text()
    maskable = icon.replace(ROUNDED, SQUARE).replace("<path ", f"<path {SHRUNK} ")
    with serve(Settings(log_level="error")) as client, chromium() as browser:
        for name, size, svg in (
            ("icon-192.png", 192, icon),
            ("icon-512.png", 512, icon),
            ("icon-maskable.png", 512, maskable),
        ):
            _save(_draw_icon(browser, svg, size), name)
        page = browser.new_page(color_scheme="light", device_scale_factor=2)
        page.goto(str(client.base_url))
        write(page, 7)
        expect(page.locator("#digit")).to_have_text("7")
        _save(_draw_card(page), "card.png")


def _draw_icon(browser: Browser, svg: str, size: int) -> bytes:
    page = browser.new_page(viewport={"width": size, "height": size})
    page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{svg}")
    return page.screenshot(omit_background=True)


def _draw_card(page: Page) -> bytes:
    return base64.b64decode(page.evaluate(CARD))


def _save(picture: bytes, name: str) -> None:
    """Save a picture with few colours, which nobody can tell from the original."""
    image = Image.open(BytesIO(picture))
    has_alpha = np.asarray(image.convert("RGBA"))[..., 3].min() < 255
    method = Image.Quantize.FASTOCTREE if has_alpha else Image.Quantize.MEDIANCUT
    image.convert("RGBA" if has_alpha else "RGB").quantize(COLOURS, method).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
