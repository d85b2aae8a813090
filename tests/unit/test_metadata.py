"""Metadata that travels with a file, held against other readers of the same formats."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.cache import json_sha256
from harness.domain import Preprocessing
from harness.errors import ModelError
from harness.models import metadata
from harness.models.metadata import (
    OURS,
    STANDARD,
    Description,
    TensorMetadata,
    container,
    schema,
)
from harness.models.preprocess import to_real
from harness.models.tflite_file import preprocessing_of
from tests.support.models import adding_model, pack, unpack

MODEL = adding_model()
IMAGENET = Preprocessing(
    1 / 255,
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    colour="rgb",
    layout="nhwc",
    resize="bilinear",
)


def write(content: bytes = MODEL, **changed: Any) -> bytes:
    given = {"name": "mine", "description": "A test.", "preprocessing": IMAGENET, **changed}
    return metadata.write(content, **given)


def said(content: bytes) -> metadata.Metadata:
    found = metadata.read(content)
    assert found is not None
    return found


def entries(content: bytes) -> dict[str, bytes]:
    """Named entries, by the runtime's own schema."""
    model = tfl.Model.GetRootAs(content, 0)
    found = {}
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        buffer = model.Buffers(entry.Buffer())
        name = entry.Name().decode()
        assert name not in found, "an entry is there twice"
        found[name] = bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b""
    return found


def run(content: bytes) -> tuple[list[NDArray[Any]], Mapping[str, Any]]:
    """Outputs of a seeded input, and the signatures."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        value = rng.integers(0, 100, size=detail["shape"])
        interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
    return outputs, interpreter.get_signature_list()


def same(left: bytes, right: bytes) -> bool:
    (outputs, signatures), (others, others_signatures) = run(left), run(right)
    return signatures == others_signatures and all(map(np.array_equal, outputs, others))


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
        "import hashlib; from tests.unit.test_metadata import write; "
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


def test_author_licence_and_version_of_others_stay() -> None:
    old = Description(
        name="old", description="old", version="v7", author="Ada", license="Apache-2.0"
    )
    content = container.embed(MODEL, {STANDARD: schema.encode(old)}, {"other.txt": b"x"})
    found = said(write(content))
    assert (found.description.author, found.description.license) == ("Ada", "Apache-2.0")
    assert (found.description.version, found.description.name) == ("v7", "mine")
    assert found.files == ()
    assert list(entries(write(content))) == [STANDARD, OURS]
    assert len(unpack(write(content)).buffers) == len(unpack(content).buffers) + 1


def test_what_another_program_changed_is_believed() -> None:
    written = write()
    described = said(written).description
    tensor = TensorMetadata(name="in0", content="image", mean=(9.0,), std=(3.0,))
    changed = Description(inputs=(tensor,), outputs=described.outputs)
    found = said(container.embed(written, {STANDARD: schema.encode(changed)}, {}))
    assert found.preprocessing == Preprocessing(
        1.0, (9.0,), (3.0,), colour="rgb", layout="nhwc", resize="bilinear"
    )
    assert any("changed" in problem for problem in found.problems)


def test_a_file_packed_anew_by_the_runtimes_schema_says_the_same() -> None:
    written = write(labels=["a", "b", "c"])
    packed = container.packed(written).start
    anew = pack(unpack(written))
    assert said(anew).preprocessing == IMAGENET
    assert "labels.txt" in said(anew).problems[0]
    # The archive's places are counted from its own end as well.
    moved = said(anew + written[packed:])
    assert moved.labels == ("a", "b", "c")
    assert list(entries(write(anew))) == [STANDARD, OURS]


def test_an_archive_among_the_weights_is_no_packed_file() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("labels.txt", "wrong")
    content = adding_model(weights=archive.getvalue())
    assert container.packed(content).start == len(content)
    written = write(content)
    assert said(written).labels == () and said(written).files == ()
    assert metadata.original(written) == content
    assert same(content, written)


@pytest.mark.parametrize("kind", ["huge", "missing", "encrypted"])
def test_labels_of_a_hostile_archive(kind: str) -> None:
    written = write(labels=["a", "b", "c"])
    model = written[: container.packed(written).start]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        if kind == "huge":
            made.writestr("labels.txt", bytes(64 << 20))
        else:
            made.writestr("labels.txt" if kind == "encrypted" else "../labels.txt", "a\nb\n")
    packed = bytearray(archive.getvalue())
    if kind == "encrypted":
        packed[6] |= 1
        packed[packed.index(b"PK\x01\x02") + 8] |= 1
    found = said(model + bytes(packed))
    assert found.labels == () and "labels.txt" in found.problems[0]
    assert found.preprocessing == IMAGENET


def test_models_that_have_no_room_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = unpack(MODEL)
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 4096, 4
    with pytest.raises(ModelError, match="behind the flatbuffer"):
        write(pack(model))
    model = unpack(MODEL)
    model.subgraphs[0].operators[0].largeCustomOptionsOffset = 4096
    with pytest.raises(ModelError, match="behind the flatbuffer"):
        write(pack(model))
    monkeypatch.setattr(container, "_MAX_MODEL", 1 << 22)
    with pytest.raises(ModelError, match="2 GB"):
        write()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (STANDARD, b"", "identifier"),
        (STANDARD, b"\xff\xff\xff\x7fM001" + bytes(40), "outside"),
        (OURS, b"", "damaged"),
        (OURS, b"[" * 100_000, "damaged"),
        (OURS, b'{"version":2}', "newer"),
        (OURS, b'{"version":1,"inputs":[{"scale":"x"}]}', "damaged"),
        (OURS, b'{"version":1,"inputs":[{"scale":1e999}]}', "damaged"),
        (OURS, b'{"version":1,"inputs":[{"std":[0]}]}', "damaged"),
        (OURS, b'{"version":1,"inputs":[{"mean":[1' + b"0" * 400 + b"]}]}", "damaged"),
        (OURS, b'{"version":1,"inputs":[{"colour":["rgb"]}]}', "damaged"),
        (OURS, b'{"version":1,"inputs":[{"unknown":1}]}', "damaged"),
        (OURS, b'{"version":1,"inputs":7}', "damaged"),
        (OURS, b'{"version":1e999,"inputs":[]}', "damaged"),
    ],
)
def test_damaged_entries_are_told(name: str, value: bytes, problem: str) -> None:
    content = container.embed(write(), {name: value}, {})
    found = said(content)
    assert any(problem in text for text in found.problems)
    # The other entry is enough for the normalization.
    assert found.preprocessing is not None
    assert write(content) != content


def test_large_entries_of_others_do_not_disturb() -> None:
    content = container.embed(MODEL, {"tokenizer": bytes(3 << 20)}, {})
    assert metadata.read(content) is None
    written = write(content, labels=["a", "b", "c"])
    assert said(written).problems == () and said(written).labels == ("a", "b", "c")
    assert len(entries(written)["tokenizer"]) == 3 << 20


def test_damage_anywhere_never_breaks_the_reader() -> None:
    whole = write(labels=["a", "b", "c"])
    generator = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for turn in range(3000):
        damaged = bytearray(whole)
        if turn % 5 == 0:
            del damaged[generator.randrange(len(damaged)) :]
        for _ in range(generator.choice([1, 1, 2, 8])):
            if damaged:
                position = generator.randrange(len(damaged))
                damaged[position] = generator.choice([0, 1, 127, 128, 255, damaged[position] ^ 4])
        for use in (metadata.read, write):
            try:
                use(bytes(damaged))
                outcomes["read"] += 1
            except ModelError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 100


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for content in (noise, noise[:4] + b"M001" + noise[4:]):
        try:
            schema.decode(content)
        except ModelError:
            continue


def test_a_ready_file_brings_its_preprocessing(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(MODEL)
    assert preprocessing_of(path) is None
    path.write_bytes(write(labels=["a", "b"]))
    assert preprocessing_of(path) == (IMAGENET, ("a", "b"))
    path.write_bytes(write(labels=["a", "b"])[:100])
    with pytest.raises(ModelError, match="damaged or truncated"):
        preprocessing_of(path)
    with pytest.raises(ModelError, match="No such file"):
        preprocessing_of(tmp_path / "none.tflite")


READY = [
    "mlperf_tiny/ad01_fp32",
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/ic_resnet8_float",
    "mlperf_tiny/ic_resnet8_int8",
    "mlperf_tiny/kws_float",
    "mlperf_tiny/kws_int8",
    "mlperf_tiny/vww_96_float",
    "mlperf_tiny/vww_96_int8",
    "coral/keras_lstm_mnist_ptq",
    "coral/mobilenet_v1_0.25_128_quant",
    "coral/mobilenet_v2_1.0_224_quant",
]


@pytest.mark.parametrize("name", READY)
def test_ready_files_run_as_before(shared: Path, name: str) -> None:
    content = (shared / "models" / f"{name}.tflite").read_bytes()
    bare = metadata.original(content)
    buffers = len(unpack(bare).buffers)
    written = write(content, description="A description of usual length.")
    assert len(written) - len(bare) < 1024 + 4 * buffers
    assert same(content, written)
    others = {name: value for name, value in entries(content).items() if name != STANDARD}
    assert others.items() <= entries(written).items()
    labelled = write(content, labels=["a", "b"])
    assert same(content, labelled)
    assert metadata.original(labelled) == bare
    assert said(labelled).labels == ("a", "b")


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant"])
def test_metadata_that_others_wrote(shared: Path, name: str) -> None:
    path = shared / "models" / "coral" / f"{name}.tflite"
    found = said(path.read_bytes())
    assert found.problems == () and found.description.name == "ImageClassifier"
    (image,) = found.description.inputs
    assert (image.content, image.colour, image.mean, image.std) == (
        "image",
        "rgb",
        (127.5,),
        (127.5,),
    )
    assert len(found.labels) == 1001 and found.labels[1] == "tench, Tinca tinca"
    preprocessing = Preprocessing(1.0, (127.5,), (127.5,), colour="rgb", layout="nhwc")
    assert preprocessing_of(path) == (preprocessing, found.labels)


def test_what_was_hashed_stays_so() -> None:
    plain = Preprocessing(0.5, (1.0, 2.0), (3.0,))
    before = {"scale": 0.5, "mean": (1.0, 2.0), "std": (3.0,)}
    assert json_sha256(plain.as_json()) == json_sha256(before)
    assert Preprocessing.from_json(plain.as_json()) == plain
    assert Preprocessing.from_json(IMAGENET.as_json()) == IMAGENET
    assert Preprocessing.from_json({}) == Preprocessing()
