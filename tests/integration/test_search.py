"""Searches over a ready file, on simulated devices and this machine: no TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.devices import find_device
from harness.domain import Dataset, Device, DeviceKind, Model, Policy, Stage, Suite
from harness.errors import UsageError
from harness.orchestrate.convert import Splits
from harness.orchestrate.events import Event, TrialEnded
from harness.orchestrate.search import Found, Goal, search
from harness.orchestrate.stop import Stop
from harness.store import Store
from harness.transports import TRANSPORTS

#: The least that is still a measurement.
LIGHT = Policy(trials=1, min_runs=1, min_seconds=0, warmup_seconds=0, output_checks=1, retries=0)

Search = Callable[..., Found]


@pytest.fixture
def searched(shared: Path, tmp_path: Path) -> Search:
    """Searches the float ResNet8 with the given recipes; again in the same store."""
    for name, of in (("test", slice(0, 40)), ("train", slice(0, 100))):
        with np.load(shared / "data" / f"cifar10_jpeg_{name}.npz") as data:
            np.savez(tmp_path / f"{name}.npz", images=data["images"][of], labels=data["labels"][of])
    source = shared / "models" / "mlperf_tiny" / "ic_resnet8_float.tflite"
    store = Store(f"sqlite:///{tmp_path / 'results.db'}")

    def run(
        *recipes: str, devices: tuple[Device | str, ...] = ("raspberry-pi-4",), **more: Any
    ) -> Found:
        suite = Suite(
            name="search",
            models=(Model("resnet", str(more.pop("source", source)), "data"),),
            datasets={
                "data": Dataset(
                    "data", "npz", tmp_path / "test.npz", calibration=tmp_path / "train.npz"
                )
            },
            recipes=recipes,
            devices=tuple(
                find_device(item, TRANSPORTS) if isinstance(item, str) else item for item in devices
            ),
            backends=(),
            policy=LIGHT,
        )
        goal = Goal("latency", more.pop("bound", 0.5), more.pop("budget", 600))
        splits = more.pop("splits", Splits(suite.datasets["data"]))
        return search(store, suite, splits, goal, **more)

    return run


@pytest.mark.slow
def test_a_variant_that_cannot_be_made_is_no_reason_to_begin_anew(searched: Search) -> None:
    recipes = ("int8", 'int8_selective(keep_float=["nope"])')
    first = searched(*recipes)
    failed = {item.recipe for item in first.tried if "no such operator" in item.error}
    assert failed == {recipes[1]} and first.complete
    again = searched(*recipes)
    assert again.runs == first.runs and len(first.runs) == 1
    assert again.tried == first.tried


@pytest.mark.slow
def test_what_a_device_kept_from_being_measured_is_tried_again(
    searched: Search, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    bench = Device("bench", DeviceKind.REAL, "local", link={"python": str(python)})
    devices = ("raspberry-pi-4", bench)
    recipe = 'int8_selective(keep_float=["nope"])'
    first = searched("int8", recipe, devices=devices)
    assert {item.device for item in first.tried if item.accuracy is not None} == {"raspberry-pi-4"}
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    again = searched("int8", recipe, devices=devices)
    measured = {(item.recipe, item.device): item for item in again.tried}
    assert measured["as_is", "bench"].accuracy is not None and len(measured) == 6
    assert again.runs[0] == first.runs[0] and len(again.runs) == 2
    # Only what the device had failed of was run, not what fails anywhere.
    assert {item.run for item in again.tried if item.device == "raspberry-pi-4"} == {first.runs[0]}
    assert measured[recipe, "bench"].run == first.runs[0]
    assert searched("int8", recipe, devices=devices).runs == again.runs


@pytest.mark.slow
def test_an_edge_tpu_is_held_to_the_float_accuracy_of_this_machine(searched: Search) -> None:
    found = searched("int8", devices=("coral-usb",), bound=5)
    best = found.best["coral-usb"]
    assert best is not None and best.recipe == "int8" and best.drop is not None
    exact = {item.device: item for item in found.tried if item.recipe == "as_is"}
    assert found.references == {"coral-usb": "local"} and "full-integer" in exact["coral-usb"].error
    assert exact["local"].accuracy is not None and best.accuracy is not None
    assert best.drop == exact["local"].accuracy - best.accuracy
    again = searched("int8", devices=("coral-usb",), bound=5)
    assert again.runs == found.runs and len(found.runs) == 2


@pytest.mark.slow
def test_selective_recipes_are_for_devices_that_can_run_them(searched: Search) -> None:
    found = searched("int8", devices=("coral-usb", "raspberry-pi-4"), bound=-1)
    assert found.references == dict.fromkeys(found.best, "raspberry-pi-4")
    selective = {i.device for i in found.tried if i.recipe.startswith("int8_selective")}
    assert selective == {"raspberry-pi-4"} and found.complete


@pytest.mark.slow
def test_samples_are_asked_for_before_anything_is_run(searched: Search) -> None:
    for recipe, option in (("int8", "--calibration"), ("qat_int8", "--train")):
        with pytest.raises(UsageError, match=f"the recipe {recipe} .*give it .*{option}"):
            searched("dynamic_int4", recipe, splits=Splits())
    found = searched(splits=Splits())
    recipes = {item.recipe for item in found.tried}
    assert recipes == {"as_is", "float16", "dynamic_int8", "weight_only_int8"}


@pytest.mark.slow
def test_what_is_known_is_shown_when_time_is_over(searched: Search) -> None:
    stop, ended = Stop(), []

    def tell(event: Event) -> None:
        if isinstance(event, TrialEnded) and event.stage is Stage.ACCURACY:
            ended.append(event.job.recipe)
            if len(ended) == 2:
                stop.request()

    recipes = ("dynamic_int8", "weight_only_int8")
    first = searched(*recipes, stop=stop, tell=tell)
    assert not first.complete and first.best == {"raspberry-pi-4": None}
    begun = {item.recipe: item for item in first.tried if item.trials}
    assert set(begun) == set(ended) and all(item.pending for item in first.tried)
    done = searched(*recipes)
    assert done.complete and done.runs == first.runs
    for item in done.tried:
        assert not item.pending and item.value is not None
        if item.recipe in begun:
            assert begun[item.recipe].accuracy == item.accuracy
            assert begun[item.recipe].accuracy_low == item.accuracy_low


#: The real agent, which dies as it begins to time while a file is there.
DYING = """#!{python}
import os, sys
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.path.insert(0, sys.argv[1])
import device_agents.python.agent as agent
if os.path.exists({while_there!r}):
    agent.ACTIONS["latency"] = lambda *_: os._exit(9)
agent.main()
"""


@pytest.mark.slow
def test_a_trial_that_was_cut_off_is_tried_again(searched: Search, tmp_path: Path) -> None:
    python, broken = tmp_path / "python", tmp_path / "broken"
    python.write_text(DYING.format(python=sys.executable, while_there=str(broken)))
    python.chmod(0o755)
    broken.touch()
    bench = Device("bench", DeviceKind.REAL, "local", link={"python": str(python)})
    devices = (bench, "raspberry-pi-4")
    first = searched("dynamic_int8", devices=devices)
    assert {item.device for item in first.tried if "exit code 9" in item.error} == {"bench"}
    broken.unlink()
    again = searched("dynamic_int8", devices=devices)
    assert all(item.value is not None for item in again.tried) and len(again.tried) == 4
    assert {item.run for item in again.tried if item.device == "bench"} == {again.runs[1]}
