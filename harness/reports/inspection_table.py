"""The contents of a ``.tflite`` file for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.models.inspection import Inspection
from harness.reports import numbers
from harness.reports.texts import plain_text
from harness.simulation.analysis import float_islands, parameters, per_tensor_weights
from harness.simulation.graph import Quantization, Tensor


def render(inspection: Inspection, width: int, *, tensors: bool = False) -> str:
    """The table as plain text of at most ``width`` columns."""
    return plain_text([renderable(inspection, tensors=tensors)], width)


def renderable(inspection: Inspection, *, tensors: bool = False) -> RenderableType:
    """Summary, operators, reasons; with ``tensors`` also every tensor."""
    parts: list[RenderableType] = [Text(_clean(str(inspection.path)), style="bold"), ""]
    parts.append(_summary(inspection))
    reasons = _reasons(inspection)
    parts.append(_operators(inspection, reasons))
    for reason, letter in reasons.items():
        parts.append(Padding(Text(f"{letter} {_clean(reason)}"), (0, 0, 0, 1)))
    if tensors:
        parts.append(_tensors(inspection.graph.tensors))
    return Group(*parts)


def _summary(inspection: Inspection) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in _facts(inspection):
        table.add_row(name, Text(_clean(value)))
    return table


def _facts(inspection: Inspection) -> Iterator[tuple[str, str]]:
    graph = inspection.graph
    needs = f", needs runtime {inspection.runtime}" if inspection.runtime else ""
    yield "file", f"{inspection.size_bytes:,} bytes, sha256 {inspection.sha256[:16]}"
    yield "made by", f"{graph.description or 'not said'}, schema {graph.schema_version}{needs}"
    for kind, found in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in found:
            yield kind, f"{tensor.name}: {tensor.dtype} {_shape(tensor)}{_scale(tensor)}"
    tpu = inspection.edgetpu
    rest = ", without what is compiled" if tpu["compiled"] else ""
    yield "parameters", f"{parameters(graph):,} in {_bytes(graph.weight_bytes)} of constants{rest}"
    yield "per inference", f"{graph.macs:,} multiply-accumulates{rest}"
    yield "activations", f"{_bytes(graph.peak_activation_bytes)} at once, at the most{rest}"
    others = [*graph.float_types, *(["int16"] if graph.integer16_activations else [])]
    yield "computes in", "8-bit integers" if graph.full_integer else ", ".join(others) or "other"
    for island in float_islands(graph):
        yield "float", f"operators {_ranges(island.operators)}: {island.reason}"
    coarse = per_tensor_weights(graph)
    if coarse:
        indices = _ranges([operator.index for operator in coarse])
        yield "per tensor", f"one scale for all channels of the weights of operators {indices}"
    if len(graph.subgraphs) > 1:
        yield "subgraphs", f"{len(graph.subgraphs)}; the operators below are the main one's"
    if tpu["compiled"]:
        yield "Edge TPU", f"compiled for it; {len(tpu['operators_on_cpu'])} operators on the CPU"
    else:
        yield "Edge TPU", f"would map {tpu['mapped']} of {tpu['total']} operators (predicted)"
    for signature in graph.signatures:
        names = ", ".join(signature.inputs) + " -> " + ", ".join(signature.outputs)
        yield "signature", f"{signature.key}: {names}"
    for entry in graph.metadata:
        yield "metadata", f"{entry.name}, {len(entry.data):,} bytes"


def _reasons(inspection: Inspection) -> dict[str, str]:
    """Reason -> its letter, in the order in which they come."""
    found: dict[str, str] = {}
    for item in inspection.mapping:
        if not item.mapped and item.reason not in found:
            number = len(found)
            found[item.reason] = _letter(number)
    return found


def _letter(number: int) -> str:
    tail = chr(ord("a") + number % 26)
    return tail if number < 26 else _letter(number // 26 - 1) + tail


def _operators(inspection: Inspection, reasons: dict[str, str]) -> Table:
    graph = inspection.graph
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("\n#", justify="right", no_wrap=True)
    table.add_column("\noperator", overflow="ellipsis", no_wrap=True, max_width=32)
    table.add_column("Edge\nTPU", no_wrap=True)
    table.add_column("\noutput", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("\ntype", no_wrap=True)
    table.add_column("\nMACs", justify="right", no_wrap=True)
    table.add_column("\nweights", justify="right", no_wrap=True)
    for operator, mapped in zip(graph.operators, inspection.mapping, strict=True):
        made = [graph.tensors[index] for index in operator.made]
        table.add_row(
            str(operator.index),
            Text(_clean(operator.name)),
            Text("yes", style="green") if mapped.mapped else Text(f"no {reasons[mapped.reason]}"),
            _shape(made[0]) if made else "",
            made[0].dtype if made else "",
            f"{operator.macs:,}" if operator.macs else "",
            _bytes(operator.weight_bytes) if operator.weight_bytes else "",
        )
    return table


def _tensors(tensors: Sequence[Tensor]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("tensor", no_wrap=True)
    table.add_column("shape", no_wrap=True, overflow="ellipsis", max_width=14)
    table.add_column("type", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("quantization", no_wrap=True, overflow="ellipsis", max_width=24)
    for tensor in tensors:
        kind = " const" if tensor.constant else " state" if tensor.variable else ""
        table.add_row(
            str(tensor.index),
            Text(_tail(_clean(tensor.name), 26)),
            _shape(tensor),
            tensor.dtype + kind,
            f"{tensor.bytes:,}",
            _words(tensor.quantization),
        )
    return table


def _shape(tensor: Tensor) -> str:
    sizes = tensor.shape_signature or tensor.shape
    return "x".join("?" if size == -1 else str(size) for size in sizes) or "scalar"


def _scale(tensor: Tensor) -> str:
    words = _words(tensor.quantization)
    return f", {words}" if words else ""


def _words(quantization: Quantization | None) -> str:
    if quantization is None:
        return ""
    if quantization.block_size:
        return f"blocks of {quantization.block_size}"
    if quantization.per_axis:
        return f"{len(quantization.scales)} scales, axis {quantization.axis}"
    zero = quantization.zero_points[0] if quantization.zero_points else 0
    return f"scale {quantization.scales[0]:.4g}, zero {zero}"


def _bytes(count: int) -> str:
    return numbers.size(count) if count >= 1000 else f"{count} B"


def _tail(text: str, length: int) -> str:
    """The end of a name says more than its beginning."""
    return text if len(text) <= length else "…" + text[1 - length :]


def _ranges(indices: Sequence[int]) -> str:
    """``0-3, 7`` for 0, 1, 2, 3 and 7."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1][1:] = [index]
        else:
            parts.append([index])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _clean(text: str) -> str:
    """Names come from foreign files: nothing in them may steer a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
