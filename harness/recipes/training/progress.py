"""Batches by index, and what is told while they are trained on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConversionError
from harness.recipes.training.data import Tell, TrainingData
from harness.recipes.training.objective import Objective

#: Seconds between two reports within an epoch.
TELL_EVERY = 0.5


@dataclass(slots=True)
class Progress:
    """Where a phase stands; the clock starts after the first step, which also compiles."""

    phase: str
    phase_index: int
    phases: int
    epochs: int
    steps: int
    done_before: int = 0
    epoch: int = 0
    step: int = 0
    started: float | None = None
    counted_from: int = 0
    told: float = -math.inf

    def advance(self, epoch: int, step: int) -> bool:
        """Note a step; whether it is time to tell."""
        self.epoch, self.step = epoch, step
        now = time.perf_counter()
        if self.started is None:
            self.started, self.counted_from = now, self._steps_done()
        if now - self.told < TELL_EVERY:
            return False
        self.told = now
        return True

    def _steps_done(self) -> int:
        return (self.epoch - 1) * self.steps + self.step

    def remaining(self) -> float | None:
        """Seconds still to go, later phases counted like this one; ``None`` while unknown."""
        if self.started is None:
            return None
        counted = self._steps_done() - self.counted_from
        if counted < 1:
            return None
        per_step = (time.perf_counter() - self.started) / counted
        left = self.epochs * self.steps * (self.phases - self.phase_index) - self._steps_done()
        return round(per_step * left, 1)

    def after_epoch(self) -> dict[str, Any]:
        """What an epoch's own report adds."""
        return {
            "phases": self.phases,
            "epochs": self.epochs,
            "remaining_seconds": self.remaining(),
        }


def progress_callback(progress: Progress, tell: Tell) -> Any:
    """A Keras callback that tells, and ends a training whose loss is not a number."""
    import tf_keras

    class Teller(tf_keras.callbacks.Callback):  # type: ignore[misc]
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch + 1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            loss = float((logs or {}).get("loss", 0.0))
            if not math.isfinite(loss):
                raise diverged(self.epoch)
            if progress.advance(self.epoch, batch + 1):
                tell(
                    {
                        "event": "step",
                        "phase": progress.phase,
                        "phases": progress.phases,
                        "epoch": self.epoch,
                        "epochs": progress.epochs,
                        "step": batch + 1,
                        "steps": progress.steps,
                        "loss": loss,
                        "remaining_seconds": progress.remaining(),
                    }
                )

    return Teller()


def diverged(epoch: int) -> ConversionError:
    """The loss is not a number any more."""
    return ConversionError(
        f"training diverged: the loss is not a number in epoch {epoch}",
        hint="lower learning_rate, to a tenth for a start; and check that the samples are "
        "preprocessed as the model expects",
    )


def batches(
    objective: Objective,
    data: TrainingData,
    rows: NDArray[np.int64],
    size: int,
    *,
    drop_remainder: bool = False,
) -> Any:
    """These samples in this order, copied one batch at a time."""
    import tf_keras

    count = len(rows) // size if drop_remainder else math.ceil(len(rows) / size)

    class Batches(tf_keras.utils.Sequence):  # type: ignore[misc]
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
            chosen = rows[index * size : (index + 1) * size]
            return np.asarray(data.samples[chosen], np.float32), objective.targets(data, chosen)

    return Batches()
