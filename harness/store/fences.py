"""The store's own guard against late writers: the newest session of each device, by its number."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from harness.domain import Fence
from harness.errors import LeaseLostError
from harness.store.schema import fences


def pass_fence(connection: Connection, fence: Fence) -> None:
    """Note the session, in the caller's transaction, unless a newer one has been noted.

    Raises ``LeaseLostError``. It writes first, so that no other transaction comes between
    this look and what the caller writes after it.
    """
    mine = sa.update(fences).where(fences.c.place == fence.place, fences.c.token <= fence.token)
    if connection.execute(mine.values(token=fence.token)).rowcount == 1:
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(fences).values(place=fence.place, token=fence.token))
            return
    except IntegrityError:
        pass  # there is one, and it was newer, or has just been made
    if connection.execute(mine.values(token=fence.token)).rowcount != 1:
        raise LeaseLostError(
            f"session {fence.token} of this device has been followed by another one",
            hint="what it measured meanwhile is not kept",
        )
