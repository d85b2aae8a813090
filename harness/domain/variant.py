"""The deployable file and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a variant: name, shape, NumPy type name, quantization.

    ``scale`` 0 means not quantized; real value = (stored - ``zero_point``) * ``scale``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """Model x Recipe x calibration x converter version; its identity is ``sha256``.

    ``manifest`` records everything that determined the file, and how long and with how
    much memory it was made.
    """

    model: str
    recipe: str
    sha256: str
    path: Path
    size_bytes: int
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def training_findings(self) -> tuple[str, ...]:
        """What is suspicious of its training: of the samples, and of what came of it."""
        training = self.manifest.get("training") or {}
        return (*(self.manifest.get("training_findings") or ()), *training.get("findings", ()))
