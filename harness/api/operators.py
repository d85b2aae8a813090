"""Profiles of operators: of one run, and two compared."""

from __future__ import annotations

from harness.api.runs import RunResult
from harness.reports.profiles import ComparedProfiles, compared_profiles


def compare_operators(
    base: RunResult,
    head: RunResult | None = None,
    *,
    model: str | None = None,
    recipe: str | None = None,
    device: str | None = None,
    backend: str | None = None,
    against_recipe: str | None = None,
    against_device: str | None = None,
    against_backend: str | None = None,
    across_kinds: bool = False,
) -> list[ComparedProfiles]:
    """Every profiled job of ``base`` that is chosen with its like in ``head`` (the same run).

    The like differs only in what ``against_...`` names. ``.comparison.pairs`` has the operators,
    the largest difference first. Raises ``UsageError`` where there is nothing to compare, and for
    devices of two kinds unless ``across_kinds``.
    """
    return compared_profiles(
        base.view,
        (head or base).view,
        {"model": model, "recipe": recipe, "device": device, "backend": backend},
        {"recipe": against_recipe, "device": against_device, "backend": against_backend},
        across_kinds=across_kinds,
    )
