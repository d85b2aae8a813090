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
from harness.errors import ConfigError, UsageError, suggest


@dataclass(frozen=True, slots=True)
class PredictionData:
    """Everything that predictions need, checked.

    ``devices`` and ``boards``: name -> a ``[prediction]`` table; ``cores``: type -> what it
    does in a cycle; ``fitted``: parameters of no single device; ``spreads`` of intervals;
    ``form`` is the version of the formulas that they were fitted to, empty without any.
    ``broken``: name -> what is wrong with the profile, which stops only predictions of that device.
    """

    devices: Mapping[str, Mapping[str, Any]]
    boards: Mapping[str, Mapping[str, Any]]
    cores: Mapping[str, Mapping[str, Any]]
    fitted: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)
    form: str = ""
    broken: Mapping[str, ConfigError] = field(default_factory=dict)

    def refuse_broken(self, name: str) -> None:
        """Raises the ``ConfigError`` of a device whose profile is wrong."""
        if name in self.broken:
            wrong = self.broken[name]
            raise ConfigError(wrong.message, hint=wrong.hint)

    def warnings(self) -> list[str]:
        """A line for each profile that is wrong, so that no prediction can be of it."""
        return [
            f"warning: {name} cannot be predicted: {wrong.one_line}"
            for name, wrong in sorted(self.broken.items())
        ]

    def table(self, name: str) -> Mapping[str, Any]:
        """The ``[prediction]`` table of a device or board; raises ``UsageError``.

        ``ConfigError`` where its profile is wrong.
        """
        self.refuse_broken(name)
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
    """Read and check all of it; raises ``ConfigError``, with file and line.

    A wrong profile of one device does not: it is among the ``broken``.
    """
    fitted = processors.fitted()
    processors.cores()
    devices, broken = _devices(
        tuple(sorted((name, path, _age(path)) for name, path in device_files().items()))
    )
    return PredictionData(
        devices=devices,
        broken=broken,
        boards=processors.boards(),
        cores=processors.cores(),
        fitted=fitted.parameters,
        spreads=fitted.spreads,
        form=fitted.form,
    )


def forget() -> None:
    """Read the files again next time; after they were written."""
    _devices.cache_clear()
    processors.forget()


def _age(path: Path) -> int:
    """Changes when a profile does: who mends it need not start anew."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@cache
def _devices(
    files: tuple[tuple[str, Path, int], ...],
) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, ConfigError]]:
    devices: dict[str, Mapping[str, Any]] = {}
    broken: dict[str, ConfigError] = {}
    for name, path, _ in files:
        try:
            found = prediction_table(path)
        except ConfigError as error:
            broken[name] = error
            continue
        if found is not None:
            devices[name] = found
    return devices, broken


def prediction_table(path: Path) -> Mapping[str, Any] | None:
    """The checked ``[prediction]`` table of a profile, ``None`` without; raises ``ConfigError``."""
    try:
        # Most profiles have none, and are not taken apart for that.
        if b"prediction" not in path.read_bytes():
            return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    source = TomlSource(path)
    if "prediction" not in source.data:
        return None
    checked = source.validate(PredictionFile, source.data["prediction"], ("prediction",))
    processors.refuse_unknown_parts(source, checked, ("prediction",))
    return checked.model_dump(exclude_none=True)
