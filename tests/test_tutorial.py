"""The tutorial is followed: its commands print what it shows, and its program writes its table."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.data.meters import draw_meter
from tests.documents import find_blocks, matches_text

PAGE: Final = "docs/tutorial.md"
READINGS: Final = {
    "2026-01-31": "118064",
    "2026-02-28": "120217",
    "2026-03-31": "122019",
    "2026-04-30": "124109",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who follows the tutorial, with photographs and `use.py`."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "far.jpg").write_bytes(draw_meter("140891", seed=2, is_close=False))
    (folder / "near.jpg").write_bytes(draw_meter("140891", seed=2))
    (folder / "meters").mkdir()
    for seed, (day, reading) in enumerate(READINGS.items()):
        (folder / "meters" / f"{day}.jpg").write_bytes(draw_meter(reading, seed=seed))
    _cover(folder / "meters" / "2026-03-31.jpg")
    (program,) = (block for language, block in find_blocks(PAGE) if language == "python")
    # what is installed as `digits` is `app` here
    (folder / "use.py").write_text(program.replace("from digits import", "from app import"))
    return folder


def _cover(file: Path) -> None:
    """Put a thumb in front of the last drums."""
    photo = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert photo is not None
    cv2.ellipse(photo, (500, 150), (190, 140), -30, 0, 360, (120, 150, 205), -1)
    file.write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())


def run(command: str, folder: Path) -> str:
    programs = {"digits": [sys.executable, "-m", "app"], "python": [sys.executable]}
    program, *words = shlex.split(command)
    return subprocess.run(
        [*programs[program], *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    ).stdout


def test_commands_print_what_is_below_them(folder: Path) -> None:
    blocks = find_blocks(PAGE)
    shown = [
        (block.strip(), output)
        for (language, block), (next_language, output) in pairwise(blocks)
        if (language, next_language) == ("sh", "text")
    ]
    assert len(shown) == 3
    for command, output in shown:
        printed = run(command, folder)
        assert matches_text(output, printed), printed


def test_the_table_has_a_row_for_each_photograph(folder: Path) -> None:
    run("digits read --number meters --csv raw.csv", folder)
    rows = (folder / "raw.csv").read_text("utf-8-sig").splitlines()
    assert len(rows) == 1 + len(READINGS)


def test_the_program_writes_what_was_used(folder: Path) -> None:
    run("python use.py", folder)
    (table,) = (block for language, block in find_blocks(PAGE) if language == "csv")
    assert (folder / "use.csv").read_text() == table
