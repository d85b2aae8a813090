"""The error that each quantized operator makes by itself.

Each float operator is given what its quantized twin was given, dequantized; what the twin
makes of it is compared with what the float operator makes. So an operator is not blamed for
what came before it. RMSE over the output's scale is 1/sqrt(12) = 0.29 for rounding alone; the
quantity is that of TensorFlow Lite's QuantizationDebugger
(tensorflow.org/lite/performance/quantization_debugger).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.recipes.loss.operators import Pair, load

#: Operators that are more than a function of their inputs.
_STATEFUL = {
    "WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "RNN",
    "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "SVDF", "CUSTOM",
}  # fmt: skip


@dataclass(slots=True)
class LocalError:
    """Sums over samples; ``scale`` is the quantized output's (0: it is float).

    Values that are not finite, such as the logarithm of 0, have no error.
    """

    pair: Pair
    scale: float
    squares: float = 0.0
    signal: float = 0.0
    count: int = 0
    low: float = field(default=float("inf"))
    high: float = field(default=float("-inf"))

    def add(self, quantized: NDArray[Any], exact: NDArray[Any]) -> None:
        """One sample's output of both."""
        finite = np.isfinite(quantized) & np.isfinite(exact)
        if not finite.any():
            return
        exact = exact[finite]
        difference = quantized[finite].astype(np.float64) - exact
        self.squares += float(np.sum(difference * difference))
        self.signal += float(np.sum(np.square(exact, dtype=np.float64)))
        self.count += difference.size
        self.low, self.high = min(self.low, float(exact.min())), max(self.high, float(exact.max()))

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the output's own unit."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0

    @property
    def rmse_over_scale(self) -> float | None:
        """In steps of the output's scale; ``None`` for a float output."""
        return self.rmse / self.scale if self.scale else None

    @property
    def snr_db(self) -> float | None:
        """Signal over error power in decibels; ``None`` without an error or a signal."""
        if self.squares <= 0 or self.signal <= 0:
            return None
        return float(10 * np.log10(self.signal / self.squares))


def local_errors(
    float_content: bytes,
    quantized_content: bytes,
    pairs: Sequence[Pair],
    samples: NDArray[np.float32],
    tell: Callable[[int, int], None],
) -> list[LocalError]:
    """The local error of every operator that is a function of its inputs, over ``samples``.

    ``samples`` (n, *shape) are the model's float inputs. ``tell(done, of)`` after each.
    """
    quantized = _interpreter(quantized_content, keep=True)
    model = load(float_content)
    tensors = model.subgraphs[0].tensors
    usable = [
        pair
        for pair in pairs
        if pair.kind not in _STATEFUL
        and not any(tensors[i].isVariable for i in pair.float_operator.inputs if i >= 0)
        and _activations(model, pair.float_operator)
    ]
    if not usable:
        return []
    apart, feeds = _taken_apart(model, usable)
    alone = _interpreter(apart, keep=False)
    ends = alone.get_input_details(), alone.get_output_details()
    specs = {item["index"]: item for item in quantized.get_tensor_details()}
    errors = [
        LocalError(pair, float(specs[int(pair.quantized_operator.outputs[0])]["quantization"][0]))
        for pair in usable
    ]
    entry = quantized.get_input_details()[0]
    for number, sample in enumerate(samples):
        quantized.reset_all_variables()
        quantized.set_tensor(entry["index"], quantize(sample[None], entry))
        quantized.invoke()
        for detail, source in zip(ends[0], feeds, strict=True):
            values = dequantize(quantized.get_tensor(source), specs[source])
            alone.set_tensor(
                detail["index"], values.reshape(detail["shape"]).astype(detail["dtype"])
            )
        alone.invoke()
        for error, detail in zip(errors, ends[1], strict=True):
            index = int(error.pair.quantized_operator.outputs[0])
            values = dequantize(quantized.get_tensor(index), specs[index])
            exact = alone.get_tensor(detail["index"])
            error.add(values.reshape(exact.shape), exact)
        tell(number + 1, len(samples))
    return errors


def _activations(model: Any, operator: Any) -> list[int]:
    """Positions of the inputs that are computed, not constant."""
    graph = model.subgraphs[0]
    return [
        position
        for position, index in enumerate(operator.inputs)
        if index >= 0 and not _constant(model, graph.tensors[index])
    ]


def _constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _taken_apart(model: Any, pairs: Sequence[Pair]) -> tuple[bytes, list[int]]:
    """A file in which every operator reads inputs of its own, so that one invoke runs all.

    With it, for each of its inputs, the tensor of the quantized file that belongs there.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    apart = copy.copy(model)
    tensors: list[Any] = []
    operators, inputs, outputs, feeds = [], [], [], []

    def add(index: int, name: str) -> int:
        tensor = copy.copy(graph.tensors[index])
        tensor.name = name.encode()
        tensors.append(tensor)
        return len(tensors) - 1

    for number, pair in enumerate(pairs):
        operator = copy.copy(pair.float_operator)
        computed = set(_activations(model, operator))
        placed = []
        for position, index in enumerate(operator.inputs):
            if index < 0:
                placed.append(-1)
                continue
            placed.append(add(int(index), f"{number}_in_{position}"))
            if position in computed:
                inputs.append(placed[-1])
                feeds.append(int(pair.quantized_operator.inputs[position]))
        operator.inputs = placed
        operator.outputs = [
            add(int(i), f"{number}_out_{n}") for n, i in enumerate(operator.outputs)
        ]
        operator.intermediates = []
        outputs.append(operator.outputs[0])
        operators.append(operator)
    alone = schema.SubGraphT()
    alone.tensors, alone.operators, alone.inputs, alone.outputs = (
        tensors,
        operators,
        inputs,
        outputs,
    )
    alone.name = b"apart"
    apart.subgraphs, apart.signatureDefs, apart.metadata = [alone], [], []
    return _packed(apart), feeds


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _interpreter(content: bytes, *, keep: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keeping every tensor is the purpose here
        interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_preserve_all_tensors=keep,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    return interpreter


def quantize(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    """Real values as a tensor stores them."""
    scale, zero = detail["quantization"]
    dtype = np.dtype(detail["dtype"])
    if dtype.kind == "f" or not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
    return np.asarray(steps, dtype)


def dequantize(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    """Stored values as real ones; integers without a scale stay what they are."""
    scale, zero = detail["quantization"]
    if values.dtype.kind == "f" or not scale:
        return values
    return np.asarray((values.astype(np.float32) - zero) * np.float32(scale))
