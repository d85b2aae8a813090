"""The agent's preprocessing against the host's, which was written apart from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.python.failures import AgentFailure
from device_agents.python.tensors import Preprocessor, type_name
from harness.domain import Preprocessing, TensorSpec
from harness.models.preprocess import fits, to_tensor

channel = st.floats(-200, 200).map(lambda x: round(x, 3))
positive = st.floats(0.01, 200).map(lambda x: round(x, 3))


@given(
    stored=st.sampled_from(["uint8", "int16", "float32"]),
    tensor=st.sampled_from(["float32", "int8", "uint8", "int16"]),
    scale=positive,
    mean=st.lists(channel, min_size=1, max_size=1) | st.lists(channel, min_size=3, max_size=3),
    std=st.lists(positive, min_size=1, max_size=1) | st.lists(positive, min_size=3, max_size=3),
    quantum=st.floats(0.001, 10),
    zero_point=st.integers(-100, 100),
    seed=st.integers(0, 99),
)
def test_agent_and_host_prepare_the_same_tensor(
    stored: str, tensor: str, scale: float, mean: list[float], std: list[float], quantum: float,
    zero_point: int, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 256, (5, 4, 3)).astype(stored)
    quantization = (quantum, zero_point) if tensor != "float32" else (0.0, 0)
    detail = {"shape": np.array([1, 4, 3]), "dtype": np.dtype(tensor), "quantization": quantization}
    prepare = Preprocessor(
        np, detail, samples, {"scale": scale, "mean": mean, "std": std}, "accuracy"
    )
    expected = to_tensor(
        samples,
        Preprocessing(scale, tuple(mean), tuple(std)),
        TensorSpec("x", (1, 4, 3), tensor, *quantization),
    )
    found = prepare(samples)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.array_equal(found, expected)


def test_token_ids_pass_unchanged() -> None:
    samples = np.arange(12, dtype=np.int32).reshape(3, 4)
    detail = {"shape": np.array([1, 4]), "dtype": np.int32, "quantization": (0.0, 0)}
    assert np.array_equal(Preprocessor(np, detail, samples, {"scale": 3.0}, "x")(samples), samples)


def test_types_are_called_alike_by_every_numpy() -> None:
    """NumPy 1 calls its class ``bool_``."""
    for called in (type("bool_", (), {}), np.bool_, np.dtype(bool)):
        assert type_name(called) == "bool"
    assert type_name(np.float32) == type_name(np.dtype("<f4")) == "float32"


def test_axes_of_one_are_fitted_and_others_refused() -> None:
    samples = np.zeros((2, 8, 8), np.uint8)
    detail = {"shape": np.array([1, 8, 8, 1]), "dtype": np.float32, "quantization": (0.0, 0)}
    assert Preprocessor(np, detail, samples, {}, "x")(samples).shape == (2, 8, 8, 1)
    assert fits((8, 8), (8, 8, 1)) and not fits((8, 8), (8, 9, 1))
    wrong = {**detail, "shape": np.array([1, 8, 9, 1])}
    with pytest.raises(AgentFailure, match="do not fit"):
        Preprocessor(np, wrong, samples, {}, "x")
    fixed = {**detail, "shape": np.array([4, 8, 8, 1])}
    with pytest.raises(AgentFailure, match="fixed batch"):
        Preprocessor(np, fixed, samples, {}, "x")
