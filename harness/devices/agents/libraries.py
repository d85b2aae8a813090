"""Where the native agent's ``libLiteRt.so`` for a device comes from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.cache import cache_dir, file_sha256, whole_file
from harness.devices.agents.targets import Target, check_elf, this_machine
from harness.errors import AgentSetupError

#: A larger library in an archive is a defect or an attack.
MAX_BYTES = 256 * 1024 * 1024

_NAME = "libLiteRt.so"
_ON_DEVICE = "device:"


@dataclass(frozen=True, slots=True)
class Library:
    """A library on this machine (``path``) or on the device (``remote``), and its version."""

    path: Path | None = None
    remote: str = ""
    version: str = ""


def library_for(target: Target, chosen: str | None, device: str) -> Library:
    """The library that the profile names, or this machine's own; ``AgentSetupError``."""
    if chosen is None:
        found = _installed() if target == this_machine() else None
        if found is None:
            raise AgentSetupError(
                f"{device}: no {_NAME} for {target.name}",
                hint=f"set runtime_library: {_how(target)}",
            )
        return found
    if chosen.startswith(_ON_DEVICE):
        remote = chosen.removeprefix(_ON_DEVICE)
        if not remote.startswith("/"):
            raise AgentSetupError(f"{device}: runtime_library must be device:/PATH, not {chosen!r}")
        return Library(remote=remote)
    path = Path(chosen)
    if path.suffix in (".whl", ".aar"):
        library = _unpacked(path, target, device)
    else:
        installed = _installed()
        same = installed is not None and installed.path == path.resolve()
        library = Library(path, version=installed.version if installed and same else "")
    assert library.path
    check_elf(library.path, target, "runtime_library")
    return library


def _installed() -> Library | None:
    """The library of the runtime that this Python has."""
    package = importlib.util.find_spec("ai_edge_litert")
    for folder in (package and package.submodule_search_locations) or []:
        path = Path(folder) / _NAME
        if path.is_file():
            try:
                version = importlib.metadata.version("ai-edge-litert")
            except importlib.metadata.PackageNotFoundError:
                version = ""
            return Library(path.resolve(), version=version)
    return None


def _unpacked(archive: Path, target: Target, device: str) -> Library:
    """The library in a wheel or an ``.aar``, copied into the cache."""
    member = f"jni/{target.abi}/{_NAME}" if archive.suffix == ".aar" else f"ai_edge_litert/{_NAME}"
    try:
        path = cache_dir("host", "runtimes") / f"{file_sha256(archive)}-{target.machine}.so"
        with zipfile.ZipFile(archive) as opened:
            information = opened.getinfo(member)
            if information.file_size > MAX_BYTES:
                raise AgentSetupError(
                    f"{device}: {member} of {archive} has {information.file_size:,} bytes, and at "
                    f"most {MAX_BYTES:,} were expected"
                )
            if not path.exists():
                with opened.open(information) as source, whole_file(path) as part:
                    with open(part, "wb") as copy:
                        shutil.copyfileobj(source, copy)
            names = " ".join(opened.namelist())
    except KeyError:
        raise AgentSetupError(
            f"{device}: {archive} holds no {member}", hint=f"get the right one: {_how(target)}"
        ) from None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise AgentSetupError(f"{device}: cannot read runtime_library {archive}: {error}") from None
    said = re.search(r"ai_edge_litert-([0-9][0-9A-Za-z.+]{0,40})\.dist-info/", names)
    return Library(path, version=said[1] if said else "")


def _how(target: Target) -> str:
    if target.system == "android":
        return "Maven's com.google.ai.edge.litert:litert has it as .aar (2.1.3 or later)"
    if target.wheel:
        return (
            f"pip download --no-deps --only-binary=:all: --platform {target.wheel} "
            "--python-version 3.11 ai-edge-litert"
        )
    return f"LiteRT has no wheel for {target.name}; build {_NAME} for it"
