"""The profile per operator: the CSV file or the tables that the tool prints.

The forms are those of ``profile_summary_formatter.cc`` and ``stats_calculator.cc``. In the CSV,
types of operators may hold commas and names may not (a tab stands for one), so that a row is
cut from its right; some versions have a column ``start``. In the printed tables a tab parts the
columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.devices import messages
from harness.devices.benchmark_model.output import refuse

#: Operators of one profile, at most.
MAX_OPERATORS = 20_000

_SECTION = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_ORDER = re.compile(r"=+ Run Order =+")
_COLUMNS = ("first", "avg_ms", "%", "cdf%", "mem KB", "times called", "name")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,12})?(?:e[+-]?\d{1,2})?")
_NODE = re.compile(r".*:(\d{1,6})")
_RUNS = re.compile(r"Timings \(microseconds\): count=(\d{1,12})\b.*")
_DELEGATE = re.compile(r"TfLite\w*Delegate\w*|LITERT_\w+")


def read_operators(text: str, device: str) -> dict[str, Any]:
    """The message ``operators``, see PROTOCOL.md, of a CSV file or of printed text.

    Raises ``ProtocolError``.
    """
    lines = text.splitlines()
    begin = next((i for i, line in enumerate(lines) if line.strip().endswith(_SECTION)), None)
    if begin is None:
        refuse(device, "no profile of its operators", lines[-6:])
    section = [line.rstrip() for line in lines[begin + 1 :]]
    order = next((i for i, line in enumerate(section) if _ORDER.fullmatch(line.strip())), None)
    if order is None or order + 1 >= len(section):
        refuse(device, "a profile without its run order", section[:6])
    columns = _header(section[order + 1], device)
    runs = next((int(m[1]) for line in section if (m := _RUNS.fullmatch(line.strip()))), 0)
    if runs < 1:
        refuse(device, "a profile without a count of runs", section[-6:])
    operators = []
    for line in section[order + 2 :]:
        if not line.strip() or line.startswith("="):
            break
        operators.append(_operator(line, columns, runs, device))
        if len(operators) > MAX_OPERATORS:
            refuse(device, f"more than {MAX_OPERATORS:,} operators", [line])
    if not operators:
        refuse(device, "a profile without operators", section[:6])
    return {
        "type": "operators",
        "unit": "ns",
        "runs": runs,
        "resolution_ns": 1000,
        "operators": operators,
    }


def _cells(line: str, count: int) -> list[str]:
    if line.startswith("\t"):
        return [cell.strip() for cell in line[1:].split("\t", count)]
    return [cell.strip() for cell in line.rsplit(", ", count)]


def _header(line: str, device: str) -> Sequence[str]:
    """The columns behind the type of the node."""
    known = (_COLUMNS, ("start", *_COLUMNS))
    for columns in known:
        cells = [cell.strip("[]").lower() for cell in _cells(line, len(columns))]
        wanted = [name.lower() for name in ("node type", *columns)]
        # The tables have a blank where the CSV has an underscore.
        if [cell.replace("avg ms", "avg_ms") for cell in cells] == wanted:
            break
    else:
        refuse(device, "a profile whose columns are not known", [line])
    return columns


def _operator(line: str, columns: Sequence[str], runs: int, device: str) -> dict[str, Any]:
    cells = _cells(line, len(columns))
    row = dict(zip(("node type", *columns), cells, strict=False))
    numbers = [row.get(name, "").removesuffix("%" * ("%" in name)) for name in columns[:-1]]
    if len(cells) != len(columns) + 1 or not all(map(_NUMBER.fullmatch, numbers)):
        refuse(device, "an operator that is not understood", [line])
    name, kind = row["name"].replace("\t", ","), row["node type"]
    node = _NODE.fullmatch(name)
    by_delegate = name.startswith("Delegate/") or bool(_DELEGATE.fullmatch(kind))
    return {
        "name": messages.clean(kind)[:200],
        # The number behind a delegate's own operator counts inside of its partition.
        "node": int(node[1]) if node and not name.startswith("Delegate/") else None,
        "time": round(float(row["avg_ms"]) * 1e6 * runs),
        "calls": int(float(row["times called"])) * runs,
        "delegated": by_delegate,
    }
