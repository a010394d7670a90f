"""`python -m app.client` as people run it, against the real service."""

from __future__ import annotations

import csv
import http.server
import io
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client.table import DIGIT_COLUMNS, NUMBER_COLUMNS
from app.guard import keys
from app.settings import Settings
from tests.conftest import GOLDEN, HOSTILE, ROOT
from tests.serving import PATIENCE, free_port, run_handler, serve, start_process, wait_until
from tests.slow import SlowDecoder

NINE = (GOLDEN / "9-one-bit.png").read_bytes()
BYTES = {"Content-Type": "application/octet-stream"}
BOM = b"\xef\xbb\xbf"


def build_command(*words: object) -> list[str]:
    return [sys.executable, "-m", "app.client", *map(str, words)]


def run_client(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        build_command(*words),
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def read_table(file: Path) -> list[dict[str, str]]:
    """Parse the file strictly, and check that every row is complete."""
    data = file.read_bytes()
    assert data.startswith(BOM)
    assert data.endswith(b"\n")
    found = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    assert all(None not in row and None not in row.values() for row in found)
    return found


def read_rows_by_file(file: Path) -> dict[str, dict[str, str]]:
    rows = read_table(file)
    found = {row["file"]: row for row in rows}
    assert len(found) == len(rows), "a picture has two rows"
    return found


def copy_pictures(folder: Path, count: int) -> Path:
    """Make a folder of nines."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.png").write_bytes(NINE)
    return folder


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


# --- it can't run


def expect_refusal(*words: object, **environment: str) -> str:
    """Return the last line of a run that could not be."""
    finished = run_client(*words, **environment)
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr.splitlines()[-1]


def test_a_missing_folder_is_reported(tmp_path: Path, table_file: Path) -> None:
    assert "there is no file or folder" in expect_refusal(tmp_path / "gone", "--csv", table_file)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://", "http://a:b", "7"])
def test_an_invalid_address_is_reported(table_file: Path, url: str) -> None:
    assert "--url" in expect_refusal(GOLDEN, "--csv", table_file, "--url", url)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--concurrency", "0"), ("--concurrency", "many"), ("--patience", "-1"), ("--patience", "nan")],
)
def test_an_invalid_number_is_reported(table_file: Path, option: str, value: str) -> None:
    assert repr(value) in expect_refusal(GOLDEN, "--csv", table_file, option, value)


def test_a_missing_service_is_reported_at_once_and_no_table_is_written(table_file: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"There is no service at {url}" in expect_refusal(GOLDEN, "--csv", table_file, "--url", url)
    assert not table_file.exists()


def test_another_web_server_is_reported(table_file: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("hello")
    directory = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), directory) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        message = expect_refusal(
            GOLDEN, "--csv", table_file, "--url", f"http://127.0.0.1:{server.server_port}"
        )
        server.shutdown()
        thread.join()
    assert "not a digits service" in message


def test_a_required_key_may_come_from_the_environment(tmp_path: Path, table_file: Path) -> None:
    folder = copy_pictures(tmp_path / "nines", 1)
    with serve(Settings(api_keys=("a-key",))) as client:
        asked = (folder, "--csv", table_file, "--url", client.base_url)
        assert "The request has no key" in expect_refusal(*asked)
        assert "The key is not valid" in expect_refusal(*asked, "--key", "another")
        assert "a key can't have" in expect_refusal(*asked, "--key", "schlüssel")
        assert run_client(*asked, DIGITS_KEY="a-key").returncode == 0


def test_an_unknown_model_is_reported_before_a_picture_is_sent(
    client: httpx.Client, table_file: Path
) -> None:
    message = expect_refusal(GOLDEN, "--csv", table_file, "--url", client.base_url, "--model", "gpt")
    assert message == (
        "There is no model 'gpt'. The models are cnn, finder, line-reader, linear, mlp-1000, mlp-128."
    )
    assert not table_file.exists()


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["--model", "line-reader"], "classifier"),
        (["--number", "--model", "finder"], "classifier or a line-reader"),
    ],
)
def test_a_model_of_another_kind_is_reported_before_a_picture_is_sent(
    client: httpx.Client, table_file: Path, arguments: list[str], kinds: str
) -> None:
    message = expect_refusal(GOLDEN, "--csv", table_file, "--url", client.base_url, *arguments)
    name = arguments[-1]
    assert message == f"The model '{name}' is a {name}; this needs a {kinds}."
    assert not table_file.exists()


def run_without(missing: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the client while a package is not installed."""
    script = f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv[0] = 'client'"
    script += "; runpy.run_module('app.client', run_name='__main__')"
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_one_line_says_what_to_install() -> None:
    finished = run_without("httpx", GOLDEN)
    assert finished.returncode != 0
    (line,) = finished.stderr.splitlines()
    assert line == "python -m app.client needs httpx: pip install 'httpx>=0.28' (httpx is not installed)"


def test_rich_is_not_needed(client: httpx.Client, table_file: Path) -> None:
    finished = run_without("rich", GOLDEN, "--csv", table_file, "--url", client.base_url)
    assert finished.returncode == 0, finished.stderr
    assert f"{len(read_table(table_file))} read" in finished.stderr


@pytest.mark.parametrize(
    "foreign",
    [
        b"name,age\nAda,36\n",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        b"\n\n",
        ",".join(NUMBER_COLUMNS).encode() + b"\n",
        ",".join(DIGIT_COLUMNS).encode() + b"\n1,2\n",
        ";".join(DIGIT_COLUMNS).encode() + b"\n",
        ",".join(DIGIT_COLUMNS).encode() + b'\n"a"b,,,,,,,,\n',
    ],
)
def test_a_table_written_by_something_else_is_refused_and_stays_unchanged(
    client: httpx.Client, table_file: Path, foreign: bytes
) -> None:
    table_file.write_bytes(foreign)
    assert str(table_file) in expect_refusal(GOLDEN, "--csv", table_file, "--url", client.base_url)
    assert table_file.read_bytes() == foreign


def test_a_table_that_cant_be_a_file_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    for where in (tmp_path, "/dev/null", tmp_path / "no" / "such" / "folder.csv"):
        assert str(where) in expect_refusal(GOLDEN, "--csv", where, "--url", client.base_url)


def test_a_full_disk_ends_the_run_and_the_next_run_repairs_the_table(
    client: httpx.Client, tmp_path: Path, table_file: Path
) -> None:
    folder = copy_pictures(tmp_path / "nines", 40)
    asked = build_command(folder, "--csv", table_file, "--url", client.base_url)
    finished = subprocess.run(
        asked,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)),
    )
    assert finished.returncode == 2
    # where coverage is measured, it can't keep its own file either, and says so last
    assert f"The table {table_file} can't be written: File too large." in finished.stderr.splitlines()
    assert table_file.stat().st_size == 2_000  # in the middle of a row
    assert run_client(folder, "--csv", table_file, "--url", client.base_url).returncode == 0
    assert len(read_rows_by_file(table_file)) == 40


# --- pictures that can't be read, and those that can


def test_bad_files_do_not_stop_the_run_and_have_their_problems_in_the_table(
    client: httpx.Client, table_file: Path
) -> None:
    finished = run_client(HOSTILE, "--csv", table_file, "--url", client.base_url)
    assert finished.returncode == 1
    rows = read_rows_by_file(table_file)
    assert len(rows) > 180
    for name, row in rows.items():
        answer = client.post("/predict", content=(HOSTILE / name).read_bytes(), headers=BYTES).json()
        assert row["problem"] == answer.get("code", "")
        assert row["digit"] == str(answer.get("digit", ""))
        if row["problem"]:
            assert f"{name}: {row['problem']}: " in finished.stderr
    failed = sum(row["problem"] != "" for row in rows.values())
    assert finished.stderr.splitlines()[-1] == f"{len(rows) - failed} read, {failed} could not be read"


def test_a_row_holds_the_services_answer(client: httpx.Client, table_file: Path, tmp_path: Path) -> None:
    names = ("7-photo.jpg", "1-eight-pixels.png", "9-cmyk.jpg")
    for name in names:
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    finished = run_client(tmp_path, "--csv", table_file, "--url", client.base_url)
    assert (finished.returncode, finished.stderr.splitlines()[-1]) == (0, "3 read")
    rows = read_rows_by_file(table_file)
    for name in names:
        answer = client.post("/predict", files={"file": (GOLDEN / name).read_bytes()}).json()
        row = rows[name]
        assert tuple(row) == DIGIT_COLUMNS
        assert row["digit"] == str(answer["digit"]) == name[0]
        assert float(row["confidence"]) == pytest.approx(answer["confidence"], abs=1e-5)
        assert float(row["digit_likelihood"]) == pytest.approx(answer["digit_likelihood"], abs=1e-5)
        assert row["is_digit"] == str(answer["is_digit"]).lower()
        assert row["warnings"].split() == answer["warnings"]
        assert row["model"] == f"{answer['model']['name']} {answer['model']['version']}"
        assert (row["problem"], row["detail"]) == ("", "")


@pytest.mark.parametrize("model", ["line-reader", "mlp-1000"])
def test_numbers_are_read_by_the_line_reader_whichever_classifier_is_named(
    client: httpx.Client, table_file: Path, model: str
) -> None:
    numbers = ROOT / "tests" / "data" / "numbers"
    finished = run_client(
        numbers, "--csv", table_file, "--url", client.base_url, "--number", "--model", model
    )
    assert finished.returncode == 0
    rows = read_rows_by_file(table_file)
    assert {name: row["text"] for name, row in rows.items()} == {"4071.jpg": "4071", "2907.png": "2907"}
    assert {name: row["written"] for name, row in rows.items()} == {"4071.jpg": "4071", "2907.png": "2907"}
    assert all(
        tuple(row) == NUMBER_COLUMNS and row["model"].startswith("line-reader ") for row in rows.values()
    )


def test_files_of_any_name_are_read_once(
    table_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: httpx.Client
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [
        b"a, b.png", b'"quoted".png', b"two\nlines.png", b"=1+1.png", b"+1.png", b"-1.png", b"@a.png",
        b"a;=1.png", b"\xff\xfe.png", b"\\xff\\xfe.png", b" .png", "７.png".encode(), b"\x1b[2Jtitle.png",
        b'=HYPERLINK("http:evil").png', b"\r.png",
    ]  # fmt: skip
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(NINE)
    caplog.set_level("INFO", "app.access")
    for _ in range(2):
        finished = run_client(folder, "--csv", table_file, "--url", client.base_url)
        assert finished.returncode == 0
        assert "\x1b" not in finished.stderr
        assert len(read_rows_by_file(table_file)) == len(names)
    assert {row["digit"] for row in read_table(table_file)} == {"9"}
    assert sum(getattr(record, "path", "") == "/predict" for record in caplog.records) == len(names)
    for cell in (cell for row in read_table(table_file) for cell in row.values()):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_file_too_large_for_the_service_is_not_sent(tmp_path: Path, table_file: Path) -> None:
    (tmp_path / "large.bmp").write_bytes(bytes(6_000))
    (tmp_path / "9.png").write_bytes(NINE)
    with serve(Settings(max_body_bytes=5_000)) as client:
        finished = run_client(tmp_path, "--csv", table_file, "--url", client.base_url)
    rows = read_rows_by_file(table_file)
    assert (finished.returncode, rows["9.png"]["digit"]) == (1, "9")
    assert rows["large.bmp"]["problem"] == "body_too_large"
    assert "6000 bytes, at most 5000" in rows["large.bmp"]["detail"]


def test_a_file_that_cant_be_read_has_a_row_and_is_tried_again(
    client: httpx.Client, tmp_path: Path, table_file: Path
) -> None:
    memory = Path("/proc/self/mem")  # a file whose first byte can't be read, by root neither
    if not memory.exists():
        pytest.skip("this system has no /proc")
    (tmp_path / "7.png").symlink_to(memory)
    assert run_client(tmp_path, "--csv", table_file, "--url", client.base_url).returncode == 1
    assert read_rows_by_file(table_file)["7.png"]["problem"] == "unreadable_file"
    (tmp_path / "7.png").unlink()
    (tmp_path / "7.png").write_bytes(NINE)
    assert run_client(tmp_path, "--csv", table_file, "--url", client.base_url).returncode == 0
    assert read_rows_by_file(table_file)["7.png"]["digit"] == "9"


def test_an_empty_folder_gives_an_empty_table(client: httpx.Client, tmp_path: Path, table_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    finished = run_client(tmp_path / "empty", "--csv", table_file, "--url", client.base_url)
    assert (finished.returncode, read_table(table_file), finished.stderr.splitlines()[-1]) == (
        0,
        [],
        "0 read",
    )


# --- a table that is there already


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 100, 130, 10_000])
def test_an_incomplete_row_is_removed_and_its_picture_read_again(
    client: httpx.Client, tmp_path: Path, table_file: Path, cut: int
) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("1.png", 'a\n"b".png'):
        (tmp_path / "pictures" / name).write_bytes(NINE)
    asked = (tmp_path / "pictures", "--csv", table_file, "--url", client.base_url, "--concurrency", 1)
    assert run_client(*asked).returncode == 0
    whole = table_file.read_bytes()
    table_file.write_bytes(whole[:-cut])
    assert run_client(*asked).returncode == 0
    assert table_file.read_bytes() == whole


def test_a_picture_with_a_problem_of_its_own_is_not_sent_again(
    client: httpx.Client, tmp_path: Path, table_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_pictures(tmp_path / "pictures", 2)
    (folder / "blank.png").write_bytes((HOSTILE / "white.png").read_bytes())
    assert run_client(folder, "--csv", table_file, "--url", client.base_url).returncode == 1
    before = table_file.read_bytes()
    caplog.set_level("INFO", "app.access")
    finished = run_client(folder, "--csv", table_file, "--url", client.base_url)
    assert finished.returncode == 1
    assert "3 of them are in" in finished.stderr
    assert "1 of its rows with a problem" in finished.stderr
    assert table_file.read_bytes() == before
    assert "/predict" not in {getattr(record, "path", "") for record in caplog.records}


def test_a_picture_that_the_service_failed_on_is_sent_again(
    client: httpx.Client, tmp_path: Path, table_file: Path
) -> None:
    (tmp_path / "6.jpg").write_bytes((GOLDEN / "6-photo-small-in-large.jpg").read_bytes())
    with serve(Settings(request_timeout=0.001)) as impatient:
        finished = run_client(tmp_path, "--csv", table_file, "--url", impatient.base_url, "--patience", 0)
    assert (finished.returncode, read_rows_by_file(table_file)["6.jpg"]["problem"]) == (1, "timeout")
    finished = run_client(tmp_path, "--csv", table_file, "--url", client.base_url)
    assert (finished.returncode, read_rows_by_file(table_file)["6.jpg"]["digit"]) == (0, "6")


def test_a_table_saved_by_excel_is_continued(client: httpx.Client, tmp_path: Path, table_file: Path) -> None:
    folder = copy_pictures(tmp_path / "pictures", 3)
    asked = (folder, "--csv", table_file, "--url", client.base_url)
    assert run_client(*asked).returncode == 0
    rows = read_table(table_file)[:2]
    with table_file.open("w", encoding="utf-8-sig", newline="") as file:
        saved = csv.DictWriter(file, DIGIT_COLUMNS)  # few quotes, lines as on Windows
        saved.writeheader()
        saved.writerows(rows)
    assert run_client(*asked).returncode == 0
    assert len(read_rows_by_file(table_file)) == 3


# --- what happens meanwhile


def start_command(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(build_command(*words), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def has_rows(table_file: Path, count: int) -> Callable[[], bool]:
    return lambda: table_file.exists() and table_file.read_bytes().count(b"\n") > count


@pytest.fixture
def slow_service() -> Iterator[httpx.Client]:
    """A service that answers sixty requests at once, and then one a second."""
    with serve(Settings(rate_limit=60)) as client:
        yield client


def test_a_rate_limit_is_respected(slow_service: httpx.Client, tmp_path: Path, table_file: Path) -> None:
    folder = copy_pictures(tmp_path / "nines", 64)
    began = time.monotonic()
    finished = run_client(folder, "--csv", table_file, "--url", slow_service.base_url, "--patience", 0)
    assert finished.returncode == 0, finished.stderr
    assert len(read_rows_by_file(table_file)) == 64
    assert time.monotonic() - began > 4  # the models were asked for, too


def test_a_busy_service_is_retried(
    tmp_path: Path, table_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pictures").mkdir()
    large = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
    for number in range(24):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(large)
    caplog.set_level("INFO", "app.access")
    with serve(Settings(max_in_flight=1, max_batch=1)) as client:
        finished = run_client(tmp_path / "pictures", "--csv", table_file, "--url", client.base_url)
    assert finished.returncode == 0, finished.stderr
    assert {row["digit"] for row in read_rows_by_file(table_file).values()} == {"6"}
    assert 503 in {getattr(record, "status", 0) for record in caplog.records}


def test_the_client_waits_for_a_service_that_restarts(tmp_path: Path, table_file: Path) -> None:
    folder = copy_pictures(tmp_path / "nines", 150)
    with start_process(log_level="error") as running:
        port = str(running.port)
        client = start_command(folder, "--csv", table_file, "--url", f"http://127.0.0.1:{port}")
        wait_until(has_rows(table_file, 20))
        running.popen.kill()
    cut_row = len(read_table(table_file))
    with start_process(log_level="error", port=port):
        _, message = client.communicate(timeout=PATIENCE)
    assert client.returncode == 0, message
    assert 20 <= cut_row < 150
    assert {row["digit"] for row in read_rows_by_file(table_file).values()} == {"9"}
    assert len(read_rows_by_file(table_file)) == 150


def test_a_service_that_stays_away_ends_the_run_and_the_next_run_continues(
    client: httpx.Client, tmp_path: Path, table_file: Path
) -> None:
    folder = copy_pictures(tmp_path / "nines", 150)
    with start_process(log_level="error") as running:
        requesting = start_command(
            folder, "--csv", table_file, "--url", f"http://127.0.0.1:{running.port}", "--patience", 1
        )
        wait_until(has_rows(table_file, 20))
        running.popen.kill()
        _, message = requesting.communicate(timeout=PATIENCE)
    assert requesting.returncode == 1
    assert "The service has not answered for 1 s" in message
    assert "Run the same command again" in message
    assert " left" in message.splitlines()[-1]
    assert {row["problem"] for row in read_table(table_file)} == {""}
    assert run_client(folder, "--csv", table_file, "--url", client.base_url).returncode == 0
    assert len(read_rows_by_file(table_file)) == 150


def test_a_revoked_key_ends_the_run(tmp_path: Path, table_file: Path) -> None:
    folder = copy_pictures(tmp_path / "nines", 150)
    (key, entry), (_, other) = keys.create_key("mine"), keys.create_key("other")
    listed = tmp_path / "keys.txt"
    listed.write_text(entry)
    with start_process(log_level="error", api_keys_file=str(listed)) as running:
        requesting = start_command(
            folder,
            "--csv",
            table_file,
            "--url",
            f"http://127.0.0.1:{running.port}",
            "--key",
            key,
            "--concurrency",
            2,
        )
        wait_until(has_rows(table_file, 20))
        listed.write_text(other)
        running.popen.send_signal(signal.SIGHUP)
        _, message = requesting.communicate(timeout=PATIENCE)
    assert requesting.returncode == 1
    assert "The key is not valid" in message
    assert {row["problem"] for row in read_table(table_file)} == {""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_killed_at_any_time_leaves_a_table_that_can_be_continued(
    client: httpx.Client, tmp_path: Path, table_file: Path, number: signal.Signals, slow_decoder: SlowDecoder
) -> None:
    folder = copy_pictures(tmp_path / "nines", 150)
    slow_decoder.unhindered = 100
    requesting = start_command(folder, "--csv", table_file, "--url", client.base_url)
    wait_until(has_rows(table_file, 20))
    requesting.send_signal(number)
    _, message = requesting.communicate(timeout=PATIENCE)
    slow_decoder.go_on.set()
    assert "Traceback" not in message
    if number == signal.SIGINT:
        assert requesting.returncode == 130
        assert message.splitlines()[-1] == "Interrupted. Run the same command again to continue."
        assert 20 <= len(read_table(table_file)) < 150
    assert run_client(folder, "--csv", table_file, "--url", client.base_url).returncode == 0
    assert len(read_rows_by_file(table_file)) == 150


@contextmanager
def proxy(service: httpx.URL, answers: list[tuple[int, dict[str, str]]]) -> Iterator[str]:
    """Stand before a service, and answer the first predictions with these instead."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.forward(httpx.get(service.join(self.path)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if answers:
                status, headers = answers.pop(0)
                self.forward(httpx.Response(status, headers=headers, html="<h1>Sorry</h1>"))
            else:
                content_type = {"Content-Type": self.headers["Content-Type"]}
                self.forward(httpx.post(service.join(self.path), content=body, headers=content_type))

        def forward(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        log_message = partialmethod(lambda *_: None)

    with run_handler(Handler) as address:
        yield address


def test_the_client_waits_while_a_proxy_reports_failures(
    client: httpx.Client, tmp_path: Path, table_file: Path
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    failures: list[tuple[int, dict[str, str]]] = [
        (500, {}),
        (502, {}),
        (503, {"Retry-After": soon}),
        (504, {}),
    ]
    folder = copy_pictures(tmp_path / "nines", 1)
    with proxy(client.base_url, failures) as url:
        finished = run_client(folder, "--csv", table_file, "--url", url)
    assert (finished.returncode, failures) == (0, []), finished.stderr


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((413, {}), "413, with text/html"),
        ((200, {}), "200, with text/html"),
        ((302, {"Location": "https://login.example"}), "302, to https://login.example, with text/html"),
    ],
)
def test_an_unexpected_answer_is_reported_and_the_picture_sent_again(
    client: httpx.Client, tmp_path: Path, table_file: Path, answer: tuple[int, dict[str, str]], message: str
) -> None:
    folder = copy_pictures(tmp_path / "nines", 1)
    with proxy(client.base_url, [answer]) as url:
        finished = run_client(folder, "--csv", table_file, "--url", url)
        (row,) = read_table(table_file)
        assert (finished.returncode, row["problem"]) == (1, "unexpected_answer")
        assert message in row["detail"]
        assert run_client(folder, "--csv", table_file, "--url", url).returncode == 0
    assert read_rows_by_file(table_file)["0000.png"]["digit"] == "9"


def test_a_retry_after_of_a_day_ends_the_run(client: httpx.Client, tmp_path: Path, table_file: Path) -> None:
    with proxy(client.base_url, [(429, {"Retry-After": "86400"})]) as url:
        finished = run_client(copy_pictures(tmp_path / "nines", 1), "--csv", table_file, "--url", url)
    assert (finished.returncode, read_table(table_file)) == (1, [])
    assert "asks to wait for 86400 s" in finished.stderr


# --- where it tells and writes


def test_the_table_may_go_to_standard_output(client: httpx.Client) -> None:
    numbers = ROOT / "tests" / "data" / "numbers"
    finished = run_client(numbers, "--csv", "-", "--url", client.base_url, "--number", "--concurrency", 1)
    rows = list(csv.DictReader(io.StringIO(finished.stdout)))
    assert finished.returncode == 0
    assert [(row["file"], row["text"]) for row in rows] == [("2907.png", "2907"), ("4071.jpg", "4071")]
    assert "2 read" in finished.stderr


def test_a_closed_standard_output_ends_the_run(client: httpx.Client) -> None:
    asked = subprocess.Popen(
        build_command(GOLDEN, "--csv", "-", "--url", client.base_url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.stdout
    assert asked.stdout.readline().startswith('"file"')
    asked.stdout.close()
    message = asked.stderr.read() if asked.stderr else ""
    assert asked.wait() == 2
    assert message.splitlines()[-1] == "The table - can't be written: Broken pipe."
    if asked.stderr:
        asked.stderr.close()


def test_a_terminal_shows_a_progress_bar(client: httpx.Client, table_file: Path) -> None:
    ours, theirs = pty.openpty()
    asked: subprocess.Popen[Any] = subprocess.Popen(
        build_command(GOLDEN, "--csv", table_file, "--url", client.base_url),
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65_536):
            seen += piece
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(ours)
    assert asked.wait() == 0
    assert f"{len(read_table(table_file))} read".encode() in seen
    assert "━".encode() in seen
