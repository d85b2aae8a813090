"""Progress on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.cli.shared.pace import Paced
from harness.domain import JobStatus, Stage
from harness.orchestrate import events

Say = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Lines for who reads a log."""
    print(text, file=sys.stderr, flush=True)


def listener() -> AbstractContextManager[events.Listener]:
    """A listener for the events of a run."""
    columns = (BarColumn(bar_width=24), _AtLeast(), TimeElapsedColumn(), TimeRemainingColumn())
    return live(_Bars, *columns)


@contextmanager
def live(
    shown: Callable[[Progress, Say], events.Listener], *columns: ProgressColumn
) -> Iterator[events.Listener]:
    """``shown`` on a terminal, a line with ``columns`` behind what is done now; else ``Lines``.

    Either writes at most ten times a second.
    """
    console = Console(stderr=True, emoji=False, highlight=False)
    if not console.is_terminal:
        with Paced(to_stderr) as paced:
            yield Lines(paced.say)
        return
    with (
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *columns,
            console=console,
            transient=True,
            refresh_per_second=8,
        ) as bars,
        Paced(lambda text: console.print(text, markup=False)) as paced,
    ):
        yield shown(bars, paced.say)


class _AtLeast(MofNCompleteColumn):
    """``7/20``, or ``7/20+`` where the total may grow."""

    def render(self, task: Task) -> Text:
        text = super().render(task)
        return text.append("+") if task.fields.get("more") else text


#: Seconds between two lines of one long conversion.
_QUIET = 5.0


class Lines:
    """One line per event that is worth one, as ``write`` writes them."""

    def __init__(self, write: Say = to_stderr) -> None:
        self._write = write
        self._begin = time.monotonic()
        self._told = 0.0

    def __call__(self, event: events.Event) -> None:
        """See ``events.Listener``."""
        if isinstance(event, events.Converting):
            self.say_of_conversion(f"  {event.model}/{event.recipe}", event.said)
        elif text := describe(event):
            self.say(text)

    def say(self, text: str) -> None:
        """One line, with the seconds since the first."""
        elapsed = time.monotonic() - self._begin
        self._write(f"[{elapsed:6.1f}s] {text}")

    def say_of_conversion(self, what: str, said: Mapping[str, Any]) -> None:
        """How far a long conversion is, where that is worth a line."""
        now = time.monotonic()
        if worth_a_line(said, now - self._told):
            self._told = now
            self.say(f"{what}: {conversion(said)}")


class _Bars:
    """The same lines above one bar of trials."""

    def __init__(self, bars: Progress, say: Say) -> None:
        self._bars, self._say = bars, say
        self._trials = bars.add_task("preparing", total=None)
        self._total = 0

    def __call__(self, event: events.Event) -> None:
        text = describe(event)
        if isinstance(event, events.Converting):
            self._bars.update(self._trials, description=(text or "").strip())
        elif text:
            self._say(text)
        if isinstance(event, events.RunStarted):
            self._total = event.trials
            self._bars.update(self._trials, total=self._total, more=event.more)
        elif isinstance(event, events.TrialAdded):
            self._total += 1
            self._bars.update(self._trials, total=self._total)
        elif isinstance(event, events.PushProgress):
            share = f"{event.sent / 1e6:.1f} of {event.total / 1e6:.1f} MB"
            self._bars.update(self._trials, description=f"push to {event.device}: {share}")
        elif isinstance(event, events.TrialStarted):
            self._bars.update(self._trials, description=_trial(event))
        elif isinstance(event, events.TrialEnded) and event.error is None:
            self._bars.advance(self._trials)
        elif isinstance(event, events.JobSealed) and event.status is not JobStatus.OK:
            self._bars.advance(self._trials, event.trials_dropped)


def _trial(event: events.TrialStarted) -> str:
    count = f" {event.index + 1}/{event.of}" if event.stage is Stage.LATENCY else ""
    return f"{event.job.label}: {event.stage.value}{count}{'+' if event.more else ''}"


def describe(event: events.Event) -> str | None:
    """An event in words, or nothing for what only a bar shows."""
    if isinstance(event, events.RunStarted):
        verb = "resumed" if event.resumed else "started"
        least = "at least " if event.more else ""
        return f"run {event.run} {verb}: {event.jobs} jobs, {least}{event.trials} agent processes"
    if isinstance(event, events.Preparing):
        return event.text
    if isinstance(event, events.VariantReady):
        name = f"{event.model}/{event.recipe}"
        if event.error:
            return f"  {name}: failed: {event.error}"
        how = "from the cache" if event.cached else "as it is"
        if event.seconds is not None and not event.cached:
            how = f"converted in {event.seconds:.1f} s"
        return f"  {name}: {event.size_bytes:,} bytes, {how}"
    if isinstance(event, events.Converting):
        return f"  {event.model}/{event.recipe}: {conversion(event.said)}"
    if isinstance(event, events.DeviceConnected):
        sent = f"{event.bytes_sent:,} bytes sent" if event.bytes_sent else "nothing to send"
        return f"{event.device}: connected, {sent}"
    if isinstance(event, events.TrialAdded) and event.first:
        return f"  {event.job.label}: {_known(event)}: further trials"
    if isinstance(event, events.TrialEnded) and event.again:
        return f"  {event.job.label}: {event.stage.value} failed, once more: {event.error}"
    if isinstance(event, events.DeviceSetAside):
        return f"{event.device}: set aside, {event.jobs} jobs are open: {event.reason}"
    if isinstance(event, events.FaultUnstruck):
        when = " since the run was resumed" if event.resumed else ""
        return f"{event.device}: the fault {event.fault!r} never struck{when}"
    if isinstance(event, events.JobSealed):
        return f"  {event.job.label}: {event.status.value}: {event.summary}"
    if isinstance(event, events.RoundEnded):
        from harness.reports.ab_text import round_line  # others need not wait for it

        return round_line(event.a, event.b, event.standing)
    return None


def _known(event: events.TrialAdded) -> str:
    width = event.half_width
    found = "no telling how precise" if width is None else f"±{100 * width:.2g} %"
    return f"{found} after {event.trials} trials, wanted ±{100 * event.wanted:g} %"


def worth_a_line(said: Mapping[str, Any], since: float) -> bool:
    """Whether it is said on a line of its own, ``since`` seconds after the last one."""
    ended = said.get("event") not in (None, "step") or said.get("done") == said.get("of", 0)
    return ended or since >= _QUIET


def conversion(said: Mapping[str, Any]) -> str:
    """What a long conversion says of itself, in words."""
    parts = [str(said.get("phase", "converting"))]
    if "epoch" in said:
        parts.append(f"epoch {said['epoch']} of {said['epochs']}")
    if "done" in said:
        parts.append(f"{said['done']} of {said['of']}")
    for name in ("loss", "metric", "val_loss", "val_metric"):
        if said.get(name) is not None:
            parts.append(f"{name} {said[name]:.4g}")
    if said.get("remaining_seconds") is not None:
        parts.append(f"about {said['remaining_seconds']:.0f} s left")
    return ", ".join(parts)
