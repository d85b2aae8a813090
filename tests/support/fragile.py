"""A network that one weight scale per tensor ruins: depthwise layers with unequal channels.

    python -m tests.support.fragile FILE.h5

Trained on the digits, then rescaled: what a layer makes is multiplied by a factor per channel,
which the next layer's weights take back. ReLU lets positive factors through, so the float
network computes the same; but its depthwise weights now span some orders of magnitude.
(The inverse of M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, section 4.1.)
"""

from __future__ import annotations

import sys


def make(path: str) -> None:
    """Train, rescale, save as Keras 2 HDF5."""
    import numpy as np
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    from harness.datasets import digits

    tf_keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    images, labels = digits.split("train")
    network = tf_keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(24, 3, padding="same", activation="relu", name="first"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise_a"),
            layers.Conv2D(32, 1, activation="relu", name="pointwise_a"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise_b"),
            layers.Conv2D(32, 1, activation="relu", name="pointwise_b"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(10, activation="softmax", name="classes"),
        ],
        name="fragile",
    )
    network.compile(
        optimizer=tf_keras.optimizers.Adam(2e-3),
        loss="sparse_categorical_crossentropy",
    )
    network.fit(images / 16.0, labels, epochs=12, batch_size=64, verbose=0)
    rng = np.random.default_rng(5)
    for before, depthwise in (("first", "depthwise_a"), ("pointwise_a", "depthwise_b")):
        kernel, bias = network.get_layer(before).get_weights()
        factor = 2.0 ** rng.uniform(-4.5, 4.5, kernel.shape[-1]).astype(np.float32)
        network.get_layer(before).set_weights([kernel * factor, bias * factor])
        kernel, bias = network.get_layer(depthwise).get_weights()
        network.get_layer(depthwise).set_weights([kernel / factor[None, None, :, None], bias])
    network.save(path, save_format="h5", include_optimizer=False)


if __name__ == "__main__":
    make(sys.argv[1])
