"""Which files are pictures, and how their names are written down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client.folder import FORMULA_PREFIXES, format_path, scan_folder


def test_pictures_in_all_subfolders_are_found_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpeg", "a/c/3.webp", "10.gif", "9.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert scan_folder(tmp_path).pictures == ["10.gif", "9.bmp", "a/c/3.webp", "b/1.jpeg", "b/2.PNG"]


def test_hidden_and_linked_folders_and_special_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "1.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "nowhere.png").symlink_to("gone")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "7.png").write_bytes(b"")
    (tmp_path / "linked.png").symlink_to("7.png")
    assert scan_folder(tmp_path).pictures == ["7.png", "linked.png"]


def test_other_files_are_counted_by_their_suffix(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.PDF", "c.heic", "notes.txt", "README", "7.png"):
        (tmp_path / name).write_bytes(b"")
    found = scan_folder(tmp_path)
    assert (found.pictures, dict(found.other_files)) == (
        ["7.png", "c.heic"],
        {".pdf": 2, ".txt": 1, "none": 1},
    )


def test_a_folder_that_disappears_meanwhile_is_reported(tmp_path: Path) -> None:
    assert "No such file" in scan_folder(tmp_path / "gone").unreadable[0]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("7.png", "7.png"),
        ("a, b/'7'.png", "a, b/'7'.png"),
        ("=1+1.png", "./=1+1.png"),
        ("@sum/7.png", "./@sum/7.png"),
        ("\r\n7.png", "./\r\n7.png"),
        ("\\xff.png", "\\\\xff.png"),
        (os.fsdecode(b"\xff.png"), "\\xff.png"),
        ("数字.png", "数字.png"),
    ],
)
def test_a_file_name_is_written_harmlessly(name: str, written: str) -> None:
    assert format_path(name) == written


NAMES = st.binary(min_size=1, max_size=6).map(os.fsdecode) | st.text("\\xf=./a", min_size=1, max_size=8)


@given(NAMES.map(os.path.normpath), NAMES.map(os.path.normpath))
def test_two_file_names_are_never_written_alike_nor_as_a_formula(one: str, other: str) -> None:
    assert (format_path(one) == format_path(other)) == (one == other)
    assert not format_path(one).startswith(FORMULA_PREFIXES)
    format_path(one).encode()
