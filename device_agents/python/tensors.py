"""Loading a model, and turning stored samples into its input tensor."""

import math
import mmap
import os
import re

from device_agents.python.edgetpu import COMPILED
from device_agents.python.failures import AgentFailure
from device_agents.python.wire import DTYPES

#: Axes of a model's input or output, and of stored samples, at most.
MAX_RANK = 8
MAX_SAMPLE_RANK = 32

#: What runtimes say of operators that they lack, in lower case; the native agent's engine.c has the
#: same list.
LACKING = ("unresolved custom op", "op version", "op code", "didn't find op", "select tf")

#: No operator has this version: the file is damaged.
NO_VERSION = "version '0'"

#: The header of a .npy in C order, little-endian, as NumPy writes it.
_HEADER = re.compile(
    rb"\{'descr': '[|<](f[248]|[iu][1248]|b1)', 'fortran_order': False, "
    rb"'shape': \(([0-9]{1,19},|[0-9]{1,19}(?:, [0-9]{1,19})+)\), \} *\n\Z"
)


class Loaded:
    """An interpreter with allocated tensors, how long each step took in ns, and who runs it."""

    def __init__(self, interpreter, load_ns, init_ns, delegated):
        self.interpreter = interpreter
        self.delegated = delegated
        self.load_ns = load_ns
        self.init_ns = init_ns
        self.inputs = interpreter.get_input_details()
        self.outputs = interpreter.get_output_details()

    def as_message(self):
        """The ``loaded`` message."""
        return {
            "type": "loaded",
            "load_ns": self.load_ns,
            "init_ns": self.init_ns,
            "inputs": [tensor_spec(detail) for detail in self.inputs],
            "outputs": [tensor_spec(detail) for detail in self.outputs],
        }


def tensor_spec(detail):
    """One tensor of ``get_input_details`` as plain JSON values."""
    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"])[:500],
        "shape": [int(size) for size in detail["shape"]],
        "dtype": type_name(detail["dtype"]),
        "scale": float(scale) if math.isfinite(scale) else 0.0,
        "zero_point": int(zero_point),
    }


def type_name(dtype):
    """NumPy's name of an interpreter's type (a class or a dtype)."""
    name = getattr(dtype, "__name__", None) or str(dtype)
    return name.rstrip("_")  # NumPy 1 calls one bool_


def load(request, runtime, clock, purpose):
    """Create the interpreter and allocate its tensors.

    Raises ``AgentFailure``: ``bad_request``, ``unsupported_operator``, ``unsupported``,
    ``bad_model``, or what is wrong with the accelerator.
    """
    model = request.get("model")
    path = model.get("path") if isinstance(model, dict) else None
    threads = request.get("threads", 1)
    accelerator = request.get("accelerator", "cpu")
    if not isinstance(path, str) or type(threads) is not int or not 1 <= threads <= 256:
        raise AgentFailure("bad_request", "load", "model.path or threads is missing or wrong")
    if not isinstance(accelerator, str):
        raise AgentFailure("bad_request", "load", "accelerator is wrong: %r" % (accelerator,))
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise AgentFailure("bad_model", "load", "no model file at %s" % path)
    try:
        begin = clock.now_ns()
        interpreter = runtime.interpreter(path, threads, accelerator, purpose, request)
        loaded = clock.now_ns()
        interpreter.allocate_tensors()
        ready = clock.now_ns()
    except AgentFailure:
        raise
    except Exception as error:  # the bindings raise ValueError, RuntimeError, TypeError
        failure = runtime.failure(error)
        if failure is not None:
            raise failure from None
        text = str(error) or type(error).__name__
        if "unresolved custom op: " + COMPILED in text:
            raise AgentFailure(
                "unsupported_operator",
                "load",
                "the model is compiled for the Edge TPU and cannot run on the CPU",
                "choose the backend edgetpu, or take the file that it was compiled of",
            ) from None
        said = text.lower()
        if any(word in said for word in LACKING) and NO_VERSION not in said:
            raise AgentFailure(
                "unsupported_operator",
                "load",
                "%s %s lacks an operator of this model: %s" % (runtime.name, runtime.version, text),
                "use a newer runtime on the device, or convert without that operator",
            ) from None
        raise AgentFailure(
            "bad_model",
            "load",
            "%s %s cannot load the model: %s" % (runtime.name, runtime.version, text),
        ) from None
    found = Loaded(interpreter, loaded - begin, ready - loaded, runtime.delegated(interpreter))
    for detail in found.inputs + found.outputs:
        if type_name(detail["dtype"]) not in DTYPES or len(detail["shape"]) > MAX_RANK:
            raise AgentFailure(
                "unsupported",
                "load",
                "the tensor %r is of type %s and has %d axes; agents carry numbers, in at most %d"
                % (
                    str(detail["name"])[:100],
                    type_name(detail["dtype"]),
                    len(detail["shape"]),
                    MAX_RANK,
                ),
            )
    return found


def open_samples(numpy, request, stage):
    """The pushed samples (n, ...), mapped and read-only.

    Raises ``AgentFailure``: ``bad_request``, or ``bad_samples`` for what is no ``.npy`` of
    PROTOCOL.md.
    """
    declared = request.get("samples")
    path = declared.get("path") if isinstance(declared, dict) else None
    if not isinstance(path, str):
        raise AgentFailure("bad_request", stage, "samples.path is missing")
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise AgentFailure("bad_samples", stage, "cannot read the samples: %s" % error) from None
    begin = 10 + int.from_bytes(mapped[8:10], "little")
    header = _HEADER.match(mapped[10:begin])
    if mapped[:8] != b"\x93NUMPY\x01\x00" or len(mapped) < begin or not header:
        raise AgentFailure(
            "bad_samples",
            stage,
            "cannot read the samples: not a .npy file of format 1.0 with little-endian numbers in "
            "C order",
        )
    dtype = numpy.dtype("<" + header.group(1).decode("ascii"))
    shape = [int(size) for size in header.group(2).rstrip(b",").split(b", ")]
    count = 1
    for size in shape:
        count *= size
    if len(shape) > MAX_SAMPLE_RANK or count * dtype.itemsize > len(mapped) - begin:
        raise AgentFailure("bad_samples", stage, "cannot read the samples: cut off")
    if not count:
        raise AgentFailure("bad_samples", stage, "there are no samples")
    return numpy.frombuffer(mapped, dtype, count, begin).reshape(shape)


class Preprocessor:
    """Stored samples -> input tensor: ``(sample * scale - mean) / std``, then quantized by the
    tensor's own scale and zero point (round half to even, clipped to the type).

    All arithmetic in float32. Where stored samples are bytes and so is the tensor, the whole
    mapping is a table of 256 entries made by the same arithmetic; often that table only adds a
    constant, which is faster still.
    """

    def __init__(self, numpy, detail, samples, preprocessing, stage):
        self._np = numpy
        self.shape = tuple(int(size) for size in detail["shape"][1:])
        self.dtype = numpy.dtype(detail["dtype"])
        self.scale, self.zero_point = detail["quantization"]
        if len(detail["shape"]) < 1 or int(detail["shape"][0]) != 1:
            raise AgentFailure(
                "bad_samples",
                stage,
                "the model's input has a fixed batch of %r, not 1"
                % [int(size) for size in detail["shape"]],
                "convert the model with a batch of 1",
            )
        squeezed = tuple(size for size in samples.shape[1:] if size != 1)
        if squeezed != tuple(size for size in self.shape if size != 1):
            raise AgentFailure(
                "bad_samples",
                stage,
                "samples of shape %r do not fit the model's input %r"
                % (list(samples.shape[1:]), list(self.shape)),
            )
        if self.dtype.kind not in "iuf":
            raise AgentFailure("bad_samples", stage, "the model's input holds no numbers")
        self._affine = _affine(numpy, preprocessing, self.shape[-1] if self.shape else 1, stage)
        # Decided once: asking NumPy for each sample costs more than the arithmetic.
        self._shifts = bool(numpy.any(self._affine[1]))
        self._divides = bool(numpy.any(self._affine[2] != 1.0))
        self._raw_integers = self.dtype.kind in "iu" and not self.scale
        self._table = self._offset = None
        bytes_to_bytes = samples.dtype == numpy.uint8 and self.dtype.itemsize == 1
        one_for_all = all(value.size == 1 for value in self._affine)
        if bytes_to_bytes and one_for_all and not self._raw_integers:
            every_byte = numpy.arange(256, dtype=numpy.uint8).reshape(256, 1)
            table = numpy.empty((256, 1), dtype=self.dtype)
            self._convert(every_byte, table)
            entries = table.view(numpy.uint8)
            if numpy.array_equal(every_byte + entries[0], entries):
                self._offset = entries[0, 0]
            self._table = table.tobytes()

    def __call__(self, block):
        """A block of samples (n, ...) as a new array (n, *input shape) of the tensor's type."""
        target = self._np.empty((len(block),) + self.shape, dtype=self.dtype)
        self.fill(target, block)
        return target

    def fill(self, target, block):
        """Write a block of samples into ``target`` (n, *input shape), the tensor itself."""
        np = self._np
        block = block.reshape(target.shape)
        if self._offset is not None:
            np.add(block, self._offset, out=target.view(np.uint8))
        elif self._table is not None:
            mapped = block.tobytes().translate(self._table)
            target[...] = np.frombuffer(mapped, dtype=self.dtype).reshape(target.shape)
        else:
            self._convert(block, target)

    def _convert(self, block, target):
        np = self._np
        if self._raw_integers:
            np.copyto(target, block, casting="unsafe")
            return
        scale, mean, std = self._affine
        real = target if self.dtype == np.float32 else np.empty(block.shape, np.float32)
        np.copyto(real, block, casting="unsafe")
        if scale != 1.0:
            np.multiply(real, scale, out=real)
        if self._shifts:
            np.subtract(real, mean, out=real)
        if self._divides:
            np.divide(real, std, out=real)
        if self.dtype.kind == "f":
            if real is not target:
                np.copyto(target, real, casting="unsafe")
            return
        np.divide(real, np.float32(self.scale), out=real)
        np.rint(real, out=real)
        np.add(real, np.float32(self.zero_point), out=real)
        limits = np.iinfo(self.dtype)
        np.clip(real, limits.min, limits.max, out=real)
        np.copyto(target, real, casting="unsafe")


def feed_first(numpy, loaded, request, stage):
    """The first input gets the first sample, further inputs zeros."""
    samples = open_samples(numpy, request, stage)
    for position, detail in enumerate(loaded.inputs):
        if position == 0:
            prepare = Preprocessor(numpy, detail, samples, request.get("preprocessing"), stage)
            value = prepare(samples[:1])
        else:
            value = numpy.zeros(detail["shape"], dtype=detail["dtype"])
        try:
            loaded.interpreter.set_tensor(detail["index"], value)
        except (RuntimeError, ValueError) as error:
            raise AgentFailure(
                "invoke_failed", stage, "an input cannot be written: %s" % error
            ) from None


def _affine(numpy, preprocessing, channels, stage):
    """Scale (a number), mean and std (1 or ``channels`` of them) as 32-bit floats."""
    asked = {} if preprocessing is None else preprocessing
    found = []
    for key, fallback, most in (("scale", 1.0, 1), ("mean", 0.0, channels), ("std", 1.0, channels)):
        values = asked.get(key, fallback) if isinstance(asked, dict) else None
        values = values if isinstance(values, list) else [values]
        if len(values) not in (1, most) or any(type(one) not in (int, float) for one in values):
            raise AgentFailure("bad_request", stage, "preprocessing is wrong")
        found.append(numpy.array(values, numpy.float32))
    scale, mean, std = found
    if not numpy.all(std):
        raise AgentFailure("bad_request", stage, "preprocessing.std holds a zero")
    return scale[0], mean, std
