"""A suite's TOML file, its gates, and the suite as the store keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache

from fuzz.guard import ROOT
from fuzz.places import contents, folder, written
from fuzz.target import Target
from harness.config.gates import load_gates
from harness.config.suites import Known, load_suite, suite_from_json, suite_to_json
from harness.errors import HarnessError
from harness.orchestrate.environment import known_names
from harness.recipes import parse_recipe


@cache
def _known() -> Known:
    # What a suite names must be there.
    for name in ("m.tflite", "a.npz", "b.npz", "labels.txt"):
        written(name, b"x\n")
    (folder() / "images").mkdir(exist_ok=True)
    os.environ.pop("HARNESS_DEVICES", None)
    return known_names()


def _run(data: bytes) -> None:
    known = _known()
    path = written("suite.toml", data)
    try:
        suite = load_suite(path, known)
    except HarnessError as error:
        # The file, always, as what to look at.
        assert "suite.toml" in str(error) or error.hint, str(error)
        load_gates(path, lambda text: parse_recipe(text).text)
        return
    kept = json.loads(json.dumps(suite_to_json(suite)))
    assert suite_from_json(kept) == suite


def _seeds() -> Sequence[bytes]:
    own = b"""name = "mine"
description = "All that there is."
recipes = ["float32", "int8(calibration=100, per_channel=false)", { recipe = "int8", calibration = 50 }]
devices = ["here", "raspberry-pi-4"]
backends = ["cpu x2"]

[model.a]
file = "m.tflite"
dataset = "d"
labels = "labels.txt"
preprocessing = { scale = 0.5, mean = [0.1, 0.2], std = 1.0, colour = "rgb", layout = "nhwc" }

[model.b]
file = "m.tflite"
dataset = "coco"
task = "detection"

[dataset.d]
source = "npz"
path = "a.npz"
calibration = "${NOWHERE:-b.npz}"
training = 'b.npz'
limit = 100

[dataset.coco]
source = "coco"
path = "images"
annotations = "labels.txt"
image_size = [10, 20]
calibration = "images"
training = "images"

[policy]
trials = 3
warmup_runs = 5
measure = ["latency", "accuracy", "scenarios"]
scenarios = ["server(target_qps=50, latency_bound_ms=20)", "offline"]

[device.here]
transport = "local"
accelerators = ["cpu"]

[[gates]]
models = ["a"]
recipes = ["int8(calibration=50)"]
max_latency_ms = 10.5
max_size_bytes = "300 KB"

[[gates]]
no_regression_against = "good"
allow = ["a"]
"""
    return [own, *contents(sorted((ROOT / "profiles" / "suites").glob("*.toml")))]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    tokens=(
        b"[",
        b"]",
        b"[[",
        b'"""',
        b"'''",
        b"= ",
        b"{",
        b"}",
        b"${",
        b"${HOME}",
        b"true",
        b"1e400",
        b"1979-05-27",
        b"inf",
        b"nan",
        b"gates",
        b"policy",
        b"device",
        b"[model.a]",
        b"\\u0000",
        b"\x00",
        b"\xff",
        b"..",
        b"/dev/null",
    ),
)
