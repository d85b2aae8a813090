"""A tiny detector as a file: what it finds is painted into its input.

    python -m tests.support.detector OUT.tflite

The input (1, 8, 4, 3) holds one box per row of pixels: ``ymin, xmin, ymax, xmax`` and the
scores of two classes, each in 0..1; a TFLite_Detection_PostProcess gives them back.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

#: Rows of pixels, and so boxes, of an input.
BOXES = 8


def main() -> None:
    """Write the model."""
    import tensorflow as tf

    signature = " ".join(
        [
            'name: "TFLite_Detection_PostProcess"',
            f'attr {{ key: "max_detections" value {{ i: {BOXES} }} }}',
            'attr { key: "max_classes_per_detection" value { i: 1 } }',
            'attr { key: "use_regular_nms" value { b: false } }',
            'attr { key: "nms_score_threshold" value { f: 0.1 } }',
            'attr { key: "nms_iou_threshold" value { f: 0.9 } }',
            'attr { key: "y_scale" value { f: 1.0 } }',
            'attr { key: "x_scale" value { f: 1.0 } }',
            'attr { key: "h_scale" value { f: 1.0 } }',
            'attr { key: "w_scale" value { f: 1.0 } }',
            'attr { key: "num_classes" value { i: 2 } }',
        ]
    )

    @tf.function(experimental_implements=signature)
    def postprocess(boxes: tf.Tensor, scores: tf.Tensor, anchors: tf.Tensor) -> object:
        del boxes, scores, anchors  # the converter puts the operator here
        names = ("boxes", "classes", "scores", "number")
        return tuple(tf.constant(0.0, name=name) for name in names)

    @tf.function(input_signature=[tf.TensorSpec([1, BOXES, 4, 3], tf.float32)])
    def detect(image: tf.Tensor) -> object:
        rows = tf.reshape(image, [1, BOXES, 12])
        low, high = rows[:, :, 0:2], rows[:, :, 2:4]
        centre, size = (low + high) / 2 - 0.5, tf.math.log(tf.maximum(high - low, 1e-3))
        scores = tf.concat([tf.zeros([1, BOXES, 1]), rows[:, :, 4:6]], axis=2)
        anchors = tf.constant([[0.5, 0.5, 1.0, 1.0]] * BOXES)
        found = postprocess(tf.concat([centre, size], axis=2), scores, anchors)
        return dict(zip(("boxes", "classes", "scores", "number"), found, strict=True))

    module = tf.Module()
    module.detect = detect
    with tempfile.TemporaryDirectory() as folder:  # only from a SavedModel is it taken as one
        tf.saved_model.save(module, folder, signatures=detect.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.allow_custom_ops = True
        Path(sys.argv[1]).write_bytes(converter.convert())


if __name__ == "__main__":
    main()
