"""`python -m benchmarks.rivals` as people run it: with the service's networks, and with PP-OCR itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.pictures import draw_line
from tests.conftest import ROOT
from tests.needs import RIVALS
from training.data.uploads import encode_png

NUMBERS = ("40718293", "56")
READ = """
import sys
from benchmarks.rivals.pp_ocr import build_readers
upload = sys.stdin.buffer.read()
print(*(reader.read(upload).digits for reader in build_readers()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of drawn numbers, and of one whose picture is missing."""
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    for number in NUMBERS:
        (numbers / f"{number}.jpg").write_bytes(draw_line(number))
    rows = [f"{number}.jpg,{number}" for number in NUMBERS]
    (numbers / "labels.csv").write_text("\n".join(["file,label", *rows, "missing.jpg,3"]))
    return tmp_path


def run(python: str | Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the benchmark where nothing can be downloaded."""
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return subprocess.run(
        [str(python), "-m", "benchmarks.rivals", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.needs("rivals")
def test_pp_ocr_reads_drawn_numbers_without_a_network(folder: Path) -> None:
    file = folder / "bench-rivals.json"
    result = run(RIVALS, folder, "--json", file)
    assert result.returncode == 0, result.stderr
    readers = json.loads(file.read_text())["numbers"]
    pp_ocr = {name: score for name, score in readers.items() if name.startswith("PP-OCR")}
    assert readers.keys() == {"/predict/number", *pp_ocr}
    assert len(pp_ocr) == 3
    assert {score["pictures"] for score in readers.values()} == {3}
    assert all(score["cpu_ms"] > 0 for score in readers.values())
    assert pp_ocr["PP-OCR, recognition alone"]["right"] == 2
    assert "| numbers | 3 | " in result.stdout


@pytest.mark.needs("rivals")
def test_pp_ocr_reads_digits_alone() -> None:
    picture = np.full((80, 420), 255, np.uint8)
    cv2.putText(picture, "SOLD 4071", (20, 58), cv2.FONT_HERSHEY_SIMPLEX, 2, 0, 3)
    command = [str(RIVALS), "-c", READ]
    result = subprocess.run(command, cwd=ROOT, input=encode_png(picture), capture_output=True, check=True)
    readings = result.stdout.decode().split()
    assert len(readings) == 3
    for digits in readings:
        assert digits.isdecimal()
        assert digits.endswith("4071")


def test_without_rapidocr_the_remedy_is_named(folder: Path) -> None:
    result = run(sys.executable, folder)
    assert result.returncode == 1
    assert "`make bench-rivals`" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_pictures_it_says_so(tmp_path: Path) -> None:
    result = run(sys.executable, tmp_path / "nowhere")
    assert result.returncode == 1
    assert "all is skipped: There is no folder nowhere." in result.stderr
    assert "There are no pictures of digits to read." in result.stderr
