"""How layers are emulated in training: the 8-bit scheme of tensorflow-model-optimization, mended.

Differences to its default, each found by converting and reading the file:

- Depthwise kernels have one scale per channel, as TensorFlow Lite runs them, not one for all
  channels. The range is taken over a (1, h, w, channels) view, which is the layout the
  converter brings such kernels into, so that its own reshape and this one cancel out.
- A layer followed by a ReLU layer keeps the emulation of its weights; by default it loses
  that together with the emulation of its output.
- Layers that the pruning- and cluster-preserving registries do not know are emulated as
  usual instead of refused.
- A layer that is left in float stays so, also where an emulated one takes its output.
- A clustered kernel keeps its values as a whole; see ``_whole_kernel``.
- ``Multiply``, ``Subtract`` and ``MaxPooling1D`` are known.

The classes derive from that package's, so they are made on first use, in a conversion process.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, cast

from harness.recipes.training.data import Settings
from harness.recipes.training.ranges import follow

Preserve = Literal["nothing", "sparsity", "clusters"]

_WEIGHTS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}


def registry(preserve: Preserve = "nothing", left: frozenset[str] = frozenset()) -> Any:
    """The ``QuantizeRegistry`` that says how each layer is emulated, but for those ``left`` out."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as default,
    )
    from tf_keras import layers

    preserving = _preserving(preserve)
    config = default.Default8BitQuantizeConfig
    more: dict[Any, tuple[list[str], list[str], bool]] = {
        layers.Multiply: ([], [], True),
        layers.Subtract: ([], [], True),
        layers.MaxPooling1D: ([], [], False),
    }

    class Registry(default.Default8BitQuantizeRegistry):  # type: ignore[misc]
        def supports(self, layer: Any) -> bool:
            if layer.name in left:
                return False
            return type(layer) in more or bool(super().supports(layer))

        def get_quantize_config(self, layer: Any) -> Any:
            if type(layer) in more:
                return config(*more[type(layer)])
            return self.adapt(layer, super().get_quantize_config(layer))

        def adapt(self, layer: Any, found: Any) -> Any:
            """The configuration with this scheme's quantizer of the layer's weights."""
            if isinstance(layer, layers.DepthwiseConv2D):
                found.weight_quantizer = _depthwise_quantizer()
            elif preserving is not None and type(layer) in (layers.Conv2D, layers.Dense):
                preserving(layer, found)
            return found

    return Registry()


def _preserving(preserve: Preserve) -> Callable[[Any, Any], Any] | None:
    """What gives a layer's configuration the weight quantizer that preserves."""
    if preserve == "nothing":
        return None
    base = "tensorflow_model_optimization.python.core.quantization.keras.collab_opts"
    if preserve == "sparsity":
        module = import_module(f"{base}.prune_preserve.prune_preserve_quantize_registry")
        inner = module.PrunePreserveQuantizeRegistry()
        return cast(Callable[[Any, Any], Any], inner.apply_sparsity_preserve_quantize_config)
    module = import_module(f"{base}.cluster_preserve.cluster_preserve_quantize_registry")
    setattr(module, "get_centroids", _whole_kernel)  # noqa: B010  it is a module of others
    inner = module.ClusterPreserveQuantizeRegistry(preserve_sparsity=False)
    return cast(Callable[[Any, Any], Any], inner.apply_cluster_preserve_quantize_config)


def _whole_kernel(layer: Any, weight: Any, data_format: Any) -> tuple[Any, Any, Any, bool]:
    """The values of a kernel, its indices into them, and that they are not per channel.

    Put in place of the package's own function, which takes a convolution whose channels
    happen to use equally many values for one that was clustered per channel; each channel
    would then move its values apart, and the kernel would end with many more than asked for.
    """
    import tensorflow as tf

    values, indices = tf.unique(tf.reshape(weight, (-1,)))
    return values, tf.size(values), tf.reshape(indices, weight.shape), False


def _depthwise_quantizer() -> Any:
    import tensorflow as tf
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    class DepthwiseQuantizer(quantizers.LastValueQuantizer):  # type: ignore[misc]
        """The last range of each channel of a (h, w, channels, multiplier) kernel."""

        def __init__(self) -> None:
            super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            shape = (int(tensor_shape[-2]) * int(tensor_shape[-1]),)

            def bound(suffix: str, value: float) -> Any:
                initial = tf_keras.initializers.Constant(value)
                return layer.add_weight(
                    name + suffix, shape=shape, initializer=initial, trainable=False
                )

            return {"min_var": bound("_min", -6.0), "max_var": bound("_max", 6.0)}

        def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
            height, width, channels, multiplier = inputs.shape
            view = tf.reshape(inputs, (1, height, width, channels * multiplier))
            quantized = super().__call__(view, training, weights, **kwargs)
            return tf.reshape(quantized, inputs.shape)

    return DepthwiseQuantizer()


def scheme(preserve: Preserve, left: frozenset[str]) -> Any:
    """The ``QuantizeScheme`` over ``registry(preserve, left)``."""
    from tensorflow_model_optimization.python.core.quantization.keras import (
        quantize_layout_transform,
        quantize_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_layout_transform as default_layout,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as default,
    )

    emulated = registry(preserve, left)

    class Layout(quantize_layout_transform.QuantizeLayoutTransform):  # type: ignore[misc]
        def apply(self, model: Any, layer_quantize_map: Any) -> Any:
            transform = default_layout.Default8BitQuantizeLayoutTransform()
            transformed, chosen = transform.apply(model, layer_quantize_map)
            for layer in transformed.layers:
                entry = chosen.get(layer.name) or {}
                found = entry.get("quantize_config")
                kernel = _WEIGHTS.get(type(layer).__name__)
                if kernel is None or found is None:
                    continue
                if isinstance(found, configs.NoOpQuantizeConfig):
                    of_kind = (
                        default.Default8BitQuantizeConfig
                        if kernel == "kernel" and type(layer).__name__ == "Dense"
                        else default.Default8BitConvQuantizeConfig
                    )
                    found = of_kind([kernel], [], False)
                entry["quantize_config"] = emulated.adapt(layer, found)
            return transformed, chosen

    class Scheme(quantize_scheme.QuantizeScheme):  # type: ignore[misc]
        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return emulated

    return Scheme()


def emulate(model: Any, annotated: frozenset[str], preserve: Preserve, settings: Settings) -> Any:
    """A copy of ``model`` that computes the layers named in ``annotated`` as integers would."""
    import tf_keras
    from tensorflow_model_optimization.quantization.keras import (
        quantize_annotate_layer,
        quantize_apply,
    )

    def annotate(layer: Any) -> Any:
        return quantize_annotate_layer(layer) if layer.name in annotated else layer

    marked = tf_keras.models.clone_model(model, clone_function=annotate)
    left = frozenset(layer.name for layer in model.layers) - annotated
    emulating = quantize_apply(marked, scheme(preserve, left))
    follow(emulating, settings)
    return emulating
