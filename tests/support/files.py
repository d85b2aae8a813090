"""Files made by hand, operator by operator: no converter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema


def float_file(
    shapes: Sequence[tuple[int, ...]],
    operators: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    *,
    outputs: Sequence[int],
    constants: dict[int, Any] | None = None,
    variables: Sequence[int] = (),
    options: dict[str, tuple[int, Any]] | None = None,
) -> bytes:
    """A float file whose input is the first tensor.

    ``operators`` are (name, inputs, outputs), ``options`` the type and the object of an
    operator's options by its name.
    """
    import flatbuffers

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph.tensors, graph.operators = [], []
    for index, shape in enumerate(shapes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"t{index}".encode(), list(shape)
        tensor.type = schema.TensorType.FLOAT32
        tensor.isVariable = index in variables
        tensor.buffer = 0
        if constants and index in constants:
            buffer = schema.BufferT()
            buffer.data = np.asarray(constants[index], np.float32).tobytes()
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    for name, inputs, made in operators:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        operator.opcodeIndex = len(model.operatorCodes)
        operator.inputs, operator.outputs = list(inputs), list(made)
        if options and name in options:
            operator.builtinOptionsType, operator.builtinOptions = options[name]
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.inputs, graph.outputs, graph.name = [0], list(outputs), b"main"
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
