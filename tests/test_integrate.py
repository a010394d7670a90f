"""docs/integrate.md is executed: every block, as it stands, against the running service."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from app.settings import Settings
from tests.api.examples import is_same
from tests.conftest import GOLDEN, HOSTILE, ROOT
from tests.needs import CHROMIUM
from tests.serving import PATIENCE, free_port, run_handler, serve, start_process, wait_until
from tests.slow import SlowDecoder

PAGE: Final = (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8")
ADDRESS: Final = "http://localhost:8000"  # as the page has it
BLOCKS: Final = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES: Final = {
    "photo.jpg": GOLDEN / "7-photo.jpg",
    "drawing.png": GOLDEN / "3-canvas-black-on-white.png",
    "number.jpg": ROOT / "tests" / "data" / "numbers" / "4071.jpg",
    "notes.txt": ROOT / "LICENSE",
    "scans/3.png": GOLDEN / "3-canvas-white-on-black.png",
    "scans/9.png": GOLDEN / "9-grey.png",
    "scans/blank.png": HOSTILE / "white.png",
}


def block(language: str, beginning: str) -> str:
    """Return the one block in a language that has these words."""
    (block,) = (text for of, text in BLOCKS if of == language and beginning in text)
    return str(block)


def shown(text: str) -> str:
    """Return the output that stands below a block."""
    following = BLOCKS[[of_text for _, of_text in BLOCKS].index(text) + 1]
    assert following[0] == "text"
    return str(following[1])


SYNC: Final = block("python", "def ask(client: httpx.Client")
ASYNC: Final = block("python", "asyncio.run(main())")
GENERATED: Final = block("python", "from digits_client")
NODE: Final = block("js", "process.argv")
HTML: Final = block("html", "<canvas")
RUN_NODE: Final = block("sh", "node predict.mjs")
GENERATE: Final = block("sh", "openapi-python-client generate")
FOLDER: Final = block("sh", "python -m app.client")
CURLS: Final = [text for language, text in BLOCKS if language == "sh" and "curl" in text]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder that has the files which the page speaks of."""
    (tmp_path / "scans").mkdir()
    for name, file in FILES.items():
        shutil.copy(file, tmp_path / name)
    return tmp_path


def start_block(words: list[str], here: Path, url: httpx.URL | str) -> subprocess.Popen[str]:
    """Start a block with the service's address in it, in the folder of the page's files."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [word.replace(ADDRESS, str(url).rstrip("/")) for word in words],
        cwd=here,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(running: subprocess.Popen[str]) -> str:
    out, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, errors
    return out


def run(words: list[str], here: Path, url: httpx.URL | str) -> str:
    return output(start_block(words, here, url))


def shell(text: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", text]


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_every_block_of_the_page_is_executed_below() -> None:
    executed = {*CURLS, SYNC, ASYNC, GENERATED, NODE, HTML, RUN_NODE, GENERATE, FOLDER}
    configuration = {text for language, text in BLOCKS if language == "yaml"}
    outputs = {text for language, text in BLOCKS if language == "text"}
    assert {text for _, text in BLOCKS} - executed - configuration - outputs == set()
    assert len(CURLS) == 8


def test_all_ways_to_send_a_picture_give_the_same_answer(client: httpx.Client, here: Path) -> None:
    form, *others = (json.loads(run(shell(CURLS[place]), here, client.base_url)) for place in (0, 1, 2, 7))
    assert form["digit"] == 7
    assert len(others) == 3
    assert all(is_same(form, other) for other in others)


def test_a_batch_a_number_and_a_view(client: httpx.Client, here: Path) -> None:
    batch, number, view = CURLS[3:6]
    results = json.loads(run(shell(batch), here, client.base_url))["results"]
    assert [result["prediction"] and result["prediction"]["digit"] for result in results] == [7, 3, None]
    assert results[2]["problem"]["code"] == "unsupported_media_type"
    assert json.loads(run(shell(number), here, client.base_url))["text"] == "4071"
    run(shell(view), here, client.base_url)
    with Image.open(here / "seen.png") as seen, Image.open(GOLDEN / "7-photo.jpg.canonical.png") as canonical:
        assert seen.tobytes() == canonical.tobytes()


def test_a_script_notices_an_error(client: httpx.Client, here: Path) -> None:
    shutil.copy(HOSTILE / "white.png", here / "photo.jpg")
    running = start_block(shell(CURLS[6]), here, client.base_url)
    running.communicate(timeout=PATIENCE)
    assert running.returncode == 22
    assert json.loads((here / "answer.json").read_text())["code"] == "no_ink"


# --- programs that ask again

PROGRAMS: Final = ["python", "python async", pytest.param("node", marks=pytest.mark.needs("node")), "curl"]


def program(
    kind: str, here: Path, url: httpx.URL | str, *, attempts: int | None = None
) -> tuple[list[str], str]:
    """Return a block's command, and what it prints; it may be given fewer attempts."""

    def limited(text: str) -> str:
        return re.sub(r"(?i)(\battempts =| --retry) \d", rf"\1 {attempts}", text) if attempts else text

    if kind == "curl":
        asked = limited(CURLS[6]).strip()
        return shell(f"{asked} --silent && grep -o 'digit\":[0-9]' answer.json"), 'digit":7\n'
    if kind == "node":
        (here / "predict.mjs").write_text(limited(NODE).replace(ADDRESS, str(url).rstrip("/")))
        return shell(RUN_NODE), shown(RUN_NODE)
    text = SYNC if kind == "python" else ASYNC
    return python(limited(text)), shown(text)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_prints_the_output_below_it(client: httpx.Client, here: Path, kind: str) -> None:
    words, expected = program(kind, here, client.base_url)
    assert run(words, here, client.base_url) == expected


@pytest.fixture
def answered() -> Iterator[list[int]]:
    """The statuses with which pictures have been answered, as the log has them."""
    statuses: list[int] = []

    class Noted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if vars(record).get("path") == "/predict":
                statuses.append(vars(record)["status"])

    log, noted = logging.getLogger("app.access"), Noted()
    log.addHandler(noted)
    log.setLevel("INFO")
    yield statuses
    log.removeHandler(noted)
    log.setLevel("NOTSET")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_waits_when_its_rate_limit_is_reached(here: Path, kind: str, answered: list[int]) -> None:
    with serve(Settings(rate_limit=60)) as client:
        words, expected = program(kind, here, client.base_url)
        for _ in range(10):  # it may come just when there is a request left again
            if 429 in answered:
                break
            running = start_block(words, here, client.base_url)
            use_up(client, running, answered)
            assert output(running) == expected
        assert 429 in answered


def use_up(client: httpx.Client, running: subprocess.Popen[str], answered: list[int]) -> None:
    """Leave a program no request until it has been refused one, or has ended."""
    while 429 not in answered and running.poll() is None:
        client.get("/models/cnn")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_waits_while_the_service_is_busy(
    here: Path, kind: str, answered: list[int], slow_decoder: SlowDecoder
) -> None:
    with serve(Settings(max_in_flight=1, max_batch=1)) as client:
        words, expected = program(kind, here, client.base_url)
        with slow_decoder.occupy(client, 1):
            answered.clear()
            running = start_block(words, here, client.base_url)
            wait_until(lambda: 503 in answered)
        assert output(running) == expected


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_retries_after_its_connection_was_lost(here: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        words, expected = program(kind, here, url)
        if kind == "curl":  # which takes a lost connection for final; one that is refused it tries again
            listening.close()
        running = start_block(words, here, url)
        if kind != "curl":
            with listening.accept()[0] as lost:
                lost.recv(1)
    with start_process(port=str(port), log_level="error"):
        assert output(running) == expected


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_gives_up_after_its_last_attempt(here: Path, kind: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words, _ = program(kind, here, url, attempts=2)
    began = time.monotonic()
    running = start_block(words, here, url)
    out, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode != 0, out) == (True, ""), errors
    assert time.monotonic() - began > 0.4  # it has tried twice


# --- the rest


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder's pages; yield their origin."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        log_message = functools.partialmethod(lambda *_: None)

    handler = functools.partial(Handler, directory=str(folder))
    with run_handler(handler) as address:
        yield address


@pytest.mark.needs("chromium")
def test_a_page_reads_files_and_drawings_and_retries(here: Path, answered: list[int]) -> None:
    with web_server(here) as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serve(Settings(cors_origins=(origin,), rate_limit=20)) as client:
            (here / "page.html").write_text(HTML.replace(ADDRESS, str(client.base_url).rstrip("/")))
            opened = browser.new_page()
            opened.goto(f"{origin}/page.html")
            output = opened.locator("output")
            opened.set_input_files("input", here / "photo.jpg")
            expect(output).to_have_text(re.compile(r"^7 \(99\.\d %\)$"))
            opened.set_input_files("input", here / "notes.txt")
            expect(output).to_have_text(re.compile("not a PNG, JPEG, WebP, BMP or GIF"))
            draw_a_seven(opened)
            opened.locator("button").click()
            expect(output).to_have_text(re.compile(r"^7 \("))
            # the last request that there is, as soon as it has come: the page has three seconds to be refused
            wait_until(lambda: client.get("/models/cnn").status_code == 429)
            wait_until(lambda: client.get("/models/cnn").status_code == 200)
            opened.set_input_files("input", here / "drawing.png")
            expect(output).to_have_text(re.compile(r"^3 \("), timeout=1000 * PATIENCE)
            assert 429 in answered
        browser.close()


def draw_a_seven(opened: Page) -> None:
    box = opened.locator("canvas").bounding_box()
    assert box
    for x, y in ((80, 60), (200, 60), (130, 230)):
        opened.mouse.move(box["x"] + x, box["y"] + y, steps=10)
        opened.mouse.down()
    opened.mouse.up()


def test_a_folder_becomes_a_table(client: httpx.Client, here: Path) -> None:
    assert run(shell(FOLDER), here, client.base_url) == shown(FOLDER)
    rows = (here / "digits.csv").read_text(encoding="utf-8-sig").splitlines()
    assert sorted(row.split(",")[1] for row in rows) == ['""', '"3"', '"9"', '"digit"']


def test_a_client_is_generated_and_used(client: httpx.Client, here: Path) -> None:
    (config,) = (text for language, text in BLOCKS if language == "yaml")
    (here / "config.yaml").write_text(config)
    run(shell(GENERATE), here, client.base_url)
    assert run(python(GENERATED), here, client.base_url) == shown(GENERATED)
