"""`python -m app keys list` and `revoke`, and `new` with a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.guard import keys
from tests.conftest import ROOT


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "keys", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.txt"
    lines = [keys.create_key(name)[1] for name in ("alice", "bob")]
    file.write_text(f"# our clients\n{lines[0]}  # since Monday\n\n{lines[1]}\n")
    file.chmod(0o640)
    return file


def test_the_ids_in_a_file_are_listed(file: Path) -> None:
    assert run("list", "--file", file).stdout == "alice\nbob\n"


def test_a_revoked_key_leaves_the_file_and_everything_else_stays(file: Path) -> None:
    before = file.read_text().splitlines()
    result = run("revoke", "bob", "--file", file)
    assert result.returncode == 0, result.stderr
    assert file.read_text().splitlines() == before[:3]
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_new_key_can_be_added_to_a_file(file: Path) -> None:
    result = run("new", "carol", "--file", file)
    key = result.stdout.splitlines()[1]
    found = keys.Keyring((), file).find(key)
    assert found
    assert found.id == "carol"
    assert run("list", "--file", file).stdout == "alice\nbob\ncarol\n"


def test_a_new_file_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    assert run("new", "alice", "--file", file).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("list", "--file", file).stdout == "alice\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["revoke", "carol"], "has no key 'carol'; it has alice, bob"),
        (["new", "alice"], "already has a key 'alice'"),
        (["new", "two words"], "'two words' is not a valid id"),
    ],
)
def test_what_is_refused_leaves_the_file_as_it_is(file: Path, words: list[str], message: str) -> None:
    before = file.read_bytes()
    result = run(*words, "--file", file)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == before


def test_the_last_key_cant_be_revoked(file: Path) -> None:
    run("revoke", "bob", "--file", file)
    result = run("revoke", "alice", "--file", file)
    assert result.returncode == 2
    assert "is the last key" in result.stderr


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    result = run("list", "--file", tmp_path / "gone")
    assert result.returncode == 2
    assert result.stderr == f"{tmp_path / 'gone'}: No such file or directory\n"


def test_a_key_can_be_added_below_comments(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# no clients yet\n")
    assert run("new", "alice", "--file", file).returncode == 0
    assert file.read_text().startswith("# no clients yet\nalice ")


def test_a_file_that_is_no_text_is_reported_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(b"\xff\xfe\x00")
    result = run("new", "alice", "--file", file)
    assert result.returncode == 2
    assert result.stderr == "the file is not a text file\n"
    assert file.read_bytes() == b"\xff\xfe\x00"
