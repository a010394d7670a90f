"""Both databases, for real."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.cli.main import main
from app.feedback.store import Store
from tests.feedback.postgres import Postgres, postgres


@dataclass(frozen=True)
class CommandResult:
    """What a command has done."""

    status: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/feedback.db"
    server: Postgres = request.getfixturevalue("server")
    empty(server.url)
    return server.url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url, timeout=10)) as opened:
        yield opened


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `python -m app feedback` in this process: to start one takes longer than all that it does."""

    def run(url: str, *words: str) -> CommandResult:
        monkeypatch.setenv("DIGITS_FEEDBACK_URL", url)
        monkeypatch.setattr(sys, "argv", ["app", "feedback", *words])
        return CommandResult(main(), *capsys.readouterr())

    return run


def empty(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS digits_feedback"))
    engine.dispose()
