"""Reading a table of published latencies: any model, device and backend in words.

The columns are ``model, input_shape, dtype, device, backend, threads, latency_ms``; of ``soc``,
``source`` and ``notes`` what is there is used. What cannot be read has a status that says why;
no row is left out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.cache import bounded
from harness.calibration.reading import Unreadable, is_nothing, type_of
from harness.errors import UsageError

NEEDED = ("model", "device", "backend", "latency_ms")
_USED = (*NEEDED, "dtype", "threads", "input_shape", "soc", "source", "notes")

#: The most rows and the longest cell that are read.
_MOST_ROWS = 100_000
_MOST_BYTES = 64 * 2**20
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Published:
    """One row as it stands; ``published_ms`` is ``None`` where it is no positive number."""

    number: int
    model: str
    dtype: str
    device: str
    soc: str
    backend: str
    threads: str
    notes: str
    source: str
    input_shape: tuple[int, ...] | None
    published_ms: float | None
    problem: str = ""


def read_table(path: Path) -> tuple[Published, ...]:
    """The rows of a CSV file.

    Raises ``UsageError`` where there is none, or columns are missing or twice there.
    """
    try:
        content = bounded(path, _MOST_BYTES)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{path}: more than {_MOST_BYTES:,} bytes", hint="is it a table?")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file", hint="a table is CSV in UTF-8") from None
    # Strict: of a quotation mark that is never closed the rest of the table would be one cell.
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        have = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = have
        rows = list(islice(reader, _MOST_ROWS + 1))
    except csv.Error as error:
        raise UsageError(
            f"{path}:{reader.line_num + 1}: not CSV: {error}",
            hint="is a quotation mark left open?" if "end of data" in str(error) else None,
        ) from None
    missing = [name for name in NEEDED if name not in have]
    if missing:
        raise UsageError(
            f"{path}: columns are missing: {', '.join(missing)}",
            hint=_separated(text)
            or f"needed: {', '.join(NEEDED)}; used: dtype, threads, input_shape, soc, notes",
        )
    twice = sorted({name for name in have if name in _USED and have.count(name) > 1})
    if twice:
        raise UsageError(
            f"{path}: two columns have one name: {', '.join(twice)}", hint="rename or drop one"
        )
    if not rows:
        raise UsageError(f"{path}: no rows below the names of the columns")
    if len(rows) > _MOST_ROWS:
        raise UsageError(f"{path}: more than {_MOST_ROWS:,} rows", hint="split the table")
    return tuple(_row(number, row) for number, row in enumerate(rows, start=2))


def _separated(text: str) -> str:
    """What is to be said of a table whose columns something else separates than commas."""
    header = text.split("\n", 1)[0]
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if sign in header and "," not in header:
            return f"its columns are separated by {name}: save it with commas"
    return ""


def _row(number: int, row: Mapping[str, str | None]) -> Published:
    def cell(name: str) -> str:
        value = row.get(name)
        return value.strip()[:_LONGEST] if isinstance(value, str) else ""

    problem = ""
    published: float | None = None
    try:
        published = float(cell("latency_ms"))
    except ValueError:
        problem = f"latency_ms is no number: {cell('latency_ms')[:40]!r}"
    if published is not None and not 1e-6 <= published <= 1e9:
        problem, published = f"latency_ms is no time of an inference: {published:g}", None
    shape: tuple[int, ...] | None = None
    if cell("input_shape"):
        sizes = [int(size) for size in re.findall(r"\d{1,6}", cell("input_shape"))]
        if len(sizes) in (1, 2):
            sizes = [1, sizes[0], sizes[-1], 3]
        elif len(sizes) == 3:
            sizes = [1, *sizes]
        if len(sizes) == 4 and sizes[1] <= 4 < sizes[3]:  # channels first, as other tools write it
            sizes = [sizes[0], *sizes[2:], sizes[1]]
        if len(sizes) == 4 and all(0 < size <= 8192 for size in sizes) and sizes[3] <= 16:
            shape = tuple(sizes)
        else:
            problem = problem or f"input_shape is none: {cell('input_shape')[:40]!r}"
    if not is_nothing(cell("dtype")):
        try:
            type_of(cell("dtype"))
        except Unreadable as error:
            problem = problem or str(error)
    return Published(
        number=number,
        model=cell("model"),
        dtype=cell("dtype"),
        device=cell("device"),
        soc=cell("soc"),
        backend=cell("backend"),
        threads=cell("threads"),
        notes=cell("notes"),
        source=cell("source"),
        input_shape=shape,
        published_ms=published,
        problem=problem,
    )


def dtype_of(published: Published) -> str:
    """``float32``, ``int8`` or ``dynamic_int8``: of the column, else the model's name or backend.

    Names of quantized files say so; an Edge TPU runs integers only. ``uint8/int8`` is ``int8``.
    """
    if not is_nothing(published.dtype):
        with suppress(Unreadable):  # which the row's problem tells
            return type_of(published.dtype)
    text = f"{published.model} {published.backend}".lower().replace("_", " ")
    if re.search(r"dynamic|\bdrq\b|hybrid", text):
        return "dynamic_int8"
    if re.search(r"\bf(?:p|loat)?[ -]?16\b", published.model.lower().replace("_", " ")):
        return "float32"
    if re.search(r"quant|u?int8|\bw8a8\b|edge ?tpu|\bptq\b|\bqat\b|\btpu\b", text):
        return "int8"
    return "float32"
