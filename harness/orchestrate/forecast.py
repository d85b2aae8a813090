"""What a plan will cost: variants to make, bytes to push, time."""

from __future__ import annotations

from typing import Any

from harness.devices.bundle import agent_bundle
from harness.errors import HarnessError
from harness.orchestrate.data import Data, DataKey, data_key, load_data
from harness.orchestrate.plan import Plan, resolve
from harness.orchestrate.prepare import build_request
from harness.recipes import parse_recipe
from harness.recipes.making.builder import cached
from harness.recipes.making.builtin import PREFIX, builtin_path

#: Where a variant is not in the cache: its size over that of the source file.
_SIZE_GUESS = 0.5

#: Bytes, for a source that is no file.
_UNKNOWN_SIZE = 10_000_000


def forecast(plan: Plan) -> dict[str, Any]:
    """Jobs, variants and how many are cached, bytes per device, seconds; touches no device."""
    suite = plan.suite
    chosen = [parse_recipe(text) for text in suite.recipes]
    data: dict[DataKey, Data] = {}
    for model in suite.models:
        if data_key(model) not in data:
            data[data_key(model)] = load_data(suite.datasets[model.dataset], chosen, model)
    sizes: dict[tuple[str, str], int] = {}
    in_cache = 0
    for model in suite.models:
        for recipe in chosen:
            builtin = model.source.removeprefix(PREFIX)
            if model.source.startswith(PREFIX) and not builtin_path(builtin).exists():
                sizes[model.name, recipe.text] = 300_000
                continue
            resolved = resolve(model)
            try:
                request = build_request(resolved, recipe, suite, data[data_key(model)])
                found = None if recipe.recipe.unchanged else cached(request)
            except HarnessError:
                found = None
            in_cache += found is not None or recipe.recipe.unchanged
            source = resolved.path.stat().st_size if resolved.path.is_file() else _UNKNOWN_SIZE
            guess = source if recipe.recipe.unchanged else int(source * _SIZE_GUESS)
            sizes[model.name, recipe.text] = found.size_bytes if found else guess
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
        "seconds_at_most": round(plan.seconds(most, len(sizes) - in_cache, most=True), 1),
    }
