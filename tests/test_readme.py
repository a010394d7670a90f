"""The README is executed: its commands, its answer, its tables and its links."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.conftest import MODELS, ROOT
from training import compare

README = (ROOT / "README.md").read_text()
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/recognition.md",
    "docs/kubernetes.md",
    "docs/reliability.md",
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def curls() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ")]


def answer(client: httpx.Client, command: str) -> Any:  # noqa: ANN401  JSON
    words = [
        word.replace("localhost:8000", str(client.base_url).rstrip("/")) for word in shlex.split(command)
    ]
    done = subprocess.run([*words, "--silent"], cwd=ROOT, capture_output=True, check=True)
    return json.loads(done.stdout)


def same(one: Any, other: Any) -> bool:  # noqa: ANN401  JSON
    """Compare JSON, numbers to the fifth decimal: processors differ in the last ones."""
    if isinstance(one, float):
        return bool(abs(one - other) < 1e-5)
    if isinstance(one, dict):
        return bool(one.keys() == other.keys() and all(same(one[key], other[key]) for key in one))
    if isinstance(one, list):
        return bool(len(one) == len(other) and all(map(same, one, other)))
    return bool(one == other)


def test_the_first_curl_gives_the_answer_that_stands_below_it(client: httpx.Client) -> None:
    (shown,) = (json.loads(block) for block in blocks("json"))
    assert same(shown, answer(client, curls()[0]))


def test_every_curl_works(client: httpx.Client) -> None:
    by_form, by_body, batch, number = (answer(client, command) for command in curls())
    assert by_form == by_body
    assert batch["results"][0]["prediction"]["digit"] == 3
    assert batch["results"][1]["problem"]["code"] == "unsupported_media_type"
    assert number["text"] == "4071"


def test_the_table_of_networks_is_what_was_measured() -> None:
    assert compare.markdown(MODELS) in README


def test_the_table_of_settings_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `DIGITS_(\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert [name.lower() for name, _, _ in rows] == list(Settings.model_fields)
    for name, default, meaning in rows:
        field = Settings.model_fields[name.lower()]
        shown = "the repository's `models`" if name == "MODELS_DIR" else default_of(field.default)
        assert default == shown
        assert meaning == " ".join((field.description or "").split())


def default_of(value: object) -> str:
    return "unset" if value in ((), None) else f"`{value}`"


def test_every_make_verb_exists() -> None:
    verbs = {
        line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("make ")
    }
    assert verbs
    for verb in verbs:
        subprocess.run(["make", "--dry-run", verb], cwd=ROOT, check=True, capture_output=True)


def test_make_help_lists_every_verb() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for verb in ("serve", "test", "check", "train", "evaluate", "bench", "lock", "image", "clean", "help"):
        assert f"make {verb} " in listed


def test_every_training_command_exists() -> None:
    commands = {
        line.split()[3]
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("python -m training ")
    }
    assert commands == {"fetch-fonts", "train", "export", "evaluate", "predict", "plot"}
    for command in commands:
        done = [sys.executable, "-m", "training", command, "--help"]
        subprocess.run(done, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_versions_agree() -> None:
    from app import __version__  # noqa: PLC0415

    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in project
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
