"""Rows made ready: graph, device, backend and runtime of each that can be predicted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.calibration.naming import Devices, Setting, Unreadable, setting_of
from harness.calibration.reading import is_nothing
from harness.calibration.table import Published, dtype_of
from harness.errors import HarnessError
from harness.simulation.architectures import find
from harness.simulation.prediction import Prepared


@dataclass(frozen=True, slots=True)
class Case:
    """A row, with what it is predicted from; ``status`` is ``ok`` or why it cannot be."""

    published: Published
    dtype: str
    setting: Setting | None = None
    prepared: Prepared | None = None
    #: The architecture's canonical name: rows of one model in several spellings share it.
    architecture: str = ""
    family: str = ""
    status: str = "ok"

    @property
    def ok(self) -> bool:
        """Whether it can be predicted."""
        return self.status == "ok"


def cases_of(table: Sequence[Published], devices: Devices) -> tuple[Case, ...]:
    """One case for each row, in order."""
    graphs: dict[tuple[str, str, tuple[int, ...] | None], Prepared] = {}
    return tuple(_case(row, devices, graphs) for row in table)


def _case(
    row: Published,
    devices: Devices,
    graphs: dict[tuple[str, str, tuple[int, ...] | None], Prepared],
) -> Case:
    dtype = dtype_of(row)
    if row.problem:
        return Case(row, dtype, status=row.problem)
    try:
        setting = setting_of(row, devices)
    except Unreadable as error:
        return Case(row, dtype, status=str(error))
    architecture = find(row.model)
    if architecture is None:
        return Case(row, dtype, setting, status=f"no architecture is called {row.model[:60]!r}")
    shape = _shape(row)
    key = (architecture.name, _stored(row, dtype), shape)
    if key not in graphs:
        try:
            graph = architecture.graph(_stored(row, dtype), shape)
        except (HarnessError, ValueError) as error:
            return Case(row, dtype, setting, status=f"{architecture.name}: {error}"[:200])
        graphs[key] = Prepared(graph)
    return Case(row, dtype, setting, graphs[key], architecture.name, architecture.family)


def _shape(row: Published) -> tuple[int, ...] | None:
    """The input's shape; where a note says that the file's is another than the table's, that."""
    found = re.search(r"files? (?:is|are|has|have) (\d{2,4})x(\d{2,4})", row.notes)
    if found and row.input_shape:
        return (1, int(found[1]), int(found[2]), row.input_shape[-1])
    return row.input_shape


def _stored(row: Published, dtype: str) -> str:
    """``uint8`` for files of the older scheme of quantization, whose names say quant."""
    low = row.dtype.lower()
    older = low == "uint8" or (is_nothing(low) and "quant" in row.model.lower())
    return "uint8" if older and dtype == "int8" else dtype
