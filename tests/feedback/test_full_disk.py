"""What is deleted where the disk has no room left, on a small disk that is really full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from app.feedback.store import Entry, Store, hash_picture
from tests.feedback.conftest import Command

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MEGABYTE = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("to mount a small disk takes root's rights")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path) -> int:
    """Keep pictures until there is no room for another, and use up the rest; return how many there are."""
    count = 0
    with closing(Store(f"sqlite:///{disk}/feedback.db", timeout=10)) as store, suppress(OperationalError):
        while True:
            picture = os.urandom(MEGABYTE if count % 2 else 5_000)
            store.save(entry(picture, days=count), picture, max_bytes=10**9)
            count += 1
    rest = os.open(disk / "rest", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while True:
            os.write(rest, bytes(4096))
    os.close(rest)
    assert os.statvfs(disk).f_bavail == 0
    return count


def entry(picture: bytes, *, days: int) -> Entry:
    read = {"digit": 7, "is_digit": True, "confidence": 0.5, "model": {"name": "cnn", "version": "1.0.0"}}
    return Entry(
        id=hash_picture(picture),
        digit=7,
        time=NOON - timedelta(days=days),
        request_id="",
        prediction=read,
        model_sha256="",
    )


def test_deleting_everything_overwrites_it_and_shrinks_the_file(disk: Path, command: Command) -> None:
    count = fill(disk)
    assert count > 10
    result = command(f"sqlite:///{disk}/feedback.db", "delete", "--all")
    assert (result.status, result.out, result.err) == (0, f"{count} deleted\n", "")
    assert len(command(f"sqlite:///{disk}/feedback.db", "list").out.splitlines()) == 1
    assert (disk / "feedback.db").stat().st_size < MEGABYTE
    picture = os.urandom(MEGABYTE)
    with closing(Store(f"sqlite:///{disk}/feedback.db", timeout=10)) as store:
        assert store.save(entry(picture, days=0), picture, max_bytes=10**9)


def test_deleting_some_pictures_leaves_the_others_intact(disk: Path) -> None:
    count = fill(disk)
    with closing(Store(f"sqlite:///{disk}/feedback.db", timeout=10)) as store:
        (newest,) = [one.id for one in store.iterate_entries() if one.time == NOON]
        assert store.delete(newest)
        assert store.delete_until(NOON - timedelta(days=5)) == count - 5
        remaining = list(store.iterate_pictures())
        assert len(remaining) == 4
        assert all(hash_picture(picture) == one for one, _, picture in remaining)
        assert len(list(store.iterate_entries())) == 4


def test_a_missing_picture_is_still_reported(disk: Path) -> None:
    fill(disk)
    with closing(Store(f"sqlite:///{disk}/feedback.db", timeout=10)) as store:
        assert not store.delete("0" * 64)


def test_deleted_data_cant_be_read_from_the_file(disk: Path) -> None:
    secret = b"what somebody wrote" * 1_000
    with closing(Store(f"sqlite:///{disk}/feedback.db", timeout=10)) as store:
        store.save(entry(secret, days=100), secret, max_bytes=10**9)
        fill(disk)
        assert store.delete_until(NOON - timedelta(days=90)) == 1
        assert len(list(store.iterate_entries())) > 10
    assert b"what somebody wrote" not in (disk / "feedback.db").read_bytes()
