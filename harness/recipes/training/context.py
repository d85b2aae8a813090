"""What must be set before TensorFlow does anything: seeds, determinism, devices."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from harness.errors import ConversionError
from harness.recipes.training.data import Settings


def prepare(settings: Settings) -> None:
    """Seed TensorFlow, make it deterministic, and split the CPU where replicas are asked for.

    Once per process and before a model is loaded: devices cannot be changed afterwards.
    """
    import tensorflow as tf
    import tf_keras

    if settings.strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * settings.replicas
        try:
            tf.config.set_logical_device_configuration(cpu, logical)
        except RuntimeError:
            if len(tf.config.list_logical_devices("CPU")) < settings.replicas:
                raise ConversionError(
                    "the mirrored strategy's devices must be set up before the model is loaded"
                ) from None
    tf_keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()


def mirrored(settings: Settings) -> Any | None:
    """The ``MirroredStrategy`` over the logical devices, or ``None`` where none is asked for."""
    import tensorflow as tf

    if settings.strategy == "none":
        return None
    found = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(found) < settings.replicas:
        raise ConversionError(
            f"the mirrored strategy needs {settings.replicas} logical devices, there are "
            f"{len(found)}: they must be set up before the model is loaded"
        )
    return tf.distribute.MirroredStrategy(found[: settings.replicas])


def scope(strategy: Any | None) -> AbstractContextManager[Any]:
    """The strategy's scope, or none."""
    return nullcontext() if strategy is None else strategy.scope()
