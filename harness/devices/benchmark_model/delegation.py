"""Who really ran the model, as the tool and the delegates log it.

Sources of the texts: ``benchmark_tflite_model.cc`` (``Explicitly applied ...``), the delegate
providers (``... acceleration is unsupported on this platform``), the interpreter's ``subgraph.cc``
(``Replacing N out of M node(s) with delegate (NAME) node, yielding ...``) and the delegates
(``NAME delegate: N nodes delegated out of M nodes with P partitions``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.devices import messages
from harness.devices.benchmark_model.output import bodies, refuse
from harness.errors import UnsupportedError

#: Accelerator -> what the tool calls its delegate, and what the runtime calls it.
_NAMES = {
    "nnapi": ("NNAPI", r"TfLiteNnapiDelegate\w*"),
    "gpu": ("GPU", r"TfLiteGpu\w*|LITERT_\w+"),
    "hexagon": ("Hexagon", r"TfLiteHexagon\w*"),
    "xnnpack": ("XNNPACK", r"TfLiteXNNPackDelegate\w*"),
}
_IMPLICIT = "Created TensorFlow Lite XNNPACK delegate for CPU."
_NO = (
    r"{tool} acceleration is unsupported on this platform.*",
    r"Could not create {tool} delegate.*",
    r"Failed to apply {tool} delegate.*",
    r"Though {tool} delegate is (?:explicitly )?applied, the model graph will not be executed.*",
    r"Restored original execution plan after delegate application failure.*",
    r"Disallowed CPU fallback detected.*",
    r"Created 0 {tool} delegate kernels.*",
    r"Replacing 0 (?:out of \d+ )?node\(s\) with delegate \((?:{runtime})\).*",
    r"(?:{tool}|{runtime}) delegate: 0 nodes delegated.*",
    r".*[Ff]alling back to (?:the )?CPU.*",
)
_APPLIED = (
    r"(?:Explicitly applied|Applied) {tool} delegate, and the model graph will be "
    r"(?:(?P<whole>completely) executed (?:by|w/) the delegate"
    r"|partially executed (?:by|w/) the delegate"
    r"(?: w/ (?P<kernels>\d{{1,6}}) delegate kernels)?)\.?"
)
_COUNTED = (
    r"Replacing (?P<nodes>\d{{1,6}})(?: out of (?P<total>\d{{1,6}}))? node\(s\) with delegate "
    r"\((?:{runtime})\).*",
    r"(?:\[.{{1,40}}\] )?(?:{tool}|{runtime}) delegate: (?P<nodes>\d{{1,6}}) nodes delegated "
    r"out of (?P<total>\d{{1,6}}) nodes(?: with (?P<partitions>\d{{1,6}}) partitions)?\.?",
)


def refusal(lines: Sequence[str], accelerator: str) -> str | None:
    """The line that says that the accelerator does not run the model, if there is one."""
    if accelerator not in _NAMES:
        return None
    tool, runtime = _NAMES[accelerator]
    patterns = [re.compile(text.format(tool=tool, runtime=runtime)) for text in _NO]
    return next(
        (body for _, body in bodies(lines) if any(item.fullmatch(body) for item in patterns)), None
    )


def delegated(
    lines: Sequence[str], accelerator: str, operators: int, device: str
) -> dict[str, Any]:
    """The fact ``delegated`` of a run, see PROTOCOL.md; ``whole``: nothing is left to the CPU.

    ``operators`` are those of the file. Raises ``UnsupportedError`` where the accelerator that
    was asked for runs nothing, ``ProtocolError`` where the tool does not say whether it does.
    """
    if accelerator not in _NAMES:
        by = "xnnpack" if any(body == _IMPLICIT for _, body in bodies(lines)) else "cpu"
        return {"accelerator": by, "nodes": None, "total": operators, "partitions": None}
    no = refusal(lines, accelerator)
    if no is not None:
        raise UnsupportedError(
            f"{device}: {accelerator} does not run this model: {messages.clean(no)[:300]}",
            hint="see which operators it has with: harness inspect; or use another backend",
        )
    tool, runtime = _NAMES[accelerator]
    applied = _search(lines, _APPLIED.format(tool=tool))
    if applied is None:
        about = [line for line in lines if "elegate" in line] or lines[-6:]
        refuse(device, f"nothing of whether {accelerator} runs the model", about[-6:])
    counted = next(
        (
            found
            for text in _COUNTED
            if (found := _search(lines, text.format(tool=tool, runtime=runtime)))
        ),
        None,
    )
    seen = {key: int(text) for key, text in counted.groupdict().items() if text} if counted else {}
    whole = applied["whole"] is not None
    total = seen.get("total", operators)
    nodes = seen.get("nodes", total if whole else None)
    kernels = 1 if whole else int(applied["kernels"] or 0) or seen.get("partitions")
    if nodes is not None and nodes > total:
        refuse(device, "more delegated nodes than there are", [counted.group() if counted else ""])
    return {
        "accelerator": accelerator,
        "nodes": nodes,
        "total": total,
        "partitions": kernels,
        "whole": whole,
    }


def _search(lines: Sequence[str], pattern: str) -> re.Match[str] | None:
    """The last line that is wholly of the pattern."""
    compiled = re.compile(pattern)
    found = [match for _, body in bodies(lines) if (match := compiled.fullmatch(body))]
    return found[-1] if found else None
