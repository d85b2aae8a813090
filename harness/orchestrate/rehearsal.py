"""A night before the night: every device of a suite as the simulation of its profile, and what
the real night will then take.

Only what is modelled is told: clocks, bytes, power. What no model knows is assumed, and said so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.domain import Backend, Device, DeviceKind, Policy, Stage, Suite, TrialStatus
from harness.errors import UsageError
from harness.orchestrate.lanes import group_of
from harness.simulation.thermal import full_load_w, load_share
from harness.store import JobRecord, Store, TrialRecord

#: Assumed: MB/s of a push by its link; USB 2 and a board's network do better on a good day.
LINK_MBS: Mapping[str, float] = {"adb": 20.0, "ssh": 10.0, "local": 400.0}

#: Assumed: seconds until an agent has started and imported its runtime, beside the modelled load.
AGENT_SECONDS = 1.0

#: The phases whose values are times, ns, see ``devices.messages``.
_TIMES = ("first", "warmup", "measure", "query", "service", "idle", "sustained", "interval")

#: Agents after which no device rests (``lane.py``): they time nothing.
_SWEEPS = (Stage.ACCURACY.value, Stage.CHECK.value)

#: What a real device gets of the one that stands for it.
_ENDING = " (simulated)"


def rehearsed(suite: Suite, simulated: Mapping[str, Device]) -> Suite:
    """The suite with every device swapped for a simulated one of the same name.

    ``simulated`` are the profiles there are, by name. A device says by ``simulate_as`` which one
    stands for it, else its name or its title does. Gates are left out: they are of real numbers.
    Raises ``UsageError`` naming the choices where nothing stands for a device, or what does
    cannot do what the suite asks for.
    """
    devices = tuple(_stand_in(device, simulated) for device in suite.devices)
    backends = []
    for backend in suite.backends:
        backends.append(Backend(backend.accelerator, backend.threads))
        for device in devices:
            _refuse(device, backend)
    name = f"{suite.name}{_ENDING}"
    return replace(
        suite, name=name, devices=devices, backends=tuple(dict.fromkeys(backends)), gates=()
    )


def _stand_in(device: Device, simulated: Mapping[str, Device]) -> Device:
    if device.kind is DeviceKind.SIMULATED:
        return device
    wanted = device.link.get("simulate_as")
    titles = {item.title.removesuffix(_ENDING): name for name, item in simulated.items()}
    name = str(wanted or (device.name if device.name in simulated else titles.get(device.title)))
    choices = ", ".join(sorted(simulated)) or "none"
    if name not in simulated:
        what = f"simulate_as = {wanted!r} is no" if wanted else "its profile does not name a"
        raise UsageError(
            f"device {device.name} cannot be rehearsed: {what} simulated device",
            hint=f'set simulate_as = "NAME" in its profile; simulated devices: {choices}',
        )
    found = simulated[name]
    planned = device.default_backend
    default = Backend(planned.accelerator, planned.threads)
    stand_in = replace(found, name=device.name, default_backend=default)
    _refuse(stand_in, default, f" (as {name})")
    return stand_in


def _refuse(device: Device, backend: Backend, by: str = "") -> None:
    cores = device.simulation.get("cores")
    if backend.accelerator not in device.accelerators:
        offered = ", ".join(device.accelerators)
        raise UsageError(
            f"device {device.name}{by} cannot rehearse {backend}: simulated are {offered}",
            hint="choose another simulate_as, or leave the device out with --device",
        )
    if backend.accelerator == "cpu" and cores is not None and backend.threads > cores:
        raise UsageError(
            f"device {device.name}{by} has {cores} cores, not {backend.threads}",
            hint="choose another simulate_as, or leave the device out with --device",
        )


def night(
    real: Suite,
    stand_ins: Sequence[Device],
    store: Store,
    jobs: Sequence[JobRecord],
    push_bytes: Mapping[str, int],
) -> dict[str, Any]:
    """What the run that ``jobs`` rehearsed with ``stand_ins`` will take on the devices of ``real``.

    ``seconds``: devices of one link go side by side, those that load this machine one after
    the other; conversions are not counted, for the rehearsal has left them in the cache. Of each
    device: ``trials`` (agent processes), ``seconds`` and of those ``push_seconds``, ``bytes``
    if nothing is there yet, ``joules`` where its profile has power, else ``None``. Jobs without
    numbers take a time that is not known: ``failed`` counts them.
    """
    rows = {
        device.name: _of_device(
            device,
            stand_in,
            _weighed(device, real, jobs),
            real.policy,
            store,
            push_bytes[device.name],
        )
        for device, stand_in in zip(real.devices, stand_ins, strict=True)
    }
    groups: dict[str, float] = defaultdict(float)
    for device in real.devices:
        groups[group_of(device)] += rows[device.name]["seconds"]
    known = [row["joules"] for row in rows.values()]
    return {
        "seconds": round(max(groups.values(), default=0.0), 1),
        "bytes": sum(row["bytes"] for row in rows.values()),
        "joules": round(sum(filter(None, known)), 1) if any(known) else None,
        "failed": sum(
            times
            for device in real.devices
            for job, times in _weighed(device, real, jobs)
            if job.status.value != "ok"
        ),
        "devices": rows,
        "assumed": {"link_mb_per_s": dict(LINK_MBS), "agent_start_seconds": AGENT_SECONDS},
    }


def _weighed(device: Device, real: Suite, jobs: Sequence[JobRecord]) -> list[tuple[JobRecord, int]]:
    """The jobs of a device's rehearsal, and for how many of the real night each stands.

    What differs by its runner or options alone, as ``cpu x4`` and ``cpu x4
    (runner=benchmark_model)``, is modelled once and will be run each.
    """
    asked = Counter(
        (backend.accelerator, backend.threads)
        for backend in dict.fromkeys(real.backends or (device.default_backend,))
    )
    return [
        (job, asked[job.job.backend.accelerator, job.job.backend.threads] or 1)
        for job in jobs
        if job.job.device == device.name
    ]


def _of_device(
    device: Device,
    stand_in: Device,
    jobs: Sequence[tuple[JobRecord, int]],
    policy: Policy,
    store: Store,
    size: int,
) -> dict[str, Any]:
    """Energy is ``idle_w`` all the time, and what full load adds: of cores the share that works."""
    push = size / 1e6 / LINK_MBS.get(device.transport, LINK_MBS["ssh"])
    profile = stand_in.simulation
    busy = rest = added = 0.0
    count = 0
    for job, times in jobs:
        backend = job.job.backend
        share = load_share(profile, backend.accelerator, backend.threads)
        for trial in store.trials(job.id, with_samples=True):
            if trial.status is TrialStatus.OK:
                count += times
                seconds = _seconds(trial) * times
                busy += seconds
                if "idle_w" in profile:
                    added += seconds * share * full_load_w(profile, backend.accelerator)
                rest += AGENT_SECONDS * times
                if trial.purpose not in _SWEEPS:
                    rest += policy.cooldown_seconds * times
    whole = push + busy + rest
    joules = round(profile["idle_w"] * whole + added, 1) if "idle_w" in profile else None
    return {
        "trials": count,
        "seconds": round(whole, 1),
        "push_seconds": round(push, 1),
        "bytes": size,
        "joules": joules,
    }


def _seconds(trial: TrialRecord) -> float:
    """How long an agent process works, in modelled time: loading, inferences, rests in between."""
    facts = trial.facts
    loading = sum(float(facts.get(key) or 0) for key in ("load_ns", "init_ns")) / 1e9
    if "elapsed_ns" in facts:
        return loading + float(facts["elapsed_ns"]) / 1e9
    ends = [
        int((at + values).max())
        for phase, (at, values) in trial.phases.items()
        if phase in _TIMES and len(at)
    ]
    return loading + max(ends, default=0) / 1e9
