"""Metadata that travels with a file, held against other readers of the same formats."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from hypothesis import given
from hypothesis import strategies as st

from harness.domain import Preprocessing
from harness.errors import ModelError
from harness.models import metadata
from harness.models.metadata import (
    OURS,
    STANDARD,
    Description,
    TensorMetadata,
    schema,
)
from harness.models.preprocess import to_real
from tests.support.metadata import IMAGENET, MODEL, entries, said, same, write
from tests.support.models import adding_model, pack, unpack

finite = st.floats(-1e6, 1e6, allow_nan=False)
nonzero = st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6)
preprocessings = st.builds(
    Preprocessing,
    scale=finite,
    mean=st.lists(finite, min_size=1, max_size=1).map(tuple)
    | st.lists(finite, min_size=3, max_size=3).map(tuple),
    std=st.lists(nonzero, min_size=1, max_size=1).map(tuple)
    | st.lists(nonzero, min_size=3, max_size=3).map(tuple),
    colour=st.sampled_from(["", "rgb", "bgr", "gray"]),
    layout=st.sampled_from(["", "nhwc", "nchw"]),
    resize=st.sampled_from(["", "bilinear", "letterbox"]),
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)


@given(preprocessings, st.lists(lines, max_size=12), text, text)
def test_what_is_written_is_read(
    preprocessing: Preprocessing, labels: list[str], name: str, description: str
) -> None:
    wanted = {"name": name, "description": description, "labels": labels}
    written = write(preprocessing=preprocessing, **wanted)
    found = said(written)
    assert found.problems == ()
    assert found.preprocessing == preprocessing
    assert found.labels == tuple(labels)
    assert (found.description.name, found.description.description) == (name, description)
    # Replaced, not added to, whatever was there; and nothing of the model is lost.
    assert write(write(labels=["x"] * 9), preprocessing=preprocessing, **wanted) == written
    assert metadata.original(written) == MODEL


@given(preprocessings.filter(lambda made: made.layout != "nchw"), st.integers(0, 255))
def test_an_app_computes_what_the_harness_computes(preprocessing: Preprocessing, raw: int) -> None:
    tensor = said(write(preprocessing=preprocessing)).description.inputs[0]
    sample = np.full((1, 2, 2, 3), raw, np.uint8)
    if not tensor.mean:
        # Only what float32 cannot hold as (sample - mean) / std is left out.
        assert (
            preprocessing.scale == 0
            or min(map(abs, preprocessing.std)) / abs(preprocessing.scale) > 1e38
            or max(map(abs, preprocessing.mean)) / abs(preprocessing.scale) > 1e38
        )
        return
    app = (np.float64(raw) - np.array(tensor.mean)) / np.array(tensor.std)
    ours = to_real(sample, preprocessing)[0, 0, 0]
    size = (raw + np.abs(tensor.mean)) / np.abs(tensor.std)
    assert np.all(np.abs(app - ours) <= 4e-7 * size + 1e-30)


@pytest.mark.parametrize(
    ("preprocessing", "mean", "std"),
    [
        (Preprocessing(), (0.0,), (1.0,)),
        (Preprocessing(1 / 255), (0.0,), (255.0,)),
        (Preprocessing(1 / 127.5, (1.0,)), (127.5,), (127.5,)),
        (Preprocessing(1.0, (127.5, 127.5, 127.5), (127.5,)), (127.5,), (127.5,)),
        (Preprocessing(0.5, (1.0, 2.0, 3.0), (2.0,)), (2.0, 4.0, 6.0), (4.0, 4.0, 4.0)),
        (Preprocessing(1.0, (1.0, 2.0)), (), ()),
    ],
)
def test_normalization_is_of_raw_samples(
    preprocessing: Preprocessing, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    found = said(write(preprocessing=preprocessing))
    assert found.description.inputs[0].mean == pytest.approx(mean)
    assert found.description.inputs[0].std == pytest.approx(std)
    assert found.preprocessing == preprocessing and found.problems == ()


@pytest.mark.parametrize(
    ("shape", "preprocessing", "content", "colour"),
    [
        ((1, 8, 8, 3), Preprocessing(), "image", "rgb"),
        ((1, 8, 8, 1), Preprocessing(colour="gray"), "image", "gray"),
        ((1, 8, 8, 3), Preprocessing(colour="rgb"), "image", "rgb"),
        ((1, 8, 8, 3), Preprocessing(colour="bgr"), "image", ""),
        ((1, 8, 8, 3), Preprocessing(colour="gray"), "image", ""),
        ((1, 49, 10, 1), Preprocessing(), "feature", ""),
        ((1, 3, 8, 8), Preprocessing(layout="nchw", colour="rgb"), "feature", ""),
        ((1, 3, 8, 3), Preprocessing(layout="nchw"), "feature", ""),
        ((1, 8, 8, 4), Preprocessing(), "feature", ""),
        ((1, 640), Preprocessing(), "feature", ""),
    ],
)
def test_what_is_an_image(
    shape: tuple[int, ...], preprocessing: Preprocessing, content: str, colour: str
) -> None:
    made = write(adding_model(shape), preprocessing=preprocessing)
    tensor = said(made).description.inputs[0]
    assert (tensor.content, tensor.colour) == (content, colour)


def test_the_layout_is_the_documented_one() -> None:
    labels = ["cat", "dög", "猫"]
    written = write(labels=labels)
    inside = written.index(MODEL)
    # The model's own bytes, whole, and as well aligned as they were.
    assert inside % 64 == 0 and written[4:8] == b"TFL3"
    packed = inside + len(MODEL)
    assert written[packed : packed + 4] == b"PK\x03\x04"
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert entry.header_offset == packed and entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.read(entry) == "cat\ndög\n猫\n".encode()
        assert archive.testzip() is None
    found = entries(written)
    assert list(found) == [STANDARD, OURS]
    assert found[STANDARD][4:8] == b"M001"
    assert written.index(found[STANDARD]) % 16 == 0
    own = json.loads(found[OURS])
    assert own["inputs"] == [IMAGENET.as_json()]
    assert own["model"] == {
        "bytes": len(MODEL),
        "sha256": hashlib.sha256(MODEL).hexdigest()[:16],
    }


#: Decoded by the displayer of TensorFlow Lite Support 0.4.4 as what the test below says.
GOLDEN = """
1c0000004d303031140010000800000000000c000000000000000400140000000c000000140000001800000005000000
312e302e30000000010000006100000001000000100000000c000c0000000000080004000c000000080000009c000000
01000000180000000000120014001000000000000c000000080004001200000018000000440000005c00000004000000
010000006f000000010000001000000000000a000c000800000007000a00000000000002040000000a0000006c616265
6c732e747874000084ffffff080000000c00000001000000000000c3010000000000fe42b4ffffff0000000108000000
0400040004000000010000001400000000000e0010000c0000000000080004000e000000140000005800000004000000
0100000069000000010000000c00000008000c000700080008000000000000010c00000008000c000800040008000000
080000000c0000000100000000007f42010000000000ff4208000e000700080008000000000000020c00000000000600
080007000600000000000001
"""


def test_a_description_has_these_bytes() -> None:
    image = TensorMetadata(name="i", content="image", colour="rgb", mean=(127.5,), std=(63.75,))
    scores = TensorMetadata(
        name="o",
        content="feature",
        minimum=(-128.0,),
        maximum=(127.0,),
        labels_file="labels.txt",
        labels_kind="axis",
    )
    described = Description(name="a", inputs=(image,), outputs=(scores,))
    content = schema.encode(described)
    assert content.hex() == "".join(GOLDEN.split())
    assert schema.decode(content) == replace(described, parser="1.0.0")


def test_everything_else_of_the_model_stays() -> None:
    model = unpack(adding_model(signature=True))
    kept = tfl.MetadataT()
    kept.name, kept.buffer = "min_runtime_version", len(model.buffers)
    value = tfl.BufferT()
    value.data = np.frombuffer(b"1.5.0".ljust(16, b"\0"), np.uint8)
    model.buffers.append(value)
    model.metadata = [kept]
    content = pack(model)
    written = write(content, labels=["a"])
    assert list(entries(written)) == ["min_runtime_version", STANDARD, OURS]
    before, after = unpack(content), unpack(written)
    assert before.description == after.description == b"adds"
    for left, right in zip(before.buffers, after.buffers, strict=False):
        assert np.array_equal(left.data, right.data)
    assert len(after.buffers) == len(before.buffers) + 2
    assert same(content, written)
    assert said(written).description.inputs[0].name == "image_0"
    assert said(written).description.outputs[0].name == "sum_0"


def test_the_same_bytes_in_every_process() -> None:
    code = (
        "import hashlib; from tests.support.metadata import write; "
        "print(hashlib.sha256(write(labels=['a', 'b', 'c'])).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert found == {hashlib.sha256(write(labels=["a", "b", "c"])).hexdigest()}


def test_several_inputs_and_outputs() -> None:
    content = adding_model((1, 4), inputs=2, outputs=3)
    both = [Preprocessing(0.5), Preprocessing(1.0, (2.0,))]
    written = write(content, preprocessing=both, labels=list("abcd"))
    found = said(written)
    assert found.preprocessings == tuple(both) and found.preprocessing == both[0]
    assert [tensor.name for tensor in found.description.inputs] == ["in0", "in1"]
    assert [tensor.labels_kind for tensor in found.description.outputs] == ["axis"] * 3
    assert same(content, written)
    alone = said(write(content, preprocessing=both[0]))
    assert alone.preprocessings == (both[0], Preprocessing())
    with pytest.raises(ModelError, match="3 preprocessings for 2 inputs"):
        write(content, preprocessing=[*both, both[0]])


def test_labels_that_fit_no_output_travel_all_the_same() -> None:
    found = said(write(labels=["no", "yes"]))
    assert found.description.labels_file == "labels.txt" and found.labels == ("no", "yes")
    assert not any(tensor.labels_file for tensor in found.description.outputs)


def test_a_thousand_labels() -> None:
    labels = [f"class {index} – clé 🔑" for index in range(1000)]
    content = adding_model((1, 1000))
    written = write(content, labels=labels)
    assert said(written).labels == tuple(labels)
    assert said(written).description.outputs[0].labels_kind == "axis"
    assert same(content, written)


@pytest.mark.parametrize("label", ["two\nlines", "a\rb", "\ud800"])
def test_labels_that_no_file_can_hold(label: str) -> None:
    with pytest.raises(ModelError, match="label"):
        write(labels=["fine", label])


@pytest.mark.parametrize(
    ("preprocessing", "labels", "worth"),
    [
        (Preprocessing(), (), False),
        (Preprocessing(1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), (), False),
        (Preprocessing(), ("a",), True),
        (Preprocessing(0.5), (), True),
        (Preprocessing(mean=(0.0, 1.0)), (), True),
        (Preprocessing(std=(2.0,)), (), True),
        (Preprocessing(colour="bgr"), (), True),
        (Preprocessing(layout="nchw"), (), True),
        (Preprocessing(resize="letterbox"), (), True),
    ],
)
def test_nothing_is_written_where_there_is_nothing_to_say(
    preprocessing: Preprocessing, labels: tuple[str, ...], worth: bool
) -> None:
    assert metadata.worth_writing(preprocessing, labels) is worth
