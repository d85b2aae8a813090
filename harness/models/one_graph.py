"""A concrete function as a SavedModel that holds nothing else, and its ends in their order.

``TFLiteConverter.from_keras_model`` saves every layer with its own functions and loads them
twice, which takes several times as long as all the rest and gives the same file. Besides, the
converter lists inputs and outputs in the order of a hash table; the signature in the file tells
which is which, so they are put back into the model's own order.
"""

from __future__ import annotations

import keyword
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: The one signature.
SIGNATURE = "serving_default"


def argument_names(names: Sequence[str]) -> list[str]:
    """Names that a signature may have: letters, digits and ``_``, no two alike in any case."""
    made: list[str] = []
    for position, name in enumerate(names):
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        taken = {"self", *(other.lower() for other in made)}
        if not plain[:1].isalpha() or keyword.iskeyword(plain) or plain.lower() in taken:
            plain = f"input_{position}_{plain}"
        made.append(plain)
    return made


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts ``output_2`` before ``output_10``."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def one_function(
    tf: Any, call: Callable[..., Any], specs: Sequence[Any], outputs: Sequence[str]
) -> Any:
    """``call`` as a concrete function from tensors to a flat dictionary of ``outputs``."""

    def infer(*values: Any) -> Any:
        return dict(zip(outputs, tf.nest.flatten(call(*values)), strict=True))

    return tf.function(infer).get_concrete_function(*specs)


def converter(tf: Any, function: Any, folder: Path, otherwise: Callable[[], Any]) -> Any:
    """A ``TFLiteConverter`` for a concrete function, by way of the new ``folder``.

    ``otherwise()`` makes it where the function needs more than its variables: tables and the
    like belong to the model's parts.
    """
    resources = [outer for outer, _ in function.graph.captures if outer.dtype == tf.resource]
    if len(resources) > len(function.variables):
        return otherwise()
    kept = tf.Module()
    kept.variables_of_model = list(function.variables)
    tf.saved_model.save(kept, str(folder), signatures=function)
    return tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])


def in_order(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The file with its ends in the order of these names of its signature.

    Only the two lists of tensor numbers are changed. A file whose signature has other names
    stays as it is.
    """
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(content, 0)
    made = bytearray(content)
    for place in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(place)
        graph = model.Subgraphs(signature.SubgraphIndex())
        ends = (
            (inputs, signature.Inputs, signature.InputsLength(), graph.InputsAsNumpy(), 6),
            (outputs, signature.Outputs, signature.OutputsLength(), graph.OutputsAsNumpy(), 8),
        )
        for names, item, count, listed, slot in ends:
            tensors = {item(n).Name().decode(): item(n).TensorIndex() for n in range(count)}
            wanted = [tensors.get(name, -1) for name in names]
            if sorted(wanted) == sorted(listed):
                # The vtable slots of SubGraph.inputs and SubGraph.outputs in the schema.
                start = graph._tab.Vector(graph._tab.Offset(slot))
                struct.pack_into(f"<{len(wanted)}i", made, start, *wanted)
    return bytes(made)
