"""The ranges of activations in an emulation: where they start and how they follow.

By default a range starts as [-6, 6] and moves by a thousandth of the difference in each
step, which takes thousands of steps to reach a layer whose values are far from it. Here a
few batches are looked at before training, and the ranges follow ten times as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.recipes.training.data import Settings

#: How much of a range one training step leaves as it was.
_DECAY = 0.99


def follow(model: Any, settings: Settings) -> None:
    """Give every activation of an emulation a range quantizer of ours, and all their widths."""
    quantizer = _range_quantizer(settings.activation_bits)
    for layer in model.layers:
        if type(layer).__name__ == "QuantizeLayer":
            layer.quantizer.num_bits = settings.activation_bits
    for layer in _emulated(model):
        for _, of_weight, _ in layer._weight_vars:
            of_weight.num_bits = settings.weight_bits
        for activation in layer._quantize_activations:
            activation.quantizer = quantizer
        layer._output_quantizers = [quantizer for _ in layer._output_quantizers]


def calibrate(model: Any, batches: Iterable[Any]) -> None:
    """Set the ranges to the mean over some batches; nothing else of the model changes."""
    before = model.get_weights()
    quantizers = {id(found): found for found in _range_quantizers(model)}.values()
    for number, batch in enumerate(batches):
        for quantizer in quantizers:
            quantizer.decay = number / (number + 1)
        model(batch, training=True)
    for quantizer in quantizers:
        quantizer.decay = _DECAY
    after = model.get_weights()
    names = [weight.name.split(":")[0] for weight in model.weights]
    model.set_weights(
        [
            new if name.endswith(("_min", "_max")) else old
            for name, old, new in zip(names, before, after, strict=True)
        ]
    )


def _emulated(model: Any) -> list[Any]:
    return [layer for layer in model.layers if hasattr(layer, "quantize_config")]


def _range_quantizers(model: Any) -> Iterator[Any]:
    for layer in _emulated(model):
        yield from (activation.quantizer for activation in layer._quantize_activations)
        yield from layer._output_quantizers


def _range_quantizer(bits: int) -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops, quantizers

    class RangeQuantizer(quantizers.MovingAverageQuantizer):  # type: ignore[misc]
        """A moving range whose speed can be set."""

        decay = _DECAY

        def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
            return quant_ops.MovingAvgQuantize(
                inputs,
                weights["min_var"],
                weights["max_var"],
                ema_decay=self.decay,
                is_training=training,
                num_bits=self.num_bits,
            )

    return RangeQuantizer(num_bits=bits, per_axis=False, symmetric=False, narrow_range=False)
