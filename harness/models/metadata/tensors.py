"""The inputs and outputs of a ``.tflite`` file, as far as its metadata speaks of them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import ModelError
from harness.models.metadata.container import open_model
from harness.models.metadata.flatbuffer import Table, damaged

_MAX_TENSORS = 1_000_000
_MAX_SIGNATURES = 1024
_MAX_RANK = 64

#: The schema's TensorType values that hold whole numbers (int32, uint8, int64, int16, int8,
#: uint16), with their bounds where quantized values are kept in them.
_INTEGERS: dict[int, tuple[float, float] | None] = {
    2: None,
    3: (0.0, 255.0),
    4: None,
    7: (-32768.0, 32767.0),
    9: (-128.0, 127.0),
    16: (0.0, 65535.0),
}
_FLOATS = {0, 1, 10, 18}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its name for an app, and what it holds."""

    name: str
    shape: tuple[int, ...]
    type: int
    quantized: bool

    @property
    def floating(self) -> bool:
        """Whether it holds floats."""
        return self.type in _FLOATS

    @property
    def real(self) -> bool:
        """Whether it stands for real numbers; if not, for indices, flags or text."""
        return self.floating or (self.quantized and self.type in _INTEGERS)

    def channels(self, layout: str) -> int:
        """Length of the axis that has a mean and a std of its own."""
        if not self.shape:
            return 1
        return self.shape[1 if layout == "nchw" and len(self.shape) > 1 else -1]

    def stored_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Smallest and largest quantized value; empty where that is not known."""
        bounds = _INTEGERS.get(self.type) if self.quantized else None
        return ((bounds[0],), (bounds[1],)) if bounds else ((), ())


def model_tensors(content: bytes) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of the main graph, named as its signature names them."""
    model = open_model(content)
    subgraphs = model.tables(2, _MAX_TENSORS)
    if not subgraphs:
        raise ModelError("the file holds no graph")
    positions = subgraphs[0].tables(0, _MAX_TENSORS)
    return (
        _tensors(model, positions, subgraphs[0], 1, 0),
        _tensors(model, positions, subgraphs[0], 2, 1),
    )


def _tensors(
    model: Table, tensors: list[Table], subgraph: Table, list_slot: int, signature_slot: int
) -> tuple[Tensor, ...]:
    names: dict[int, str] = {}
    for signature in model.tables(7, _MAX_SIGNATURES):
        if signature.number(4, "<I") == 0:
            for entry in signature.tables(signature_slot, _MAX_SIGNATURES):
                names.setdefault(entry.number(1, "<I"), entry.text(0))
    made = []
    for index in map(int, subgraph.numbers(list_slot, "i", _MAX_SIGNATURES)):
        if not 0 <= index < len(tensors):
            raise damaged()
        made.append(_tensor(tensors[index], names.get(index, "")))
    return tuple(made)


def _tensor(tensor: Table, name: str) -> Tensor:
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f", _MAX_TENSORS) if quantization else ()
    shape = tuple(int(size) for size in tensor.numbers(0, "i", _MAX_RANK))
    return Tensor(name or tensor.text(3), shape, tensor.number(1, "<b"), bool(scales))
