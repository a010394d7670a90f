"""The notebook's sheet to draw on, in a real browser: each network reads what is drawn."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.settings import Settings
from notebooks.__main__ import NOTEBOOK
from tests.conftest import GOLDEN
from tests.page.browser import chromium
from tests.serving import PATIENCE, serve

SHEET = NOTEBOOK.with_name("sheet.html").read_text()
NETWORKS = ["linear", "mlp-128", "cnn"]


@pytest.mark.needs("chromium")
def test_each_network_reads_what_is_drawn_or_chosen() -> None:
    with serve(Settings(cors_origins=("*",))) as client, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.set_content(SHEET.replace("SERVICE", str(client.base_url).rstrip("/")))
        rows = page.locator("#digits-sheet tr")
        canvas = page.locator("canvas").bounding_box()
        assert canvas
        page.mouse.move(canvas["x"] + 140, canvas["y"] + 50)
        page.mouse.down()
        page.mouse.move(canvas["x"] + 140, canvas["y"] + 230, steps=8)
        page.mouse.up()
        expect(rows).to_have_count(len(NETWORKS))
        assert [row.split()[:2] for row in rows.all_inner_texts()] == [[name, "1"] for name in NETWORKS]

        page.get_by_role("button", name="Clear").click()
        expect(rows).to_have_count(0)
        page.locator("input").set_input_files(GOLDEN / "7-photo.jpg")
        expect(rows.last).to_contain_text("7")


@pytest.mark.needs("chromium")
def test_a_service_that_has_ended_is_reported() -> None:
    with serve(Settings(cors_origins=("*",))) as client:
        address = str(client.base_url).rstrip("/")
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(SHEET.replace("SERVICE", address))
        page.locator("canvas").click()
        expect(page.locator("caption")).to_contain_text("Run the cell that starts it")
