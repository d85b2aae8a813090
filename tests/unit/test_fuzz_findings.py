"""What fuzzing has found: the shortest input of each, and what is said to it now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config import sources
from harness.config.devices import device_from
from harness.config.suites import load_suite
from harness.config.toml_source import TomlSource
from harness.datasets import coco
from harness.devices import messages
from harness.devices.benchmark_model.operators import read_operators
from harness.domain import Dataset, Model
from harness.domain.parameters import read_call
from harness.errors import (
    AgentReportedError,
    ConfigError,
    ConversionError,
    DatasetError,
    ModelError,
    ProtocolError,
    UsageError,
)
from harness.models import READERS
from harness.models.inspection import inspect_file
from harness.orchestrate.environment import known_names
from harness.recipes.edgetpu_log import parse_log
from harness.transports import TRANSPORTS, ssh_config

#: Longer than Python turns into an integer, and than any file's name.
DIGITS = "9" * 5000


@pytest.mark.parametrize("kind", [[], {}, [{}], 1.5, None])
def test_the_kind_of_an_error_may_be_anything(kind: Any) -> None:
    found = messages.reported({"type": "error", "kind": kind, "message": "no"}, "d")
    assert type(found) is AgentReportedError and "no" in str(found)


@pytest.mark.parametrize("text", [f"a = {DIGITS}", "a = 2024-02-31", "a = 24:00:00"])
def test_numbers_and_dates_that_python_refuses_are_no_toml(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match="not valid TOML"):
        TomlSource(tmp_path / "x.toml")


@pytest.mark.parametrize("value", [DIGITS, "[" * 5000, "2024-02-31"])
def test_parameters_that_cannot_be_read(value: str) -> None:
    with pytest.raises(UsageError, match="cannot read the parameters"):
        read_call("recipe", f"int8(x=({value})", "int8")
    with pytest.raises(UsageError, match="cannot read the parameters"):
        read_call("recipe", f"int8(x={value}=)", "int8")


def test_names_that_are_too_long_for_a_file(tmp_path: Path) -> None:
    assert sources.model_name(DIGITS) == DIGITS
    with pytest.raises(ConfigError, match="there is no suite"):
        load_suite(DIGITS, known_names())
    (tmp_path / "x.toml").write_text("")
    with pytest.raises(ConfigError, match="there is no file"):
        TomlSource(tmp_path / "x.toml").file((), DIGITS)
    for reader in READERS.values():
        reader.claims(DIGITS, Path(DIGITS))
        reader.claims(f"package.{'x' * 5000}:function", Path("x" * 5000))


@pytest.mark.parametrize("more", [b"", b"\0", b"\1" + bytes(4), b"\2" + bytes(20)])
def test_a_file_that_has_no_more_than_the_head_of_hdf5(more: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + more)
    with pytest.raises(
        ModelError, match=r"is not a TensorFlow Lite file|is a model to be converted"
    ):
        inspect_file(path)
    path = path.rename(tmp_path / "m.h5")
    if len(more) < 6:
        with pytest.raises(ModelError, match="truncated"):
            READERS["keras_h5"].check(Model("m", str(path), ""), path)


@pytest.mark.parametrize(
    "line",
    [f"On-chip memory used for caching model parameters: {DIGITS}KiB", f"CONV_2D {DIGITS} Mapped"],
)
def test_a_compiler_that_counts_beyond_all_numbers(line: str) -> None:
    log = f"Edge TPU Compiler version 16.0\nOperator  Count  Status\nADD 1 Mapped\n{line}\n"
    with pytest.raises(ConversionError, match="not understood"):
        parse_log(log)


def test_a_count_after_a_separator_that_is_white_space() -> None:
    """To ``str.strip`` U+001F is one, to ``int`` it is none."""
    log = "Edge TPU Compiler version 16.0\nNumber of Edge TPU subgraphs:\x1f1\n"
    assert parse_log(log + "Operator  Count  Status\nADD 1 Mapped to Edge TPU\n").subgraphs == 1


def test_a_share_where_a_number_is_to_be() -> None:
    profile = """Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
	[node type]	[first]	[avg ms]	[%]	[cdf%]	[mem KB]	[times called]	[Name]
	CONV_2D	0.1	0.1	100%	100%	0	CALLED	conv:0

Timings (microseconds): count=50 first=9
"""
    assert read_operators(profile.replace("CALLED", "1"), "d")["operators"][0]["calls"] == 50
    for wrong in ("1%", "4.366%"):
        with pytest.raises(ProtocolError, match="an operator that is not understood"):
            read_operators(profile.replace("CALLED", wrong), "d")


@pytest.mark.parametrize("name", [r"x\u0000/y", r"\u0000"])
def test_a_null_character_in_a_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        f'name = "x"\nrecipes = ["as_is"]\ndevices = ["local"]\n[model.m]\nfile = "{name}"\n'
        'dataset = "digits"\n[dataset.digits]\nsource = "digits"\n'
    )
    with pytest.raises(ConfigError, match="there is no file"):
        load_suite(tmp_path / "x.toml", known_names())


@pytest.mark.parametrize(
    "line",
    ["Port NaN", "Port 0", "Port 99999", "ConnectTimeout x", "ServerAliveInterval \u00b2",
     "ServerAliveCountMax NaN"],
)  # fmt: skip
def test_numbers_of_an_ssh_configuration_that_are_none(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # where there is no ssh to read it
    config = tmp_path / "config"
    config.write_text(f"Host board\n  {line}\n")
    with pytest.raises(ConfigError, match=line.split()[0]):
        ssh_config.resolve("board", config=str(config))


def test_times_of_an_ssh_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    config = tmp_path / "config"
    config.write_bytes(
        b"# \xfe\nHost board\n ConnectTimeout 1m30s\n ServerAliveInterval 2M\n"
        b" IdentityFile " + DIGITS.encode()
    )
    found = ssh_config.resolve("board", config=str(config))
    assert (found.connect_timeout, found.alive_interval, found.alive_count) == (90.0, 120.0, 3)


def test_a_zero_byte_in_an_ssh_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    config = tmp_path / "config"
    config.write_bytes(b"Host board\n  UserKnownHostsFile ~/a ~\0\0/b\n")
    with pytest.raises(ConfigError, match="it has a zero byte"):
        ssh_config.resolve("board", config=str(config))


def test_a_png_whose_chunk_says_that_it_has_4_gb(tmp_path: Path) -> None:
    """In a process that has not so much memory."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\5\0\0\0\7\x08\4\0\0\0j\xaeOe"
    data = b'\xff\xff\xff\xffIDATx\x9cc`\xa0"\0\0\0M\0\1 n\xadPK\5\6}\0PK\5\6END\xaeB`\x82'
    (tmp_path / "a.png").write_bytes(head + data)
    program = """
import pathlib, resource, sys
from PIL import Image
from harness.datasets.image_folder import read_image
from harness.errors import DatasetError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    read_image("d", pathlib.Path(sys.argv[1]), lambda size: (4, 6))
except DatasetError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.png")],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "is not a readable image" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["endless", "pipe", "long"])
def test_labels_without_an_end(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    if kind == "long":
        path = tmp_path / "labels.txt"
        with open(path, "wb") as stream:
            stream.truncate(9 << 20)
    with pytest.raises(ModelError, match=r"no plain file|more than 8 MB"):
        sources.source_model("m", labels=path)
    (tmp_path / "m.tflite").touch()
    suite = f"""
name = "x"
recipes = ["as_is"]
devices = ["local"]
[model.m]
file = "m.tflite"
dataset = "digits"
labels = "{path}"
[dataset.digits]
source = "digits"
"""
    (tmp_path / "x.toml").write_text(suite)
    with pytest.raises(ConfigError, match=r"no plain file|more than 8 MB"):
        load_suite(tmp_path / "x.toml", known_names())
    if kind != "long":
        dataset = Dataset("d", "coco", path=tmp_path, annotations=path, image_size=(2, 2))
        with pytest.raises(DatasetError, match="no plain file"):
            coco.load(dataset, "evaluation")


def test_openssh_takes_more_lost_replies_than_16_bits_count(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host board\n ServerAliveCountMax 2147483647\n")
    assert ssh_config.resolve("board", config=str(config)).alive_count == 65535
    config.write_text("Host board\n ServerAliveCountMax 70000\n")
    assert ssh_config.resolve("board", config=str(config)).alive_count == 65535


def test_a_home_of_nobody_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text(
        'name = "it"\ntransport = "ssh"\nhost = "board"\nidentity_file = "~nobody-such/key"\n'
    )
    source = TomlSource(tmp_path / "it.toml")
    with pytest.raises(ConfigError, match=r":4: there is no file .*~nobody-such/key"):
        device_from(source, "it", source.data, (), TRANSPORTS)
    with pytest.raises(UsageError, match=r"there is no file ~nobody-such/it\.tflite"):
        harness.predict("~nobody-such/it.tflite", "pixel-3")
