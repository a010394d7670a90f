"""What people may show to others: what decided, all networks, photographs, links, cards; how Auto decides."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from typing import Any, Final

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from app.api.page import FOLDER
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.data import photographs
from tests.page.browser import Watch, scrawl, write, write_number
from tests.page.conftest import Open
from tests.page.test_page import PHONE, check_accessible, expect_reading, select_number_mode
from tests.serving import serve

SEVEN: Final = GOLDEN / "7-photo.jpg"
MAX_FIRST_LOAD: Final = 90 * 1024  # bytes
MAX_SHIFT: Final = 0.02  # of the layout, as browsers measure it
COUNT_COLOURS: Final = """canvas => {
    if (!canvas.width) return [0, 0];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [warm, cold] = [0, 0];
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 128) continue;
        if (data[at] > data[at + 2] + 40) warm += 1;
        if (data[at + 2] > data[at] + 40) cold += 1;
    }
    return [warm, cold];
}"""
WATCH_SHIFTS: Final = """() => {
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
}"""


def open_panel(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")


# What decided


def test_the_ink_that_decided_is_painted_over_the_drawing(page: Page) -> None:
    write(page, 3)
    expect_reading(page, "3")
    open_panel(page, "What decided?")
    expect(page.locator("#decided")).to_contain_text("The warmer the ink, the more it speaks for a 3")
    expect(page.locator("#decided .layers canvas")).to_have_count(6)
    warm, cold = page.locator(".heat").evaluate(COUNT_COLOURS)
    assert warm > 1000
    assert warm > 5 * cold
    check_accessible(page)
    page.get_by_role("button", name="What decided?").click()
    expect(page.locator("#decided")).to_be_hidden()
    assert page.locator(".heat").evaluate(COUNT_COLOURS) == [0, 0]


def test_layers_light_up_again_with_each_stroke_and_go_with_the_drawing(page: Page, watch: Watch) -> None:
    open_panel(page, "What decided?")
    expect(page.locator("#decided")).to_contain_text("Draw a digit, and see which ink decides.")
    write(page, 1)
    expect(page.locator("#decided")).to_contain_text("speaks for a 1")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#decided .layers canvas")).to_have_count(0)
    scrawl(page)
    expect(page.locator("#decided")).to_contain_text("It doubts that this is a digit.")
    assert watch.most_at_once <= 2  # one to read, one to explain
    assert not watch.refusals


def test_a_photograph_is_explained_and_so_is_a_network_without_layers(page: Page) -> None:
    expect(page.locator("#model option")).to_have_count(4)
    page.locator("#model").select_option("linear")
    page.get_by_label("One digit").check()
    page.locator("#file").set_input_files(SEVEN)
    expect(page.locator("#digit")).not_to_have_text("?")
    open_panel(page, "What decided?")
    expect(page.locator("#decided")).to_contain_text("linear has no hidden layers")
    assert sum(page.locator(".heat").evaluate(COUNT_COLOURS)) > 100


def test_a_number_is_not_explained(page: Page) -> None:
    select_number_mode(page)
    write_number(page, "42")
    expect_reading(page, "42")
    open_panel(page, "What decided?")
    expect(page.locator("#decided")).to_contain_text("Choose “One digit” above.")


def test_a_service_that_explains_nothing_offers_nothing(open_page: Open) -> None:
    with serve(Settings(explain=False)) as client:
        page = open_page(str(client.base_url))
        expect(page.get_by_role("button", name="What decided?")).to_be_disabled()


# All networks


def test_all_networks_read_the_same_drawing(page: Page) -> None:
    write(page, 5)
    expect_reading(page, "5")
    open_panel(page, "All networks")
    expect(page.locator(".cards strong")).to_have_text(["linear", "mlp-128", "mlp-1000", "cnn"])
    expect(page.locator(".cards li:last-child .guess")).to_have_text("5")
    guesses = page.locator(".cards .guess").all_text_contents()
    expect(page.locator(".cards .differs")).to_have_count(sum(guess != "5" for guess in guesses))
    check_accessible(page)


def test_a_network_that_differs_is_marked_and_counted(page: Page) -> None:
    def answer_otherwise(route: Any) -> None:  # noqa: ANN401
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "digit": 9, "confidence": 0.4})

    page.route("**/predict?model=linear", answer_otherwise)
    write(page, 5)
    expect_reading(page, "5")
    open_panel(page, "All networks")
    expect(page.locator(".cards .differs strong")).to_have_text("linear")
    expect(page.locator("#networks")).to_contain_text("disagree with cnn, which reads 5.")


# Photographs


@pytest.mark.parametrize(
    ("subject", "reading"), [("squared paper", "3"), ("envelope", "20457"), ("meter", "48163")]
)
def test_photographs_to_try_are_read_rightly(page: Page, subject: str, reading: str) -> None:
    page.get_by_role("button", name=re.compile(subject)).click()
    expect_reading(page, reading)
    expect(page.locator(".samples")).to_be_hidden()
    expect(page.locator("#sheet")).to_be_focused()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".samples")).to_be_visible()


def test_photographs_are_small_and_those_that_the_script_draws() -> None:
    for subject, draw in photographs.PHOTOGRAPHS.items():
        stored = FOLDER / f"photo-{subject}.webp"
        assert stored.stat().st_size <= photographs.MAX_BYTES
        drawn = Image.open(BytesIO(photographs.encode(draw(), photographs.MAX_BYTES)))
        assert Image.open(BytesIO(stored.read_bytes())).size == drawn.size == photographs.SIZE


# Links


def copy_link(page: Page) -> str:
    """Return the link as a page over plain HTTP gives it, which may not write to the clipboard."""
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#share-status")).to_have_text("Copy it from the address bar.")
    return page.url


def test_a_link_carries_the_drawing_and_the_mode_but_no_request_does(
    open_page: Open, client: httpx.Client
) -> None:
    page = open_page(str(client.base_url))
    select_number_mode(page)
    write_number(page, "42")
    expect_reading(page, "42")
    link = copy_link(page)
    assert len(link) < 2000
    other = open_page("about:blank")
    requests: list[Request] = []
    other.on("request", lambda request: requests.append(request))  # noqa: PLW0108  Playwright marks the function
    other.goto(link)
    expect_reading(other, "42")
    expect(other.get_by_label("Whole number")).to_be_checked()
    assert copy_link(other) == link
    assert all("drawing=" not in (request.post_data_buffer or b"").decode("latin-1") for request in requests)


def test_the_eraser_travels_too_and_undo_takes_the_drawing_back(
    open_page: Open, client: httpx.Client
) -> None:
    page = open_page(str(client.base_url), reduced_motion="reduce")
    write(page, 8)
    page.get_by_role("button", name="Eraser").click()
    write(page, 1)
    link = copy_link(page)
    other = open_page(link, reduced_motion="reduce")
    expect(other.locator("#digit")).not_to_have_text("?")
    assert copy_link(other) == link
    other.get_by_role("button", name="Undo").click()
    expect_reading(other, "?")


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "2AAAA",
        "1",
        "1AA",
        "1!!",
        "1<img src=x onerror=alert(1)>",
        "1" + "_" * 5_000,
        "1" + "A" * 100_000,
        "1" + base64.urlsafe_b64encode(bytes([0, 0xFE, 0xFF, 0x7F, 64, 1, 1])).decode(),  # a million points
        "1" + base64.urlsafe_b64encode(bytes([0, 4, 64, 1, 1, 1, 1])).decode(),  # a point above the sheet
        "1" + base64.urlsafe_b64encode(bytes([9, 2, 64, 1, 1])).decode(),  # an unknown mode
    ],
)
def test_a_damaged_or_hostile_link_is_refused(page: Page, fragment: str) -> None:
    expect(page.locator("#model option")).to_have_count(4)
    page.goto(f"{page.url}#drawing={fragment}")
    expect(page.locator("#problem")).to_contain_text("This link is damaged")
    write(page, 7)  # the page goes on
    expect_reading(page, "7")


def test_a_drawing_from_a_link_can_be_interrupted(page: Page) -> None:
    write(page, 8)
    expect_reading(page, "8")
    link = copy_link(page)
    page.goto("about:blank")
    page.goto(link)
    write(page, 1, (0.05, 0.2, 0.1, 0.6))
    page.wait_for_timeout(1000)
    before = page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
    page.wait_for_timeout(200)
    assert page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()") == before


def test_links_need_a_drawing(page: Page) -> None:
    link, share = page.get_by_role("button", name="Copy link"), page.get_by_role("button", name="Share card")
    expect(link).to_be_disabled()
    expect(share).to_be_disabled()
    page.locator("#file").set_input_files(SEVEN)
    expect_reading(page, "7")
    expect(link).to_be_disabled()
    expect(share).to_be_enabled()


# Cards


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_card_is_saved_where_it_can_not_be_shared(
    open_page: Open, client: httpx.Client, scheme: str
) -> None:
    page = open_page(str(client.base_url), color_scheme=scheme)
    write(page, 7)
    expect_reading(page, "7")
    page.evaluate("navigator.canShare = undefined")
    with page.expect_download() as download:
        page.get_by_role("button", name="Share card").click()
    assert download.value.suggested_filename == "digits-7.png"
    card = Image.open(download.value.path()).convert("RGB")
    assert card.size == (1200, 630)
    assert (card.getpixel((5, 5)) == (245, 241, 232)) == (scheme == "light")
    expect(page.locator("#share-status")).to_have_text("Saved as a picture.")


def test_a_card_is_shared_where_it_can_be(page: Page) -> None:
    write(page, 7)
    expect_reading(page, "7")
    page.evaluate(
        """navigator.canShare = () => true;
        navigator.share = async ({ files: [file], text }) => {
            window.shared = [file.name, file.type, text];
        };
        null"""
    )
    page.get_by_role("button", name="Share card").click()
    expect(page.locator("#share-status")).to_have_text("Shared.")
    name, media_type, text = page.evaluate("window.shared")
    assert (name, media_type) == ("digits-7.png", "image/png")
    assert text.startswith("7, ")


# Auto


def test_auto_reads_a_number_where_there_are_several_digits(page: Page, watch: Watch) -> None:
    expect(page.get_by_label("Auto")).to_be_checked()
    write_number(page, "407")
    expect_reading(page, "407")
    expect(page.locator("#bars img:visible")).to_have_count(3)
    assert not watch.refusals
    page.get_by_role("button", name="Clear").click()
    write(page, 7)
    expect_reading(page, "7")
    expect(page.locator("#bars .name")).to_have_count(10)


def test_one_tap_leads_back_to_the_ten_probabilities(page: Page) -> None:
    write_number(page, "407")
    expect_reading(page, "407")
    page.get_by_role("button", name="Read it as one digit").click()
    expect(page.get_by_label("One digit")).to_be_checked()
    expect(page.locator("#bars .name")).to_have_count(10)
    expect(page.locator("#digit")).to_have_text(re.compile("^[407]$"))
    page.get_by_role("button", name="Read the whole number").click()
    expect_reading(page, "407")
    expect(page.get_by_role("button", name="Read it as one digit")).to_be_hidden()


@pytest.mark.parametrize("viewport", [PHONE, {"width": 390, "height": 844}, {"width": 1280, "height": 800}])
def test_the_layout_stands_still_and_the_first_load_is_light(
    open_page: Open, client: httpx.Client, viewport: dict[str, int]
) -> None:
    page = open_page("about:blank", viewport=viewport)
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", "0"))))
    page.add_init_script(f"({WATCH_SHIFTS})()")
    page.goto(str(client.base_url))
    expect(page.locator("#model option")).to_have_count(4)
    page.wait_for_load_state("networkidle")
    assert 0 < sum(sizes) < MAX_FIRST_LOAD
    top = "document.querySelector('#why').getBoundingClientRect().top + scrollY"
    before = page.evaluate(top)
    write_number(page, "40")
    expect_reading(page, "40")
    assert abs(page.evaluate(top) - before) < 16  # pixels
    assert page.evaluate("window.shift") < MAX_SHIFT


# Installed, and in other sites


def test_it_can_be_installed(client: httpx.Client) -> None:
    address = "/static/manifest.webmanifest"
    manifest = json.loads(client.get(address).raise_for_status().text)
    base = client.base_url.join(address)
    assert base.join(manifest["start_url"]).path == base.join(manifest["scope"]).path == "/"
    assert {icon.get("purpose", "any") for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        picture = Image.open(BytesIO(client.get(base.join(icon["src"])).raise_for_status().content))
        assert f"{picture.width}x{picture.height}" == icon["sizes"]


def test_other_sites_get_the_full_address_of_a_picture(client: httpx.Client) -> None:
    def find_card(**headers: str) -> str:
        html = client.get("/", headers=headers).text
        (address,) = re.findall('<meta property="og:image" content="([^"]*)">', html)
        return str(address)

    assert client.get(find_card()).headers["Content-Type"] == "image/png"
    assert find_card(Host="digits.example:8443") == "http://digits.example:8443/static/card.png"
    assert find_card(Host="x" * 300) == "static/card.png"
    card = (FOLDER / "card.png").read_bytes()
    assert len(card) < 60 * 1024
    assert Image.open(BytesIO(card)).size == (1200, 630)
