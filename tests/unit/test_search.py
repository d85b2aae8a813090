"""What a search tries, and what it concludes from what was tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.devices import find_device
from harness.decide.candidates import Candidate, judged
from harness.domain import Backend, Dataset, Device, DeviceKind, Model, Policy, Suite
from harness.orchestrate.debug import Examination
from harness.orchestrate.plan import make_plan
from harness.orchestrate.search import FIRST, fitting, usual
from harness.orchestrate.selective import left_in_float, selections, to_examine
from harness.recipes import parse_recipe
from harness.transports import TRANSPORTS


def tried(recipe: str, error: str = "") -> Candidate:
    return Candidate(recipe, "board", "simulated", "run", error=error)


def suite(*recipes: str, devices: tuple[Device, ...]) -> Suite:
    model = Model("m", "builtin:digits_cnn", "d")
    return Suite("s", (model,), {"d": Dataset("d", "digits")}, recipes, devices, (), Policy())


def examination(*steps: tuple[str, ...], steep: tuple[str, ...] = ()) -> Examination:
    rows = [{"layer": name, "rmse_over_scale": 3.0} for name in steep]
    return Examination(
        "m", "int8", 10, 10, {}, {}, {}, 0.0, rows, [{"keep_float": names} for names in steps]
    )


def test_operators_that_broke_a_promise_stay_in_float() -> None:
    failed = [
        tried("float32"),
        tried("int8", "converting m with int8 left something in float: SIN (operator 2), COS "
              "(operator 4 of body) and 3 more; int8_selective keeps named operators in float"),
        tried("int8_float_io", "converting m with int8_float_io left something in float: SIN "
              "(operator 3); dynamic_int8 all activations"),
        tried("uint8_io", "left something in float: the tensor input; see (operator 5)"),
        tried("int16x8", "not yet supported for op: 'TAN'."),
    ]  # fmt: skip
    assert left_in_float(failed) == ("SIN", "COS")
    recipes = ("float32", 'int8_selective(keep_float=["a"])', "int8(per_channel=false)")
    assert to_examine(recipes, ()) == "int8(per_channel=false)"
    assert to_examine(recipes[:2], ()) == "int8"
    found = parse_recipe(to_examine(recipes, ("SIN", "COS")))
    assert found.recipe.name == "int8_selective"
    assert found["keep_float"] == ("SIN", "COS") and found["per_channel"] is False


def test_the_steps_of_a_selection_keep_what_the_examined_recipe_keeps() -> None:
    examined = 'int8_selective(keep_float=["SIN"], calibration=50)'
    texts = selections(examined, examination(("a",), ("a", "b"), steep=("c",)))
    kept = [parse_recipe(text)["keep_float"] for text in texts]
    assert kept == [("SIN",), ("SIN", "a"), ("SIN", "a", "b"), ("SIN", "c")]
    assert {parse_recipe(text)["calibration"] for text in texts} == {50}
    assert selections(examined, None) == texts[:1]
    assert selections("int8", None) == []


@pytest.mark.parametrize("count", [6, 7, 20])
def test_of_many_steps_the_first_and_the_last_are_tried(count: int) -> None:
    names = [f"l{index}" for index in range(count)]
    steps = [tuple(names[: index + 1]) for index in range(count)]
    kept = [parse_recipe(text)["keep_float"] for text in selections("int8", examination(*steps))]
    assert len(kept) == 6 and kept[0] == steps[0] and kept[-1] == steps[-1]


def test_compiled_variants_are_for_real_edge_tpus_where_the_compiler_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = find_device("raspberry-pi-4", TRANSPORTS)
    stick = Device("stick", DeviceKind.REAL, "local", default_backend=Backend("edgetpu"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usual((stick, board)) == FIRST
    (tmp_path / "edgetpu_compiler").write_text("#!/bin/sh\n")
    (tmp_path / "edgetpu_compiler").chmod(0o755)
    assert usual((stick, board)) == (*FIRST, "edgetpu")
    assert usual((board, find_device("coral-usb", TRANSPORTS))) == FIRST
    plan = fitting(make_plan(suite("float32", "edgetpu", devices=(stick, board))))
    assert {(job.recipe, job.device) for job in plan.jobs} == {
        ("float32", "stick"), ("float32", board.name), ("edgetpu", "stick"),
    }  # fmt: skip


def test_a_device_without_the_float_variant_is_compared_with_the_nearest_that_has_it() -> None:
    items = [
        replace(tried("float32", "unsupported"), device="tpu"),
        replace(tried("float32"), device="real", kind="real", accuracy=0.5),
        replace(tried("float32"), device="other", accuracy=0.75),
        replace(tried("int8"), device="tpu", accuracy=0.5),
        replace(tried("int8"), device="real", kind="real", accuracy=0.5),
    ]
    found = judged(items, "float32", 0.1)
    assert [item.drop for item in found] == [None, 0.0, 0.0, 0.25, 0.0]
    assert [item.within for item in found] == [False, True, True, False, True]
    assert judged(items[:1], "float32", 0.1)[0].drop is None
