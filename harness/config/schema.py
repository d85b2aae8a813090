"""The shape of the TOML files; JSON Schemas are generated from here.

python -m harness.config.schema FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    field_validator,
)

from harness.config.hardware import PredictionFile, SimulationFile
from harness.config.quantities import bytes_of, not_zero
from harness.config.strict import Strict
from harness.domain import Backend, Policy, Task

_DEFAULT = Policy()


class _Strict(Strict, BaseModel):  # BaseModel is named for the linter, which looks no further
    pass


class PreprocessingFile(_Strict):
    """``(sample * scale - mean) / std``; one value, or one per channel."""

    scale: Annotated[float, AfterValidator(not_zero)] = 1.0
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0
    colour: Literal["", "rgb", "bgr", "gray"] = Field(
        default="", description="what the samples' channels are; told to apps"
    )
    layout: Literal["", "nhwc", "nchw"] = Field(
        default="", description="order of the samples' axes; told to apps"
    )
    resize: Literal["", "bilinear", "nearest", "bicubic", "area", "crop", "letterbox"] = Field(
        default="", description="how the samples got their size; told to apps"
    )


class ModelFile(_Strict):
    """A trained model: its file, its dataset, its preprocessing and its labels."""

    file: str = Field(
        description="Keras .h5 or .keras, a SavedModel folder, a .tflite, keras:ARCHITECTURE, "
        "package.module:function, or builtin:NAME"
    )
    dataset: str = Field(description="the name of a [dataset.NAME] table")
    preprocessing: PreprocessingFile = PreprocessingFile()
    labels: str | list[str] = Field(
        default=[], description="class names, or a text file with one per line"
    )
    task: Task = Field(
        default=Task.CLASSIFICATION, description="what outputs are held against: see the guide"
    )
    output: int | None = Field(
        default=None, ge=0, lt=64, description="which output, of a model with several"
    )
    canary: bool = Field(
        default=False,
        description="a file that never changes, run every night: its shifts are the device's own",
    )


class DatasetFile(_Strict):
    """Labelled samples."""

    source: str = Field(description="npz, image_folder, coco, digits or fashion_mnist")
    path: str | None = None
    calibration: str | None = Field(
        default=None,
        description="a file or folder of the same kind, for integer recipes; by default the "
        "training split",
    )
    training: str | None = Field(
        default=None, description="a file or folder of the same kind, for recipes that train"
    )
    samples_key: str = "images"
    labels_key: str = "labels"
    image_size: tuple[int, int] | None = Field(
        default=None, description="[height, width], as in [224, 224]"
    )
    annotations: str | None = Field(default=None, description="coco: the ground truth, JSON")
    letterbox: bool = Field(
        default=False, description="coco: keep an image's proportions and fill the rest"
    )
    crop: bool = Field(
        default=False, description="image_folder: scale, then cut the middle out, as for ImageNet"
    )
    bgr: bool = Field(default=False, description="image_folder: blue first, red last")
    limit: int = Field(
        default=0, ge=0, description="only so many samples, spread evenly; 0 takes all"
    )
    calibration_samples: int = Field(default=200, ge=1)
    training_samples: int = Field(
        default=0, ge=0, description="train on only so many samples, evenly spread (0: all)"
    )


Accelerator = Literal["cpu", "gpu", "npu", "nnapi", "hexagon", "xnnpack", "edgetpu"]


def _of(*transports: str, **settings: Any) -> Any:
    """A setting that these transports alone read, and a device on another one must not have."""
    return Field(default=None, json_schema_extra={"transports": list(transports)}, **settings)


class DeviceFile(_Strict):
    """A device: how to reach it and what it offers."""

    name: str | None = Field(default=None, description="only in a file of its own")
    title: str = ""
    transport: str = Field(description="local, ssh, adb or simulated")
    kind: Literal["real", "emulated", "simulated"] | None = Field(
        default=None, description="by default what the transport implies"
    )
    accelerators: list[Accelerator] = ["cpu"]
    default_backend: str | None = Field(
        default=None, description='what runs models where the suite names no backends: "cpu x4"'
    )
    host: str | None = _of(
        "ssh",
        "adb",
        description="ssh: a name, an alias or user@name; adb: connect directly, without a "
        "server, to an address, or to usb or usb:SERIAL",
    )
    port: int | None = _of(
        "ssh", "adb", ge=1, le=65535, description="default 22 with ssh, 5555 with adb"
    )
    user: str | None = _of("ssh", description="default that of the ssh configuration")
    identity_file: str | None = _of("ssh", description="the private key, such as ~/.ssh/id_ed25519")
    known_hosts: str | None = _of("ssh", description="the file of accepted host keys")
    ssh_config: str | None = _of("ssh", description="in place of ~/.ssh/config")
    python: str | None = Field(default=None, description="the device's Python, default python3")
    runtime: Literal["ai_edge_litert", "tflite_runtime", "tensorflow"] | None = Field(
        default=None, description="Python agent: default the first of these that is installed"
    )
    work_dir: str | None = Field(
        default=None,
        description="the folder on the device that is ours; default ~/.cache/edge-harness, on "
        "Android /data/local/tmp/edge-harness",
    )
    work_dir_mb: int = Field(
        default=2048, ge=1, description="the most that pushed files may take there, oldest go first"
    )
    lease_dir: str | None = Field(
        default=None,
        pattern=r"^/\S{0,200}$",
        description="the folder on the device in which all its users keep whose turn it is; "
        "default /var/tmp, on Android /data/local/tmp",
    )
    simulate_as: str | None = Field(
        default=None,
        description="the simulated device that stands for this one in harness run --simulate; "
        "default the one of its name or title",
    )
    agent: Literal["python", "native"] | None = Field(
        default=None, description="what runs models there; default python, with adb native"
    )
    agent_binary: str | None = Field(
        default=None, description="a native agent built by you; default: built here for the device"
    )
    runtime_library: str | None = Field(
        default=None,
        description="native agent: libLiteRt.so, or a .whl or .aar that holds it, on this machine; "
        "device:/PATH for one that is on the device",
    )
    serial: str | None = _of("adb", description="which device of the server's")
    adb_server: str | None = _of("adb", description="HOST:PORT, default 127.0.0.1:5037")
    adb_key: str | None = _of(
        "adb", description="connected directly: the private key, default that of adb itself"
    )
    benchmark_model: str | None = Field(
        default=None, description="the tool's binary for this device, a path or an https:// URL"
    )
    benchmark_model_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="what the URL must give: 64 digits of 0-9a-f",
    )
    edgetpu: str | None = Field(
        default=None, pattern=r"^(usb|pci)?(:\d{1,2})?$", description="which Edge TPU: usb:0, pci:1"
    )
    edgetpu_library: str | None = Field(
        default=None, description="the delegate on the device, default libedgetpu.so.1"
    )
    power_meter: Annotated[list[str], Field(min_length=1, max_length=100)] | None = _of(
        "local", "ssh", "adb",
        description="a program of this machine, with its arguments, that prints lines "
        "'<seconds> <watts>' of what the device takes",
    )  # fmt: skip
    power_meter_accuracy_percent: float | None = _of(
        "local", "ssh", "adb", gt=0, le=100,
        description="how far its readings may be off, in per cent of a reading",
    )  # fmt: skip
    simulation: SimulationFile | None = None
    prediction: PredictionFile | None = None
    faults: Annotated[list[str], Field(max_length=100)] | None = _of(
        "simulated",
        description='what goes wrong: "disconnect at sample 40 of trial 2", see docs/faults.md',
    )

    @field_validator("default_backend")
    @classmethod
    def _backend(cls, text: str | None) -> str | None:
        if text is not None:
            Backend.parse(text)
        return text


_Measured = Literal["latency", "accuracy", "operators", "scenarios", "sustained", "energy"]


class PolicyFile(_Strict):
    """How to measure; times in seconds."""

    trials: int = _DEFAULT.trials
    precision: float = Field(
        default=_DEFAULT.precision,
        description="further trials until the median latency is known to this share; "
        "0: exactly `trials`",
    )
    max_trials: int = Field(
        default=_DEFAULT.max_trials,
        ge=1,
        description="where `trials` is given and neither this nor `precision` is: exactly `trials`",
    )
    max_job_seconds: float = Field(
        default=_DEFAULT.max_job_seconds, description="no further trial of a job after so long"
    )
    warmup_runs: int = _DEFAULT.warmup_runs
    warmup_seconds: float = _DEFAULT.warmup_seconds
    warmup_max_seconds: float = Field(
        default=_DEFAULT.warmup_max_seconds, description="the longest that steadiness is waited for"
    )
    steady_within: float = Field(
        default=_DEFAULT.steady_within,
        description="the warm-up goes on until it is steady to this share; 0: no test",
    )
    min_runs: int = _DEFAULT.min_runs
    min_seconds: float = _DEFAULT.min_seconds
    max_seconds: float = _DEFAULT.max_seconds
    max_runs: int = _DEFAULT.max_runs
    cooldown_seconds: float = _DEFAULT.cooldown_seconds
    silence_timeout: float = _DEFAULT.silence_timeout
    busy_timeout: float = _DEFAULT.busy_timeout
    retries: int = _DEFAULT.retries
    retry_delay: float = _DEFAULT.retry_delay
    output_checks: int = _DEFAULT.output_checks
    agreement_samples: int = _DEFAULT.agreement_samples
    measure: list[_Measured] = ["latency", "accuracy"]
    operator_runs: int = _DEFAULT.operator_runs
    seed: int = _DEFAULT.seed
    convert_timeout: float = _DEFAULT.convert_timeout
    convert_memory_gb: float = _DEFAULT.convert_memory_gb
    ready_timeout: float = _DEFAULT.ready_timeout
    max_temperature_c: float = _DEFAULT.max_temperature_c
    min_battery_percent: int = _DEFAULT.min_battery_percent
    governor: str = _DEFAULT.governor
    cores: str = _DEFAULT.cores
    give_up_after: int = _DEFAULT.give_up_after
    move_jobs: bool = _DEFAULT.move_jobs
    scenarios: list[str] = Field(
        default=list(_DEFAULT.scenarios),
        description="queries as MLPerf's scenarios send them, where measure has scenarios: "
        "single_stream, multi_stream, offline, server(target_qps=50, latency_bound_ms=20)",
    )
    sustained_minutes: float = _DEFAULT.sustained_minutes
    idle_seconds: float = _DEFAULT.idle_seconds
    energy_seconds: float = _DEFAULT.energy_seconds


Bytes = Annotated[int, BeforeValidator(bytes_of, json_schema_input_type=int | str)]


class GatesFile(_Strict):
    """Bounds that a run must keep: in [gates], or in several [[gates]] that all hold.

    A table is for the cells that its lists name; without lists for all.
    """

    max_latency_ms: float | None = Field(default=None, gt=0, description="of the median")
    max_accuracy_drop: float | None = Field(
        default=None, ge=0, le=100, description="points below the float variant of the same model"
    )
    max_size: Bytes | None = Field(default=None, gt=0, description='bytes, or as in "2 MB"')
    max_memory: Bytes | None = Field(
        default=None, gt=0, description='of the agent at its peak: bytes, or as in "200 MB"'
    )
    min_delegated: float | None = Field(
        default=None, ge=0, le=1, description="share of the operators, 0 to 1"
    )
    no_regression_against: str | None = Field(
        default=None, min_length=1, description="a baseline's name, or a run's id"
    )
    allow: list[Literal["kind", "device", "runtime", "agent", "threads", "governor", "cores"]] = (
        Field(default=[], description="what may differ from it, as in harness compare --allow")
    )
    models: list[str] = Field(default=[], description="only these; all by default")
    recipes: list[str] = Field(default=[], description="only these; all by default")
    devices: list[str] = Field(default=[], description="only these; all by default")
    backends: list[str] = Field(default=[], description="only these; all by default")


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Gates = Annotated[
    list[GatesFile],
    BeforeValidator(_one_or_more, json_schema_input_type=GatesFile | list[GatesFile]),
]


class GatesAlone(_Strict):
    """A file that holds gates and nothing else."""

    gates: Gates = []


class SuiteFile(_Strict):
    """A declared experiment: models x recipes x devices x backends, with a Policy."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    recipes: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    devices: Annotated[list[str], Field(min_length=1)]
    backends: list[str] = []
    model: Annotated[dict[str, ModelFile], Field(min_length=1)]
    dataset: Annotated[dict[str, DatasetFile], Field(min_length=1)]
    device: dict[str, DeviceFile] = {}
    policy: PolicyFile = PolicyFile()
    gates: Gates = []


def transports_of(setting: str) -> tuple[str, ...]:
    """The transports that alone read a setting of a device; empty where all do."""
    extra = DeviceFile.model_fields[setting].json_schema_extra
    of = extra.get("transports") if isinstance(extra, dict) else None
    return tuple(map(str, of)) if isinstance(of, list) else ()


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema."""
    return {
        "suite.schema.json": SuiteFile.model_json_schema(),
        "device.schema.json": DeviceFile.model_json_schema(),
    }


def main() -> None:
    """Write every schema into the folder that is the first argument."""
    folder = Path(sys.argv[1])
    for name, value in schemas().items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()
