"""`python -m app feedback …`: what has been kept is listed, exported and deleted."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.feedback.store import Entry, Store, hash_picture
from tests.conftest import GOLDEN
from tests.feedback.conftest import Command, CommandResult

SEVEN = (GOLDEN / "7-photo.jpg").read_bytes()
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
DAY = timedelta(days=1)


@pytest.fixture
def stored_url(url: str) -> str:
    """A database with two pictures, the three a week old."""
    read = {"is_digit": True, "confidence": 0.987, "model": {"name": "cnn", "version": "1.0.0"}}
    now = datetime.now(UTC)
    with closing(Store(url, timeout=10)) as store:
        for picture, digit, time in ((SEVEN, 7, now), (THREE, None, now - 7 * DAY)):
            entry = Entry(
                id=hash_picture(picture),
                digit=digit,
                time=time,
                request_id="",
                prediction={"digit": 7, **read},
                model_sha256="",
            )
            store.save(entry, picture, max_bytes=10**9)
    return url


def test_pictures_are_listed_exported_and_deleted(command: Command, stored_url: str, tmp_path: Path) -> None:
    _, *lines = command(stored_url, "list").out.splitlines()
    assert sorted((line.split()[0], *line.split()[3:]) for line in lines) == sorted(
        (hash_picture(picture), digit, "7", "0.99", "cnn", "1.0.0")
        for picture, digit in ((SEVEN, "7"), (THREE, "none"))
    )
    folder = tmp_path / "hands" / "mine"
    assert command(stored_url, "export", str(folder)) == CommandResult(
        0, f"Pictures written to {folder}: 2\n", ""
    )
    written = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*")}
    assert written == {f"7/{hash_picture(SEVEN)}.jpg": SEVEN, f"none/{hash_picture(THREE)}.png": THREE}
    assert command(stored_url, "delete", "--older-than", "6") == CommandResult(0, "1 deleted\n", "")
    assert command(stored_url, "delete", hash_picture(SEVEN), hash_picture(THREE)) == CommandResult(
        0, "1 deleted\n", ""
    )


def test_everything_can_be_deleted(command: Command, stored_url: str) -> None:
    assert command(stored_url, "delete", "--all") == CommandResult(0, "2 deleted\n", "")
    assert len(command(stored_url, "list").out.splitlines()) == 1


def test_delete_requires_a_selection(command: Command, stored_url: str) -> None:
    with pytest.raises(SystemExit):
        command(stored_url, "delete")
    assert len(command(stored_url, "list").out.splitlines()) == 3


def test_export_refuses_a_folder_that_is_not_empty(command: Command, tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    result = command(f"sqlite:///{tmp_path}/feedback.db", "export", str(tmp_path))
    assert result.status == 1
    assert f"{tmp_path} is not empty" in result.err


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("", 2, "DIGITS_FEEDBACK_URL is not set"),
        ("mysql://localhost/x", 2, "'mysql' is neither sqlite nor postgresql+psycopg"),
        ("postgresql://digits:secret@127.0.0.1:1/digits", 1, "Connection refused"),
    ],
)
def test_a_missing_database_is_reported_in_one_line(
    command: Command, url: str, status: int, message: str
) -> None:
    result = command(url, "delete", "--all")
    assert (result.status, result.out, result.err.count("\n")) == (status, "", 1)
    assert message in result.err
    assert "secret" not in result.err
