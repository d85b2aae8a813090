"""What predictions are made from: ``[prediction]`` of device profiles, and what they share.

What ``harness calibrate`` found for one device stands in that device's profile, in
``[prediction.fitted]``; what it found for all in ``profiles/processors/fitted.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from harness.config import processors
from harness.config.devices import device_files
from harness.config.hardware import PredictionFile
from harness.config.toml_source import TomlSource
from harness.errors import UsageError, suggest


@dataclass(frozen=True, slots=True)
class PredictionData:
    """Everything that predictions need, checked.

    ``devices`` and ``boards``: name -> a ``[prediction]`` table; ``cores``: type -> float_macs,
    int8_macs; ``fitted``: parameters of no single device; ``spreads`` of intervals.
    """

    devices: Mapping[str, Mapping[str, Any]]
    boards: Mapping[str, Mapping[str, Any]]
    cores: Mapping[str, Mapping[str, Any]]
    fitted: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)

    def table(self, name: str) -> Mapping[str, Any]:
        """The ``[prediction]`` table of a device or board; raises ``UsageError``."""
        found = self.devices.get(name) or self.boards.get(name)
        if found is None:
            known = [*self.devices, *self.boards]
            raise UsageError(
                f"no parameters to predict {name!r} with",
                hint=suggest(name, known)
                if name not in device_files()
                else "give its profile a [prediction] table, or: harness calibrate --from-run RUN "
                f"--device {name} --like BOARD --write",
            )
        return found


def prediction_data() -> PredictionData:
    """Read and check all of it; raises ``ConfigError``, with file and line."""
    fitted = processors.fitted()
    return PredictionData(
        devices=_devices(tuple(sorted((n, str(p)) for n, p in device_files().items()))),
        boards=processors.boards(),
        cores=processors.cores(),
        fitted=fitted.parameters,
        spreads=fitted.spreads,
    )


def forget() -> None:
    """Read the files again next time; after they were written."""
    _devices.cache_clear()
    processors.forget()


@cache
def _devices(files: tuple[tuple[str, str], ...]) -> Mapping[str, Mapping[str, Any]]:
    devices: dict[str, Mapping[str, Any]] = {}
    for name, path in files:
        # A broken profile is told of by the command that uses it, not by every prediction.
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        if "[prediction" not in text:
            continue
        source = TomlSource(Path(path))
        if not isinstance(source.data.get("prediction"), dict):
            continue
        checked = source.validate(PredictionFile, source.data["prediction"], ("prediction",))
        processors.refuse_unknown_cores(source, checked, ("prediction",))
        devices[name] = checked.model_dump(exclude_none=True)
    return devices
