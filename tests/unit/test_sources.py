from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import sources
from harness.domain import Dataset, Model, Preprocessing
from harness.errors import DatasetError, ModelError, UsageError
from harness.models import READERS, ResolvedModel, factory
from harness.models.architecture import ARCHITECTURES, parse_architecture
from harness.models.reader import resolve


def model(source: str, base: Path) -> Model:
    return replace(sources.source_model(source), base=str(base))


def found(source: str, base: Path) -> ResolvedModel:
    return resolve(model(source, base), READERS)


# -- what the command line names ---------------------------------------------------------------


def test_models_are_named_after_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.v2.h5").touch()
    (tmp_path / "saved.model").mkdir()
    for source, name in (
        ("net.v2.h5", "net.v2"),
        ("saved.model", "saved.model"),
        ("builtin:digits_cnn", "digits_cnn"),
        ("package.module:make", "make"),
        ("keras:MobileNetV2?weights=none&alpha=0.5", "MobileNetV2-alpha-0.5"),
        ("keras:MobileNet?weights=none", "MobileNet"),
        ("gone.h5", "gone"),
        (":", "model"),
    ):
        assert sources.model_name(source) == name
    made = sources.source_model("net.v2.h5")
    assert made.source == str(tmp_path / "net.v2.h5") and made.base == str(tmp_path)
    assert not made.preprocessing_given and made.preprocessing == Preprocessing()
    assert sources.source_model("m:f", Preprocessing(2.0)).preprocessing_given


def test_labels_are_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert sources.source_model("m:f", labels=tmp_path / "labels.txt").labels == ("cat", "dog")
    with pytest.raises(ModelError, match=r"cannot read the labels .*gone"):
        sources.source_model("m:f", labels=tmp_path / "gone.txt")


def test_datasets_are_archives_folders_or_digits(tmp_path: Path) -> None:
    assert sources.named_dataset("calibration", None) is None
    assert sources.named_dataset("calibration", "digits") == Dataset("calibration", "digits")
    (tmp_path / "some.npz").touch()
    archive = sources.named_dataset("calibration", str(tmp_path / "some.npz"))
    assert archive and (archive.source, archive.calibration) == ("npz", tmp_path / "some.npz")
    with pytest.raises(DatasetError, match="there is no dataset") as caught:
        sources.named_dataset("calibration", "digit")
    assert "digits" in (caught.value.hint or "")
    with pytest.raises(DatasetError, match="size must be given"):
        sources.named_dataset("calibration", str(tmp_path))
    folder = sources.named_dataset("calibration", str(tmp_path), (32, 48))
    assert folder and (folder.source, folder.image_size) == ("image_folder", (32, 48))
    with pytest.raises(DatasetError, match="samples are of the kind"):
        sources.joined_dataset("digits", str(tmp_path / "some.npz"), None)


def test_preprocessing_and_sizes_from_texts() -> None:
    assert sources.preprocessing(None, None, None) is None
    assert sources.preprocessing(0.5, None, None) == Preprocessing(0.5)
    assert sources.preprocessing(None, "1,2,3", "4") == Preprocessing(1.0, (1, 2, 3), (4,))
    for mean, std in (("a", None), (None, "1,,2"), (None, "0"), ("nan", None)):
        with pytest.raises(UsageError, match="--scale, --mean, --std"):
            sources.preprocessing(1.0, mean, std)
    assert sources.image_size(None) is None
    assert sources.image_size("224") == (224, 224) and sources.image_size("32x48") == (32, 48)
    for text in ("0", "x", "32x", "32X48", "-1", "1e2", "32x0", "32x00"):
        with pytest.raises(UsageError, match="--image-size"):
            sources.image_size(text)


# -- architectures by name ---------------------------------------------------------------------


def test_architectures_and_their_settings() -> None:
    plain = parse_architecture("keras:NASNetMobile")
    assert (plain.weights, plain.height, plain.width, plain.classes) == (
        "imagenet", 224, 224, 1000
    )  # fmt: skip
    some = parse_architecture(
        "keras:MobileNetV2?weights=none&alpha=0.5&input=96x128&classes=2&seed=7"
    )
    assert (some.name, some.weights, some.alpha, some.seed) == ("MobileNetV2", "none", 0.5, 7)
    assert (some.height, some.width, some.classes) == (96, 128, 2)
    assert parse_architecture("keras:InceptionV3").height == 299
    assert parse_architecture("keras:MobileNetV3").name == "MobileNetV3Large"
    assert parse_architecture("keras:EfficientNet").name == "EfficientNetB0"


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        ("keras:MobilNetV2", "unknown architecture 'MobilNetV2'", "'MobileNetV2'"),
        ("keras:", "unknown architecture ''", ""),
        ("keras:ResNet50?weight=none", "unknown setting 'weight'", "'weights'"),
        ("keras:ResNet50?weights=/etc/passwd", "weights is none or imagenet", ""),
        ("keras:ResNet50?alpha=0.5", "ResNet50 has no alpha", ""),
        ("keras:ResNet50?input=big", "no number", ""),
        ("keras:ResNet50?input=16", "32 to 4096", ""),
        ("keras:ResNet50?input=9999", "32 to 4096", ""),
        ("keras:ResNet50?input=64x64x3", "32 to 4096", ""),
        ("keras:ResNet50?classes=0", "classes is 1 to 100000", ""),
        ("keras:ResNet50?classes=", "no number", ""),
        ("keras:MobileNet?alpha=wide", "no number", ""),
        ("keras:MobileNet?alpha=nan", "alpha", ""),
        ("keras:MobileNet?alpha=-1", "alpha", ""),
        ("keras:MobileNet?seed=-1", "seed", ""),
    ],
)
def test_architectures_that_there_are_not(
    source: str, said: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        parse_architecture(source)
    assert said in caught.value.message and hint in (caught.value.hint or "")
    with pytest.raises(ModelError, match="model "):
        found(source, tmp_path)


def test_the_identity_of_an_architecture_is_all_its_settings(tmp_path: Path) -> None:
    texts = ["", "?seed=1", "?weights=none", "?input=96", "?input=96x128", "?classes=10"]
    seen = {found(f"keras:MobileNet{text}", tmp_path).sha256 for text in texts}
    assert len(seen) == len(texts)
    same = [f"keras:MobileNet?{text}" for text in ("weights=none&seed=0", "seed=0&weights=none")]
    assert len({found(source, tmp_path).sha256 for source in same}) == 1


def test_every_architecture_is_one_of_the_library() -> None:
    """Without importing it: it has a module for each."""
    import importlib.util

    package = importlib.util.find_spec("tf_keras")
    assert package and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "src" / "applications"
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    assert [name for name in ARCHITECTURES if f"def {name}(" not in text] == []


# -- factories ---------------------------------------------------------------------------------

#: Would be noticed if it ran.
LOUD = "raise SystemExit('the module was run')\n"


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("module:function", True),
        ("package.sub.module:function", True),
        ("_a1:_b2", True),
        ("keras:MobileNet", False),
        ("builtin:digits_cnn", False),
        ("module.function", False),
        ("module:", False),
        (":function", False),
        ("a..b:c", False),
        ("../module:function", False),
        ("module:function()", False),
        ("module:one.two", False),
        ("C:\\models\\a.h5", False),
    ],
)
def test_what_names_a_function(source: str, is_one: bool) -> None:
    assert factory.is_factory(source) is is_one


def test_looking_a_module_up_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_module.py").write_text(LOUD)
    package = tmp_path / "loud_package" / "inner"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text(LOUD)
        (folder / "nets.py").write_text(LOUD)
    names = ("loud_module", "loud_package", "loud_package.nets", "loud_package.inner.nets",
             "loud_package.inner")  # fmt: skip
    below = [found(f"{name}:make", tmp_path) for name in names]
    assert {item.format for item in below} == {"factory"}
    assert all(item.convertible for item in below)
    # The same from where Python looks.
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    away = [found(f"{name}:make", tmp_path / "elsewhere") for name in names]
    assert [item.sha256 for item in away] == [item.sha256 for item in below]
    assert not {name for name in sys.modules if name.startswith("loud_")}


def test_modules_that_there_are_not(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for name in ("no_such_module", "package.gone", "json.gone.deeper", "sys"):
        with pytest.raises(ModelError, match=f"there is no Python module {name}"):
            found(f"{name}:make", tmp_path)


def test_the_identity_follows_the_source(tmp_path: Path) -> None:
    module = tmp_path / "nets.py"
    module.write_text("def make(): return 1\n")
    first = found("nets:make", tmp_path).sha256
    assert found("nets:other", tmp_path).sha256 != first
    assert found("nets:make", tmp_path).sha256 == first
    module.write_text("def make(): return 2\n")
    assert found("nets:make", tmp_path).sha256 != first
    module.write_text("def make(): return 1\n")
    assert found("nets:make", tmp_path).sha256 == first
    (tmp_path / "helper.py").write_text("WIDTH = 8\n")  # what lies beside it may be imported
    beside = found("nets:make", tmp_path).sha256
    (tmp_path / "helper.py").write_text("WIDTH = 16\n")
    assert len({first, beside, found("nets:make", tmp_path).sha256}) == 3


def test_the_identity_follows_the_whole_package(tmp_path: Path) -> None:
    deep = tmp_path / "package" / "layers"
    deep.mkdir(parents=True)
    for path in ("package/__init__.py", "package/nets.py", "package/blocks.py",
                 "package/layers/__init__.py", "package/layers/own.py"):  # fmt: skip
        (tmp_path / path).write_text("x = 1\n")
    for source in ("package.nets:make", "package:make"):
        seen = [found(source, tmp_path).sha256]
        for path in ("package/blocks.py", "package/layers/own.py", "package/__init__.py"):
            (tmp_path / path).write_text(f"x = {len(seen) + 1}  # {source}\n")
            seen.append(found(source, tmp_path).sha256)
        assert len(set(seen)) == len(seen), source
    before = found("package.layers.own:make", tmp_path).sha256
    (tmp_path / "package" / "blocks.py").write_text("x = 'changed'\n")
    assert found("package.layers.own:make", tmp_path).sha256 != before
