"""The whole examination of one recipe, in a child of the conversion process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConversionError
from harness.models import metadata
from harness.recipes.loss.ablation import Outcome, judge, outputs
from harness.recipes.loss.local import LocalError, local_errors
from harness.recipes.loss.operators import load, pair
from harness.recipes.making.conversion import Tell, in_batches, prepare
from harness.recipes.making.requantize import FloatFile
from harness.recipes.shared import keep_float

if TYPE_CHECKING:
    pass


def debug(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Rank the operators of ``quantized`` against ``float_file``; the answer goes to ``out``.

    ``samples`` and ``labels`` are evaluation files, ``calibration`` one of stored samples,
    ``output`` the index of the output to judge by;
    ``local_samples`` are used for the local errors, ``worst`` operators kept in float.
    """
    import numpy as np

    from harness.recipes import parse_recipe

    float_content = metadata.original(Path(request["float_file"]).read_bytes())
    file = FloatFile(float_content)
    shape, dtype = file.input("this examination")
    inputs = prepare(
        np.load(request["samples"], allow_pickle=False),
        request["preprocessing"],
        shape[1:],
        "evaluation",
        dtype,
    )
    labels = np.load(request["labels"], allow_pickle=False) if request["labels"] else None
    output = request["output"]
    exact = outputs(float_content, inputs, output)
    bad = np.flatnonzero(~np.isfinite(exact).all(axis=1))
    if bad.size:
        raise ConversionError(
            f"the float model's outputs of sample {bad[0]} hold NaN or infinite values, so there "
            "is nothing to compare with",
            hint="look for broken weights or inputs out of range",
        )
    if labels is not None and int(labels.max()) >= max(exact.shape[1], 2):
        raise ConversionError(
            f"the model has {exact.shape[1]} outputs, and the samples have the label "
            f"{int(labels.max())}",
            hint="the labels do not belong to this model",
        )
    calibration = None
    if request["calibration"]:
        stored = np.load(request["calibration"], allow_pickle=False)
        ready = prepare(stored, request["preprocessing"], shape[1:], "calibration", dtype)
        calibration = in_batches(ready, shape[0])
    chosen = parse_recipe(request["recipe"])
    quantized = metadata.original(Path(request["quantized"]).read_bytes())
    configure = chosen.recipe.quantize
    if configure is None:
        raise ConversionError(f"{chosen.text} cannot leave operators in float")

    def quantized_with(names: Sequence[str]) -> bytes:
        def configured(quantizer: Any, values: Any, operators: Any) -> None:
            configure(quantizer, values, operators)
            keep_float(quantizer, names)

        return file.quantize(configured, chosen.values, calibration)

    def kept(names: Sequence[str]) -> Outcome:
        return judge(quantized_with(names), inputs, labels, exact, output)

    examined = quantized_with(())
    pairs = pair(load(float_content), load(examined))
    some = inputs[np.linspace(0, len(inputs) - 1, request["local_samples"]).astype(int)]
    errors = local_errors(
        float_content, examined, pairs, some,
        lambda done, of: tell({"phase": "local errors", "done": done, "of": of})
        if done % 16 == 0 or done == of else None,
    )  # fmt: skip
    suspects = _worst(errors, request["worst"])
    baseline = kept([])
    effects: dict[str, Outcome] = {}
    for number, error in enumerate(suspects):
        effects[error.pair.name] = kept([error.pair.name])
        tell({"phase": "keeping operators in float", "done": number + 1, "of": len(suspects)})
    noise = accuracy_noise(baseline.agreement, len(inputs))
    judged = judge(float_content, inputs, labels, exact, output)
    together = _together(suspects, effects, judged, len(inputs), kept, tell)
    found = {
        "recipe": chosen.identity,
        "samples": len(inputs),
        "local_samples": len(some),
        "float_file": asdict(judged),
        "deployed": asdict(judge(quantized, inputs, labels, exact, output)),
        "quantized": asdict(baseline),
        "accuracy_noise": noise,
        "operators": _rows(errors, effects, baseline),
        "together": together,
    }
    Path(request["out"]).write_text(json.dumps(found))
    return {}


def _worst(errors: Sequence[LocalError], count: int) -> list[LocalError]:
    """The operators that look worst by steps of error, and those with the least signal left."""
    by_steps = sorted(errors, key=_harm, reverse=True)
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


def _together(
    suspects: Sequence[LocalError],
    alone: Mapping[str, Outcome],
    exact: Outcome,
    samples: int,
    kept: Callable[[Sequence[str]], Outcome],
    tell: Tell,
) -> list[dict[str, Any]]:
    """Forward selection: to what is in float already, add what wins most; until little is lost.

    Operators hide each other's harm, so the effect of one alone is a poor guide to several.
    """
    left = {error.pair.name: error.pair.layer for error in suspects}
    names: list[str] = []
    steps: list[dict[str, Any]] = []
    outcomes = dict(alone)
    while left:
        best = max(left, key=lambda name: _order(outcomes[name]))
        names.append(best)
        layers = [*(steps[-1]["keep_float"] if steps else ()), left.pop(best)]
        steps.append({"keep_float": layers, **asdict(outcomes[best])})
        tell({"phase": "keeping several in float", "done": len(names), "of": len(suspects)})
        reached, wanted = outcomes[best].accuracy, exact.accuracy
        noise = accuracy_noise(outcomes[best].agreement, samples)
        steps[-1]["accuracy_noise"] = noise
        if reached is not None and wanted is not None and reached >= wanted - noise / 4:
            break
        outcomes = {name: kept([*names, name]) for name in left}
    return steps


def _order(outcome: Outcome) -> tuple[float, float]:
    """Higher is better: accuracy in whole samples, then decibels; equal outputs are the best."""
    equal = math.inf if outcome.finite else -math.inf
    return outcome.accuracy or 0.0, equal if outcome.snr_db is None else outcome.snr_db


def _rows(
    errors: Sequence[LocalError], effects: Mapping[str, Outcome], baseline: Outcome
) -> list[dict[str, Any]]:
    """The operators, the largest error in steps of its output first."""
    rows = []
    for error in sorted(errors, key=_harm, reverse=True):
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
    return rows


def _harm(error: LocalError) -> tuple[float, float]:
    """By steps of the output's scale; float outputs by what is left of the signal."""
    signal = -math.inf if error.snr_db is None else -error.snr_db
    return error.rmse_over_scale or 0.0, signal


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base
