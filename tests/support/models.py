"""Small real models, put together by hand."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray


def adding_model(
    shape: Sequence[int] = (1, 4, 4, 3),
    *,
    inputs: int = 1,
    outputs: int = 1,
    signature: bool = False,
    weights: bytes = b"",
) -> bytes:
    """A model that adds a constant to each input; the outputs are of the inputs in turn.

    ``weights`` goes into a buffer that nothing uses, at the very end of the file.
    """
    model = tfl.ModelT()
    model.version = 3
    model.description = "adds"
    code = tfl.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.ADD
    model.operatorCodes = [code]
    model.buffers = [tfl.BufferT()]
    if weights:
        # The first to be packed is the last in the file.
        model.buffers.append(_buffer(np.frombuffer(weights, np.uint8)))
    model.buffers.append(_buffer(np.array([2.0], np.float32).view(np.uint8)))
    graph = tfl.SubGraphT()
    graph.tensors = [_tensor("two", [1], len(model.buffers) - 1)]
    graph.operators, graph.inputs, graph.outputs = [], [], []
    for index in range(inputs):
        graph.inputs.append(len(graph.tensors))
        graph.tensors.append(_tensor(f"in{index}", shape))
    for index in range(outputs):
        operator = tfl.OperatorT()
        operator.inputs = [graph.inputs[index % inputs], 0]
        operator.outputs = [len(graph.tensors)]
        operator.builtinOptionsType = tfl.BuiltinOptions.AddOptions
        operator.builtinOptions = tfl.AddOptionsT()
        graph.operators.append(operator)
        graph.outputs.append(len(graph.tensors))
        graph.tensors.append(_tensor(f"out{index}", shape))
    model.subgraphs = [graph]
    if signature:
        model.signatureDefs = [_signature(graph)]
    return pack(model)


def pack(model: tfl.ModelT) -> bytes:
    """The bytes of a model as an object."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(content: bytes) -> tfl.ModelT:
    """A model as an object."""
    return tfl.ModelT.InitFromObj(tfl.Model.GetRootAs(content, 0))


def _buffer(data: NDArray[np.uint8]) -> tfl.BufferT:
    buffer = tfl.BufferT()
    buffer.data = data
    return buffer


def _tensor(name: str, shape: Sequence[int], buffer: int = 0) -> tfl.TensorT:
    tensor = tfl.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = tfl.TensorType.FLOAT32
    return tensor


def _signature(graph: tfl.SubGraphT) -> tfl.SignatureDefT:
    def maps(indices: Sequence[int], name: str) -> list[tfl.TensorMapT]:
        made = []
        for position, index in enumerate(indices):
            entry = tfl.TensorMapT()
            entry.name, entry.tensorIndex = f"{name}_{position}", index
            made.append(entry)
        return made

    signature = tfl.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs = maps(graph.inputs, "image")
    signature.outputs = maps(graph.outputs, "sum")
    return signature
