"""``make bench``: every benchmark, or those named as arguments.

    python -m benchmarks [latency] [sweep] [startup] [memory] [conversion] [native] [ssh_push]
        [adb_push] [field] [aa] [analysis] [coverage] [scale]
        [--rounds N]

Each compares with a plain script in interleaved rounds and prints the median ratio with its
range. Machines are noisy: a ratio outside its bound in one run calls for another run, and
only ratios mean anything.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import (
    aa,
    adb_push,
    analysis,
    conversion,
    coverage,
    field,
    latency,
    memory,
    native,
    scale,
    ssh_push,
    startup,
    sweep,
)

ALL = {
    "latency": latency.run,
    "sweep": sweep.run,
    "native": native.run,
    "startup": startup.run,
    "memory": memory.run,
    "conversion": conversion.run,
    "ssh_push": ssh_push.run,
    "adb_push": adb_push.run,
    "field": field.run,
    "aa": aa.run,
    "analysis": analysis.run,
    "coverage": coverage.run,
    "scale": scale.run,
}


def main() -> int:
    """Run, print, and say by the exit code whether every bound was kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", choices=[[], *ALL], help="which; default all")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds")
    options = parser.parse_args()
    good = True
    for name in options.names or ALL:
        print(f"\n{name}: {(ALL[name].__doc__ or '').splitlines()[0]}")
        for line in ALL[name](options.rounds):
            good &= line.within
            print(line)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
