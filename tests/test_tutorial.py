"""The tutorial is followed: its commands print what it shows, and its program writes its table."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT
from tests.documents import find_blocks, matches_text

PAGE: Final = "docs/tutorial.md"
PHOTOS: Final = ROOT / "docs" / "meter-photos"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who follows the tutorial with its photographs, and `use.py`."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(PHOTOS, folder, dirs_exist_ok=True)
    (program,) = (block for language, block in find_blocks(PAGE) if language == "python")
    # what is installed as `digits` is `app` here
    (folder / "use.py").write_text(program.replace("from digits import", "from app import"))
    return folder


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
    assert len(rows) == 1 + len([*PHOTOS.glob("meters/*.jpg")])


def test_the_program_writes_what_was_used(folder: Path) -> None:
    run("python use.py", folder)
    (table,) = (block for language, block in find_blocks(PAGE) if language == "csv")
    assert (folder / "use.csv").read_text() == table
