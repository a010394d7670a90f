"""docs/feedback.md is true: what it shows is answered, and its settings fit Compose's database."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.cli.main import main
from app.feedback import async_store, postgres, store
from app.settings import MEBIBYTE, Settings
from tests.compose import compose
from tests.conftest import ROOT
from tests.documents import (
    find_blocks,
    find_commands,
    matches,
    pair_commands_with_answers,
    read_page,
    run_curl,
)
from tests.serving import serve

PAGE = "docs/feedback.md"


def test_every_curl_gives_the_answer_that_stands_below_it(url: str) -> None:
    shown = list(pair_commands_with_answers(PAGE))
    assert len(shown) == 3
    with serve(Settings(feedback_url=url)) as client:
        for command, wanted in shown:
            found = run_curl(client, command)
            assert "code" not in found, command
            assert matches(wanted, found), command


def test_its_settings_fit_the_database_that_the_profile_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = (block for language, block in find_blocks(PAGE) if language == "ini")
    for line in settings.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    services = compose("--profile", "feedback")
    assert services.keys() == {"digits", "postgres"}
    url = make_url(services["digits"]["environment"]["DIGITS_FEEDBACK_URL"])
    database = services["postgres"]["environment"]
    assert url.host == "postgres"
    assert (url.username, url.password) == (database["POSTGRES_USER"], database["POSTGRES_PASSWORD"])
    assert url.database == database["POSTGRES_USER"]  # the image's default
    (chosen,) = services["digits"]["build"]["args"]
    name, _, requirements = chosen.partition("=")
    assert f"requirements/${{{name}}}.txt" in (ROOT / "Dockerfile").read_text()
    assert f"!requirements/{requirements}.txt" in (ROOT / ".dockerignore").read_text()
    assert "sqlalchemy==" in (ROOT / "requirements" / f"{requirements}.txt").read_text()


def test_its_figures_match_the_code() -> None:
    page = " ".join(read_page(PAGE).split())
    assert f"after {postgres.CONNECT_TIMEOUT} seconds if the database can't be reached" in page
    assert (
        f"after {async_store.STATEMENT_TIMEOUT:g} if it does not answer "
        f"({async_store.STATEMENT_TIMEOUT + postgres.MARGIN:g} if PostgreSQL is silent), "
        f"after {async_store.REQUEST_TIMEOUT:g} in any case" in page
    )
    assert f"leaves the database alone for {async_store.RETRY_DELAY} seconds" in page
    assert f"At most {async_store.MAX_REQUESTS} requests per worker wait" in page
    assert f"{Settings().feedback_max_bytes // MEBIBYTE // 1024} GiB by default" in page
    assert f"each picture counts as at least {store.MIN_COUNTED_BYTES // 1024} KiB" in page


def test_its_commands_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGITS_FEEDBACK_URL", url)
    shown = find_commands(PAGE, ".venv/bin/python -m app feedback")
    assert len(shown) == 4
    for command in shown:
        monkeypatch.setattr(sys, "argv", command.split()[2:])
        assert main() == 0, command
    assert "Pictures written to hands: 0" in capsys.readouterr().out
