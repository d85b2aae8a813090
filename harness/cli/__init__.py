"""The command line: one file per command, no logic; what they share is in ``shared``.

Command modules import the harness inside their functions, so that ``--help`` is instant.
"""

from harness.cli.main import main

__all__ = ["main"]
