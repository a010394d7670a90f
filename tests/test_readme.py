"""The README is executed: its commands, its answer, its tables."""

from __future__ import annotations

import subprocess

import httpx

from tests.conftest import MODELS, ROOT
from tests.documents import ANYTHING, matches, pair_commands_with_answers, read_page, run_curl
from training.show import model_table

README = "README.md"


def test_every_curl_works_and_the_first_gives_the_answer_below_it(client: httpx.Client) -> None:
    (first, shown), *others = pair_commands_with_answers(README)
    by_form = run_curl(client, first)
    assert shown != ANYTHING
    assert matches(shown, by_form)
    by_body, batch, number = (run_curl(client, command) for command, _ in others)
    assert by_form == by_body
    assert batch["results"][0]["prediction"]["digit"] == 3
    assert batch["results"][1]["problem"]["code"] == "unsupported_media_type"
    assert number["text"] == "4071"


def test_the_table_of_networks_shows_the_measured_figures() -> None:
    assert model_table.format_markdown(MODELS) in read_page(README)


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = "serve test test-all resilience check train evaluate notebook docs bench lock image clean help"
    for target in targets.split():
        assert f"make {target} " in listed


def test_the_versions_agree() -> None:
    from app import __version__  # noqa: PLC0415

    assert f'version = "{__version__}"' in read_page("pyproject.toml")
    assert f"## [{__version__}]" in read_page("CHANGELOG.md")
