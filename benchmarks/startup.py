"""How fast the command line answers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.common import Line, ratios

HELP = [sys.executable, "-c", "from harness.cli import main; main()", "--help"]
IMPORTS = [sys.executable, "-c", "import typer, rich"]


def seconds(command: list[str]) -> float:
    """Wall time of a command."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def run(rounds: int) -> Iterator[Line]:
    """``harness --help`` over ``python -c "import typer, rich"``."""
    seconds(HELP), seconds(IMPORTS)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(HELP))
        theirs.append(seconds(IMPORTS))
    yield Line("harness --help / import typer, rich", ratios(ours, theirs), 0, 2.0)
