"""Linux runs the programs of arm64 by QEMU: the registration, private where that is possible.

From Linux 6.7 on, each user namespace may have a registration of its own, of which the machine
sees nothing; before, the machine's own one is used (flag F: it works in other roots too). See
the kernel's Documentation/admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.emulation import linux

#: An ELF file for AArch64, an executable or a shared object, of any OS ABI.
_MAGIC = (
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
)
_HOST = Path("/proc/sys/fs/binfmt_misc")
_PT_INTERP = 3


def find_qemu() -> str | None:
    """QEMU for programs of arm64, statically linked: the other root has no libraries for it."""
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        found = shutil.which(name)
        if found is not None and _is_static(Path(found)):
            return found
    return None


def _is_static(path: Path) -> bool:
    """Whether an ELF file of 64 bits, little end first, asks for no interpreter."""
    with open(path, "rb") as stream:
        head = stream.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return False
        offset = int.from_bytes(head[32:40], "little")
        size = int.from_bytes(head[54:56], "little")
        stream.seek(offset)
        table = stream.read(size * int.from_bytes(head[56:58], "little"))
    kinds = [int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), size)]
    return _PT_INTERP not in kinds


def register(place: Path, qemu: str) -> None:
    """Mount a private table at ``place`` and register QEMU; ``OSError`` before Linux 6.7."""
    linux.mount("binfmt_misc", str(place), "binfmt_misc")
    # P: argv[0] as the caller gave it. F: opened now, so that it is found in any root.
    (place / "register").write_text(f":qemu-aarch64:M::{_MAGIC}:{qemu}:PF")


def registered() -> bool:
    """Whether this machine itself runs arm64 programs, in other roots too."""
    for entry in _HOST.glob("*") if _HOST.is_dir() else ():
        if entry.name in ("register", "status"):
            continue
        words = dict(line.split(" ", 1) for line in entry.read_text().splitlines() if " " in line)
        magic = words.get("magic", "")
        if magic.startswith("7f454c460201") and magic[36:40] == "b700":
            return "F" in words.get("flags:", "") and entry.read_text().startswith("enabled")
    return False
