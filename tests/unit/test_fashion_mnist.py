"""Fashion-MNIST: fetched once, checked, and a clear word where there is no network."""

from __future__ import annotations

import gzip
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import SOURCES, fashion_mnist, load_dataset
from harness.domain import Dataset
from harness.errors import DatasetError


def packed(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server with four small files of the same form, and their sums."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    rng = np.random.default_rng(0)
    sums = {}
    for name in fashion_mnist.FILES:
        count = 30 if name.startswith("train") else 12
        shape = (count, 28, 28) if "images" in name else (count,)
        content = packed(rng.integers(0, 10, shape).astype(np.uint8))
        (folder / name).write_bytes(content)
        sums[name] = fashion_mnist._md5(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(fashion_mnist.MIRROR, f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(fashion_mnist, "FILES", sums)
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetched_once_and_kept(mirror: Path, tmp_path: Path) -> None:
    dataset = Dataset("fashion", "fashion_mnist", path=tmp_path / "kept")
    loaded = load_dataset(dataset, SOURCES, calibration=5, training=True)
    assert loaded.samples.shape == (12, 28, 28, 1) and loaded.samples.dtype == np.uint8
    assert loaded.training and len(loaded.training.samples) == 30
    assert loaded.evaluation.class_names[9] == "Ankle boot"
    for name in fashion_mnist.FILES:
        (mirror / name).unlink()
    again = load_dataset(dataset, SOURCES)
    assert np.array_equal(again.samples, loaded.samples)


def test_another_file_is_refused_and_not_kept(mirror: Path, tmp_path: Path) -> None:
    name = "t10k-images-idx3-ubyte.gz"
    (mirror / name).write_bytes(packed(np.zeros((12, 28, 28), np.uint8)))
    with pytest.raises(DatasetError, match="not the published file"):
        load_dataset(Dataset("f", "fashion_mnist", path=tmp_path / "kept"), SOURCES)
    assert not (tmp_path / "kept" / name).exists()


def test_no_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fashion_mnist.MIRROR, "http://127.0.0.1:9/")  # nobody listens
    with pytest.raises(DatasetError, match="cannot be reached") as caught:
        load_dataset(Dataset("f", "fashion_mnist", path=tmp_path / "kept"), SOURCES)
    assert caught.value.hint and "four files" in caught.value.hint


@pytest.mark.parametrize("cut", [0, 3, 10, 400])
def test_damaged_files_are_refused(cut: int) -> None:
    whole = packed(np.zeros((4, 28, 28), np.uint8))
    assert fashion_mnist.idx(whole).shape == (4, 28, 28)
    with pytest.raises(DatasetError):
        fashion_mnist.idx(whole[:cut] if cut < len(whole) else gzip.compress(b"\0\0\x0d\x01abc"))
