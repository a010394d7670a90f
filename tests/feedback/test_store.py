"""What is kept, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from app.feedback.store import MIN_COUNTED_BYTES, Entry, Store, StoreFull, hash_picture, parse_url
from tests.feedback.postgres import Postgres

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PICTURES = [bytes([index]) * 100 for index in range(4)]
LARGE_LIMIT = 10**9


def entry(picture: bytes, digit: int | None = 7, *, time: datetime = NOON) -> Entry:
    return Entry(
        id=hash_picture(picture),
        digit=digit,
        time=time,
        request_id="asked-with",
        prediction={"digit": 1, "confidence": 0.25, "model": {"name": "cnn", "version": "1.0.0"}},
        model_sha256=64 * "a",
    )


def test_stored_entries_are_returned_unchanged(store: Store) -> None:
    stored = {hash_picture(picture): picture for picture in PICTURES}
    for digit, picture in enumerate(PICTURES):
        assert store.save(entry(picture, digit), picture, max_bytes=LARGE_LIMIT)
    assert list(store.iterate_entries()) == sorted(map(entry, PICTURES, range(4)), key=lambda one: one.id)
    assert {one: picture for one, _, picture in store.iterate_pictures()} == stored


def test_an_entry_may_have_no_digit(store: Store) -> None:
    store.save(entry(PICTURES[0], None), PICTURES[0], max_bytes=LARGE_LIMIT)
    assert [digit for _, digit, _ in store.iterate_pictures()] == [None]


def test_a_second_entry_for_a_picture_replaces_the_first(store: Store) -> None:
    (picture, *_) = PICTURES
    assert store.save(entry(picture, 1), picture, max_bytes=LARGE_LIMIT)
    later = entry(picture, 7, time=NOON + timedelta(hours=1))
    assert not store.save(later, picture, max_bytes=0)  # even where there is no room for another
    assert list(store.iterate_entries()) == [later]


def test_a_new_picture_is_refused_once_the_bytes_are_used_up(store: Store) -> None:
    first, second, third, _ = PICTURES
    large = bytes(MIN_COUNTED_BYTES + 1)
    most = 2 * MIN_COUNTED_BYTES + len(large)
    for picture in (first, second, large):  # the small ones count as `MIN_COUNTED_BYTES`
        assert store.save(entry(picture), picture, max_bytes=most)
    with pytest.raises(StoreFull):
        store.save(entry(third), third, max_bytes=most)
    assert store.delete(hash_picture(first))
    assert store.save(entry(third), third, max_bytes=most)


def test_a_picture_is_deleted_by_its_id(store: Store) -> None:
    for picture in PICTURES[:2]:
        store.save(entry(picture), picture, max_bytes=LARGE_LIMIT)
    assert store.delete(hash_picture(PICTURES[0]))
    assert not store.delete(hash_picture(PICTURES[0]))
    assert [one.id for one in store.iterate_entries()] == [hash_picture(PICTURES[1])]


def test_pictures_are_deleted_by_their_age(store: Store) -> None:
    for days, picture in enumerate(PICTURES):
        store.save(entry(picture, time=NOON - timedelta(days=days)), picture, max_bytes=LARGE_LIMIT)
    assert store.delete_until(NOON - timedelta(days=2)) == 2
    assert {one.id for one in store.iterate_entries()} == {hash_picture(picture) for picture in PICTURES[:2]}


def test_all_pictures_are_deleted_even_those_of_a_clock_that_is_ahead(store: Store) -> None:
    for picture in PICTURES:
        store.save(entry(picture, time=datetime.now(UTC) + timedelta(days=1)), picture, max_bytes=LARGE_LIMIT)
    assert store.delete_all() == 4
    assert not list(store.iterate_entries())


def test_many_pictures_are_read_page_by_page(store: Store) -> None:
    pictures = [str(index).encode() for index in range(101)]
    for picture in pictures:
        store.save(entry(picture), picture, max_bytes=LARGE_LIMIT)
    ids = [one for one, _, _ in store.iterate_pictures()]
    assert ids == sorted(map(hash_picture, pictures))


def test_concurrent_workers_create_one_table_and_one_row_per_picture(url: str) -> None:
    barrier_ = threading.Barrier(4)
    news: list[bool] = []

    def work() -> None:
        with closing(Store(url, timeout=10)) as own:
            barrier_.wait()
            news.extend([own.save(entry(picture), picture, max_bytes=LARGE_LIMIT) for picture in PICTURES])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(news) == 16
    with closing(Store(url, timeout=10)) as store:
        assert len(list(store.iterate_entries())) == 4


def test_a_removed_table_is_created_again(store: Store, url: str) -> None:
    store.save(entry(PICTURES[0]), PICTURES[0], max_bytes=LARGE_LIMIT)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE digits_feedback"))
    engine.dispose()
    with pytest.raises(SQLAlchemyError):
        store.save(entry(PICTURES[0]), PICTURES[0], max_bytes=LARGE_LIMIT)
    assert store.save(entry(PICTURES[0]), PICTURES[0], max_bytes=LARGE_LIMIT)


def test_deleted_bytes_are_gone_from_the_file(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/feedback.db", timeout=10)) as store:
        secret = b"somebody's handwriting " * 100
        store.save(entry(secret), secret, max_bytes=LARGE_LIMIT)
        assert secret[:100] in (tmp_path / "feedback.db").read_bytes()
        store.delete(hash_picture(secret))
        assert secret[:10] not in (tmp_path / "feedback.db").read_bytes()


@pytest.mark.needs("postgresql")
def test_a_hanging_server_times_out_and_is_used_again_later(server: Postgres) -> None:
    with closing(Store(server.url, timeout=0.5)) as store:
        assert store.delete("") is False  # a connection that there is
        with server.hang(), pytest.raises(OperationalError, match="connection timeout expired"):
            store.delete("")
        assert store.delete("") is False


def test_a_statement_that_waits_for_a_lock_is_ended_by_the_server(server: Postgres) -> None:
    engine = create_engine(server.url)
    with closing(Store(server.url, timeout=1)) as store:
        store.delete("")
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE digits_feedback"))
            with pytest.raises(OperationalError, match="statement timeout"):
                store.delete("")
            working = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE%' AND state = 'active'"
            assert connection.scalar(text(working)) == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("feedback.db", "not the URL of a database"),
        ("mysql://digits:secret@localhost/digits", "'mysql' is neither sqlite nor"),
        ("sqlite://", "not name a file"),
        ("sqlite:///:memory:", "not name a file"),
        ("sqlite:////nowhere/feedback.db", "there is no folder /nowhere"),
    ],
)
def test_an_error_about_a_url_gives_the_reason_but_not_the_url(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        parse_url(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_all_usual_names_of_postgresql_are_accepted(scheme: str) -> None:
    assert parse_url(f"{scheme}://digits@localhost/digits").drivername == "postgresql+psycopg"
