"""The bytes of a ``.tflite`` file -> a ``Graph``.

The format is the TensorFlow Lite flatbuffer schema; the generated accessors come with the
LiteRT package. Every offset in a foreign file may lie: each item read is counted against
the file's size, so that a damaged one costs no more time or memory than a sound one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from harness.errors import ModelError
from harness.simulation import costs
from harness.simulation.elements import (
    TYPES,
    Graph,
    Metadata,
    Operator,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
)

#: Operators that keep state between inferences outside of variable tensors.
_STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}

_MAX_RANK = 64

#: Integer constants up to this many elements are read: shapes, axes, paddings.
_MAX_VALUES = 64

_HINT = "copy or convert the model again"

#: Options that name an entry of another table of the schema.
_ENUMERATIONS = {
    "padding": ("padding", "Padding"),
    "fused_activation_function": ("fused_activation", "ActivationFunctionType"),
    "weights_format": ("weights_format", "FullyConnectedOptionsWeightsFormat"),
}


class FileReader:
    """One pass over one file."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._data = data
        self._left = 2 * len(data) + 1000
        self._model: Any = schema.Model.GetRootAs(data, 0)

    def read(self) -> Graph:
        """The whole file."""
        model = self._model
        if not model.SubgraphsLength():
            raise ModelError("the file holds no graph", hint=_HINT)
        self._buffers = [self._buffer(index) for index in self._range(model.BuffersLength())]
        self._codes = [
            self._code(model.OperatorCodes(index))
            for index in self._range(model.OperatorCodesLength())
        ]
        subgraphs = tuple(
            self._subgraph(model.Subgraphs(index)) for index in self._range(model.SubgraphsLength())
        )
        constants = {
            tensor.buffer: tensor.constant_bytes for part in subgraphs for tensor in part.tensors
        }
        return Graph(
            subgraphs=subgraphs,
            signatures=tuple(
                self._signature(model.SignatureDefs(index), subgraphs)
                for index in self._range(model.SignatureDefsLength())
            ),
            metadata=tuple(
                self._metadata(model.Metadata(index))
                for index in self._range(model.MetadataLength())
            ),
            description=self._text(model, 10),
            schema_version=int(model.Version()),
            weight_bytes=sum(constants.values()),
            peak_activation_bytes=costs.peak_activation_bytes(subgraphs[0]),
            stateful=any(tensor.variable for tensor in subgraphs[0].tensors)
            or any(operator.name in _STATEFUL for operator in subgraphs[0].operators),
        )

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelError("damaged: it claims to hold more than its own size", hint=_HINT)

    def _range(self, length: int) -> range:
        self._spend(4 * length)
        return range(length)

    def _numbers(self, array: Any) -> list[Any]:
        """The items of a vector; the accessors give 0 for one that is not there."""
        if isinstance(array, int):
            return []
        self._spend(array.nbytes)
        items: list[Any] = array.tolist()
        return items

    def _text(self, table: Any, slot: int) -> str:
        offset = table._tab.Offset(slot)
        if not offset:
            return ""
        self._spend(table._tab.VectorLen(offset))
        raw: bytes = table._tab.String(offset + table._tab.Pos)
        return raw.decode("utf-8", "replace")

    def _buffer(self, index: int) -> tuple[int, int]:
        """Where a buffer's bytes stand in the file, and how many they are."""
        buffer = self._model.Buffers(index)
        size = int(buffer.DataLength())
        begin = 0
        if size:
            begin = int(buffer._tab.Vector(buffer._tab.Offset(4)))
        elif int(buffer.Offset()) > 1:  # data past 2 GB stand behind the flatbuffer
            begin, size = int(buffer.Offset()), int(buffer.Size())
        # A vector that ends beyond the file is the commonest trace of a truncated copy.
        if begin + size > len(self._data):
            raise ModelError(
                f"truncated: weights end at byte {begin + size:,} of {len(self._data):,}",
                hint=_HINT,
            )
        return begin, size

    def _code(self, code: Any) -> tuple[str, int, bool]:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _names("BuiltinOperator").get(number, f"BUILTIN_{number}")
        if name == "CUSTOM":
            return self._text(code, 6)[:100] or "custom", int(code.Version()), True
        return name, int(code.Version()), False

    def _subgraph(self, table: Any) -> Subgraph:
        tensors = tuple(
            self._tensor(table.Tensors(index), index)
            for index in self._range(table.TensorsLength())
        )
        if not tensors:
            raise ModelError("the graph holds no tensors", hint=_HINT)
        still: set[int] = set()
        operators = tuple(
            self._operator(table.Operators(index), index, tensors, still)
            for index in self._range(table.OperatorsLength())
        )
        return Subgraph(
            self._text(table, 12),
            tensors,
            operators,
            self._indices(table.InputsAsNumpy(), len(tensors), least=0),
            self._indices(table.OutputsAsNumpy(), len(tensors), least=0),
        )

    def _indices(self, array: Any, count: int, least: int = -1) -> tuple[int, ...]:
        found = tuple(int(item) for item in self._numbers(array))
        if any(not least <= index < count for index in found):
            raise ModelError("damaged: an operator names a tensor that is not there", hint=_HINT)
        return found

    def _tensor(self, table: Any, index: int) -> Tensor:
        shape = tuple(self._numbers(table.ShapeAsNumpy()))
        signature = tuple(self._numbers(table.ShapeSignatureAsNumpy()))
        if max(len(shape), len(signature)) > _MAX_RANK:
            raise ModelError(f"damaged: a tensor of {len(shape)} dimensions", hint=_HINT)
        name, bits = TYPES.get(table.Type(), ("other", 32))
        begin, constant = self._buffers[table.Buffer()]
        elements = 1
        for extent in shape:
            elements *= max(1, extent)
        size = (elements * bits + 7) // 8
        if table.ExternalBuffer():
            constant = size
        return Tensor(
            index=index,
            name=self._text(table, 10),
            shape=shape,
            shape_signature=signature,
            dtype=name,
            bytes=constant or size,
            constant_bytes=constant,
            buffer=int(table.Buffer()),
            quantization=self._quantization(table.Quantization()),
            variable=bool(table.IsVariable()),
            values=self._values(name, begin, constant),
        )

    def _values(self, dtype: str, begin: int, size: int) -> tuple[int, ...] | None:
        width = {"int32": 4, "int64": 8}.get(dtype, 0)
        if not width or not begin or not 0 < size <= _MAX_VALUES * width or size % width:
            return None
        raw = self._data[begin : begin + size]
        return tuple(
            int.from_bytes(raw[at : at + width], "little", signed=True)
            for at in range(0, size, width)
        )

    def _quantization(self, table: Any) -> Quantization | None:
        if table is None:
            return None
        block = 0
        if table.DetailsType() == self._schema.QuantizationDetails.BlockwiseQuantization:
            details = self._schema.BlockwiseQuantization()
            union = table.Details()
            details.Init(union.Bytes, union.Pos)
            block = int(details.BlockSize())
        scales = tuple(float(item) for item in self._numbers(table.ScaleAsNumpy()))
        if not scales and not block:
            return None
        zero_points = tuple(int(item) for item in self._numbers(table.ZeroPointAsNumpy()))
        return Quantization(scales, zero_points, int(table.QuantizedDimension()), block)

    def _operator(
        self, table: Any, index: int, tensors: Sequence[Tensor], still: set[int]
    ) -> Operator:
        name, version, custom = self._codes[table.OpcodeIndex()]
        inputs = self._indices(table.InputsAsNumpy(), len(tensors))
        outputs = self._indices(table.OutputsAsNumpy(), len(tensors))
        if costs.unpacked(tensors, name, inputs):
            still.update(i for i in outputs if i >= 0)
        options = {} if custom else self._options(table)
        weight = costs.weight_of(name, tensors, inputs, still)
        used = [tensors[i] for i in inputs if i >= 0]
        made = [tensors[i] for i in outputs if i >= 0]
        return Operator(
            name=name,
            activation=made[0].dtype if made else "other",
            weight=weight.dtype if weight is not None else "",
            macs=costs.macs(name, tensors, inputs, outputs, options),
            weight_bytes=sum(tensor.constant_bytes for tensor in used),
            activation_bytes=sum(t.bytes for t in (*used, *made) if not t.constant),
            index=index,
            version=version,
            inputs=inputs,
            outputs=outputs,
            options=options,
            custom=custom,
            custom_options_bytes=int(table.CustomOptionsLength())
            or int(table.LargeCustomOptionsSize()),
        )

    def _options(self, table: Any) -> dict[str, Any]:
        kind = _names("BuiltinOptions").get(table.BuiltinOptionsType(), "NONE")
        union = table.BuiltinOptions()
        if kind == "NONE" or union is None:
            return {}
        accessor = getattr(self._schema, kind)()
        accessor.Init(union.Bytes, union.Pos)
        found: dict[str, Any] = {}
        for field, value in vars(getattr(self._schema, f"{kind}T").InitFromObj(accessor)).items():
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower()
            if name in _ENUMERATIONS:
                name, enumeration = _ENUMERATIONS[name]
                found[name] = _names(enumeration).get(value, str(value)).lower()
            elif name == "quantized_bias_type":
                pass  # its default reads as float32, also where there is no bias
            elif name.endswith("_type") and isinstance(value, int):
                found[name] = TYPES.get(value, ("other", 0))[0]
            elif isinstance(value, bool | int | float):
                found[name] = value
            elif isinstance(value, bytes):
                self._spend(len(value))
                found[name] = value.decode("utf-8", "replace")
            elif hasattr(value, "tolist") and value.size <= _MAX_RANK:
                found[name] = tuple(self._numbers(value))
        return found

    def _signature(self, table: Any, subgraphs: Sequence[Subgraph]) -> Signature:
        number = int(table.SubgraphIndex())
        count = len(subgraphs[number].tensors)

        def named(length: int, item: Any) -> dict[str, int]:
            found = {}
            for position in self._range(length):
                entry = item(position)
                if not 0 <= entry.TensorIndex() < count:
                    raise ModelError("damaged: a signature names no tensor", hint=_HINT)
                found[self._text(entry, 4)] = int(entry.TensorIndex())
            return found

        return Signature(
            self._text(table, 8),
            number,
            named(table.InputsLength(), table.Inputs),
            named(table.OutputsLength(), table.Outputs),
        )

    def _metadata(self, table: Any) -> Metadata:
        begin, size = self._buffers[table.Buffer()]
        self._spend(size)
        return Metadata(self._text(table, 4), self._data[begin : begin + size])


@cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    values = vars(getattr(schema, enumeration))
    return {value: name for name, value in values.items() if isinstance(value, int)}
