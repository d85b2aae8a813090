"""``python -m fuzz [TARGET ...]``: every reader of foreign bytes under changed inputs.

Each target has a process of its own, one after the other. By coverage where atheris is installed
(Linux on x86-64), else by changes to good inputs alone. Whatever is no answer and no error of our
own is a finding: a foreign exception, too much time or memory, a process that died. Findings are
files in ``--work``, each input with its traceback; run one again with ``--input``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fuzz.guard import ROOT
from fuzz.places import FOLDER, in_memory
from fuzz.targets import TARGETS

#: Seconds beyond what was asked for after which a process hangs: it imports, and runs the seeds.
_GRACE = 180


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One target in a process of its own; its counts and its findings."""
    folder = options.work / name
    folder.mkdir(parents=True, exist_ok=True)
    found = [] if options.input else [*folder.glob("*.input"), *folder.glob("*.txt")]
    for old in [*found, folder / "stats.json", folder / "current"]:
        old.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "fuzz.child", name, "--engine", options.engine,
        "--seconds", str(options.seconds), "--executions", str(options.executions),
        "--seed", str(options.seed), "--work", str(options.work),
        *(["--input", str(options.input.resolve())] if options.input else []),
    ]  # fmt: skip
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        # Threads of a library would each reserve address space, which is limited.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    files = tempfile.TemporaryDirectory(dir=in_memory(), ignore_cleanup_errors=True)
    with files as own, open(folder / "log", "wb") as log:
        try:
            code: int | str = subprocess.run(
                command, cwd=ROOT, env={**env, FOLDER: own}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                timeout=options.seconds + _GRACE, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = "hung"
    stats = {
        "target": name,
        "engine": options.engine,
        "executions": 0,
        "seconds": 0.0,
        "findings": [],
    }
    if (folder / "stats.json").exists():
        stats |= json.loads((folder / "stats.json").read_text())
    if code != 0:
        died = "hung" if code == "hung" else f"died-{code}"
        stats["findings"] = [*stats["findings"], died]
        raw = (folder / "current").read_bytes() if (folder / "current").exists() else bytes(8)
        (size,) = struct.unpack_from("<Q", raw)
        (folder / f"{died}.input").write_bytes(raw[8 : 8 + size])
        shutil.copyfile(folder / "log", folder / f"{died}.txt")
    return stats


def main() -> None:
    """See the parser; exits with 1 if there are findings."""
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("targets", nargs="*", help=f"default: all ({', '.join(TARGETS)})")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each target")
    parser.add_argument("--executions", type=int, default=0, help="instead of seconds (own engine)")
    parser.add_argument("--engine", choices=("auto", "atheris", "own"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--input", type=Path, help="run this one input, of one target")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    options = parser.parse_args()
    options.work = options.work.resolve()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {min(unknown)!r}; known: {', '.join(TARGETS)}")
    if options.engine == "auto":
        there = importlib.util.find_spec("atheris") is not None
        options.engine = "atheris" if there and not options.executions else "own"
        if not there:
            print("atheris is not installed: changed inputs without coverage", file=sys.stderr)
    if options.input or options.executions:
        options.engine = "own"
    rows = []
    for name in options.targets or TARGETS:
        row = run(name, options)
        rows.append(row)
        if options.format == "table":
            found = ", ".join(row["findings"]) or "none"
            print(
                f"{name:<18} {row['engine']:<8} {row['seconds']:>7.1f} s "
                f"{row['executions']:>10,} inputs   findings: {found}",
                flush=True,
            )
    if options.format == "json":
        print(json.dumps(rows, indent=2))
    if any(row["findings"] for row in rows):
        print(f"inputs and tracebacks: {options.work}/TARGET/", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
