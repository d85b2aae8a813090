"""Every error the harness raises on purpose.

    HarnessError
    ├── UsageError                  wrong command line, profile or plan       exit 2
    │   ├── ConfigError             a TOML file: file, line, nearest name
    │   ├── ModelError              a model file that cannot be read
    │   ├── DatasetError            samples or labels that do not fit
    │   ├── MissingExtraError       an optional package is not installed
    │   └── MissingToolError        a program that the harness runs is not installed
    ├── JobError                    one job failed; the others go on          exit 3
    │   ├── ConversionError         a recipe could not make its variant
    │   │   └── NotDeployableError      an experiment that was evaluated and has no file
    │   ├── UnsupportedError        the device cannot run this by nature
    │   ├── TransportError          the link
    │   │   ├── UnreachableError        no answer, refused, no such host   (transient)
    │   │   ├── HostKeyError            unknown or changed host key
    │   │   ├── AuthenticationError     the device refused the key
    │   │   ├── LinkLostError           the link was cut                   (transient)
    │   │   ├── DeviceFullError         no space left on the device
    │   │   ├── PushError               what arrived is not what was sent  (transient)
    │   │   └── PullError               a file of the device cannot be had
    │   └── AgentError              the program on the device
    │       ├── AgentSetupError         no Python, no NumPy, no runtime, a wrong pair
    │       ├── AcceleratorBusyError    another process has it             (transient)
    │       ├── AgentCrashedError       ended without its last word        (transient)
    │       ├── AgentTimeoutError       silent for longer than allowed     (transient)
    │       ├── ProtocolError           said what the protocol does not know
    │       └── AgentReportedError      refused the request and said why
    ├── DeviceBusyError             another session holds the device          exit 3
    └── StoreError                  the results could not be kept or found    exit 2
        ├── StoreFullError          no room for results                       exit 3
        ├── SealedError             a sealed record was about to change
        └── StoreVersionError       written by a newer or a much older harness

Each error is *transient* (the same call may succeed in a moment) or *stable*
where it is raised; only transient ones are ever retried.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class HarnessError(Exception):
    """Base of the tree: what went wrong, and what to do next.

    ``message`` says what was being done and what went wrong; ``hint`` the next step.
    """

    exit_code: ClassVar[int] = 3
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    @property
    def one_line(self) -> str:
        """Message and hint on one line, for records and logs."""
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return " ".join(text.split())


class UsageError(HarnessError):
    """The command line, a profile or the plan is wrong; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """A TOML file is wrong; the message starts with ``file:line:``."""


class ModelError(UsageError):
    """A model file is missing, truncated, foreign, or does not fit its declaration."""


class DatasetError(UsageError):
    """A dataset is missing, of the wrong shape or type, or its labels do not fit."""


class MissingExtraError(UsageError):
    """An optional part of the harness needs a package that is not installed."""


class MissingToolError(UsageError):
    """A program that the harness runs is not on this machine."""


class JobError(HarnessError):
    """One job failed; the run goes on with the others."""


class ConversionError(JobError):
    """A recipe could not turn the model into its variant."""


class NotDeployableError(ConversionError):
    """An experiment that was trained and evaluated, and has no file; ``evaluation`` says how."""

    def __init__(self, message: str, *, evaluation: Mapping[str, Any], hint: str | None = None):
        super().__init__(message, hint=hint)
        self.evaluation = evaluation


class UnsupportedError(JobError):
    """The device cannot run this variant by nature (not a fault)."""


class TransportError(JobError):
    """The link to the device failed."""


class UnreachableError(TransportError):
    """Nobody answers at the device's address."""

    transient = True


class HostKeyError(TransportError):
    """The device's host key is unknown or has changed."""


class AuthenticationError(TransportError):
    """The device refused every key that was offered."""


class LinkLostError(TransportError):
    """The link was cut while in use."""

    transient = True


class DeviceFullError(TransportError):
    """The device has no space left for what must be pushed."""


class PushError(TransportError):
    """A pushed file did not arrive as it was sent."""

    transient = True


class PullError(TransportError):
    """A file of the device is missing, cannot be read, or is larger than it may be."""


class AgentError(JobError):
    """The agent on the device failed."""


class AgentSetupError(AgentError):
    """The device lacks Python, NumPy or a runtime, or has a pair that does not work together."""


class AcceleratorBusyError(AgentError):
    """Another process on the device has the accelerator open."""

    transient = True


class AgentCrashedError(AgentError):
    """The agent ended without its last message."""

    transient = True


class AgentTimeoutError(AgentError):
    """The agent was silent for longer than the Policy allows."""

    transient = True


class ProtocolError(AgentError):
    """The agent wrote something that is not of the protocol."""


class AgentReportedError(AgentError):
    """The agent could not do what was asked, and said why."""


class DeviceBusyError(HarnessError):
    """Another session holds the device."""


class StoreError(HarnessError):
    """The store of results cannot be opened, read or written."""

    exit_code = 2


class StoreFullError(StoreError):
    """There is no room left where the results are kept."""

    exit_code = 3


class SealedError(StoreError):
    """A sealed record was about to be changed: a defect, never an accident to be ignored."""


class StoreVersionError(StoreError):
    """The store was written by another version of the harness."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names) if names else "none is known here"
