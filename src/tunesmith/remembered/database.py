"""A database opened: where it is without its password, in the form that the code knows, and durable at each commit."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, func, insert, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from tunesmith.errors import import_extra
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.tables import facts
from tunesmith.remembered.text_keys import TextKeys

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 1
"""So long a statement waits for a lock before it fails and is tried again; who waits for feedback waits longer."""
OPENING_SECONDS = 30
"""So long opening waits: another process may be migrating the database, or writing it anew."""
_LOCK = 20_611_906
"""The advisory lock under which PostgreSQL's writers take turns, so that caps hold and a migration runs once."""
_ADDING: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Database:
    """A database of answers.

    Attributes:
        engine: its connections.
        place: where it is, without a password.
        secret: what turns a person's name into what is stored; empty where none was given.
        keys: what raw texts are encrypted with; None where none may be read or written.
    """

    engine: Engine
    place: str
    secret: bytes = field(default=b"", repr=False)
    keys: TextKeys | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.engine.dialect.name in _OF_FILES

    @property
    def adding(self) -> Callable[..., Any]:
        """The dialect's insert, which can leave rows alone that are there."""
        return _ADDING[self.engine.dialect.name]

    @contextmanager
    def writing(self, *, in_turn: bool = True) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends; `in_turn` keeps other writers out for its time."""
        with self.engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
            if in_turn and not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreError: the database cannot be asked.
        """
        with explained(self.place), self.engine.begin() as connection:
            yield connection

    def pseudonym(self, subject: str) -> str | None:
        """The HMAC under which a person's rows are stored; None for nobody.

        Raises:
            StoreError: there is no secret to make it with.
        """
        if not subject:
            return None
        return self.keyed("subject", subject)

    def keyed(self, purpose: str, *parts: str) -> str:
        """HMAC-SHA-256 of texts under the store's secret, as 64 hexadecimal digits."""
        if not self.secret:
            raise StoreError(
                "There is no secret to make pseudonyms with.", where=self.place, to_do="Give the service's --state."
            )
        said = json.dumps([purpose, *parts]).encode()
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Let all connections go."""
        self.engine.dispose()


_OF_FILES = ("sqlite",)


def open_database(
    where: str,
    secret: bytes = b"",
    keys: TextKeys | None = None,
    *,
    make: bool = True,
    patience: int = BUSY_SECONDS,
) -> Database:
    """Open a database and bring it to the form that the code knows.

    Args:
        where: a file, or a URL: sqlite:///answers.db, postgresql://user@host/name.
        secret: what pseudonyms are made with; empty where none are made.
        keys: what raw texts are encrypted with; they are looked at once a text is.
        make: whether a file that is not there is made, for its owner alone to read.
        patience: so many seconds a statement waits for a lock; while opening it is `OPENING_SECONDS`.

    Raises:
        StoreError: the URL is wrong, the database cannot be reached, is newer than the code or of another secret, or
            does not keep what it has committed.
        MissingExtraError: it is PostgreSQL, and psycopg is not installed.
    """
    url = _url(where)
    place = shown(url)
    if url.drivername in _OF_FILES:
        _find_file(Path(str(url.database)), make=make)
    opening = Database(_engine(url, OPENING_SECONDS), place, secret)
    try:
        with explained(place), opening.writing() as connection:
            _check_durable(connection, place)
            _migrate(connection, place)
            if secret:
                _check_secret(connection, opening)
    finally:
        opening.close()
    return Database(_engine(url, patience), place, secret, keys)


def _engine(url: URL, patience: int) -> Engine:
    is_file = url.drivername in _OF_FILES
    # Messages of errors hold no parameters, for these are users' texts.
    engine = create_engine(url, json_serializer=_as_json, pool_pre_ping=not is_file, hide_parameters=True)
    event.listen(engine, "connect", partial(_settle_file if is_file else _settle_server, patience=patience))
    if is_file:
        event.listen(engine, "begin", _begin_file)
    return engine


def _url(where: str) -> URL:
    try:
        url = make_url(where) if "://" in where else URL.create("sqlite", database=where)
    except (ArgumentError, ValueError):
        # The text may hold a password, so neither it nor SQLAlchemy's message is shown.
        url = None
    kind = url.get_backend_name() if url is not None else ""
    if url is not None and kind in ("postgresql", "postgres"):
        import_extra("psycopg", "postgres")
        return url.set(drivername="postgresql+psycopg")
    if url is not None and kind in _OF_FILES:
        if url.database in (None, "", ":memory:") or url.query:
            raise StoreError(
                "A database in memory keeps nothing." if not url.query else "The URL of a file has settings.",
                to_do="Name a file, such as answers.db or sqlite:///answers.db.",
            )
        return url.set(drivername="sqlite")
    raise StoreError(
        "The store is neither a file nor a URL of SQLite or PostgreSQL.",
        to_do="Give answers.db, sqlite:///answers.db or postgresql://user@host/name.",
    )


def _find_file(path: Path, *, make: bool) -> None:
    """See that the file is there, or make it; the log beside it takes its permissions."""
    if path.is_dir():
        raise StoreError(
            "The database of answers is a file, and this is a folder.",
            where=str(path),
            to_do=f"Name the file in it, such as {path / 'answers.db'}.",
        )
    if path.exists():
        return
    if not make:
        raise StoreError("There is no database of answers.", where=str(path), to_do="Name the service's --store.")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database of answers cannot be made: {error.strerror}.", where=str(path), to_do="Name another file."
        ) from error


def shown(url: URL) -> str:
    """A URL without its password, and without settings that may hold one."""
    return (
        url.set(query={}).render_as_string(hide_password=True)
        if url.host or url.query
        else str(url.database if url.get_backend_name() in _OF_FILES else url.render_as_string(hide_password=True))
    )


@contextmanager
def explained(place: str) -> Iterator[None]:
    """A block that asks the database; what it says is explained, without any value that it was given.

    Raises:
        StoreError: it cannot be asked.
    """
    try:
        yield
    except DBAPIError as error:
        raise StoreError(
            f"The database of answers cannot be used: {cause(error)}.",
            where=place,
            to_do="See that it is there, may be written to, and is held by no other program.",
        ) from None


def cause(error: DBAPIError) -> str:
    """The first line of what a driver says; only kinds of faults whose message repeats no row."""
    if isinstance(error.orig, Exception) and type(error.orig).__name__ in _QUOTABLE:
        lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
        return lines[-1] if lines else type(error.orig).__name__
    return type(error.orig).__name__


_QUOTABLE = ("OperationalError", "DatabaseError")


def _as_json(value: object) -> str:
    """JSON with Chinese as it stands; a number that is none is refused (ValueError)."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _settle_file(connection: Any, _: object, *, patience: int) -> None:
    # The driver begins no transaction of its own; `_begin_file` does, since it must take the lock at once.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={patience * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit returns after fsync of the log
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted rows are overwritten with zeros
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _settle_server(connection: Any, _: object, *, patience: int) -> None:
    connection.autocommit = True
    connection.execute("SET synchronous_commit TO on")
    connection.execute(f"SET lock_timeout TO '{patience}s'")
    connection.execute("SET idle_in_transaction_session_timeout TO '60s'")
    connection.autocommit = False


def _begin_file(connection: Connection) -> None:
    connection.exec_driver_sql(str(connection.get_execution_options().get("begin", "BEGIN")))


def _check_durable(connection: Connection, place: str) -> None:
    """See that the database keeps what it commits."""
    if connection.dialect.name in _OF_FILES:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        is_kept = mode.lower() in ("wal", "delete")
        said = f"Its journal is '{mode}'"
    else:
        is_kept = connection.exec_driver_sql("SHOW fsync").scalar_one() in ("on",)
        said = "The server runs with fsync=off"
    if not is_kept:
        raise StoreError(
            f"{said}: feedback that was acknowledged could be lost.", where=place, to_do="Set it right, or use another."
        )


def _migrate(connection: Connection, place: str) -> None:
    """Take the steps that the database lacks, within the transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    known = {step.revision for step in script.walk_revisions()}
    there = MigrationContext.configure(connection).get_current_heads()
    if unknown := [one for one in there if one not in known]:
        raise StoreError(
            f"The database is newer than this version of Tunesmith: it has step {unknown[0]}, "
            f"the newest that is known is {script.get_current_head()}.",
            where=place,
            to_do="Install the newer version of Tunesmith, or name another database.",
        )
    if set(there) != set(script.get_heads()):
        command.upgrade(config, "head")


def revision(database: Database) -> str:
    """The step at which a database is."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def _check_secret(connection: Connection, database: Database) -> None:
    """See that pseudonyms are made with the secret that they were always made with."""
    mine = database.keyed("check")
    kept = connection.execute(select(facts.c.value).where(facts.c.name == "secret")).scalar_one_or_none()
    if kept is None:
        connection.execute(insert(facts).values(name="secret", value=mine))
    elif not hmac.compare_digest(kept, mine):
        raise StoreError(
            "The pseudonyms of this database were made with another secret.",
            where=database.place,
            to_do="Give the --state of the service that wrote it.",
        )


def execute_alone(database: Database, *statements: str) -> list[Any]:
    """Run statements that stand in no transaction, such as VACUUM, and give the first row of each."""
    with explained(database.place):
        raw = database.engine.raw_connection()
        try:
            connection: Any = raw.driver_connection
            if not database.is_sqlite:
                connection.autocommit = True
            rows = []
            for statement in statements:
                cursor = connection.execute(statement)
                rows.append(cursor.fetchone() if cursor.description else None)
                cursor.close()
            return rows
        finally:
            raw.invalidate()
            raw.close()
