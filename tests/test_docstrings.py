"""Docstrings below attributes."""

from __future__ import annotations

import sys
import types

import pytest

from app.docstrings import read_docstrings


class Base:
    inherited: int
    """Of the base."""

    replaced: int
    """Of the base, too."""


class Derived(Base):
    """A class's own docstring belongs to no attribute."""

    replaced: int
    """Of the class."""

    undocumented: int

    long: int = 0
    """Two
    lines."""

    unannotated = 0
    """Belongs to no field."""


def test_attributes_have_the_docstrings_below_them_and_those_of_the_bases() -> None:
    assert read_docstrings(Derived) == {
        "inherited": "Of the base.",
        "replaced": "Of the class.",
        "long": "Two\nlines.",
    }


def test_without_its_source_a_class_has_no_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sourceless")
    module.__file__ = "/nowhere/sourceless.py"
    monkeypatch.setitem(sys.modules, "sourceless", module)
    assert not read_docstrings(type("Any", (), {"__module__": "sourceless"}))
