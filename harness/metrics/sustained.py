"""What minutes under load do to a model's latency, and what the device says meanwhile.

A processor that becomes hot lowers its clock, which a trial of seconds never sees. The first and
the last minute are compared, each by the median of its intervals' medians: an interval, of a
second as a rule, is a block of consecutive inferences, which resemble each other. The interval of
their ratio is a bootstrap over those blocks (E. Carlstein, "The Use of Subseries Values for
Estimating the Variance of a General Statistic from a Stationary Sequence", Annals of Statistics
14, 1986). It is one process on one day: it says how this load went, not how the next one will.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.domain import Advisory, AdvisoryKind, Direction, Measurement
from harness.metrics.observations import Observations, TrialObservation

#: Seconds at the beginning and at the end that are compared; a third each of a shorter load.
WINDOW_S = 60.0

#: The last minute is clearly slower when the whole interval of the ratio is above this.
CLEARLY = 1.03

#: Evidence: so much of the first minute's frequency is left, or so many degrees have come.
_FREQUENCY_LEFT = 0.97
_WARMER_C = 5.0

_REPLICATES = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Load:
    """One load, an entry per interval: start and length in s, latencies in ms, inferences.

    ``temperature`` (°C) and ``frequency`` (MHz) are pairs of times in s and values, as they were
    read.
    """

    start: Floats
    length: Floats
    p5: Floats
    median: Floats
    p95: Floats
    runs: NDArray[np.int64]
    temperature: tuple[Floats, Floats]
    frequency: tuple[Floats, Floats]

    @property
    def seconds(self) -> float:
        """From the first to the last inference."""
        return float(self.start[-1] + self.length[-1] - self.start[0])

    @property
    def window(self) -> float:
        """The seconds at either end that are compared."""
        return min(WINDOW_S, self.seconds / 3)

    def first(self, times: Floats) -> NDArray[np.bool_]:
        """Which of these times are in the first window."""
        begin = float(self.start[0])
        return np.asarray((times >= begin) & ((times < begin + self.window) | (times == begin)))

    def last(self, times: Floats) -> NDArray[np.bool_]:
        """Which of these times are in the last window: the last interval always is."""
        end = self.start[-1] + self.length[-1]
        return np.asarray(times >= min(self.start[-1], end - self.window))


def load_of(trial: TrialObservation) -> Load | None:
    """A trial's observations by interval; ``None`` where a load left too little to compare."""
    starts, durations = trial.at.get("sustained"), trial.phases.get("sustained")
    begins, lengths = trial.at.get("interval"), trial.phases.get("interval")
    runs = trial.phases.get("runs")
    if starts is None or durations is None or begins is None or lengths is None or runs is None:
        return None
    if len(runs) != len(begins):
        return None
    order = np.argsort(begins, kind="stable")
    begins, lengths = begins[order], lengths[order]
    place = np.searchsorted(begins, starts, side="right") - 1
    rows = []
    for index in range(len(begins)):
        values = durations[place == index] / 1e6
        if len(values):
            p5, median, p95 = np.percentile(values, [5, 50, 95])
            rows.append((begins[index] / 1e9, lengths[index] / 1e9, p5, median, p95,
                         runs[order][index]))  # fmt: skip
    if len(rows) < 3:
        return None
    table = np.asarray(rows, dtype=np.float64)
    return Load(
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3],
        table[:, 4],
        table[:, 5].astype(np.int64),
        _readings(trial, "temperature", 1e3),
        _readings(trial, "frequency", 1e3),
    )


def _readings(trial: TrialObservation, phase: str, per: float) -> tuple[Floats, Floats]:
    at, values = trial.at.get(phase, np.empty(0)), trial.phases.get(phase, np.empty(0))
    return at / 1e9, values / per


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """Latency of both ends and their ratio, throughput over the whole, temperature, frequency.

    Temperatures: before the load, at its end, and the highest. Frequencies are means over
    either end, and the lowest reading under load. Empty without a load.
    """
    load = _newest(observations)
    if load is None:
        return ()
    # As Python counts them: no sum of a device's numbers may overflow.
    runs = sum(load.runs.tolist())
    busy = float(load.length.sum())
    first, last, ratio = _ends(load, observations.policy.seed)
    lower, higher = Direction.LOWER, Direction.HIGHER
    at_first, at_last = (
        sum(load.runs[end(load.start)].tolist()) for end in (load.first, load.last)
    )
    found = [
        Measurement("sustained_first", first, "ms", lower, at_first),
        Measurement("sustained_last", last, "ms", lower, at_last),
        *(
            []
            if ratio is None
            else [Measurement("sustained_ratio", ratio[0], "ratio", lower, runs, *ratio[1:])]
        ),
        Measurement("sustained_seconds", load.seconds, "s", higher, runs),
    ]
    if busy > 0:
        found.insert(-1, Measurement("sustained_throughput", runs / busy, "1/s", higher, runs))
    _, degrees = load.temperature
    if len(degrees):
        for name, value in (
            ("temperature_start", degrees[0]),
            ("temperature_end", degrees[-1]),
            ("temperature_max", degrees.max()),
        ):
            found.append(Measurement(name, float(value), "°C", lower, len(degrees)))
    ends = _frequencies(load)
    if ends is not None:
        at, mhz = load.frequency
        under = mhz[at >= load.start[0]]
        for name, value in (
            ("frequency_start", ends[0]),
            ("frequency_end", ends[1]),
            ("frequency_min", float(under.min())),
        ):
            found.append(Measurement(name, value, "MHz", higher, len(under)))
    return tuple(found)


def throttled(observations: Observations) -> Iterator[Advisory]:
    """The last minute clearly slower than the first, and the device says why."""
    load = _newest(observations)
    if load is None:
        return
    first, last, ends_ratio = _ends(load, observations.policy.seed)
    if ends_ratio is None or ends_ratio[1] <= CLEARLY:
        return
    ratio, low, high = ends_ratio
    why = []
    ends = _frequencies(load)
    if ends is not None and ends[1] < _FREQUENCY_LEFT * ends[0]:
        why.append(f"the clock went from {ends[0]:.0f} to {ends[1]:.0f} MHz")
    _, degrees = load.temperature
    if len(degrees) and degrees.max() - degrees[0] >= _WARMER_C:
        why.append(f"the temperature from {degrees[0]:.1f} to {degrees.max():.1f} °C")
    if why:
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"under load an inference of the last {load.window:.0f} s took {ratio:.2f} times "
            f"[{low:.2f}, {high:.2f}] as long as of the first ({last:.4g} against {first:.4g} ms), "
            f"and {' and '.join(why)}",
        )


def _newest(observations: Observations) -> Load | None:
    trials = observations.passes.get("sustained", ())
    return load_of(trials[-1]) if trials else None


def _ends(load: Load, seed: int) -> tuple[float, float, tuple[float, float, float] | None]:
    """Medians of both ends, ms, and their ratio with its interval; ``None`` over a clock's 0."""
    blocks = load.median[load.first(load.start)], load.median[load.last(load.start)]
    first, last = (float(np.median(block)) for block in blocks)
    rng = np.random.default_rng([seed, 0x5057])
    drawn = [
        np.median(block[rng.integers(0, len(block), (_REPLICATES, len(block)))], axis=1)
        for block in blocks
    ]
    if first <= 0 or drawn[0].min() <= 0:
        return first, last, None
    low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
    return first, last, (last / first, float(low), float(high))


def _frequencies(load: Load) -> tuple[float, float] | None:
    """Mean frequency under load of either end, MHz."""
    at, mhz = load.frequency
    first, last = mhz[load.first(at)], mhz[load.last(at)]
    return (float(first.mean()), float(last.mean())) if len(first) and len(last) else None
