"""One session per device at a time, across hosts and users: a lease kept on the device.

``device_agents/shell/lease.sh`` holds it: in a process on the device whose stdin is this link, so
that the lease ends with whoever started it, and with the link. For a link that is cut without
the device's noticing, it is also good for a number of seconds only, which the host renews. See
``docs/adr/0015-a-lease-is-a-process-on-the-device.md``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Sequence

from harness.devices import messages
from harness.devices.lock import user_name
from harness.domain import Device, Fence
from harness.errors import (
    AgentSetupError,
    DeviceBusyError,
    DeviceFullError,
    HarnessError,
    LeaseLostError,
    LinkLostError,
    ProtocolError,
    TransportError,
)
from harness.transports import Process, Transport
from harness.transports.scripts import script

#: What is called while another session holds the device: raises the error, or returns after
#: some waiting, and the device is asked for again.
Busy = Callable[[DeviceBusyError], None]

#: Seconds between two signs of life while an agent runs, and how long each of them is good for.
BEAT = 10.0
GOOD_FOR = 60

#: How long the lease is good for between agents, where the host may push, wait or convert.
GOOD_BETWEEN = 900

#: Sessions that may have begun without our knowing, at most.
_MOST_BEFORE = 4

#: The most that can be promised, seconds.
_MOST = 999_999

#: Bytes per second that the slowest push is taken to reach.
_SLOW_PUSH = 50_000

#: Seconds for one answer of the device's script.
_ANSWER = 30.0

#: Seconds for its last answer; the lease ends with the link in any case.
_FAREWELL = 5.0

#: Lines before an answer that are taken for a login script's.
_NOISE = 200

#: The exit code of ``guard.sh`` that means: not ours any more.
REFUSED = 76

_REASONS = {
    "gone": "its process had ended without closing it",
    "restarted": "the device has been restarted since",
    "silent": "nothing had been heard of it for longer than it said",
    "unfinished": "it never began",
}

_BEAT = re.compile(r"beat (\d{1,9})")
_DONE = re.compile(r"held (\d{1,9}) ([0-9a-f]{8,64}) (/\S{1,400})")
_TEXT = 300


def at_once(error: DeviceBusyError) -> None:
    """Do not wait for a device that is in use."""
    raise error


def leased(transport: Transport) -> bool:
    """Whether the device is one that other hosts and users may reach too.

    A simulated device is this process, unless its faults tell of others; this machine has locks
    that all its users see.
    """
    if transport.kind_is_simulated:
        return bool(getattr(transport, "has_lease", False))
    return transport.address != "local"


class DeviceLease:
    """Held from ``acquire`` to ``release``; nothing is kept where a device needs no lease."""

    def __init__(
        self, transport: Transport, device: Device, owner: str, *, proc: str = "/proc"
    ) -> None:
        self._transport, self._name, self._proc = transport, device.name, proc
        self._base = str(device.link.get("lease_dir") or "-")
        self._owner = f"{user_name()}@{socket.gethostname()} (process {os.getpid()}), {owner}"[
            :_TEXT
        ]
        self._needed = leased(transport)
        self._process: Process | None = None
        self._nonce, self._folder = "-", ""
        #: Of sessions that may be held still: the last one, and those asked for since.
        self._before: list[str] = []
        self._question = 0
        self._next_beat = 0.0
        #: The number of this session, for what it writes.
        self.fence: Fence | None = None
        #: Whose session was taken over and why, in words, or nothing.
        self.took_over = ""

    def acquire(self, busy: Busy = at_once) -> None:
        """Take the device; the link must be open.

        A session that this object held before is continued. Raises ``DeviceBusyError``
        (through ``busy``), ``AgentSetupError`` where no lease can be kept,
        ``TransportError``.
        """
        if not self._needed:
            return
        self.drop()
        # A link that was cut before the answer leaves open whether a session had begun.
        previous = ",".join(self._before[-_MOST_BEFORE:]) or "-"
        self._nonce = secrets.token_hex(8)
        self._before.append(self._nonce)
        self.took_over = ""
        arguments = [self._nonce, previous, str(GOOD_BETWEEN), self._base, self._proc, self._owner]
        process = self._transport.stay(["sh", "-c", script("lease.sh"), "lease.sh", *arguments])
        self._process = process
        try:
            while not self._begun(self._hear(process), busy):
                pass
        except BaseException:
            self.drop()
            raise
        self._before = [self._nonce]

    def _begun(self, answer: str, busy: Busy) -> bool:
        word, _, rest = answer.partition(" ")
        if word == "asking":
            return False
        if word == "busy":
            seconds, _, who = rest.partition(" ")
            since = _ago(int(seconds)) if re.fullmatch(r"\d{1,9}", seconds) else "some time"
            busy(
                DeviceBusyError(
                    f"device {self._name} is in use by {who or 'somebody'} for {since}",
                    hint="wait for it to end, or leave the device out with --device",
                )
            )
            return False
        if word == "took":
            reason, _, who = rest.partition(" ")
            why = _REASONS.get(reason, "it was over")
            self.took_over = f"the session of {who or 'somebody'}: {why}"
            return False
        if word == "problem" and ("disk full" in rest or "No space left" in rest):
            raise DeviceFullError(
                f"{self._name}: no lease can be kept on the device: {rest}",
                hint="free some space there; harness devices clean removes what we keep, or set "
                "lease_dir of this device to a folder on another disk",
            )
        if word == "problem":
            raise AgentSetupError(
                f"{self._name}: no lease can be kept on the device: {rest}",
                hint="set lease_dir of this device to a folder that all its users may write to",
            )
        found = _DONE.fullmatch(answer)
        if not found:
            raise ProtocolError(f"{self._name}: the device answered {answer[:120]!r} for a lease")
        self.fence, self._folder = Fence(found[2], int(found[1])), found[3]
        self._next_beat = 0.0
        return True

    @property
    def stands(self) -> bool:
        """Whether nothing is known that has ended it; always where none is needed."""
        return not self._needed or (self._process is not None and self._process.wait(0) is None)

    def beat(self) -> None:
        """A sign of life, if it is time for one; never raises."""
        if self._process is not None and time.monotonic() >= self._next_beat:
            self._promise(GOOD_FOR)
            self._next_beat = time.monotonic() + BEAT

    def hold(self, seconds: float = 0, size: int = 0) -> None:
        """Nothing will be heard for a while: ``seconds``, or a push of ``size`` bytes."""
        self._promise(GOOD_BETWEEN + seconds + size / _SLOW_PUSH)
        self._next_beat = 0.0

    def _promise(self, seconds: float) -> None:
        if self._process is not None:
            with contextlib.suppress(TransportError):  # whoever needs the lease will ask for it
                self._process.send(b"0 %d\n" % min(seconds, _MOST))

    def verify(self) -> None:
        """Make sure that the session is still ours.

        Raises ``LeaseLostError`` when another one has begun, ``LinkLostError`` when the device
        cannot be asked.
        """
        if not self._needed:
            return
        if self._process is None:
            raise LinkLostError(f"{self._name}: there is no lease")
        self._question += 1
        with contextlib.suppress(LinkLostError):  # what it said before it ended tells more
            self._process.send(b"%d %d\n" % (self._question, GOOD_BETWEEN))
        answer = self._hear(self._process)
        while (old := _BEAT.fullmatch(answer)) and int(old[1]) < self._question:
            answer = self._hear(self._process)  # to a question whose answer came too late
        if answer != f"beat {self._question}":
            self.drop()
            word, _, who = answer.partition(" ")
            if word != "lost":
                raise ProtocolError(f"{self._name}: the device answered {answer[:120]!r}")
            raise self.lost(who)

    def lost(self, who: str = "") -> LeaseLostError:
        """The error of a session that is not the device's newest."""
        return LeaseLostError(
            f"{self._name}: this session has lost the device to {who or 'another one'}",
            hint="what it measured meanwhile is not kept; was this machine asleep or cut off?",
        )

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that starts a program on the device only under this lease."""
        if self.fence is None:
            return list(argv)
        guard = ["sh", "-c", script("guard.sh"), "guard.sh"]
        return [*guard, self._folder, str(self.fence.token), self._nonce, *argv]

    def _hear(self, process: Process, patience: float | None = None) -> str:
        """What the script says next; whatever a login script prints before is skipped."""
        mark = self._nonce.encode() + b" "
        for _ in range(_NOISE):
            line = process.read_line(patience or _ANSWER)
            if line.startswith(mark):
                text = line[len(mark) :].decode("utf-8", "replace").strip()
                return str(messages.clean(text))[: _TEXT + 200]
            if not line:
                break
        else:
            raise ProtocolError(f"{self._name}: {_NOISE} lines and no answer for a lease")
        code = process.wait(5)
        tail = " ".join(str(messages.clean(process.stderr_tail())).split())[-200:]
        if code in (126, 127):
            raise AgentSetupError(f"{self._name}: there is no shell on the device: {tail}")
        raise LinkLostError(f"{self._name}: the lease's process on the device has ended. {tail}")

    def release(self) -> None:
        """Close the session, so that the next one need not ask whether it is over."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(HarnessError):  # it ends with the link in any case
            process.send(b"0 0\n")
            while self._hear(process, _FAREWELL) != "ended":
                pass
        self.drop()
        self._before, self.fence = [], None

    def drop(self) -> None:
        """Let go of the process, as after a cut."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def _ago(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
