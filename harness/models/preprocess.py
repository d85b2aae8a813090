"""The host's own preprocessing, written apart from the agent's so that each checks the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Preprocessing, TensorSpec


def to_real(samples: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Stored samples (n, ...) as the model's float input: ``(sample * scale - mean) / std``."""
    scale = np.float32(preprocessing.scale)
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    std = np.asarray(preprocessing.std, dtype=np.float32)
    real = (samples.astype(np.float32) * scale - mean) / std
    return np.asarray(real, dtype=np.float32)


def to_tensor(
    samples: NDArray[Any], preprocessing: Preprocessing, spec: TensorSpec
) -> NDArray[Any]:
    """Stored samples (n, ...) as the input tensor (n, *shape[1:]) of type ``spec.dtype``.

    Integer tensors without a scale (token ids, say) take the samples unchanged. Quantized:
    ``round(real / scale) + zero_point``, half to even, clipped to the type.
    """
    dtype = np.dtype(spec.dtype)
    shaped = samples.reshape((len(samples), *spec.shape[1:]))
    if dtype.kind == "f":
        return to_real(shaped, preprocessing).astype(dtype)
    if not spec.scale:
        return shaped.astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.rint(to_real(shaped, preprocessing) / np.float32(spec.scale))
    clipped = np.clip(steps + np.float32(spec.zero_point), limits.min, limits.max)
    return np.asarray(clipped, dtype=dtype)


def fits(sample_shape: tuple[int, ...], input_shape: tuple[int, ...]) -> bool:
    """Whether one sample can be reshaped to one input: equal but for axes of length 1."""
    return tuple(size for size in sample_shape if size != 1) == tuple(
        size for size in input_shape if size != 1
    )
