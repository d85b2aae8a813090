"""The handwritten digits that scikit-learn ships: 1,797 images of 8 x 8, ten classes.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.datasets.loading import Split
from harness.domain import Dataset
from harness.errors import MissingExtraError

#: The first samples train and calibrate, the rest evaluate; the set's own order mixes writers.
TRAIN = 1100


def split(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 8, 8, 1), values 0..16, and labels (n,) of ``train`` or ``test``.

    A few images stand twice in the set; those of ``train`` are left out of ``test``.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError(
            "the digits dataset needs scikit-learn", hint="pip install 'edge-harness[demo]'"
        ) from None
    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    if name == "train":
        return images[:TRAIN], labels[:TRAIN]
    seen = {image.tobytes() for image in images[:TRAIN]}
    keep = [index for index in range(TRAIN, len(images)) if images[index].tobytes() not in seen]
    return images[keep], labels[keep]


def load(dataset: Dataset, split_name: str) -> Split:
    """The test split for evaluation, the training split for the rest."""
    del dataset
    images, labels = split("test" if split_name == "evaluation" else "train")
    return Split(images, labels, tuple(str(digit) for digit in range(10)))
