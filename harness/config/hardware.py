"""The shapes of ``[prediction]`` and ``[simulation]``: what a device is made of, what it does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.config.strict import Strict

#: What a device may have of its own in ``[prediction.fitted]``, each a factor about 1.
FACTORS = ("cpu.float", "cpu.int8", "memory", "gpu.rate", "gpu.invoke", "nnapi.rate",
           "nnapi.invoke", "npu.rate", "npu.invoke")  # fmt: skip

_Name = Annotated[str, Field(min_length=1, max_length=60)]


class ClusterFile(Strict):
    """Cores of one type and clock; ``type`` as in profiles/processors/cores.toml."""

    type: _Name
    count: int = Field(ge=1, le=256)
    ghz: float = Field(ge=0.001, le=10)


class ChipFile(Strict):
    """A GPU, or what is behind NNAPI or another delegate: peak rates in GMAC/s."""

    type: _Name = Field(description="what it is, in words: for the reader")
    float_gmacs: float = Field(ge=0.001, le=1e7, description="16-bit floats on a GPU")
    int8_gmacs: float = Field(ge=0.001, le=1e7)
    memory_gbs: float | None = Field(default=None, ge=0.001, le=1e4)
    link_mbs: float | None = Field(default=None, ge=0.001, le=1e6)


class EdgeTpuFile(Strict):
    """A Coral Edge TPU and how it is attached."""

    mhz: float = Field(ge=1, le=5000, description="250 with libedgetpu1-std, 500 with -max")
    link: Literal["usb2", "usb3", "usb3-pi", "pcie"]
    link_mbs: float = Field(ge=0.001, le=1e5, description="rate of parameters over the link, MB/s")
    cache_mib: float = Field(ge=0, le=1024, description="parameters it keeps on chip")


class PredictionFile(Strict):
    """What a device is made of, to predict latencies from; see docs/predicting.md."""

    names: list[_Name] = Field(
        default=[], max_length=50, description="how tables of latencies call it, in lower case"
    )
    family: _Name | None = Field(
        default=None, description="devices that share the spread of intervals; default its name"
    )
    cores: list[ClusterFile] = Field(min_length=1, max_length=16, description="the fastest first")
    memory_gbs: float = Field(ge=0.001, le=1e4, description="what memory gives, GB/s")
    source: str = Field(description="where these numbers are from")
    gpu: ChipFile | None = None
    nnapi: ChipFile | None = None
    npu: ChipFile | None = None
    edgetpu: EdgeTpuFile | None = None
    fitted: dict[str, Annotated[float, Field(ge=1e-3, le=1e3)]] = Field(
        default={}, description="factors of this device alone; harness calibrate writes them"
    )


class SimulationFile(Strict):
    """Parameters of the cost model and of heat and power; see harness/simulation/roofline.py and
    thermal.py for units. Those that [prediction] says better are not read beside it."""

    float_gmacs: float | None = Field(default=None, ge=1e-6, le=1e7)
    int8_gmacs: float | None = Field(default=None, ge=1e-6, le=1e7)
    int16_gmacs: float | None = Field(default=None, ge=1e-6, le=1e7)
    thread_scaling: float | None = Field(default=None, ge=0, le=1)
    cores: int | None = Field(default=None, ge=1, le=1024)
    bandwidth_gbs: float | None = Field(default=None, ge=1e-6, le=1e4)
    op_overhead_us: float | None = Field(default=None, ge=0, le=1e9)
    invoke_overhead_us: float | None = Field(default=None, ge=0, le=1e9)
    init_ms: float = Field(ge=0, le=1e6)
    init_ms_per_mb: float = Field(ge=0, le=1e6)
    memory_mb: float = Field(gt=0, le=1e7)
    noise_percent: float = Field(ge=0, le=100)
    trial_noise_percent: float = Field(ge=0, le=100)
    edgetpu_mhz: float | None = Field(default=None, ge=1e-6, le=1e5)
    edgetpu_link_mbs: float | None = Field(default=None, ge=1e-6, le=1e5)
    edgetpu_cache_mb: float | None = Field(default=None, ge=0, le=1e5)
    edgetpu_invoke_us: float | None = Field(default=None, ge=0, le=1e9)
    gpu_init_ms: float | None = Field(default=None, ge=0, le=1e6)
    nnapi_init_ms: float | None = Field(default=None, ge=0, le=1e6)
    npu_init_ms: float | None = Field(default=None, ge=0, le=1e6)
    idle_w: float | None = Field(default=None, gt=0, le=1e5)
    load_w: float | None = Field(default=None, gt=0, le=1e5)
    ambient_c: float | None = Field(default=None, ge=-40, le=80)
    thermal_resistance_kw: float | None = Field(default=None, gt=0, le=1e4)
    heat_capacity_jk: float | None = Field(default=None, gt=0, le=1e7)
    throttle_c: float | None = Field(default=None, gt=0, le=150)
    clock_mhz: float | None = Field(default=None, ge=1, le=1e5)
    throttled_mhz: float | None = Field(default=None, ge=1, le=1e5)
    min_mhz: float | None = Field(default=None, ge=1, le=1e5)
    governor: str | None = Field(default=None, pattern="^[a-z_]{1,32}$")
    governors: Annotated[list[str], Field(min_length=1, max_length=20)] | None = None
    gpu_w: float | None = Field(default=None, ge=0, le=1e5)
    nnapi_w: float | None = Field(default=None, ge=0, le=1e5)
    npu_w: float | None = Field(default=None, ge=0, le=1e5)
    edgetpu_w: float | None = Field(default=None, ge=0, le=1e5)
    battery_percent: float | None = Field(default=None, ge=0, le=100)
    battery_wh: float | None = Field(default=None, gt=0, le=1e6)
    charging_w: float | None = Field(default=None, ge=0, le=1e5)
    ram_mb: float | None = Field(default=None, gt=0, le=1e7)
