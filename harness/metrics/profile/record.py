"""A profile as it is kept: bounded, versioned, plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness.errors import StoreVersionError

VERSION = 1

#: Operators of one profile that are kept one by one: those that take most of the time.
MAX_KEPT = 2000

#: Types that a summary names.
MAX_SUMMARY = 3

#: Types whose totals are kept, and operators of the file that are named as not seen.
MAX_TYPES, MAX_UNSEEN = 200, 50


@dataclass(frozen=True, slots=True)
class ProfiledOperator:
    """One entry of a profile.

    ``place`` is its place in the order of execution. ``name`` is the profiler's; ``type`` the
    file's where it is ``joined``, else what the delegate calls it. ``node`` is the index of the
    operator in the file, ``output`` its first output tensor with ``shape`` and ``dtype``; none of
    them where it could not be joined. ``covers`` counts operators of the file that stand behind
    this entry. ``time_ns`` and ``calls`` are per inference, ``time_ns`` ``None`` where a time
    would mean nothing (an emulated device).
    """

    place: int
    name: str
    type: str
    node: int | None
    output: str
    shape: tuple[int, ...] | None
    dtype: str
    time_ns: float | None
    calls: float
    delegated: bool | None
    covers: int = 1

    @property
    def joined(self) -> bool:
        """Whether it is known which operator of the file it is."""
        return self.node is not None


_FIELDS = tuple(item.name for item in fields(ProfiledOperator))


@dataclass(frozen=True, slots=True)
class TypeTotal:
    """All entries of one type: how many, ns per inference, and how many were delegated."""

    type: str
    count: int
    time_ns: float | None
    delegated: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of one job: times per inference, of ``runs`` in one process, in ns.

    ``operators`` in the order of execution, at most ``MAX_KEPT`` of ``count``. ``sum_ns`` is of all
    ``count``; ``elapsed_ns`` the time around the same invoke calls, with the profiler on, or
    ``None``. ``resolution_ns`` is the step of the profiler's clock (0: not known). ``unseen`` are
    operators of the file (node, type, output) that no entry could be joined with, at most
    ``MAX_UNSEEN`` of ``unseen_count``. ``inside`` counts entries of the bodies of loops and
    branches, which are in the time of these. ``timed`` is false where times mean nothing. Times are
    means over the middle half of the runs where ``robust``, else over all, which one disturbed run
    can move. ``note`` says why nothing was joined.
    """

    operators: tuple[ProfiledOperator, ...]
    runs: int
    resolution_ns: float
    count: int
    sum_ns: float | None
    elapsed_ns: float | None
    types: tuple[TypeTotal, ...]
    unseen: tuple[tuple[int, str, str], ...] = ()
    unseen_count: int = 0
    inside: int = 0
    timed: bool = True
    robust: bool = False
    note: str = ""

    @property
    def left_out(self) -> int:
        """Entries that are only in the totals."""
        return self.count - len(self.operators)

    @property
    def near_resolution(self) -> int:
        """Of the operators that are kept, those whose time is within ten steps of the clock."""
        return sum(map(self.is_near, self.operators))

    @property
    def step(self) -> float:
        """``resolution_ns``, or 0 where it is too fine to matter: modelled times are exact."""
        return self.resolution_ns if self.resolution_ns > 1 else 0.0

    def is_near(self, operator: ProfiledOperator) -> bool:
        """Whether a step of the profiler's clock is more than a tenth of this time."""
        if operator.time_ns is None:
            return False
        return operator.time_ns < 10 * self.step * max(1.0, operator.calls)

    def share(self, time_ns: float | None) -> float | None:
        """Of the sum of all operators, 0..1; ``None`` without times."""
        return time_ns / self.sum_ns if time_ns is not None and self.sum_ns else None

    def top(self, count: int) -> tuple[ProfiledOperator, ...]:
        """The operators that take most, the first the most; without times in their order."""
        return tuple(sorted(self.operators, key=lambda item: -(item.time_ns or 0.0))[:count])

    def summary(self) -> dict[str, Any]:
        """What fits into a line: counts, sums, and the share of the types that take most."""
        return {
            "count": self.count,
            "delegated": sum(total.delegated for total in self.types),
            "sum_ns": self.sum_ns,
            "types": [
                [total.type, total.count, self.share(total.time_ns)]
                for total in self.types[:MAX_SUMMARY]
            ],
        }

    def as_json(self) -> dict[str, Any]:
        """For the record; operators as rows under ``columns``."""
        made = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            "version": VERSION,
            **made,
            "columns": list(_FIELDS),
            "operators": [
                [
                    list(value) if isinstance(value, tuple) else value
                    for value in (getattr(item, name) for name in _FIELDS)
                ]
                for item in self.operators
            ],
            "types": [list(asdict(item).values()) for item in self.types],
            "unseen": [list(item) for item in self.unseen],
        }

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Profile:
        """What ``as_json`` made; raises ``StoreVersionError`` for one of another version."""
        if kept.get("version") != VERSION:
            raise StoreVersionError(
                f"a profile of version {kept.get('version')!r}; this harness reads {VERSION}",
                hint="use the harness that made the run, or a newer one",
            )
        names = kept["columns"]
        rows = [dict(zip(names, row, strict=True)) for row in kept["operators"]]
        for row in rows:
            row["shape"] = None if row["shape"] is None else tuple(row["shape"])
        plain = {
            item.name: kept[item.name]
            for item in fields(Profile)
            if item.name not in ("operators", "types", "unseen")
        }
        return Profile(
            operators=tuple(ProfiledOperator(**{key: row[key] for key in _FIELDS}) for row in rows),
            types=tuple(TypeTotal(*row) for row in kept["types"]),
            unseen=tuple((row[0], row[1], row[2]) for row in kept["unseen"]),
            **plain,
        )


def totals(operators: Sequence[ProfiledOperator]) -> tuple[TypeTotal, ...]:
    """By type, the one that takes most first; types past ``MAX_TYPES`` as one, ``...``."""
    found: dict[str, list[ProfiledOperator]] = {}
    for item in operators:
        found.setdefault(item.type, []).append(item)
    made = [_total(name, items) for name, items in found.items()]
    made.sort(key=lambda total: (-(total.time_ns or 0.0), -total.count, total.type))
    if len(made) > MAX_TYPES:
        names = {total.type for total in made[MAX_TYPES:]}
        rest = [item for item in operators if item.type in names]
        made = [*made[:MAX_TYPES], _total("...", rest)]
    return tuple(made)


def _total(name: str, items: Sequence[ProfiledOperator]) -> TypeTotal:
    timed = all(item.time_ns is not None for item in items)
    return TypeTotal(
        name,
        len(items),
        sum(item.time_ns or 0.0 for item in items) if timed else None,
        sum(bool(item.delegated) for item in items),
    )
