"""What quantization-aware training will do with every layer, and why, before it starts."""

from __future__ import annotations

from typing import Any

from harness.recipes.training.data import LayerReport, Status
from harness.recipes.training.graph import calls, foldable_into, has_graph
from harness.recipes.training.scheme import registry

#: Activations inside a layer that are emulated as TensorFlow Lite runs them.
_ACTIVATIONS = frozenset({"linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh"})
#: The same for ``Activation`` layers.
_ACTIVATION_LAYERS = _ACTIVATIONS | {"relu6"}

_CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"})
_SPLIT = frozenset({"SeparableConv1D", "SeparableConv2D"})
_RECURRENT = frozenset(
    {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
)
_ATTENTION = frozenset({"MultiHeadAttention", "Attention", "AdditiveAttention"})
_OPERATIONS = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod"})

Finding = tuple[Status, str]


def preflight(model: Any) -> tuple[LayerReport, ...]:
    """One report per layer, in the model's order; no training, nothing changed.

    A Keras 3 model is judged as what it becomes in Keras 2.
    """
    from harness.recipes.training.keras2 import to_keras2

    model = to_keras2(model)
    if not has_graph(model):
        reason = "the model has no graph of layers: it is subclassed or was never built"
        return (LayerReport(model.name, type(model).__name__, "unsupported", reason),)
    known = registry()
    return tuple(
        LayerReport(layer.name, type(layer).__name__, *_judge(model, layer, known))
        for layer in model.layers
    )


def _judge(model: Any, layer: Any, known: Any) -> Finding:
    kind = type(layer).__name__
    if kind == "InputLayer":
        return _input(layer)
    refused = _refused(model, layer, kind)
    if refused:
        return "unsupported", refused
    if kind == "BatchNormalization":
        return _norm(model, layer, known)
    return _known(layer, kind, known)


def _input(layer: Any) -> Finding:
    if layer.dtype.startswith("float"):
        return "quantized", "its range is learned from the training samples"
    return "passed through", f"{layer.dtype} values are taken as they are"


def _refused(model: Any, layer: Any, kind: str) -> str:
    """Why a layer cannot be emulated by its nature; empty where it may be."""
    import tf_keras

    if isinstance(layer, tf_keras.Model):
        return "a model inside the model: build one flat model from its layers"
    if kind in _OPERATIONS:
        return "a TensorFlow function called on a tensor: use the Keras layer that does the same"
    if kind == "Lambda":
        return (
            "what a Lambda layer computes is not known, and it cannot be left out with "
            "partial = true either, because training copies the model: use Keras layers"
        )
    if kind in _RECURRENT:
        return "recurrent layers have no emulation of their integer kernels"
    if kind in _ATTENTION:
        return "attention layers have no emulation of their integer kernels"
    if not type(layer).__module__.startswith(("tf_keras.", "keras.")):
        return "a custom layer: what it computes is not known"
    if layer.compute_dtype != "float32":
        return f"it computes in {layer.compute_dtype}: only float32 is emulated"
    if len(calls(model, layer)) > 1:
        return "it is called more than once, and each call would need ranges of its own"
    return ""


def _norm(model: Any, layer: Any, known: Any) -> Finding:
    into = foldable_into(model, layer, _CONVOLUTIONS)
    if into is not None and _known(into, type(into).__name__, known)[0] == "quantized":
        return "folded", f"into {into.name} by the converter"
    into = foldable_into(model, layer, frozenset({"Dense"}))
    if into is not None and tuple(layer.axis) == (len(layer.input_shape) - 1,):
        return "folded", f"into the weights of {into.name} before training"
    return "unsupported", (
        "a BatchNormalization can be folded only into a convolution or Dense layer without "
        "activation right before it, whose output nothing else takes"
    )


def _known(layer: Any, kind: str, known: Any) -> Finding:
    function = getattr(getattr(layer, "activation", None), "__name__", None)
    if kind == "Activation":
        if function not in _ACTIVATION_LAYERS:
            return "unsupported", f"the activation {function} is not emulated"
        if function in ("relu", "relu6", "swish", "gelu"):
            return "quantized", ""
        return "passed through", "its output range is fixed"
    if kind in _SPLIT:
        if layer.padding == "causal":
            return "unsupported", "causal padding is not emulated"
        if function not in _ACTIVATIONS:
            return "unsupported", f"its activation {function} is not emulated"
        return "quantized", "as a depthwise and a pointwise convolution"
    if not known.supports(layer):
        return "unsupported", f"{kind} layers are not emulated"
    if function is not None and function not in _ACTIVATIONS:
        return "unsupported", f"its activation {function} is not emulated"
    config = known.get_quantize_config(layer)
    if config.weight_attrs or config.quantize_output:
        return "quantized", ""
    return "passed through", "it keeps its input's values and range"
