"""Which operators the Edge TPU compiler maps, and why not the others.

Sources of the rules:

- Coral, "TensorFlow models on the Edge TPU" (https://coral.ai/docs/edgetpu/models-intro/):
  model requirements, and the table of supported operations with their limitations;
- google-coral/edgetpu, issues 31, 63, 147, 461, 631 and 879: limits that the table leaves
  open, by what the compiler did with real models;
- files that were compiled with the compiler's default options: the tests hold this module
  to them, operator by operator.

The compiler's own words are used for reasons. By default it makes one custom operator: of
the runs into which TensorFlow Lite divides a graph for a delegate (``graph_info.cc``), the
first one that the Edge TPU supports. All after it stays on the CPU, supported or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log2

from harness.simulation.elements import Graph, Operator, Subgraph, Tensor

#: The custom code of what the compiler made of the operators that it mapped.
COMPILED = "edgetpu-custom-op"


class Status(StrEnum):
    """What the compiler's log says of an operator."""

    MAPPED = "Mapped to Edge TPU"
    TYPE = "Operation is working on an unsupported data type"
    RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
    UNKNOWN = "Operation not supported"
    VERSION = "Operation version not supported"
    IMPRECISE = "Image-interpolation layer won't run precisely enough on Edge TPU"
    LIMITED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
    LATER = "More than one subgraph is not supported"


@dataclass(frozen=True, slots=True)
class OperatorMapping:
    """One operator of a source file: mapped or not, and why.

    ``detail`` says what of the operator decided, where the status alone does not.
    """

    index: int
    name: str
    mapped: bool
    status: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """Status and detail in one line."""
        return f"{self.status} ({self.detail})" if self.detail else self.status


@dataclass(frozen=True, slots=True)
class Call:
    """An operator and its tensors, as the rules look at them."""

    operator: Operator
    tensors: Sequence[Tensor]

    def input(self, slot: int) -> Tensor | None:
        """The input in this place; ``None`` where it is left out."""
        inputs = self.operator.inputs
        return self.tensors[inputs[slot]] if slot < len(inputs) and inputs[slot] >= 0 else None

    @property
    def inputs(self) -> list[Tensor]:
        """The inputs that are there."""
        return [self.tensors[index] for index in self.operator.used]

    @property
    def outputs(self) -> list[Tensor]:
        """The outputs that are there."""
        return [self.tensors[index] for index in self.operator.made]

    @property
    def axes(self) -> list[int] | None:
        """The constant axes of a reduction, counted from 0."""
        data, axes = self.input(0), self.input(1)
        if data is None or axes is None or axes.values is None:
            return None
        return [axis % max(1, len(data.shape)) for axis in axes.values]


Finding = tuple[Status, str] | None
Check = Callable[[Call], Finding]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the Edge TPU supports of one operator.

    ``version`` is the newest that compiler 16 reads, where that is known (0: not known).
    """

    checks: tuple[Check, ...] = ()
    version: int = 0


def _limited(detail: str) -> Finding:
    return Status.LIMITED, detail


def _constant(*slots: int) -> Check:
    def check(call: Call) -> Finding:
        for slot in slots:
            tensor = call.input(slot)
            if tensor is not None and not tensor.constant:
                return _limited(f"its parameter {tensor.name or slot} is not a constant")
        return None

    return check


def _no_activation(call: Call) -> Finding:
    fused = call.operator.options.get("fused_activation", "none")
    return None if fused == "none" else _limited(f"fused activation {fused}")


def _same_dilation(call: Call) -> Finding:
    options = call.operator.options
    x, y = options.get("dilation_w_factor", 1), options.get("dilation_h_factor", 1)
    return None if x == y else _limited(f"dilation {y} in y and {x} in x")


def _concatenation(call: Call) -> Finding:
    if any(tensor.constant for tensor in call.inputs):
        return _limited("a constant among its inputs, unless it pads one other with zeros")
    return None


def _dense(call: Call) -> Finding:
    if call.operator.options.get("weights_format", "default") != "default":
        return _limited("weights in another than the default format")
    wide = [tensor for tensor in call.outputs if any(size > 1 for size in tensor.shape[:-1])]
    return _limited(f"output {_by(wide[0].shape)} of more than one dimension") if wide else None


def _reduction(call: Call) -> Finding:
    axes, data = call.axes, call.input(0)
    if axes is None or data is None:
        return _limited("axes that are not a constant")
    return _limited("reduces the batch dimension") if 0 in axes and len(data.shape) > 3 else None


#: A MEAN over 256 x 128 positions stayed on the CPU, one over 64 x 128 did not (461).
_MEAN_POSITIONS = 256 * 128


def _mean(call: Call) -> Finding:
    axes, data = call.axes, call.input(0)
    if axes and data is not None:
        last = len(data.shape) - 1
        if last in axes and data.shape[last] % 4:
            return _limited("reduces a z dimension that is no multiple of 4")
        positions = 1
        for axis in axes:
            positions *= data.shape[axis] if axis != last else 1
        if positions >= _MEAN_POSITIONS:
            return _limited(f"a mean over {positions:,} positions")
    return None


def _not_batch(slot: int | None) -> Check:
    """The axis, an option or the constant in this input, is not the batch."""

    def check(call: Call) -> Finding:
        axis = call.operator.options.get("axis", 0)
        if slot is not None:
            tensor = call.input(slot)
            if tensor is None or not tensor.values:
                return _limited("an axis that is not a constant")
            axis = tensor.values[0]
        rank = max((len(tensor.shape) for tensor in (*call.inputs, *call.outputs)), default=0)
        return _limited("works along the batch dimension") if axis in (0, -rank) else None

    return check


def _padding(call: Call) -> Finding:
    data, paddings = call.input(0), call.input(1)
    if data is None or paddings is None or paddings.values is None:
        return _limited("paddings that are not a constant")
    batch = len(data.shape) > 3 and any(paddings.values[:2])
    return _limited("pads the batch dimension") if batch else None


def _slopes(call: Call) -> Finding:
    alpha = call.input(1)
    if alpha is None or any(size > 1 for size in alpha.shape[:-1]):
        return _limited("slopes of more than one dimension: share them over x and y")
    return None


#: What of activations fits on the chip: 512 x 512 x 32 did not, 128 x 128 x 32 did (31).
_RESIZED_BYTES = 8 * 2**20


def _resize(call: Call) -> Finding:
    source, targets = call.input(0), call.outputs
    if source is None or not targets or {len(source.shape), len(targets[0].shape)} != {4}:
        return _limited("not an image")
    target = targets[0]
    if source.bytes + target.bytes > _RESIZED_BYTES:
        return _limited(f"{_by(source.shape[1:])} to {_by(target.shape[1:])} is too large")
    return None


def _precise(call: Call) -> Finding:
    """Interpolation weights are exact only where the scale is a power of two."""
    source, target = call.inputs[0], call.outputs[0]
    corners = bool(call.operator.options.get("align_corners"))
    for old, new in zip(source.shape[1:3], target.shape[1:3], strict=True):
        inner = corners and old > 1 and new > 1
        scale = (new - 1) / (old - 1) if inner else new / max(1, old)
        if scale <= 0 or not log2(scale).is_integer():
            sizes = f"{_by(source.shape[1:3])} to {_by(target.shape[1:3])}"
            return Status.IMPRECISE, f"{sizes}: the scale is no power of two"
    return None


def _softmax(call: Call) -> Finding:
    wide = [tensor.shape[-1] for tensor in call.inputs if tensor.shape]
    return _limited(f"{wide[0]:,} of at most 16,000 values") if wide and wide[0] > 16_000 else None


def _strides(call: Call) -> Finding:
    options, strides = call.operator.options, call.input(3)
    if strides is None or strides.values is None or any(step != 1 for step in strides.values):
        return _limited("strides other than 1")
    if options.get("ellipsis_mask") or options.get("new_axis_mask"):
        return _limited("an ellipsis or a new axis")
    return None


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


#: Operator -> what of it is supported. What is not here is not supported.
RULES: dict[str, Rule] = {
    "ADD": Rule(),
    "AVERAGE_POOL_2D": Rule((_no_activation,)),
    "CONCATENATION": Rule((_no_activation, _concatenation)),
    "CONV_2D": Rule((_constant(1, 2), _same_dilation), version=5),  # issue 631
    "DEPTHWISE_CONV_2D": Rule((_constant(1, 2), _same_dilation)),
    "EXPAND_DIMS": Rule((_constant(1),)),
    "FULLY_CONNECTED": Rule((_constant(1, 2), _dense), version=8),  # a real log: 9 is not
    "L2_NORMALIZATION": Rule(),
    "LOGISTIC": Rule(),
    "MAXIMUM": Rule(),
    "MAX_POOL_2D": Rule((_no_activation,)),
    "MEAN": Rule((_reduction, _mean)),
    "MINIMUM": Rule(),
    "MUL": Rule(),
    "PACK": Rule((_not_batch(None),)),
    "PAD": Rule((_padding,)),
    "PRELU": Rule((_constant(1), _slopes)),
    "QUANTIZE": Rule(version=2),  # issue 879
    "REDUCE_MAX": Rule((_reduction,)),
    "REDUCE_MIN": Rule((_reduction,)),
    "RELU": Rule(),
    "RELU6": Rule(),
    "RELU_N1_TO_1": Rule(),
    "RESHAPE": Rule((_constant(1),)),
    "RESIZE_BILINEAR": Rule((_constant(1), _resize, _precise)),
    "RESIZE_NEAREST_NEIGHBOR": Rule((_constant(1), _resize)),
    "RSQRT": Rule(),
    "SLICE": Rule((_constant(1, 2),)),
    "SOFTMAX": Rule((_softmax,)),
    "SPACE_TO_DEPTH": Rule(),
    "SPLIT": Rule((_not_batch(0),)),
    "SQUARED_DIFFERENCE": Rule(),
    "SQUEEZE": Rule(),
    "STRIDED_SLICE": Rule((_constant(1, 2), _strides)),
    "SUB": Rule(),
    "SUM": Rule((_reduction,)),
    "TANH": Rule(),
    "TRANSPOSE": Rule((_constant(1),)),
    "TRANSPOSE_CONV": Rule((_constant(0, 1, 3),), version=3),  # issues 147, 845
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Rule((_constant(*range(1, 18)),)),
}

_EIGHT_BITS = {"int8", "uint8"}

#: Types of parameters: weights; biases, shapes and axes.
_PARAMETERS = _EIGHT_BITS | {"int16", "int32", "int64"}


def judge(operator: Operator, tensors: Sequence[Tensor]) -> Finding:
    """Why the Edge TPU cannot run an operator; ``None`` where it can."""
    call = Call(operator, tensors)
    activations = [tensor for tensor in (*call.inputs, *call.outputs) if not tensor.constant]
    for tensor in (*call.inputs, *call.outputs):
        if tensor.constant:
            fits = tensor.dtype in _PARAMETERS
        else:
            fits = tensor.dtype in _EIGHT_BITS or (tensor.variable and tensor.dtype == "int16")
        if not fits and operator.name == "QUANTIZE":
            return _limited(f"from {tensor.dtype}")
        if not fits:
            return Status.TYPE, tensor.dtype
    rule = RULES.get(operator.name)
    if rule is None or operator.custom:
        return Status.UNKNOWN, ""
    if rule.version and operator.version > rule.version:
        return Status.VERSION, f"{operator.version}; {rule.version} is the newest known"
    for tensor in activations:
        # A batch that is free in the signature has size 1 in the shape, and is compiled so.
        if any(size <= 0 for size in tensor.shape) or -1 in tensor.shape_signature[1:]:
            return _limited(f"tensor {tensor.name} has a dynamic shape")
    for tensor in activations:
        if any(size > 1 for size in tensor.shape[:-3]):
            return Status.RANK, _by(tensor.shape)
    return next((found for check in rule.checks if (found := check(call)) is not None), None)


def compiled(graph: Graph) -> bool:
    """Whether the file already went through the Edge TPU compiler."""
    return any(operator.name == COMPILED for operator in graph.operators)


def map_operators(graph: Graph) -> tuple[OperatorMapping, ...]:
    """What the compiler would make of each operator of the main subgraph.

    Of a file that is compiled already, what it did.
    """
    if compiled(graph):
        return tuple(
            OperatorMapping(operator.index, operator.name, True, "Compiled for the Edge TPU")
            if operator.name == COMPILED
            else OperatorMapping(operator.index, operator.name, False, "Left on the CPU")
            for operator in graph.operators
        )
    findings = [judge(operator, graph.tensors) for operator in graph.operators]
    chosen = _first_run(graph.main, [finding is None for finding in findings])
    return tuple(
        OperatorMapping(operator.index, operator.name, False, *finding)
        if finding is not None
        else OperatorMapping(operator.index, operator.name, True, Status.MAPPED)
        if operator.index in chosen
        else OperatorMapping(operator.index, operator.name, False, Status.LATER)
        for operator, finding in zip(graph.operators, findings, strict=True)
    )


def _first_run(subgraph: Subgraph, supported: Sequence[bool]) -> set[int]:
    """The first run of supported operators.

    Runs alternate: each takes every operator of its kind whose inputs are there, then
    those that these make ready, until none is left; the next takes those of the other kind.
    """
    makers: dict[int, int] = {}
    for operator in subgraph.operators:
        makers.update((index, operator.index) for index in operator.made)
    needs = [
        {makers[index] for index in operator.used if index in makers}
        for operator in subgraph.operators
    ]
    feeds: dict[int, list[int]] = {}
    for index, makes in enumerate(needs):
        for maker in makes:
            feeds.setdefault(maker, []).append(index)
    ready = [index for index, makes in enumerate(needs) if not makes]
    kind = bool(ready) and supported[ready[0]]
    while ready:
        run: set[int] = set()
        later: list[int] = []
        while ready:
            index = ready.pop()
            if supported[index] != kind:
                later.append(index)
                continue
            run.add(index)
            for user in feeds.get(index, ()):
                needs[user].discard(index)
                if not needs[user]:
                    ready.append(user)
        if kind:
            return run
        ready, kind = later, True
    return set()
