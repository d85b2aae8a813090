"""Models that the harness makes itself, for demonstrations and tests.

``digits_cnn`` is a small convolutional network trained on the handwritten digits that
scikit-learn ships; seeded, about ten seconds on two cores. ``fashion_cnn`` is larger and needs
Fashion-MNIST, which is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.cache import cache_dir
from harness.domain import Dataset
from harness.errors import ModelError, suggest

PREFIX = "builtin:"


def make_digits_cnn(target: Path) -> None:
    """Train the digits network and save it; imports TensorFlow and scikit-learn."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    from harness.datasets import digits

    tf_keras.utils.set_random_seed(7)
    tf.config.experimental.enable_op_determinism()
    images, labels = digits.split("train")
    network = tf_keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(24, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(48, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(96, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits_cnn",
    )
    network.compile(
        optimizer=tf_keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    network.fit(images / 16.0, labels, epochs=15, batch_size=64, verbose=0)
    network.save(str(target), save_format="h5", include_optimizer=False)


def make_fashion_cnn(target: Path) -> None:
    """Train the network of a well-known tutorial on Fashion-MNIST; two minutes on two cores.

    Conv 64 2x2, pool, Conv 128 2x2, pool, Dense 256, Dense 10 over 28 x 28 x 1.
    """
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    from harness.datasets import fashion_mnist

    train = fashion_mnist.load(Dataset("fashion_mnist", "fashion_mnist"), "training")
    tf_keras.utils.set_random_seed(7)
    tf.config.experimental.enable_op_determinism()
    network = tf_keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(64, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Conv2D(128, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="fashion_cnn",
    )
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    network.fit(train.samples / 255.0, train.labels, epochs=2, batch_size=64, verbose=0)
    network.save(str(target), save_format="h5", include_optimizer=False)


#: Name -> what makes the file. The number changes when the recipe of a model changes.
BUILTINS: dict[str, tuple[int, Callable[[Path], None]]] = {
    "digits_cnn": (1, make_digits_cnn),
    "fashion_cnn": (1, make_fashion_cnn),
}


def builtin_path(name: str) -> Path:
    """Where a built-in model is kept once it was made; raises ``ModelError`` for no such one."""
    if name not in BUILTINS:
        raise ModelError(f"unknown built-in model {name!r}", hint=suggest(name, BUILTINS))
    version, _ = BUILTINS[name]
    return cache_dir("host", "models") / f"{name}-{version}.h5"
