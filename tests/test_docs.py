"""Checks that the documentation is correct and its site complete.

Everything that it names exists, and its examples give the answers shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import ChainMap
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import typer
from typer.core import TyperGroup

from app.api.schemas import NumberPrediction, Prediction
from app.digits.errors import DigitsError
from app.digits.images import MIN_SIDE
from app.digits.numbers import NumberCaution
from app.digits.working_picture import Caution
from app.docstrings import read_docstrings
from app.main import create_app
from app.server.protocol import MAX_HEAD
from app.settings import MEBIBYTE, Settings
from app.wire.paths import PAGE
from app.wire.problems import TITLES
from tests.conftest import ROOT
from tests.documents import (
    PAGES,
    find_blocks,
    find_commands,
    find_table,
    has_link_target,
    matches,
    pair_commands_with_answers,
    read_page,
    run_curl,
)
from training.__main__ import app as training_cli

API, DEPLOY, TRAIN = "docs/api.md", "docs/deploy.md", "docs/train.md"
OTHER_HOST = r"""["'(](?:https?:)?//"""


def build_site(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    result = build_site(ROOT, folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_page_and_every_file_that_it_links_to_is_on_the_site(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / ("" if page.stem == "index" else page.stem) / "index.html").exists()
    for file in ("SECURITY/index.html", "models/cnn/metrics.json", "notebooks/digits.ipynb"):
        assert (site / file).exists()
    assert 'href="../models/cnn/metrics.json"' in (site / "recognition" / "index.html").read_text()


def test_the_notebook_is_a_page_with_its_figures(site: Path) -> None:
    page = (site / "notebook" / "index.html").read_text()
    shown = re.findall(r'<img[^>]* src="([^"]+\.png)"', page)
    assert len(shown) >= 13
    assert all((site / "notebook" / file).exists() for file in shown)
    assert "━" not in page
    assert (site / "notebook" / "../notebooks/digits.ipynb").exists()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("troubleshooting/", "It reads my 1 as 7"),
        ("troubleshooting/", "Everything is"),
        ("CHANGELOG/", "[2.0.0]"),
        ("notebook/", "Convolutions"),
        ("python/", "read_number"),
    ],
)
def test_the_search_finds_symptoms_the_notebook_and_the_changelog(site: Path, page: str, text: str) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert any(entry["location"].startswith(page) and text in entry["title"] for entry in index)


def test_the_site_has_the_openapi_document_that_the_service_serves(site: Path, client: httpx.Client) -> None:
    assert json.loads((site / "openapi.json").read_text()) == client.get("/openapi.json").json()


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    pages = "".join(file.read_text() for file in site.rglob("*.html"))
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*>", pages)
    assert len(loaded) > 50
    assert not [tag for tag in loaded if re.search(rf"(?:src|href)={OTHER_HOST}", tag)]
    styles = "".join(file.read_text() for file in site.rglob("*.css"))
    assert not re.search(rf"url{OTHER_HOST}|@import", styles)


@pytest.mark.parametrize(
    ("page", "added", "message"),
    [
        ("design.md", "[gone](gone.md)", "gone.md"),
        ("design.md", "[gone](../gone.py)", "gone.py"),
        ("design.md", "[gone](api.md#gone)", "#gone"),
        ("orphan.md", "# No page links here", "orphan.md"),
    ],
)
def test_a_dead_link_fails_the_build(tmp_path: Path, page: str, added: str, message: str) -> None:
    for entry in ROOT.iterdir():
        if entry.name != "docs":
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / page).open("a") as file:
        file.write(f"\n{added}\n")
    result = build_site(tmp_path, tmp_path / "site")
    assert result.returncode != 0
    assert message in result.stderr


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_leads_to_a_file(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)[#)]", read_page(page)):
        assert has_link_target(page, target), target


@pytest.mark.parametrize("page", ["docs/index.md", API])
def test_every_curl_gives_the_answer_shown_below_it(client: httpx.Client, page: str) -> None:
    shown = list(pair_commands_with_answers(page))
    assert shown
    for command, expected in shown:
        answer = run_curl(client, command)
        assert matches(expected, answer), command
        is_error = isinstance(expected, dict) and "code" in expected
        assert ("code" in answer) == is_error, command


def test_the_table_of_errors_is_complete_and_correct() -> None:
    rows = {
        code.strip("`"): (int(status), title)
        for status, code, title in find_table(API, "status", "code", "title")
    }
    statuses = {error_class.code: error_class.status_hint for error_class in list_error_classes(DigitsError)}
    assert rows == {code: (statuses[code], title) for code, title in TITLES.items()}


def list_error_classes(base: type[DigitsError]) -> list[type[DigitsError]]:
    """Return the class and all its subclasses, as far as they define a code."""
    subclasses = [error_class for child in base.__subclasses__() for error_class in list_error_classes(child)]
    return [base, *subclasses] if "code" in vars(base) else subclasses


def test_every_field_and_warning_is_documented() -> None:
    assert strip_first_column(find_table(API, "field of a prediction")) == list(Prediction.model_fields)
    assert strip_first_column(find_table(API, "field of a number")) == list(NumberPrediction.model_fields)
    assert set(strip_first_column(find_table(API, "warning"))) == {
        *get_args(Caution),
        *get_args(NumberCaution),
    }


def strip_first_column(rows: list[tuple[str, ...]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


def test_the_limits_are_the_defaults() -> None:
    documented = {row[0]: row[1] for row in find_table(API, "what", "limit")}
    settings = Settings()
    seconds = f"{settings.read_timeout:g} s"
    bodies = (settings.max_body_bytes, settings.max_batch_body_bytes)
    assert [int(size) for size in re.findall(r"(\d+) MiB", documented["body"])] == [
        n // MEBIBYTE for n in bodies
    ]
    assert (
        documented["picture"]
        == f"{MIN_SIDE}×{MIN_SIDE} pixels to {settings.max_pixels // 10**6} million pixels"
    )
    assert documented["batch"] == f"{settings.max_batch} pictures"
    assert documented["time to send"] == f"{seconds} for the head, {seconds} for the body"
    assert documented["time to answer"] == f"{settings.request_timeout:g} s"
    assert documented["head"] == f"{MAX_HEAD // 1024} KiB"


def test_every_documented_route_exists() -> None:
    application = create_app(Settings(mcp=True))
    # not in the OpenAPI document
    undocumented_paths = {path: {"get"} for path in ("/docs", "/openapi.json", *PAGE)}
    paths = application.openapi()["paths"] | undocumented_paths
    calls = re.findall(r"`(GET|POST) (/[^`]*)`", read_page(API))
    assert len(calls) >= 9
    for method, path in calls:
        assert method.lower() in paths[path]


def test_the_table_of_settings_is_complete_and_correct() -> None:
    rows = find_table(DEPLOY, "variable", "default", "meaning")
    names = [name.strip("`").removeprefix("DIGITS_").lower() for name, _, _ in rows]
    assert names == list(Settings.model_fields)
    docstrings = read_docstrings(Settings)
    for name, (_, default, meaning) in zip(names, rows, strict=True):
        value = Settings.model_fields[name].default
        shown = "the `models` of the package" if name == "models_dir" else format_default(value)
        assert default == shown
        assert meaning == " ".join(docstrings[name].split())


def format_default(value: object) -> str:
    return "unset" if value in ((), None) else f"`{value}`"


@pytest.mark.parametrize("page", PAGES)
def test_every_documented_variable_is_read_by_the_code(page: str) -> None:
    settings = {f"DIGITS_{name.upper()}" for name in Settings.model_fields}
    folders = ("app", "benchmarks", "notebooks", "tests", "training")
    files = [
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".ipynb", ".js", ".py"}
    ]
    code = "".join(file.read_text() for file in [*files, ROOT / "docker-compose.yml"])
    code += "".join(block for language, block in find_blocks(page) if language in {"js", "python"})
    for name in set(re.findall(r"DIGITS_[A-Z_]+", read_page(page))) - settings:
        assert name in code, name


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    for command in find_commands(page, "make "):
        subprocess.run(["make", "--dry-run", command.split()[1]], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_training_command_exists_with_its_options(page: str) -> None:
    for line in find_commands(page, "python -m training"):
        options = {word for word in line.split() if word.startswith("--")}
        assert options <= TRAINING_OPTIONS[find_command(line)], line


def test_every_training_command_is_documented() -> None:
    assert {find_command(line) for line in find_commands(TRAIN, "python -m training")} == set(
        TRAINING_OPTIONS
    )


def find_command(line: str) -> str:
    (name,) = (name for name in TRAINING_OPTIONS if f"{line} ".startswith(f"python -m training {name} "))
    return name


def list_options(command: Any, *, prefix: str = "") -> dict[str, set[str]]:  # noqa: ANN401  typer hides its type
    """Return the options of each command by its full name, such as `plot curves`."""
    if not isinstance(command, TyperGroup):
        return {prefix.strip(): {option for parameter in command.params for option in parameter.opts}}
    named = [list_options(child, prefix=f"{prefix} {name}") for name, child in command.commands.items()]
    return dict(ChainMap(*named))


TRAINING_OPTIONS = list_options(typer.main.get_command(training_cli))
