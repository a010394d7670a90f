from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.data import fonts
from training.errors import DataError


@pytest.fixture
def no_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIGITS_FONTS", str(tmp_path / "fonts"))
    return tmp_path


def install_fake_npm(folder: Path, script: str) -> str:
    """Write a program npm that runs `script`, and return a PATH on which it comes first."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_without_npm_the_fonts_cant_be_fetched(no_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(no_fonts))
    with pytest.raises(DataError, match="needs npm"):
        fonts.fetch()


def test_npms_error_is_passed_on(no_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", install_fake_npm(no_fonts, "echo no such host >&2; exit 1"))
    with pytest.raises(DataError, match="no such host"):
        fonts.fetch()


def test_fonts_that_their_packages_lack_are_named(no_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", install_fake_npm(no_fonts, "exit 0"))
    with pytest.raises(DataError, match="packages lack the fonts amatic-sc"):
        fonts.fetch()
    assert not fonts.are_present()


def test_fonts_are_fetched_only_once(font_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert fonts.fetch() == font_folder
