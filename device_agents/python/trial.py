"""What every trial says of itself beside its samples: memory, threads, who ran the model."""

from device_agents.python.tensors import load


class Trial:
    """Begins before its model is loaded: what it has by then is not the model's.

    ``resident`` has what the process had of memory at its steps, as ``memory_resident_bytes``.
    """

    def __init__(self, request, system):
        self._request = request
        self._system = system
        self._peak = {}
        self.resident = {}
        self._note("start")
        self._threads = system.thread_count()
        self._found = None
        self._loaded = None

    def load(self, runtime, clock, purpose, emit):
        """Load the model and emit ``loaded``; raises what ``tensors.load`` does."""
        self._loaded = load(self._request, runtime, clock, purpose)
        emit(self._loaded.as_message())
        self._note("loaded")
        return self._loaded

    def count_threads(self):
        """Once the model has run: the threads that it runs on have begun by then."""
        now = self._system.thread_count()
        on_cpu = self._request.get("accelerator", "cpu") == "cpu"  # delegates have their own
        if on_cpu and self._threads is not None and now is not None:
            self._found = now - self._threads + 1

    def end(self):
        """The facts that all trials have."""
        self._note("end")
        return {
            "memory_peak_bytes": self._peak,
            "threads_asked": self._request.get("threads", 1),
            "threads_found": self._found,
            "delegated": self._loaded.delegated,
            "cores": self._system.cores(),
        }

    def _note(self, step):
        self._peak[step] = self._system.peak_memory_bytes()
        self.resident[step] = self._system.resident_memory_bytes()
