"""Raw outputs of a device: predictions, and the comparison with the host's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ProtocolError

#: Allowed relative RMS difference of float outputs: another processor sums in another order.
FLOAT_TOLERANCE = 1e-3

#: With integers inside, a value at a rounding boundary may fall to the other side.
INTEGER_TOLERANCE = 0.05


class OutputCollector:
    """Collects chunks of outputs as they come; keeps one prediction per sample.

    Memory is bounded: full outputs are kept only for the first ``keep`` samples.
    """

    def __init__(self, count: int, keep: int, zero_point: int, scale: float) -> None:
        self._predictions = np.full(count, -1, dtype=np.int64)
        self._keep = keep
        self._width = 0
        self._head: list[tuple[int, NDArray[Any]]] = []
        self._threshold = 0.5 / scale + zero_point if scale else 0.5

    def add(self, offset: int, outputs: NDArray[Any]) -> None:
        """Outputs (n, ...) of the samples from ``offset`` on.

        Raises ``ProtocolError`` for samples that come twice or in another width.
        """
        flat = outputs.reshape(len(outputs), -1)
        place = self._predictions[offset : offset + len(outputs)]
        if (place >= 0).any():
            raise ProtocolError(f"outputs of samples from {offset} on came twice")
        if self._width not in (0, flat.shape[1]):
            raise ProtocolError(f"outputs of width {flat.shape[1]} after {self._width}")
        self._width = flat.shape[1]
        if flat.shape[1] == 1:  # one sigmoid output: two classes
            found = (flat[:, 0] > self._threshold).astype(np.int64)
        else:
            found = flat.argmax(axis=1)
        place[:] = found
        if offset < self._keep:
            self._head.append((offset, outputs[: self._keep - offset]))

    def missing(self) -> int:
        """Samples without outputs."""
        return int(np.count_nonzero(self._predictions < 0))

    def predictions(self) -> NDArray[np.int64]:
        """Class indices (count,)."""
        return self._predictions

    def head(self) -> NDArray[Any] | None:
        """Outputs of the first ``keep`` samples, or ``None`` if some are missing."""
        parts = [outputs for _, outputs in sorted(self._head, key=lambda item: item[0])]
        whole = np.concatenate(parts) if parts else None
        return whole if whole is not None and len(whole) == self._keep else None


def compare(
    outputs: NDArray[Any] | None, reference: NDArray[Any], *, integer: bool
) -> dict[str, Any]:
    """How far a device's outputs are from the host's for the same variant and samples.

    ``relative_rms`` is the root mean square of the difference over that of the reference
    (integer outputs: over their standard deviation, so that a zero point does not hide it).
    """
    allowed = INTEGER_TOLERANCE if integer else FLOAT_TOLERANCE
    found: dict[str, Any] = {"samples": len(reference), "allowed": allowed}
    if outputs is None or outputs.size != reference.size or outputs.dtype != reference.dtype:
        return {**found, "equal": False, "identical": False, "relative_rms": 1e9}
    seen = outputs.reshape(reference.shape).astype(np.float64)
    wanted = reference.astype(np.float64)
    identical = bool(np.array_equal(seen, wanted))
    centre = wanted.mean() if reference.dtype.kind in "iu" else 0.0
    norm = float(np.sqrt(np.mean((wanted - centre) ** 2))) or 1.0
    difference = float(np.sqrt(np.mean((seen - wanted) ** 2))) / norm
    if not np.isfinite(difference):
        difference = 0.0 if identical else 1e9
    return {
        **found,
        "equal": difference <= allowed,
        "identical": identical,
        "relative_rms": difference,
    }
