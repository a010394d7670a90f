"""The reference as people use it: every call of the document is read and tried in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from app.guard import keys
from app.settings import Settings
from tests.clients.nginx import run_nginx
from tests.conftest import GOLDEN
from tests.page.browser import Watch
from tests.page.conftest import Open
from tests.page.test_page import PHONE, check_accessible
from tests.serving import serve

SEVEN: Final = GOLDEN / "7-photo.jpg"
THREE: Final = GOLDEN / "3-canvas-black-on-white.png"
TABLET: Final = {"width": 820, "height": 1100}
DESKTOP: Final = {"width": 1280, "height": 800}
# that a service with default settings refuses: it has neither keys nor a database
FORBIDDEN: Final = {"give_feedback", "delete_feedback", "index", "load", "unload"}

Document = dict[str, Any]


def open_reference(open_page: Open, client: httpx.Client, **options: Any) -> Page:  # noqa: ANN401  Playwright's own
    page = open_page(f"{client.base_url}/docs", **options)
    expect(page.locator("details.call")).not_to_have_count(0)
    return page


@pytest.fixture
def page(open_page: Open, client: httpx.Client) -> Page:
    """The reference of a service with default settings."""
    return open_reference(open_page, client)


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Document:
    found: Document = client.get("/openapi.json").json()
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def open_call(page: Page, identity: str) -> Locator:
    """Open a call by its row; return it."""
    call = page.locator(f"#{identity}")
    call.locator("summary").first.click()
    return call


def send(call: Locator) -> str:
    """Send a call's request as it stands; return the body of its answer."""
    call.get_by_role("button", name="Send").click()
    return call.get_by_role("group", name="Answer", exact=True).inner_text()


def ends_with(call: Locator, status: str) -> None:
    expect(call.get_by_role("status")).to_have_text(re.compile(rf"^{status} in \d+ ms$"))


# --- reading


def describe(operation: Document, examples: Document) -> Iterator[str]:
    """Return what must be said of a call."""
    yield from (parameter["name"] for parameter in operation.get("parameters", []))
    yield from operation.get("requestBody", {}).get("content", {})
    for status, response in operation["responses"].items():
        yield "other" if status == "default" else status
        yield from response["description"].replace("`", "").split()
        yield from response.get("headers", {})
        for content in response.get("content", {}).values():
            for reference in content.get("examples", {}).values():
                value = examples[reference["$ref"].rpartition("/")[2]]["value"]
                yield value.get("detail") or value["error"]


def test_every_call_is_shown_with_everything_in_the_document(page: Page, document: Document) -> None:
    sections = page.locator("details.call").evaluate_all(
        "calls => calls.map(call => [call.id, call.textContent])"
    )
    texts = dict(sections)
    assert texts.keys() == {operation["operationId"] for _, _, operation in operations(document)}
    for method, path, operation in operations(document):
        text = texts[operation["operationId"]]
        assert text.startswith(f"{method}{path}")
        statuses = describe(operation, document["components"]["examples"])
        assert [words for words in statuses if words not in text] == []


def test_fields_are_described_at_any_depth(page: Page) -> None:
    call = open_call(page, "predict_batch")
    call.get_by_text("Results in the order").click()
    answer = call.locator("details.part[open]")
    for field, kind in (
        ("results", "array of object"),
        ("confidence", "number · 0 to 1"),
        ("box", "array of integer · 4 items"),
        ("polarity", "string · one of dark_on_light, light_on_dark"),
    ):
        name = answer.locator(f"code.field:text-is('{field}')").first
        expect(name.locator("xpath=following-sibling::*[1]")).to_have_text(kind)
        expect(name).to_be_visible()


def test_a_call_is_found_by_a_word(page: Page) -> None:
    page.get_by_role("searchbox", name="Find a call").fill("post several")
    expect(page.locator("details.call:visible h3")).to_have_text(
        ["post/predict/batch", "post/predict/number"]
    )
    expect(page.locator("h2:visible")).to_have_text(["predict"])
    expect(page.locator("#filter-status")).to_have_text("2 calls")


def test_a_link_opens_its_call(open_page: Open, client: httpx.Client) -> None:
    page = open_page(f"{client.base_url}/docs#predict_number")
    expect(page.locator("details.call[open] h3")).to_have_text("post/predict/number")
    open_call(page, "list_models")
    expect(page).to_have_url(f"{client.base_url}/docs#list_models")


def test_the_page_and_the_document_are_linked(page: Page, client: httpx.Client) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="openapi.json").click()
    assert json.loads(Path(download.value.path()).read_text()) == client.get("/openapi.json").json()
    page.get_by_role("link", name="Draw").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Draw a digit")


# --- trying


def test_every_call_can_be_tried_as_it_stands(page: Page, document: Document, watch: Watch) -> None:
    page.get_by_role("button", name="Expand all").click()
    for _, _, operation in operations(document):
        call = page.locator(f"#{operation['operationId']}")
        send(call)
        ends_with(call, "403 Forbidden" if operation["operationId"] in FORBIDDEN else "200 OK")
    assert watch.refusals == [403] * len(FORBIDDEN)


@pytest.mark.needs("curl")
@pytest.mark.parametrize("kind", ["multipart/form-data", "image/*", "application/octet-stream"])
def test_an_uploaded_file_gets_the_answer_that_the_command_gets(
    page: Page, tmp_path: Path, kind: str
) -> None:
    call = open_call(page, "predict")
    call.get_by_role("radio", name=kind).check()
    call.get_by_label("view").select_option("true")
    call.locator("input[type=file]:enabled").set_input_files(SEVEN)
    answer = json.loads(send(call))
    ends_with(call, "200 OK")
    assert answer["digit"] == 7
    assert answer["view"].startswith("data:image/png;base64,")
    shutil.copy(SEVEN, tmp_path)
    command = call.get_by_role("group", name="Request").inner_text()
    ran = subprocess.run(["sh", "-c", f"{command} -sS"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(ran.stdout) == answer


def test_the_example_is_sent_if_no_file_is_chosen_and_can_be_saved(page: Page, client: httpx.Client) -> None:
    call = open_call(page, "predict")
    with page.expect_download() as download:
        call.get_by_role("link", name="Save example.png").click()
    saved = Path(download.value.path()).read_bytes()
    assert json.loads(send(call)) == client.post("/predict", files={"file": saved}).json()


def test_several_files_are_sent_at_once(page: Page) -> None:
    call = open_call(page, "predict_batch")
    call.locator("input[type=file]").set_input_files([SEVEN, THREE])
    results = json.loads(send(call))["results"]
    assert [result["prediction"]["digit"] for result in results] == [7, 3]


def test_json_can_be_edited_and_a_refusal_is_shown(page: Page, watch: Watch) -> None:
    call = open_call(page, "predict")
    call.get_by_role("radio", name="application/json").check()
    body = call.get_by_role("textbox", name="body")
    assert json.loads(send(call))["digit"] == 9
    body.fill('{"image": "it\'s none"}')
    call.get_by_role("textbox", name="model").fill("linear")
    assert json.loads(send(call))["code"] == "malformed_request"
    assert "it'\\''s none" in call.get_by_role("group", name="Request").inner_text()
    assert watch.requested_urls[-1].endswith("/predict?model=linear")
    assert watch.refusals == [400]


def test_the_answers_headers_can_be_read(page: Page) -> None:
    call = open_call(page, "predict")
    send(call)
    call.locator(".outcome summary").click()
    expect(call.get_by_role("group", name="Headers of the answer")).to_contain_text(
        "server-timing: decode;dur="
    )


def test_a_path_is_filled_in_and_escaped(page: Page, watch: Watch) -> None:
    call = open_call(page, "describe_model")
    call.get_by_role("textbox", name="name").fill("no/such model")
    assert json.loads(send(call))["code"] == "not_found"
    assert "/models/no%2Fsuch%20model" in call.get_by_role("group", name="Request").inner_text()
    assert watch.refusals == [404]


def test_a_required_key_is_sent_and_never_shown(open_page: Open, watches: dict[Page, Watch]) -> None:
    key, entry = keys.create_key("reader")
    with serve(Settings(api_keys=(entry.replace(" ", ":"),))) as client:
        page = open_reference(open_page, client)
        call = open_call(page, "predict")
        assert json.loads(send(call))["code"] == "unauthorized"
        page.get_by_label("This service requires a key.").fill(key)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#key-status")).to_contain_text("It is sent with every request")
        assert json.loads(send(call))["digit"] == 9
        assert (
            '-H "Authorization: Bearer $DIGITS_KEY"' in call.get_by_role("group", name="Request").inner_text()
        )
        assert key not in page.content()
        assert watches[page].refusals == [401]


def test_a_service_without_keys_asks_for_none(page: Page) -> None:
    expect(page.locator("#key")).not_to_be_visible()


def test_an_unreachable_service_is_reported(open_page: Open) -> None:
    with serve(Settings()) as client:
        page = open_reference(open_page, client)
    call = open_call(page, "predict")
    call.get_by_role("button", name="Send").click()
    expect(call.get_by_role("status")).to_have_text("The service does not answer.")


@pytest.mark.needs("nginx")
def test_it_works_under_the_path_prefix_of_a_proxy(
    open_page: Open, client: httpx.Client, tmp_path: Path
) -> None:
    with run_nginx(client.base_url.port or 0, tmp_path) as proxy:
        page = open_page(f"{proxy.base_url}/below/docs")
        call = open_call(page, "predict")
        assert json.loads(send(call))["digit"] == 9
        assert (
            f"curl {proxy.base_url}/below/predict" in call.get_by_role("group", name="Request").inner_text()
        )


# --- for everybody


def test_a_call_can_be_tried_by_keyboard_alone(page: Page) -> None:
    page.get_by_role("searchbox", name="Find a call").fill("/predict/number")
    for _ in range(2):  # Expand all, the row
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    call = page.locator("#predict_number")
    expect(call).to_have_attribute("open", "")
    call.get_by_role("combobox", name="view").focus()
    page.keyboard.press("Tab")  # the kinds of body, of which the arrows choose one
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(call.get_by_role("textbox", name="body")).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    ends_with(call, "200 OK")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, TABLET, DESKTOP], ids=["phone", "tablet", "desktop"])
def test_the_reference_is_accessible(
    open_page: Open, client: httpx.Client, scheme: str, viewport: dict[str, int]
) -> None:
    options = {"color_scheme": scheme, "viewport": viewport, "reduced_motion": "reduce"}
    page = open_reference(open_page, client, **options)
    page.get_by_role("button", name="Expand all").click()
    page.evaluate("document.querySelectorAll('.part').forEach(part => (part.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    send(page.locator("#predict"))
    page.locator("#predict .outcome summary").click()
    others = (
        ".call:not(#predict, #infer, #delete_feedback)"  # like these; axe looks at every element for long
    )
    page.evaluate(f"document.querySelectorAll('{others}').forEach(call => call.remove())")
    check_accessible(page)
