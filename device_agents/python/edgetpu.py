"""Coral's Edge TPU: its delegate, which one of several, and why it cannot be had.

``libedgetpu`` is loaded as an external delegate by whatever runtime there is. Its plug-in takes
one option that matters here, ``device``: ``usb:N`` and ``pci:N`` count in the order of
``edgetpu_list_devices`` (github.com/google-coral/libedgetpu, tflite/public/edgetpu_c.h). That
order changes when an accelerator gets its firmware, so a number here counts the ports instead.
"""

import ctypes
import mmap
import os
import re

from device_agents.python import accelerators
from device_agents.python.delegation import taken
from device_agents.python.failures import AgentFailure

#: What the Edge TPU compiler leaves of the operators that it mapped.
COMPILED = "edgetpu-custom-op"

LIBRARY = "libedgetpu.so.1"

_DEVICE = re.compile(r"(usb|pci)?(?::(\d{1,2}))?\Z")

#: The custom code in a FlatBuffer: its length, its text, its end.
_CODE = b"\x11\0\0\0edgetpu-custom-op\0"

_PACKAGE = (
    "on the device, from Coral's own repository (coral.ai/software): sudo apt-get install "
    "libedgetpu1-std; or give another library as edgetpu_library of the device's profile"
)
_VERSIONS = (
    "install a libedgetpu that was built for this runtime's TensorFlow Lite, or the runtime that "
    "belongs to this libedgetpu (Coral's 16.0: tflite-runtime 2.5); a model compiled for a newer "
    "libedgetpu is compiled again with edgetpu_compiler --min_runtime_version"
)


def chosen(request):
    """The ``EdgeTpu`` that a request asks for; raises ``AgentFailure`` (``bad_request``)."""
    device = request.get("accelerator_device", "")
    library = request.get("edgetpu_library", LIBRARY)
    if not isinstance(library, str) or not isinstance(device, str) or not _DEVICE.match(device):
        raise AgentFailure(
            "bad_request",
            "load",
            "accelerator_device %r or edgetpu_library %r is wrong" % (device, library),
            "write usb:0, pci:1, usb, pci or nothing",
        )
    return EdgeTpu(os.path.expanduser(library or LIBRARY), device)


def is_compiled(path):
    """Whether the file names the operator that the Edge TPU compiler makes."""
    with open(path, "rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(_CODE) >= 0
        except ValueError:  # an empty file
            return False


class EdgeTpu:
    """One accelerator through its delegate; ``path`` and ``version`` once it was opened."""

    def __init__(self, library, device):
        self.library = library
        self.device = device
        self.path = None
        self.version = None

    def delegate(self, load_delegate, with_pycoral):
        """The loaded delegate.

        Raises ``AgentFailure``: ``accelerator_unavailable`` or ``accelerator_busy``.
        """
        self._load()
        listed = self._listed(with_pycoral)
        number = self._number(listed)
        options = {} if number is None else {"device": number}
        try:
            return load_delegate(self.library, options)
        except ValueError as error:  # the plug-in gave none, mostly without a word
            text = str(error).strip().split("\n", 1)
            said = text[1].strip() if len(text) > 1 else ""
            raise accelerators.why_not(self.device, self.path, said, listed) from None
        except (OSError, AttributeError) as error:
            raise self._misfit("%s is no delegate: %s" % (self.library, error)) from None

    def failure(self, runtime, error):
        """What it means that a graph with this delegate cannot be prepared."""
        text = " ".join(str(error).split())
        if "unresolved custom op: " + COMPILED in text:
            return not_run("%s did not take the operator %s" % (self.library, COMPILED))
        if re.search("EdgeTpu|edgetpu|Edge TPU|delegate|requires runtime version", text):
            return self._misfit(
                "%s%s and %s %s do not fit together: %s"
                % (
                    self.library,
                    " (%s)" % self.version if self.version else "",
                    runtime.name,
                    runtime.version,
                    text,
                )
            )
        return None

    def facts(self, interpreter):
        """``delegated`` of PROTOCOL.md; raises ``AgentFailure`` where it does not run the model."""
        total, nodes, partitions = taken(interpreter, COMPILED)
        if nodes == 0:
            raise not_run("the delegate took none of the graph's %s operators" % total)
        return {
            "accelerator": "edgetpu",
            "nodes": nodes,
            "total": total,
            "partitions": partitions,
            "device": self.path,
            "library": self.version,
        }

    @staticmethod
    def _misfit(message):
        return AgentFailure("accelerator_unavailable", "load", message, _VERSIONS)

    def _load(self):
        """Load the library, apart from the runtime, for what it says of itself."""
        try:
            library = ctypes.CDLL(self.library)
        except OSError as error:
            raise _cannot_load(self.library, str(error)) from None
        try:
            library.edgetpu_version.restype = ctypes.c_char_p
            self.version = library.edgetpu_version().decode("utf-8", "replace")[:200]
        except (AttributeError, ValueError):
            pass

    def _listed(self, with_pycoral):
        """(kind, path) of every accelerator that the library sees; ``None`` where it cannot say.

        PyCoral drives tflite_runtime only, and the library of this name only.
        """
        listed = _pycoral_devices() if with_pycoral and self.library == LIBRARY else None
        if listed is not None:
            return listed
        try:
            return _list_devices(ctypes.CDLL(self.library))
        except (AttributeError, OSError):
            return None

    def _number(self, listed):
        """The plug-in's word for the accelerator at the chosen port; sets ``path``."""
        kind, index = _DEVICE.match(self.device).groups()
        if listed is None:
            return self.device or None
        wanted = sorted(
            (found for found in listed if kind in (None, found[0])), key=accelerators.port_order
        )
        if index is None and (len(wanted) > 1 or not wanted):
            return self.device or None
        place = int(index or 0)
        if place >= len(wanted):
            raise accelerators.why_not(self.device, None, "", listed)
        self.path = wanted[place][1]
        same = [found for found in listed if found[0] == wanted[place][0]]
        return "%s:%d" % (wanted[place][0], same.index(wanted[place]))


def not_run(message):
    """The error for a model that would run on the CPU under the name ``edgetpu``."""
    return AgentFailure(
        "unsupported_accelerator",
        "load",
        message + ", so it would run on the CPU",
        "compile it for the Edge TPU: the recipe edgetpu, or edgetpu_compiler -s MODEL.tflite on "
        "x86-64 Linux; or choose a cpu backend",
    )


def _cannot_load(library, text):
    """Why the dynamic loader refused: not there, a part of it, another machine's or release's."""
    missing = re.match(r"(\S+): cannot open shared object file: (.*)", text)
    if missing and missing.group(1).rpartition("/")[2] == library.rpartition("/")[2]:
        return AgentFailure(
            "accelerator_unavailable",
            "load",
            "the Edge TPU's library is not installed: %s: %s" % (library, missing.group(2)),
            _PACKAGE,
        )
    if missing:
        return AgentFailure(
            "accelerator_unavailable",
            "load",
            "%s needs %s, which is not there" % (library, missing.group(1)),
            "on the device: sudo apt-get install libusb-1.0-0 libc++1, or the package that holds "
            + missing.group(1),
        )
    return AgentFailure(
        "accelerator_unavailable",
        "load",
        "%s cannot be loaded here: %s" % (library, text),
        "install the build for this processor and this release of the system, or give another "
        "library as edgetpu_library of the device's profile",
    )


def _pycoral_devices():
    """What PyCoral lists; ``None`` without it.

    A package of that name on the Python package index is somebody else's: it has no
    ``pycoral.utils.edgetpu``.
    """
    try:
        from pycoral.utils.edgetpu import list_edge_tpus, make_interpreter

        del make_interpreter
        return [(str(found["type"]), str(found["path"])) for found in list_edge_tpus()]
    except Exception:  # another package, a broken one, another release
        return None


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]


def _list_devices(library):
    """``edgetpu_list_devices`` of edgetpu_c.h: type 0 is PCI, 1 is USB."""
    library.edgetpu_list_devices.restype = ctypes.POINTER(_Device)
    library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
    library.edgetpu_free_devices.argtypes = [ctypes.POINTER(_Device)]
    count = ctypes.c_size_t(0)
    found = library.edgetpu_list_devices(ctypes.byref(count))
    if not found:
        return []
    devices = [
        ({0: "pci", 1: "usb"}.get(found[index].type, "?"), os.fsdecode(found[index].path))
        for index in range(min(count.value, 64))
    ]
    library.edgetpu_free_devices(found)
    return devices
