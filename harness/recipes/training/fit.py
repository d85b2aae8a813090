"""The one training loop: epoch by epoch, the best one kept, each one saved.

The order of the samples depends on the seed and the epoch alone, and a last, smaller batch
is left out (another one in each epoch), so an interrupted training that goes on takes the
same steps as one that was not interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConversionError
from harness.recipes.training.checkpoint import Arrays, Checkpoint, State, fingerprint
from harness.recipes.training.context import mirrored, scope
from harness.recipes.training.data import Settings, Tell, TrainingData, split
from harness.recipes.training.objective import Objective
from harness.recipes.training.progress import Progress, batches, diverged, progress_callback

_EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Phase:
    """One training of perhaps several: which, and from which epoch on weights may be kept.

    ``callbacks`` makes the callbacks that the phase needs besides the loop's own.
    """

    name: str
    index: int = 0
    count: int = 1
    keep_from: int = 1
    callbacks: Callable[[], Sequence[Any]] = field(default=lambda: ())


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model with its best epoch's weights, and how it got there."""

    model: Any
    history: list[dict[str, Any]]
    best_epoch: int
    scores: dict[str, float]


def steps_per_epoch(data: TrainingData, settings: Settings) -> int:
    """Whole batches in one epoch."""
    count = len(split(data, settings)[0])
    return count // _batch_size(count, settings)


def _batch_size(count: int, settings: Settings) -> int:
    size = min(settings.batch_size, count)
    if settings.strategy == "none":
        return size
    size -= size % settings.replicas
    if not size:
        raise ConversionError(
            f"a batch of {min(settings.batch_size, count)} cannot be shared by "
            f"{settings.replicas} replicas",
            hint="raise batch_size, give more samples, or train with strategy none",
        )
    return size


def fit(
    build: Callable[[], Any],
    objective: Objective,
    data: TrainingData,
    settings: Settings,
    tell: Tell,
    phase: Phase,
) -> Fitted:
    """Train what ``build`` makes; raises ``ConversionError`` where the loss is not a number."""
    strategy = mirrored(settings)
    rows, held = split(data, settings)
    size = _batch_size(len(rows), settings)
    with scope(strategy):
        model = built(build, phase)
        objective.compile(model, settings.learning_rate)
        model.optimizer.build(model.trainable_variables)
    checkpoint = _checkpoint(model, data, settings, phase)
    state = checkpoint.load() if checkpoint else None
    if state is None:
        state = State([], 0, model.get_weights(), [], model.get_weights())
    else:
        _restore(model, state, strategy)
    progress = Progress(phase.name, phase.index, phase.count, settings.epochs, len(rows) // size)
    progress.done_before = len(state.history)
    for epoch in range(len(state.history), settings.epochs):
        started = time.perf_counter()
        order = np.random.default_rng((settings.seed, phase.index, epoch)).permutation(rows)
        _reseed(model, settings.seed + 1000 * phase.index + epoch)
        trained = model.fit(
            batches(objective, data, order, size, drop_remainder=True),
            epochs=epoch + 1,
            initial_epoch=epoch,
            shuffle=False,
            verbose=0,
            callbacks=[*phase.callbacks(), progress_callback(progress, tell)],
        ).history
        scores = {"loss": trained["loss"][0], "metric": trained["metric"][0]}
        scores |= {f"val_{name}": value for name, value in evaluate(model, objective, data, held)}
        entry: dict[str, Any] = {"phase": phase.name, "epoch": epoch + 1}
        entry |= {name: float(value) for name, value in scores.items()}
        entry["seconds"] = round(time.perf_counter() - started, 3)
        state = _advance(state, entry, model, phase)
        if checkpoint:
            checkpoint.save(state)
        _log(settings, phase, entry)
        tell({"event": "epoch", **entry, **progress.after_epoch()})
    if strategy is not None:
        model = built(build, phase)
        objective.compile(model, settings.learning_rate)
    model.set_weights(state.best)
    return Fitted(model, state.history, state.best_epoch, _scores(state))


def built(build: Callable[[], Any], phase: Phase) -> Any:
    """What ``build`` makes; what the libraries refuse becomes a ``ConversionError``."""
    try:
        return build()
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise ConversionError(
            f"the model could not be made ready for training ({phase.name}): {error}",
            hint="use a recipe without training, such as int8",
        ) from error


def evaluate(
    model: Any, objective: Objective, data: TrainingData, rows: NDArray[np.int64]
) -> list[tuple[str, float]]:
    """Loss and metric of a compiled model over these samples; nothing without samples."""
    if not len(rows):
        return []
    found = model.evaluate(
        batches(objective, data, rows, _EVALUATION_BATCH), verbose=0, return_dict=True
    )
    return [("loss", float(found["loss"])), ("metric", float(found["metric"]))]


def _advance(state: State, entry: dict[str, Any], model: Any, phase: Phase) -> State:
    history = [*state.history, entry]
    weights = model.get_weights()
    key = "val_loss" if "val_loss" in entry else "loss"
    if not np.isfinite(entry[key]):
        raise diverged(entry["epoch"])
    kept = next((past[key] for past in history if past["epoch"] == state.best_epoch), np.inf)
    better = entry["epoch"] >= phase.keep_from and entry[key] < kept
    best_epoch = entry["epoch"] if better else state.best_epoch
    best = weights if better else state.best
    return State(history, best_epoch, weights, _optimizer_values(model), best)


def _scores(state: State) -> dict[str, float]:
    entry = next(past for past in state.history if past["epoch"] == state.best_epoch)
    prefix = "val_" if "val_loss" in entry else ""
    return {name: entry[prefix + name] for name in ("loss", "metric")}


def _optimizer_values(model: Any) -> Arrays:
    return [np.asarray(variable.numpy()) for variable in model.optimizer.variables]


def _restore(model: Any, state: State, strategy: Any | None) -> None:
    with scope(strategy):
        model.set_weights(state.weights)
        for variable, value in zip(model.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)


def _checkpoint(
    model: Any, data: TrainingData, settings: Settings, phase: Phase
) -> Checkpoint | None:
    if settings.checkpoint is None:
        return None
    name = f"{phase.index}-{phase.name}"
    identity = fingerprint(model.get_weights(), data, settings, name)
    return Checkpoint(settings.checkpoint / f"{name}.npz", identity)


def _reseed(model: Any, seed: int) -> None:
    """Make an epoch's random numbers depend on its number alone, where the model uses any.

    Random operations keep their state in the compiled step, which is therefore made anew.
    """
    import tf_keras

    random_layers = [
        layer
        for layer in model.submodules
        if isinstance(layer, tf_keras.__internal__.layers.BaseRandomLayer)
    ]
    if random_layers:
        tf_keras.utils.set_random_seed(seed)
        model.train_function = None


def _log(settings: Settings, phase: Phase, entry: dict[str, Any]) -> None:
    if settings.tensorboard is None:
        return
    import tensorflow as tf

    # What TensorBoard's own package would write; training does not need that installed.
    shown = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1
    )
    writer = tf.summary.create_file_writer(str(settings.tensorboard / phase.name))
    with writer.as_default(step=entry["epoch"]):
        for name in ("loss", "metric", "val_loss", "val_metric", "seconds"):
            if name in entry:
                tf.summary.write(name, float(entry[name]), metadata=shown)
    writer.close()
