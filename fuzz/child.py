"""One process that fuzzes: under limits, by atheris or by our own changes.

``python -m fuzz.child`` is what ``python -m fuzz`` starts; see there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import mmap
import os
import struct
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

from fuzz.guard import Finding, check, limit_memory, watch
from fuzz.mutate import mutate
from fuzz.places import folder as own_folder
from fuzz.places import stay_in_folder
from fuzz.target import Target
from fuzz.targets import TARGETS

#: More findings than this of one target are told when these are mended.
_MOST_FINDINGS = 25

#: Inputs of our own engine that are kept to be changed again.
_POOL = 2000


class Watched:
    """A target whose inputs are counted, whose findings are written down.

    What is being run stands in the file ``current`` (its length, then its bytes), for the case
    that this process does not survive it.
    """

    def __init__(self, name: str, target: Target, folder: Path, engine: str) -> None:
        self.name, self.target, self._folder, self._engine = name, target, folder, engine
        self.executions = 0
        self.found: dict[str, Finding] = {}
        self.begun = time.monotonic()
        self._told = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._stats = os.open(folder / "stats.json", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        size = 8 + target.max_bytes
        with open(folder / "current", "w+b") as file:
            file.truncate(size)
            self._current = mmap.mmap(file.fileno(), size)
        # Opened now: a target may give up the file system.
        self._findings = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.tell()

    def __call__(self, data: bytes) -> None:
        data = data[: self.target.max_bytes]
        self._current[:8] = struct.pack("<Q", len(data))
        self._current[8 : 8 + len(data)] = data
        finding = check(self.target, data)
        self.executions += 1
        if finding is not None and finding.name not in self.found:
            self.found[finding.name] = finding
            self._write(f"{finding.name}.input", data)
            self._write(f"{finding.name}.txt", finding.text.encode("utf-8", "replace"))
            self.tell()
            if len(self.found) >= _MOST_FINDINGS:
                os._exit(0)
        if not self.executions % 64 and time.monotonic() > self._told + 0.5:
            self.tell()

    def _write(self, name: str, data: bytes) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._findings)
        with open(file, "wb") as stream:
            stream.write(data)

    def tell(self) -> None:
        """Write down how far it is."""
        self._told = time.monotonic()
        stats: dict[str, Any] = {
            "target": self.name,
            "engine": self._engine,
            "executions": self.executions,
            "seconds": round(self._told - self.begun, 1),
            "findings": sorted(self.found),
        }
        text = json.dumps(stats).encode()
        os.pwrite(self._stats, text.ljust(4096), 0)


def own_changes(
    watched: Watched, seeds: list[bytes], rng: Random, asked: argparse.Namespace
) -> None:
    """Run changed inputs, one after the other: so many, or for so many seconds."""
    pool = list(seeds)
    end, most = time.monotonic() + asked.seconds, watched.executions + asked.executions
    while watched.executions < most if asked.executions else time.monotonic() < end:
        data = mutate(rng.choice(pool), pool, watched.target, rng)
        watched(data)
        # Changes upon changes, now and then.
        if rng.random() < 0.02:
            if len(pool) < _POOL:
                pool.append(data)
            else:
                pool[rng.randrange(len(seeds), _POOL)] = data


def by_atheris(
    atheris: Any, watched: Watched, seeds: list[bytes], seconds: float, seed: int, folder: Path
) -> None:
    """Does not return: libFuzzer ends the process."""
    target, rng = watched.target, Random(seed)
    if target.jailed:
        folder = own_folder()
    seen = "" if target.jailed else str(folder)
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    words = folder / "words"
    with open(words, "w", encoding="ascii") as stream:
        for token in target.tokens:
            stream.write('"' + "".join(map("\\x{:02x}".format, token)) + '"\n')

    def change(data: bytes, most: int, _seed: int) -> bytes:
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return mutate(bytes(data), seeds, target, rng)[:most]

    arguments = [
        "fuzz", f"{seen}/corpus", f"-max_total_time={int(seconds)}", f"-max_len={target.max_bytes}",
        # The limits are our own: an input that breaks one is written down, and the next follows.
        "-timeout=0", "-rss_limit_mb=0", "-malloc_limit_mb=0", f"-seed={seed or 1}",
        f"-dict={seen}/words", f"-artifact_prefix={seen}/", "-reload=0", "-detect_leaks=0",
    ]  # fmt: skip
    atheris.Setup(arguments, watched, custom_mutator=change)
    begin(target)
    atheris.Fuzz()


def begin(target: Target) -> None:
    """Before the first changed input."""
    if target.limited:
        limit_memory()
    if target.jailed:
        stay_in_folder()


def load(name: str, atheris: Any = None) -> Target:
    """A target, instrumented if there is something to instrument with."""
    instrumented = (
        atheris.instrument_imports(include=["harness", "device_agents"])
        if atheris
        else contextlib.nullcontext()
    )
    with instrumented:
        found: Target = importlib.import_module(TARGETS[name]).TARGET
    return found


def main() -> None:
    """See the parser."""
    parser = argparse.ArgumentParser("fuzz.child")
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--executions", type=int, default=0)
    parser.add_argument("--engine", choices=("atheris", "own"), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--input", type=Path)
    asked = parser.parse_args()
    atheris: Any = None
    if asked.engine == "atheris":
        import atheris

        # It does so at the last moment, when a target may have no files any more.
        for part in ("custom_mutator", "core_with_libfuzzer"):
            importlib.import_module(f"atheris.{part}")
    watch()
    for name in asked.names:
        target = load(name, atheris)
        engine = asked.engine if target.covered else "own"
        watched = Watched(name, target, asked.work / name, engine)
        if asked.input is not None:
            watched(asked.input.read_bytes())
            watched.tell()
            continue
        seeds = [data[: target.max_bytes] for data in target.seeds()]
        for data in seeds:
            watched(data)
        if atheris and target.covered:
            by_atheris(atheris, watched, seeds, asked.seconds, asked.seed, asked.work / name)
        begin(target)
        own_changes(watched, seeds, Random(f"{name} {asked.seed}"), asked)
        watched.tell()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # the end of an interpreter without files may take for ever
        traceback.print_exc()
        os._exit(1)
