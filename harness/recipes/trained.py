"""What the recipes that train share: parameters, data, and what the manifest says of it.

The training itself is in ``harness.recipes.training``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConversionError
from harness.models import READERS, Source
from harness.models.keras_source import from_keras
from harness.recipes.recipe import Parameter, Recipe, Values
from harness.recipes.shared import CALIBRATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.recipes.training import Settings, Tell, Trained, TrainingData

EPOCHS = Parameter("epochs", 2, "passes over the training split", 1, 100_000)

TRAINING = (
    EPOCHS,
    Parameter("learning_rate", 1e-4, "of Adam", 1e-9, 10.0),
    Parameter("batch_size", 64, "samples per step", 1, 65_536),
    Parameter(
        "validation",
        0.1,
        "share of the training split that is held out to choose the epoch",
        0,
        0.9,
    ),
    Parameter("seed", 0, "of everything that is drawn", 0, 1 << 31),
    Parameter(
        "strategy", "none", "mirrored: over several logical devices", choices=("none", "mirrored")
    ),
    Parameter("replicas", 2, "logical devices of the mirrored strategy", 1, 64),
)

#: What ``train`` gets: the Keras model, the samples, the settings and where to say progress.
Train = Callable[[Any, "TrainingData", "Settings", "Tell"], "Trained"]

QAT = Parameter("qat", False, "quantization-aware training afterwards that keeps what was made")


@dataclass(frozen=True, slots=True)
class Result:
    """A trained model as a source, and what the manifest says of its making.

    ``needs_calibration`` where ranges are missing. ``deployable`` is false for an experiment
    that has no file.
    """

    source: Source
    facts: dict[str, Any]
    needs_calibration: bool
    deployable: bool


def recipe(
    name: str, summary: str, parameters: tuple[Parameter, ...], train: Callable[[Values], Train]
) -> Recipe:
    """A recipe that trains and ends in int8; ``train(values)`` gives what trains.

    It runs in a conversion process, where importing TensorFlow is allowed.
    """

    def trained(source: Source, request: Mapping[str, Any], values: Values, tell: Tell) -> Result:
        return run(source, request, values, tell, train(values))

    return Recipe(
        name=name,
        summary=summary,
        parameters=(*parameters, *TRAINING, CALIBRATION),
        convert=convert,
        train=trained,
        needs_calibration=True,
        full_integer=True,
        integer_ends=True,
    )


def settings_of(values: Values, request: Mapping[str, Any]) -> Settings:
    """The training's settings from a recipe's values."""
    from harness.recipes.training import Settings

    known = set(Settings.__dataclass_fields__)
    chosen: dict[str, Any] = {name: value for name, value in values.items() if name in known}
    logs = request.get("tensorboard")
    return Settings(
        **chosen,
        tensorboard=Path(logs) if logs else None,
        checkpoint=Path(request["checkpoint"]),
    )


def convert(tf: Any, converter: Any, values: Values) -> None:
    """Integers throughout; ranges come from the training, or from calibration where it gave none.

    Layers that a partial training left out may stay in float, and so may the ends then.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if values.get("partial"):
        return
    if converter.representative_dataset is not None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def look_over(request: Mapping[str, Any]) -> None:
    """Write what training would do with each layer to ``out``; raises ``ConversionError``."""
    from harness.recipes.training import preflight, to_keras2

    reader = READERS[request["format"]]
    assert reader.load is not None
    where = Path(request["source"] if reader.is_file else request["base"])
    source = reader.load(request["source"], where)
    if source.layers is None:
        raise ConversionError(
            f"there is no graph of layers: {source.no_layers}",
            hint="use a recipe without training, such as int8",
        )
    layers = [asdict(layer) for layer in preflight(to_keras2(source.layers))]
    Path(request["out"]).write_text(json.dumps(layers))


def _are_classes(labels: NDArray[Any] | None) -> bool:
    return labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"


def _gives_back_its_input(model: Any) -> bool:
    shapes = [tuple(ends[0].shape) for ends in (model.inputs, model.outputs)]
    return shapes[0] == shapes[1]


def run(
    source: Source,
    request: Mapping[str, Any],
    values: Values,
    tell: Tell,
    train: Train,
) -> Result:
    """Train the model of ``source``; raises ``ConversionError`` where it cannot be trained."""
    from harness.recipes.making.conversion import prepare
    from harness.recipes.training import TrainingData, harm

    if source.layers is None:
        raise ConversionError(
            f"training needs a graph of layers: {source.no_layers}",
            hint="use a recipe without training, such as int8",
        )
    import numpy as np

    stored, labels = request["training"]
    if len(source.inputs) != 1:
        raise ConversionError(
            f"training feeds exactly one input, and this model has {len(source.inputs)}",
            hint="use a recipe without training, such as int8",
        )
    samples = np.load(stored, allow_pickle=False)
    _, shape, dtype = source.inputs[0]
    data = TrainingData(
        prepare(samples, request["preprocessing"], shape or (), "training", dtype),
        np.load(labels, allow_pickle=False) if labels else None,
    )
    if _are_classes(data.labels) and _gives_back_its_input(source.layers):
        raise ConversionError(
            "the model's output has the shape of its input, as an autoencoder's, and the training "
            "samples have labels",
            hint='say what it is for: task = "anomaly" or "reconstruction" in the suite, '
            "--task reconstruction on the command line",
        )
    trained = train(source.layers, data, settings_of(values, request), tell)
    return Result(
        source=from_keras(trained.model),
        facts={
            "training": {
                "history": trained.history,
                "best_epoch": trained.best_epoch,
                "layers": [asdict(layer) for layer in trained.layers],
                "evaluation": trained.evaluation,
                "reason": trained.reason,
                "findings": harm(trained.evaluation),
            }
        },
        needs_calibration=trained.needs_calibration,
        deployable=trained.deployable,
    )
