"""Graphs without weights, built layer by layer in the form that the TFLite converter gives.

Batch normalisation is folded, ReLUs are fused into the layer before them, constants have
shapes and bytes but no values (but for shapes, axes and paddings). Scales of quantized
tensors stand as 1: there is nothing that they could be computed from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

from harness.simulation import costs
from harness.simulation.elements import Graph, Operator, Quantization, Subgraph, Tensor

#: What graphs are built in. ``float16`` has weights that DEQUANTIZE unpacks; ``dynamic_int8``
#: int8 weights and float activations.
DTYPES = ("float32", "float16", "int8", "uint8", "dynamic_int8")

#: The converter leaves smaller weights in float where it quantizes weights only.
_LEAST_DYNAMIC = 1024

_BYTES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8}

#: Versions of the schema's operators: without int8 operands, with them.
_VERSIONS = {"CONV_2D": (1, 3), "DEPTHWISE_CONV_2D": (1, 3), "FULLY_CONNECTED": (1, 4)}
_OF_ONE_VERSION = {"RESHAPE", "HARD_SWISH", "QUANTIZE", "ARG_MAX"}


class Builder:
    """One graph under construction; layers take and give indices of tensors."""

    def __init__(self, dtype: str, input_shape: Sequence[int]) -> None:
        self.dtype = dtype
        self.activation = dtype if dtype in ("int8", "uint8") else "float32"
        self.quantized = self.activation != "float32"
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._still: set[int] = set()
        self._shared: dict[tuple[Any, ...], int] = {}
        self.input = self.tensor("input", input_shape)

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self._tensors[index].shape

    def channels(self, index: int) -> int:
        """The innermost extent of a tensor."""
        return self._tensors[index].shape[-1]

    def finish(self, outputs: Sequence[int]) -> Graph:
        """The graph whose outputs are these tensors."""
        part = Subgraph(
            "main", tuple(self._tensors), tuple(self._operators), (self.input,), tuple(outputs)
        )
        return Graph(
            subgraphs=(part,),
            signatures=(),
            metadata=(),
            description="built without weights",
            schema_version=3,
            weight_bytes=sum(tensor.constant_bytes for tensor in part.tensors),
            peak_activation_bytes=costs.peak_activation_bytes(part),
            stateful=False,
        )

    # Tensors

    def tensor(self, name: str, shape: Sequence[int], dtype: str | None = None) -> int:
        """An activation."""
        dtype = dtype or self.activation
        return self._add(name, shape, dtype, constant=False, scales=1)

    def constant(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        values: Sequence[int] | None = None,
        scales: int = 1,
        axis: int = 0,
    ) -> int:
        """A constant; two with the same small integer values are one."""
        if values is None:
            return self._add(name, shape, dtype, constant=True, scales=scales, axis=axis)
        key = (tuple(shape), dtype, tuple(values))
        if key not in self._shared:
            self._shared[key] = self._add(name, shape, dtype, constant=True, values=values)
        return self._shared[key]

    def _add(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        constant: bool,
        scales: int = 0,
        axis: int = 0,
        values: Sequence[int] | None = None,
    ) -> int:
        index = len(self._tensors)
        size = prod(max(1, extent) for extent in shape) * _BYTES[dtype]
        integers = self.quantized or dtype == "int8"
        scaled = scales and integers and dtype in ("int8", "uint8", "int32")
        self._tensors.append(
            Tensor(
                index=index,
                name=name,
                shape=tuple(shape),
                shape_signature=(),
                dtype=dtype,
                bytes=size,
                constant_bytes=size if constant else 0,
                # As in a file, buffer 0 is the empty one, and activations have their own.
                buffer=index + 1,
                quantization=_scales(scales, axis) if scaled else None,
                values=tuple(values) if values is not None else None,
            )
        )
        return index

    def weights(
        self, name: str, shape: Sequence[int], channels: int, axis: int, shared: str = ""
    ) -> int:
        """Weights in the type that the graph's form has for them.

        ``channels`` scales along ``axis`` in int8, one in all otherwise.
        """
        if not shared:
            return self._weights(name, shape, channels, axis)
        key = (shared, tuple(shape))
        if key not in self._shared:
            self._shared[key] = self._weights(name, shape, channels, axis)
        return self._shared[key]

    def _weights(self, name: str, shape: Sequence[int], channels: int, axis: int) -> int:
        if self.dtype == "uint8":
            return self.constant(name, shape, "uint8")
        if self.dtype == "int8":
            return self.constant(name, shape, "int8", scales=channels, axis=axis)
        if self.dtype == "dynamic_int8" and prod(shape) >= _LEAST_DYNAMIC:
            return self.constant(name, shape, "int8", scales=channels, axis=axis)
        return self._float_weights(name, shape)

    def bias(self, name: str, count: int, channels: int) -> int:
        """A bias: int32 in a quantized graph."""
        if self.quantized:
            scales = channels if self.dtype == "int8" else 1
            return self.constant(name, (count,), "int32", scales=scales)
        return self._float_weights(name, (count,))

    def _float_weights(self, name: str, shape: Sequence[int]) -> int:
        if self.dtype != "float16":
            return self.constant(name, shape, "float32")
        packed = self.constant(name, shape, "float16")
        unpacked = self.tensor(f"{name}/unpacked", shape, "float32")
        self.operator("DEQUANTIZE", [packed], [unpacked], version=3)
        return unpacked

    # Operators

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
        version: int = 0,
        custom: bool = False,
    ) -> None:
        """Any operator; its costs are those that a file's would have."""
        tensors, options = self._tensors, options or {}
        if costs.unpacked(tensors, name, inputs):
            self._still.update(outputs)
        weight = costs.weight_of(name, tensors, inputs, self._still)
        used = [tensors[index] for index in inputs if index >= 0]
        made = [tensors[index] for index in outputs]
        if not version:
            eight = any(tensor.dtype == "int8" for tensor in (*used, *made))
            known = _VERSIONS.get(name, (1, 1) if custom or name in _OF_ONE_VERSION else (1, 2))
            version = known[eight]
        self._operators.append(
            Operator(
                name=name,
                activation=made[0].dtype,
                weight=weight.dtype if weight is not None else "",
                macs=costs.macs(name, tensors, inputs, outputs, options),
                weight_bytes=sum(tensor.constant_bytes for tensor in used),
                activation_bytes=sum(t.bytes for t in (*used, *made) if not t.constant),
                index=len(self._operators),
                version=version,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                options=options,
                custom=custom,
            )
        )

    def _made(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        version: int = 0,
    ) -> int:
        """The output of an operator that has one."""
        output = self.tensor(f"{name.lower()}_{len(self._operators)}", shape, dtype)
        self.operator(name, inputs, [output], options, version)
        return output

    def conv(
        self,
        x: int,
        filters: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        act: str = "none",
        padding: str = "same",
        dilation: int = 1,
        shared: str = "",
    ) -> int:
        """CONV_2D with a bias; ``act`` fused: none, relu, relu6.

        Those with the same name in ``shared`` have the same weights.
        """
        high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        n, *extents, depth = self.shape(x)
        rows, columns = spatial(extents, (high, wide), stride, padding, dilation)
        name = f"conv_{len(self._operators)}"
        weights = self.weights(f"{name}/weights", (filters, high, wide, depth), filters, 0, shared)
        bias = self.bias(f"{name}/bias", filters, filters)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "fused_activation": act,
            "dilation_w_factor": dilation,
            "dilation_h_factor": dilation,
        }
        return self._made("CONV_2D", [x, weights, bias], (n, rows, columns, filters), options)

    def depthwise(
        self,
        x: int,
        kernel: int = 3,
        stride: int = 1,
        act: str = "none",
        padding: str = "same",
        dilation: int = 1,
        multiplier: int = 1,
        shared: str = "",
    ) -> int:
        """DEPTHWISE_CONV_2D with a bias; ``shared`` as in ``conv``."""
        n, *extents, depth = self.shape(x)
        depth *= multiplier
        rows, columns = spatial(extents, (kernel, kernel), stride, padding, dilation)
        name = f"depthwise_{len(self._operators)}"
        weights = self.weights(f"{name}/weights", (1, kernel, kernel, depth), depth, 3, shared)
        bias = self.bias(f"{name}/bias", depth, depth)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "depth_multiplier": multiplier,
            "fused_activation": act,
            "dilation_w_factor": dilation,
            "dilation_h_factor": dilation,
        }
        version = 2 if dilation > 1 and self.dtype != "int8" else 0
        return self._made(
            "DEPTHWISE_CONV_2D",
            [x, weights, bias],
            (n, rows, columns, depth),
            options,
            version=version,
        )

    def separable(
        self,
        x: int,
        filters: int,
        kernel: int = 3,
        stride: int = 1,
        act: str = "none",
        inner: str = "none",
        padding: str = "same",
        dilation: int = 1,
    ) -> int:
        """A depthwise and a pointwise convolution; ``inner`` is fused into the first."""
        x = self.depthwise(x, kernel, stride, inner, padding, dilation)
        return self.conv(x, filters, act=act)

    def dense(self, x: int, units: int, act: str = "none") -> int:
        """FULLY_CONNECTED over (n, features)."""
        n, features = self.shape(x)
        name = f"dense_{len(self._operators)}"
        weights = self.weights(f"{name}/weights", (units, features), 1, 0)
        bias = self.bias(f"{name}/bias", units, 1)
        options = {
            "fused_activation": act,
            "weights_format": "default",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": self.dtype == "dynamic_int8",
        }
        return self._made("FULLY_CONNECTED", [x, weights, bias], (n, units), options)

    def pool(
        self,
        x: int,
        kind: str,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: str = "same",
    ) -> int:
        """AVERAGE_POOL_2D or MAX_POOL_2D; ``kind`` is ``average`` or ``max``."""
        high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        n, *extents, depth = self.shape(x)
        rows, columns = spatial(extents, (high, wide), stride, padding, 1)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "filter_width": wide,
            "filter_height": high,
            "fused_activation": "none",
        }
        return self._made(f"{kind.upper()}_POOL_2D", [x], (n, rows, columns, depth), options)

    def global_pool(self, x: int, stride: int = 1) -> int:
        """AVERAGE_POOL_2D over all positions: (n, 1, 1, c)."""
        _, rows, columns, _ = self.shape(x)
        return self.pool(x, "average", (rows, columns), stride, "valid")

    def mean(self, x: int, keep: bool = False) -> int:
        """MEAN over all positions: (n, c), or (n, 1, 1, c) where dimensions are kept."""
        n, *_, depth = self.shape(x)
        axes = self.constant("axes", (2,), "int32", (1, 2))
        shape = (n, 1, 1, depth) if keep else (n, depth)
        return self._made("MEAN", [x, axes], shape, {"keep_dims": keep})

    def add(self, x: int, y: int, act: str = "none") -> int:
        """ADD with broadcasting."""
        options = {"fused_activation": act, "pot_scale_int16": True}
        return self._made("ADD", [x, y], self._broadcast(x, y), options)

    def mul(self, x: int, y: int, act: str = "none") -> int:
        """MUL with broadcasting."""
        return self._made("MUL", [x, y], self._broadcast(x, y), {"fused_activation": act})

    def _broadcast(self, x: int, y: int) -> tuple[int, ...]:
        one, other = self.shape(x), self.shape(y)
        longest = max(len(one), len(other))
        one, other = ((1,) * (longest - len(shape)) + shape for shape in (one, other))
        return tuple(max(pair) for pair in zip(one, other, strict=True))

    def scale(self, x: int, name: str = "MUL", act: str = "none") -> int:
        """MUL or ADD with a learned constant per channel: what of a normalisation is not folded."""
        depth = self.channels(x)
        if self.quantized:
            learned = self.constant(f"scale_{len(self._operators)}", (depth,), self.activation)
        else:
            learned = self._float_weights(f"scale_{len(self._operators)}", (depth,))
        return self.add(x, learned, act) if name == "ADD" else self.mul(x, learned, act)

    def unary(self, name: str, x: int, options: Mapping[str, Any] | None = None) -> int:
        """An operator whose output is like its input: HARD_SWISH, LOGISTIC, RELU, ..."""
        return self._made(name, [x], self.shape(x), options)

    def softmax(self, x: int) -> int:
        """SOFTMAX over the innermost dimension."""
        return self.unary("SOFTMAX", x, {"beta": 1.0})

    def concat(self, parts: Sequence[int], axis: int = 3) -> int:
        """CONCATENATION along ``axis``."""
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self._made(
            "CONCATENATION", list(parts), shape, {"axis": axis, "fused_activation": "none"}
        )

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        """RESHAPE to ``shape``, in which one extent may be -1."""
        known = prod(extent for extent in shape if extent != -1)
        full = [prod(self.shape(x)) // known if extent == -1 else extent for extent in shape]
        target = self.constant("shape", (len(full),), "int32", shape)
        return self._made("RESHAPE", [x, target], full)

    def pad(self, x: int, before: int, after: int) -> int:
        """PAD of rows and columns with zeros."""
        n, rows, columns, depth = self.shape(x)
        paddings = self.constant(
            "paddings", (4, 2), "int32", (0, 0, before, after, before, after, 0, 0)
        )
        more = before + after
        return self._made("PAD", [x, paddings], (n, rows + more, columns + more, depth))

    def resize(
        self,
        x: int,
        size: tuple[int, int],
        kind: str = "BILINEAR",
        align: bool = False,
        half: bool = False,
    ) -> int:
        """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR to (rows, columns)."""
        n, _, _, depth = self.shape(x)
        target = self.constant("size", (2,), "int32", size)
        options = {"align_corners": align, "half_pixel_centers": half}
        version = 3 if half else 0
        return self._made(f"RESIZE_{kind}", [x, target], (n, *size, depth), options, None, version)

    def convert(self, x: int, dtype: str) -> int:
        """QUANTIZE or DEQUANTIZE to another type."""
        name = "DEQUANTIZE" if dtype == "float32" else "QUANTIZE"
        return self._made(name, [x], self.shape(x), dtype=dtype)

    def requantized_input(self) -> int:
        """An input of uint8 that is turned into int8 first, as files with such inputs do."""
        entry = self._tensors[self.input]
        self._tensors[self.input] = replace(entry, dtype="uint8")
        return self.convert(self.input, self.activation)

    def arg_max(self, x: int) -> int:
        """ARG_MAX over the innermost dimension."""
        axis = self.constant("axis", (), "int32", (len(self.shape(x)) - 1,))
        return self._made(
            "ARG_MAX", [x, axis], self.shape(x)[:-1], {"output_type": "int64"}, "int64"
        )


@cache
def _scales(count: int, axis: int) -> Quantization:
    return Quantization((1.0,) * count, (0,) * count, axis)


def spatial(
    extents: Sequence[int], kernel: tuple[int, int], stride: int, padding: str, dilation: int = 1
) -> tuple[int, int]:
    """Rows and columns that a window leaves; raises ``ValueError`` where none are left."""
    left = []
    for extent, size in zip(extents, kernel, strict=True):
        reach = extent if padding == "same" else extent - dilation * (size - 1)
        if reach < 1:
            raise ValueError(f"a window of {size} does not fit into {extent} positions")
        left.append(-(-reach // stride))
    return left[0], left[1]


def rounded(value: float, divisor: int = 8, least: int | None = None) -> int:
    """Channels after a multiplier: the nearest multiple of ``divisor``, never 10 % less.

    The rule that MobileNet V2 and all later families share.
    """
    least = divisor if least is None else least
    near = max(least, int(value + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * value else near
