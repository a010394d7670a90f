"""The database: one table, in SQLite or PostgreSQL.

A row's id is the SHA-256 of its picture, so no picture is there twice. What was answered is kept as the JSON
that was answered, so that the table need not change when answers do.
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

from sqlalchemy import (
    JSON,
    URL,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    true,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

POSTGRESQL: Final = "postgresql+psycopg"
SQLITE: Final = "sqlite"
POSTGRESQL_ALIASES: Final = frozenset({"postgres", "postgresql"})  # as many hosts of databases write it
# bytes that a picture counts as at least: about what the rest of its row takes
MIN_COUNTED_BYTES: Final = 1024
PAGE_ROWS: Final = 50  # pictures that are read at a time
# pictures whose deletion is journalled in memory: 200 MB at most with default limits
MAX_JOURNALLED: Final = 20
DISK_FULL_CODES: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}
)  # the disk's, or the user's quota's

_TABLE: Final = Table(
    "digits_feedback",
    MetaData(),
    Column("id", String(64), primary_key=True),  # hexadecimal
    Column("digit", SmallInteger),  # the right one; null: there is none
    Column("time", DateTime(timezone=True), nullable=False, index=True),
    Column("request_id", String(128), nullable=False),
    Column("prediction", JSON, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False, index=True),  # what counts; added up from the index alone
    Column("picture", LargeBinary, nullable=False),
)


class StoreFull(Exception):
    """There are as many bytes of pictures as there may be."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a picture: what was answered, and what is right."""

    id: str
    digit: int | None
    time: datetime
    request_id: str
    prediction: Mapping[str, Any]
    model_sha256: str


def hash_picture(picture: bytes) -> str:
    """Return the id that a picture has."""
    return hashlib.sha256(picture).hexdigest()


def parse_url(url: str) -> URL:
    """Return what a database's URL says.

    Raises:
        ValueError: it is none, or of a database that can't be used; the text never repeats it.
        ModuleNotFoundError: what speaks to such a database is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
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


def _create_engine(url: URL, timeout: float) -> Engine:
    if url.drivername == SQLITE:
        # a connection for each transaction, so that a file that was removed is not written to
        engine = create_engine(
            url, poolclass=NullPool, connect_args={"timeout": timeout}, hide_parameters=True
        )
        event.listen(engine, "connect", _enable_secure_delete)
        return engine
    from app.feedback import postgres  # noqa: PLC0415  SQLite needs no psycopg

    engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "do_connect", postgres.create_connector(timeout))
    # the server's own end to what nobody waits for; in each transaction, as a proxy may share connections
    limit = f"SET LOCAL statement_timeout = {round(1000 * timeout)}"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(limit))
    return engine


def _enable_secure_delete(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


class Store:
    """The entries. Used by one thread at a time; every method may raise SQLAlchemy's `SQLAlchemyError`."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Know where the database is; it is not asked yet.

        Args:
            url: of the database.
            timeout: seconds that a statement may take.

        Raises:
            ValueError, ModuleNotFoundError: see `parse_url`.
        """
        self._engine = _create_engine(parse_url(url), timeout)
        self._has_table = False

    def keep(self, entry: Entry, picture: bytes, *, max_bytes: int) -> bool:
        """Keep a picture; return whether it is new, else the entry takes the place of the one that was there.

        Raises:
            Full: it is new, and with it there would be more than `max_bytes` bytes. Workers that add at the
                same moment may each go beyond that by a picture.
        """
        try:
            return self._update_or_insert(entry, picture, max_bytes)
        except IntegrityError:  # another worker has just added the same one
            return self._update_or_insert(entry, picture, max_bytes)

    def _update_or_insert(self, entry: Entry, picture: bytes, max_bytes: int) -> bool:
        values = asdict(entry)
        with self._begin() as connection:
            # first of all, so that SQLite locks the file at once and not between two statements
            changed = connection.execute(update(_TABLE).where(_TABLE.c.id == entry.id).values(values))
            if changed.rowcount:
                return False
            size = max(len(picture), MIN_COUNTED_BYTES)
            if (connection.scalar(select(func.sum(_TABLE.c.size))) or 0) + size > max_bytes:
                raise StoreFull
            connection.execute(insert(_TABLE).values(values | {"size": size, "picture": picture}))
        return True

    def delete(self, identity: str) -> bool:
        """Delete a picture; return whether it was there."""
        return bool(self._delete(_TABLE.c.id == identity))

    def delete_until(self, time: datetime) -> int:
        """Delete what was kept then or before; return how many pictures that were."""
        return self._delete(_TABLE.c.time <= time)

    def delete_all(self) -> int:
        """Delete everything; return how many pictures that were."""
        return self._delete(true())

    def list_entries(self) -> Iterator[Entry]:
        """Yield all entries, by their ids."""
        columns = [_TABLE.c[one.name] for one in fields(Entry)]
        for row in self._iterate_rows(*columns):
            yield Entry(**row._asdict() | {"time": _to_utc(row.time)})

    def pictures(self) -> Iterator[tuple[str, int | None, bytes]]:
        """Yield the id, the right digit and the bytes of all pictures, by their ids."""
        for row in self._iterate_rows(_TABLE.c.id, _TABLE.c.digit, _TABLE.c.picture):
            yield row.id, row.digit, row.picture

    def close(self) -> None:
        """Hang up."""
        self._engine.dispose()

    def _delete(self, which: ColumnElement[bool]) -> int:
        try:
            with self._begin() as connection:
                return connection.execute(delete(_TABLE).where(which)).rowcount
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) not in DISK_FULL_CODES:
                raise
            return self._delete_on_full_disk(which)

    def _delete_on_full_disk(self, which: ColumnElement[bool]) -> int:
        """Delete where the disk has no room for SQLite's journal, which is kept in memory instead.

        A few pictures at a time, since the journal holds all their bytes. Should the machine fail meanwhile,
        the file may be damaged. Once it is empty, its room is given back to the disk.
        """
        batch = select(_TABLE.c.id).where(which).limit(MAX_JOURNALLED)
        total = 0
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = MEMORY")
            while count := connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(batch))).rowcount:
                connection.commit()
                total += count
            left = connection.scalar(select(_TABLE.c.id).limit(1))
            connection.commit()
            if left is None:
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
                connection.exec_driver_sql("VACUUM")
        return total

    def _iterate_rows(self, *columns: Column[Any]) -> Iterator[Row[Any]]:
        """Yield rows some at a time, so that neither memory nor a transaction has to hold them all."""
        last = ""
        while True:
            page = select(*columns).where(_TABLE.c.id > last).order_by(_TABLE.c.id).limit(PAGE_ROWS)
            with self._begin() as connection:
                rows = connection.execute(page).all()
            yield from rows
            if len(rows) < PAGE_ROWS:
                return
            last = rows[-1].id

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """Begin a transaction, with the table there."""
        try:
            if not self._has_table:
                self._create_table()
                self._has_table = True
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError:
            self._has_table = False  # somebody may have removed it
            raise

    def _create_table(self) -> None:
        try:
            self._create_missing_table()
        except (IntegrityError, ProgrammingError):  # PostgreSQL's, where another worker makes it just now
            self._create_missing_table()

    def _create_missing_table(self) -> None:
        with self._engine.begin() as connection:
            if inspect(connection).has_table(_TABLE.name):  # whoever uses it need not be allowed to make it
                return
            connection.execute(CreateTable(_TABLE, if_not_exists=True))
            for index in sorted(_TABLE.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))


def _to_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
