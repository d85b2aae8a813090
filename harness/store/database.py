"""Opening the database: URL, pragmas, schema version, foreign errors translated."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from harness.cache import lock_file
from harness.errors import StoreError, StoreFullError, StoreVersionError
from harness.store import schema

#: Schema revisions this harness knows, oldest first; the last one is current.
REVISIONS = ("0001", "0002", "0003")

#: Seconds a writer waits for another process's transaction.
LOCK_TIMEOUT = 30


def open_engine(url: str, *, create: bool) -> Engine:
    """An engine on a database of the current schema; older schemas are migrated.

    Raises ``StoreError`` when there is none and ``create`` is false, when the URL is wrong
    or the file is no database, and ``StoreVersionError`` for a newer schema.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(
            f"{url!r} is not a store URL",
            hint="write for example sqlite:///results/harness.db or postgresql+psycopg://host/name",
        ) from None
    where = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            f"{url!r} would lose every result when the command ends",
            hint="name a file: sqlite:///results/harness.db",
        )
    sqlite_file = _sqlite_file(parsed)
    if sqlite_file is not None and not sqlite_file.exists():
        if not create:
            raise StoreError(
                f"there is no store at {sqlite_file}",
                hint="run a suite first, or name the store with --store",
            )
        _create_file(sqlite_file)
    elif sqlite_file is not None:
        _check_file(sqlite_file, create=create)
    at_rest = sqlite_file is not None and not create and _at_rest(sqlite_file)
    if sqlite_file is not None and at_rest:
        # SQLite would want a file beside this one to share with writers, and there can be none.
        parsed = parsed.set(
            database="file:" + quote(str(sqlite_file.resolve())),
            query={"mode": "ro", "immutable": "1", "uri": "true"},
        )
    try:
        engine = sa.create_engine(parsed, **_options(parsed))
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"no driver for the store {where}: {error}",
            hint="for PostgreSQL: pip install 'edge-harness[farm]' and postgresql+psycopg://...",
        ) from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _pragmas)
    # Nobody can bring one at rest up to date, and the cache may be on the same disk.
    with translated(where), nullcontext() if at_rest else _schema_lock(where):
        _bring_up_to_date(engine, where)
    return engine


def _check_file(path: Path, *, create: bool) -> None:
    """Raises ``StoreError`` for what no database can be in, or none to read."""
    if path.is_dir():
        raise StoreError(
            f"{path} is a folder, not a store", hint=f"did you mean {path}/harness.db?"
        )
    if not os.access(path, os.R_OK):
        raise StoreError(
            f"the store {path} may not be read by this user",
            hint=f"ask its owner for: chmod a+r {path}",
        )
    if not create and path.stat().st_size == 0:
        raise StoreError(
            f"{path} is an empty file, not a store",
            hint="run a suite first, or name the store with --store",
        )


def _create_file(path: Path) -> None:
    """A new store appears whole or not at all, whoever else makes it at the same time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create {path.parent}: {error.strerror}") from None
    with _schema_lock(str(path.resolve())):
        if path.exists():
            return
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        engine = sa.create_engine(f"sqlite:///{part}")
        try:
            with translated(str(path)):
                _bring_up_to_date(engine, str(path))
            engine.dispose()
            os.replace(part, path)
        finally:
            engine.dispose()
            part.unlink(missing_ok=True)


@contextmanager
def _schema_lock(where: str) -> Iterator[None]:
    """One process at a time makes or migrates a store."""
    name = hashlib.sha256(where.encode()).hexdigest()[:24]
    with lock_file(f"store-{name}") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_file(url: sa.URL) -> Path | None:
    name = url.database if url.get_backend_name() == "sqlite" else None
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None


def _at_rest(file: Path) -> bool:
    """Whether this user cannot write where the file is, and nobody left it half written."""
    beside = (file.with_name(file.name + end) for end in ("-wal", "-journal"))
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return not writable and not any(path.exists() for path in beside)


def _options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {
            "connect_args": {"timeout": LOCK_TIMEOUT, "check_same_thread": False},
            "json_deserializer": _json,
        }
    return {"pool_pre_ping": True}


def _json(text: str) -> Any:
    """JSON as it was kept; what is none comes as ``None``, for only the reader knows whose it is.

    Every JSON column holds an object or an array, never ``null``; see ``reading.py``.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    try:
        # WAL lets reports read while a run writes; NORMAL loses nothing to a killed process.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        pass
    finally:
        cursor.close()


def _bring_up_to_date(engine: Engine, where: str) -> None:
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        found = (
            connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            if "alembic_version" in tables
            else None
        )
        if found is None and tables & set(schema.metadata.tables):
            raise StoreError(f"{where} holds tables of these names that the harness did not make")
    if found == REVISIONS[-1]:
        return
    if found is not None and not str(found).isalnum():
        raise StoreError(
            f"the store {where} does not say which schema it has: it is damaged",
            hint="restore a copy of it, or use another store with --store",
        )
    if found is not None and found not in REVISIONS:
        raise StoreVersionError(
            f"the store {where} has schema {found}, newer than this harness "
            f"(it knows up to {REVISIONS[-1]})",
            hint="upgrade edge-harness, or use another store with --store",
        )
    from alembic import command  # only a new or older store pays for importing it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        if found is None or not _refuses_writers(error):
            raise
        raise StoreVersionError(
            f"the store {where} has schema {found}, older than this harness's {REVISIONS[-1]}, "
            "and cannot be brought up to date, for it is read-only",
            hint="make it writable once (harness runs brings it up to date), or read a copy",
        ) from None


def _refuses_writers(error: DBAPIError) -> bool:
    text = str(error.orig or error).lower()
    return "readonly" in text or "read-only" in text


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the driver's errors into the harness's own."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig or error).strip()
        lowered = text.lower()
        if "disk is full" in lowered or "no space left" in lowered or "disk i/o" in lowered:
            raise StoreFullError(
                f"no room left for results in {where}: {text}",
                hint="free some space, then go on with: harness run --resume RUN",
            ) from None
        if "locked" in lowered:
            raise StoreError(
                f"the store {where} is locked by another process for more than {LOCK_TIMEOUT} s",
                hint="end the other process, or use another store with --store",
            ) from None
        if _refuses_writers(error):
            raise StoreError(
                f"the store {where} is read-only", hint="use another store with --store"
            ) from None
        raise StoreError(f"the store {where} failed: {text}") from None
