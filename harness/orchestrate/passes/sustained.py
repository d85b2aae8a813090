"""Minutes under load: see ``metrics.sustained`` for what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.devices.session import Answer
from harness.domain import Stage
from harness.orchestrate.passes.kind import Asking, Pass
from harness.orchestrate.passes.load import load, loadable


def _run(asking: Asking) -> tuple[Answer, Mapping[str, Any]]:
    seconds = asking.policy.sustained_minutes * 60
    return load(asking, Stage.SUSTAINED, seconds), {"sustained_seconds": seconds}


SUSTAINED = Pass(Stage.SUSTAINED, _run, loadable)
