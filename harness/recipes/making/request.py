"""What determines a variant, and the key under which it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.cache import json_sha256
from harness.domain import Preprocessing
from harness.errors import MissingExtraError
from harness.models import ResolvedModel
from harness.models.metadata import worth_writing
from harness.recipes import parse_recipe
from harness.recipes.edgetpu_compiler import TOOL, tool_version
from harness.recipes.recipe import ChosenRecipe, Recipe, written

#: Changes when a manifest holds other things than before, or all files are made another way.
MANIFEST_VERSION = 5


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """Stored samples of one split as a ``.npy``, by their hash; labels where they are known.

    ``findings`` is what the lint has to say of it.
    """

    samples: Path
    sha256: str
    count: int
    labels: Path | None = None
    labels_sha256: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One variant to make; ``tensorboard`` is a folder for logs, which change nothing in it."""

    model: ResolvedModel
    chosen: ChosenRecipe
    preprocessing: Preprocessing
    calibration: StoredSplit | None = None
    training: StoredSplit | None = None
    tensorboard: Path | None = None

    @property
    def recipe(self) -> str:
        """The recipe's shortest text, as tables show it."""
        return self.chosen.text

    @property
    def identity(self) -> str:
        """The recipe with every parameter; ``calibration`` is the number really taken."""
        values = dict(self.chosen.values)
        if self.calibration:
            values["calibration"] = self.calibration.count
        return written(self.chosen.recipe.name, values)

    @property
    def needs_float_file(self) -> bool:
        """Whether the model's ``float32`` variant has to be there first."""
        return self.chosen.recipe.from_float_file and self.model.convertible

    def float_request(self) -> BuildRequest:
        """The request for the ``float32`` variant of the same model."""
        return replace(self, chosen=parse_recipe("float32"), calibration=None, training=None)

    @property
    def says_something(self) -> bool:
        """Whether preprocessing or labels travel with the file; ready files keep their own."""
        labels = self.model.model.labels
        return not self.chosen.recipe.unchanged and worth_writing(self.preprocessing, labels)

    def key(self) -> str:
        """The hash of everything that determines the variant's bytes."""
        recipe = self.chosen.recipe
        value: dict[str, Any] = {
            "manifest": MANIFEST_VERSION,
            "model": self.model.sha256,
            "recipe": [self.identity, recipe.version],
        }
        if not recipe.unchanged:
            value["converter"] = converter_versions(self)
        if recipe.needs_calibration and self.calibration:
            value["calibration"] = self.calibration.sha256
        if recipe.needs_training and self.training:
            value["training"] = [self.training.sha256, self.training.labels_sha256]
        if self.says_something:
            value["metadata"] = [
                self.model.model.name,
                self.preprocessing.as_json(),
                self.model.model.labels,
            ]
        if recipe.needs_calibration or recipe.needs_training:
            value["preprocessing"] = self.preprocessing.as_json()
        return json_sha256(value)


def packages(recipe: Recipe, *, convertible: bool) -> Sequence[str]:
    """The packages that make the recipe's files, and whose versions may change them."""
    needed = []
    if convertible:
        needed += ["tensorflow", "tf-keras", "keras", "numpy"]
    if recipe.from_float_file or (recipe.quantize and not convertible):
        needed.append("ai-edge-quantizer")
    if recipe.needs_training:
        needed.append("tensorflow-model-optimization")
    return needed


def converter_versions(request: BuildRequest) -> dict[str, str]:
    """Versions of what converts, read without importing it.

    Raises ``MissingExtraError`` where a package is not installed.
    """
    found = installed(packages(request.chosen.recipe, convertible=request.model.convertible))
    if request.chosen.recipe.finish is not None:
        found[TOOL] = tool_version()
    return found


def installed(names: Sequence[str]) -> dict[str, str]:
    """Package -> version; raises ``MissingExtraError`` for one that is not installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise MissingExtraError(
                f"converting a model needs {name}, which is not installed",
                hint="pip install 'edge-harness[convert]'",
            ) from None
    return found
