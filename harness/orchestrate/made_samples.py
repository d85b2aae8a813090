"""Samples for a ready ``.tflite`` file that is only to be timed: no dataset need be at hand."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, json_sha256, whole_file
from harness.domain import Dataset
from harness.errors import ModelError
from harness.simulation import Tensor, read_graph

#: Changes when the same input would get other samples.
_VERSION = 1

#: Samples that are made, fewer where they are large: what is timed needs one, the output check
#: some more, and all of them travel to the device.
_SAMPLES = 16
_MOST_BYTES = 4_000_000

#: Values of one sample, at most: a file may say anything of its input.
_MOST_VALUES = 1 << 26

_QUANTIZED = ("int8", "uint8", "int16", "uint16")


def made_samples(path: Path) -> Dataset:
    """A dataset that fits the first input of the file at ``path``, kept in the cache.

    The same for every file with an input of that shape, type and quantization, and always the
    same values: reals of -1 to 1, for quantized tensors reals of the range that they can
    hold, and for integers without a scale 0 and 1, which are valid as indices as well. All
    labels are 0. Raises ``ModelError`` for a damaged file and an input that takes no numbers.
    """
    graph = read_graph(path)
    if not graph.inputs:
        raise ModelError(f"{path} has no input, so there is nothing to feed")
    tensor = graph.inputs[0]
    key = _key(tensor)
    name = f"made-{key[:12]}"
    file = cache_dir("host", "made-samples") / f"{key}.npz"
    if not file.exists():
        samples = _values(path, tensor, int(key[:8], 16))
        labels = np.zeros(len(samples), dtype=np.int64)
        with whole_file(file) as part, open(part, "wb") as stream:
            np.savez(stream, images=samples, labels=labels)
    return Dataset(name, "npz", path=file)


def _key(tensor: Tensor) -> str:
    quantization = tensor.quantization
    pairs = [list(quantization.scales), list(quantization.zero_points)] if quantization else []
    return str(json_sha256([_VERSION, list(tensor.shape), tensor.dtype, pairs]))


def _values(path: Path, tensor: Tensor, seed: int) -> NDArray[Any]:
    shape = tuple(max(1, size) for size in tensor.shape[1:])
    if prod(shape) > _MOST_VALUES:
        raise ModelError(f"{path}: its input {list(tensor.shape)} is larger than can be made up")
    count = max(1, min(_SAMPLES, _MOST_BYTES // (4 * prod(shape))))
    rng = np.random.default_rng(seed)
    quantization = tensor.quantization
    if tensor.dtype in ("float32", "float16", "float64"):
        return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)
    if tensor.dtype in _QUANTIZED and quantization is not None and quantization.scales:
        limits = np.iinfo(tensor.dtype)
        zero = quantization.zero_points[0] if quantization.zero_points else 0
        ends = [quantization.scales[0] * (end - zero) for end in (limits.min, limits.max)]
        if all(np.isfinite(np.float32(end)) for end in ends):
            return rng.uniform(min(ends), max(ends), (count, *shape)).astype(np.float32)
    if tensor.dtype == "bool" or tensor.dtype.startswith(("int", "uint")):
        return rng.integers(0, 2, (count, *shape)).astype(np.int32)
    raise ModelError(
        f"{path}: its input is of the type {tensor.dtype}, for which no samples can be made",
        hint="give samples that fit it with --data",
    )
