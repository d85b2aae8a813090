"""What was fitted, into the profiles; nothing else in them changes."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from harness.cache import whole_file
from harness.calibration.calibrating import Calibration
from harness.calibration.own import OwnFit
from harness.calibration.tables import with_table
from harness.config.devices import device_files, device_from, own_devices
from harness.config.paths import profiles_dir
from harness.config.prediction import forget, prediction_data, prediction_table
from harness.config.processors import processors_dir
from harness.config.toml_source import TomlSource
from harness.errors import ConfigError, HarnessError, UsageError
from harness.simulation.prediction import prior_of
from harness.simulation.version import FORM
from harness.transports import TRANSPORTS

_HEADER = "[prediction.fitted]"
_OURS = "# Fitted by"


def shared_text(calibration: Calibration, table: str) -> str:
    """The whole of ``fitted.toml``."""
    lines = [
        f"# Fitted by harness calibrate from {len(calibration.cases)} rows of {table};",
        "# do not edit. Behind each value: what it is, and what was believed before.",
        f'form = "{FORM}"',
        f'table = "{table}"',
        f"rows = {len(calibration.cases)}",
        "",
        "[spreads]",
        "# Half of a 90 % interval in logarithms, from rows of models that were left out.",
        *(f'"{name}" = {value:.4g}' for name, value in sorted(calibration.spreads.items())),
        "",
        "[parameters]",
    ]
    for name, value in sorted(calibration.fit.values.items()):
        if not name.startswith("device."):
            prior = prior_of(name)
            lines.append(f'"{name}" = {value:.5g}  # {prior.meaning}; before: {prior.value:g}')
    return "\n".join(lines) + "\n"


def device_values(values: Mapping[str, float], device: str) -> dict[str, float]:
    """The parameters of one device, by name without the device's."""
    start = f"device.{device}."
    return {
        name.removeprefix(start): value
        for name, value in sorted(values.items())
        if name.startswith(start)
    }


def with_fitted(text: str, fitted: Mapping[str, float], why: str) -> str:
    """A profile's text with its ``[prediction.fitted]`` table made anew, at its end.

    Nothing else in it changes. Raises ``UsageError`` for a profile in which that cannot be done.
    """
    lines = []
    if fitted:
        lines = [f"{_OURS} harness calibrate from {why}: factors of this device alone.", _HEADER]
        lines += [f'"{name}" = {value:.4g}' for name, value in fitted.items()]
    try:
        return with_table(text, ("prediction", "fitted"), lines, _OURS)
    except ValueError as error:
        raise UsageError(
            f"{_HEADER} cannot be written into the profile: {error}",
            hint="write its [prediction] as a table of its own, and calibrate again",
        ) from None


def changed_files(calibration: Calibration, table: str) -> dict[Path, str]:
    """Path -> what it should hold: ``fitted.toml``, and the profile of every fitted device."""
    values = calibration.fit.values
    found = {processors_dir() / "fitted.toml": shared_text(calibration, table)}
    rows: dict[str, int] = {}
    for case in calibration.cases:
        assert case.setting is not None
        name = case.setting.hardware.name
        rows[name] = rows.get(name, 0) + 1
    known = prediction_data().devices
    for name, path in device_files().items():
        # A board's rows are of no profile, even where one has its name.
        if name in rows and name in known:
            why = f"{rows[name]} of its rows in {table}"
            text = path.read_text(encoding="utf-8")
            found[path] = with_fitted(text, device_values(values, name), why)
    return found


def own_profile(found: OwnFit, like: str, run: str) -> dict[Path, str]:
    """The user's own profile of a device with its factors: his own, or made of what there is.

    Of a profile that is shipped, a copy among the user's own; of none, a new one of this
    machine's transport, to be completed by hand. Factors that the run says nothing of, as those of
    other accelerators, stay. Raises ``UsageError``, ``ConfigError`` for a wrong profile.
    """
    files = device_files()
    data = prediction_data()
    data.refuse_broken(found.device)
    before: Mapping[str, float] = {}
    target = own_devices() / f"{found.device}.toml"
    text = ""
    if found.device in files:
        text = files[found.device].read_text(encoding="utf-8")
        if files[found.device].parent != profiles_dir() / "devices":
            target = files[found.device]
    if found.device in data.devices:
        before = data.devices[found.device]["fitted"]
    else:
        table = data.table(like)
        text = text.rstrip("\n") + ("\n\n" if text else f'name = "{found.device}"\n'
            'transport = "local"\n\n') + _prediction_text(
            table, like, names=like == found.device)  # fmt: skip
    values = dict(sorted({**before, **device_values(found.values, found.device)}.items()))
    count = len(found.cases)
    kinds = " and ".join(sorted({case.published.source for case in found.cases}))
    why = f"{count} measurement{'s' if count != 1 else ''} ({kinds}) of run {run}"
    return {target: with_fitted(text, values, why)}


def _prediction_text(table: Mapping[str, Any], like: str, *, names: bool) -> str:
    """``names`` for the board itself: tables call it as before."""
    cores = ", ".join(
        f'{{ type = "{core["type"]}", count = {core["count"]}, ghz = {core["ghz"]} }}'
        for core in table["cores"]
    )
    lines = [
        "[prediction]",
        f"cores = [{cores}]",
        f"memory_gbs = {table['memory_gbs']}",
        f'source = "as {like}"',
    ]
    if "family" in table:
        lines.insert(1, f'family = "{table["family"]}"')
    if names and table.get("names"):
        lines.insert(1, f"names = {json.dumps(list(table['names']))}")
    for name in ("gpu", "nnapi", "npu", "edgetpu"):
        if name in table:
            inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table[name].items())
            lines.append(f"{name} = {{ {inner} }}")
    return "\n".join(lines) + "\n"


def difference(files: Mapping[Path, str]) -> str:
    """What would change, as a unified diff."""
    parts: list[str] = []
    for path, text in files.items():
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        parts.extend(
            difflib.unified_diff(
                old.splitlines(keepends=True), text.splitlines(keepends=True),
                str(path), str(path),
            )
        )  # fmt: skip
    return "".join(parts)


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write what is different: all files whole, or none; returns which.

    A file takes the place of the one before only if it reads as it should. Raises ``UsageError``.
    """
    changed = {
        path: text
        for path, text in files.items()
        if not (path.is_file() and path.read_text(encoding="utf-8") == text)
    }
    before = {path: path.read_bytes() if path.is_file() else None for path in changed}
    try:
        with ExitStack() as stack:  # they take their places when all are made
            for path, text in changed.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                part = stack.enter_context(whole_file(path))
                part.write_text(text, encoding="utf-8")
                part.chmod(0o644)
                _read_again(part, path, text)
    except (OSError, HarnessError) as error:
        _restore(before)
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"nothing is written: {error}",
            hint="calibrate in a checkout, or set HARNESS_DEVICES and HARNESS_PROCESSORS",
        ) from None
    forget()
    return list(changed)


def _restore(before: Mapping[Path, bytes | None]) -> None:
    for path, content in before.items():
        with suppress(OSError):
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                path.write_bytes(content)


def left_behind(calibration: Calibration) -> list[str]:
    """Devices with fitted factors of which the table has no row.

    Their factors belong to the parameters of all that would be replaced.
    """
    told = {case.setting.hardware.name for case in calibration.cases if case.setting}
    devices = prediction_data().devices
    return sorted(name for name, table in devices.items() if table["fitted"] and name not in told)


def at_bounds(calibration: Calibration) -> list[str]:
    """Fitted parameters that lie at the end of what is physically possible: signs of wrong rows."""
    found = []
    for name, value in sorted(calibration.fit.values.items()):
        prior = prior_of(name)
        if value < prior.low * 1.001 or value > prior.high / 1.001:
            found.append(f"{name} = {value:.3g} ({prior.meaning}: {prior.low:g} to {prior.high:g})")
    return found


def _device(path: Path, name: str) -> None:
    source = TomlSource(path)
    device_from(source, name, source.data, (), TRANSPORTS)


def _is_device(path: Path, name: str) -> bool:
    try:
        _device(path, name)
    except ConfigError:
        return False
    return True


def _read_again(part: Path, path: Path, text: str) -> None:
    """Raises ``UsageError`` where a file just written is not what predictions can read."""
    try:
        if path.name != "fitted.toml":
            prediction_table(part)
            if path.is_file() and _is_device(path, path.stem):
                _device(part, path.stem)
        if tomllib.loads(part.read_text(encoding="utf-8")) == tomllib.loads(text):
            return
        what = "it does not read as it was written"
    except (ValueError, ConfigError) as error:
        what = str(error).replace(str(part), str(path))
    raise UsageError(
        f"{path} is left as it was, for the new one would be wrong: {what}",
        hint="is it made of other parts than what --like names? Give its profile a [prediction] "
        "table of its own first: see docs/predicting.md",
    )
