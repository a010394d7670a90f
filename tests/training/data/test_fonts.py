from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.data import fonts
from training.errors import DataError


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIGITS_FONTS", str(tmp_path / "fonts"))
    return tmp_path


def fake_npm(folder: Path, script: str) -> str:
    """Put an npm into a folder of its own, and return a PATH on which it comes first."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_without_npm_the_fonts_cant_be_had(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(DataError, match="needs npm"):
        fonts.fetch()


def test_npms_own_words_are_passed_on(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_npm(empty, "echo no such host >&2; exit 1"))
    with pytest.raises(DataError, match="no such host"):
        fonts.fetch()


def test_packages_without_the_fonts_are_named(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_npm(empty, "exit 0"))
    with pytest.raises(DataError, match="no usable font for amatic-sc"):
        fonts.fetch()
    assert not fonts.are_present()


def test_what_has_been_fetched_is_not_fetched_again(
    font_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert fonts.fetch() == font_folder
