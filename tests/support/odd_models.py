"""Models that are damaged, incomplete or unusual, as files.

python -m tests.support.odd_models FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def _network(keras: Any, *layers: Any) -> Any:
    return keras.Sequential(
        [keras.Input((8, 8, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(10)]
    )


def make(folder: Path) -> None:
    """Write them all; imports TensorFlow."""
    import numpy as np
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    for keras, name in ((tf_keras, "custom.h5"), (tf.keras, "custom.keras")):

        class Doubling(keras.layers.Layer):  # type: ignore[misc, name-defined]
            def call(self, inputs: Any) -> Any:
                return inputs * 2.0

        _network(keras, Doubling()).save(str(folder / name))
    ready = _network(tf.keras, tf.keras.layers.Conv2D(4, 3))
    ready.save(str(folder / "ready.keras"))
    ready.save(str(folder / "keras3.h5"))
    ill = _network(tf_keras, tf_keras.layers.Conv2D(4, 3, name="first"))
    kernel, bias = ill.layers[0].get_weights()
    kernel[0, 0, 0, 1] = np.nan
    ill.layers[0].set_weights([kernel, bias])
    ill.save(str(folder / "nan.h5"))
    tf.saved_model.save(ill, str(folder / "nan_saved_model"))
    (folder / "nan.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(ill).convert())

    module = tf.Module()
    module.weights = tf.Variable([1.0])
    tf.saved_model.save(module, str(folder / "unsigned"))
    fixed = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 1), batch_size=4),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(10),
        ]
    )
    fixed.save(str(folder / "batch4.h5"))
    _network(tf_keras).save(str(folder / "keras2.keras"))

    spec = tf.TensorSpec((None, 2), tf.float32, name="value")

    @tf.function(input_signature=[spec])
    def ends(value: Any) -> Any:
        return {f"output_{size - 1}": tf.tile(value[:, :1], (1, size)) for size in range(1, 13)}

    tf.saved_model.save(tf.Module(), str(folder / "many_ends"), signatures=ends)
    pair = {"one": ends, "two": ends}
    tf.saved_model.save(tf.Module(), str(folder / "two_signatures"), signatures=pair)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
