"""Finding Edge TPUs, and saying why one cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_agents.python import accelerators, delegation, edgetpu
from device_agents.python.failures import AgentFailure
from harness.devices.coral import CoralState, discover
from harness.domain import AdvisoryKind, Policy
from harness.metrics import Observations, advisories
from tests.support import needed
from tests.support.coral import AFTER_FIRMWARE, BEFORE_FIRMWARE, plug_card, plug_usb


def test_what_is_plugged_in_is_found_by_port(tmp_path: Path) -> None:
    plug_usb(tmp_path, "2-10", AFTER_FIRMWARE, 7)
    plug_usb(tmp_path, "2-2.1", BEFORE_FIRMWARE, 12)
    plug_usb(tmp_path, "1-1", ("1d6b", "0002"), 1)  # a hub
    (tmp_path / "sys/bus/usb/devices/2-2.1:1.0").mkdir()  # an interface has no ids
    plug_card(tmp_path, 1)
    found = discover(tmp_path)
    assert [(one.name, one.path, one.node, one.state.value) for one in found] == [
        ("pci:0", "/dev/apex_1", "/dev/apex_1", "ready"),
        ("usb:0", "/sys/bus/usb/devices/2-2.1", "/dev/bus/usb/002/012", "not initialised"),
        ("usb:1", "/sys/bus/usb/devices/2-10", "/dev/bus/usb/002/007", "ready"),
    ]
    assert all(one.usable and not one.fix for one in found)
    # The agent counts in the same way.
    assert [one.path for one in accelerators.seen(str(tmp_path))] == [one.path for one in found]


def test_numbers_stay_when_the_firmware_comes(tmp_path: Path) -> None:
    """libedgetpu itself lists those without firmware first, so its numbers would change."""
    plug_usb(tmp_path, "1-1", AFTER_FIRMWARE, 3)
    plug_usb(tmp_path, "1-2", BEFORE_FIRMWARE, 4)
    assert [one.path[-3:] for one in discover(tmp_path)] == ["1-1", "1-2"]
    listed = [("usb", "/sys/bus/usb/devices/1-2"), ("usb", "/sys/bus/usb/devices/1-1")]
    tpu = edgetpu.EdgeTpu("libedgetpu.so.1", "usb:0")
    assert tpu._number(listed) == "usb:1" and tpu.path == "/sys/bus/usb/devices/1-1"


def test_nothing_is_found_on_a_machine_without(tmp_path: Path) -> None:
    assert discover(tmp_path) == () and accelerators.seen(str(tmp_path)) == []


def test_a_card_without_its_driver(tmp_path: Path) -> None:
    plug_card(tmp_path, 3, driver=False)
    (found,) = discover(tmp_path)
    assert found.state is CoralState.NO_DRIVER and not found.usable
    assert "gasket-dkms" in found.fix
    failure = accelerators.why_not("pci:0", None, "", root=str(tmp_path))
    assert failure.kind == "accelerator_unavailable"
    assert "no driver" in str(failure) and "gasket-dkms" in failure.hint


@pytest.mark.parametrize("device", ["usb:0", "pci:0", ""])
def test_nothing_is_plugged_in(tmp_path: Path, device: str) -> None:
    failure = accelerators.why_not(device, None, "", root=str(tmp_path))
    assert failure.kind == "accelerator_unavailable" and "not plugged in" in str(failure)
    assert "1a6e:089a" in failure.hint and "/dev/apex_0" in failure.hint


def test_another_kind_is_plugged_in(tmp_path: Path) -> None:
    plug_card(tmp_path, 0)
    failure = accelerators.why_not("usb:0", None, "", root=str(tmp_path))
    assert "usb:0 is not plugged in (there is pci:0 (/dev/apex_0))" in str(failure)


def test_a_number_that_there_is_not(tmp_path: Path) -> None:
    first = plug_usb(tmp_path, "1-1", AFTER_FIRMWARE, 3)
    second = plug_usb(tmp_path, "2-1", AFTER_FIRMWARE, 3)
    failure = accelerators.why_not("usb:2", None, "", root=str(tmp_path))
    assert failure.kind == "accelerator_unavailable"
    assert f"there is no usb:2: this device has usb:0 ({first}), usb:1 ({second})" in str(failure)


@pytest.mark.parametrize(("kind", "group"), [("usb", "plugdev"), ("pci", "apex")])
def test_no_permission_names_the_file_and_the_group(tmp_path: Path, kind: str, group: str) -> None:
    if os.geteuid() == 0:
        needed("root may open every device file")
    if kind == "usb":
        plug_usb(tmp_path, "2-1", BEFORE_FIRMWARE, 5, mode=0o444)
    else:
        plug_card(tmp_path, 0, mode=0o000)
    (found,) = discover(tmp_path)
    assert found.state is CoralState.NOT_ALLOWED and not found.usable and group in found.fix
    failure = accelerators.why_not(f"{kind}:0", None, "", root=str(tmp_path))
    assert failure.kind == "accelerator_unavailable" and group in failure.hint
    assert "may not open" in str(failure) and found.node in str(failure)


def test_a_device_file_that_a_container_lacks(tmp_path: Path) -> None:
    plug_usb(tmp_path, "2-1", AFTER_FIRMWARE, 5)
    (tmp_path / "dev/bus/usb/002/005").unlink()
    assert discover(tmp_path)[0].state is CoralState.NOT_ALLOWED
    failure = accelerators.why_not("", None, "", root=str(tmp_path))
    assert "there is no device file" in str(failure) and "container" in failure.hint


def test_who_has_taken_it(tmp_path: Path) -> None:
    """A real process that holds the device file open, found in a real /proc."""
    plug_usb(tmp_path, "2-1", AFTER_FIRMWARE, 5)
    (tmp_path / "proc").symlink_to("/proc")
    node = tmp_path / "dev/bus/usb/002/005"
    code = f"import sys; f = open({str(node)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout and holder.stdin
        assert holder.stdout.readline() == b"open\n"
        failure = accelerators.why_not("usb:0", None, "", root=str(tmp_path))
        holder.stdin.close()
    assert failure.kind == "accelerator_busy"
    assert f"(process {holder.pid})" in str(failure)
    free = accelerators.why_not("usb:0", None, "", root=str(tmp_path))
    assert free.kind == "accelerator_busy" and "it seems" in str(free)


@pytest.mark.parametrize("device", ["usb:", "tpu:0", "usb:100", "usb:-1", "0", 3, "usb:0\n"])
def test_odd_devices_are_refused(device: object) -> None:
    with pytest.raises(AgentFailure) as refused:
        edgetpu.chosen({"accelerator_device": device})
    assert refused.value.kind == "bad_request"


def test_only_googles_pycoral_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pycoral"]:
        monkeypatch.delitem(sys.modules, name)
    assert edgetpu._pycoral_devices() is None
    atlas = tmp_path / "atlas" / "pycoral"  # the client of the Allen Coral Atlas
    atlas.mkdir(parents=True)
    (atlas / "__init__.py").write_text("class ApiClient: ...\n")
    monkeypatch.syspath_prepend(atlas.parent)
    assert edgetpu._pycoral_devices() is None
    monkeypatch.delitem(sys.modules, "pycoral")
    googles = tmp_path / "google" / "pycoral" / "utils"
    googles.mkdir(parents=True)
    (googles.parent / "__init__.py").touch()
    (googles / "__init__.py").touch()
    (googles / "edgetpu.py").write_text(
        "def list_edge_tpus(): return [{'type': 'pci', 'path': '/dev/apex_0'}]\n"
        "def make_interpreter(model, device=None): ...\n"
    )
    monkeypatch.syspath_prepend(googles.parent.parent)
    assert edgetpu._pycoral_devices() == [("pci", "/dev/apex_0")]
    for name in ("pycoral", "pycoral.utils", "pycoral.utils.edgetpu"):
        monkeypatch.delitem(sys.modules, name)


def test_partial_delegation_is_an_advisory() -> None:
    def of(accelerator: str, nodes: int | None) -> list[str]:
        delegated = {"accelerator": accelerator, "nodes": nodes, "total": 9, "partitions": 1}
        seen = Observations(Policy(), 1, accelerator=accelerator, delegated=delegated)
        found = advisories(seen)
        return [item.evidence for item in found if item.kind is AdvisoryKind.PARTIAL_DELEGATION]

    assert of("edgetpu", 1) == ["edgetpu ran 1 of the file's 9 operators, in 1 partition(s)"]
    assert of("edgetpu", 9) == of("edgetpu", None) == of("cpu", 1) == []


def test_delegated_operators_on_the_cpu(shared: Path) -> None:
    """Counted apart from the runtime's words, by cutting the graph at the delegates' outputs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def delegated(name: str, **options: object) -> object:
        path = shared / "models" / "mlperf_tiny" / name
        interpreter = Interpreter(model_path=str(path), num_threads=1, **options)
        interpreter.allocate_tensors()
        return delegation.on_cpu(interpreter)

    assert delegated("ic_resnet8_float.tflite") == {
        "accelerator": "xnnpack", "nodes": 16, "total": 16, "partitions": 1,
    }  # fmt: skip
    # AVERAGE_POOL_2D and SOFTMAX of int8 are not XNNPACK's here.
    assert delegated("ic_resnet8_int8.tflite") == {
        "accelerator": "xnnpack", "nodes": 14, "total": 16, "partitions": 2,
    }  # fmt: skip
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    assert delegated("ic_resnet8_int8.tflite", experimental_op_resolver_type=plain) == {
        "accelerator": "cpu", "nodes": 0, "total": 16, "partitions": 0,
    }  # fmt: skip
    assert delegation.on_cpu(object()) is None
    assert delegation.taken(object(), "x") == (None, None, None)
