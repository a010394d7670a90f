"""Docstrings below attributes: Python does not keep them.

pydantic can read them, too, but looks for the source of each class when it creates it, which took a tenth of
the service's start.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise


def read_docstrings(cls: type) -> dict[str, str]:
    """Return the docstrings of attributes, by name: those of a class, and of its bases in the same package.

    The classes are found by their names at the top of their modules.
    """
    package = _get_package(cls)
    docstrings: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if _get_package(each) == package:
            docstrings |= _read_module(each.__module__).get(each.__name__, {})
    return docstrings


def _get_package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


@cache
def _read_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of a module by class and attribute; there are none if its source is missing."""
    try:
        source = inspect.getsource(sys.modules[name])
    except OSError:
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_find_docstrings(node)) for node in classes}


def _find_docstrings(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(definition.body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
