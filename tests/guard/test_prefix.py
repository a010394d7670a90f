"""The service under a prefix, before and behind a proxy that removes it or does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from app.main import create_app
from app.settings import Settings
from app.wire.paths import FIRST_SEGMENTS, PAGE
from tests.clients.nginx import run_nginx
from tests.conftest import GOLDEN
from tests.page.browser import chromium
from tests.serving import serve

SEVEN = {"file": (GOLDEN / "7-photo.jpg").read_bytes()}
STRIPPED, KEPT = "/below", "/kept/deeper"  # locations of the proxy: the first removes its prefix


@pytest.fixture(scope="module", params=[STRIPPED, KEPT])
def root_path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def service(root_path: str) -> Iterator[httpx.Client]:
    with serve(Settings(root_path=root_path)) as client:
        yield client


@pytest.mark.parametrize("prefix", ["", None], ids=["removed", "kept"])
def test_paths_work_with_and_without_the_prefix(
    service: httpx.Client, root_path: str, prefix: str | None
) -> None:
    prefix = root_path if prefix is None else prefix
    assert service.post(f"{prefix}/predict", files=SEVEN).json()["digit"] == 7
    assert service.get(f"{prefix}/docs").status_code == 200
    for path in PAGE:
        assert service.get(prefix + path).status_code == 200
    redirect = service.post(f"{prefix}/predict/?view=1")
    assert (redirect.status_code, redirect.headers["Location"]) == (308, f"{root_path}/predict?view=1")
    missing = service.get(f"{prefix}/nothing").json()["detail"]
    assert missing == f"{root_path}/nothing does not exist. See {root_path}/docs for the paths that do."
    refused = service.get(f"{prefix}/predict").json()["detail"]
    assert refused == f"{root_path}/predict does not allow GET, only POST."
    assert list(service.get(f"{prefix}/v2/nothing").json()) == ["error"]
    head = service.get(f"{prefix}/v2", headers={"X": 70_000 * "x"})
    assert (head.status_code, list(head.json())) == (431, ["error"])
    card = f'"og:image" content="{service.base_url}{root_path}/static/card.png"'
    assert card in service.get(f"{prefix}/").text
    assert service.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": root_path}]


def test_the_prefix_alone_leads_to_the_page(service: httpx.Client, root_path: str) -> None:
    answer = service.get(root_path)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{root_path}/")
    assert service.get(f"{root_path}more/predict").status_code == 404
    assert service.get(root_path * 2 + "/docs").status_code == 404


@pytest.mark.needs("nginx", "chromium")
def test_page_and_reference_work_behind_nginx(service: httpx.Client, root_path: str, tmp_path: Path) -> None:
    with run_nginx(service.base_url.port or 0, tmp_path) as proxy, chromium() as browser:
        address = str(proxy.base_url.join(root_path))
        page = browser.new_page()
        page.goto(f"{address}/")
        page.locator("#file").set_input_files(GOLDEN / "7-photo.jpg")
        expect(page.locator("#digit")).to_have_text("7")
        expect(page.locator("#code")).to_contain_text(f"{address}/predict")
        page.get_by_role("link", name="API").click()
        expect(page).to_have_url(f"{address}/docs")
        expect(page.locator("#predict")).to_be_visible()


def test_without_a_setting_there_is_no_prefix(client: httpx.Client) -> None:
    assert client.get(f"{STRIPPED}/docs").status_code == 404
    assert "servers" not in client.get("/openapi.json").json()


def test_no_prefix_can_be_taken_for_a_path_of_the_service() -> None:
    paths = create_app(Settings(sagemaker=True)).openapi()["paths"]
    assert {path.split("/")[1] for path in (*paths, *PAGE)} - {""} <= FIRST_SEGMENTS


@pytest.mark.parametrize("root_path", ["digits", "/predict", "/v2/digits", "/a b", "/a//b", "/a/../b", "/ä"])
def test_a_bad_prefix_is_refused(root_path: str) -> None:
    with pytest.raises(ValueError, match=r"such as (?:under )?/digits"):
        Settings(root_path=root_path)


@pytest.mark.parametrize(("given", "root_path"), [("/a/b/", "/a/b"), ("/", None), ("", None)])
def test_a_slash_at_the_end_is_left_out(given: str, root_path: str | None) -> None:
    assert Settings(root_path=given).root_path == root_path
