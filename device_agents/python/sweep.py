"""Running a model over a whole set of samples and sending the raw outputs back."""

import threading

from device_agents.python.failures import AgentFailure
from device_agents.python.system import import_numpy
from device_agents.python.tensors import Preprocessor, load, open_samples, type_name
from device_agents.python.wire import MAX_CHUNK_BYTES, pack

#: Samples a worker takes at a time: at most so many, and at most so many bytes of outputs.
BLOCK = 250
BLOCK_BYTES = 16 * 1024 * 1024

#: While nothing else is sent, a word at least this often (between two inferences).
PROGRESS_NS = 1000 * 1000 * 1000

#: Output tensors that one sweep may send.
MAX_OUTPUTS = 16

#: Samples per invoke, where the runtime gives the same bits as one at a time.
BATCH = 10


def run_sweep(request, emit, runtime, clock, system):
    """Evaluate; emits ``loaded`` and ``outputs``, returns the facts of ``done``."""
    numpy = import_numpy()
    loaded = load(request, runtime, clock, "sweep")
    emit(loaded.as_message())
    samples = open_samples(numpy, request, "accuracy")
    count = request.get("count", len(samples))
    workers = request.get("workers", 1)
    reset = request.get("reset_variables", False)
    if type(count) is not int or not 0 < count <= len(samples):
        raise AgentFailure(
            "bad_request", "accuracy", "count %r of %d samples" % (count, len(samples))
        )
    if type(workers) is not int or not 1 <= workers <= 256:
        raise AgentFailure("bad_request", "accuracy", "workers is wrong: %r" % (workers,))
    if type(reset) is not bool:
        raise AgentFailure("bad_request", "accuracy", "reset_variables is wrong: %r" % (reset,))
    if len(loaded.inputs) != 1:
        raise AgentFailure(
            "bad_samples",
            "accuracy",
            "the model has %d inputs; a sweep feeds exactly one" % len(loaded.inputs),
        )
    prepare = Preprocessor(
        numpy, loaded.inputs[0], samples, request.get("preprocessing"), "accuracy"
    )
    begin = clock.now_ns()
    wanted = _wanted(request.get("outputs", [0]), loaded.outputs)
    row = sum(
        numpy.dtype(output["dtype"]).itemsize * int(numpy.prod(output["shape"]))
        for output in (loaded.outputs[index] for index in wanted)
    )
    step = max(1, min(BLOCK, BLOCK_BYTES // max(1, row)))
    starts = iter(range(0, count, step))
    lock = threading.Lock()
    failures = []
    told = [begin]

    def tick():
        now = clock.now_ns()
        if now - told[0] >= PROGRESS_NS:
            with lock:
                told[0] = now
                emit({"type": "progress"})

    engines = [_Engine(numpy, loaded, wanted, prepare, reset, tick)]

    def work(engine):
        try:
            while not failures:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                found = engine.evaluate(samples[start : min(start + step, count)])
                for tensor, outputs in zip(wanted, found):
                    dtype = type_name(loaded.outputs[tensor]["dtype"])
                    for message in _chunks(outputs, tensor, start, dtype):
                        with lock:
                            emit(message)
        except Exception as error:  # handed to the main thread, which reports it
            failures.append(error)

    for _ in range(min(workers, (count + step - 1) // step) - 1):
        another = load(request, runtime, clock, "sweep")
        engines.append(_Engine(numpy, another, wanted, prepare, reset, tick))
    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines[1:]]
    for thread in threads:
        thread.start()
    work(engines[0])
    for thread in threads:
        thread.join()
    if failures:
        error = failures[0]
        if isinstance(error, AgentFailure):
            raise error
        raise AgentFailure("invoke_failed", "accuracy", "inference failed: %s" % error) from None
    return {
        "samples": count,
        "elapsed_ns": clock.now_ns() - begin,
        "workers": len(engines),
        "batch": engines[0].batch,
        "memory_peak_bytes": {"end": system.peak_memory_bytes()},
        "delegated": loaded.delegated,
        "cores": system.cores(),
    }


def _wanted(asked, outputs):
    """The indices of the outputs to send, checked."""
    good = (
        isinstance(asked, list)
        and 1 <= len(asked) <= MAX_OUTPUTS
        and all(type(index) is int and 0 <= index < len(outputs) for index in asked)
        and len(set(asked)) == len(asked)
    )
    if not good:
        raise AgentFailure(
            "bad_request", "accuracy", "outputs %r of a model with %d" % (asked, len(outputs))
        )
    return asked


class _Engine:
    """One interpreter; several samples per invoke only where the bits stay the same.

    ``reset`` clears the state of a recurrent model before each sample, and so keeps to one.
    """

    def __init__(self, numpy, loaded, wanted, prepare, reset, tick):
        self._np = numpy
        self._prepare = prepare
        self._reset = reset
        self._tick = tick
        self._interpreter = loaded.interpreter
        self._input = loaded.inputs[0]
        self._outputs = [loaded.outputs[index]["index"] for index in wanted]
        self._shape = [int(size) for size in self._input["shape"]]
        self.batch = None
        self._input_view = self._interpreter.tensor(self._input["index"])

    def evaluate(self, block):
        """One array of outputs (n, ...) per tensor for samples (n, ...) as stored."""
        if self.batch is None:
            return self._first(block)
        whole = len(block) - len(block) % self.batch
        parts = []
        if whole:
            self._resize(self.batch)
            parts.extend(
                self._run(block[at : at + self.batch]) for at in range(0, whole, self.batch)
            )
        if whole < len(block):
            self._resize(1)
            parts.extend(self._run(block[at : at + 1]) for at in range(whole, len(block)))
        return self._joined(parts)

    def _joined(self, parts):
        return [self._np.concatenate(tensor) for tensor in zip(*parts)]

    def _first(self, block):
        """One at a time over the first block, then a batch over its head: equal bits decide."""
        outputs = self._joined([self._run(block[at : at + 1]) for at in range(len(block))])
        self.batch = 1
        if len(block) > BATCH and not self._reset:
            try:
                self._resize(BATCH)
                together = self._run(block[:BATCH])
            except (RuntimeError, ValueError):
                together = None
            if together is not None and all(
                many.shape == one[:BATCH].shape and many.tobytes() == one[:BATCH].tobytes()
                for many, one in zip(together, outputs)
            ):
                self.batch = BATCH
            else:
                self._resize(1)
        return outputs

    def _resize(self, batch):
        if self._shape[0] != batch:
            self._shape[0] = batch  # before what may fail: the way back must resize again
            self._interpreter.resize_tensor_input(self._input["index"], [batch] + self._shape[1:])
            self._interpreter.allocate_tensors()

    def _run(self, values):
        interpreter = self._interpreter
        self._tick()
        if self._reset:
            interpreter.reset_all_variables()
        # Straight into the tensor; no view of it may be left when invoke begins.
        self._prepare.fill(self._input_view(), values)
        interpreter.invoke()
        return [self._read(index, len(values)) for index in self._outputs]

    def _read(self, index, count):
        outputs = self._interpreter.get_tensor(index)
        if outputs.ndim == 0 or outputs.shape[0] != count:
            outputs = outputs.reshape((count, -1))
        return outputs


def _chunks(outputs, tensor, start, dtype):
    """``outputs`` messages of at most MAX_CHUNK_BYTES raw bytes each."""
    row_bytes = max(1, outputs[:1].nbytes)
    rows = max(1, MAX_CHUNK_BYTES // row_bytes)
    for at in range(0, len(outputs), rows):
        part = outputs[at : at + rows]
        yield {
            "type": "outputs",
            "tensor": tensor,
            "offset": start + at,
            "shape": [int(size) for size in part.shape],
            "dtype": dtype,
            "data": pack(part if part.flags.c_contiguous else part.copy()),
        }
