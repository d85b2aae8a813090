"""What predictions are made from: ``[prediction]`` of device profiles, ``profiles/processors``.

``cores.toml`` has types of cores, ``boards.toml`` devices without a profile of their own, and
``fitted.toml`` what ``harness calibrate`` found for all devices. What it found for one stands
in that device's profile, in ``[prediction.fitted]``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from harness.config.devices import device_files
from harness.config.hardware import PredictionFile
from harness.config.paths import profiles_dir
from harness.config.strict import Strict
from harness.config.toml_source import TomlSource
from harness.errors import UsageError, suggest

_Positive = Annotated[float, Field(gt=0, lt=1e9)]
_T = TypeVar("_T", bound=Strict)


class CoreFile(Strict):
    """A type of core: what its SIMD units can start in one cycle, and where that is from."""

    float_macs: _Positive
    int8_macs: _Positive
    source: str


class CoresFile(Strict):
    """``cores.toml``."""

    core: dict[str, CoreFile]


class BoardsFile(Strict):
    """``boards.toml``."""

    board: dict[str, PredictionFile]


class FittedFile(Strict):
    """``fitted.toml``: parameters by their dotted names, and half-widths of intervals."""

    form: str
    table: str
    rows: int
    parameters: dict[str, _Positive]
    spreads: dict[str, _Positive]


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
    form: str = ""

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
                f"--device {name} --write",
            )
        return found


def processors_dir() -> Path:
    """The folder of what devices share; ``$HARNESS_PROCESSORS`` in place of the shipped one."""
    own = os.environ.get("HARNESS_PROCESSORS")
    return Path(own).expanduser() if own else profiles_dir() / "processors"


def prediction_data() -> PredictionData:
    """Read and check all of it; raises ``ConfigError``, with file and line."""
    return _read(
        tuple(sorted((name, str(path)) for name, path in device_files().items())),
        str(processors_dir()),
    )


def forget() -> None:
    """Read the files again next time; after they were written."""
    _read.cache_clear()


@cache
def _read(files: tuple[tuple[str, str], ...], shared: str) -> PredictionData:
    folder = Path(shared)
    cores = _whole(folder / "cores.toml", CoresFile).core
    boards = _whole(folder / "boards.toml", BoardsFile).board
    fitted = None
    if (folder / "fitted.toml").is_file():
        fitted = _whole(folder / "fitted.toml", FittedFile)
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
        _known_cores(source, checked, cores, ("prediction",))
        devices[name] = checked.model_dump(exclude_none=True)
    source = TomlSource(folder / "boards.toml")
    for name, board in boards.items():
        _known_cores(source, board, cores, ("board", name))
    return PredictionData(
        devices=devices,
        boards={name: board.model_dump(exclude_none=True) for name, board in boards.items()},
        cores={name: core.model_dump() for name, core in cores.items()},
        fitted=dict(fitted.parameters) if fitted else {},
        spreads=dict(fitted.spreads) if fitted else {},
        form=fitted.form if fitted else "",
    )


def _known_cores(
    source: TomlSource, table: PredictionFile, cores: Mapping[str, Any], where: tuple[Any, ...]
) -> None:
    for position, core in enumerate(table.cores):
        if core.type not in cores:
            raise source.unknown(
                (*where, "cores", position, "type"), "type of core", core.type, list(cores)
            )


def _whole(path: Path, shape: type[_T]) -> _T:
    source = TomlSource(path)
    return source.validate(shape, source.data, ())


def raw(path: Path) -> dict[str, Any]:
    """A profile as it stands, unchecked."""
    return tomllib.loads(path.read_text(encoding="utf-8"))
