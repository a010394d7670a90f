"""The database: one table, in SQLite or PostgreSQL.

A row's id is the SHA-256 of its picture, so no picture is stored twice. The prediction is stored as JSON, so
that the table need not change when answers do.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

POSTGRESQL: Final = "postgresql+psycopg"
SQLITE: Final = "sqlite"
POSTGRESQL_ALIASES: Final = frozenset({"postgres", "postgresql"})  # as many database providers write it
MIN_COUNTED_BYTES: Final = 1024  # a picture counts as at least so many, as the rest of its row takes as much
PAGE_ROWS: Final = 50  # pictures that are read at a time
# pictures that are deleted at a time with the journal in memory: 200 MB at most with default limits
MAX_JOURNALLED: Final = 20
DISK_FULL_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})  # or a quota is used up

_TABLE: Final = sa.Table(
    "digits_feedback",
    sa.MetaData(),
    sa.Column("id", sa.String(64), primary_key=True),  # hexadecimal
    sa.Column("digit", sa.SmallInteger),  # the correct one; null if there is none
    sa.Column("time", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("prediction", sa.JSON, nullable=False),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column(
        "size", sa.Integer, nullable=False, index=True
    ),  # bytes, at least MIN_COUNTED_BYTES; summed from its index
    sa.Column("picture", sa.LargeBinary, nullable=False),
)


class StoreFull(Exception):
    """The stored pictures have reached their size limit."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A picture's correct digit, and what the service predicted."""

    id: str
    digit: int | None
    time: datetime
    request_id: str
    prediction: Mapping[str, Any]
    model_sha256: str


def hash_picture(picture: bytes) -> str:
    """Return the id of a picture, the SHA-256 of its bytes."""
    return hashlib.sha256(picture).hexdigest()


def parse_url(url: str) -> sa.URL:
    """Parse and check the URL of a database.

    Raises:
        ValueError: it is not a URL, or its database can't be used; the message never contains the URL.
        ModuleNotFoundError: the driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        msg = "it is not the URL of a database"
        raise ValueError(msg) from None
    if parsed.drivername in POSTGRESQL_ALIASES:
        parsed = parsed.set(drivername=POSTGRESQL)
    if parsed.drivername == SQLITE:
        _check_file(parsed.database)
    elif parsed.drivername != POSTGRESQL:
        msg = f"{parsed.drivername!r} is neither {SQLITE} nor {POSTGRESQL}"
        raise ValueError(msg)
    parsed.get_dialect().import_dbapi()
    return parsed


def _check_file(file: str | None) -> None:
    if not file or file == ":memory:":
        msg = "it does not name a file, as sqlite:///feedback.db does"
        raise ValueError(msg)
    folder = Path(file).absolute().parent
    if not folder.is_dir():
        msg = f"there is no folder {folder}"
        raise ValueError(msg)


def _create_engine(url: sa.URL, timeout: float) -> sa.Engine:
    if url.drivername == SQLITE:
        # a new connection for each transaction, so that nothing is written to a file that has been removed
        engine = sa.create_engine(
            url, poolclass=NullPool, connect_args={"timeout": timeout}, hide_parameters=True
        )
        sa.event.listen(engine, "connect", _enable_secure_delete)
        return engine
    from . import postgres  # noqa: PLC0415  SQLite needs no psycopg

    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
    sa.event.listen(engine, "do_connect", postgres.create_connector(timeout))
    # the server also cancels slow statements; the limit is set in each transaction, because a connection
    # pooler may share connections
    limit = f"SET LOCAL statement_timeout = {round(1000 * timeout)}"
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(limit))
    return engine


def _enable_secure_delete(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


class Store:
    """The stored entries. One thread at a time may use it; all methods may raise `SQLAlchemyError`."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Prepare to connect to a database; a statement may take `timeout` seconds.

        Raises:
            ValueError, ModuleNotFoundError: see `parse_url`.
        """
        self._engine = _create_engine(parse_url(url), timeout)
        self._has_table = False

    def save(self, entry: Entry, picture: bytes, *, max_bytes: int) -> bool:
        """Store a new picture, or replace the entry of a known one; return whether it is new.

        Raises:
            StoreFull: with a new picture there would be more than `max_bytes` bytes. Workers that add
                pictures at the same moment may exceed the limit by one each.
        """
        try:
            return self._update_or_insert(entry, picture, max_bytes)
        except exc.IntegrityError:  # another worker has just added the same picture
            return self._update_or_insert(entry, picture, max_bytes)

    def _update_or_insert(self, entry: Entry, picture: bytes, max_bytes: int) -> bool:
        values = asdict(entry)
        with self._begin() as connection:
            # the update comes first, so that SQLite locks the file at once and not between two statements
            result = connection.execute(sa.update(_TABLE).where(_TABLE.c.id == entry.id).values(values))
            if result.rowcount:
                return False
            size = max(len(picture), MIN_COUNTED_BYTES)
            if (connection.scalar(sa.select(sa.func.sum(_TABLE.c.size))) or 0) + size > max_bytes:
                raise StoreFull
            connection.execute(sa.insert(_TABLE).values(values | {"size": size, "picture": picture}))
        return True

    def delete(self, picture_id: str) -> bool:
        """Delete a picture; return whether it was stored."""
        return bool(self._delete(_TABLE.c.id == picture_id))

    def delete_until(self, time: datetime) -> int:
        """Delete the pictures that were stored at `time` or before; return how many."""
        return self._delete(_TABLE.c.time <= time)

    def delete_all(self) -> int:
        """Delete all pictures; return how many."""
        return self._delete(sa.true())

    def iterate_entries(self) -> Iterator[Entry]:
        """Yield all entries in order of their ids."""
        for row in self._iterate_rows(*(_TABLE.c[field.name] for field in fields(Entry))):
            yield Entry(**row._asdict() | {"time": _to_utc(row.time)})

    def iterate_pictures(self) -> Iterator[tuple[str, int | None, bytes]]:
        """Yield the id, the correct digit and the bytes of every picture, in order of the ids."""
        for row in self._iterate_rows(_TABLE.c.id, _TABLE.c.digit, _TABLE.c.picture):
            yield row.id, row.digit, row.picture

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _delete(self, condition: sa.ColumnElement[bool]) -> int:
        try:
            with self._begin() as connection:
                return connection.execute(sa.delete(_TABLE).where(condition)).rowcount
        except exc.OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) not in DISK_FULL_CODES:
                raise
            return self._delete_on_full_disk(condition)

    def _delete_on_full_disk(self, condition: sa.ColumnElement[bool]) -> int:
        """Delete although the disk has no room for SQLite's journal, which is then kept in memory.

        A few pictures are deleted at a time, because the journal holds all their bytes. If the machine
        crashes in the meantime, the file may be damaged. The file shrinks only when the table is empty.
        """
        batch = sa.select(_TABLE.c.id).where(condition).limit(MAX_JOURNALLED)
        total = 0
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = MEMORY")
            while count := connection.execute(sa.delete(_TABLE).where(_TABLE.c.id.in_(batch))).rowcount:
                connection.commit()
                total += count
            is_empty = connection.scalar(sa.select(_TABLE.c.id).limit(1)) is None
            connection.commit()
            if is_empty:
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
                connection.exec_driver_sql("VACUUM")
        return total

    def _iterate_rows(self, *columns: sa.Column[Any]) -> Iterator[sa.Row[Any]]:
        """Yield rows page by page, so that neither memory nor a transaction has to hold them all."""
        last = ""
        while True:
            page = sa.select(*columns).where(_TABLE.c.id > last).order_by(_TABLE.c.id).limit(PAGE_ROWS)
            with self._begin() as connection:
                rows = connection.execute(page).all()
            yield from rows
            if len(rows) < PAGE_ROWS:
                return
            last = rows[-1].id

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """Begin a transaction; create the table first if it is missing."""
        try:
            if not self._has_table:
                self._create_table()
                self._has_table = True
            with self._engine.begin() as connection:
                yield connection
        except exc.DBAPIError:
            self._has_table = False  # somebody may have dropped the table
            raise

    def _create_table(self) -> None:
        try:
            self._create_missing_table()
        except (exc.IntegrityError, exc.ProgrammingError):
            # in PostgreSQL, if another worker is creating the table at the same time
            self._create_missing_table()

    def _create_missing_table(self) -> None:
        with self._engine.begin() as connection:
            # the database user may lack the right to create tables, even with IF NOT EXISTS
            if sa.inspect(connection).has_table(_TABLE.name):
                return
            connection.execute(CreateTable(_TABLE, if_not_exists=True))
            for index in sorted(_TABLE.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))


def _to_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
