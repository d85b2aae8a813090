"""What the gates of a run came to: for a terminal, for programs, for a pull request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.padding import Padding
from rich.text import Text

from harness.decide.gates import Finding, passed
from harness.domain import Answer
from harness.reports import numbers
from harness.reports.escapes import escape, plain
from harness.reports.texts import csv_text, markdown_table

_STYLE = {
    Answer.PASSED: "green",
    Answer.FAILED: "bold red",
    Answer.CANNOT_TELL: "bold yellow",
    Answer.NOT_APPLICABLE: "dim",
}

_MARK = {
    Answer.PASSED: "✅",
    Answer.FAILED: "❌",
    Answer.CANNOT_TELL: "❓",
    Answer.NOT_APPLICABLE: "➖",
}

#: What follows a number of this bound.
_UNITS = {"max_latency_ms": "ms", "max_accuracy_drop": "points"}

#: In which order a reader wants them.
_ORDER = (Answer.FAILED, Answer.CANNOT_TELL, Answer.PASSED, Answer.NOT_APPLICABLE)

COLUMNS = (
    "run", "gate", "bound", "answer", "model", "recipe", "device", "kind", "backend", "value",
    "low", "high", "straddles", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """The gates of a run and what came of each: ``suite`` is the run's suite by name."""

    run: str
    suite: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing is left that cannot be told."""
        return passed(self.findings)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per bound and cell; see ``COLUMNS``."""
        return [_row(item) for item in self.findings]


def _row(item: Finding) -> dict[str, Any]:
    found = item.found
    values = (
        item.run, item.limit, item.bound, item.answer.value, item.model, item.recipe, item.device,
        item.kind, item.backend, found.value, found.low, found.high, item.straddles, found.why,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def bound(item: Finding) -> str:
    """A bound with its unit, a number as it was written."""
    if item.limit in _UNITS:
        return f"{item.bound:g} {_UNITS[item.limit]}"
    return _number(item.limit, item.bound)


def value(item: Finding) -> str:
    """What was found, with its interval."""
    found = item.found
    if found.value is None:
        return ""
    text = _number(item.limit, found.value)
    if found.low is None or found.high is None:
        return text
    return f"{text} ({_bare(item.limit, found.low)} to {_bare(item.limit, found.high)})"


def _number(limit: str, amount: Any) -> str:
    unit = _UNITS.get(limit)
    text = _bare(limit, amount)
    return f"{text} {unit}" if unit else text


def _bare(limit: str, amount: Any) -> str:
    if limit in ("max_size", "max_memory"):
        return numbers.size(amount)
    if limit == "min_delegated":
        return f"{numbers.significant(amount * 100)} %"
    if limit == "max_accuracy_drop":
        return f"{amount:.2f}"
    return numbers.significant(amount) if isinstance(amount, int | float) else str(amount)


def cell(item: Finding) -> str:
    """``digits/int8 on pixel-3 (cpu x4), simulated``."""
    if not item.model:
        return "the whole run"
    return plain(f"{item.model}/{item.recipe} on {item.device} ({item.backend}), {item.kind}")


def remark(item: Finding) -> str:
    """Why it is so, and whether it could as well be otherwise."""
    parts = [item.found.why] if item.found.why else []
    if item.straddles:
        parts.append("the interval contains the bound: another run may answer otherwise")
    return plain("; ".join(parts))


def line(item: Finding) -> str:
    """One line for a log: what, where, by how much, why."""
    found = value(item)
    parts = (f": {found}" if found else "") + (f": {remark(item)}" if remark(item) else "")
    return f"gate {item.answer.value}: {item.limit} {bound(item)}: {cell(item)}{parts}"


def summary(findings: Sequence[Finding]) -> str:
    """``1 failed, 17 passed``."""
    counts = Counter(item.answer for item in findings)
    told = {answer: f"{counts[answer]} {answer.value}" for answer in _ORDER if counts[answer]}
    if counts[Answer.NOT_APPLICABLE] > 1:
        told[Answer.NOT_APPLICABLE] = f"{counts[Answer.NOT_APPLICABLE]} do not apply"
    return ", ".join(told.values())


def parts(checked: Checked, *, everything: bool = False) -> Iterator[Text | Padding]:
    """The gates for rich."""
    yield Text.assemble((f"gates of {checked.suite}", "bold"), f"  run {checked.run}")
    for name, of_gate in _by_gate(checked.findings).items():
        yield Text.assemble("\n", (name, "bold"), f": {summary(of_gate)}")
        if everything:
            yield from _not_applicable(of_gate)
        for item in sorted(of_gate, key=lambda finding: _ORDER.index(finding.answer)):
            if item.answer is Answer.NOT_APPLICABLE:
                continue
            if item.answer is Answer.PASSED and not everything and not item.straddles:
                continue
            text = Text.assemble((f"{item.answer.value:<14} ", _STYLE[item.answer]), cell(item))
            if found := value(item):
                text.append(f": {found}")
            yield Padding(text, (0, 0, 0, 2))
            if why := remark(item):
                yield Padding(Text(why, style="dim"), (0, 0, 0, 17))
    verdict = "passed" if checked.passed else "not passed"
    yield Text(f"\n{verdict}: {summary(checked.findings)}")


def _not_applicable(findings: Sequence[Finding]) -> Iterator[Padding]:
    """Each reason once, with the number of its cells."""
    reasons = Counter(remark(i) for i in findings if i.answer is Answer.NOT_APPLICABLE)
    for why, count in reasons.items():
        cells = "1 cell" if count == 1 else f"{count} cells"
        yield Padding(Text(f"does not apply {cells}: {why}", style="dim"), (0, 0, 0, 2))


def _by_gate(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for item in findings:
        found.setdefault(f"{item.limit} {bound(item)}", []).append(item)
    return found


def as_json(checked: Checked) -> str:
    """The rows with what they came to."""
    whole = {
        "run": checked.run, "suite": checked.suite, "passed": checked.passed,
        "findings": checked.rows(),
    }  # fmt: skip
    return json.dumps(whole, indent=1, allow_nan=False)


def as_csv(checked: Checked) -> str:
    """The rows, RFC 4180."""
    return csv_text(COLUMNS, checked.rows())


def as_markdown(checked: Checked) -> str:
    """GitHub-flavoured: what was not passed in a table, the rest folded away."""
    verdict = "passed" if checked.passed else "not passed"
    mark = _MARK[Answer.PASSED if checked.passed else Answer.FAILED]
    lines = [
        f"### {mark} Gates {verdict}: {escape(checked.suite)}",
        "",
        f"Run `{checked.run}`: {summary(checked.findings)}.",
        "",
    ]
    loud = [i for i in checked.findings if i.answer in (Answer.FAILED, Answer.CANNOT_TELL)]
    quiet = [item for item in checked.findings if item not in loud]
    if loud:
        loud.sort(key=lambda item: _ORDER.index(item.answer))
        lines += [*_markdown_rows(loud), ""]
    if quiet:
        lines += ["<details><summary>What passed, and what does not apply</summary>", ""]
        lines += [*_markdown_rows(quiet), "", "</details>", ""]
    return "\n".join(lines).rstrip("\n")


def _markdown_rows(findings: Sequence[Finding]) -> list[str]:
    head = ("", "gate", "bound", "cell", "device is", "found", "why")
    rows = (
        (
            f"{_MARK[item.answer]} {item.answer.value}", item.limit, bound(item),
            cell(item).removesuffix(f", {item.kind}"), item.kind, value(item), remark(item),
        )
        for item in findings
    )  # fmt: skip
    return markdown_table(head, ("bound", "found"), rows)


FORMS = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
