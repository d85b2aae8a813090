"""Published architectures: held to the publications, to real files, and to published names."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.simulation import architectures, map_operators, parameters, read_graph
from harness.simulation.architectures.builder import DTYPES
from harness.simulation.elements import Graph
from tests.conftest import ROOT

#: Published name -> the file in the shared folder, its dtype.
FILES = [
    ("mobilenet_v1_0.25_128_quant", "uint8"),
    ("mobilenet_v1_0.5_160_quant", "uint8"),
    ("mobilenet_v2_1.0_224_quant", "uint8"),
    ("deeplabv3_mnv2_dm05_pascal_quant", "uint8"),
    ("posenet_mobilenet_v1_075_353_481_16_quant_decoder", "int8"),
]


def built(name: str, dtype: str = "float32", shape: tuple[int, ...] | None = None) -> Graph:
    found = architectures.find(name)
    assert found is not None, name
    return found.graph(dtype, shape)


def published() -> list[list[str]]:
    page = (ROOT / "docs" / "architectures.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \|(.*)\|$", page, re.MULTILINE)
    assert len(rows) > 60
    return [[name, *(cell.strip() for cell in cells.split("|"))] for name, cells in rows]


def last_digit(text: str) -> float:
    """Half of what the last digit that is not zero stands for."""
    if "." in text:
        return 0.5 * 10 ** -len(text.partition(".")[2])
    return 0.5 * 10 ** (len(text) - len(text.rstrip("0")))


@pytest.mark.parametrize("row", published(), ids=lambda row: row[0])
def test_the_built_graph_has_what_was_published(row: list[str]) -> None:
    name, macs, macs_shown, learned, learned_shown, source = row
    found = architectures.find(name)
    assert found is not None and found.name == name and source
    graph = found.graph("float32")
    for text, shown, count in (
        (macs, macs_shown, graph.macs / 1e6),
        (learned, learned_shown, parameters(graph) / 1e6),
    ):
        assert float(shown) == pytest.approx(count, abs=last_digit(shown) * 1.001)
        if text and not text.endswith("*"):
            assert abs(count - float(text)) <= max(0.02 * float(text), last_digit(text))


def operators(graph: Graph) -> list[tuple[Any, ...]]:
    def tensors(indices: tuple[int, ...]) -> list[tuple[Any, ...]]:
        found = [graph.tensors[index] for index in indices]
        return [
            (t.shape, t.dtype, t.bytes, t.constant_bytes, t.quantization and t.quantization.axis,
             t.quantization and len(t.quantization.scales), t.dtype in ("int32", "int64") and
             t.quantization is None and t.values)
            for t in found
        ]  # fmt: skip

    return [
        (op.name, op.version, op.activation, op.weight, op.macs, op.weight_bytes,
         op.activation_bytes, dict(op.options), op.custom, tensors(op.inputs), tensors(op.outputs))
        for op in graph.operators
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), FILES)
def test_the_built_graph_is_that_of_the_real_file(shared: Path, name: str, dtype: str) -> None:
    real = read_graph(shared / "models" / "coral" / f"{name}.tflite")
    made = built(name, dtype)
    for number, (theirs, ours) in enumerate(zip(operators(real), operators(made), strict=True)):
        assert ours == theirs, number
    for what in ("weight_bytes", "peak_activation_bytes", "macs", "input_bytes", "output_bytes"):
        assert getattr(made, what) == getattr(real, what), what
    assert parameters(made) == parameters(real)
    # What depends on the graph alone is the same as well: where the compiler would stop.
    mapped, theirs = ([m.mapped for m in map_operators(graph)] for graph in (made, real))
    assert mapped == theirs


def test_histograms_and_constants_are_those_of_the_table(shared: Path) -> None:
    table = (shared / "truth" / "edgetpu_partition.csv").read_text().splitlines()
    rows = {Path(row["source"]).stem: row for row in csv.DictReader(table)}
    for name, dtype in FILES:
        if name in rows:
            made = built(name, dtype)
            # The table calls custom operators CUSTOM:NAME, and counts a constant without shape.
            hist = Counter(f"CUSTOM:{op.name}" if op.custom else op.name for op in made.operators)
            told = dict(part.rsplit(":", 1) for part in rows[name]["source_op_hist"].split())
            assert hist == {key: int(count) for key, count in told.items()}
            assert abs(made.weight_bytes - float(rows[name]["source_const_bytes"])) < 1000


def test_every_model_of_the_calibration_table_is_found(shared: Path) -> None:
    table = (shared / "truth" / "latency_calibration.csv").read_text().splitlines()
    rows = {
        (row["model"], row["input_shape"], row["dtype"].split("/")[0])
        for row in csv.DictReader(table)
    }
    assert len({model for model, _, _ in rows}) > 20
    for model, text, dtype in sorted(rows):
        shape = tuple(map(int, text.split("x")))
        graph = built(model, dtype, shape)
        assert graph.inputs[0].shape == shape and graph.macs > 1e6


def test_the_compiler_counted_as_many_operators(shared: Path) -> None:
    table = (shared / "truth" / "edgetpu_compiler_logs.csv").read_text().splitlines()
    told = next(row for row in csv.DictReader(table) if "EfficientDet-Lite0" in row["model"])
    graph = built("efficientdet_lite0", "int8")
    assert len(graph.operators) == int(told["count"])
    mapped = sum(item.mapped for item in map_operators(graph))
    assert told["status"] == f"{mapped} on Edge TPU, {len(graph.operators) - mapped} on CPU"


def test_all_canonical_names_are_found_as_themselves_and_build() -> None:
    names = architectures.names()
    assert len(names) > 100 and len(set(names)) == len(names)
    for name in names:
        found = architectures.find(name)
        assert found is not None and found.name == name
        graph = found.graph("float32")
        assert graph.inputs[0].shape == found.input_shape and graph.macs > 1e7


def test_families_build_in_every_type() -> None:
    chosen: dict[str, architectures.Architecture] = {}
    for name in architectures.names():
        if (found := architectures.find(name)) is not None:
            chosen.setdefault(found.family, found)
    assert len(chosen) > 25
    for found in chosen.values():
        graphs = {dtype: found.graph(dtype) for dtype in DTYPES}
        # One network was published in two forms (see docs/architectures.md).
        kinds = 2 if found.family == "ssd_mobilenet_v2" else 1
        assert len({graph.macs for graph in graphs.values()}) == kinds
        counts = {dtype: parameters(graph) for dtype, graph in graphs.items()}
        assert len(set(counts.values())) == kinds, (found.name, counts)
        plain = graphs["float32"].weight_bytes
        assert graphs["float16"].weight_bytes == pytest.approx(plain / 2, rel=0.1)
        for dtype in ("int8", "uint8", "dynamic_int8"):
            assert graphs[dtype].weight_bytes < 0.45 * plain


ALIASES = {
    # TensorFlow's hosted models and benchmarks pages
    "Mobilenet_V1_0.50_192_quant": "mobilenet_v1_0.5_192",
    "Mobilenet_V2_1.0_224": "mobilenet_v2_1.0_224",
    "MnasNet_0.50_224": "mnasnet_0.5_224",
    "NASNet mobile": "nasnet_mobile",
    "nasnet_large_2018_04_27": "nasnet_large",
    "Inception_V1_quant": "inception_v1",
    "inception_v3_299_quant": "inception_v3",
    "Inception_ResNet_V2": "inception_resnet_v2",
    "ResNet_V2_101": "resnet_v2_101",
    "resnet_v2_101_299": "resnet_v2_101",
    "DenseNet": "densenet_121",
    "squeezenet_2018_04_27.tgz": "squeezenet_1.0",
    "squeezenet1_1": "squeezenet_1.1",
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29": "ssd_mobilenet_v1_300",
    "deeplabv3_257_mv_gpu.tflite": "deeplab_v3_mobilenet_v2_0.5_257",
    "posenet_mobilenet_v1_100_257x257_multi_kpt_stripped": "posenet_mobilenet_v1_1.0_257_257_16",
    "lite-model_efficientdet_lite0_detection_metadata_1": "efficientdet_lite0",
    "efficientnet_lite0_fp32_2": "efficientnet_lite0",
    "mobilenet_v1_1.0_224_1_default_1": "mobilenet_v1_1.0_224",
    # Coral
    "MobileNet v1 SSD (224x224)": "ssd_mobilenet_v1_224",
    "SSD/FPN MobileNet V1": "ssd_mobilenet_v1_fpn_640",
    "SSD/MobileNet V2": "ssd_mobilenet_v2_300",
    "SSD MobileNet V2 (Faces)": "ssd_mobilenet_v2_face_320",
    "MobileNet V2 (iNat birds)": "mobilenet_v2_1.0_224_inat_bird",
    "MobileNet SSD v2 (COCO)": "ssd_mobilenet_v2_300",
    "ResNet-152 V2 (299x299)": "resnet152v2_299",
    "DeepLab V3 (513x513)": "deeplab_v3_mobilenet_v2_1.0_513",
    "Unet Mv2 (128x128)": "unet_mv2_128",
    "EfficientNet-EdgeTpu-S*": "efficientnet_edgetpu_s",
    "efficientnet-edgetpu-L_quant_edgetpu.tflite": "efficientnet_edgetpu_l",
    "mobilenet_v1_0.25_128_quant_edgetpu.tflite": "mobilenet_v1_0.25_128",
    "tf2_mobilenet_v3_edgetpu_1.0_224_ptq": "mobilenet_edgetpu_1.0_224",
    "tfhub_tf2_resnet_50_imagenet_ptq": "resnet50",
    "keras_post_training_unet_mv2_128_quant": "unet_mv2_128",
    "ssd_mobilenet_v2_coco_quant_postprocess": "ssd_mobilenet_v2_300",
    "tf2_ssd_mobilenet_v2_coco17_ptq": "ssd_mobilenet_v2_300",
    "ssdlite_mobiledet_coco_qat_postprocess": "ssdlite_mobiledet_edgetpu_320",
    "tf2_ssd_mobilenet_v1_fpn_640x640_coco17_ptq": "ssd_mobilenet_v1_fpn_640",
    "efficientdet_lite3x_640_ptq": "efficientdet_lite3x",
    "bodypix_mobilenet_v1_075_512_512_16_quant_decoder":
        "bodypix_mobilenet_v1_0.75_512_512_16_decoder",
    # Detection zoos
    "ssd_mobilenet_v1_0.75_depth_300x300_coco14_sync_2018_07_03": "ssd_mobilenet_v1_0.75_300",
    "ssd_mobilenet_v2_320x320_coco17_tpu-8": "ssd_mobilenet_v2_300",
    "ssd_mobilenet_v2_fpnlite_640x640_coco17_tpu-8": "ssd_mobilenet_v2_fpnlite_640",
    "ssd_resnet50_v1_fpn_1024x1024_coco17_tpu-8": "ssd_resnet50_fpn_1024",
    "ssd_mobilenet_v3_large_coco_2020_01_14": "ssdlite_mobilenet_v3_large_320",
    "ssdlite_mobiledet_cpu_320x320_coco_2020_05_19": "ssdlite_mobiledet_cpu_320",
    "facessd_mobilenet_v2_quantized_320x320_open_image_v4": "ssd_mobilenet_v2_face_320",
    # Keras, checkpoints, papers
    "MobileNet": "mobilenet_v1_1.0_224",
    "MobileNetV3Small": "mobilenet_v3_small_1.0_224",
    "v3-large-minimalistic_224_1.0_uint8.tgz": "mobilenet_v3_large_minimalistic_1.0_224",
    "mobilenet_v3_large_100_224": "mobilenet_v3_large_1.0_224",
    "mobilenet_edgetpu_dm1p75": "mobilenet_edgetpu_1.75_224",
    "MobileNetEdgeTPUv2-Tiny": "mobilenet_edgetpu_v2_tiny",
    "mobilenetv2_140_224": "mobilenet_v2_1.4_224",
    "ResNet50V2": "resnet50v2",
    "resnet_50_v1": "resnet_v1_50",
    "resnet50_v1.5": "resnet_v1.5_50",
    "InceptionV3": "inception_v3",
    "EfficientNetB3": "efficientnet_b3",
    "/models/vgg-19_int8.tflite": "vgg19",
}  # fmt: skip


@pytest.mark.parametrize(("name", "canonical"), ALIASES.items())
def test_names_as_tables_have_them(name: str, canonical: str) -> None:
    found = architectures.find(name)
    assert found is not None and found.name == canonical


@pytest.mark.parametrize(
    "name",
    ["", "foo", "yolov5s", "mobilenet_v9", "resnet", "resnet_v1_51", "efficientnet_lite7",
     "efficientdet_lite5", "mobilenet_v1_0.5_160_7777", "mobilenet_v1_1.0_0", "x" * 5000],
)  # fmt: skip
def test_what_is_not_known_is_none(name: str) -> None:
    assert architectures.find(name) is None


WORDS = st.sampled_from(
    ["mobilenet", "v1", "V3", "ssd", "lite", "resnet", "deeplab", "posenet", "edgetpu", "fpn", "_",
     "-", ".", "0.5", "050", "224", "300x300", "1x224x224x3", "50", "/", "quant", "large", "0", "9"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.lists(WORDS, max_size=8).map("".join))
def test_no_name_raises(name: str) -> None:
    found = architectures.find(name)
    assert found is None or min(found.input_shape) >= 1


def test_types_of_weights_and_activations() -> None:
    half = built("mobilenet_v2", "float16")
    unpacked = [op for op in half.operators if op.name == "DEQUANTIZE"]
    assert len(unpacked) == 2 * sum(op.name.endswith("CONV_2D") for op in half.operators)
    assert half.full_integer is False and half.float_types == ("float16", "float32")
    dynamic = built("mobilenet_v2", "dynamic_int8")
    assert {op.weight for op in dynamic.operators if op.macs} == {"int8", "float32"}
    assert {op.activation for op in dynamic.operators} == {"float32"}
    integers = built("mobilenet_v2", "int8")
    assert integers.full_integer and integers.operators[0].version == 3
    weights = integers.tensors[integers.operators[0].inputs[1]]
    assert weights.quantization is not None and len(weights.quantization.scales) == 32
    assert built("mobilenet_v3_small").operators[1].name == "HARD_SWISH"


def test_what_cannot_be_built_is_said() -> None:
    found = architectures.find("inception_v3")
    assert found is not None
    with pytest.raises(ValueError, match="no graphs of dtype 'int4': one of float32"):
        found.graph("int4")
    with pytest.raises(ValueError, match=r"inception_v3 does not take \(1, 32, 32, 3\)"):
        found.graph("int8", (1, 32, 32, 3))
    with pytest.raises(ValueError, match="no \\(n, rows, columns, channels\\)"):
        found.graph("int8", (299, 299))
    batch = found.graph("float32", (4, 299, 299, 3))
    assert batch.macs == 4 * found.graph("float32").macs and batch.outputs[0].shape == (4, 1001)


def test_no_converter_and_no_runtime_is_loaded() -> None:
    code = (
        "import sys; from harness.simulation import architectures as a;"
        "a.find('mobilenet_v2').graph('int8');"
        "print([m for m in ('tensorflow', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
