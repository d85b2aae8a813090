from __future__ import annotations

import math

import pytest

import harness
from harness.errors import UsageError


@pytest.mark.parametrize("name", ["max_latency_ms", "max_accuracy_drop"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, True])
def test_bounds_that_are_none(name: str, value: float, tmp_path: object) -> None:
    from harness.store import Store

    with Store(f"sqlite:///{tmp_path}/s.db") as store, pytest.raises(UsageError, match=name):
        harness.recommend(store=store, **{name: value})


def test_histories_and_comparisons_refuse_them_too(tmp_path: object) -> None:
    from harness.store import Store

    with Store(f"sqlite:///{tmp_path}/s.db") as store:
        with pytest.raises(UsageError, match="least_effect"):
            harness.history("latency", "d", least_effect=math.nan, store=store)
        with pytest.raises(UsageError, match="last"):
            harness.history("latency", "d", last=-1, store=store)
        with pytest.raises(UsageError, match="allow"):
            harness.compare("a", "b", allow="runtime", store=store)
