"""Where the time of a job goes, operator by operator, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.metrics.profile import Comparison, Pair, Profile, ProfiledOperator
from harness.reports import numbers
from harness.reports.operator_rows import by, percent, yes_no
from harness.reports.profiles import ComparedProfiles, JobProfile
from harness.reports.texts import plain_text

#: Columns of the names, so that tables of several jobs line up.
_OPERATOR, _OUTPUT, _SHAPE = 19, 22, 12

#: Types whose totals are shown.
_TYPES = 8

#: Below this share of the unprofiled median, what is outside of operators is named.
_MOST_OUTSIDE = 0.9

#: Operators of the file that are named as not seen.
_UNSEEN = 4


def render_profiles(items: Sequence[JobProfile], top: int, width: int) -> str:
    """Profiles as plain text of at most ``width`` columns."""
    return plain_text((part for item in items for part in _profile_parts(item, top)), width)


def render_compared(items: Sequence[ComparedProfiles], top: int, width: int) -> str:
    """Comparisons as plain text of at most ``width`` columns."""
    return plain_text((part for item in items for part in _compared_parts(item, top)), width)


def short_output(name: str, most: int = _OUTPUT) -> str:
    """What made the output; of a long path its end: ``...conv_1/expand/Relu6``."""
    first = name.split(";", 1)[0]
    return first if len(first) <= most else "..." + first[3 - most :]


# -- one profile -------------------------------------------------------------------------------


def _profile_parts(item: JobProfile, top: int) -> Iterator[RenderableType]:
    kind = item.record.job.kind.value
    yield Text.assemble("\n", (item.record.job.label, "bold"), f"  {kind}")
    profile = item.profile
    if profile is None:
        yield Padding(Text(f"no profile: {item.reason}"), (0, 0, 0, 1))
        return
    yield _operators(profile, profile.top(top))
    shown = min(top, profile.count)
    if profile.count > shown:
        yield Text(f"{shown} of {profile.count:,} operators; more with --top", style="dim")
    yield Text("")
    yield _totals(profile)
    yield Text("")
    for line in profile_lines(item):
        yield Text(line)


def _operators(profile: Profile, shown: Sequence[ProfiledOperator]) -> Table:
    table = _table(("type", 7, "left"), ("deleg.", 6, "left"), ("ms", 9, "right"),
                   ("%", 5, "right"), ("cum %", 5, "right"))  # fmt: skip
    sum_ = 0.0
    for operator in shown:
        sum_ += operator.time_ns or 0.0
        table.add_row(
            *_names(operator),
            operator.dtype,
            yes_no(operator.delegated),
            _time(profile, operator),
            percent(profile.share(operator.time_ns)),
            percent(profile.share(sum_) if profile.timed else None),
        )
    return table


def _names(operator: ProfiledOperator) -> tuple[Text, Text, str]:
    if operator.joined:
        return Text(operator.type), Text(short_output(operator.output)), by(operator.shape)
    made_of = f"({operator.covers} operators)" if operator.covers > 1 else "(made by the delegate)"
    where = made_of if operator.delegated else "(not found in the file)"
    return Text(operator.name), Text(where, style="dim"), ""


def _time(profile: Profile, operator: ProfiledOperator) -> str:
    """In ms; ``~`` where the clock is coarse for it, ``<`` below one of its steps."""
    if operator.time_ns is None:
        return "-"
    if _is_below(profile, operator):
        return _below(profile)
    near = "~" if profile.is_near(operator) else ""
    return f"{near}{_ms(operator.time_ns)}"


def _is_below(profile: Profile, operator: ProfiledOperator) -> bool:
    """Whether one step of the clock is longer."""
    return operator.time_ns is not None and operator.time_ns < profile.step


def _below(profile: Profile) -> str:
    return f"<{numbers.significant(profile.step / 1e6, 1)}"


def _totals(profile: Profile) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("by type", width=_OPERATOR + _OUTPUT + 2, no_wrap=True, overflow="ellipsis")
    for name, width in (("count", _SHAPE), ("deleg.", 15), ("ms", 9), ("%", 5)):
        table.add_column(name, min_width=width, justify="right", no_wrap=True)
    for total in profile.types[:_TYPES]:
        table.add_row(
            Text(total.type),
            str(total.count),
            str(total.delegated or ""),
            _total_ms(profile, total.time_ns),
            percent(profile.share(total.time_ns)),
        )
    return table


def _total_ms(profile: Profile, ns: float | None) -> str:
    return _below(profile) if ns is not None and ns < profile.step else _ms(ns)


def _ms(ns: float | None) -> str:
    """Three significant digits, and no more than six decimals."""
    text = numbers.significant(None if ns is None else ns / 1e6)
    return text if len(text) <= 8 else f"{(ns or 0.0) / 1e6:.6f}"


def profile_lines(item: JobProfile) -> list[str]:
    """What qualifies a profile: overhead, the clock, what could not be joined."""
    profile = item.profile
    assert profile is not None
    return [*_sum_lines(item, profile), *_clock_lines(profile), *_join_lines(profile)]


def _sum_lines(item: JobProfile, profile: Profile) -> Iterator[str]:
    if not profile.timed:
        yield "emulated device: shapes and delegation only, for its times mean nothing"
        return
    half = "the middle half of " if profile.robust else ""
    moved = "" if profile.robust else "; a disturbed run moves them"
    yield f"means over {half}{profile.runs:,} runs in one process{moved}"
    line = f"all {profile.count:,} operators {_ms(profile.sum_ns)} ms"
    if item.covered is not None:
        line += f", {item.covered * 100:.0f} % of the unprofiled median {_ms(item.median_ns)} ms"
        if item.covered < _MOST_OUTSIDE:
            line += "; the rest is outside of them"
    yield line
    if profile.elapsed_ns is not None:
        slower = item.profiler_share
        overhead = (
            "" if slower is None else f", {round(slower * 100):+d} % against the unprofiled median"
        )
        yield f"an inference with the profiler on {_ms(profile.elapsed_ns)} ms{overhead}"


def _clock_lines(profile: Profile) -> Iterator[str]:
    if profile.near_resolution and profile.resolution_ns:
        yield (
            f"{profile.near_resolution} times (~ or <) are within ten steps of the profiler's "
            f"clock ({profile.resolution_ns / 1000:g} us)"
        )
        timed = [item for item in profile.operators if item.time_ns is not None]
        if profile.near_resolution >= len(timed):
            yield (
                "no operator is long enough for this clock: take no share or order of them "
                "from here"
            )


def _join_lines(profile: Profile) -> Iterator[str]:
    if profile.note:
        yield f"nothing was joined with the file: {profile.note}"
        return
    apart = [operator for operator in profile.operators if not operator.joined]
    if apart:
        share = profile.share(sum(operator.time_ns or 0.0 for operator in apart))
        of = "" if share is None else f", {share * 100:.1f} % of the time"
        yield f"{len(apart)} are not joined with one operator of the file{of}"
    if profile.unseen_count:
        names = [
            f"{type_} {short_output(output)}".strip()
            for _, type_, output in profile.unseen[:_UNSEEN]
        ]
        more = f" and {profile.unseen_count - len(names)} more" * (
            profile.unseen_count > len(names)
        )
        yield f"of the file and not seen, fused or among the former: {', '.join(names)}{more}"
    if profile.inside:
        yield f"{profile.inside:,} more ran inside of loops and branches, in the time of these"
    if profile.left_out:
        yield f"{profile.left_out:,} more operators are only in the totals"


# -- two profiles ------------------------------------------------------------------------------


def _compared_parts(item: ComparedProfiles, top: int) -> Iterator[RenderableType]:
    found = item.comparison
    yield Text("")
    for name, side in (("base", item.base), ("head", item.head)):
        job = side.record.job
        yield Text.assemble(
            (f"{name} {job.label}", "bold"), f"  {job.kind.value}, run {side.record.run}"
        )
    if item.differences:
        yield Text("differ in: " + "; ".join(item.differences), style="dim")
    table = _table(("base ms", 8, "right"), ("head ms", 8, "right"), ("ratio", 9, "right"),
                   ("diff ms", 10, "right"))  # fmt: skip
    for pair in found.pairs[:top]:
        table.add_row(*_pair_cells(found, pair))
    yield table
    if len(found.pairs) > top:
        yield Text(f"{top} of {len(found.pairs):,} operators; more with --top", style="dim")
    yield Text("")
    for line in _compared_lines(item):
        yield Text(line)


def _pair_cells(found: Comparison, pair: Pair) -> tuple[RenderableType, ...]:
    sides = ((found.base, pair.base), (found.head, pair.head))
    if pair.base and pair.head:
        below = any(
            operator is not None and _is_below(profile, operator) for profile, operator in sides
        )
        ratio = "-" if below else numbers.ratio(pair.ratio)
    else:
        ratio = "only base" if pair.base else "only head"
    difference = pair.difference_ns
    step = max(profile.step * max(1.0, operator.calls) for profile, operator in sides if operator)
    near = "~" if difference and abs(difference) <= step else ""
    return (
        *_names(pair.shown),
        *("" if operator is None else _time(profile, operator) for profile, operator in sides),
        ratio,
        "-" if difference is None else near + _difference(difference),
    )


def _difference(ns: float) -> str:
    sign = "+" if ns > 0 else "-" if ns < 0 else ""
    return sign + _ms(abs(ns))


def _compared_lines(item: ComparedProfiles) -> Iterator[str]:
    found = item.comparison
    if found.difference_ns is None:
        yield "no times on one side: an emulated device has none"
    else:
        sums = [(side.sum_ns or 0.0) / 1e6 for side in (found.base, found.head)]
        texts = [_ms(side.sum_ns) for side in (found.base, found.head)]
        ratio = numbers.ratio(sums[1] / sums[0]) if sums[0] else "-"
        yield (
            f"all operators {texts[0]} ms against {texts[1]} ms: "
            f"{_difference(found.difference_ns)} ms, {ratio}"
        )
    for name, one, others in (("base", "base", "head"), ("head", "head", "base")):
        alone = [pair for pair in found.pairs if getattr(pair, others) is None]
        if alone:
            total = sum(getattr(pair, one).time_ns or 0.0 for pair in alone) / 1e6
            yield f"only in {name}: {len(alone)} operators, {numbers.significant(total)} ms"
    if any(side.near_resolution for side in (found.base, found.head)):
        yield "~ within ten steps of a profiler's clock; a difference within one step"
    left = found.base.left_out + found.head.left_out
    if left:
        yield f"{left:,} operators are only in the sums and not compared"
    yield "one process on each side: a difference of a few per cent may be chance"


def _table(*columns: tuple[str, int, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name, width in (("operator", _OPERATOR), ("output", _OUTPUT), ("shape", _SHAPE)):
        table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
    for name, width, justify in columns:
        table.add_column(
            name, min_width=width, no_wrap=True, justify="right" if justify == "right" else "left"
        )
    return table
