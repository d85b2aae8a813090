"""Networks as users bring them by ``module:function``: good ones, and some that cannot be made."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def _seeded() -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(11)
    return tf_keras


def functional() -> Any:
    """Of layers, and so ready for everything."""
    keras = _seeded()
    inside = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(inside))
    return keras.Model(inside, keras.layers.Dense(10, activation="softmax")(flat))


def concrete() -> Any:
    """A ``tf.function`` traced for one input."""
    import tensorflow as tf

    weights = tf.Variable(tf.random.stateless_normal((64, 10), (1, 2)), name="weights")

    @tf.function
    def call(image: Any) -> Any:
        return tf.nn.softmax(tf.reshape(image, (-1, 64)) @ weights)

    return call.get_concrete_function(tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image"))


def _subclassed() -> Any:
    keras = _seeded()

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(10)

        def call(self, inputs: Any) -> Any:
            return self.dense(self.flat(inputs))

    return Own()


def subclassed() -> Any:
    """Code instead of layers; called once, so that its input is known."""
    import numpy as np

    model = _subclassed()
    model(np.zeros((1, 8, 8, 1), np.float32))
    return model


def uncalled() -> Any:
    """The same, never called."""
    return _subclassed()


def lstm() -> Any:
    """A classifier of sequences: the rows of the digits."""
    keras = _seeded()
    inside = keras.Input((8, 8))
    return keras.Model(
        inside, keras.layers.Dense(10, activation="softmax")(keras.layers.LSTM(6)(inside))
    )


def two_ends() -> Any:
    """Two inputs, two outputs."""
    keras = _seeded()
    one, two = keras.Input((8, 8, 1), name="one"), keras.Input((8, 8, 1), name="two")
    both = keras.layers.Flatten()(keras.layers.Add()([one, two]))
    return keras.Model([one, two], [keras.layers.Dense(3)(both), keras.layers.Dense(2)(both)])


def heads() -> Any:
    """Inputs and outputs whose names sort otherwise, and hold what names may not."""
    keras = _seeded()
    image, few = keras.Input((8, 8, 1), name="the image/0:x"), keras.Input((4,), name="a few")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), few])
    outputs = [keras.layers.Dense(size, name=f"head{size}")(both) for size in range(1, 13)]
    return keras.Model([image, few], outputs)


def named_ends() -> Any:
    """Keras 3 with dictionaries for lists: they are sorted by key."""
    import keras

    image, few = keras.Input((8, 8, 1), name="image"), keras.Input((4,), name="few")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), few])
    outputs = {"z": keras.layers.Dense(3)(both), "b": keras.layers.Dense(2)(both)}
    return keras.Model({"image": image, "few": few}, outputs)


def twice() -> Any:
    """One layer, and so one name, for two outputs."""
    import keras

    inside = keras.Input((3,))
    layer = keras.layers.Dense(2, use_bias=False, kernel_initializer="ones")
    return keras.Model(inside, [layer(inside), layer(inside + inside)])


def several() -> Any:
    """A ``tf.function`` that returns a tuple."""
    import tensorflow as tf

    @tf.function
    def call(value: Any) -> Any:
        return value * 1.0, value * 2.0, value * 3.0

    return call.get_concrete_function(tf.TensorSpec((None, 3), tf.float32, name="value"))


def cased() -> Any:
    """Inputs whose names differ in their case only, and one that Python knows."""
    keras = _seeded()
    ends = [keras.Input((2,), name=name) for name in ("x", "X", "self")]
    return keras.Model(ends, keras.layers.Dense(2)(keras.layers.Concatenate()(ends)))


def nested() -> Any:
    """A ``tf.function`` with a constant, and outputs inside of outputs."""
    import tensorflow as tf

    @tf.function
    def call(value: Any, factor: float = 3.0) -> Any:
        return {"one": value, "more": [value * 2.0, (value * factor,)]}

    return call.get_concrete_function(tf.TensorSpec((None, 3), tf.float32, name="value"), 3.0)


def listed() -> Any:
    """A subclassed model that takes a list."""
    import numpy as np

    keras = _seeded()

    class Sum(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs[0] + 10.0 * inputs[1]

    model = Sum()
    model([np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32)])
    return model


def tokens() -> Any:
    """Takes numbers of words."""
    keras = _seeded()
    inside = keras.Input((8, 8), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Embedding(17, 8)(inside))
    return keras.Model(inside, keras.layers.Dense(10, activation="softmax")(pooled))


def mixed_precision() -> Any:
    """Computes in 16 bits."""
    keras = _seeded()
    inside = keras.Input((8,))
    return keras.Model(inside, keras.layers.Dense(3, dtype="mixed_float16")(inside))


def stops() -> Any:
    """As a script does at its end."""
    raise SystemExit(3)


def looked_up() -> Any:
    """Needs a table."""
    keras = _seeded()
    inside = keras.Input((1,), dtype="int64")
    found = keras.layers.IntegerLookup(vocabulary=[1, 5, 7])(inside)
    return keras.Model(inside, keras.layers.Embedding(4, 2)(found))


def sine() -> Any:
    """An operator that knows no integers."""
    import tensorflow as tf

    keras = _seeded()
    inside = keras.Input((8, 8, 1))
    made = tf.sin(keras.layers.Conv2D(4, 3)(inside))
    return keras.Model(inside, keras.layers.Dense(10)(keras.layers.Flatten()(made)))


def strings() -> Any:
    """Takes text."""
    import tensorflow as tf

    @tf.function
    def call(text: Any) -> Any:
        return tf.strings.length(text)

    return call.get_concrete_function(tf.TensorSpec((None,), tf.string, name="text"))


def free_shape() -> Any:
    """Images of any size."""
    keras = _seeded()
    inside = keras.Input((None, None, 1), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inside))
    return keras.Model(inside, keras.layers.Dense(10)(pooled))


def free_rank() -> Any:
    """Anything at all."""
    import tensorflow as tf

    @tf.function
    def call(value: Any) -> Any:
        return value * 2.0

    return call.get_concrete_function(tf.TensorSpec(None, tf.float32, name="value"))


def nothing() -> Any:
    """No model."""
    return {"weights": [1, 2, 3]}


def fails() -> Any:
    """An error of the user's own."""
    raise RuntimeError("the weights are on the other machine")


def sleeps() -> Any:
    """Never done; leaves a word that it has begun in ``FACTORY_BEGUN``."""
    Path(os.environ["FACTORY_BEGUN"]).write_text(str(os.getpid()))
    time.sleep(120)


def hungry() -> Any:
    """Takes a gigabyte and keeps it."""
    import numpy as np

    kept = [np.ones(25_000_000, np.float64) for _ in range(5)]
    time.sleep(60)
    return kept


def killed() -> Any:
    """What the kernel does to a process that takes too much, to its own."""
    os.kill(os.getpid(), 9)


def kills_worker() -> Any:
    """The same to the whole conversion process."""
    os.kill(os.getppid(), 9)
    time.sleep(120)
