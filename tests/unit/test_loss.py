"""How files are judged on the evaluation samples."""

from __future__ import annotations

import numpy as np
import pytest

from harness.recipes.loss.ablation import judge, outputs
from tests.support.files import float_file

#: Logits below and above 0, and the yes or no of their sigmoids.
LOGITS = np.array([[-2.0], [3.0], [-1.0], [0.5]], np.float32)
LABELS = np.array([0, 1, 0, 1])


def test_a_single_output_is_a_yes_or_no() -> None:
    sigmoid = float_file([(1, 1), (1, 1)], [("LOGISTIC", [0], [1])], outputs=[1])
    exact = outputs(sigmoid, LOGITS)
    assert judge(sigmoid, LOGITS, LABELS, exact).accuracy == 1
    assert judge(sigmoid, LOGITS, 1 - LABELS, exact).accuracy == 0
    found = judge(sigmoid, LOGITS, LABELS, 1 - exact)
    assert found.agreement == 0 and found.accuracy == 1
    unlabelled = judge(sigmoid, LOGITS, None, exact)
    assert unlabelled.accuracy is None and unlabelled.agreement is None


@pytest.mark.parametrize(("output", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_the_output_that_was_asked_for_is_judged(output: int, accuracy: float) -> None:
    both = float_file(
        [(1, 1), (1, 1), (1, 1), (1, 1)],
        [("NEG", [0], [1]), ("LOGISTIC", [1], [2]), ("LOGISTIC", [0], [3])],
        outputs=[3, 2],
    )
    exact = outputs(both, LOGITS, output)
    assert judge(both, LOGITS, LABELS, exact, output).accuracy == accuracy
