"""The text that ``benchmark_model`` prints -> numbers, or an error that shows the lines.

The forms are those of TensorFlow's and LiteRT's ``tools/benchmark/benchmark_model.cc`` and
``stats_calculator.h``: a line per phase before it (``Running benchmark for at least ...``), its
statistics after it, and the timings once more at the end. Every number is read whole, is held
against its neighbours, and, where the tool says it twice, against its double: a line that was
cut, or that means something else in another version, never becomes a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.devices import messages
from harness.errors import ProtocolError

_INT = r"\d{1,15}"
_REAL = r"\d{1,15}(?:\.\d{1,12})?(?:e[+-]?\d{1,2})?"
_LEVEL = re.compile(r"(INFO|WARN|WARNING|ERROR|FATAL|VERBOSE): ")
_PERCENTILES = rf"(?: p5=(?P<p5>{_INT}) median=(?P<median>{_INT}) p95=(?P<p95>{_INT}))?"
_MANY = re.compile(
    rf"count=(?P<count>{_INT}) first=(?P<first>{_INT}) curr=(?P<last>{_INT}) min=(?P<min>{_INT}) "
    rf"max=(?P<max>{_INT}) avg=(?P<mean>{_REAL}) std=(?P<std>-?\d{{1,19}}){_PERCENTILES}"
)
_SAME = re.compile(
    rf"count=(?P<count>{_INT}) curr=(?P<first>{_INT})(?P<same>\(all same\))?{_PERCENTILES}"
)
_RUNNING = re.compile(
    rf"Running benchmark for at least (?P<runs>{_INT}) iterations and at least "
    rf"(?P<seconds>{_REAL}) seconds"
    rf"(?: but terminate if exceeding (?P<limit>{_REAL}) seconds)?\.?"
)
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{_INT}), First inference: (?P<first>{_INT}), "
    rf"Warmup \(avg\): (?P<warmup>{_REAL}), Inference \(avg\): (?P<mean>{_REAL})"
)
_PEAK = re.compile(
    rf"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<mb>{_REAL})"
)
_UNCONSUMED = "Unconsumed cmdline flags:"

#: What the tool prints where its own rounding made a variance negative.
_NO_STD = {-(1 << 31), -(1 << 63)}

#: Means are printed with six digits.
_DIGITS = 1e-5

#: Longest time that is believed, microseconds.
_MAX_US = 10**12


@dataclass(frozen=True, slots=True)
class Statistics:
    """One phase, in whole microseconds but for the mean; what was not printed is ``None``."""

    count: int
    first: int
    min: int
    max: int
    mean: float
    std: int | None
    p5: int | None
    median: int | None
    p95: int | None

    def as_json(self) -> dict[str, Any]:
        """The statistics by name, with their unit."""
        names = ("count", "first", "min", "max", "mean", "std", "p5", "median", "p95")
        return {"unit": "us", **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Asked:
    """The stop rule that a run was given: runs and seconds of the warm-up and of the rest."""

    warmup_runs: int
    warmup_seconds: float
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Output:
    """One run of the tool."""

    warmup: Statistics
    measured: Statistics
    init_us: int
    first_us: int
    peak_memory_bytes: int | None


def bodies(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Level (``""`` without one) and text of each line."""
    found = []
    for line in map(str.rstrip, lines):
        level = _LEVEL.match(line)
        found.append((level[1], line[level.end() :]) if level else ("", line))
    return found


def unconsumed(lines: Sequence[str]) -> list[str]:
    """The flags that the tool did not know and passed over."""
    return [
        flag
        for _, body in bodies(lines)
        if body.startswith(_UNCONSUMED)
        for flag in body.removeprefix(_UNCONSUMED).split()
    ]


def errors(lines: Sequence[str]) -> list[str]:
    """What the tool itself calls an error."""
    return [body for level, body in bodies(lines) if level in ("ERROR", "FATAL") and body]


def refuse(device: str, what: str, lines: Sequence[str]) -> NoReturn:
    """Raise the ``ProtocolError`` that shows up to six lines."""
    shown = " | ".join(messages.clean(line.strip())[:200] for line in lines if line.strip())
    raise ProtocolError(
        f"{device}: benchmark_model printed {what}: {shown[:1200] or '(nothing)'}",
        hint="this build prints what the harness does not know; use another build",
    )


def parse(lines: Sequence[str], device: str, asked: Asked | None = None) -> Output:
    """The numbers of a run that ended well, which was to follow ``asked``.

    Raises ``ProtocolError``.
    """
    running: list[re.Match[str]] = []
    phases: list[Statistics] = []
    timings: re.Match[str] | None = None
    peak: int | None = None
    for _, body in bodies(lines):
        if body.startswith("Running benchmark"):
            found = _RUNNING.fullmatch(body)
            if found is None or len(running) != len(phases):
                refuse(device, "a phase that is not understood", [body])
            running.append(found)
        elif body.startswith("count="):
            if len(phases) != len(running) - 1:
                refuse(device, "statistics without their phase", [body])
            phases.append(_statistics(body, device))
        elif body.startswith("Inference timings"):
            if timings is not None or (timings := _TIMINGS.fullmatch(body)) is None:
                refuse(device, "timings that are not understood", [body])
        elif body.startswith("Overall peak memory"):
            found = _PEAK.fullmatch(body)
            megabytes = float(found["mb"]) if found else 0.0
            if not 0 < megabytes < 1e7:
                refuse(device, "a peak of memory that is not understood", [body])
            peak = round(megabytes * (1 << 20))
    if timings is None or len(phases) != 2 or len(running) != 2:
        refuse(
            device,
            f"{len(phases)} lines of statistics and "
            f"{'no' if timings is None else 'one'} line of timings (wanted 2 and one)",
            [line for line in lines if line.strip()][-6:],
        )
    warmup, measured = phases
    _agree(timings, warmup, measured, device)
    if asked is not None:
        _followed(running, asked, device)
    return Output(warmup, measured, int(timings["init"]), int(timings["first"]), peak)


def _statistics(body: str, device: str) -> Statistics:
    many, same = _MANY.fullmatch(body), _SAME.fullmatch(body)
    found = many or same
    if found is None:
        refuse(device, "statistics that are not understood", [body])

    def number(name: str) -> int | None:
        text = found.groupdict().get(name)
        return None if text is None else int(text)

    count, first = int(found["count"]), int(found["first"])
    least, most, mean = first, first, float(first)
    std: int | None = 0
    last = first
    if many:
        least, most, last = int(many["min"]), int(many["max"]), int(many["last"])
        mean, std = float(many["mean"]), int(many["std"])
        if std in _NO_STD:
            std = None
    p5, median, p95 = number("p5"), number("median"), number("p95")
    slack = _DIGITS * max(1.0, mean)
    inside = [value for value in (first, last, p5, median, p95) if value is not None]
    rising = [value for value in (least, p5, median, p95, most) if value is not None]
    good = (
        count >= 1
        and most <= _MAX_US
        and all(least <= value <= most for value in inside)
        and rising == sorted(rising)
        and math.isfinite(mean)
        and least - slack <= mean <= most + slack
        and (std is None or 0 <= std <= most - least)
        and (many is not None or (count == 1) == (found["same"] is None))
        and (many is None or (count > 1 and least < most))
    )
    if not good:
        refuse(device, "statistics that contradict themselves", [body])
    return Statistics(count, first, least, most, mean, std, p5, median, p95)


def _agree(timings: re.Match[str], warmup: Statistics, measured: Statistics, device: str) -> None:
    """The last line repeats three numbers of the statistics, digit by digit."""
    pairs = (
        (float(timings["first"]), float(warmup.first)),
        (float(timings["warmup"]), warmup.mean),
        (float(timings["mean"]), measured.mean),
    )
    # Of equal samples the statistics show the value, and the timings their mean in six digits.
    if any(abs(once - twice) > _DIGITS * twice for once, twice in pairs):
        refuse(device, "timings that contradict its statistics", [timings.group()])
    if int(timings["init"]) > _MAX_US:
        refuse(device, "a time that cannot be", [timings.group()])


def _followed(running: Sequence[re.Match[str]], asked: Asked, device: str) -> None:
    wanted = ((asked.warmup_runs, asked.warmup_seconds), (asked.runs, asked.seconds))
    for found, (runs, seconds) in zip(running, wanted, strict=True):
        if int(found["runs"]) != runs or abs(float(found["seconds"]) - seconds) > _DIGITS * max(
            1.0, seconds
        ):
            refuse(device, f"another stop rule than {runs} runs, {seconds:g} s", [found.group()])
