"""A comparison in turns, for people: each round in a line, the answer in a sentence."""

from __future__ import annotations

import math
import shlex

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.decide.ab import Answer, Contest, Measured, Standing
from harness.domain import Advisory
from harness.reports import notes
from harness.reports.numbers import significant, size
from harness.reports.texts import plain_text

_STYLE = {
    Answer.FASTER: "bold green",
    Answer.SLOWER: "bold red",
    Answer.SAME: "bold",
    Answer.OPEN: "yellow",
}

_ENDED = {
    "max_rounds": "that were all rounds (--max-rounds)",
    "max_minutes": "the time is over (--max-minutes)",
    "interrupted": "interrupted",
    "failed": "a trial failed",
}


def round_line(a: float, b: float, standing: Standing) -> str:
    """What the last round brought (medians in ms), what is known, and what is awaited."""
    text = f"round {standing.rounds}: A {significant(a, 4)} ms, B {significant(b, 4)} ms"
    if math.isfinite(standing.high):
        text += f", B/A {_ratio(standing)}"
    return f"{text}: {standing.answer.value if standing.clear else standing.reason}"


def _ratio(standing: Standing) -> str:
    return f"{standing.ratio:.4f} ({standing.low:.4f} to {standing.high:.4f})"


def sentence(found: Contest) -> str:
    """The answer: by how much B differs in time from A, after how much measuring."""
    standing = found.standing
    rounds = f"{standing.rounds} round" + ("" if standing.rounds == 1 else "s")
    after = f"after {rounds}, {clock(found.seconds)}"
    if standing.answer in (Answer.FASTER, Answer.SLOWER):
        return f"B is {standing.answer.value} by {_percent(standing)}, {after}"
    if standing.answer is Answer.SAME:
        return (
            f"{standing.answer.value}: B/A is {_ratio(standing)}, within "
            f"±{found.min_effect * 100:g} %, {after}"
        )
    known = f"B/A is {_ratio(standing)}" if math.isfinite(standing.high) else standing.reason
    if math.isfinite(standing.high) and standing.reason:
        known += f", {standing.reason}"
    why = _ENDED.get(found.ended)
    return f"{standing.answer.value}: {known}, {after}" + (f"; {why}" if why else "")


def _percent(standing: Standing) -> str:
    """By how much, with the interval: of the time of A."""
    ends = [standing.ratio, standing.low, standing.high]
    if standing.answer is Answer.FASTER:
        ends = [1 - standing.ratio, 1 - standing.high, 1 - standing.low]
    else:
        ends = [end - 1 for end in ends]
    value, low, high = (f"{end * 100:.1f}" for end in ends)
    return f"{value} % ({low} to {high})"


def clock(seconds: float) -> str:
    """``0:41``, ``1:02:03``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def interval(side: Measured) -> tuple[str, str]:
    """The median in ms and its 95 % interval."""
    found = side.median
    if found is None:
        return "-", "-"
    value, low, high = found
    if not math.isfinite(high):
        return significant(value, 4), "-"
    return significant(value, 4), f"{significant(low, 4)} to {significant(high, 4)}"


def runtime(side: Measured) -> str:
    """Name and version of what ran it, and its agent."""
    record = side.record
    agent = (record.facts.get("agent") or [""])[0]
    return " ".join(filter(None, (record.runtime, record.runtime_version, agent and f"({agent})")))


def where(side: Measured) -> str:
    """What it is and what ran it: ``model/recipe on device (backend)``."""
    return side.record.job.label


def remarks(found: Contest) -> list[str]:
    """What must be known beside the answer: advisories of either side, the kind of device."""
    said = [f"{found.kind.value}: {notes.KIND_NOTES[found.kind].split(',')[0]}"]
    said[0] += "; accuracy is not measured"
    if found.same:
        said.append("A and B are the same file on the same backend: any difference is chance")
    told: dict[Advisory, list[str]] = {}
    for letter, side in (("A", found.a), ("B", found.b)):
        for advisory in side.record.advisories:
            told.setdefault(advisory, []).append(letter)
    for advisory, letters in told.items():
        said.append(f"{' and '.join(letters)}: {advisory.kind.value}: {advisory.evidence}")
    if found.failure:
        said.append(f"failed: {found.failure}")
    said.append(f"all of it: harness table {shlex.quote(found.run)}")
    return said


def renderable(found: Contest) -> RenderableType:
    """The comparison for rich: both sides, the answer, what must be known beside it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("variant and runtime", overflow="fold", min_width=20)
    table.add_column("median ms", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for letter, side in (("A", found.a), ("B", found.b)):
        table.add_row(
            letter, Text(f"{where(side)}\n{runtime(side)}".strip()), *interval(side),
            str(len(side.medians)), size(side.record.size_bytes),
        )  # fmt: skip
    answer = Text(f"\n{sentence(found)}", style=_STYLE[found.standing.answer])
    return Group(table, answer, *(Text(line, style="dim") for line in remarks(found)))


def render(found: Contest, width: int) -> str:
    """The comparison as plain text of at most ``width`` columns."""
    return plain_text([renderable(found)], width)
