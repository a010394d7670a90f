"""`python -m app read`, without a service and with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.client.test_client import read_rows_by_file
from tests.conftest import GOLDEN, ROOT

NINE = GOLDEN / "9-one-bit.png"
NUMBERS = ROOT / "tests" / "data" / "numbers"


def read(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", "read", *map(str, words)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_line_tells_what_is_written_how_sure_that_is_and_where() -> None:
    result = read(NINE)
    assert result.returncode == 0, result.stderr
    digit, confidence, file = result.stdout.split()
    assert (digit, file) == ("9", str(NINE))
    assert float(confidence.removesuffix("%")) > 99
    assert not result.stderr


def test_a_folder_of_numbers_is_read_in_order() -> None:
    lines = read("--number", NUMBERS).stdout.splitlines()
    assert [(line.split()[0], line.split()[2]) for line in lines] == [
        ("2907", "2907.png"),
        ("4071", "4071.jpg"),
    ]


def test_this_process_answers_as_a_service_does(client: httpx.Client) -> None:
    here = read("--json", NUMBERS, NINE)
    there = read("--json", NUMBERS, NINE, "--url", client.base_url)
    assert here.returncode == there.returncode == 0, here.stderr
    assert list(map(json.loads, here.stdout.splitlines())) == list(map(json.loads, there.stdout.splitlines()))


def test_a_file_that_shows_no_picture_is_reported_and_the_others_are_read() -> None:
    result = read(ROOT / "README.md", NINE)
    assert result.returncode == 1
    assert result.stdout.split()[0] == "9"
    assert f"{ROOT / 'README.md'}: unsupported_media_type: " in result.stderr


def test_problems_are_members_in_json() -> None:
    result = read("--json", ROOT / "README.md")
    problem = json.loads(result.stdout)
    assert problem["problem"] == "unsupported_media_type"
    assert problem["file"] == str(ROOT / "README.md")


def test_a_picture_without_a_digit_reads_as_none(tmp_path: Path) -> None:
    scribble = tmp_path / "scribble.png"
    scribble.write_bytes((GOLDEN / "1-eight-pixels.png").read_bytes())
    line = read(scribble).stdout
    assert line.startswith("none (1?)")
    assert line.endswith("(tiny)\n")


def test_a_table_is_written_and_continued(tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    assert read(NUMBERS, "--number", "--csv", table).returncode == 0
    assert {file: row["text"] for file, row in read_rows_by_file(table).items()} == {
        "2907.png": "2907",
        "4071.jpg": "4071",
    }
    again = read(NUMBERS, "--number", "--csv", table)
    assert f"2 of them are in {table}" in again.stderr
    assert "0 read" in again.stderr


def test_a_file_that_is_named_twice_is_read_once() -> None:
    assert len(read(NINE, NINE).stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "vgg"], "There is no model 'vgg'. The models are cnn, "),
        (["--model", "finder"], "The model 'finder' is a finder, and this needs a classifier."),
        (["--number", "--model", "vgg"], "There is no model 'vgg'."),
        (["--number", "--model", "finder"], "The model 'finder' is a finder, and this needs a line-reader."),
    ],
)
def test_a_model_that_cant_do_it_is_reported_in_one_line(words: list[str], message: str) -> None:
    result = read(NINE, *words)
    assert result.returncode == 2
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    command = f"{sys.executable} -m app read {GOLDEN} | head -n 1"
    result = subprocess.run(command, shell=True, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S602
    assert len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert "Broken pipe" not in result.stderr


def test_a_device_without_an_end_is_not_read_for_ever() -> None:
    result = read("/dev/zero")
    assert result.returncode == 1
    assert "body_too_large" in result.stderr


def test_a_pipe_can_be_read() -> None:
    command = f"{sys.executable} -m app read /dev/stdin < {NINE}"
    result = subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S602
    assert result.stdout.split()[0] == "9"


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    result = read(tmp_path)
    assert result.returncode == 0
    assert result.stderr == f"There are no pictures in {tmp_path}\n"
