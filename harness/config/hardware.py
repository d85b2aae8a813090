"""The shape of a ``[prediction]`` table: what a device is made of."""

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
