"""What devices share for predictions: types of cores, boards, and what was fitted for all.

``profiles/processors/``: ``cores.toml`` has types of cores, ``boards.toml`` devices without a
profile of their own, and ``fitted.toml`` what ``harness calibrate`` found for all devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from harness.cache import expanded
from harness.config.hardware import FACTORS, PredictionFile
from harness.config.paths import profiles_dir
from harness.config.strict import Strict
from harness.config.toml_source import TomlSource

_Positive = Annotated[float, Field(gt=1e-9, lt=1e9)]
_T = TypeVar("_T", bound=Strict)


class CoreFile(Strict):
    """A type of core: what it can do in one cycle, and where that is from."""

    float_macs: _Positive
    int8_macs: _Positive
    scalar: _Positive
    cache_mib: _Positive
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


#: What a ``[prediction]`` table may have beside its processors and an Edge TPU.
ACCELERATORS = ("gpu", "nnapi", "npu")


def processors_dir() -> Path:
    """The folder of what devices share; ``$HARNESS_PROCESSORS`` in place of the shipped one."""
    own = os.environ.get("HARNESS_PROCESSORS")
    return expanded(own) if own else profiles_dir() / "processors"


def cores() -> Mapping[str, Mapping[str, Any]]:
    """Type of core -> its numbers as ``CoreFile`` has them; raises ``ConfigError``."""
    return _cores(processors_dir())


def boards() -> Mapping[str, Mapping[str, Any]]:
    """Name of a board -> its ``[prediction]`` table; raises ``ConfigError``."""
    return _boards(processors_dir())


def fitted() -> FittedFile:
    """What was fitted for all; without parameters where there is no such file."""
    return _fitted(processors_dir())


def forget() -> None:
    """Read the files again next time; after they were written."""
    for read in (_cores, _boards, _fitted):
        read.cache_clear()


@cache
def _cores(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    return {name: core.model_dump() for name, core in _whole(folder / "cores.toml", CoresFile)
            .core.items()}  # fmt: skip


@cache
def _boards(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    source = TomlSource(folder / "boards.toml")
    found = source.validate(BoardsFile, source.data, ())
    for name, board in found.board.items():
        refuse_unknown_parts(source, board, ("board", name))
    return {name: board.model_dump(exclude_none=True) for name, board in found.board.items()}


@cache
def _fitted(folder: Path) -> FittedFile:
    path = folder / "fitted.toml"
    if not path.is_file():
        return FittedFile(form="", table="", rows=0, parameters={}, spreads={})
    return _whole(path, FittedFile)


def refuse_unknown_parts(
    source: TomlSource, table: PredictionFile, where: tuple[str | int, ...]
) -> None:
    """Raises ``ConfigError`` for a type of core that ``cores.toml`` does not have.

    The same for a fitted factor that no prediction reads, see ``hardware.FACTORS``.
    """
    for name in table.fitted:
        if name not in FACTORS:
            raise source.error(
                (*where, "fitted", name),
                f"unknown factor {name!r} of a device",
                hint=f"known: {', '.join(FACTORS)}",
            )
    known = cores()
    for position, core in enumerate(table.cores):
        if core.type not in known:
            place = (*where, "cores", position, "type")
            raise source.unknown(place, "type of core", core.type, known)


def resolved(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """A ``[prediction]`` table with all that a simulated device needs of it, and no more.

    What is left out is of other kernels, cores and accelerators than its own.
    """
    kinds = sorted({core["type"] for core in table["cores"]})
    starts = ["kernel.xnnpack.", "memory.", *(f"core.{kind}." for kind in kinds)]
    if "edgetpu" in table or "npu" in table:  # a neural processor has an Edge TPU's shares
        starts.append("edgetpu.")
    if "edgetpu" in table:
        starts.append(f"link.{table['edgetpu']['link']}.")
    chips = [name for name in ACCELERATORS if name in table]
    starts += [f"{name}." for name in chips]
    parameters = {
        key: value
        for key, value in fitted().parameters.items()
        if key.startswith(tuple(starts)) or (key.count(".") == 1 and key.startswith("kernel."))
    }
    known = cores()
    return {
        "name": name,
        "form": fitted().form,
        "cores": table["cores"],
        "memory_gbs": table["memory_gbs"],
        "core_types": {
            kind: [known[kind][each] for each in ("float_macs", "int8_macs", "scalar", "cache_mib")]
            for kind in kinds
        },
        "parameters": {
            **parameters,
            **{f"device.{name}.{key}": value for key, value in table["fitted"].items()},
        },
        **{key: table[key] for key in ("edgetpu", *chips) if key in table},
    }


def _whole(path: Path, shape: type[_T]) -> _T:
    source = TomlSource(path)
    return source.validate(shape, source.data, ())
