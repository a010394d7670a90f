"""Executes every block of docs/integrate.md, unchanged, against a running service."""

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
ADDRESS: Final = "http://localhost:8000"  # as written on the page
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


def find_block(language: str, phrase: str) -> str:
    """Return the only block in this language that contains the phrase."""
    (block,) = (text for block_language, text in BLOCKS if block_language == language and phrase in text)
    return str(block)


def find_output(block: str) -> str:
    """Return the output shown below a block."""
    language, output = BLOCKS[[text for _, text in BLOCKS].index(block) + 1]
    assert language == "text"
    return str(output)


SYNC: Final = find_block("python", "def ask(client: httpx.Client")
ASYNC: Final = find_block("python", "asyncio.run(main())")
GENERATED: Final = find_block("python", "from digits_client")
NODE: Final = find_block("js", "process.argv")
HTML: Final = find_block("html", "<canvas")
RUN_NODE: Final = find_block("sh", "node predict.mjs")
GENERATE: Final = find_block("sh", "openapi-python-client generate")
READ_FOLDER: Final = find_block("sh", "python -m app.client")
CURLS: Final = [text for language, text in BLOCKS if language == "sh" and "curl" in text]
FORM, RAW, JSON, BATCH, NUMBER, VIEW, SCRIPT, FORM_BY_HAND = CURLS


@pytest.fixture
def example_folder(tmp_path: Path) -> Path:
    """A folder with the files that the page mentions."""
    (tmp_path / "scans").mkdir()
    for name, file in FILES.items():
        shutil.copy(file, tmp_path / name)
    return tmp_path


def start_command(command: list[str], example_folder: Path, url: httpx.URL | str) -> subprocess.Popen[str]:
    """Start a command in the folder of example files, with the service's address in place of the page's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [argument.replace(ADDRESS, str(url).rstrip("/")) for argument in command],
        cwd=example_folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_output(running: subprocess.Popen[str]) -> str:
    out, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, errors
    return out


def run_command(command: list[str], example_folder: Path, url: httpx.URL | str) -> str:
    return wait_for_output(start_command(command, example_folder, url))


def build_shell_command(text: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", text]


def build_python_command(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_every_block_of_the_page_is_executed_below() -> None:
    executed = {*CURLS, SYNC, ASYNC, GENERATED, NODE, HTML, RUN_NODE, GENERATE, READ_FOLDER}
    configuration = {text for language, text in BLOCKS if language in {"yaml", "json"}}
    outputs = {text for language, text in BLOCKS if language == "text"}
    assert {text for _, text in BLOCKS} - executed - configuration - outputs == set()


def test_all_ways_to_send_a_picture_give_the_same_answer(client: httpx.Client, example_folder: Path) -> None:
    form, *others = (
        json.loads(run_command(build_shell_command(block), example_folder, client.base_url))
        for block in (FORM, RAW, JSON, FORM_BY_HAND)
    )
    assert form["digit"] == 7
    assert len(others) == 3
    assert all(is_same(form, other) for other in others)


def test_a_batch_a_number_and_a_view(client: httpx.Client, example_folder: Path) -> None:
    results = json.loads(run_command(build_shell_command(BATCH), example_folder, client.base_url))["results"]
    assert [result["prediction"] and result["prediction"]["digit"] for result in results] == [7, 3, None]
    assert results[2]["problem"]["code"] == "unsupported_media_type"
    number = json.loads(run_command(build_shell_command(NUMBER), example_folder, client.base_url))
    assert number["text"] == "4071"
    run_command(build_shell_command(VIEW), example_folder, client.base_url)
    with Image.open(example_folder / "seen.png") as seen:
        assert (seen.size, seen.mode) == ((28, 28), "L")
    seen_again = client.post("/predict", files={"file": (example_folder / "seen.png").read_bytes()})
    assert seen_again.json()["digit"] == 7


def test_a_script_notices_an_error(client: httpx.Client, example_folder: Path) -> None:
    shutil.copy(HOSTILE / "white.png", example_folder / "photo.jpg")
    running = start_command(build_shell_command(SCRIPT), example_folder, client.base_url)
    running.communicate(timeout=PATIENCE)
    assert running.returncode == 22
    assert json.loads((example_folder / "answer.json").read_text())["code"] == "no_ink"


# --- programs that retry

PROGRAMS: Final = ["python", "python async", pytest.param("node", marks=pytest.mark.needs("node")), "curl"]


def build_program(
    program: str, example_folder: Path, url: httpx.URL | str, *, attempts: int | None = None
) -> tuple[list[str], str]:
    """Return the command that runs a block, and the output it should print.

    `attempts` lowers the block's number of attempts.
    """

    def limit_attempts(text: str) -> str:
        return re.sub(r"(?i)(\battempts =| --retry) \d", rf"\1 {attempts}", text) if attempts else text

    if program == "curl":
        curl = limit_attempts(SCRIPT).strip()
        command = build_shell_command(f"{curl} --silent && grep -o 'digit\":[0-9]' answer.json")
        return command, 'digit":7\n'
    if program == "node":
        script = limit_attempts(NODE).replace(ADDRESS, str(url).rstrip("/"))
        (example_folder / "predict.mjs").write_text(script)
        return build_shell_command(RUN_NODE), find_output(RUN_NODE)
    block = SYNC if program == "python" else ASYNC
    return build_python_command(limit_attempts(block)), find_output(block)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_the_output_below_it(
    client: httpx.Client, example_folder: Path, program: str
) -> None:
    command, expected = build_program(program, example_folder, client.base_url)
    assert run_command(command, example_folder, client.base_url) == expected


@pytest.fixture
def statuses() -> Iterator[list[int]]:
    """The statuses of the answers to /predict, from the access log."""
    recorded: list[int] = []

    class StatusRecorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if vars(record).get("path") == "/predict":
                recorded.append(vars(record)["status"])

    log, recorder = logging.getLogger("app.access"), StatusRecorder()
    log.addHandler(recorder)
    log.setLevel("INFO")
    yield recorded
    log.removeHandler(recorder)
    log.setLevel("NOTSET")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_waits_when_its_rate_limit_is_reached(
    example_folder: Path, program: str, statuses: list[int]
) -> None:
    with serve(Settings(rate_limit=60)) as client:
        command, expected = build_program(program, example_folder, client.base_url)
        # the program may send its request just after the bucket has regained a token
        for _ in range(10):
            if 429 in statuses:
                break
            running = start_command(command, example_folder, client.base_url)
            exhaust_rate_limit(client, running, statuses)
            assert wait_for_output(running) == expected
        assert 429 in statuses


def exhaust_rate_limit(client: httpx.Client, running: subprocess.Popen[str], statuses: list[int]) -> None:
    """Use up the rate limit until the program has been refused, or has ended."""
    while 429 not in statuses and running.poll() is None:
        client.get("/models/cnn")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_waits_while_the_service_is_busy(
    example_folder: Path, program: str, statuses: list[int], slow_decoder: SlowDecoder
) -> None:
    with serve(Settings(max_in_flight=1, max_batch=1)) as client:
        command, expected = build_program(program, example_folder, client.base_url)
        with slow_decoder.occupy(client, 1):
            statuses.clear()
            running = start_command(command, example_folder, client.base_url)
            wait_until(lambda: 503 in statuses)
        assert wait_for_output(running) == expected


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_retries_after_its_connection_was_lost(example_folder: Path, program: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        command, expected = build_program(program, example_folder, url)
        # curl does not retry after a lost connection; with --retry-connrefused, it does after a refused one
        if program == "curl":
            listening.close()
        running = start_command(command, example_folder, url)
        if program != "curl":
            with listening.accept()[0] as lost:
                lost.recv(1)
    with start_process(port=str(port), log_level="error"):
        assert wait_for_output(running) == expected


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gives_up_after_its_last_attempt(example_folder: Path, program: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    command, _ = build_program(program, example_folder, url, attempts=2)
    began = time.monotonic()
    running = start_command(command, example_folder, url)
    out, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode != 0, out) == (True, ""), errors
    assert time.monotonic() - began > 0.4  # it has tried twice


# --- a page, a folder, a generated client


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's pages; yield their origin."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        log_message = functools.partialmethod(lambda *_: None)

    handler = functools.partial(Handler, directory=str(folder))
    with run_handler(handler) as address:
        yield address


@pytest.mark.needs("chromium")
def test_a_page_reads_files_and_drawings_and_retries(example_folder: Path, statuses: list[int]) -> None:
    with serve_folder(example_folder) as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serve(Settings(cors_origins=(origin,), rate_limit=20)) as client:
            (example_folder / "page.html").write_text(HTML.replace(ADDRESS, str(client.base_url).rstrip("/")))
            page = browser.new_page()
            page.goto(f"{origin}/page.html")
            output = page.locator("output")
            page.set_input_files("input", example_folder / "photo.jpg")
            expect(output).to_have_text(re.compile(r"^7 \(99\.\d %\)$"))
            page.set_input_files("input", example_folder / "notes.txt")
            expect(output).to_have_text(re.compile("not a PNG, JPEG, WebP, HEIC, AVIF, BMP, GIF or TIFF"))
            draw_a_seven(page)
            page.locator("button").click()
            expect(output).to_have_text(re.compile(r"^7 \("))
            # use up the last token as soon as it is added: for three seconds, the page will then be refused
            wait_until(lambda: client.get("/models/cnn").status_code == 429)
            wait_until(lambda: client.get("/models/cnn").status_code == 200)
            page.set_input_files("input", example_folder / "drawing.png")
            expect(output).to_have_text(re.compile(r"^3 \("), timeout=1000 * PATIENCE)
            assert 429 in statuses
        browser.close()


def draw_a_seven(page: Page) -> None:
    box = page.locator("canvas").bounding_box()
    assert box
    for x, y in ((80, 60), (200, 60), (130, 230)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=10)
        page.mouse.down()
    page.mouse.up()


def test_a_folder_becomes_a_table(client: httpx.Client, example_folder: Path) -> None:
    output = run_command(build_shell_command(READ_FOLDER), example_folder, client.base_url)
    assert output == find_output(READ_FOLDER)
    rows = (example_folder / "digits.csv").read_text(encoding="utf-8-sig").splitlines()
    assert sorted(row.split(",")[1] for row in rows) == ['""', '"3"', '"9"', '"digit"']


def test_a_client_is_generated_and_used(client: httpx.Client, example_folder: Path) -> None:
    (config,) = (text for language, text in BLOCKS if language == "yaml")
    (example_folder / "config.yaml").write_text(config)
    run_command(build_shell_command(GENERATE), example_folder, client.base_url)
    output = run_command(build_python_command(GENERATED), example_folder, client.base_url)
    assert output == find_output(GENERATED)
