"""Folders of images: classes, and how a picture becomes bytes of one size."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import SOURCES, Split, lint, load_dataset, load_split
from harness.domain import Dataset
from harness.errors import DatasetError


def folder(where: Path, *classes: str, count: int = 2, seed: int = 0) -> Path:
    """``count`` images of noise for each class."""
    rng = np.random.default_rng((seed, len(classes)))
    for name in classes:
        (where / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(where / name / f"{number}.png")
    return where


# -- classes -----------------------------------------------------------------------------------


def test_the_evaluation_folders_number_the_classes_of_all_splits(tmp_path: Path) -> None:
    test, train = tmp_path / "test", tmp_path / "train"
    folder(test, "a", "b", "c")
    folder(train, "b", "c", count=60, seed=1)
    dataset = Dataset("d", "image_folder", test, training=train, image_size=(8, 6))
    loaded = load_dataset(dataset, SOURCES, calibration=120, training=True)
    assert loaded.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert loaded.training is not None and loaded.calibration is not None
    for split in (loaded.training, loaded.calibration):
        assert split.labels is not None and set(split.labels.tolist()) == {1, 2}
        assert split.class_names == ("a", "b", "c")
    assert lint("d", loaded.calibration, classes=3) == ("no sample of 1 of 3 classes (a)",)


def test_a_class_that_is_not_evaluated_is_refused(tmp_path: Path) -> None:
    test, train = folder(tmp_path / "test", "a", "b"), folder(tmp_path / "train", "b", "d")
    dataset = Dataset("d", "image_folder", test, calibration=train, image_size=(8, 6))
    with pytest.raises(DatasetError) as refused:
        load_dataset(dataset, SOURCES, calibration=1)
    assert "class folder d," in refused.value.message
    assert "b, d against a, b" in refused.value.message


def test_a_source_whose_splits_have_other_classes_is_refused() -> None:
    def load(_: Dataset, split: str) -> Split:
        samples = np.zeros((2, 4), np.uint8) + (split == "evaluation")
        names = ("a", "b") if split == "evaluation" else ("b", "c")
        return Split(samples, np.arange(2), names)

    with pytest.raises(DatasetError, match="b, c against a, b"):
        load_dataset(Dataset("d", "other"), {"other": load}, training=True)


def test_only_what_is_taken_is_read(tmp_path: Path) -> None:
    """The same samples as of a folder that is read whole, and the others may be anything."""
    names = ("a", "b", "c")
    test = folder(tmp_path / "test", *names, count=5)
    train = folder(tmp_path / "train", *names, count=5, seed=1)
    whole = load_dataset(
        Dataset("d", "image_folder", test, training=train, image_size=(8, 6)),
        SOURCES,
        training=True,
    )
    assert whole.training is not None and whole.training.labels is not None
    for where, kept in ((test, {0, 7, 14}), (train, {0, 4, 9, 14, 7})):
        for place, file in enumerate(sorted(where.rglob("*.png"))):
            if place not in kept:
                file.write_bytes(b"broken")
    dataset = Dataset(
        "d", "image_folder", test, training=train, image_size=(8, 6), limit=3, training_samples=3
    )
    found = load_dataset(dataset, SOURCES, calibration=4, training=True)
    assert np.array_equal(found.samples, whole.samples[[0, 7, 14]])
    assert found.labels.tolist() == [0, 1, 2]
    assert found.calibration is not None and found.training is not None
    assert np.array_equal(found.calibration.samples, whole.training.samples[[0, 4, 9, 14]])
    assert np.array_equal(found.training.samples, whole.training.samples[[0, 7, 14]])
    alone = load_split(replace(dataset, limit=0), SOURCES, "evaluation", count=3)
    assert np.array_equal(alone.samples, found.samples)
    assert len(load_split(dataset, SOURCES, "training").samples) == 3


def test_images_that_no_memory_can_hold_are_refused(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a")
    dataset = Dataset("d", "image_folder", tmp_path / "in", image_size=(1 << 24, 1 << 24))
    with pytest.raises(DatasetError, match="2 evaluation images do not fit into memory"):
        load_dataset(dataset, SOURCES)


# -- pictures ----------------------------------------------------------------------------------


def read(tmp_path: Path, image: Image.Image, name: str = "x.png", **more: object) -> np.ndarray:
    (tmp_path / "in" / "a").mkdir(parents=True)
    image.save(tmp_path / "in" / "a" / name, **more)
    size = (image.height, image.width)
    dataset = Dataset("d", "image_folder", tmp_path / "in", image_size=size)
    return load_dataset(dataset, SOURCES).samples[0]


def test_gray_values_of_16_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 300, 257 * 100, 65535]], np.uint16)
    pixels = read(tmp_path, Image.fromarray(values))
    assert pixels[0].tolist() == [[0] * 3, [1] * 3, [100] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_shows_white(tmp_path: Path, mode: str) -> None:
    """One pixel that is transparent, and one that is not."""
    image = Image.new("RGBA", (2, 1), (90, 90, 90, 255))
    image.putpixel((0, 0), (30, 30, 30, 0))
    more: dict[str, object] = {}
    if mode in ("P", "L"):
        image = image.convert("RGB").convert("L")
        image = image.convert("P") if mode == "P" else image
        more = {"transparency": image.getpixel((0, 0))}
    elif mode == "LA":
        image = image.convert("LA")
    pixels = read(tmp_path, image, **more)
    assert pixels[0].tolist() == [[255] * 3, [90] * 3]


def test_values_without_a_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("F", (4, 4), 0.5).save(tmp_path / "a" / "x.tiff")
    (tmp_path / "a" / "x.tiff").rename(tmp_path / "a" / "x.png")
    with pytest.raises(DatasetError, match=r"x\.png is not a readable image: .*32 bits"):
        load_dataset(Dataset("d", "image_folder", tmp_path, image_size=(4, 4)), SOURCES)


def test_the_middle_is_cut_out_without_scaling_the_rest(tmp_path: Path) -> None:
    """A picture of one line, whose other side would be scaled to millions of pixels."""
    (tmp_path / "a").mkdir()
    line = np.zeros((1, 20_000, 3), np.uint8)
    line[0, 10_000:] = 200
    Image.fromarray(line).save(tmp_path / "a" / "wide.png")
    Image.fromarray(line.transpose(1, 0, 2)).save(tmp_path / "a" / "tall.png")
    dataset = Dataset("d", "image_folder", tmp_path, image_size=(224, 160), crop=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tall, wide = load_dataset(dataset, SOURCES).samples
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert wide[0, 0, 0] < 100 < wide[0, -1, 0] and (wide == wide[:1]).all()
    assert tall[0, 0, 0] < 100 < tall[-1, 0, 0] and (tall == tall[:, :1]).all()


def test_a_crop_keeps_seven_eighths_of_the_shorter_side(tmp_path: Path) -> None:
    """Steps that are coarse enough to survive the scaling tell which part was taken."""
    (tmp_path / "a").mkdir()
    columns = np.repeat(np.arange(16, dtype=np.uint8) * 16, 16)
    pixels = np.broadcast_to(columns[None, :, None], (256, 256, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "a" / "x.png")
    dataset = Dataset("d", "image_folder", tmp_path, image_size=(224, 224), crop=True)
    (found,) = load_dataset(dataset, SOURCES).samples
    assert (found == pixels[16:240, 16:240]).all()
