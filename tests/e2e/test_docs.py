"""Every command that README and docs show is run; every link and name in them is real."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.devices import find_device
from harness.config.schema import DeviceFile, PolicyFile
from harness.config.suites import load_suite
from harness.datasets.digits import split
from harness.domain import AdvisoryKind
from harness.orchestrate.environment import known_names
from harness.reports import COLUMNS
from harness.transports import TRANSPORTS
from tests.conftest import ROOT
from tests.support import harness_command

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "device_agents" / "PROTOCOL.md",
         ROOT / "device_agents" / "native" / "README.md",
         *sorted((ROOT / "docs").rglob("*.md"))]  # fmt: skip

#: A few rows of those that docs/predicting.md tells of: XNNPACK's README and Coral's benchmarks.
LATENCIES = """model,input_shape,dtype,device,backend,threads,latency_ms
mobilenet_v1_1.0_224,1x224x224x3,float32,Raspberry Pi 4,XNNPACK,4,77
mobilenet_v2_1.0_224,1x224x224x3,float32,Raspberry Pi 4,XNNPACK,4,46
mobilenet_v1_1.0_224,1x224x224x3,uint8,Coral USB Accelerator,edgetpu,,2.4
"""

QUICK = "\n[policy]\ntrials = 2\n"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def shell_lines() -> list[Any]:
    """Every line of every page; those of the pages behind the first two are slow together."""
    found = []
    for page in PAGES:
        marks = () if page.name in ("README.md", "guide.md") else (pytest.mark.slow,)
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        found += [pytest.param(page.name, line, marks=marks) for line in lines if line.strip()]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]) -> Path:
    """A user's working folder: the suite, model and data that the README speaks of, one run."""
    where = tmp_path_factory.mktemp("docs")
    images, labels = split("test")
    np.savez(where / "test.npz", images=images[:100], labels=labels[:100])
    np.savez(where / "train.npz", images=images[100:], labels=labels[100:])
    (where / "model.h5").write_bytes(digits["model"].read_bytes())
    (where / "model.tflite").write_bytes(digits["int8"].read_bytes())
    (where / "labels.txt").write_text("\n".join("0123456789"))
    (where / "gates.toml").write_text('[gates]\nmax_size = "2 MB"\nmax_accuracy_drop = 1\n')
    # Exactly so many trials: on a machine that tests load, precision takes its time.
    (where / "mine.toml").write_text(blocks(ROOT / "README.md", "toml")[0] + QUICK)
    (where / "latencies.csv").write_text(LATENCIES)
    profiled = blocks(ROOT / "README.md", "toml")[0].replace('"local", ', "")
    policy = blocks(ROOT / "docs" / "operators.md", "toml")[0] + "trials = 2\n"
    (where / "profiled.toml").write_text(profiled + policy)
    done = subprocess.run(
        [*harness_command(), "run", "demo", "-d", "pixel-3", "-r", "float32", "-r", "int8"],
        cwd=where, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return where


@pytest.mark.parametrize(("page", "line"), shell_lines())
def test_commands_shown_do_work(page: str, line: str, folder: Path) -> None:
    words = shlex.split(line.replace(".venv/bin/", ""), comments=True)
    if words[0] == "make":
        # The targets' own recipes are what CI runs; here: they exist.
        shown = subprocess.run(
            ["make", "-n", words[1]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert shown.returncode == 0, shown.stderr
        return
    assert words[0] == "harness", f"{page}: nobody tests {line!r}"
    if words[1:3] == ["run", "demo"] and "--dry-run" not in words and "--device" not in words:
        words += ["--device", "pixel-3", "--recipe", "int8"]  # the whole demo has its own test
    done = subprocess.run(
        [*harness_command(), *words[1:]], cwd=folder, capture_output=True, text=True, check=False,
        timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_suites_shown_are_valid(folder: Path) -> None:
    (folder / "guide.toml").write_text(
        next(b for b in blocks(ROOT / "docs" / "guide.md", "toml") if "recipes" in b)
    )
    recipes = blocks(ROOT / "docs" / "quantization.md", "toml")[0]
    (folder / "recipes.toml").write_text(
        (folder / "mine.toml")
        .read_text()
        .replace('calibration = "train.npz"', 'training = "train.npz"')
        .replace('recipes = ["float32", "int8"]\n', recipes)
    )
    (folder / "canary.tflite").write_bytes((folder / "model.tflite").read_bytes())
    for number, block in enumerate(blocks(ROOT / "docs" / "deciding.md", "toml")):
        suite = folder / f"deciding{number}.toml"
        suite.write_text((folder / "mine.toml").read_text() + block)
        loaded = load_suite(suite, known_names())
        assert loaded.gates or any(model.canary for model in loaded.models)
    for name in ("mine.toml", "guide.toml", "recipes.toml"):
        assert load_suite(folder / name, known_names()).models
    assert len(blocks(ROOT / "README.md", "toml")[0].splitlines()) <= 11


def test_devices_shown_are_valid(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that begins with ``# NAME.toml`` is a whole profile, as a user pastes it."""
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path))
    (tmp_path / "bin").mkdir()
    pages = [ROOT / "docs" / "devices.md", *sorted((ROOT / "docs" / "devices").glob("*.md"))]
    shown: set[str] = set()
    for block in [block for page in pages for block in blocks(page, "toml")]:
        for file in re.findall(r'^(?:runtime_library|benchmark_model) = "([^"]+)"', block, re.M):
            (tmp_path / file).touch()
        if found := re.match(r"# ([\w-]+)\.toml", block):
            (tmp_path / f"{found[1]}.toml").write_text(block)
            assert find_device(found[1], TRANSPORTS).name == found[1]
            shown.add(found[1])
        else:
            suite = folder / "devices.toml"
            suite.write_text(blocks(ROOT / "README.md", "toml")[0] + block)
            names = re.findall(r"^\[device\.(\w+)\]", block, re.M)
            assert load_suite(suite, known_names(), devices=names).devices
    assert {"pi", "phone", "phone-on-wifi", "coral", "coral-board"} <= shown


@pytest.mark.slow
def test_python_shown_does_run(folder: Path) -> None:
    pages = ("guide.md", "quantization.md", "operators.md", "deciding.md", "statistics.md")
    for code in [code for page in pages for code in blocks(ROOT / "docs" / page, "python")]:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_columns_settings_and_advisories_are_documented() -> None:
    columns = (ROOT / "docs" / "columns.md").read_text()
    for name in COLUMNS:
        assert f"`{name}`" in columns, name
    guide = (ROOT / "docs" / "guide.md").read_text()
    for name, field in PolicyFile.model_fields.items():
        assert f"`{name} = " in guide, name
        if isinstance(field.default, int):
            assert f"`{name} = {json.dumps(field.default)}`" in guide, name
    for kind in AdvisoryKind:
        assert f"`{kind.value}`" in guide, kind
    devices = (ROOT / "docs" / "devices.md").read_text()
    for name in DeviceFile.model_fields.keys() - {"name", "simulation"}:
        assert f"`{name}`" in devices, name


def test_the_protocol_page_names_what_the_agent_says() -> None:
    text = (ROOT / "device_agents" / "PROTOCOL.md").read_text()
    sources = " ".join(
        path.read_text() for path in sorted((ROOT / "device_agents" / "python").glob("*.py"))
    )
    for kind in set(re.findall(r'AgentFailure\(\s*"([a-z_]+)"', sources)):
        assert f"`{kind}`" in text, kind
    native = " ".join(
        path.read_text() for path in sorted((ROOT / "device_agents" / "native").glob("*.c"))
    )
    for kind in set(re.findall(r'fail\(failure, "([a-z_]+)"', native)):
        assert f"`{kind}`" in text, kind
    for message in set(re.findall(r'\\?"type\\?": ?\\?"([a-z]+)', sources + native)):
        assert f"`{message}`" in text, message
