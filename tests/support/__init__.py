"""What tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest


def needed(reason: str) -> NoReturn:
    """Skip for lack of a part; fail where everything must be there."""
    if os.environ.get("HARNESS_REQUIRE_ALL"):
        pytest.fail(f"HARNESS_REQUIRE_ALL is set and {reason}")
    pytest.skip(reason)


def harness_command() -> list[str]:
    """The command line under test, in the environment of the tests."""
    return [sys.executable, "-c", "from harness.cli import main; main()"]


LIGHT_POLICY = """
[policy]
trials = {trials}
warmup_runs = 1
warmup_seconds = 0.0
warmup_max_seconds = 0.1
min_runs = 5
min_seconds = 0.01
retry_delay = 0.05
output_checks = 4
{policy}
"""


def write_suite(
    path: Path,
    *,
    devices: Sequence[str] = ("local",),
    recipes: Sequence[str] = ("float32",),
    model: str = "builtin:digits_cnn",
    model_name: str = "digits",
    dataset: str = 'source = "digits"',
    labels: str = "",
    device: str = "",
    trials: int = 1,
    policy: str = "",
    limit: int = 0,
) -> Path:
    """A small suite over the digits, with a Policy that is quick."""
    text = f"""
name = "small"
recipes = {list(recipes)!r}
devices = {list(devices)!r}

[model.{model_name}]
file = {str(model)!r}
dataset = "data"
preprocessing = {{ scale = 0.0625 }}
{labels}

[dataset.data]
{dataset}
limit = {limit}
{device}
""" + LIGHT_POLICY.format(trials=trials, policy=policy)
    path.write_text(text.replace("'", '"'), encoding="utf-8")
    return path
