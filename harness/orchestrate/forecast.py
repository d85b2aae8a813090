"""What a plan will cost: variants to make, bytes to push, time."""

from __future__ import annotations

from typing import Any

from harness.devices.bundle import agent_bundle
from harness.errors import HarnessError
from harness.orchestrate.plan import Plan, resolve
from harness.orchestrate.prepare import Data, DataKey, load_data
from harness.recipes import RECIPES
from harness.recipes.builder import BuildRequest, cached
from harness.recipes.builtin import PREFIX, builtin_path

#: Where a variant is not in the cache: its size over that of the source file.
_SIZE_GUESS = 0.5


def forecast(plan: Plan) -> dict[str, Any]:
    """Jobs, variants and how many are cached, bytes per device, seconds; touches no device."""
    suite = plan.suite
    data: dict[DataKey, Data] = {}
    for model in suite.models:
        if (model.dataset, model.task) not in data:
            needs = any(RECIPES[name].needs_calibration for name in suite.recipes)
            data[model.dataset, model.task] = load_data(
                suite.datasets[model.dataset], with_calibration=needs, task=model.task
            )
    sizes: dict[tuple[str, str], int] = {}
    in_cache = 0
    for model in suite.models:
        for recipe in suite.recipes:
            builtin = model.source.removeprefix(PREFIX)
            if model.source.startswith(PREFIX) and not builtin_path(builtin).exists():
                sizes[model.name, recipe] = 300_000
                continue
            resolved = resolve(model)
            samples = data[model.dataset, model.task]
            try:
                found = cached(
                    BuildRequest(
                        resolved, recipe, samples.calibration, samples.calibration_sha256,
                        samples.calibration_count, model.preprocessing,
                    )
                ) if resolved.convertible else None  # fmt: skip
            except HarnessError:
                found = None
            in_cache += found is not None or not resolved.convertible
            source = resolved.path.stat().st_size
            guess = int(source * _SIZE_GUESS) if resolved.convertible else source
            sizes[model.name, recipe] = found.size_bytes if found else guess
    variants = sum(sizes.values())
    shared = (
        sum({item.samples.sha256: item.samples.size for item in data.values()}.values())
        + agent_bundle().size
    )
    most = max((item.count for item in data.values()), default=0)
    return {
        "suite": suite.name,
        "jobs": [
            {
                "index": job.index,
                "model": job.model,
                "recipe": job.recipe,
                "device": job.device,
                "kind": job.kind.value,
                "backend": str(job.backend),
            }
            for job in plan.jobs
        ],
        "variants": len(sizes),
        "variants_cached": in_cache,
        "bytes_to_push": {device.name: variants + shared for device in suite.devices},
        "seconds": round(plan.seconds(most, len(sizes) - in_cache), 1),
    }
