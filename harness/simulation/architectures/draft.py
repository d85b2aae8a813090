"""A graph without weights under construction: its tensors and operators, and their types.

Constants have shapes and bytes but no values (but for shapes, axes and paddings). Scales of
quantized tensors stand as 1: there is nothing that they could be computed from.
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


class Draft:
    """One graph under construction; operators take and give indices of tensors."""

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

    @property
    def count(self) -> int:
        """How many operators there are."""
        return len(self._operators)

    def channels(self, index: int) -> int:
        """The innermost extent of a tensor."""
        return self._tensors[index].shape[-1]

    def finish(self, outputs: Sequence[int]) -> Graph:
        """The graph whose outputs are these tensors."""
        # A file has one version per kind of operator: the newest that any of them needs.
        versions: dict[str, int] = {}
        for operator in self._operators:
            versions[operator.name] = max(operator.version, versions.get(operator.name, 0))
        operators = tuple(
            operator
            if operator.version == versions[operator.name]
            else replace(operator, version=versions[operator.name])
            for operator in self._operators
        )
        part = Subgraph("main", tuple(self._tensors), operators, (self.input,), tuple(outputs))
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
        return self.float_weights(name, shape)

    def bias(self, name: str, count: int, channels: int) -> int:
        """A bias: int32 in a quantized graph."""
        if self.quantized:
            scales = channels if self.dtype == "int8" else 1
            return self.constant(name, (count,), "int32", scales=scales)
        return self.float_weights(name, (count,))

    def float_weights(self, name: str, shape: Sequence[int]) -> int:
        """Weights that are never quantized: unpacked by an operator from float16."""
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

    def made(
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

    def retype_input(self, dtype: str) -> None:
        """Makes the graph's input one of another type."""
        self._tensors[self.input] = replace(self._tensors[self.input], dtype=dtype)


@cache
def _scales(count: int, axis: int) -> Quantization:
    return Quantization((1.0,) * count, (0,) * count, axis)
