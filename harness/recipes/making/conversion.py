"""One conversion, in a child of the conversion process: a source and a recipe -> a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.domain import Preprocessing, TensorSpec
from harness.errors import ConversionError, ModelError
from harness.models import READERS, Source, metadata
from harness.models.one_graph import in_order
from harness.models.preprocess import fits, to_tensor
from harness.recipes.recipe import ChosenRecipe
from harness.simulation import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Tells the orchestrator how far a long conversion is.
Tell = Callable[[dict[str, Any]], None]


def convert(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Make one variant and write it to ``out``; returns what the manifest says of its making.

    ``source``, ``base``, ``format``: the model. ``recipe``: its identity.
    ``float_file``: the ``float32`` variant, for recipes that start from it.
    ``calibration``: a ``.npy`` of stored samples; ``training``: samples and labels.
    Raises ``ConversionError`` and ``ModelError``, and whatever a converter raises.
    """
    from harness.recipes import parse_recipe

    chosen = parse_recipe(request["recipe"])
    started = time.perf_counter()
    if request["float_file"] or request["format"] == "tflite":
        content, facts = _requantized(chosen, request)
    else:
        content, facts = _converted(chosen, request, tell)
    out = Path(request["out"])
    out.write_bytes(content)
    if content:
        _refuse_unloadable(out)
    if content and chosen.recipe.finish is not None:
        facts.update(chosen.recipe.finish(out, chosen.values))
    return {"seconds": round(time.perf_counter() - started, 3), **facts}


def _refuse_unloadable(path: Path) -> None:
    """Refuse what the runtime cannot run; custom operators are the device's business."""
    from ai_edge_litert.interpreter import Interpreter

    if any(operator.custom for operator in read_graph(path).operators):
        return
    try:
        Interpreter(model_path=str(path), num_threads=1).allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"the converter made a file that the runtime cannot load: {error}",
            hint="leave out the layer of that operator, or try another recipe",
        ) from None


def _converted(
    chosen: ChosenRecipe, request: Mapping[str, Any], tell: Tell
) -> tuple[bytes, dict[str, Any]]:
    """Through a ``tf.lite.TFLiteConverter``, after training where the recipe trains."""
    import tensorflow as tf

    recipe = chosen.recipe
    reader = READERS[request["format"]]
    assert reader.load is not None
    assert recipe.convert is not None
    if recipe.train is not None:
        from harness.recipes import trained, training

        training.prepare(trained.settings_of(chosen.values, request))
    where = Path(request["source"] if reader.is_file else request["base"])
    source = reader.load(request["source"], where)
    _refuse_unusable(source)
    facts: dict[str, Any] = {}
    calibrates = recipe.needs_calibration
    if recipe.train is not None:
        result = recipe.train(source, request, chosen.values, tell)
        source, facts, calibrates = result.source, result.facts, result.needs_calibration
        if not result.deployable:
            return b"", {**facts, "deployable": False}
    saved = Path(request["out"] + ".saved")  # swept with the conversion process's folder
    converter = source.converter(saved)
    if calibrates:
        batches = _batches(source, request)

        def representative() -> Iterator[list[NDArray[Any]]]:
            for batch in batches:
                yield [batch]

        converter.representative_dataset = representative
    recipe.convert(tf, converter, chosen.values)
    content: bytes = converter.convert()
    shutil.rmtree(saved, ignore_errors=True)
    return in_order(content, *source.signature), facts


def _refuse_unusable(source: Source) -> None:
    """Refuse inputs that no variant can have, and weights that are no numbers."""
    import numpy as np

    for name, shape, dtype in source.inputs:
        if dtype == "string":
            raise ModelError(
                f"its input {name!r} takes strings, and TensorFlow Lite's recipes take numbers",
                hint="cut the text processing off the model and feed token ids",
            )
        if shape is None or any(size is None for size in shape):
            raise ModelError(
                f"the model's input {name!r} has free dimensions "
                f"{'of unknown number' if shape is None else list(shape)}",
                hint="fix them all but the batch before converting",
            )
    for name, values in source.weights():
        wrong = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
        if wrong:
            raise ModelError(
                f"its weights {name} hold {wrong} values that are NaN or infinite",
                hint="the training diverged or the file is damaged: use an earlier checkpoint",
            )


def _batches(source: Source, request: Mapping[str, Any]) -> NDArray[Any]:
    """Calibration inputs (n, batch, *shape) as the model takes them."""
    import numpy as np

    if len(source.inputs) != 1:
        raise ConversionError(
            f"calibration feeds exactly one input, and this model has {len(source.inputs)}",
            hint="use a recipe without calibration: dynamic_int8, float16, weight_only_int8",
        )
    _, shape, dtype = source.inputs[0]
    samples = np.load(request["calibration"], allow_pickle=False)
    prepared = prepare(samples, request["preprocessing"], shape or (), "calibration", dtype)
    return in_batches(prepared, source.batch)


def in_batches(samples: NDArray[Any], batch: int) -> NDArray[Any]:
    """Samples (n, *shape) as (n // batch, batch, *shape); a rest is left out."""
    count = len(samples) // batch
    if not count:
        raise ConversionError(
            f"the model takes {batch} samples at once, and there are only {len(samples)}",
            hint="give it more samples, or a free batch",
        )
    return samples[: count * batch].reshape((count, batch, *samples.shape[1:]))


def prepare(
    samples: NDArray[Any],
    preprocessing: Mapping[str, Any],
    shape: tuple[int | None, ...],
    what: str,
    dtype: str = "float32",
) -> NDArray[Any]:
    """Stored samples as the model's input (n, *shape); raises ``ConversionError``.

    Inputs of integers, such as token ids, take them unchanged.
    """
    wanted = tuple(int(size or 0) for size in shape)
    if not fits(samples.shape[1:], wanted):
        raise ConversionError(
            f"{what} samples have the shape {list(samples.shape[1:])}, the model takes "
            f"{list(wanted)}",
            hint="its axes are in another order: transpose the samples"
            if sorted(samples.shape[1:]) == sorted(wanted)
            else "use samples of that shape (image_folder: set image_size)",
        )
    spec = TensorSpec("", (1, *wanted), dtype, 0.0, 0)
    return to_tensor(samples, Preprocessing.from_json(preprocessing), spec)


def _requantized(chosen: ChosenRecipe, request: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Through ai-edge-quantizer, from a float ``.tflite``."""
    from harness.recipes.making import requantize

    recipe = chosen.recipe
    # What travels with the file is written anew for each variant.
    content = metadata.original(Path(request["float_file"] or request["source"]).read_bytes())
    if recipe.quantize is None:
        return content, {}  # only ``finish`` has something to do
    quantizer = requantize.FloatFile(content)
    calibration = None
    if recipe.needs_calibration:
        import numpy as np

        samples = np.load(request["calibration"], allow_pickle=False)
        shape, dtype = quantizer.input()
        calibration = in_batches(
            prepare(samples, request["preprocessing"], shape[1:], "calibration", dtype), shape[0]
        )
    return quantizer.quantize(recipe.quantize, chosen.values, calibration), {}
