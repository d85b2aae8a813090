from __future__ import annotations

import numpy as np
import pytest

from harness.errors import ProtocolError
from harness.orchestrate.outputs import OutputCollector, compare


def test_predictions_of_chunks_in_any_order() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(20, 5)).astype(np.float32)
    collector = OutputCollector(20, 6, 0, 0.0)
    for start in (10, 0, 15, 5):
        collector.add(start, outputs[start : start + 5])
    assert collector.missing() == 0
    assert np.array_equal(collector.predictions(), outputs.argmax(1))
    head = collector.head()
    assert head is not None and np.array_equal(head, outputs[:6])


def test_one_output_is_a_yes_or_no() -> None:
    collector = OutputCollector(3, 1, zero_point=-128, scale=1 / 256)
    collector.add(0, np.array([[-128], [127], [10]], dtype=np.int8))
    assert collector.predictions().tolist() == [0, 1, 1]


def test_missing_repeated_and_misshapen_outputs() -> None:
    collector = OutputCollector(4, 2, 0, 0.0)
    collector.add(2, np.zeros((1, 3), np.float32))
    assert collector.missing() == 3 and collector.head() is None
    with pytest.raises(ProtocolError, match="twice"):
        collector.add(1, np.zeros((2, 3), np.float32))
    with pytest.raises(ProtocolError, match="width"):
        collector.add(0, np.zeros((1, 4), np.float32))


def test_comparison_with_the_reference() -> None:
    reference = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    same = compare(reference.copy(), reference, integer=False)
    assert same["equal"] and same["identical"] and same["relative_rms"] == 0
    near = compare(reference * np.float32(1.0001), reference, integer=False)
    assert near["equal"] and not near["identical"]
    far = compare(reference[:, ::-1].copy(), reference, integer=True)
    assert not far["equal"] and far["relative_rms"] > 0.5
    for wrong in (None, reference[:1], reference.astype(np.float64), reference * np.nan):
        assert not compare(wrong, reference, integer=False)["equal"]


def test_a_zero_point_does_not_hide_a_difference() -> None:
    reference = np.array([[-128, 127, -128, -128]], dtype=np.int8)
    assert not compare(np.full_like(reference, -128), reference, integer=True)["equal"]
    close = reference.copy()
    close[0, 1] = 126
    assert compare(close, reference, integer=True)["equal"]
