"""Device profiles: shipped ones, the user's own, and those inside a suite."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.cache import expanded
from harness.config.faults import check_fault
from harness.config.paths import profiles_dir
from harness.config.processors import refuse_unknown_parts
from harness.config.schema import DeviceFile, transports_of
from harness.config.simulations import simulation_of
from harness.config.toml_source import Path_, TomlSource
from harness.domain import Backend, Device, DeviceKind
from harness.errors import ConfigError, UsageError, suggest

_LINK = ("host", "port", "user", "identity_file", "known_hosts", "ssh_config", "python",
         "runtime", "work_dir", "work_dir_mb", "lease_dir", "agent", "agent_binary",
         "runtime_library", "serial", "adb_server", "adb_key", "benchmark_model",
         "benchmark_model_sha256", "edgetpu", "edgetpu_library", "power_meter",
         "power_meter_accuracy_percent", "simulate_as")  # fmt: skip

#: Files of this machine that a profile may name; relative to the profile's own folder.
_FILES = ("identity_file", "ssh_config", "agent_binary", "runtime_library", "adb_key",
          "benchmark_model")  # fmt: skip

#: What is no path of this machine, in such a key.
_ELSEWHERE = ("device:", "https://", "http://")


def own_devices() -> Path:
    """The folder of the user's own profiles, which need not be there."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expanded(base) / "edge-harness" / "devices"


def device_files() -> dict[str, Path]:
    """Name -> profile file; later ones win: shipped, the user's own, ``$HARNESS_DEVICES``.

    Raises ``UsageError`` if the last one is no folder.
    """
    folders = [profiles_dir() / "devices", own_devices()]
    if more := os.environ.get("HARNESS_DEVICES"):
        folders.append(expanded(more))
        if not folders[-1].is_dir():
            wrong = "is not a folder" if folders[-1].exists() else "does not exist"
            raise UsageError(
                f"HARNESS_DEVICES: {folders[-1]} {wrong}",
                hint="set it to a folder of profiles (NAME.toml), or unset it",
            )
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            paths = sorted(folder.glob("*.toml"), key=lambda path: path.stem)
            found.update({path.stem: path for path in paths})
    return found


def find_device(name: str, transports: Collection[str]) -> Device:
    """The device of a profile file; raises ``UsageError`` if there is none, ``ConfigError``."""
    files = device_files()
    if name not in files:
        raise UsageError(f"unknown device {name!r}", hint=suggest(name, files))
    source = TomlSource(files[name])
    if isinstance(source.data.get("device"), dict):
        raise source.error(
            ("device",),
            "a profile file has these keys without [device.NAME]",
            hint=f"take that line out: {files[name].name} is the device {name} already",
        )
    return device_from(source, name, source.data, (), transports)


def simulated_devices(transports: Collection[str]) -> dict[str, Device]:
    """The simulated devices that have a profile, by name; files that are wrong are left out."""
    found = {}
    for name in device_files():
        with contextlib.suppress(ConfigError):
            device = find_device(name, transports)
            if device.kind is DeviceKind.SIMULATED:
                found[name] = device
    return found


def device_from(
    source: TomlSource, name: str, data: Any, where: Path_, transports: Collection[str]
) -> Device:
    """Check one device table and turn it into a ``Device``."""
    file = source.validate(DeviceFile, data, where)
    source.printable(where, name)
    if file.name is not None and file.name != name:
        raise source.error((*where, "name"), f"this device is called {name!r}, not {file.name!r}")
    if file.transport not in transports:
        raise source.unknown((*where, "transport"), "transport", file.transport, transports)
    for key in DeviceFile.model_fields:
        of = transports_of(key)
        if of and key in file.model_fields_set and file.transport not in of:
            raise source.error(
                (*where, key),
                f"device {name}: {key} is a setting of the transport {' and of '.join(of)}, "
                f"and this one is {file.transport!r}",
                hint=f'set transport = "{of[0]}", or take {key} out',
            )
    simulated = file.transport == "simulated"
    kind = DeviceKind(file.kind or ("simulated" if simulated else "real"))
    if (kind is DeviceKind.SIMULATED) != simulated:
        raise source.error(
            (*where, "kind"), f"a device on the transport {file.transport!r} is not {kind.value}"
        )
    if file.transport == "ssh" and not file.host:
        raise source.error(where, f"device {name}: an ssh device needs a host")
    if file.transport == "adb" and file.host and (file.serial or file.adb_server):
        raise source.error(
            where,
            f"device {name}: connected directly (host) or by the adb server (serial), not both",
        )
    if (file.power_meter is None) != (file.power_meter_accuracy_percent is None):
        raise source.error(
            where,
            f"device {name}: power_meter and power_meter_accuracy_percent go together",
            hint="what the meter's data sheet says, such as power_meter_accuracy_percent = 1.0",
        )
    if file.prediction is not None:
        refuse_unknown_parts(source, file.prediction, (*where, "prediction"))
    simulation: dict[str, Any] = {}
    if simulated:
        simulation = simulation_of(source, name, file, where)
    elif file.simulation is not None:
        raise source.error((*where, "simulation"), f"device {name} is not simulated")
    backend = Backend.parse(file.default_backend or file.accelerators[0])
    if backend.accelerator not in file.accelerators:
        raise source.error(
            (*where, "default_backend"),
            f"device {name} does not offer {backend.accelerator}, only "
            + ", ".join(file.accelerators),
        )
    refuse_threads(source, (*where, "default_backend"), name, backend, simulation)
    link = {key: value for key in _LINK if (value := getattr(file, key)) is not None}
    for key in _FILES:
        if key in link and not str(link[key]).startswith(_ELSEWHERE):
            link[key] = str(source.file((*where, key), str(link[key])))
    if "://" in str(file.benchmark_model) and not file.benchmark_model_sha256:
        raise source.error(
            (*where, "benchmark_model"),
            f"device {name}: a benchmark_model by URL needs benchmark_model_sha256",
            hint="set it to the sha256 of the file that you mean",
        )
    if simulated and file.benchmark_model:
        raise source.error(
            (*where, "benchmark_model"), f"device {name} is simulated: no tool can run there"
        )
    device = Device(
        name=name,
        kind=kind,
        transport=file.transport,
        title=file.title or name,
        accelerators=tuple(file.accelerators),
        default_backend=backend,
        link=link,
        simulation=simulation,
        faults=tuple(file.faults or ()),
    )
    refuse_runner(source, (*where, "default_backend"), device, backend)
    for position, text in enumerate(device.faults):
        try:
            check_fault(device, text)
        except UsageError as error:
            raise source.error(
                (*where, "faults", position), error.message, hint=error.hint
            ) from None
    return device


def refuse_runner(source: TomlSource, where: Path_, device: Device, backend: Backend) -> None:
    """The ``benchmark_model`` tool is the user's to bring; what is simulated has no options."""
    if device.kind is DeviceKind.SIMULATED and set(backend.options) - {("runner", "agent")}:
        raise source.error(
            where,
            f"device {device.name} is simulated: options of {backend.accelerator} are not modelled",
            hint=f"write {backend.accelerator}; harness run --simulate leaves them out by itself",
        )
    if device.runner(backend) == "benchmark_model" and not device.link.get("benchmark_model"):
        raise source.error(
            where,
            f"device {device.name}: {backend} is run by benchmark_model, and none is set",
            hint="set benchmark_model of this device to the binary's path or URL",
        )


def refuse_threads(
    source: TomlSource, where: Path_, name: str, backend: Backend, simulation: Mapping[str, Any]
) -> None:
    """A simulated device has just the cores that its profile gives it."""
    cores = simulation.get("cores")
    if backend.accelerator == "cpu" and cores is not None and backend.threads > cores:
        raise source.error(where, f"device {name} has {cores} cores, not {backend.threads}")
