"""Bringing a device into the state that the Policy asks for, and saying what could not be done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.devices.state import DeviceState, read_state
from harness.domain import Policy
from harness.errors import AgentError, HarnessError
from harness.transports.scripts import script
from harness.transports.transport import Process, Transport

#: Seconds between two looks at a device that is waited for.
_LOOK_EVERY = 2.0

#: Lines before an answer that are taken for a login script's.
_NOISE = 50

#: What goes away by waiting.
_PASSES = {"temperature", "battery"}

#: Below this charge many phones lower their clock.
LOW_BATTERY = 15


@dataclass(frozen=True, slots=True)
class Ready:
    """What a trial begins with.

    ``cores`` are the processors that the agent keeps to (empty: all), ``missed`` what the
    Policy asked for in vain, by what it is about, ``waited`` the seconds that were waited,
    ``look`` reads the state anew.
    """

    state: DeviceState | None = None
    cores: tuple[int, ...] = ()
    waited: float = 0.0
    missed: tuple[tuple[str, str], ...] = ()
    look: Callable[[], DeviceState] | None = None

    def as_facts(self) -> dict[str, Any]:
        """For the record of the trial, when it has ended: the device is looked at once more.

        Empty where nothing was asked or found.
        """
        if self.state is None:
            return {}
        after = None
        if self.look is not None:
            with contextlib.suppress(HarnessError):  # the trial itself is whole
                after = self.look().as_dict()
        return {
            "readiness": {
                "before": self.state.as_dict(),
                "after": after,
                "waited_seconds": round(self.waited, 1),
                "missed": [list(item) for item in self.missed],
            }
        }


class Readiness:
    """Readiness of one device in one session, by one Policy.

    A Policy that asks for nothing costs nothing on a device that has no battery and does not tell
    whether it is throttled: no command is run for it. ``now`` is the clock of its waiting, in
    seconds.
    """

    def __init__(
        self, transport: Transport, policy: Policy, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._now = now
        self._policy = policy
        self._governor: Process | None = None
        self._governor_missed = ""
        self._asked = bool(
            policy.max_temperature_c
            or policy.min_battery_percent
            or policy.governor
            or policy.cores
        )
        self._tells: bool | None = None

    def open(self) -> None:
        """Set the governor, for as long as the link is there. Raises ``TransportError``."""
        wanted = self._policy.governor
        if not wanted:
            return
        self._governor_missed = ""
        process = self._transport.start(["sh", "-c", script("governor.sh"), "governor", wanted])
        self._governor = process
        try:
            answer = _answer(process)
        except AgentError:
            answer = [""]
        word, rest = answer[0], answer[1].strip()[:100] if len(answer) > 1 else ""
        if word == "denied":
            self._governor_missed = (
                f"governor {wanted}: this user may not set it on {rest} of the processors"
            )
        elif word == "unknown":
            self._governor_missed = f"governor {wanted}: there is only {rest}"
        elif word != "set" or rest == "0":
            self._governor_missed = f"governor {wanted}: this device has none to set"

    def close(self) -> None:
        """Give the device its governor back; never raises."""
        process, self._governor = self._governor, None
        if process is not None:
            with contextlib.suppress(HarnessError):
                process.send(b"restore\n")
                process.wait(5)
            process.kill()

    def wait(self, pause: Callable[[float, str], None], stopped: Callable[[], bool]) -> Ready:
        """Wait until the device is as the Policy asks, within ``ready_timeout``.

        ``pause(seconds, why)`` sleeps. Raises ``TransportError``, ``ProtocolError``.
        """
        if not self._asked and self._tells is False:
            return Ready()
        began = self._now()
        while True:
            state = self._look()
            self._tells = any(
                told is not None
                for told in (state.battery_percent, state.throttled, state.thermal_status)
            )
            missed = self._missed(state)
            waited = self._now() - began
            if (
                not self._may_pass(missed, state)
                or waited >= self._policy.ready_timeout
                or stopped()
            ):
                break
            why = next(text for about, text in missed if about in _PASSES)
            pause(min(_LOOK_EVERY, max(0.05, self._policy.ready_timeout - waited)), why)
        cores = tuple(state.cores(self._policy.cores)) if self._policy.cores else ()
        return Ready(state, cores, waited, tuple(missed), partial(read_state, self._transport))

    def _look(self) -> DeviceState:
        """The device's state, its governor as asked; what has changed that is set anew.

        The governor of a link that was cut is restored when the device notices the cut, which
        may be after this link has set it.
        """
        state = read_state(self._transport)
        wanted = self._policy.governor
        if not wanted or self._governor_missed or state.governor in ("", wanted):
            return state
        self.close()
        self.open()
        state = read_state(self._transport)
        if not self._governor_missed and state.governor not in ("", wanted):
            self._governor_missed = f"governor {wanted}: the device goes back to {state.governor}"
        return state

    @staticmethod
    def _may_pass(missed: list[tuple[str, str]], state: DeviceState) -> bool:
        """Whether waiting may help: heat goes away, a battery fills only on a cable."""
        about = {item for item, _ in missed} & _PASSES
        return bool(about - {"battery"} or (about and state.powered))

    def _missed(self, state: DeviceState) -> list[tuple[str, str]]:
        policy = self._policy
        found: list[tuple[str, str]] = []
        limit = policy.max_temperature_c
        if limit and state.temperature_c is None:
            found.append(("sensor", f"below {limit:g} °C: the device tells no temperature"))
        elif limit and state.temperature_c is not None and state.temperature_c > limit:
            found.append(
                (
                    "temperature",
                    f"the processor is at {state.temperature_c:.1f} °C, above {limit:g} °C",
                )
            )
        least, level = policy.min_battery_percent, state.battery_percent
        if level is not None and level < least:
            charging = "" if state.powered else " and not charging"
            found.append(("battery", f"battery at {level} %{charging}; {least} % were asked for"))
        elif level is not None and level < LOW_BATTERY:
            found.append(("battery", f"battery at {level} %"))
        if policy.cores and not state.cores(policy.cores):
            found.append(("cores", f"cores {policy.cores}: this device has no such processors"))
        if self._governor_missed:
            found.append(("governor", self._governor_missed))
        return found


def _answer(process: Process) -> list[str]:
    """The script's answer: its word and the rest; what a login shell prints before is skipped."""
    for _ in range(_NOISE):
        line = process.read_line(20)
        answer = line.decode("utf-8", "replace").strip().split(" ", 1)
        if not line or answer[0] in ("set", "denied", "unknown"):
            return answer
    return [""]
