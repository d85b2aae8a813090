"""A device's TOML file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from fuzz.guard import ROOT
from fuzz.places import contents, folder, written
from fuzz.target import Target
from harness.config.devices import device_from
from harness.config.toml_source import TomlSource
from harness.transports import TRANSPORTS


@cache
def _ready() -> None:
    for name in ("key", "agent", "tool", "lib.so"):
        (folder() / name).write_bytes(b"x")


def _run(data: bytes) -> None:
    _ready()
    path = written("thing.toml", data)
    source = TomlSource(path)
    device = device_from(source, "thing", source.data, (), tuple(TRANSPORTS))
    assert device.name == "thing" and device.default_backend.accelerator in device.accelerators
    # What a transport does of its settings before it connects.
    transport = TRANSPORTS[device.transport](device)
    assert transport.work_dir and transport.python and isinstance(transport.runs_on_host, bool)


def _seeds() -> Sequence[bytes]:
    own = [
        b"""name = "thing"\ntitle = "A thing"\ntransport = "ssh"\nhost = "me@board"\nport = 22
user = "me"\nidentity_file = "key"\npython = "python3"\nwork_dir = "/tmp/x"\nwork_dir_mb = 100
accelerators = ["cpu", "gpu"]\ndefault_backend = "cpu x4"\nagent = "native"\nagent_binary = "agent"
runtime_library = "lib.so"\nbenchmark_model = "tool"\n""",
        b"""transport = "adb"\nserial = "127.0.0.1:5555"\nadb_server = "localhost:5037"
accelerators = ["cpu", "nnapi"]\nbenchmark_model = "https://x/y"\nbenchmark_model_sha256 = "%s"
default_backend = "nnapi(accelerator=qti-dsp)"\n"""
        % (b"0" * 64),
        b"""transport = "adb"\nhost = "10.0.0.1"\nport = 5555\nadb_key = "key"\nkind = "emulated"
accelerators = ["cpu"]\npower_meter = "exec:./meter"\npower_meter_accuracy_percent = 1.0\n""",
    ]
    shipped = contents(sorted((ROOT / "profiles" / "devices").glob("*.toml")))
    return [*own, *(data.replace(b"name = ", b"# ") for data in shipped)]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    tokens=(
        b"simulation",
        b"[simulation]",
        b"cores = ",
        b'"simulated"',
        b'"local"',
        b'"adb"',
        b'"ssh"',
        b"nan",
        b"inf",
        b"-inf",
        b"1e400",
        b"true",
        b'"""',
        b"[[",
        b"device:",
        b"https://",
    ),
)
