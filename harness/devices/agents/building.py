"""Making the native agent's program from its sources, with a compiler of this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from harness.cache import cache_dir, json_sha256, whole_file
from harness.devices.agents.targets import Target, this_machine
from harness.errors import AgentSetupError

#: In this order: what the source needs of a compiler, and what it is linked with.
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off")
LIBRARIES = ("-lm", "-ldl", "-lpthread")
#: Android has its threads in libc.
ANDROID_LIBRARIES = ("-lm", "-ldl")


def _folder() -> Traversable:
    return resources.files("device_agents").joinpath("native")


def sources() -> dict[str, bytes]:
    """The packaged ``device_agents/native/*.c`` by name; ``agent.c`` includes the others."""
    files = sorted(_folder().iterdir(), key=lambda file: file.name)
    return {file.name: file.read_bytes() for file in files if file.name.endswith(".c")}


def write_sources(folder: Path, code: Mapping[str, bytes] | None = None) -> Path:
    """Write ``sources`` into a folder; returns the one to compile."""
    for name, text in (code or sources()).items():
        (folder / name).write_bytes(text)
    return folder / "agent.c"


def built(target: Target) -> Path:
    """The agent for a target, from the cache or built now; ``AgentSetupError`` without a compiler.

    The cache's name of it holds the sources, the compiler and its version, and the flags.
    """
    compiler = next(_compilers(target), None)
    if compiler is None:
        raise AgentSetupError(
            f"no compiler for {target.name} on this machine, to build the native agent with",
            hint=f"{_remedy(target)}; or build it elsewhere, of the files in {_folder()} "
            f"({one_line(target)}), and set agent_binary of the device",
        )
    code = sources()
    libraries = ANDROID_LIBRARIES if target.system == "android" else LIBRARIES
    hashes = {name: hashlib.sha256(text).hexdigest() for name, text in code.items()}
    key = json_sha256([hashes, compiler, _version(compiler), FLAGS, libraries])
    path = cache_dir("host", "agents") / f"native-{target.name}-{key[:32]}"
    if not path.exists():
        with (
            tempfile.TemporaryDirectory(prefix="native-agent-") as folder,
            whole_file(path) as part,
        ):
            main = write_sources(Path(folder), code)
            _compile([*compiler, *FLAGS, "-o", str(part), str(main), *libraries], target)
            part.chmod(0o700)
    return path


def one_line(target: Target) -> str:
    """The command that builds the agent in the folder of its sources, for people."""
    compiler = "cc" if target == this_machine() else f"{target.triple}-gcc"
    if target.system == "android":
        compiler = f"{target.triple}-clang"
    libraries = ANDROID_LIBRARIES if target.system == "android" else LIBRARIES
    return " ".join([compiler, *FLAGS, "-o", "agent", "agent.c", *libraries])


def _compile(command: list[str], target: Target) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentSetupError(f"cannot run {command[0]}: {error}") from None
    if done.returncode:
        raise AgentSetupError(
            f"{command[0]} cannot build the native agent for {target.name}: "
            + " ".join(done.stderr.split())[-600:],
            hint=f"does it have headers and libraries for {target.name}? Choose another by $CC",
        )


def _remedy(target: Target) -> str:
    if target.system == "android":
        return "set ANDROID_NDK_HOME to Android's NDK"
    if target == this_machine():
        return "install gcc or clang, or set CC"
    package = f"gcc-{target.triple.replace('_', '-')}"
    return f"install {target.triple}-gcc (Debian: {package}) or zig"


def _compilers(target: Target) -> Iterator[list[str]]:
    """Commands that build for a target, best first."""
    if target.system == "android":
        toolchains = Path(os.environ.get("ANDROID_NDK_HOME") or "/nonexistent") / "toolchains"
        for found in sorted(toolchains.glob(f"llvm/prebuilt/*/bin/{target.triple}-clang")):
            yield [str(found)]
        return
    try:
        chosen = shlex.split(os.environ.get("CC") or "")
    except ValueError as error:
        raise AgentSetupError(f"CC is no command: {error}", hint="mend it, or unset CC") from None
    for command in (chosen, ["cc"], ["gcc"], ["clang"], [f"{target.triple}-gcc"]):
        if command and shutil.which(command[0]) and _builds_for(command, target):
            yield command
    zig_target = {"arm": "arm-linux-gnueabihf"}.get(
        target.machine, f"{target.triple.split('-')[0]}-linux-gnu"
    )
    if shutil.which("zig"):
        yield ["zig", "cc", "-target", zig_target]
    elif importlib.util.find_spec("ziglang"):
        yield [sys.executable, "-m", "ziglang", "cc", "-target", zig_target]


def _builds_for(command: list[str], target: Target) -> bool:
    """Whether a compiler's own machine is the target: both gcc and clang tell."""
    try:
        done = subprocess.run(
            [*command, "-dumpmachine"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    said, wanted = done.stdout.strip().split("-"), target.triple.split("-")
    same = said[0] == wanted[0] and "linux" in said and "android" not in said[-1]
    return same and "musl" not in said[-1]


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:200]
