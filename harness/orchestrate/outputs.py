"""Raw outputs of a device: what is kept of them, and the comparison with the host's reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.labels import IGNORED
from harness.domain import Task
from harness.errors import ProtocolError
from harness.models.detection_outputs import detection_outputs
from harness.models.preprocess import to_real
from harness.orchestrate.agreement import Agreement
from harness.orchestrate.prepare import Ready
from harness.orchestrate.reducers import Boxes, Classes, Errors, Maps, Reducer
from harness.orchestrate.tasks import (
    Spec,
    check_output_choice,
    check_outputs,
    map_layout,
)

#: Allowed relative RMS difference of float outputs: another processor sums in another order.
FLOAT_TOLERANCE = 1e-3

#: With integers inside, a value at a rounding boundary may fall to the other side.
INTEGER_TOLERANCE = 0.05


class OutputCollector:
    """Collects chunks of outputs as they come and hands them to what reduces them.

    Memory is bounded: full outputs are kept only for the first ``keep`` samples, of the
    first of ``tensors``.
    """

    def __init__(
        self,
        count: int,
        keep: int,
        reducer: Reducer | None = None,
        agreement: Agreement | None = None,
        *,
        tensors: Sequence[int] = (0,),
    ) -> None:
        self._seen = {tensor: np.zeros(count, dtype=bool) for tensor in tensors}
        self._width: dict[int, int] = {}
        self._compared = tensors[0]
        self._keep = keep
        self._head: list[tuple[int, NDArray[Any]]] = []
        self._reducer = reducer
        self._agreement = agreement

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """Outputs (n, ...) of one tensor, of the samples from ``offset`` on.

        Raises ``ProtocolError`` for samples that come twice or in another width.
        """
        width = outputs[0].size
        seen = self._seen[tensor][offset : offset + len(outputs)]
        if seen.any():
            raise ProtocolError(f"outputs of samples from {offset} on came twice")
        if self._width.setdefault(tensor, width) != width:
            raise ProtocolError(f"outputs of width {width} after {self._width[tensor]}")
        seen[:] = True
        if self._reducer is not None:
            self._reducer.add(tensor, offset, outputs)
        if tensor == self._compared:
            if self._agreement is not None:
                self._agreement.add(offset, outputs)
            if offset < self._keep:
                self._head.append((offset, outputs[: self._keep - offset]))

    def missing(self) -> int:
        """Samples without all of their outputs."""
        return int(np.count_nonzero(~np.logical_and.reduce(list(self._seen.values()))))

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """What accuracy rests on, by name; see ``reducers.ARTIFACTS``."""
        found = self._reducer.artifacts() if self._reducer is not None else {}
        return found if self._agreement is None else {**found, "agreement": self._agreement.rows()}

    @property
    def width(self) -> int:
        """Values of one sample's output."""
        return self._width.get(self._compared, 0)

    def head(self) -> NDArray[Any] | None:
        """Outputs of the first ``keep`` samples, or ``None`` if some are missing."""
        parts = [outputs for _, outputs in sorted(self._head, key=lambda item: item[0])]
        whole = np.concatenate(parts) if parts else None
        return whole if whole is not None and len(whole) == self._keep else None


class BoxCollector(OutputCollector):
    """A detector's four outputs; what lies beyond the number of its boxes is never looked at."""

    def __init__(self, count: int, keep: int, boxes: Boxes) -> None:
        super().__init__(count, keep, boxes, tensors=range(4))
        self._boxes = boxes

    def head(self) -> NDArray[Any]:
        """Detections of the first ``keep`` samples, as ``reducers.detections`` has them."""
        return self._boxes.artifacts()["detections"][: self._keep]


def collector_for(
    ready: Ready, outputs: Sequence[Spec], count: int, keep: int, *, whole: bool
) -> OutputCollector:
    """The collector for a variant's outputs as the device describes them.

    Only a ``whole`` sweep is reduced to what accuracy rests on. Raises ``ConversionError``
    where the outputs do not fit the task, which the host could not tell if it cannot run
    the variant.
    """
    model, labels = ready.model, ready.data.labels
    if model.task is Task.DETECTION:
        roles = detection_outputs(ready.variant.path, outputs)
        return BoxCollector(count, keep, Boxes(count, list(outputs), roles))
    compared = model.output or 0
    if not whole:
        return OutputCollector(count, keep, tensors=[compared])
    check_output_choice(model, outputs, accuracy=True)
    check_outputs(model, outputs, (1, *ready.data.sample_shape), labels, model.dataset)
    spec, layout = outputs[compared], None
    reducer: Reducer
    if model.task is Task.CLASSIFICATION:
        reducer = Classes(count, spec)
    elif model.task is Task.SEGMENTATION:
        layout = map_layout(f"model {model.name}", spec, labels.shape[1:])
        reducer = Maps(labels, layout, spec, IGNORED)
    elif model.task is Task.REGRESSION:
        reducer = Errors(count, spec, lambda offset, n: labels[offset : offset + n])
    else:
        samples = np.load(ready.data.samples.path, mmap_mode="r", allow_pickle=False)
        reducer = Errors(
            count, spec,
            lambda offset, n: to_real(np.asarray(samples[offset : offset + n]),
                                      model.preprocessing),
        )  # fmt: skip
    agreement = None
    if ready.float_outputs is not None:
        agreement = Agreement(ready.float_outputs, model.task, spec, layout)
    return OutputCollector(count, keep, reducer, agreement, tensors=[compared])


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
