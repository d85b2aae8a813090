"""Names for runs, such as the one that every night is held against."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harness.errors import StoreError
from harness.store import schema
from harness.store.records import BaselineRecord

#: Runs' ids begin with a digit, so that a name is never the beginning of one.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

#: What names the newest run wherever a run is named.
LAST = "last"


def refuse_name(name: str) -> None:
    """Raise ``StoreError`` for what cannot be the name of a baseline."""
    if name == LAST:
        raise StoreError("'last' is always the newest run", hint="give the baseline another name")
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} cannot be the name of a baseline",
            hint="a letter, then up to 63 letters, digits, '.', '_' and '-'",
        )


def listed(connection: Connection) -> list[BaselineRecord]:
    """Every baseline by name."""
    names, runs = schema.baselines, schema.runs
    query = (
        sa.select(names, runs.c.id.label("found"))
        .select_from(names.outerjoin(runs, runs.c.id == names.c.run_id))
        .order_by(names.c.name)
    )
    return [
        BaselineRecord(row.name, row.run_id, row.set_at, row.found is not None)
        for row in connection.execute(query)
    ]


def put(connection: Connection, name: str, run_id: str, at: str) -> None:
    """Give the run this name, in place of another one that had it."""
    connection.execute(sa.delete(schema.baselines).where(schema.baselines.c.name == name))
    connection.execute(sa.insert(schema.baselines).values(name=name, run_id=run_id, set_at=at))


def drop(connection: Connection, name: str) -> bool:
    """Forget a name, not its run; false where there was none."""
    table = schema.baselines
    return connection.execute(sa.delete(table).where(table.c.name == name)).rowcount > 0
