"""Two variants or two runtimes in turns, from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.config.devices import find_device
from harness.config.sources import joined_dataset, source_model
from harness.decide.ab import MIN_EFFECT, MIN_ROUNDS, Contest
from harness.domain import Backend, Device, Policy, Preprocessing
from harness.errors import UsageError
from harness.orchestrate import ab as turns
from harness.orchestrate.events import Listener
from harness.orchestrate.pair import Bounds
from harness.orchestrate.stop import Stop
from harness.store import DEFAULT_STORE, Store
from harness.transports import TRANSPORTS


@dataclass(frozen=True, slots=True, repr=False)
class AbResult:
    """What ``ab`` found; ``contest.standing`` has the ratio of latencies B / A."""

    contest: Contest

    def __repr__(self) -> str:
        return f"<{self.sentence}>"

    @property
    def answer(self) -> str:
        """``faster`` or ``slower`` of B, ``no difference that matters``, ``cannot tell yet``."""
        return str(self.contest.standing.answer.value)

    @property
    def sentence(self) -> str:
        """The answer as people read it."""
        from harness.reports.ab_text import sentence

        return sentence(self.contest)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary for A and one for B."""
        from harness.reports.ab_rows import rows

        return rows(self.contest)

    def text(self, format: str = "table", width: int = 100) -> str:
        """The comparison as ``table``, ``json``, ``csv`` or ``markdown``."""
        from harness.reports.ab_rows import FORMS

        if format not in FORMS:
            raise UsageError(f"unknown format {format!r}", hint="known: " + ", ".join(FORMS))
        return FORMS[format](self.contest, width)


def ab(
    model_a: str,
    model_b: str | None = None,
    *,
    device: str = "local",
    device_b: str | None = None,
    backend: str | None = None,
    backend_b: str | None = None,
    recipe: str | None = None,
    recipe_a: str | None = None,
    recipe_b: str | None = None,
    data: str | None = None,
    calibration: str | None = None,
    training: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: tuple[int, int] | None = None,
    min_effect: float = MIN_EFFECT,
    min_rounds: int = MIN_ROUNDS,
    max_rounds: int = 100,
    max_minutes: float = 10,
    policy: Policy | None = None,
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> AbResult:
    """Measure two variants or runtimes on one device in turns, until it is clear which is faster.

    ``model_b`` is ``model_a`` where it is left out, and so are device, backend and recipe of B;
    ``recipe`` is of both. ``device_b`` is a second profile of the same board. Without ``data``
    samples are made up for ready ``.tflite`` files. ``min_effect`` is a share (0.02: 2 %).
    ``policy`` says how a trial measures. Raises ``UsageError`` for what can never work; what
    fails later is in the result.
    """
    if data is None and (calibration or training):
        raise UsageError("samples to convert with, and none to measure with", hint="give data too")
    bounds = Bounds(min_effect, min_rounds, max_rounds, max_minutes * 60)
    first = find_device(device, TRANSPORTS)
    second = first if device_b is None else find_device(device_b, TRANSPORTS)
    dataset = None if data is None else joined_dataset(data, calibration, training, image_size)
    a = turns.Side(
        source_model(model_a, preprocessing),
        recipe_a or recipe or "",
        first,
        _backend(first, backend),
    )
    b = turns.Side(
        source_model(model_b or model_a, preprocessing),
        recipe_b or recipe or "",
        second,
        _backend(second, backend_b or backend),
    )
    opened = store if isinstance(store, Store) else Store(store, create=True)
    return AbResult(turns.ab(opened, a, b, dataset, bounds, policy=policy, tell=tell, stop=stop))


def _backend(device: Device, text: str | None) -> Backend:
    """The device's own, or one that it offers; raises ``UsageError``."""
    if text is None:
        return device.default_backend
    try:
        backend = Backend.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if backend.accelerator not in device.accelerators:
        raise UsageError(
            f"device {device.name} does not offer {backend.accelerator}, only "
            + ", ".join(device.accelerators)
        )
    cores = device.simulation.get("cores")
    if backend.accelerator == "cpu" and cores is not None and backend.threads > cores:
        raise UsageError(f"device {device.name} has {cores} cores, not {backend.threads}")
    if device.runner(backend) == "benchmark_model" and not device.link.get("benchmark_model"):
        raise UsageError(
            f"device {device.name}: {backend} is run by benchmark_model, and none is set",
            hint="set benchmark_model of this device to the binary's path or URL",
        )
    return backend
