"""The files of the page and of the reference, as they are served."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import Final

import httpx
import pytest

from app.api.page import FOLDER
from app.guard import keys
from app.settings import Settings
from app.wire.paths import PAGE, REFERENCE
from tests.serving import serve

MAX_BYTES: Final = 90_000  # bytes of either as they are sent: a second on a slow phone's connection
PATHS: Final = (*PAGE, REFERENCE)
FOR_REFERENCE: Final = ("docs.css", "docs.js", "dom.js", "schema.js", "trial.js")
ON_DEMAND: Final = re.compile(r"/static/(card|explain|icon-.+|link|networks|photo-.+)\.(js|png|webp)")
COMPRESSED: Final = (".png", ".webp", ".woff2")  # by their formats


def test_every_file_is_served(client: httpx.Client) -> None:
    pages = {"index.html": "/", "docs.html": "/docs"}
    paths = {pages.get(file.name, f"/static/{file.name}") for file in FOLDER.iterdir()}
    assert paths == set(PATHS)
    sizes = {path: len(client.get(path).raise_for_status().content) for path in PATHS}
    transferred = {path: int(client.get(path).headers["Content-Length"]) for path in PATHS}
    del sizes["/"]  # which holds the address that the client asks for
    assert sum(sizes.values()) == sum(
        file.stat().st_size for file in FOLDER.iterdir() if file.name != "index.html"
    )
    reference = {REFERENCE, *(f"/static/{name}" for name in FOR_REFERENCE)}
    at_once = {path for path in transferred.keys() - reference if not ON_DEMAND.fullmatch(path)}
    assert sum(transferred[path] for path in at_once) < MAX_BYTES
    assert sum(transferred[path] for path in reference) < MAX_BYTES


def test_nothing_is_loaded_from_other_hosts(client: httpx.Client) -> None:
    for path in PATHS:
        if path.endswith((*COMPRESSED, ".txt")):
            continue
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")  # a name, which nobody loads
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text), path


@pytest.mark.parametrize("path", PATHS)
def test_a_cached_file_is_revalidated(client: httpx.Client, path: str) -> None:
    first = client.get(path)
    is_font = path.endswith(".woff2")
    assert first.headers["Cache-Control"].endswith("immutable" if is_font else "no-cache")
    again = client.get(path, headers={"If-None-Match": f'W/{first.headers["ETag"]}, "other"'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == first.headers["Content-Length"]


@pytest.mark.parametrize("path", [path for path in PATHS if not path.endswith(COMPRESSED)])
def test_a_file_is_compressed_for_those_who_can_read_it(client: httpx.Client, path: str) -> None:
    def fetch(coding: str) -> tuple[httpx.Response, bytes]:
        with client.stream("GET", path, headers={"Accept-Encoding": coding, "Range": "bytes=0-9"}) as answer:
            return answer, b"".join(answer.iter_raw())

    (packed, body), (plain, content) = fetch("br, gzip;q=0.5"), fetch("gzip;q=0, *;q=0")
    assert packed.status_code == plain.status_code == 200  # ranges are ignored, as RFC 9110 permits
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(body) == content
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_a_font_that_never_expires_is_named_by_its_content() -> None:
    (font,) = FOLDER.glob("*.woff2")
    assert font.stem.endswith(hashlib.sha256(font.read_bytes()).hexdigest()[:8])
    assert font.stat().st_size < 20_000
    assert "SIL OPEN FONT LICENSE" in (FOLDER / "fraunces-license.txt").read_text()


@pytest.mark.parametrize("path", ["/", REFERENCE])
def test_only_its_own_scripts_and_styles_run_in_it(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_page_may_use_the_camera_and_nothing_else(client: httpx.Client) -> None:
    assert client.get("/").headers["Permissions-Policy"].startswith("camera=(self)")


@pytest.mark.parametrize("path", ["/static", "/static/", "/static/nothing.js", "/static/../page.py"])
def test_other_paths_are_404(client: httpx.Client, path: str) -> None:
    answer = client.get(httpx.URL(str(client.base_url), raw_path=path.encode()))
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_post_is_refused(client: httpx.Client) -> None:
    answer = client.post("/", content=b"x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_it_needs_no_key_and_has_no_rate_limit() -> None:
    with serve(Settings(api_keys=(keys.create_key("page")[1],), rate_limit=1)) as client:
        assert {client.get(path).status_code for path in PAGE} == {200}
