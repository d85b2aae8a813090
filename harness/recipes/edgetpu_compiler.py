"""Compiling a full-integer variant for the Edge TPU with Coral's ``edgetpu_compiler``.

The compiler runs on x86-64 Linux only. It is known to fail and then to succeed on the same
file (google-coral/edgetpu, issues 173, 206 and 211), so it is tried a few times.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import ConversionError, MissingToolError, ModelError
from harness.recipes.edgetpu_log import CompilerLog, failures, parse_log
from harness.simulation import Graph, compiled, float_islands, map_operators, read_graph
from harness.simulation.edgetpu import RULES, OperatorMapping, Status

TOOL = "edgetpu_compiler"
INSTALL_PAGE = "https://coral.ai/docs/edgetpu/compiler/"
SUPPORTED_PAGE = "https://coral.ai/docs/edgetpu/models-intro/#supported-operations"

#: Seconds that one attempt may take; the compiler's own limit is 180. All attempts end before
#: a conversion's own time-out.
TIMEOUT = 280.0

#: Becomes a program that the kernel ends when the process that started it ends (prctl(2)).
_TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
try:
    os.execv(sys.argv[1], sys.argv[1:])
except OSError as error:
    print(error.strerror)
    os._exit(126)
"""

#: What the compiler says of a file that it will never read.
_STABLE = ("Invalid model", "could not be parsed", "Didn't find op", "Registration failed")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler made: the file, what it said, and how often it was tried."""

    path: Path
    log_text: str
    log: CompilerLog
    attempts: int


def prerequisites(graph: Graph) -> tuple[str, ...]:
    """What keeps a file, or a part of it, from the Edge TPU, and what to change."""
    if compiled(graph):
        return ("it is compiled for the Edge TPU already: compile the file that it was made of",)
    problems = []
    islands = float_islands(graph)
    if islands:
        problems.append(
            f"not full integer: {islands[0].reason}"
            + (f", and {len(islands) - 1} more groups of operators" if len(islands) > 1 else "")
            + ": use the recipe int8"
        )
    elif graph.integer16_activations and not graph.full_integer:
        problems.append("16-bit activations: use the recipe int8")
    for tensor in graph.inputs:
        if -1 in tensor.shape_signature[1:] or any(size <= 0 for size in tensor.shape):
            shape = ", ".join(map(str, tensor.shape_signature or tensor.shape))
            problems.append(
                f"input {tensor.name} has the dynamic shape ({shape}): fix the input's shape "
                "before converting"
            )
        elif tensor.shape and len(tensor.shape) > 3 and tensor.shape[0] > 1:
            problems.append(f"input {tensor.name} is a batch of {tensor.shape[0]}: use 1")
    mapping = map_operators(graph)
    problems.extend(_unmapped(mapping, Status.UNKNOWN, f"not supported ({SUPPORTED_PAGE})"))
    problems.extend(_too_new(graph, mapping))
    for status in (Status.RANK, Status.IMPRECISE, Status.LIMITED):
        problems.extend(_unmapped(mapping, status, status))
    if not islands:
        problems.extend(_unmapped(mapping, Status.TYPE, Status.TYPE))
    return tuple(problems)


def _unmapped(mapping: tuple[OperatorMapping, ...], status: Status, words: str) -> list[str]:
    found = [item for item in mapping if item.status == status]
    if not found:
        return []
    names = Counter(item.name for item in found)
    listed = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in names.items())
    detail = f"; first {found[0].detail}" if found[0].detail else ""
    return [
        f"{listed}, from operator {found[0].index} on: {words}{detail}: replace it, or move it "
        "to the end of the model, because all after it stays on the CPU"
    ]


def _too_new(graph: Graph, mapping: tuple[OperatorMapping, ...]) -> list[str]:
    new = {
        (item.name, graph.operators[item.index].version)
        for item in mapping
        if item.status == Status.VERSION
    }
    return [
        f"{name} is of version {version}, compiler 16 knows {RULES[name].version}: convert with "
        "an older TensorFlow or without the option that needs it"
        for name, version in sorted(new)
    ]


@cache
def tool_version() -> str:
    """What the compiler on the path says of its version; ``none`` without one."""
    tool = shutil.which(TOOL)
    if tool is None:
        return "none"
    try:
        said = subprocess.run(
            [tool, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return " ".join(said.stdout.split())[:200] or "unknown"


def predicted(graph: Graph) -> str:
    """One line: how many operators would map, and what would stay on the CPU."""
    mapping = map_operators(graph)
    mapped = sum(item.mapped for item in mapping)
    line = f"predicted: {mapped} of {len(mapping)} operators would run on the Edge TPU"
    for item in mapping:
        if not item.mapped and item.status != Status.LATER:
            return f"{line}; {item.name} (operator {item.index}): {item.reason}"
    return line


def compile_for_edgetpu(
    source: Path, folder: Path, *, attempts: int = 3, timeout: float = TIMEOUT
) -> Compiled:
    """Compile ``source`` into ``folder/STEM_edgetpu.tflite``.

    Raises ``MissingToolError`` without the compiler, ``ConversionError`` where nothing
    would run on the Edge TPU, where each of ``attempts`` failed, or one took longer than
    ``timeout`` seconds.
    """
    graph = read_graph(source)
    problems = prerequisites(graph)
    if compiled(graph) or not any(item.mapped for item in map_operators(graph)):
        raise ConversionError(
            f"nothing of {source.name} would run on an Edge TPU: {'; '.join(problems)}",
            hint="see the operators with: harness inspect",
        )
    tool = shutil.which(TOOL)
    if tool is None:
        raise MissingToolError(
            f"{TOOL} is not installed; {predicted(graph)}",
            hint=f"install it on x86-64 Linux: {INSTALL_PAGE}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, max(1, attempts) + 1):
        with tempfile.TemporaryDirectory(prefix=".edgetpu-", dir=folder) as work:
            code, text = _run([tool, "-s", "-o", work, str(source.resolve())], timeout)
            made = Path(work) / f"{source.resolve().stem}_edgetpu.tflite"
            if code == 0 and made.is_file() and not failures(text):
                log = parse_log(text)
                _check(made, log)
                target = folder / made.name
                os.replace(made, target)
                return Compiled(target, text, log, attempt)
        said = " ".join(failures(text)) or " ".join(text.split()[-60:]) or "no word"
        if any(words in text for words in _STABLE):
            break
    raise ConversionError(
        f"{TOOL} failed on {source.name} {attempt} time{'s' if attempt > 1 else ''} "
        f"(exit code {code}): {said[:400]}",
        hint="; ".join(problems) or predicted(graph),
    )


def _run(command: list[str], timeout: float) -> tuple[int, str]:
    # The compiler is a shell script around a loader: a time-out must end both.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _TIED, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ConversionError(
                f"{TOOL} did not end within {timeout:g} seconds",
                hint="a smaller model or input compiles faster",
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read(1_000_000).decode("utf-8", "replace")
    if code == 126:
        raise MissingToolError(
            f"{command[0]} cannot be started: {text.strip()}",
            hint=f"it runs on x86-64 Linux only: {INSTALL_PAGE}",
        )
    return code, text


def _check(made: Path, log: CompilerLog) -> None:
    try:
        graph = read_graph(made)
    except ModelError as error:
        raise ConversionError(f"{TOOL} left a file that is {error.message}") from None
    if log.mapped and not compiled(graph):
        raise ConversionError(
            f"{TOOL} says that it mapped {log.mapped} operators; its file has none of them"
        )
