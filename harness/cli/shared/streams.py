"""Standard streams that are closed, full, or that nobody reads any more."""

from __future__ import annotations

import os
import sys

#: What a shell reports of a program that SIGPIPE ended. Never 0 or 1: whoever stopped reading
#: must not take that for a passed or a failed gate.
NOBODY_READS = 141


def occupy() -> None:
    """Open the null device in place of standard streams that are closed.

    Otherwise the first file that is opened, such as the store, gets the number of one, and what a
    child process prints is written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def flush() -> None:
    """Write what is buffered now, so that a failure is told. Raises ``OSError``."""
    sys.stdout.flush()


def abandon() -> None:
    """Nothing more goes to stdout: what is still buffered would fail again at the exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def say(text: str) -> None:
    """Write a line to stderr; where that is closed, full, or read by nobody, go on without.

    What is said there last is an error, whose exit status must not become another's.
    """
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
