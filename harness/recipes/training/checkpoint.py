"""The state of a training after each epoch, so that a killed one goes on where it was.

One ``.npz`` per phase, written whole or not at all and read without unpickling. It is used
only where its fingerprint is that of the training: same model, samples and settings.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import whole_file
from harness.recipes.training.data import Settings, TrainingData

Arrays = list[NDArray[Any]]

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class State:
    """A training after ``len(history)`` epochs."""

    history: list[dict[str, Any]]
    best_epoch: int
    weights: Arrays
    optimizer: Arrays
    best: Arrays


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where one phase keeps its state."""

    path: Path
    fingerprint: str

    def load(self) -> State | None:
        """The state of this very training, or ``None``; a damaged file counts as none."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                head = json.loads(str(stored["head"]))
                if head["fingerprint"] != self.fingerprint:
                    return None
                groups = {
                    name: [stored[f"{name}{index}"] for index in range(head[name])]
                    for name in ("weights", "optimizer", "best")
                }
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return State(head["history"], head["best_epoch"], **groups)

    def save(self, state: State) -> None:
        """Replace what is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        groups = {"weights": state.weights, "optimizer": state.optimizer, "best": state.best}
        head = {
            "fingerprint": self.fingerprint,
            "history": state.history,
            "best_epoch": state.best_epoch,
            **{name: len(arrays) for name, arrays in groups.items()},
        }
        arrays: dict[str, Any] = {
            f"{name}{index}": array
            for name, group in groups.items()
            for index, array in enumerate(group)
        }
        with whole_file(self.path) as part, open(part, "wb") as stream:
            np.savez(stream, head=np.array(json.dumps(head)), **arrays)


def fingerprint(
    weights: Sequence[NDArray[Any]], data: TrainingData, settings: Settings, phase: str
) -> str:
    """The hash of what determines a training, but where its logs and states go."""
    chosen = asdict(settings)
    del chosen["tensorboard"], chosen["checkpoint"]
    digest = hashlib.sha256(f"{phase} {json.dumps(chosen, sort_keys=True)}".encode())
    arrays = [*weights, data.samples, *([] if data.labels is None else [data.labels])]
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        for start in range(0, len(array) if array.ndim else 0, _CHUNK):
            digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).tobytes())
        if not array.ndim:
            digest.update(array.tobytes())
    return digest.hexdigest()
