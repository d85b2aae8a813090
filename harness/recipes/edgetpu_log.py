"""Reading what ``edgetpu_compiler -s`` says.

The compiler is closed; the lines here are those of versions 2.0 to 16.0, from Coral's
documentation (https://coral.ai/docs/edgetpu/compiler/) and from logs in public issues. A
line of no known form is refused, because it may change the meaning of the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import ConversionError
from harness.simulation.edgetpu import Status

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")

_BYTES = {
    "On-chip memory used for caching model parameters": "on_chip_used_bytes",
    "On-chip memory remaining for caching model parameters": "on_chip_remaining_bytes",
    "On-chip memory available for caching model parameters": "on_chip_available_bytes",
    "Off-chip memory used for streaming uncached model parameters": "off_chip_bytes",
    "Input size": "",
    "Output size": "",
}
_COUNTS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operations",
    "Number of operations that will run on Edge TPU": "on_edgetpu",
    "Number of operations that will run on CPU": "on_cpu",
}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_HEADER = re.compile(r"Operator\s+Count\s+Status")
_ROW = re.compile(r"(\S+)\s+(\d{1,9})\s+(\S.*)")

#: Lines that say nothing that is kept.
_PROSE = re.compile(
    r"Model compiled successfully in |Model successfully compiled but not all operations |"
    r"Input( model)?: |Output( model)?: |Operation log: |See the operation log file |"
    r"Started a compilation timeout timer |Compilation child process completed |"
    r"Compilation succeeded|Searching for valid delegate |Try to compile segment |"
    r"Intermediate tensors: |INFO: |WARNING: |ERROR: Restored original execution plan "
)

#: Lines after which there is no compiled file.
_FAILED = re.compile(
    r"Internal compiler error|Compilation failed|Invalid model: |Model could not be parsed|"
    r"ERROR: (?!Restored)|.*Segmentation fault|Aborted"
)


@dataclass(frozen=True, slots=True)
class LogRow:
    """Operators of one kind and one fate."""

    operator: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether the Edge TPU runs them."""
        return self.status == Status.MAPPED


@dataclass(frozen=True, slots=True)
class CompilerLog:
    """One log. ``None`` for a number that it does not state."""

    version: str
    rows: tuple[LogRow, ...]
    on_chip_used_bytes: int | None = None
    on_chip_remaining_bytes: int | None = None
    on_chip_available_bytes: int | None = None
    off_chip_bytes: int | None = None
    subgraphs: int | None = None
    operations: int | None = None
    on_edgetpu: int | None = None
    on_cpu: int | None = None

    @property
    def mapped(self) -> int:
        """How many operators the Edge TPU runs."""
        return sum(row.count for row in self.rows if row.mapped)


def parse_log(text: str) -> CompilerLog:
    """The contents of a log; raises ``ConversionError`` for one that is not understood."""
    version, rows, table = "", [], False
    numbers: dict[str, int] = {}
    strange: list[str] = []
    failed = failures(text)
    if failed:
        raise ConversionError("edgetpu_compiler failed: " + " ".join(failed)[:600])
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, value = line.partition(":")
        if found := _VERSION.fullmatch(line):
            version = found[1]
        elif _HEADER.fullmatch(line):
            table = True
        elif name in _BYTES and (size := _SIZE.fullmatch(value.strip())):
            if _BYTES[name]:
                numbers[_BYTES[name]] = round(float(size[1]) * _UNITS[size[2]])
        elif name in _COUNTS and re.fullmatch(r"\d{1,9}", value.strip()):
            numbers[_COUNTS[name]] = int(value.strip())
        elif _PROSE.match(line):
            pass
        elif table and (row := _ROW.fullmatch(line)):
            rows.append(LogRow(row[1], int(row[2]), row[3]))
        else:
            strange.append(line)
    if strange or not version or not rows:
        shown = strange or text.strip().splitlines()
        missing = " without its version" if not version else "" if rows else " without operators"
        raise ConversionError(
            f"a log of edgetpu_compiler{missing} is not understood: "
            + (" | ".join(line[:200] for line in shown[:5]) or "it is empty"),
            hint="known are the logs of edgetpu_compiler 2.0 to 16.0 with -s",
        )
    log = CompilerLog(version, tuple(rows), **numbers)
    _consistent(log)
    return log


def failures(text: str) -> list[str]:
    """The lines that say that there is no compiled file."""
    return [line.strip() for line in text.splitlines() if _FAILED.match(line.strip())]


def _consistent(log: CompilerLog) -> None:
    total = sum(row.count for row in log.rows)
    for stated, counted, what in (
        (log.operations, total, "operations"),
        (log.on_edgetpu, log.mapped, "operations on the Edge TPU"),
        (log.on_cpu, total - log.mapped, "operations on the CPU"),
    ):
        if stated is not None and stated != counted:
            raise ConversionError(
                f"a log of edgetpu_compiler contradicts itself: {stated} {what} by its summary, "
                f"{counted} by its table"
            )
