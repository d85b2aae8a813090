"""A search as text."""

from __future__ import annotations

import dataclasses
from typing import Any

from harness.decide.candidates import Candidate
from harness.reports import search_table

ODD = 'int8_selective(keep_float=["model/a_rather_long_name/Conv2D", "model/another/Conv2D"])'


def rendered(*tried: Candidate, width: int = 100, **more: Any) -> str:
    found = {
        "model": "m", "minimize": "latency", "bound": 0.005, "best": {"board": None}, "runs": ["r"],
        "tried": [dataclasses.asdict(item) for item in tried], "complete": True, "references": {},
    }  # fmt: skip
    return search_table.render({**found, **more}, width)


def item(recipe: str, **more: Any) -> Candidate:
    return Candidate(recipe, "board", "simulated", "r", **more)


def measured(recipe: str) -> Candidate:
    return item(
        recipe, accuracy=0.75, drop=0.001, value=1.25, unit="ms", size_bytes=95_344, within=True
    )


def test_errors_stand_below_a_table_that_stays_readable() -> None:
    long = "board: an Edge TPU runs full-integer models only; " + "and so on " * 40
    text = rendered(
        measured("int8"), measured(ODD), item("float32", error=long), item("float16", error=long),
        item("int16x8", error="another reason"),
    )  # fmt: skip
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.split() == ["int8", "75.00", "%", "+0.10", "1.25", "ms", "95.3", "kB"]
               for line in lines)  # fmt: skip
    assert any(line.strip().startswith(ODD[:50]) for line in lines)
    table, below = text.index("int8 "), text.index("float32, float16: board: an Edge TPU")
    assert table < below < text.index("int16x8: another reason")
    assert "and so on " * 40 not in " ".join(text.split()) and "..." in text


def test_what_is_not_done_shows_what_is_known() -> None:
    begun = item("int8", pending=True, trials=2, accuracy=0.75, size_bytes=95_344)
    none = item("float16", pending=True, trials=0, error="not measured yet")
    text = rendered(begun, none, complete=False)
    line = next(row for row in text.splitlines() if "int8" in row)
    assert line.split() == ["int8", "75.00", "%", "2", "trials", "95.3", "kB"]
    assert "float16: not measured yet" in text and "nothing can be taken yet" in text
    assert "2 trials of 2 variants are kept" in text and "goes on where it stopped" in text
    best = measured("float32")
    text = rendered(best, begun, complete=False, best={"board": dataclasses.asdict(best)})
    assert "take float32, of those that are done" in text
