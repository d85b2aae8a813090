"""``float16``: weights stored in half precision, half the size."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values


def _convert(tf: Any, converter: Any, _values: Values) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _quantize(quantizer: Any, _values: Values, _operators: Operators) -> None:
    from ai_edge_quantizer import qtyping

    quantizer.update_quantization_recipe(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        "float_casting",
    )


RECIPE = Recipe(
    name="float16",
    summary="weights in 16-bit floats, arithmetic in float",
    convert=_convert,
    quantize=_quantize,
)
