"""What converters say, in words for people."""

from __future__ import annotations

import re

#: MLIR's complaint about an operator that TensorFlow Lite does not have.
_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")

_HINTS = {
    _LACKING.pattern: "replace the layers that use them, or leave them to the app",
    "TensorListReserve": "loops over a sequence need a fixed batch: bring the Keras model, or save "
    "the signature for a batch of 1",
    "should be recorded during calibration": "this recipe takes models with float inputs only: "
    "int8 or dynamic_int8 may do",
    r"No space left on device|[Dd]isk quota": "free some space, or set HARNESS_CACHE to a folder "
    "on another disk",
    r"the converter crashed \(SIG(?:SEGV|ABRT|BUS|FPE)": "that is a fault of the converter: "
    "another recipe, or the model as a SavedModel or from Keras 2, may go another way",
}


def hint_for(text: str) -> str | None:
    """What to do about a converter's message, where that is known."""
    return next((hint for pattern, hint in _HINTS.items() if re.search(pattern, text)), None)


def shorten(text: str, limit: int = 600) -> str:
    """What matters of a converter's message: no stack, no colour codes, nothing twice."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lacking = sorted(set(_LACKING.findall(text)))
    if lacking:
        return f"TensorFlow Lite has no operator for {', '.join(lacking)}"
    text = re.sub(r"loc\(.*?\): ?", "", text)
    # The converter's compiler says where in Python, which is never the user's code.
    text = re.sub(r"(?m)^\s*(?:<[^>\n]*>|loc\([^\n]*\)|[^\s:]+\.py):(?:\d+:(?:\d+:)? ?)?", "", text)
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    kept = [
        line
        for line in lines
        if not re.match(
            r'(File "|Traceback|WARNING: All log messages|at |\^|~|note: |During handling|'
            r"The above exception|[WI]\d{4} )",
            line,
        )
    ]
    short = " ".join(kept or lines)
    return short if len(short) <= limit else short[: limit - 3] + "..."
