"""The tool's processes on the device, through small sh scripts."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.devices import messages
from harness.devices.benchmark_model import delegation
from harness.devices.benchmark_model.flags import known_flags
from harness.devices.benchmark_model.output import errors
from harness.devices.lease import REFUSED
from harness.devices.shell import run_script
from harness.errors import (
    AgentCrashedError,
    AgentReportedError,
    AgentSetupError,
    AgentTimeoutError,
    LeaseLostError,
    LinkLostError,
    ProtocolError,
    UnsupportedError,
)
from harness.transports import Transport
from harness.transports.scripts import script

#: What one process may print, bytes.
MAX_OUTPUT = 8 * 1024 * 1024

_EXIT = re.compile(r"benchmark_run exit (\d{1,3})")
_PLATFORM = ("system", "machine", "release", "cpu_model", "governor", "android", "model")


def probe(transport: Transport, tool: str, device: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The machine, and the flags of the tool; raises ``AgentSetupError``."""
    done = run_script(transport, "benchmark_probe.sh", tool)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.exit_code != 0 or "help" not in lines:
        why = messages.clean(done.stderr.decode("utf-8", "replace").strip())[-300:]
        raise AgentSetupError(
            f"{device}: the device's sh cannot run a script (exit code {done.exit_code}): {why}",
            hint="benchmark_model needs a POSIX shell on the device",
        )
    split = lines.index("help")
    said = dict(line.split(" ", 1) for line in lines[:split] if " " in line)
    platform: dict[str, Any] = {
        key: text for key in _PLATFORM if (text := said.get(key, "").strip()[:200])
    }
    count = said.get("cpu_count", "").strip()
    platform["cpu_count"] = int(count) if re.fullmatch(r"[1-9]\d{0,2}", count) else None
    heat = said.get("temperature", "").strip()
    if re.fullmatch(r"-?\d{1,6}", heat):
        platform["temperature_c"] = int(heat) / (1000 if abs(int(heat)) > 1000 else 1)
    helped = lines[split + 1 :]
    code = helped[-1].removeprefix("exit ") if helped else ""
    known = known_flags("\n".join(helped))
    if "graph" not in known:
        shown = _last(helped[:-1])
        raise AgentSetupError(
            f"{device}: benchmark_model does not run there (exit code {code[:5]}): {shown}",
            hint="is it built for this processor and system, and may programs run in work_dir?",
        )
    return platform, known


def run(
    transport: Transport,
    folder: str,
    argv: Sequence[str],
    device: str,
    accelerator: str,
    *,
    silence: float,
    longest: float = math.inf,
) -> list[str]:
    """What one run printed that ended well.

    Raises ``UnsupportedError``, ``AgentError``, ``TransportError``.
    """
    lines, code = [], None
    with_end = stream(
        transport, "benchmark_run.sh", [folder, *argv], device, silence=silence, longest=longest
    )
    for line in with_end:
        if ended := _EXIT.fullmatch(line):
            code = int(ended[1])
        else:
            lines.append(line)
    if code is None:
        raise cut_off(device, lines)
    judge(code, lines, device, accelerator)
    return lines


def stream(
    transport: Transport,
    name: str,
    arguments: Sequence[str],
    device: str,
    *,
    silence: float,
    longest: float = math.inf,
) -> Iterator[str]:
    """Lines of a script as they come; the script is ended when nobody wants more."""
    process = transport.start(["sh", "-c", script(name), name, *arguments])
    total, deadline = 0, time.monotonic() + longest
    try:
        while line := process.read_line(silence):
            if time.monotonic() > deadline:
                raise AgentTimeoutError(f"{device}: benchmark_model did not end in {longest:g} s")
            total += len(line)
            if total > MAX_OUTPUT:
                raise ProtocolError(
                    f"{device}: benchmark_model printed more than {MAX_OUTPUT:,} bytes: "
                    f"{messages.clean(line[:200].decode('utf-8', 'replace'))}"
                )
            yield line.decode("utf-8", "replace").rstrip("\r\n")
        code = process.wait(10)
        if code == REFUSED:
            raise LeaseLostError(
                f"{device}: this session has lost the device to another one",
                hint="what it measured meanwhile is not kept",
            )
        if code in (126, 127):
            raise AgentSetupError(
                f"{device}: there is no sh on the device: {messages.clean(process.stderr_tail())}",
                hint="benchmark_model needs a POSIX shell on the device",
            )
        if code is None or code < 0:
            raise LinkLostError(f"{device}: benchmark_model was cut off")
    finally:
        process.kill()


def cut_off(device: str, lines: Sequence[str]) -> AgentCrashedError:
    """The error for a script that did not come to its last line."""
    return AgentCrashedError(
        f"{device}: benchmark_model was cut off: {_last(lines)}",
        hint="the link was cut, or the device restarted",
    )


def judge(code: int, lines: Sequence[str], device: str, accelerator: str) -> None:
    """Raise for a run that did not end with exit code 0."""
    if code == 0:
        return
    refused = delegation.refusal(lines, accelerator)
    if refused is not None:
        raise UnsupportedError(
            f"{device}: {accelerator} does not run this model: {messages.clean(refused)[:300]}",
            hint="use another backend, or convert with a recipe that this one has operators for",
        )
    said = " / ".join(messages.clean(text)[:300] for text in errors(lines)[:4]) or _last(lines)
    if code in (126, 127):
        raise AgentSetupError(
            f"{device}: benchmark_model cannot be started there: {said}",
            hint="is it built for this processor and system, and may programs run in work_dir?",
        )
    if code > 128:
        raise AgentCrashedError(
            f"{device}: benchmark_model died of signal {code - 128}: {said}",
            hint="a crash of the runtime or of a driver on this model, or the device is out of "
            "memory: see the device's system log",
        )
    raise AgentReportedError(f"{device}: benchmark_model failed (exit code {code}): {said}")


def pinned(tool: str, request: Mapping[str, Any]) -> list[str]:
    """The command that starts the tool, on the processors that the request names."""
    cores = request.get("cores") or []
    if not cores:
        return [tool]
    return ["taskset", f"{sum(1 << core for core in set(cores)):x}", tool]


def _last(lines: Sequence[str]) -> str:
    kept = [line.strip() for line in lines if line.strip()][-4:]
    return " / ".join(messages.clean(line)[:200] for line in kept) or "it said nothing"
