"""One per task: raw outputs to what its metrics need of each sample, as they arrive.

Memory is bounded by what is kept of a sample: a few classes, one error, counts by class, boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import JobError, ProtocolError
from harness.metrics import confusion, topk
from harness.orchestrate.tasks import MAP_CLASSES, MapLayout, Spec

#: The names under which the store keeps what reducers leave; fields of ``Observations``.
ARTIFACTS = (
    "predictions",
    "top_classes",
    "errors",
    "overlaps",
    "pixels",
    "detections",
    "agreement",
)


#: Errors up to here can be summed over any dataset and still be numbers.
_MOST_ERROR = 1e290


class Reducer(Protocol):
    """What is kept of the samples' outputs."""

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """Outputs (n, ...) of one tensor, of the samples from ``offset`` on; each once."""
        ...

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """Arrays by name, see ``ARTIFACTS``."""
        ...


def real(outputs: NDArray[Any], spec: Spec) -> NDArray[np.float64]:
    """Outputs in real units: ``(stored - zero_point) * scale``."""
    values = outputs.astype(np.float64)
    return (values - spec["zero_point"]) * spec["scale"] if spec["scale"] else values


def refuse_not_finite(values: NDArray[Any], offset: int, *, infinite: bool = True) -> None:
    """A NaN is no answer, and a number that counts it as one would be wrong.

    Infinite values are refused with it unless ``infinite`` is off: then only +inf is, since
    a class that is impossible may well score -inf. Raises ``JobError``.
    """
    if values.dtype.kind != "f":
        return
    flat = values.reshape(len(values), -1)
    bad = ~np.isfinite(flat) if infinite else np.isnan(flat) | np.isposinf(flat)
    if bad.any():
        first = offset + int(np.flatnonzero(bad.any(axis=1))[0])
        raise JobError(
            f"the outputs of sample {first} hold NaN or infinite values, so there is no accuracy",
            hint="look for broken weights, inputs out of range, or an overflow of 16-bit floats; "
            "compare with the float32 variant",
        )


class Classes:
    """Classification: the class of each sample, and the next ones where there are many."""

    def __init__(self, count: int, spec: Spec) -> None:
        self._predictions = np.full(count, -1, dtype=np.int64)
        self._top: NDArray[np.int32] | None = None
        self._spec = spec

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """See ``Reducer``."""
        del tensor
        flat = outputs.reshape(len(outputs), -1)
        refuse_not_finite(flat, offset, infinite=False)
        place = slice(offset, offset + len(flat))
        self._predictions[place] = best_class(flat, self._spec)
        if flat.shape[1] > topk.K:
            if self._top is None:
                self._top = np.full((len(self._predictions), topk.K), -1, dtype=np.int32)
            # Stable, so that of equal outputs the lower class comes first, as argmax has it.
            order = np.argsort(-flat.astype(np.float64), axis=1, kind="stable")
            self._top[place] = order[:, : topk.K]

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """``predictions``, and ``top_classes`` where there are more than five classes."""
        found: dict[str, NDArray[Any]] = {"predictions": self._predictions}
        return found if self._top is None else {**found, "top_classes": self._top}


def best_class(flat: NDArray[Any], spec: Spec) -> NDArray[np.int64]:
    """Class indices (n,) of outputs (n, classes); a single output is a yes (over 0.5) or no."""
    if flat.shape[1] == 1:
        return (real(flat[:, 0], spec) > 0.5).astype(np.int64)
    return np.asarray(flat.argmax(axis=1), dtype=np.int64)


class Errors:
    """Anomaly, reconstruction, regression: the mean squared error of each sample.

    ``targets(offset, n)`` gives what outputs are held against, n rows of ``width`` values.
    """

    def __init__(self, count: int, spec: Spec, targets: Callable[[int, int], NDArray[Any]]) -> None:
        self._errors = np.full(count, np.nan)
        self._spec = spec
        self._targets = targets

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """See ``Reducer``."""
        del tensor
        refuse_not_finite(outputs, offset)
        found = real(outputs.reshape(len(outputs), -1), self._spec)
        wanted = self._targets(offset, len(outputs)).reshape(len(outputs), -1)
        if wanted.shape != found.shape:
            raise ProtocolError(f"outputs of {found.shape[1]} values, not {wanted.shape[1]}")
        with np.errstate(over="ignore"):
            errors = np.mean((found - wanted.astype(np.float64)) ** 2, axis=1)
        if errors.max(initial=0) > _MOST_ERROR:
            first = int(np.argmax(errors > _MOST_ERROR))
            raise JobError(
                f"the squared error of sample {offset + first} is no number that can be summed: "
                f"its target goes to {np.abs(wanted[first]).max():g}, its output to "
                f"{np.abs(found[first]).max():g}",
                hint="are the targets in the units of the output?",
            )
        self._errors[offset : offset + len(outputs)] = errors

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """``errors``."""
        return {"errors": self._errors}


class Maps:
    """Segmentation: counts of pixels by class, for each image and between classes."""

    def __init__(self, labels: NDArray[Any], layout: MapLayout, spec: Spec, ignored: int) -> None:
        self._labels = labels
        self._layout = layout
        self._spec = spec
        self._ignored = ignored
        self._overlaps = np.zeros((len(labels), 3, layout.classes), dtype=np.int32)
        self._pixels = np.zeros((layout.classes, layout.classes), dtype=np.int64)

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """See ``Reducer``."""
        del tensor
        maps = class_maps(outputs, self._layout, self._spec, offset)
        classes = self._layout.classes
        for index, found in enumerate(maps, offset):
            wanted = self._labels[index].reshape(-1)
            if found.size != wanted.size:
                raise ProtocolError(f"a map of {found.size} pixels, not {wanted.size}")
            counted = wanted != self._ignored
            counts = confusion.count(wanted[counted], found.reshape(-1)[counted], classes)
            self._overlaps[index] = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
            self._pixels += counts

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """``overlaps`` and ``pixels``; of maps only as many classes as there were."""
        used = self._layout.classes
        if used == MAP_CLASSES and self._layout.axis is None:
            seen = np.flatnonzero(self._pixels.any(axis=0) | self._pixels.any(axis=1))
            used = int(seen.max(initial=0)) + 1
        return {"overlaps": self._overlaps[:, :, :used], "pixels": self._pixels[:used, :used]}


def class_maps(
    outputs: NDArray[Any], layout: MapLayout, spec: Spec, offset: int
) -> NDArray[np.int64]:
    """Class indices (n, h, w) of a segmentation's outputs."""
    refuse_not_finite(outputs, offset, infinite=False)
    if layout.axis is not None:
        return np.asarray(outputs.argmax(axis=layout.axis), dtype=np.int64)
    if layout.binary:
        return (real(outputs, spec) > 0.5).astype(np.int64)
    maps = outputs.astype(np.int64)
    if maps.min() < 0 or maps.max() >= layout.classes:
        raise JobError(
            f"a map of classes holds {maps.min()} to {maps.max()}",
            hint=f"the harness counts classes from 0 to {layout.classes - 1}",
        )
    return maps


class Boxes:
    """Detection: every box that the model gives, by image.

    ``roles`` says which tensor is which; ``specs`` are those of all outputs.
    """

    def __init__(self, count: int, specs: list[Spec], roles: Mapping[str, int]) -> None:
        self._specs = specs
        self._role = {tensor: role for role, tensor in roles.items()}
        most = int(specs[roles["boxes"]]["shape"][1])
        self._shapes = {"boxes": (most, 4), "classes": (most,), "scores": (most,), "count": ()}
        self._kept = {
            role: np.zeros((count, *shape), dtype=np.float32)
            for role, shape in self._shapes.items()
        }

    def add(self, tensor: int, offset: int, outputs: NDArray[Any]) -> None:
        """See ``Reducer``."""
        role = self._role[tensor]
        shape = self._shapes[role]
        if prod(outputs.shape[1:]) != prod(shape):
            raise ProtocolError(f"{role} of shape {outputs.shape[1:]}, not {shape}")
        # Behind the last box a model leaves what was in memory, which may be no number at all.
        with np.errstate(invalid="ignore"):
            values = real(outputs, self._specs[tensor]).reshape(len(outputs), *shape)
            self._kept[role][offset : offset + len(outputs)] = values

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """``detections`` (n, boxes, 6); a score of -1 where there is no box."""
        kept = self._kept
        refuse_not_finite(kept["count"], 0)
        most = self._shapes["boxes"][0]
        there = np.arange(most)[None, :] < np.rint(kept["count"])[:, None]
        scores = np.where(there, kept["scores"], np.float32(-1))
        rows = np.concatenate(
            [kept["boxes"], kept["classes"][..., None], scores[..., None]], axis=2
        )
        rows = np.where(there[..., None], rows, np.float32(-1))
        refuse_not_finite(rows, 0)
        return {"detections": rows}


def detections(rows: NDArray[Any], specs: list[Spec], roles: Mapping[str, int]) -> NDArray[Any]:
    """Detections (n, boxes, 6) of rows with all outputs of a sample, one after the other."""
    boxes, begin = Boxes(len(rows), specs, roles), 0
    for tensor, spec in enumerate(specs):
        end = begin + prod(spec["shape"])
        boxes.add(tensor, 0, rows[:, begin:end])
        begin = end
    return boxes.artifacts()["detections"]
