"""The body of a simulated device between its agents: heat, governor, battery, modelled time.

What an agent finds is a function of its own job alone, so that a run gives the same numbers in
whatever order its jobs go, interrupted or not: a latency trial begins where a device is that had
done this job's earlier trials, each as long as its Policy and the cost model say, with the Policy's
``cooldown_seconds`` and ``BETWEEN_S`` of rest after each. Every other agent begins at rest. See
docs/adr/0020-heat-of-a-job-of-its-own.md.
"""

from __future__ import annotations

import contextlib
import queue
import re
from collections.abc import Mapping
from copy import copy
from typing import Any

from harness.domain import Backend, Device
from harness.errors import AgentTimeoutError, HarnessError
from harness.simulation.thermal import THERMAL_PARAMETERS, Thermal, load_share
from harness.transports.modelled.content import content_of, cost_of

#: Assumed: seconds between the end of an agent and the next one's first inference.
BETWEEN_S = 1.0

#: More trials than any device needs to reach the heat that it keeps.
_MOST_TRIALS = 500

_TRIAL = re.compile(r"/latency/(\d{1,9})/-?\d+\Z")


class DeviceBody:
    """One simulated device in one session."""

    def __init__(self, device: Device) -> None:
        self._profile = device.simulation
        self.governor = str(self._profile.get("governor", ""))
        self._heat = all(key in self._profile for key in THERMAL_PARAMETERS)
        self._power = "idle_w" in self._profile
        #: Whether there is anything that a look at the device would tell.
        self.tells = self._heat or bool(self.governor) or "battery_percent" in self._profile
        #: Modelled seconds that the device has been waited for.
        self.waited_s = 0.0
        self._for = ""
        #: By job: how many of its trials are done, the heat and the charge that it has then.
        self._jobs: dict[tuple[object, ...], tuple[int, Thermal, float]] = {}
        self._thermal = Thermal(self._profile, 0.0, 0, governor=self.governor)
        self._charge = float(self._profile.get("battery_percent", 0.0))

    def expect(self, request: Mapping[str, Any]) -> None:
        """Become the device that this request will find, unless it has been expected already."""
        identity = str(request.get("id", ""))
        if not (self.tells or self._power) or (self._for and self._for == identity):
            return
        self._for = identity
        found = _TRIAL.search(identity)
        before = min(int(found[1]), _MOST_TRIALS) if found else 0
        seconds = self._trial_seconds(request) if before else 0.0
        cooldown = request.get("cooldown_seconds", 0.0)
        pause = BETWEEN_S + (cooldown if isinstance(cooldown, int | float) else 0.0)
        job = (identity[: found.start()] if found else identity, seconds, pause, self.governor)
        # What goes on from trial to trial is kept from the one before, where that was asked for.
        done, self._thermal, self._charge = self._jobs.get(job, (before + 1, self._thermal, 0.0))
        if done > before:
            done, self._thermal = 0, self._new(request, 0)
            self._charge = float(self._profile.get("battery_percent", 0.0))
        for _ in range(done, before):
            self._thermal.work(seconds)
            self._thermal.rest(pause)
            self._use(seconds + pause)
        if before:
            self._jobs[job] = (before, self._thermal, self._charge)
            self._thermal = copy(self._thermal)

    def begin(self, request: Mapping[str, Any], seed: int) -> Thermal:
        """The heat that an agent's process begins with."""
        self.expect(request)
        before = self._thermal
        new = self._new(request, seed, before.temperature_c if self._heat else None, before.hot)
        self._thermal = new
        self._for = ""
        return new

    def rest(self, seconds: float) -> None:
        """Let modelled time go by."""
        self.waited_s += seconds
        self._thermal.rest(seconds)
        self._use(seconds)

    def state(self) -> bytes:
        """What ``state.sh`` prints there."""
        self._thermal.settle()
        self._use(0.0)
        profile, lines = self._profile, []
        clock = self._thermal.clock_mhz
        for number in range(int(profile.get("cores", 1)) if self._heat or self.governor else 0):
            if self.governor:
                lines.append(f"cpu.{number}.governor {self.governor}")
            if clock is not None:
                top = profile["throttled_mhz" if self._thermal.hot else "clock_mhz"]
                lines.append(f"cpu.{number}.khz {clock * 1e3:.0f}")
                lines.append(f"cpu.{number}.max_khz {profile['clock_mhz'] * 1e3:.0f}")
                lines.append(f"cpu.{number}.limit_khz {top * 1e3:.0f}")
        if self._heat:
            lines += ["thermal.0.type cpu-thermal",
                      f"thermal.0.temp {self._thermal.temperature_c * 1e3:.0f}"]  # fmt: skip
        if "battery_percent" in profile:
            cable = bool(profile.get("charging_w"))
            status = "Discharging" if not cable else "Full" if self._charge >= 100 else "Charging"
            lines += [f"battery.level {int(self._charge)}", f"battery.status {status}",
                      f"power.usb {int(cable)}"]  # fmt: skip
        return "".join(f"{line}\n" for line in lines).encode()

    def _new(
        self,
        request: Mapping[str, Any],
        seed: int,
        temperature_c: float | None = None,
        hot: bool = False,
    ) -> Thermal:
        accelerator = str(request.get("accelerator", "cpu"))
        share = load_share(self._profile, accelerator, request.get("threads", 1))
        return Thermal(
            self._profile, share, seed, accelerator=accelerator, temperature_c=temperature_c,
            hot=hot, governor=self.governor,
        )  # fmt: skip

    def _trial_seconds(self, request: Mapping[str, Any]) -> float:
        """How long a latency trial is at work, as far as its request says."""
        try:
            content = content_of(request["model"]["path"])
            backend = Backend(request.get("accelerator", "cpu"), request.get("threads", 1))
            cost = cost_of(content, backend, self._profile)
        except (HarnessError, OSError, KeyError, TypeError, ValueError):
            return 0.0  # the trial itself fails, and says why
        one = cost.invoke_ns * 1e-9
        runs = min(request["max_runs"], max(request["min_runs"], request["min_seconds"] / one))
        warmup = max(request["warmup_runs"] * one, request["warmup_seconds"])
        measured = runs * one
        if request["max_seconds"]:
            measured = min(measured, request["max_seconds"])
        return float(cost.first_ns * 1e-9 + warmup + measured)

    def _use(self, seconds: float) -> None:
        """Take from the battery what was used since, and give it what the cable brings."""
        joules, self._thermal.energy_j = self._thermal.energy_j, 0.0
        whole = float(self._profile.get("battery_wh", 0.0)) * 3600
        if whole:
            joules -= seconds * float(self._profile.get("charging_w", 0.0))
            self._charge = min(100.0, max(0.0, self._charge - 100 * joules / whole))


class GovernorProcess:
    """``governor.sh`` on a simulated device: sets, and restores when its stdin says so or ends."""

    def __init__(self, body: DeviceBody, profile: Mapping[str, Any], wanted: str) -> None:
        self._body, self._before = body, body.governor
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        known = profile.get("governors") or [self._before]
        if not self._before:
            self._lines.put(b"set 0\n")
        elif wanted not in known:
            self._lines.put(f"unknown {' '.join(known)}\n".encode())
        else:
            body.governor = wanted
            self._lines.put(f"set {profile.get('cores', 1)}\n".encode())

    def send(self, data: bytes) -> None:
        """See ``Process``."""
        if data.strip() == b"restore":
            self.kill()

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        with contextlib.suppress(queue.Empty):
            return self._lines.get_nowait()
        raise AgentTimeoutError(f"nothing was said for {timeout:g} s")

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        del timeout
        return 0

    def kill(self) -> None:
        """See ``Process``: the end of its stdin restores too."""
        self._body.governor = self._before

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return ""
