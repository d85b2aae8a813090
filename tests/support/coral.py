"""Edge TPUs that are not there: a library in the place of libedgetpu, and trees like sysfs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support import needed

BEFORE_FIRMWARE, AFTER_FIRMWARE = ("1a6e", "089a"), ("18d1", "9302")


def fake_library(folder: Path) -> Path:
    """``fake_edgetpu.c`` as a shared library; see there for what it listens to."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        needed("there is no C compiler for the library in the place of libedgetpu")
    library = folder / "libedgetpu_fake.so"
    source = Path(__file__).with_name("fake_edgetpu.c")
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, source], check=True
    )
    return library


def plug_usb(root: Path, port: str, ids: tuple[str, str], number: int, *, mode: int = 0o664) -> str:
    """An accelerator on USB, with its device file; returns its path in sysfs."""
    folder = root / "sys/bus/usb/devices" / port
    folder.mkdir(parents=True)
    bus = port.partition("-")[0]
    for name, value in zip(
        ("idVendor", "idProduct", "busnum", "devnum"), (*ids, bus, str(number)), strict=True
    ):
        (folder / name).write_text(value + "\n")
    node = root / "dev/bus/usb" / bus.zfill(3) / str(number).zfill(3)
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    node.chmod(mode)
    return f"/sys/bus/usb/devices/{port}"


def plug_card(root: Path, number: int, *, driver: bool = True, mode: int = 0o660) -> None:
    """An accelerator on PCIe, with the driver's device file or without one."""
    folder = root / "sys/bus/pci/devices" / f"0000:0{number}:00.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x1ac1\n")
    (folder / "device").write_text("0x089a\n")
    (root / "dev").mkdir(exist_ok=True)
    if driver:
        (root / "dev" / f"apex_{number}").touch()
        (root / "dev" / f"apex_{number}").chmod(mode)


def fake_output(sample: bytes, size: int) -> bytes:
    """What the library computes of one input: see ``invoke`` in ``fake_edgetpu.c``."""
    seed, mask = 14695981039346656037, (1 << 64) - 1
    for byte in sample:
        seed = (seed ^ byte) * 1099511628211 & mask
    made = bytearray()
    for _ in range(size):
        seed = (seed * 6364136223846793005 + 1442695040888963407) & mask
        made.append(seed >> 56)
    return bytes(made)
