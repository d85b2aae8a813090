"""What every entry of every registry must do; what is added is tested on arrival."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.config import find_device, known_devices, load_suite, shipped_suites
from harness.datasets import SOURCES, load_dataset
from harness.domain import (
    Advisory,
    AdvisoryKind,
    Backend,
    Dataset,
    DeviceKind,
    Job,
    JobStatus,
    Model,
    Policy,
    Stage,
)
from harness.domain.advisory import NEXT_STEP
from harness.errors import DatasetError, ModelError
from harness.metrics import METRICS, Observations, TrialObservation
from harness.models import READERS
from harness.orchestrate import known_names
from harness.reports import FORMATS, view_run
from harness.store import Store
from harness.transports import TRANSPORTS


@pytest.mark.parametrize("name", READERS)
def test_readers_refuse_what_is_damaged(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    suffix = {"keras_h5": ".h5", "keras_v3": ".keras", "tflite": ".tflite"}.get(name)
    source = {"architecture": "keras:NoSuchNet", "factory": "no_such_module:make"}.get(name)
    path = tmp_path / f"model{suffix or ''}"
    if suffix is not None:
        path.write_bytes(b"neither this nor that" * 10)
    elif source is None:
        path.mkdir()
    source = source or str(path)
    assert reader.claims(source, Path(source)) and reader.title
    assert reader.is_file == Path(source).exists()
    with pytest.raises(ModelError):
        reader.check(Model("m", source, "d", base=str(tmp_path)), Path(source))


@pytest.mark.parametrize("name", SOURCES)
def test_datasets(name: str, tmp_path: Path) -> None:
    for part, value in (("test", 0), ("train", 100)):
        for index in range(3):
            folder = tmp_path / part / f"class{index}"
            folder.mkdir(parents=True)
            from PIL import Image

            Image.fromarray(np.full((9, 7, 3), value + index, np.uint8)).save(folder / "a.png")
        np.savez(
            tmp_path / f"{part}.npz",
            images=np.full((3, 4, 4), value, np.uint8)
            + np.arange(3, dtype=np.uint8)[:, None, None],
            labels=np.arange(3),
        )
    end = {"npz": ".npz"}.get(name, "")
    other = tmp_path / f"train{end}"
    dataset = Dataset("d", name, tmp_path / f"test{end}", training=other, image_size=(8, 6))
    loaded = load_dataset(dataset, SOURCES, calibration=2, training=True)
    assert len(loaded.samples) == len(loaded.labels) > 0
    assert loaded.labels.dtype == np.int64
    assert loaded.calibration and len(loaded.calibration.samples) == 2
    assert loaded.training and loaded.training.labels is not None
    assert len(loaded.training.labels) == len(loaded.training.samples) >= 3
    for split in (loaded.calibration, loaded.training):
        assert split.samples.shape[1:] == loaded.samples.shape[1:]
    if name == "image_folder":
        assert loaded.samples.shape == (3, 8, 6, 3)
        assert loaded.evaluation.class_names == ("class0", "class1", "class2")


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "digits"])
def test_datasets_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        load_dataset(Dataset("d", name, tmp_path / "none", image_size=(8, 8)), SOURCES)


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str) -> None:
    rng = np.random.default_rng(0)
    trial = TrialObservation(
        {"first": np.array([9000]), "measure": rng.integers(900, 1100, 60)},
        {"load_ns": 5, "init_ns": 6, "memory_peak_bytes": {"end": 1000}},
    )
    full = Observations(
        Policy(), 100, trials=(trial, trial), predictions=np.array([1, 0, 1]),
        labels=np.array([1, 1, 1]),
    )  # fmt: skip
    found = METRICS[name](full)
    assert found and len({item.name for item in found}) == len(found)
    for item in found:
        assert np.isfinite(item.value) and item.n > 0 and item.unit
        if item.low is not None and item.high is not None:
            assert item.low <= item.value <= item.high
    METRICS[name](Observations(Policy(), 100))  # nothing observed: no numbers, no crash


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str, tmp_path: Path) -> None:
    from harness.config import suite_to_json

    suite = load_suite("demo", known_names())
    job = Job(0, "digits", "int8", "local", DeviceKind.REAL, Backend("cpu", 1))
    with Store(f"sqlite:///{tmp_path}/s.db") as store:
        store.create_run("r", suite_to_json(suite), {}, [job])
        for sealed in (False, True):
            if sealed:
                store.seal_job(
                    store.jobs("r")[0].id, JobStatus.FAILED, Stage.LOAD,
                    error="<img src=x onerror=alert(1)> | pipe\nline",
                    advisories=[Advisory(AdvisoryKind.FEW_TRIALS, "1 | 2")],
                )  # fmt: skip
            text = FORMATS[name](view_run(store, "r"), 100)
            assert "int8" in text
        assert name == "table" or "local" in text
        if name == "table":
            assert max(map(len, text.splitlines())) <= 100
        if name == "json":
            (row,) = json.loads(text)
            assert row["status"] == "failed" and row["accuracy"] is None


@pytest.mark.parametrize("kind", AdvisoryKind)
def test_every_advisory_names_its_next_step(kind: AdvisoryKind) -> None:
    assert len(NEXT_STEP[kind]) > 10
    assert Advisory(kind, "because").next_step == NEXT_STEP[kind]


@pytest.mark.parametrize("name", known_devices(TRANSPORTS))
def test_shipped_devices(name: str) -> None:
    device = find_device(name, TRANSPORTS)
    assert device.title and device.default_backend.accelerator in device.accelerators
    transport = TRANSPORTS[device.transport](device)
    assert transport.kind_is_simulated == (device.kind is DeviceKind.SIMULATED)
    assert transport.address and transport.work_dir and transport.python


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SHARED", str(shared))
    suite = load_suite(name, known_names())
    assert suite.name == name and suite.models and suite.devices
