"""Training inside a conversion: a loaded Keras model and samples become a trained model.

Everything here runs in a conversion process and imports TensorFlow lazily. The order is
always the same: ``prepare`` before the model is loaded, then ``quantize_aware``, ``prune``
or ``cluster``, then a ``TFLiteConverter`` over ``Trained.model``.

``preflight`` says of every layer what quantization-aware training will do with it;
``scheme`` is how layers are emulated; ``fit`` is the one training loop; ``checkpoint`` lets
a killed training go on; ``keras2`` rebuilds Keras 3 models, since
tensorflow-model-optimization knows Keras 2 only.
"""

from harness.recipes.training.clustering import cluster
from harness.recipes.training.context import prepare
from harness.recipes.training.data import LayerReport, Settings, Tell, Trained, TrainingData
from harness.recipes.training.keras2 import to_keras2
from harness.recipes.training.objective import harm
from harness.recipes.training.preflight import preflight
from harness.recipes.training.pruning import prune
from harness.recipes.training.quantization import quantize_aware

__all__ = [
    "LayerReport",
    "Settings",
    "Tell",
    "Trained",
    "TrainingData",
    "cluster",
    "harm",
    "preflight",
    "prepare",
    "prune",
    "quantize_aware",
    "to_keras2",
]
