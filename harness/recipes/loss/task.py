"""The whole examination of one recipe, in a child of the conversion process."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConversionError
from harness.models import metadata
from harness.recipes.conversion import Tell, prepare
from harness.recipes.loss.ablation import Outcome, judge, outputs
from harness.recipes.loss.local import LocalError, local_errors
from harness.recipes.loss.operators import load, pair
from harness.recipes.requantize import FloatFile
from harness.recipes.shared import keep_float

if TYPE_CHECKING:
    pass


def debug(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Rank the operators of ``quantized`` against ``float_file``; the answer goes to ``out``.

    ``samples`` and ``labels`` are evaluation files, ``calibration`` one of stored samples;
    ``local_samples`` are used for the local errors, ``worst`` operators kept in float.
    """
    import numpy as np

    from harness.recipes import parse_recipe

    float_content = metadata.original(Path(request["float_file"]).read_bytes())
    file = FloatFile(float_content)
    inputs = prepare(
        np.load(request["samples"], allow_pickle=False),
        request["preprocessing"],
        file.input_shape(),
        "evaluation",
    )
    labels = np.load(request["labels"], allow_pickle=False) if request["labels"] else None
    calibration = None
    if request["calibration"]:
        stored = np.load(request["calibration"], allow_pickle=False)
        calibration = prepare(stored, request["preprocessing"], file.input_shape(), "calibration")
    chosen = parse_recipe(request["recipe"])
    quantized = metadata.original(Path(request["quantized"]).read_bytes())
    pairs = pair(load(float_content), load(quantized))
    some = inputs[np.linspace(0, len(inputs) - 1, request["local_samples"]).astype(int)]
    errors = local_errors(
        float_content, quantized, pairs, some,
        lambda done, of: tell({"step": "local errors", "epoch": done, "epochs": of})
        if done % 16 == 0 or done == of else None,
    )  # fmt: skip
    exact = outputs(float_content, inputs)
    configure = chosen.recipe.quantize
    if configure is None:
        raise ConversionError(f"{chosen.text} cannot leave operators in float")

    def kept(names: Sequence[str]) -> Outcome:
        def configured(quantizer: Any, values: Any, operators: Any) -> None:
            configure(quantizer, values, operators)
            keep_float(quantizer, names)

        content = file.quantize(configured, chosen.values, calibration)
        return judge(content, inputs, labels, exact)

    suspects = _worst(errors, request["worst"])
    baseline = kept([])
    effects: dict[str, Outcome] = {}
    for number, error in enumerate(suspects):
        effects[error.pair.name] = kept([error.pair.name])
        tell({"step": "keeping operators in float", "epoch": number + 1, "epochs": len(suspects)})
    noise = accuracy_noise(baseline.agreement, len(inputs))
    ranked = sorted(
        suspects, key=lambda item: _gain(effects[item.pair.name], baseline, noise), reverse=True
    )
    together = []
    for count in range(1, len(ranked) + 1):
        names = [item.pair.name for item in ranked[:count]]
        together.append(
            {"keep_float": [item.pair.layer for item in ranked[:count]], **asdict(kept(names))}
        )
        tell({"step": "keeping several in float", "epoch": count, "epochs": len(ranked)})
    found = {
        "recipe": chosen.identity,
        "samples": len(inputs),
        "local_samples": len(some),
        "float_file": asdict(judge(float_content, inputs, labels, exact)),
        "deployed": asdict(judge(quantized, inputs, labels, exact)),
        "quantized": asdict(baseline),
        "accuracy_noise": noise,
        "operators": _rows(errors, effects, baseline, noise),
        "together": together,
    }
    Path(request["out"]).write_text(json.dumps(found))
    return {}


def _worst(errors: Sequence[LocalError], count: int) -> list[LocalError]:
    """The operators that look worst by steps of error, and those with the least signal left."""
    by_steps = sorted(errors, key=lambda item: item.rmse_over_scale or 0.0, reverse=True)
    by_signal = sorted(errors, key=lambda item: item.snr_db if item.snr_db is not None else 1e9)
    mixed: dict[int, LocalError] = {}
    for first, second in zip(by_steps, by_signal, strict=True):
        for item in (first, second):
            if len(mixed) < count:
                mixed.setdefault(item.pair.index, item)
    return list(mixed.values())


def accuracy_noise(agreement: float | None, samples: int) -> float:
    """Two standard errors of a difference of accuracies on the same samples.

    Only samples on which two files disagree can change their difference (McNemar); without
    knowing which is right, the variance is at most that share over the number of samples.
    """
    share = 0.0 if agreement is None else 1 - agreement
    return 2 * math.sqrt(share / samples)


def _gain(kept: Outcome, baseline: Outcome, noise: float) -> tuple[float, float]:
    """Accuracy won beyond the noise, then decibels; equal outputs are the most that can be won."""
    accuracy = (kept.accuracy or 0.0) - (baseline.accuracy or 0.0)
    decibels = (1e3 if kept.snr_db is None else kept.snr_db) - (baseline.snr_db or 0.0)
    return accuracy if accuracy > noise else 0.0, decibels


def _rows(
    errors: Sequence[LocalError],
    effects: Mapping[str, Outcome],
    baseline: Outcome,
    noise: float,
) -> list[dict[str, Any]]:
    rows = []
    for error in errors:
        effect = effects.get(error.pair.name)
        rows.append(
            {
                "index": error.pair.index,
                "kind": error.pair.kind,
                "name": error.pair.name,
                "layer": error.pair.layer,
                "rmse": error.rmse,
                "scale": error.scale,
                "rmse_over_scale": error.rmse_over_scale,
                "snr_db": error.snr_db,
                "range": [error.low, error.high],
                "kept_float": asdict(effect) if effect else None,
                "accuracy_gain": _difference(
                    effect.accuracy if effect else None, baseline.accuracy
                ),
                "snr_gain_db": _difference(effect.snr_db if effect else None, baseline.snr_db),
            }
        )
    order = {name: _gain(outcome, baseline, noise) for name, outcome in effects.items()}
    return sorted(
        rows,
        key=lambda row: (
            row["name"] in order,
            order.get(row["name"], (0.0, 0.0)),
            row["rmse_over_scale"] or 0.0,
        ),
        reverse=True,
    )


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base
