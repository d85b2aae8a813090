"""Finding and driving a TensorFlow Lite runtime: LiteRT, tflite_runtime or TensorFlow."""

import os
import re
import sys

from device_agents.python import delegation, edgetpu
from device_agents.python.failures import AgentFailure
from device_agents.python.system import import_numpy

#: In order of preference: module that holds Interpreter, distribution that names the version.
RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter", ("ai-edge-litert",)),
    ("tflite_runtime", "tflite_runtime.interpreter", ("tflite-runtime",)),
    ("tensorflow", "tensorflow", ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64")),
)


class Runtime:
    """One runtime's Interpreter class and its loader of delegates, by name and version."""

    #: Interpreters do not give their profiler out to Python; see ``operators.py``.
    profiler = None

    def __init__(self, name, version, interpreter_class, load_delegate=None):
        self.name = name
        self.version = version
        self._interpreter_class = interpreter_class
        self._load_delegate = load_delegate
        self._edgetpu = None

    def interpreter(self, path, threads, accelerator, purpose, request):
        """An Interpreter over the model at ``path``, tensors not yet allocated.

        ``purpose`` is ``latency``, ``sweep`` or ``operators``; a simulated runtime needs to know.
        """
        del purpose
        if accelerator == "cpu":
            return self._interpreter_class(model_path=path, num_threads=threads)
        if accelerator != "edgetpu" or self._load_delegate is None:
            raise AgentFailure(
                "unsupported_accelerator",
                "load",
                "this agent cannot drive %r with %s" % (accelerator, self.name),
                "use a cpu backend on this device",
            )
        chosen = edgetpu.chosen(request)
        if not edgetpu.is_compiled(path):
            raise edgetpu.not_run("the model is not compiled for the Edge TPU")
        delegate = chosen.delegate(self._load_delegate, self.name == "tflite_runtime")
        self._edgetpu = chosen
        return self._interpreter_class(
            model_path=path, num_threads=threads, experimental_delegates=[delegate]
        )

    def delegated(self, interpreter):
        """``delegated`` of PROTOCOL.md for an Interpreter with allocated tensors."""
        if self._edgetpu is not None:
            return self._edgetpu.facts(interpreter)
        return delegation.on_cpu(interpreter)

    def failure(self, error):
        """The ``AgentFailure`` for what an accelerator raised; ``None`` where it is none of its."""
        return self._edgetpu and self._edgetpu.failure(self, error)


def find_runtime(wanted=None):
    """The wanted runtime, or the first that can be imported.

    Raises ``AgentFailure`` (``no_runtime``, ``numpy_mismatch``) with what to install.
    """
    numpy = import_numpy()
    known = [name for name, _, _ in RUNTIMES]
    if wanted is not None and wanted not in known:
        raise AgentFailure(
            "no_runtime", "start", "unknown runtime %r" % wanted, "one of: " + ", ".join(known)
        )
    tried = []
    for name, module_name, distributions in RUNTIMES:
        if wanted is not None and name != wanted:
            continue
        version = _version(distributions)
        if name == "tflite_runtime" and version and int(numpy.__version__.split(".")[0]) >= 2:
            tried.append(
                AgentFailure(
                    "numpy_mismatch",
                    "start",
                    "tflite-runtime %s works with NumPy 1 only, and this device has NumPy %s"
                    % (version, numpy.__version__),
                    "on the device: %s -m pip install 'numpy<2', or ai-edge-litert instead"
                    % (sys.executable or "python3"),
                )
            )
            continue
        try:
            return Runtime(name, version or "unknown", *_entry_points(module_name))
        except Exception as error:  # a broken wheel raises anything: ImportError, OSError, ...
            if version or not isinstance(error, ImportError):
                tried.append(
                    AgentFailure(
                        "no_runtime",
                        "start",
                        "%s %s is installed but cannot be imported: %s" % (name, version, error),
                        _mend(name, str(error)),
                    )
                )
    if tried:
        raise tried[0]
    python = sys.executable or "python3"
    usual = "ai_edge_litert" if sys.version_info >= (3, 10) else "tflite_runtime"
    package = {name: names[0] for name, _, names in RUNTIMES}[wanted or usual]
    with_it = " 'numpy<2'" if package == "tflite-runtime" else ""
    install = "on the device: %s -m pip install %s%s" % (python, package, with_it)
    raise AgentFailure(
        "no_runtime",
        "start",
        "no %s for %s on this device" % (wanted or "TensorFlow Lite runtime", python),
        install + ("; or leave the choice of a runtime to the agent" if wanted else ""),
    )


def _entry_points(module_name):
    """The Interpreter class, and the loader of delegates where there is one."""
    if module_name == "tensorflow":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow

        return tensorflow.lite.Interpreter, tensorflow.lite.experimental.load_delegate
    module = __import__(module_name, fromlist=["Interpreter"])
    return module.Interpreter, getattr(module, "load_delegate", None)


def _mend(name, error):
    """The next step for a runtime that is there and cannot be imported."""
    if "GLIBC" in error:  # GLIBCXX too
        other = "tflite-runtime 'numpy<2'" if name != "tflite_runtime" else "an older %s" % name
        return (
            "this system's C library is too old for that wheel, whatever its name says: on the "
            "device: %s -m pip install %s; or a newer system" % (sys.executable or "python3", other)
        )
    return "reinstall it on the device, or install ai-edge-litert"


def _version(distributions):
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7: the version stands in the name of the package's record
        return _recorded_version(distributions)
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except Exception:
            continue
    return None


def _recorded_version(distributions):
    for distribution in distributions:
        record = re.compile(
            r"%s-([^-]+)(?:-[^/]*)?\.(?:dist|egg)-info$" % distribution.replace("-", "_")
        )
        for folder in sys.path:
            try:
                names = os.listdir(folder or ".")
            except OSError:
                continue
            for name in names:
                found = record.match(name)
                if found:
                    return found.group(1)
    return None
