"""Short texts of the command line and of profiles, each under every grammar that there is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from fuzz.target import Target
from harness.config import quantities, sources
from harness.domain import Backend
from harness.domain.fault import PLACES, Fault, parse_fault
from harness.domain.scenario import Scenario
from harness.errors import HarnessError
from harness.recipes import parse_recipe
from harness.transports.adb_devices import tcp_address
from harness.transports.adb_server import server_address


def _recipe(text: str) -> None:
    chosen = parse_recipe(text)
    assert parse_recipe(chosen.text).values == chosen.values
    assert parse_recipe(chosen.identity).values == chosen.values


def _backend(text: str) -> None:
    # Its mistakes are told as those of the file or the option that holds it.
    with contextlib.suppress(ValueError):
        backend = Backend.parse(text)
        # Threads of an accelerator that has none are not written.
        assert str(Backend.parse(str(backend))) == str(backend)


def _scenario(text: str) -> None:
    scenario = Scenario.parse(text)
    assert Scenario.parse(scenario.text) == scenario


def _fault(text: str) -> None:
    found = parse_fault(text)
    assert parse_fault(text) == found
    if isinstance(found, Fault):
        assert found.place in PLACES[found.kind]
        assert all(
            0 <= number <= 1_000_000_000
            for number in (found.number, found.sample, found.byte, found.times)
        )
        # However it is spaced.
        assert parse_fault(" ".join(text.split())) == found
    else:
        assert 0 <= found.rate <= 1 and found.seed >= 0


def _bytes(text: str) -> None:
    with contextlib.suppress(ValueError):
        quantities.bytes_of(text)


_READERS: tuple[Callable[[str], Any], ...] = (
    _recipe,
    _backend,
    _scenario,
    _fault,
    _bytes,
    sources.image_size,
    sources.model_name,
    lambda text: sources.preprocessing(1.0, text, text),
    tcp_address,
    server_address,
)


def _run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in _READERS:
        with contextlib.suppress(HarnessError):
            read(text)


def _seeds() -> Sequence[bytes]:
    return [
        b"int8",
        b"int8(calibration=100, per_channel=false)",
        b'int8_selective(skip=["a", "b"])',
        b"pruned_int8(sparsity=0.5)",
        b"qat_int8(epochs=2, learning_rate=1e-3)",
        b"float16()",
        b"cpu x4",
        b"edgetpu",
        b"nnapi(accelerator=qti-dsp, allow_fp16=true)",
        b"cpu x2 (runner=benchmark_model)",
        b"gpu(experimental_enable_quant=false)",
        b"server(target_qps=50, latency_bound_ms=20)",
        b"multi_stream(samples_per_query=8)",
        b"offline(min_queries=100, loadgen=true)",
        b"disconnect at sample 40 of trial 2",
        b"slow link rate=1e6",
        b"reboot connects=2 at byte 1000 of push 1 once",
        b"out of memory at load of accuracy 3 times",
        b"clock jump seconds=-2.5 at scenarios always",
        b"low battery percent=5, at connect",
        b"random rate=0.1 seed=7",
        b"224x224",
        b"224",
        b"0.485,0.456,0.406",
        b"tcp:127.0.0.1:5037",
        b"localfilesystem:/tmp/x",
        b"[::1]:5555",
        b"192.168.0.1:5555",
        b"300 KB",
        b"1.5 MiB",
        b"keras:mobilenet_v2(weights=none)",
    ]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    max_bytes=2048,
    tokens=(
        b"(",
        b")",
        b"=",
        b",",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b"\\",
        b" x",
        b"true",
        b"nan",
        b"inf",
        b"calibration=",
        b"runner=",
        b"per_channel=",
        b" at ",
        b" of ",
        b" times",
        b"sample ",
        b"trial ",
        b"crash",
        b"rate=",
        b"1e400",
        b"\n",
        b"#",
        b"\x7f",
        b"\xd9\xa3",
    ),
)
