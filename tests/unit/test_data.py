"""Datasets as files for devices."""

from __future__ import annotations

import numpy as np
import pytest

from device_agents.python.tensors import open_samples
from harness.orchestrate.data import keep


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", ">f4", "|b1", "<i8"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 3)])
def test_agents_read_what_is_kept(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)).reshape(shape) * 100).astype(dtype)
    blob = keep(array, "samples")
    found = open_samples(np, {"samples": {"path": str(blob.path)}}, "accuracy")
    assert found.shape == shape and np.array_equal(found, array)
    assert not found.flags.writeable and blob.size == blob.path.stat().st_size
