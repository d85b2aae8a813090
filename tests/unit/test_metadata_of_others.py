"""Metadata that others wrote, changed or damaged, and files that bring their own."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from harness.models.tflite_file import preprocessing_of
from tests.support.metadata import IMAGENET, MODEL, entries, said, same, write
from tests.support.models import adding_model, pack, unpack


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
