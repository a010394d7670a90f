"""The Python reference is true: its signatures, types and errors are the package's, and its examples run."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

import app
from app.api.schemas import NumberPrediction, Prediction
from app.digits.errors import DigitsError, ModelInUse
from tests.conftest import GOLDEN, ROOT
from tests.documents import find_blocks, find_table, read_page

PAGE: Final = "docs/python.md"
EXAMPLES: Final = [
    (program, output)
    for (language, program), (next_language, output) in pairwise(find_blocks(PAGE))
    if (language, next_language) == ("python", "text")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples read."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copy(GOLDEN / "7-photo.jpg", folder / "photo.jpg")
    shutil.copy(ROOT / "tests/data/numbers/4071.jpg", folder / "number.jpg")
    shutil.copy(ROOT / "README.md", folder / "notes.txt")
    return folder


@pytest.mark.parametrize(("program", "output"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_prints_what_is_below_it(folder: Path, program: str, output: str) -> None:
    result = subprocess.run(
        # what is installed as `digits` is `app` here
        [sys.executable, "-c", program.replace("from digits import", "from app import")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == output, result.stderr


def test_every_name_of_the_package_has_an_example() -> None:
    programs = "".join(program for program, _ in EXAMPLES)
    assert all(name in programs for name in app.__all__ if name != "__version__")


@pytest.mark.parametrize("name", ["read_digit", "read_number"])
def test_functions_are_as_shown(name: str) -> None:
    function = getattr(app, name)
    assert f"\ndef {name}{_format_signature(function)}\n" in read_page(PAGE)
    assert inspect.getdoc(function).partition("\n")[0] in _read_section(name)  # type: ignore[union-attr]


def test_classes_are_as_shown() -> None:
    page = read_page(PAGE)
    for class_ in (app.PictureReader, app.DigitsError):
        assert f"\nclass {class_.__name__}{_format_signature(class_)}\n" in page
    methods = inspect.getmembers(app.PictureReader, inspect.isfunction)
    assert {name for name, _ in methods if name[0] != "_"} == {"check_model", "read_digit", "read_number"}
    signature = _format_signature(app.PictureReader.check_model).replace("self, ", "")
    assert f"\ndef check_model{signature}\n" in page


def _format_signature(callable_: Any) -> str:  # noqa: ANN401  a function or a class
    """Return a signature without quotes around its types, and without this machine's folder."""
    signature = re.sub(r"'([^']+)'(?=[,)=]| =|$)", r"\1", str(inspect.signature(callable_)))
    signature = re.sub(r"PosixPath\(.*?\)", "MODELS_DIR", signature)
    return signature.replace("= cnn", "= 'cnn'").removesuffix(
        " -> None" if inspect.isclass(callable_) else ""
    )


@pytest.mark.parametrize("name", ["read_digit", "read_number", "PictureReader"])
def test_arguments_mean_what_their_docstrings_say(name: str) -> None:
    section = _read_section(name)
    documented = getattr(app, name)
    docstring = inspect.getdoc(documented.__init__ if inspect.isclass(documented) else documented) or ""
    (block,) = re.findall(r"Args:\n(.*?)\n\n", docstring, re.DOTALL)
    meanings = dict(re.findall(r"^    (\w+): (.*)\.$", block, re.MULTILINE))
    assert meanings.keys() >= inspect.signature(documented).parameters.keys() - {"picture"}
    for argument, meaning in meanings.items():
        if argument != "picture":  # which has a section of its own
            assert f"| `{argument}` | {meaning} |" in section


def _read_section(heading: str) -> str:
    return read_page(PAGE).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("model", [Prediction, NumberPrediction])
def test_results_have_the_fields_and_types_shown(model: type[BaseModel]) -> None:
    rows = find_table(PAGE, f"field of `{model.__name__}`", "type")
    assert rows == [
        (f"`{name}`", _describe_type(field.annotation)) for name, field in model.model_fields.items()
    ]


def _describe_type(annotation: Any) -> str:  # noqa: ANN401  any type
    fields = "".join(f", `{name}`" for model in _find_models(annotation) for name in model.model_fields)
    names = [f"`{_name_type(one)}`" for one in _split_union(annotation)]
    return " or ".join(names) + fields.replace(", ", ": ", 1)


def _split_union(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401  any type
    parts = get_args(annotation)
    return parts if type(None) in parts else (annotation,)


def _find_models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  any type
    candidates = (annotation, *get_args(annotation))
    return [one for one in candidates if inspect.isclass(one) and issubclass(one, BaseModel)]


def _name_type(annotation: Any) -> str:  # noqa: ANN401  any type
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name_type(parts[0])
    if origin is Literal:
        return type(parts[0]).__name__
    if origin is None:
        return "None" if annotation is type(None) else str(annotation.__name__)
    return f"{origin.__name__}[{', '.join(map(_name_type, parts))}]"


def test_every_error_is_listed_but_those_of_a_service() -> None:
    codes = {error_class.code for error_class in _list_leaves(DigitsError)} - {ModelInUse.code}
    assert {code.strip("`") for code, _ in find_table(PAGE, "code", "when")} == codes


def _list_leaves(base: type[DigitsError]) -> list[type[DigitsError]]:
    children = [
        leaf
        for child in base.__subclasses__()
        if child.__module__ == DigitsError.__module__
        for leaf in _list_leaves(child)
    ]
    return children or [base]
