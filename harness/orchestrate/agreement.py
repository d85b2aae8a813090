"""A variant's outputs beside those of the float32 variant of the same model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, json_sha256, whole_file
from harness.datasets import spread
from harness.domain import Model, Task, Variant
from harness.metrics import agreement
from harness.orchestrate.reducers import best_class, class_maps, real
from harness.orchestrate.tasks import MapLayout, Spec
from harness.stats.memo import Memo, digest

#: Changes when the same request would give other outputs.
VERSION = 1

#: Outputs of float32 that are kept on disk for one model, at most.
MAX_BYTES = 512 * 1024 * 1024

#: Seconds that the host may take for them; a slower model is compared on fewer samples.
MAX_SECONDS = 120


#: Comparisons of chunks of outputs; many devices send the very same ones.
_kept: Memo[NDArray[np.float64]] = Memo(256)


@dataclass(frozen=True, slots=True)
class FloatOutputs:
    """Outputs of the float32 variant on the host: a ``.npy`` (m, ...) for m of the samples."""

    path: Path
    places: NDArray[np.int64]


def float_outputs(
    model: Model,
    variant: Variant,
    samples: Path,
    samples_sha256: str,
    count: int,
    wanted: int,
    run: Callable[[dict[str, Any]], dict[str, Any]],
) -> FloatOutputs | str:
    """The real outputs of ``variant``, the model's float32, for ``wanted`` of ``count`` samples.

    They are spread evenly, and fewer where outputs are large or slow to come. ``run`` answers
    a request of ``harness.recipes.making.verify``; what it once answered comes from the cache. A
    reason in words where there are no outputs.
    """
    request = {
        "variant": str(variant.path),
        "samples": str(samples),
        "count": min(wanted, count),
        "spread": True,
        "max_bytes": MAX_BYTES,
        "max_seconds": MAX_SECONDS,
        "output": model.output or 0,
        "preprocessing": asdict(model.preprocessing),
        "stateful": bool(variant.manifest.get("stateful")),
    }
    fixed = {key: request[key] for key in request if key not in ("variant", "samples")}
    runtime = metadata.version("ai-edge-litert")
    key = json_sha256([VERSION, variant.sha256, samples_sha256, fixed, runtime])
    path = cache_dir("host", "float_outputs") / f"{key}.npy"
    rows = _rows(path)
    if rows is None:
        with whole_file(path) as part:
            answer = run({**request, "out": str(part)})
            if not part.exists():
                part.touch()
        if not answer["ok"] or not answer["reference"]:
            path.unlink(missing_ok=True)
            reason = answer.get("error") or "it does not take the dataset's samples"
            return f"the host cannot run float32: {reason}"
        rows = _rows(path)
    if rows is None:
        return "the host gave no outputs of float32"
    if not np.isfinite(rows).all():
        return "float32 itself gives NaN or infinite values"
    return FloatOutputs(path, spread(count, len(rows)))


def _rows(path: Path) -> NDArray[Any] | None:
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim and len(found) else None


class Agreement:
    """Compares outputs with those of float32 as they arrive; keeps five numbers per sample.

    ``layout`` is that of a segmentation's maps. See ``metrics.agreement`` for the numbers.
    """

    def __init__(
        self, floats: FloatOutputs, task: Task, spec: Spec, layout: MapLayout | None
    ) -> None:
        self._floats = np.load(floats.path, mmap_mode="r", allow_pickle=False)
        self._places = floats.places
        self._task = task
        self._spec = spec
        self._layout = layout
        self._rows = np.full((len(self._places), len(agreement.COLUMNS)), np.nan)
        # The file is named by all that its rows hang on.
        about = tuple(spec[key] for key in ("scale", "zero_point"))
        self._identity = (str(floats.path), len(self._places), task, about, layout)

    def add(self, offset: int, outputs: NDArray[Any]) -> None:
        """Outputs (n, ...) of the samples from ``offset`` on."""
        low, high = (
            int(end) for end in np.searchsorted(self._places, [offset, offset + len(outputs)])
        )
        if low == high or outputs[0].size != self._floats[low].size:
            return
        key = (self._identity, low, high, offset, digest(outputs))
        self._rows[low:high] = _kept.get(key, lambda: self._compared(low, high, offset, outputs))

    def _compared(
        self, low: int, high: int, offset: int, outputs: NDArray[Any]
    ) -> NDArray[np.float64]:
        return np.array(
            [
                self._compare(outputs[self._places[row] - offset], np.asarray(self._floats[row]))
                for row in range(low, high)
            ]
        )

    def _compare(self, own: NDArray[Any], other: NDArray[Any]) -> tuple[float, ...]:
        plain: Mapping[str, Any] = {"scale": 0.0, "zero_point": 0}
        same = np.nan
        if self._task is Task.CLASSIFICATION:
            same = float(
                best_class(own.reshape(1, -1), self._spec)[0]
                == best_class(other.reshape(1, -1), plain)[0]
            )
        elif self._layout is not None:
            mine = class_maps(own[None], self._layout, self._spec, 0)
            theirs = class_maps(other.reshape(own.shape)[None], self._layout, plain, 0)
            same = float(np.mean(mine == theirs))
            if self._layout.axis is None and not self._layout.binary:
                return same, np.nan, np.nan, np.nan, np.nan  # indices are no quantities
        values, wanted = real(own, self._spec).ravel(), other.astype(np.float64).ravel()
        difference = values - wanted  # the floats were checked: they are finite
        with np.errstate(invalid="ignore"):  # of -inf there is no product; metrics leave it out
            product = float(values @ wanted) if values.size > 1 else np.nan
            powers = [float(part @ part) for part in (values, wanted, difference)]
        return (same, product, *powers)

    def rows(self) -> NDArray[np.float64]:
        """One row per sample that was compared."""
        return self._rows
