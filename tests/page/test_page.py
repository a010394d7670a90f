"""The page as people use it: in a real browser, of a real service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from app.api import page as files
from app.digits.numbers import NumberCaution
from app.digits.working_picture import Caution
from app.guard import keys
from app.settings import Settings
from tests.conftest import GOLDEN, ROOT
from tests.page.browser import ELSEWHERE, MIDDLE, Watch, points, scrawl, write, write_number
from tests.page.conftest import Open
from tests.serving import serve
from tests.versions import make_two_versions

SEVEN = GOLDEN / "7-photo.jpg"
NUMBER = ROOT / "tests" / "data" / "numbers" / "4071.jpg"
TEXT: Any = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
LANGUAGES = ("curl", pytest.param("JavaScript", marks=pytest.mark.needs("node")), "Python")
PAUSE = 0.1  # seconds between an answer and the next question, as in service.js
PHONE = {"width": 320, "height": 640}  # the smallest


def expect_reading(page: Page, text: str) -> None:
    expect(page.locator("#digit")).to_have_text(text)


def expect_settled(page: Page, text: str) -> None:
    """Wait until nothing more comes: then a screen reader is notified."""
    expect(page.locator("#status")).to_contain_text(text)


def select_number_mode(page: Page) -> None:
    page.get_by_label("Whole number").check()


def test_a_drawn_seven_is_read(page: Page, watch: Watch) -> None:
    write(page, 7)
    expect_reading(page, "7")
    expect(page.locator("#words")).to_contain_text("% sure")
    expect(page.locator("#bars .name")).to_have_text([str(digit) for digit in range(10)])
    expect(page.locator("#bars .best .name")).to_have_text("7")
    assert page.locator("#view img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [
        28,
        28,
    ]
    expect_settled(page, "7, ")
    assert not watch.refusals


def test_every_digit_can_be_drawn(page: Page) -> None:
    for digit in range(10):
        write(page, digit)
        expect_reading(page, str(digit))
        page.get_by_role("button", name="Clear").click()


def test_undo_also_reverts_clear(page: Page) -> None:
    write(page, 7)
    expect_reading(page, "7")
    page.get_by_role("button", name="Clear").click()
    expect_reading(page, "?")
    write(page, 1)
    expect_reading(page, "1")
    for _ in range(2):  # the stroke, the clearing
        page.get_by_role("button", name="Undo").click()
    expect_reading(page, "7")
    for _ in range(2):
        page.keyboard.press("Control+z")
    expect_reading(page, "?")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_redo_returns_to_what_was_undone_until_something_else_is_drawn(page: Page) -> None:
    redo = page.get_by_role("button", name="Redo")
    write(page, 8)
    expect_reading(page, "8")
    page.keyboard.press("Control+z")
    expect_reading(page, "?")
    redo.click()
    expect_reading(page, "8")
    expect(redo).to_be_disabled()
    for combination in ("Control+z", "Control+Shift+Z", "Control+z", "Control+y", "Control+z"):
        page.keyboard.press(combination)
        expect_reading(page, "?" if combination == "Control+z" else "8")
    write(page, 1)
    expect(redo).to_be_disabled()


def test_the_eraser_removes_what_it_touches(page: Page) -> None:
    page.get_by_label("One digit").check()
    eraser = page.get_by_role("button", name="Eraser")
    eraser.click()
    write(page, 1)
    expect(page.locator("#sheet")).to_have_attribute("data-state", "empty")  # there was nothing to erase
    eraser.click()
    write(page, 7, (0.5, 0.2, 0.3, 0.6))
    write(page, 1, (0.2, 0.2, 0.1, 0.6))
    expect(page.locator("#warnings")).to_contain_text("several digits")
    page.locator("#sheet").press("e")
    expect(eraser).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#status")).to_have_text("Eraser")
    for _ in range(2):  # the second time, what an unsteady hand left
        write(page, 1, (0.2, 0.17, 0.1, 0.66))
    expect(page.locator("#warnings li")).to_have_count(0)
    expect_reading(page, "7")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(page.locator("#warnings")).to_contain_text("several digits")


def test_a_small_digit_gets_a_thin_pen(page: Page) -> None:
    for box in (MIDDLE, (0.45, 0.4, 0.09, 0.2)):
        write(page, 8, box)
        expect_reading(page, "8")
        expect(page.locator("#words")).to_contain_text("9")  # more than 90 % sure
        page.get_by_role("button", name="Clear").click()


def test_a_finger_draws_and_does_not_scroll(open_page: Open, client: httpx.Client) -> None:
    page = open_page(str(client.base_url), viewport=PHONE, has_touch=True, is_mobile=True)
    screen = page.context.new_cdp_session(page)

    def touch(kind: str, *at: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in at]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    for first, *others in points(page, 7):
        touch("touchStart", first)
        for point in others:
            touch("touchMove", point)
        touch("touchEnd")
    expect_reading(page, "7")
    assert page.evaluate("scrollY") == 0


def test_a_pen_under_pressure_draws_wider_strokes(page: Page) -> None:
    screen = page.context.new_cdp_session(page)
    ((start, *_, end), *_) = points(page, 1)

    def ink(force: float) -> int:
        for kind, (x, y), buttons in (
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            at = {"x": x, "y": y, "button": "left", "buttons": buttons}
            screen.send(
                "Input.dispatchMouseEvent", {"type": kind, "pointerType": "pen", "force": force, **at}
            )
        expect_reading(page, "1")
        count: int = page.locator("canvas").evaluate(
            """canvas => {
                const copy = new OffscreenCanvas(canvas.width, canvas.height);
                const context = copy.getContext("2d", { willReadFrequently: true });
                context.drawImage(canvas, 0, 0);
                const { data } = context.getImageData(0, 0, copy.width, copy.height);
                return data.filter((value, index) => index % 4 === 3 && value > 127).length;
            }"""
        )
        page.get_by_role("button", name="Clear").click()
        return count

    assert ink(0.9) > 1.5 * ink(0.2)


def test_a_picture_can_be_chosen(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Picture").click()
    chooser.value.set_files(SEVEN)
    expect_reading(page, "7")
    expect(page.locator(".boxes text")).to_have_text("7")


def test_a_picture_can_be_dropped(page: Page) -> None:
    data = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "seven.jpg", { type: "image/jpeg" }));
            return data;
        }""",
        list(SEVEN.read_bytes()),
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    expect(page.get_by_text("Drop it here")).to_have_css("opacity", "0.96")
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.get_by_text("Drop it here")).to_have_css("opacity", "0")
    expect_reading(page, "7")


def test_a_picture_can_be_pasted(open_page: Open, client: httpx.Client) -> None:
    page = open_page(str(client.base_url), permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async bytes => {
            const image = new Blob([new Uint8Array(bytes)], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": image })]);
        }""",
        list((GOLDEN / "3-canvas-black-on-white.png").read_bytes()),
    )
    page.keyboard.press("Control+v")
    expect_reading(page, "3")


def test_a_photo_is_taken_with_the_camera(page: Page, watch: Watch) -> None:
    video = page.locator("video")
    page.get_by_label("One digit").check()
    for button, state in (("Cancel", "empty"), ("Take photo", "picture")):
        page.get_by_role("button", name="Camera").click()
        expect(video).to_be_visible()
        expect(video).not_to_have_js_property("videoWidth", 0)
        page.get_by_role("button", name=button).click()
        expect(video).not_to_be_visible()
        expect(page.locator("#sheet")).to_have_attribute("data-state", state)
        expect(video).to_have_js_property("srcObject", None)
    expect(page.locator("#view img")).to_be_visible()  # what Chromium's test picture is taken for is all one
    assert len(watch.requested_urls) == 1


def test_without_a_camera_the_page_asks_for_a_file(open_page: Open, client: httpx.Client) -> None:
    page = open_page(f"http://{ELSEWHERE}:{client.base_url.port}")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Camera").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(SEVEN)
    expect_reading(page, "7")


def test_a_number_is_read_and_boxed(page: Page) -> None:
    select_number_mode(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Write a number")
    write_number(page, "4071")
    expect_reading(page, "4071")
    expect(page.locator(".boxes text")).to_have_text(list("4071"))
    expect(page.locator("#bars .name")).to_have_text(list("4071"))
    expect(page.locator("#words")).to_contain_text("that all 4 digits are right")


def test_boxes_are_drawn_on_the_picture(page: Page) -> None:
    select_number_mode(page)
    page.locator("#file").set_input_files(NUMBER)
    expect_reading(page, "4071")
    sheet = page.locator("#sheet").bounding_box()
    first = page.locator(".boxes rect").first.bounding_box()
    assert sheet
    assert first
    # the picture is 900 × 300, so that it lies in the middle of the sheet, as wide as that
    assert (first["x"] - sheet["x"]) / sheet["width"] == pytest.approx(0.11, abs=0.02)
    assert (first["y"] - sheet["y"]) / sheet["height"] == pytest.approx(0.37, abs=0.03)


def test_a_drawing_that_is_no_digit_is_reported_as_such(page: Page) -> None:
    scrawl(page)
    expect(page.locator("#words")).to_contain_text("This does not look like a digit.")
    expect(page.locator("#answer")).to_have_attribute("data-state", "doubt")


def test_a_warning_is_shown_as_a_sentence(page: Page) -> None:
    page.get_by_label("One digit").check()
    write(page, 7, (0.55, 0.2, 0.3, 0.6))
    write(page, 1, (0.2, 0.3, 0.1, 0.5))
    expect(page.locator("#warnings")).to_contain_text("only the most prominent one was read")


def test_every_warning_has_a_sentence() -> None:
    script = (files.FOLDER / "answer.js").read_text()
    for code in {*get_args(Caution), *get_args(NumberCaution)}:
        assert f"  {code}: " in script


def test_another_network_can_be_chosen(page: Page) -> None:
    write(page, 7)
    expect_reading(page, "7")
    with page.expect_response("**/predict?model=linear*"):
        page.get_by_label("Network").select_option("linear")
    expect(page.locator("#code")).to_contain_text("model=linear")


def test_versions_of_a_network_can_be_chosen(open_page: Open, tmp_path: Path) -> None:
    with serve(Settings(models_dir=make_two_versions(tmp_path))) as client:
        page = open_page(str(client.base_url))
        network = page.get_by_label("Network")
        expect(network.locator("option")).to_have_text(["cnn@2 · 99.64 %", "cnn@1", "linear · 92.50 %"])
        write(page, 7)
        with page.expect_response("**/predict?model=cnn%401*"):
            network.select_option("cnn@1")
        expect(page.locator("#code")).to_contain_text("model=cnn%401")


def test_a_refusal_shows_the_services_own_message(page: Page, watch: Watch, client: httpx.Client) -> None:
    page.locator("#file").set_input_files(TEXT)
    message = client.post("/predict", files={"file": TEXT["buffer"]}).json()["detail"]
    expect(page.get_by_role("alert")).to_have_text(message)
    assert watch.refusals == [415]
    write(page, 7)
    expect_reading(page, "7")
    expect(page.get_by_role("alert")).not_to_be_visible()


def test_a_picture_read_before_the_list_of_models_comes_is_not_sent_again(
    open_page: Open, watches: dict[Page, Watch], client: httpx.Client
) -> None:
    held: list[Route] = []
    page = open_page("about:blank")
    page.route("**/models", lambda route: held.append(route))  # noqa: PLW0108  Playwright wants a function
    page.goto(str(client.base_url))
    page.get_by_label("One digit").check()
    page.locator("#file").set_input_files(SEVEN)
    expect_reading(page, "7")
    for route in held:
        route.continue_()
    expect(page.locator("#model option")).to_have_count(4)
    page.wait_for_timeout(1000)  # ten times the pause between two requests
    assert len(watches[page].requested_urls) == 1


def test_a_file_that_is_too_large_is_not_sent(open_page: Open, watches: dict[Page, Watch]) -> None:
    with serve(Settings(max_body_bytes=2048)) as client:
        page = open_page(str(client.base_url))
        expect(page.locator("#model option")).to_have_count(4)
        page.locator("#file").set_input_files(SEVEN)
        expect(page.get_by_role("alert")).to_contain_text("the service accepts at most 2 KiB")
        assert not watches[page].requested_urls


def test_the_page_reports_being_offline_and_recovers(page: Page) -> None:
    expect(page.locator("#health")).to_have_text("Ready")
    page.context.set_offline(True)
    expect(page.locator("#health")).to_have_text("Not reachable")
    write(page, 7)
    expect(page.get_by_role("alert")).to_contain_text("Your drawing is kept")
    page.context.set_offline(False)
    expect_reading(page, "7")
    expect(page.get_by_role("alert")).not_to_be_visible()
    expect(page.locator("#health")).to_have_text("Ready")


def test_a_service_that_comes_back_is_noticed(open_page: Open) -> None:
    with serve(Settings()) as client:
        page = open_page(str(client.base_url))
        expect(page.locator("#health")).to_have_text("Ready")
    write(page, 7)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    expect(page.locator("#health")).to_have_text("Not reachable")
    with serve(Settings(), port=client.base_url.port or 0):
        expect_reading(page, "7")


def test_the_page_waits_quietly_as_long_as_the_rate_limit_asks(
    open_page: Open, watches: dict[Page, Watch]
) -> None:
    with serve(Settings(rate_limit=12)) as client:  # one every five seconds
        page = open_page(str(client.base_url))
        expect(page.locator("#model option")).to_have_count(4)
        while client.get("/models").status_code == 200:
            pass
        write(page, 7)
        expect(page.locator("#words")).to_have_text(re.compile(r"^Reading in [1-5] s"))
        expect(page.get_by_role("alert")).not_to_be_visible()
        requests = len(watches[page].requested_urls)
        expect_reading(page, "7")
        assert len(watches[page].requested_urls) <= requests + 2


def test_reading_slows_down_before_the_rate_limit_refuses(
    open_page: Open, watches: dict[Page, Watch]
) -> None:
    with serve(Settings(rate_limit=120)) as client:  # one every half second
        page = open_page(str(client.base_url))
        expect(page.locator("#model option")).to_have_count(4)
        while int(remaining(client)) > 12:
            pass
        for _ in range(12):  # far more strokes than requests are left
            write(page, 8)
        expect_reading(page, "8")
        assert not watches[page].refusals


def remaining(client: httpx.Client) -> str:
    """Return how many requests the service's rate limit still allows, after one more."""
    (found,) = re.findall(r"r=(\d+)", client.get("/models").headers["RateLimit"])
    return str(found)


def test_the_page_asks_for_a_required_key(open_page: Open) -> None:
    key, entry = keys.create_key("page")
    with serve(Settings(api_keys=(entry,))) as client:
        page = open_page(str(client.base_url))
        secret = page.get_by_label("This service requires a key.")
        secret.fill("dig_nothing")
        secret.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("does not know this key")
        secret.fill(key)
        secret.press("Enter")
        expect(secret).not_to_be_visible()
        write(page, 7)
        expect_reading(page, "7")
        expect(page.locator("#code")).to_contain_text('"Authorization: Bearer $DIGITS_KEY"')
        assert key not in page.content()
        page.reload()
        write(page, 7)
        expect_reading(page, "7")
        assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]


def test_one_request_at_a_time_is_sent_while_somebody_draws(page: Page, watch: Watch) -> None:
    (stroke,) = points(page, 8)
    page.mouse.move(*stroke[0])
    page.mouse.down()
    started_at = time.monotonic()
    for point in stroke + stroke:
        page.mouse.move(*point)
    drawn = time.monotonic() - started_at
    requests = len(watch.requested_urls)
    page.mouse.up()
    expect_reading(page, "8")
    assert watch.most_at_once == 1
    assert 1 < requests <= 2 + drawn / PAUSE


def test_an_answer_to_a_cleared_drawing_is_dropped(page: Page, watch: Watch) -> None:
    held_route: list[Route] = []
    page.route("**/predict?*", lambda route: route.continue_() if held_route else held_route.append(route))
    write(page, 7)
    while not held_route:
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Clear").click()
    write(page, 3)
    expect_reading(page, "3")
    held_route[0].fulfill(json={"digit": 7})
    page.wait_for_timeout(300)
    expect_reading(page, "3")
    assert len(watch.requested_urls) > 1


def test_a_digit_can_be_drawn_by_keyboard_alone(page: Page) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sheet":
            break
    expect(page.get_by_text("Arrow keys move the pen")).to_be_visible()

    def go(keys: str, times: int) -> None:
        held_route = keys.split()
        for _ in range(times):
            for key in held_route:
                page.keyboard.down(key)
            for key in held_route:
                page.keyboard.up(key)

    go("ArrowLeft", 6)
    go("ArrowUp", 12)
    page.keyboard.press("Space")
    go("ArrowRight", 13)
    go("ArrowDown ArrowLeft", 4)
    go("ArrowDown", 16)
    page.keyboard.press("Space")
    expect_reading(page, "7")
    page.keyboard.press("Backspace")
    expect_reading(page, "?")


def test_the_keyboard_reaches_every_control_and_the_focus_is_visible(page: Page) -> None:
    write(page, 7)
    expect_reading(page, "7")
    page.get_by_role("link", name="digits").focus()
    focused: list[str] = []
    while len(focused) < 30:
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const here = document.activeElement;
                const shown = here.type === "radio" ? here.nextElementSibling : here;
                const name = here === document.body ? "" : here.id || here.name || here.textContent.trim();
                return [name, getComputedStyle(shown).outlineStyle];
            }"""
        )
        if not name:  # behind the last one comes the browser itself
            break
        assert outline == "solid", name
        focused.append(name)
    everything = {
        "model",
        "API",
        "mode",
        "sheet",
        "undo",
        "eraser",
        "clear",
        "choose",
        "photo",
        "language",
        "copy",
    }
    assert everything <= set(focused)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desktop"])
def test_the_page_is_accessible_and_nothing_overflows(
    open_page: Open, client: httpx.Client, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(str(client.base_url), color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    expect(page.locator("#model option")).to_have_count(4)
    check_accessible(page)
    write(page, 7)
    expect_reading(page, "7")
    check_accessible(page)
    page.get_by_role("button", name="Clear").click()
    scrawl(page)
    expect(page.locator("#answer")).to_have_attribute("data-state", "doubt")
    check_accessible(page)
    select_number_mode(page)
    page.locator("#file").set_input_files(NUMBER)
    expect_reading(page, "4071")
    check_accessible(page)
    page.locator("#file").set_input_files(TEXT)
    expect(page.get_by_role("alert")).to_be_visible()
    check_accessible(page)


def check_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_services_metrics_are_shown_on_request(page: Page) -> None:
    write(page, 7)
    expect_reading(page, "7")
    page.get_by_text("Service metrics").click()
    counted = page.locator("#counts")
    expect(counted).to_contain_text("Requests answered")
    expect(counted).to_contain_text("of 128")  # places
    expect(page.locator("#digits-read dd").nth(7)).to_have_text(re.compile("^[1-9]"))
    check_accessible(page)


def run_program(page: Page, language: str, folder: Path, **environment: str) -> str:
    """Run the program that the page shows, as it stands, and return what it prints."""
    run = {
        "curl": ["bash", "-c"],
        "JavaScript": ["node", "--input-type=module", "--eval"],
        "Python": [sys.executable, "-c"],
    }[language]
    page.get_by_label(language).check()
    begin = {"curl": "curl", "Python": "import"}.get(language, "fetch")
    expect(page.locator("#code")).to_contain_text(begin)
    command = [*run, page.locator("#code").inner_text()]
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, check=True, text=True
    )
    return result.stdout


@pytest.mark.parametrize("number", [False, True], ids=["a drawn digit", "a number in a file"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_program_gets_the_same_answer(page: Page, tmp_path: Path, language: str, *, number: bool) -> None:
    if number:
        select_number_mode(page)
        odd_name = tmp_path / 'it\'s a "seven".jpg'
        odd_name.write_bytes(SEVEN.read_bytes())
        page.locator("#file").set_input_files(odd_name)
    else:
        write(page, 7)
        with page.expect_download() as download:
            page.get_by_role("link", name="Save the picture").click()
        assert download.value.suggested_filename == "digit.png"
        download.value.save_as(tmp_path / "digit.png")
    expect_settled(page, "7")
    answer = run_program(page, language, tmp_path)
    if language == "curl":
        assert json.loads(answer)["written" if number else "digit"] == ("7" if number else 7)
    else:
        assert answer.startswith("7 0.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_program_takes_its_key_from_the_environment(
    open_page: Open, tmp_path: Path, language: str
) -> None:
    key, entry = keys.create_key("page")
    with serve(Settings(api_keys=(entry,))) as client:
        page = open_page(str(client.base_url))
        page.get_by_label("This service requires a key.").fill(key)
        page.get_by_role("button", name="Use this key").click()
        page.locator("#file").set_input_files(SEVEN)
        expect_settled(page, "7")
        (tmp_path / SEVEN.name).write_bytes(SEVEN.read_bytes())
        assert key not in page.locator("#code").inner_text()
        assert "7" in run_program(page, language, tmp_path, DIGITS_KEY=key)


def test_a_program_can_be_copied(open_page: Open, client: httpx.Client) -> None:
    page = open_page(str(client.base_url), permissions=["clipboard-read", "clipboard-write"])
    write(page, 7)
    expect_settled(page, "7")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#copy-status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#code").inner_text()


def test_without_clipboard_access_the_program_is_selected(open_page: Open, client: httpx.Client) -> None:
    page = open_page(f"http://{ELSEWHERE}:{client.base_url.port}")
    write(page, 7)
    expect_settled(page, "7")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#copy-status")).to_contain_text("Selected")
    assert page.evaluate("getSelection().toString()").startswith("curl 'http://digits.test:")


def test_the_picture_that_a_program_reads_can_be_saved(page: Page, tmp_path: Path) -> None:
    page.locator("#file").set_input_files(SEVEN)
    expect_reading(page, "7")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the picture").click()
    assert download.value.suggested_filename == "7-photo.jpg"
    download.value.save_as(tmp_path / "saved.jpg")
    assert (tmp_path / "saved.jpg").read_bytes() == SEVEN.read_bytes()
