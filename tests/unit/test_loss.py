"""How files are judged on the evaluation samples."""

from __future__ import annotations

import numpy as np
import pytest

from harness.recipes.loss.ablation import judge, outputs
from harness.recipes.loss.local import local_errors
from harness.recipes.loss.operators import load, pair
from harness.recipes.loss.task import _order
from tests.support.files import float_file, schema

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


def test_outputs_that_are_no_numbers_are_the_worst() -> None:
    def file(name: str) -> bytes:
        return float_file([(1, 2), (1, 2)], [(name, [0], [1])], outputs=[1])

    inputs = np.array([[1.0, 4.0], [-1.0, 3.0], [4.0, 2.0]], np.float32)
    labels = np.array([1, 1, 0])
    exact = outputs(file("RELU"), inputs)
    equal, other, broken = (judge(file(name), inputs, labels, exact) for name in
                            ("RELU", "NEG", "SQRT"))  # fmt: skip
    assert equal.finite and equal.snr_db is None and equal.accuracy == 1
    assert not broken.finite and broken.snr_db is None
    assert broken.accuracy == broken.agreement == pytest.approx(2 / 3)  # no class, so not right
    unlabelled = [judge(file(name), inputs, None, exact) for name in ("SQRT", "NEG", "RELU")]
    assert sorted(unlabelled, key=_order) == unlabelled
    assert other.accuracy == 0


def test_a_sample_does_not_see_the_state_that_the_one_before_it_left() -> None:
    options = schema.SVDFOptionsT()
    options.rank = 1
    remembering = float_file(
        [(1, 1), (1, 1), (1, 2), (1, 2), (1, 1)], [("SVDF", [0, 1, 2, -1, 3], [4])], outputs=[4],
        constants={1: [1], 2: [10, 1]}, variables=[3],
        options={"SVDF": (schema.BuiltinOptions.SVDFOptions, options)},
    )  # fmt: skip
    inputs = np.array([[1.0], [2.0], [3.0]], np.float32)
    assert outputs(remembering, inputs, workers=1).tolist() == inputs.tolist()


def test_values_that_no_integer_holds_have_no_local_error() -> None:
    logarithm = float_file([(1, 2), (1, 2)], [("LOG", [0], [1])], outputs=[1])
    both = load(logarithm), load(logarithm)
    samples = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    (error,) = local_errors(logarithm, logarithm, pair(*both), samples, lambda done, of: None)
    assert error.rmse == 0 and error.count == 3
    assert (error.low, error.high) == pytest.approx((0, np.log(4)))
