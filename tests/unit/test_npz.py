"""Archives that are none, or hold what is no array."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import SOURCES, load_dataset
from harness.domain import Dataset
from harness.errors import DatasetError


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        load_dataset(Dataset("d", "npz", path), SOURCES)
    assert error.value.hint
    return error.value.message


def archive(path: Path, images: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("images.npy", images)
        target.writestr("labels.npy", array(np.arange(3)))
    return path


def array(value: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


def test_an_array_that_is_called_an_archive(tmp_path: Path) -> None:
    for content in (array(np.zeros((3, 2))), b"", b"\x80\x04N."):
        (tmp_path / "d.npz").write_bytes(content)
        assert "d.npz is not an .npz archive" in refused(tmp_path / "d.npz")


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    assert "its member 'images' is no array" in refused(archive(tmp_path / "d.npz", b"pixels"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(3, 2)", b"(3, 2"),
        (b"(3, 2), }", b"(3, 2), }'''"),
        (b"'shape'", b"'sh\x00pe'"),
        (b"(3, 2)", b"(3**9,)"),
        (b"(3, 2), }" + b" " * 30, b"(1" + b"0" * 30 + b",), }   "),
        (b"'<f8'", b"[1,2]"),
    ],
)
def test_a_damaged_header(tmp_path: Path, old: bytes, new: bytes) -> None:
    content = array(np.zeros((3, 2)))
    assert old in content
    damaged = content.replace(old, new.ljust(len(old))[: max(len(old), len(new))], 1)
    assert "d.npz cannot be read" in refused(archive(tmp_path / "d.npz", damaged))
