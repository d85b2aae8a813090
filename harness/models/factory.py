"""Python factories: ``package.module:function``, which returns a model or a concrete function."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.cache import file_sha256
from harness.domain import Model
from harness.errors import ModelError
from harness.models.keras_source import from_function, from_keras
from harness.models.reader import Reader, Source

#: ``package.module:function``; ``keras:NAME`` and paths look different.
PATTERN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")

#: Variables of concrete functions, for as long as the conversion process lives.
_KEPT: list[Any] = []


def is_factory(source: str) -> bool:
    """Whether a source names a Python function."""
    return bool(PATTERN.fullmatch(source)) and not source.startswith(("keras:", "builtin:"))


def _claims(source: str, path: Path) -> bool:
    return is_factory(source) and not os.path.exists(path)  # a long name is none of a file


def _module_file(module: str, base: Path) -> Path:
    """The module's file: below ``base``, else wherever Python finds it; nothing is run."""
    parts = Path(*module.split("."))
    for candidate in (base / parts.with_suffix(".py"), base / parts / "__init__.py"):
        if candidate.is_file():
            return candidate
    try:
        top = importlib.util.find_spec(module.split(".")[0])
    except (ImportError, ValueError):
        top = None
    for folder in (top.submodule_search_locations or ()) if top else ():
        rest = Path(folder, *module.split(".")[1:])
        for candidate in (rest.with_suffix(".py"), rest / "__init__.py"):
            if candidate.is_file() and ("." in module or candidate.name == "__init__.py"):
                return candidate
    if top and top.origin and "." not in module and Path(top.origin).is_file():
        return Path(top.origin)
    raise ModelError(
        f"there is no Python module {module}",
        hint=f"it is looked for in {base} and where Python finds its packages",
    )


def _check(model: Model, _path: Path) -> None:
    module, _, _ = model.source.partition(":")
    _module_file(module, Path(model.base))


def _identity(model: Model, _path: Path) -> str:
    """The hash of the function's name and of the Python files of its folder, or of its package.

    What the function loads besides, such as a file of weights, is not seen.
    """
    module, _, function = model.source.partition(":")
    file = _module_file(module, Path(model.base))
    folder = file.parent
    for _ in range(module.count(".") - (file.name == "__init__.py")):
        folder = folder.parent
    alone = "." not in module and file.name != "__init__.py"
    # What a module beside the file imports from its own folder counts as well.
    files = sorted(folder.glob("*.py") if alone else folder.rglob("*.py"))
    digest = hashlib.sha256(f"{module}:{function}\n".encode())
    for item in files:
        name = item.relative_to(folder).as_posix()
        digest.update(f"{name}\0{file_sha256(item)}\n".encode())
    return digest.hexdigest()


def _load(source: str, base: Path) -> Source:
    module, _, name = source.partition(":")
    sys.path.insert(0, str(base))
    try:
        function = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ModelError(f"the module {module} has no function {name}") from None
    except (Exception, SystemExit) as error:
        raise ModelError(f"importing {module} failed: {type(error).__name__}: {error}") from error
    kept: list[Any] = []
    _seed()
    try:
        with _keeping_variables(kept):
            made = function()
    except (Exception, SystemExit) as error:
        raise ModelError(f"{source}() failed: {type(error).__name__}: {error}") from error
    return _source(source, made, kept)


def _seed() -> None:
    """Each conversion calls the function anew: what it draws must be the same every time."""
    import keras
    import tf_keras

    for package in (keras, tf_keras):
        package.utils.set_random_seed(0)


@contextmanager
def _keeping_variables(kept: list[Any]) -> Iterator[None]:
    """Put every variable that is made into ``kept``: a concrete function does not hold its own.

    Without it a function whose model was a local name is left without weights.
    """
    import tensorflow as tf

    def keep(make: Any, **settings: Any) -> Any:
        variable = make(**settings)
        kept.append(variable)
        return variable

    with tf.variable_creator_scope(keep):
        yield


def _source(source: str, made: Any, kept: list[Any]) -> Source:
    if hasattr(made, "structured_input_signature"):
        found = from_function(made, no_layers="a concrete function has no graph of layers")
        _KEPT.extend(kept)
        return found
    if hasattr(made, "layers") and hasattr(made, "weights"):
        return from_keras(made)
    raise ModelError(
        f"{source}() returned {type(made).__name__}",
        hint="it must return a Keras model or a tf.function's concrete function",
    )


READER = Reader(
    "package.module:function", _claims, _check, _load, identity=_identity, is_file=False
)
