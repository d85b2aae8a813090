"""What every entry of every registry must do; what is added is tested on arrival."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.devices import device_files, find_device
from harness.config.sources import SELF_CONTAINED
from harness.config.suites import load_suite, shipped_suites
from harness.datasets import SOURCES, load_dataset
from harness.domain import (
    Advisory,
    AdvisoryKind,
    Backend,
    Dataset,
    DeviceKind,
    Job,
    JobStatus,
    Measurement,
    Model,
    Policy,
    Stage,
    Task,
)
from harness.domain.advisory import NEXT_STEP
from harness.errors import DatasetError, ModelError
from harness.metrics import METRICS, Observations, TrialObservation
from harness.metrics.checks import CHECKS, Seen
from harness.models import READERS
from harness.orchestrate.environment import known_names
from harness.reports import FORMATS, view_run
from harness.store import Conclusion, Store
from harness.transports import TRANSPORTS
from tests.conftest import ROOT


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


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "fashion_mnist"])
def test_datasets(name: str, tmp_path: Path) -> None:
    for part, value in (("test", 0), ("train", 100)):
        for index in range(3):
            folder = tmp_path / part / f"class{index}"
            folder.mkdir(parents=True)
            from PIL import Image

            image = Image.fromarray(np.full((9, 7, 3), value + index, np.uint8))
            image.save(folder / "a.png")
            image.save(tmp_path / part / f"{index}.png")
        np.savez(
            tmp_path / f"{part}.npz",
            images=np.full((3, 4, 4), value, np.uint8)
            + np.arange(3, dtype=np.uint8)[:, None, None],
            labels=np.arange(3),
        )
    annotations = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 7, "height": 9} for i in range(3)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}],
    }
    (tmp_path / "test.json").write_text(json.dumps(annotations))
    end = {"npz": ".npz"}.get(name, "")
    coco = name == "coco"
    loaded = load_dataset(
        Dataset(
            "d", name, tmp_path / f"test{end}", training=tmp_path / f"train{end}",
            image_size=(8, 6), annotations=tmp_path / "test.json" if coco else None,
        ),
        SOURCES,
        Task.DETECTION if coco else Task.CLASSIFICATION,
        calibration=2,
        training=not coco,
    )  # fmt: skip
    assert bool(loaded.evaluation.truth) == coco
    assert len(loaded.samples) == len(loaded.labels) > 0
    assert loaded.labels.dtype == np.int64
    assert loaded.calibration and len(loaded.calibration.samples) == 2
    assert loaded.calibration.samples.shape[1:] == loaded.samples.shape[1:]
    if not coco:
        assert loaded.training and loaded.training.labels is not None
        assert len(loaded.training.labels) == len(loaded.training.samples) >= 3
        assert loaded.training.samples.shape[1:] == loaded.samples.shape[1:]
    if name == "image_folder":
        assert loaded.samples.shape == (3, 8, 6, 3)
        assert loaded.evaluation.class_names == ("class0", "class1", "class2")


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in SELF_CONTAINED])
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
    queries = TrialObservation(
        {"query": rng.integers(900, 1100, 700)},
        {"part": 0, "stopped_by": "enough"},
        {"query": np.arange(700) * 10_000_000},
    )
    errors, overlaps = rng.random(6), rng.integers(1, 9, (6, 1, 4)).repeat(3, axis=1)
    detections = np.array([[[0.1, 0.1, 0.5, 0.5, 0, 0.9]]] * 2)
    truth = {
        "images": [{"id": i, "frame": (10.0, 0.0, 10.0, 0.0)} for i in (1, 2)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 4, 5 - i], "area": 16,
             "iscrowd": 0} for i in (1, 2)
        ],
        "class_ids": [1],
    }  # fmt: skip
    of_tasks: list[dict[str, Any]] = [
        {"predictions": np.array([1, 0, 1]), "labels": np.array([1, 1, 1]), "classes": 10,
         "top_classes": np.arange(15).reshape(3, 5), "agreement": rng.random((3, 5)).round()},
        {"errors": errors, "labels": np.arange(6) % 2, "task": Task.ANOMALY},
        {"errors": errors, "labels": errors, "task": Task.REGRESSION},
        {"overlaps": overlaps, "labels": np.zeros((6, 2, 2)), "task": Task.SEGMENTATION},
        {"detections": detections, "truth": truth, "task": Task.DETECTION},
    ]  # fmt: skip
    begins = np.arange(5) * 1_000_000_000
    load = {"sustained": begins // 1000 + 1_000_000, "interval": begins * 0 + 900_000_000,
            "runs": begins * 0 + 50, "idle_power": begins * 0 + 2_000_000,
            "load_power": begins * 0 + 3_000_000}  # fmt: skip
    under_load = TrialObservation(load, {}, dict.fromkeys(load, begins))
    passes = {"scenarios": (queries,), "sustained": (under_load,), "energy": (under_load,)}
    each = [
        METRICS[name](Observations(Policy(), 100, trials=(trial, trial), passes=passes, **observed))
        for observed in of_tasks
    ]
    assert any(each)
    for found in each:
        check_measurements(found)
    METRICS[name](Observations(Policy(), 100))  # nothing observed: no numbers, no crash


def check_measurements(found: tuple[Measurement, ...]) -> None:
    assert len({item.name for item in found}) == len(found)
    for item in found:
        assert np.isfinite(item.value) and item.n > 0 and item.unit
        if item.low is not None and item.high is not None:
            assert item.low <= item.value <= item.high


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str, tmp_path: Path) -> None:
    from harness.config.suites import suite_to_json

    suite = load_suite("demo", known_names())
    job = Job(0, "digits", "int8", "local", DeviceKind.REAL, Backend("cpu", 1))
    with Store(f"sqlite:///{tmp_path}/s.db") as store:
        store.create_run("r", suite_to_json(suite), {}, [job])
        for sealed in (False, True):
            if sealed:
                store.seal_job(Conclusion(
                    store.jobs("r")[0].id, JobStatus.FAILED, Stage.LOAD,
                    error="<img src=x onerror=alert(1)> | pipe\nline",
                    advisories=[Advisory(AdvisoryKind.FEW_TRIALS, "1 | 2")],
                ))  # fmt: skip
            text = FORMATS[name](view_run(store, "r"), 100)
            assert "int8" in text
        assert name == "table" or "local" in text
        if name == "table":
            assert max(map(len, text.splitlines())) <= 100
        if name == "json":
            (row,) = json.loads(text)
            assert row["status"] == "failed" and row["accuracy"] is None


@pytest.mark.parametrize("kind", AdvisoryKind)
def test_every_advisory_names_its_next_step_and_has_a_row(kind: AdvisoryKind) -> None:
    assert len(NEXT_STEP[kind]) > 10
    assert Advisory(kind, "because").next_step == NEXT_STEP[kind]
    page = (ROOT / "docs" / "advisories.md").read_text()
    (row,) = [line for line in page.splitlines() if re.match(rf"\|[^|]*`{kind}`", line)]
    assert all(cell.strip() for cell in row.split("|")[2:4]), row


@pytest.mark.parametrize("name", CHECKS)
def test_checks_say_nothing_of_nothing(name: str) -> None:
    assert list(CHECKS[name](Seen(Observations(Policy(), 100)))) == []


@pytest.mark.parametrize("name", device_files())
def test_shipped_devices(name: str) -> None:
    device = find_device(name, TRANSPORTS)
    assert device.title and device.default_backend.accelerator in device.accelerators
    transport = TRANSPORTS[device.transport](device)
    assert transport.kind_is_simulated == (device.kind is DeviceKind.SIMULATED)
    assert transport.address and transport.work_dir and transport.python


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SHARED", str(shared))
    monkeypatch.setenv("IMAGENET", str(tmp_path))
    for part in ("val", "train"):
        (tmp_path / part).mkdir()
    suite = load_suite(name, known_names())
    assert suite.name == name and suite.models and suite.devices
