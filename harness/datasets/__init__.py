"""Labelled samples. A new source is one file with a ``load`` and one line in ``SOURCES``."""

from harness.datasets import coco, digits, fashion_mnist, image_folder, npz
from harness.datasets.lint import lint
from harness.datasets.loading import (
    Loader,
    Samples,
    Split,
    load_dataset,
    load_split,
    refuse_shared,
    spread,
)

SOURCES: dict[str, Loader] = {
    "npz": npz.load,
    "image_folder": image_folder.load,
    "coco": coco.load,
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
}

__all__ = [
    "SOURCES",
    "Loader",
    "Samples",
    "Split",
    "lint",
    "load_dataset",
    "load_split",
    "refuse_shared",
    "spread",
]
