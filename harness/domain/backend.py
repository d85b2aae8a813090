"""What executes the model on a device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_BACKEND = re.compile(
    r"^(?P<accelerator>[a-z][a-z0-9_]*)(?:\s*x\s*(?P<threads>\d{1,3}))?"
    r"(?:\s*\((?P<options>[^()]*)\))?$",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^(?P<key>[a-z][a-z0-9_]*)\s*=\s*(?P<value>[A-Za-z0-9_.:/-]{1,100})$")

#: Accelerators the harness has a word for; what a device offers is in its profile.
ACCELERATORS = ("cpu", "gpu", "npu", "nnapi", "hexagon", "xnnpack", "edgetpu")

#: Those that compute with a number of threads.
_THREADED = ("cpu", "xnnpack")

#: Those that only the ``benchmark_model`` tool can drive.
_TOOL_ONLY = ("nnapi", "hexagon", "xnnpack")

#: What runs a model: the device's agent, or the ``benchmark_model`` tool.
RUNNERS = ("agent", "benchmark_model")

#: Options of every accelerator beside ``runner``.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "nnapi": ("accelerator", "execution_preference", "execution_priority", "allow_fp16"),
    "gpu": ("allow_fp16", "experimental_enable_quant"),
    "hexagon": (),
}

#: What an option may be, where not every name will do.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "runner": RUNNERS,
    "execution_preference": ("fast_single_answer", "sustained_speed", "low_power", "undefined"),
    "execution_priority": ("default", "low", "medium", "high"),
    "allow_fp16": ("true", "false"),
    "experimental_enable_quant": ("true", "false"),
}


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """An accelerator, on the CPU a number of threads, and options.

    Threads other than 1 of what has none raise ``ValueError``, as all else that is wrong does.

    ``cpu x4``, ``edgetpu``, ``nnapi(accelerator=qti-dsp)``, ``cpu x2 (runner=benchmark_model)``.
    """

    accelerator: str
    threads: int = 1
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise ValueError(f"unknown accelerator {self.accelerator!r}")
        if not 1 <= self.threads <= 256:
            raise ValueError(f"threads must be 1 to 256, not {self.threads}")
        if self.threads != 1 and self.accelerator not in _THREADED:
            raise ValueError(
                f"{self.accelerator} takes no threads: write {self.accelerator!r}; "
                f"{' and '.join(_THREADED)} take them"
            )
        known = ("runner", *OPTIONS.get(self.accelerator, ()))
        for key, value in self.options:
            if key not in known:
                raise ValueError(
                    f"{self.accelerator} has no option {key!r}, only {', '.join(known)}"
                )
            if value not in CHOICES.get(key, (value,)):
                raise ValueError(f"{key} is {' or '.join(CHOICES[key])}, not {value!r}")
        if len({key for key, _ in self.options}) < len(self.options):
            raise ValueError("an option is given twice")
        if self.accelerator in _TOOL_ONLY and ("runner", "agent") in self.options:
            raise ValueError(f"only benchmark_model drives {self.accelerator}")

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read ``cpu``, ``cpu x4``, ``edgetpu`` or ``nnapi(accelerator=NAME)``.

        Raises ``ValueError`` for anything else.
        """
        found = _BACKEND.match(text.strip())
        if not found:
            raise ValueError(
                f"{text!r} is not a backend: write for example 'cpu x4', 'edgetpu' or "
                "'nnapi(accelerator=NAME)'"
            )
        options = []
        for part in (found["options"] or "").split(","):
            if not part.strip():
                continue
            option = _OPTION.match(part.strip())
            if not option:
                raise ValueError(f"{text!r}: {part.strip()!r} is not an option: write KEY=VALUE")
            options.append((option["key"], option["value"]))
        threads = int(found["threads"] or 1)
        return cls(found["accelerator"].lower(), threads, tuple(sorted(options)))

    @property
    def runner(self) -> str:
        """What runs the model: one of ``RUNNERS``."""
        default = "benchmark_model" if self.accelerator in _TOOL_ONLY else "agent"
        return dict(self.options).get("runner", default)

    def __str__(self) -> str:
        name = self.accelerator
        if name in _THREADED:
            name += f" x{self.threads}"
        if not self.options:
            return name
        space = " " if self.accelerator in _THREADED else ""
        return f"{name}{space}({', '.join(f'{key}={value}' for key, value in self.options)})"
