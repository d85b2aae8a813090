"""What the device's shell scripts print: the store of files, the state, the power meters."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from fuzz.target import Target
from harness.devices import state, store_reply
from harness.devices.energy import battery, meter, pmic, rapl
from harness.errors import HarnessError


def _power(text: str) -> None:
    now = meter.parse_lines(text)
    before = {key: value[:-1] + "0" for key, value in now.items()}
    for watts in (battery.watts, pmic.watts, rapl.watts):
        with contextlib.suppress(HarnessError):
            found = watts(now, before)
            assert found is None or 0 <= found <= meter.MOST_WATTS


def _state(text: str) -> None:
    found = state.parse_state(text)
    json.dumps(found.as_dict(), allow_nan=False)
    assert found.governor is not None
    for wanted in ("big", "little", "0-3", "1,3"):
        found.cores(wanted)


def _run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    readers: tuple[Callable[[], Any], ...] = (
        lambda: _store(data),
        lambda: _state(text),
        lambda: _power(text),
    )
    for read in readers:
        with contextlib.suppress(HarnessError):
            read()


def _store(data: bytes) -> None:
    reply = store_reply.parse(data, "d")
    assert reply.root.startswith("/") and all(len(name) < 200 for name in reply.blobs)


def _seeds() -> Sequence[bytes]:
    name = b"ab" * 32
    return [
        b"welcome\nedge-harness-store 1\nhas %s\nblob %s.tflite 100\npart %s.0123abcd 5\n"
        b"gone %s 7\nfree_kb 1000\nroot /data/local/tmp/x\nend\n" % (name, name, name, name),
        b"cpu.0.online 1\ncpu.0.khz 1500000\ncpu.0.max_khz 1800000\ncpu.0.limit_khz 1800000\n"
        b"cpu.0.capacity 1024\ncpu.0.governor schedutil\ncpu.1.capacity 400\nthermal.0.type cpu-thermal\n"
        b"thermal.0.temp 45000\nthermal.status 0\nthermal.service Temperature{mValue=40.5, mType=0, "
        b"mName=CPU}\npower.0 1\nbattery.temp 300\nbattery.level 80\nbattery.status 2\n"
        b"disk.free_kb 100000\nthrottled throttled=0x50005\nclock 1700000000\n"
        b"stat.before cpu 1 2 3 4 5 6 7 8\nstat.after cpu 2 3 4 9 6 7 8 9\nlibrary x.so 1.2\napex a b\n",
        b"BAT0.type Battery\nBAT0.status Discharging\nBAT0.current_now -250000\n"
        b"BAT0.voltage_now 3900000\nAC.type Mains\nAC.online 0\nadc VDD_CORE_A current(7)=1.2310A\n"
        b"adc VDD_CORE_V volt(15)=0.8765V\nintel-rapl:0.name package-0\n"
        b"intel-rapl:0.energy_uj 12345\nintel-rapl:0.max_energy_range_uj 99999\nuptime 12.5 3\n",
    ]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    tokens=(
        b"cpu.",
        b"thermal.",
        b"blob ",
        b"part ",
        b"gone ",
        b"root /",
        b"\nend\n",
        b"\r",
        b"\x0b",
        b"\x1c",
        b"\xc2\x85",
        b"uptime nan",
        b"\xd9\xa3",
        b"\xc2\xb2",
    ),
)
