"""The files of an emulated Android: what is at its root, in ``/system`` and in ``/sys``.

Commands are those that Android's toybox has, by links to this machine's programs, and a few
small scripts. The processors are this machine's, with the frequencies of the phone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from harness.emulation.android.phone import (
    Phone,
    battery,
    class_files,
    clusters,
    frequency_files,
    properties,
    thermal_service,
)

#: Commands of Android's toybox and toolbox that are taken from this machine.
TOOLS = (
    "awk base64 basename bunzip2 bzcat bzip2 cat chgrp chmod chown chrt cksum clear cmp comm cp "
    "cpio cut date dd df diff dirname dmesg du echo egrep env expand expr fallocate false fgrep "
    "file find flock fold free fsync getconf grep groups gunzip gzip head hostname iconv id "
    "ionice kill killall link ln logname ls lsof md5sum mkdir mkfifo mknod mktemp more mount "
    "mountpoint mv nice nl nohup nproc od paste patch pgrep pidof pkill pmap printenv printf ps "
    "pwd readelf readlink realpath renice rev rm rmdir sed seq setsid sh sha1sum sha224sum "
    "sha256sum sha384sum sha512sum sleep sort split stat strings stty sync sysctl tac tail tar "
    "taskset tee test time timeout top touch tr true truncate tty ulimit umount uname uniq "
    "unlink unzip uptime vmstat watch wc which whoami xargs xxd yes zcat"
)

#: Where the state of the phone is found on it.
STATE = "/system/emulated"

_CPU = "devices/system/cpu"

_SCRIPTS = {
    "getprop": f"""
if [ $# -eq 0 ]; then
  sed 's/^\\([^=]*\\)=\\(.*\\)$/[\\1]: [\\2]/' {STATE}/properties
  exit
fi
while IFS= read -r line; do
  if [ "${{line%%=*}}" = "$1" ]; then printf '%s\\n' "${{line#*=}}"; exit; fi
done <{STATE}/properties
printf '%s\\n' "$2"
""",
    "setprop": """
echo "Failed to set property '$1' to '$2'." >&2
exit 1
""",
    "dumpsys": f"""
if [ "$1" = -l ]; then echo 'Currently running services:'; ls {STATE}/dumpsys; exit; fi
case "$1" in
  ''|*/*) ;;
  *) if [ -f {STATE}/dumpsys/"$1" ]; then cat {STATE}/dumpsys/"$1"; exit; fi ;;
esac
echo "Can't find service: $1" >&2
""",
    "cmd": """
echo "cmd: Can't find service: $1" >&2
exit 20
""",
    "settings": 'case "$1" in get) echo null ;; esac\n',
    "svc": "exit 0\n",
    "input": "exit 0\n",
    "am": """
echo "am: this device runs no apps" >&2
exit 1
""",
    "pm": """
echo "pm: this device runs no apps" >&2
exit 1
""",
    "logcat": "exit 0\n",
    "getenforce": "echo Enforcing\n",
    "reboot": "kill -USR1 1\nsleep 10\n",
}

_USERS = """root:x:0:0:root:/:/system/bin/sh
shell:x:2000:2000:shell:/:/system/bin/sh
nobody:x:65534:65534:nobody:/:/system/bin/sh
"""

_GROUPS = "root:x:0:\nshell:x:2000:\nnogroup:x:65534:\n"


class Image:
    """The folder of a phone and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.data = folder / "data"
        self.sys = folder / "sys"
        self.state = folder / "state"

    def build(self, phone: Phone) -> None:
        """Make all of it anew, but for the data, which stay."""
        for path in (self.root, self.sys, self.state):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.data / "local" / "tmp", self.data / "media" / "0"):
            path.mkdir(parents=True, exist_ok=True)
        self._build_root()
        self._build_processors(phone)
        self.update(phone)

    # -- the root -------------------------------------------------------------------------

    def _build_root(self) -> None:
        self.root.mkdir()
        for name in ("data", "dev", "proc", "sys", "usr", "system/bin", "system/etc", "vendor",
                     "system/emulated", "mnt", "product", "storage/emulated"):  # fmt: skip
            (self.root / name).mkdir(parents=True, exist_ok=True)
        links = {"bin": "system/bin", "etc": "system/etc", "sdcard": "data/media/0",
                 "storage/emulated/0": "/data/media/0"}  # fmt: skip
        for name in host_libraries():
            source = Path("/", name)
            if source.is_symlink():
                links[name] = str(source.readlink()).lstrip("/")
            else:
                (self.root / name).mkdir()
        for name, target in links.items():
            (self.root / name).symlink_to(target)
        binaries = self.root / "system" / "bin"
        for tool in TOOLS.split():
            if (found := shutil.which(tool, path="/usr/bin:/bin:/usr/sbin:/sbin")) is not None:
                (binaries / tool).symlink_to(os.path.realpath(found))
        for name, text in _SCRIPTS.items():
            (binaries / name).write_text(f"#!/system/bin/sh\n{text.lstrip()}")
            (binaries / name).chmod(0o755)
        etc = self.root / "system" / "etc"
        (etc / "passwd").write_text(_USERS)
        (etc / "group").write_text(_GROUPS)
        with contextlib.suppress(OSError):
            shutil.copyfile("/etc/ld.so.cache", etc / "ld.so.cache")

    # -- /sys -----------------------------------------------------------------------------

    def _build_processors(self, phone: Phone) -> None:
        target = self.sys / _CPU
        target.mkdir(parents=True)
        source = Path("/sys", _CPU)
        for name in ("possible", "present", "online", "offline", "isolated", "kernel_max"):
            _copy(source / name, target / name)
        numbers = sorted(
            int(path.name[3:]) for path in source.glob("cpu[0-9]*") if path.name[3:].isdigit()
        )
        for number in numbers:
            _copy_tree(source / f"cpu{number}" / "topology", target / f"cpu{number}" / "topology")
            _copy_tree(source / f"cpu{number}" / "cache", target / f"cpu{number}" / "cache")
        for cores in clusters(len(numbers)):
            policy = target / "cpufreq" / f"policy{cores[0]}"
            policy.mkdir(parents=True)
            (policy / "scaling_governor").write_text(phone.governor + "\n")
            for core in cores:
                link = target / f"cpu{core}" / "cpufreq"
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(f"../cpufreq/policy{cores[0]}")

    def governors(self) -> list[Path]:
        """The files that hold a governor; the only ones of ``/sys`` that may be writable."""
        return sorted((self.sys / _CPU / "cpufreq").glob("policy*/scaling_governor"))

    # -- what changes ---------------------------------------------------------------------

    def update(self, phone: Phone, *, governor: bool = True) -> None:
        """Write what the phone says of itself; ``governor`` also sets that one."""
        cpus = len(list((self.sys / _CPU).glob("cpu[0-9]*")))
        for name, text in class_files(phone).items():
            _write(self.sys / "class" / name, text)
        for name, text in frequency_files(phone, cpus).items():
            _write(self.sys / _CPU / "cpufreq" / name, text)
        for path in self.governors():
            # Written in place: the phone has this very file.
            path.chmod(0o644)
            if governor:
                path.write_text(phone.governor + "\n")
            path.chmod(0o644 if phone.governor_writable else 0o444)
        lines = [f"{name}={' '.join(text.split())}" for name, text in properties(phone).items()]
        _write(self.state / "properties", "\n".join(sorted(lines)) + "\n")
        _write(self.state / "dumpsys" / "battery", battery(phone))
        _write(self.state / "dumpsys" / "thermalservice", thermal_service(phone))


def host_libraries() -> list[str]:
    """Folders at this machine's root that programs need: links into ``/usr``, or real ones."""
    return [name for name in ("lib", "lib32", "lib64", "libx32") if os.path.lexists(f"/{name}")]


def _write(path: Path, text: str) -> None:
    """Replace a file whole, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def _copy(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        target.write_bytes(source.read_bytes())


def _copy_tree(source: Path, target: Path) -> None:
    """Copy what can be read of a small tree of attributes."""
    for folder, _, names in os.walk(source):
        there = target / os.path.relpath(folder, source)
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy(Path(folder, name), there / name)
