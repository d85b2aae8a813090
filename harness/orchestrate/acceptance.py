"""What only a device itself can show, as a list that a user runs with one command.

Everything goes through the same parts as a run: link, files, lease, readiness, agents. What a
device cannot have (a governor on a virtual machine, a native agent without a compiler) is
unknown, not bad.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.config.devices import device_from
from harness.config.paths import profiles_dir
from harness.config.suites import load_suite
from harness.config.toml_source import TomlSource
from harness.devices.agents import AGENTS, agent_for
from harness.devices.blobs import Blob
from harness.devices.doctor import examine
from harness.devices.lease import DeviceLease, leased
from harness.devices.readiness import Readiness
from harness.devices.session import Session
from harness.devices.state import read_state
from harness.domain import (
    AdvisoryKind,
    Backend,
    Check,
    Device,
    DeviceKind,
    JobStatus,
    Mark,
    Policy,
    Stage,
)
from harness.errors import DeviceBusyError, HarnessError, TransportError
from harness.orchestrate.environment import known_names
from harness.orchestrate.events import Listener
from harness.orchestrate.plan import make_plan
from harness.orchestrate.run import execute
from harness.orchestrate.stop import Stop
from harness.store import JobRecord, Store
from harness.transports import TRANSPORTS

#: Bytes of the file that is pushed to see how fast and how sure the link is.
PUSH_BYTES = 64_000_000

#: Names that have broken scripts before.
ODD_NAMES = (
    "a b",
    "it's",
    'say "hi"',
    "-rf",
    "$(touch oops)",
    "`id`",
    "line\nbreak",
    "ü→日本",
    "*?[a]",
)

#: Accuracies of one variant on two machines may differ by so much: roundings of a runtime.
SAME_SHARE = 0.005

#: Seconds within which a process that waits for a lease asks again; see ``lease.sh``.
_ASKED_AGAIN = 3.0

_RECIPES = ("float32", "int8")


def accept(device: Device, tell: Listener, stop: Stop) -> Iterator[Check]:
    """Every check, as it ends; none raises for what is wrong with the device.

    No further step begins once ``stop`` is asked for.
    """
    with contextlib.closing(examine(device)) as checks:
        for check in checks:
            yield check
            if stop():
                return
    try:
        with Session(device, "harness doctor --acceptance") as session:
            for step in _STEPS:
                if stop():
                    return
                yield from _guarded(step, session)
    except HarnessError as error:
        yield Check("session", Mark.BAD, error.message, error.hint or "")
        return
    if not stop():
        yield from _runs(device, tell, stop)


def _guarded(step: Callable[[Session], Iterator[Check]], session: Session) -> Iterator[Check]:
    try:
        yield from step(session)
    except HarnessError as error:
        name = step.__name__.strip("_").replace("_", " ")
        yield Check(name, Mark.BAD, error.message, error.hint or "")


# -- the link --------------------------------------------------------------------------------


def _commands(session: Session) -> Iterator[Check]:
    """Exit codes, names that are no code, and a process that ends when nobody feeds it."""
    link = session.transport
    if link.kind_is_simulated:
        return
    code = link.run(["sh", "-c", "exit 7"]).exit_code
    yield _told("exit codes", code == 7, f"exit 7 gave {code}")
    wanted = "".join(f"[{name}]" for name in ODD_NAMES).encode()
    seen = link.run(["printf", "[%s]", *ODD_NAMES]).stdout
    count = len(ODD_NAMES)
    same = f"{count} of {count} names came as they were sent"
    found = same if seen == wanted else f"{count} names came as {seen[:80]!r}"
    yield _told("odd names", seen == wanted, found)
    process = link.start(["sh", "-c", "echo $$; cat; exit 0"])
    pid = process.read_line(20).decode("utf-8", "replace").strip()
    process.kill()
    gone = pid.isdecimal() and _ends(session, pid)
    yield _told("no orphans", gone, "a process ends with its stream" if gone else f"{pid} goes on")


def _ends(session: Session, pid: str) -> bool:
    for _ in range(50):
        if session.transport.run(["sh", "-c", f"kill -0 {pid}"]).exit_code != 0:
            return True
        time.sleep(0.1)
    return False


def _push(session: Session) -> Iterator[Check]:
    """A large file: verified, cut and resumed, and never sent twice."""
    with tempfile.TemporaryDirectory() as folder:
        blob = _random_file(Path(folder) / "file")
        link, sent_before_cut = session.transport, 0

        def cut(sent: int, _total: int) -> None:
            nonlocal sent_before_cut
            sent_before_cut = sent
            if sent > PUSH_BYTES // 4:
                link.close()

        try:
            session.push([blob], cut)
            yield Check("cut link", Mark.UNKNOWN, "this link cannot be cut")
        except TransportError as error:
            session.reconnect()
            began = time.monotonic()
            sent = session.push([blob], lambda *_: None)
            seconds = time.monotonic() - began
            again = f"{sent_before_cut / 1e6:.0f} MB in, then {sent / 1e6:.0f} MB more"
            good = error.transient and (sent < PUSH_BYTES or not link.resumes)
            yield _told("cut link", good, again)
            rate = f"{sent / 1e6 / seconds:.0f} MB/s, verified there"
            yield Check(f"push {PUSH_BYTES / 1e6:.0f} MB", Mark.GOOD, rate)
        sent = session.push([blob], lambda *_: None)
        yield _told("second push", sent == 0, f"{sent} bytes sent of a file that is there")
        link.run(["rm", "-f", session.path(blob)])


def _random_file(path: Path) -> Blob:
    data = os.urandom(PUSH_BYTES)
    path.write_bytes(data)
    return Blob(path, hashlib.sha256(data).hexdigest(), len(data), "a file of random bytes")


def _second_session(session: Session) -> Iterator[Check]:
    """Another user's session is refused for as long as this one lives."""
    device = session.device
    if not leased(session.transport):
        return
    link = TRANSPORTS[device.transport](device)
    link.open()
    other = DeviceLease(link, device, f"another one {secrets.token_hex(2)}")
    try:
        other.acquire()
    except DeviceBusyError as error:
        yield Check("one session", Mark.GOOD, error.message)
    else:
        yield Check("one session", Mark.BAD, "a second session got the device")
    finally:
        other.release()
        link.close()
    # Its process on the device notices when it asks again that nobody listens. Were our session
    # over by then, it would get the device, and the next one would take over from it.
    time.sleep(_ASKED_AGAIN)


def _governor(session: Session) -> Iterator[Check]:
    if session.transport.kind_is_simulated:
        return
    before = read_state(session.transport).governor
    if not before:
        yield Check("set governor", Mark.UNKNOWN, "the device has none")
        return
    readiness = Readiness(session.transport, Policy(governor="performance"))
    readiness.open()
    during = read_state(session.transport).governor
    missed = readiness.wait(lambda *_: None, lambda: True).missed
    readiness.close()
    after = read_state(session.transport).governor
    if missed:
        yield Check("set governor", Mark.UNKNOWN, missed[0][1], "see docs: devices, readiness")
    else:
        yield _told("set governor", after == before, f"{before}, then {during}, then {after}")


def _cores(session: Session) -> Iterator[Check]:
    state = read_state(session.transport) if not session.transport.kind_is_simulated else None
    if state is None or not state.processors:
        return
    big = state.cores("big")
    found = f"big: {big}, little: {state.cores('little')}" if big else "all processors are alike"
    yield Check("kinds of cores", Mark.GOOD, found)


_STEPS: tuple[Callable[[Session], Iterator[Check]], ...] = (
    _commands,
    _push,
    _second_session,
    _governor,
    _cores,
)


# -- what it runs ----------------------------------------------------------------------------


def _runs(device: Device, tell: Listener, stop: Stop) -> Iterator[Check]:
    """Small networks with each agent and backend, held against this machine."""
    suite = load_suite(
        "demo", known_names(), devices=["local"], recipes=_RECIPES,
        policy={"trials": 2, "min_seconds": 0.2, "warmup_seconds": 0.1, "min_runs": 20},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        with Store(f"sqlite:///{folder}/acceptance.db") as store:

            def run(one: Device, backend: str) -> list[JobRecord]:
                plan = make_plan(replace(suite, devices=(one,), backends=(Backend.parse(backend),)))
                outcome = execute(store, plan=plan, tell=tell, stop=stop)
                return list(store.jobs(outcome.run))

            reference = run(_this_machine(), "cpu")
            if stop():
                return
            failed = [item for item in reference if item.status is not JobStatus.OK]
            if failed:
                why = failed[0].error or "no record"
                yield Check("reference", Mark.BAD, f"this machine's own run failed: {why}")
                return
            wanted = {item.job.recipe: item for item in reference}
            modelled = device.kind is DeviceKind.SIMULATED
            for agent in ("python",) if modelled else AGENTS:
                one = replace(device, link={**device.link, "agent": agent})
                # A device need not have every agent, only its own.
                spare = not modelled and AGENTS[agent] is not agent_for(device)
                records = run(one, str(device.default_backend))
                if stop():
                    return
                for record in records:
                    yield _judged(agent, record, wanted[record.job.recipe], spare=spare)


def _this_machine() -> Device:
    """As the shipped profile has it: a user's own ``local`` may be set up otherwise."""
    source = TomlSource(profiles_dir() / "devices" / "local.toml")
    return device_from(source, "local", source.data, (), TRANSPORTS)


def _judged(agent: str, record: JobRecord, wanted: JobRecord, *, spare: bool) -> Check:
    label = f"{agent}, {record.job.recipe} ({record.job.backend})"
    if record.status is not JobStatus.OK:
        absent = spare and record.stage in (Stage.CONNECT, Stage.PUSH, Stage.START)
        unsure = absent or record.status is JobStatus.UNSUPPORTED
        return Check(label, Mark.UNKNOWN if unsure else Mark.BAD, record.error or "no record")
    own, other = record.measurements["top1"].value, wanted.measurements["top1"].value
    differs = any(item.kind is AdvisoryKind.OUTPUTS_DIFFER for item in record.advisories)
    found = f"top-1 {own:.4f}, here {other:.4f}"
    median = record.measurements.get("latency_median")
    if median is not None:
        found += f"; median {median.value:.3g} ms, {median.n} samples of {median.groups} processes"
    good = abs(own - other) <= SAME_SHARE and not differs
    return _told(label, good, found + ("; outputs differ from this machine's" if differs else ""))


def _told(name: str, good: bool, found: str) -> Check:
    return Check(name, Mark.GOOD if good else Mark.BAD, found)
