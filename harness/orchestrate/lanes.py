"""All lanes of a run: which go side by side, and who takes over from a device set aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import groupby
from typing import Protocol

from harness.devices.lease import Busy
from harness.devices.lock import HostLock
from harness.domain import Device, DeviceKind, Suite
from harness.errors import DeviceBusyError, HarnessError
from harness.orchestrate.events import Listener, Preparing
from harness.orchestrate.lane import Lane
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.patience import waiting
from harness.orchestrate.stop import Stop
from harness.store import Batch, Store
from harness.transports import TRANSPORTS

#: The group of every device whose work loads this machine's processors.
THIS_MACHINE = "this machine"


def _no_more() -> None:
    """Nothing is kept back."""


class Runner(Protocol):
    """What brings a run's jobs to their records."""

    def run(self, jobs: Sequence[LaneJob]) -> None:
        """Every job to its record, unless the run is stopped. Raises ``StoreError`` only."""

    @property
    def struck(self) -> Mapping[str, Collection[int]]:
        """Which faults have struck, by device, as positions in ``Device.faults``."""


#: ``(suite, store, owner, tell, stopped)`` -> a runner: ``Lanes`` for a suite.
RunnerFactory = Callable[[Suite, Store, str, Listener, Stop], Runner]


class Lanes:
    """Groups of lanes: those of one group one after the other, groups side by side.

    So there are as many threads as real devices, and one for all that this machine computes.
    ``simulated_at_once`` of its simulated devices may go side by side; they share one
    interpreter, so that is no faster, and no number hangs on it.
    """

    def __init__(
        self,
        suite: Suite,
        store: Store,
        owner: str,
        tell: Listener,
        stopped: Stop,
        *,
        simulated_at_once: int = 1,
    ) -> None:
        self._at_once = simulated_at_once
        self._suite, self._store, self._owner = suite, store, owner
        self._tell, self._stopped = tell, stopped
        self._waiting: dict[str, list[Lane]] = {}
        self._aside: set[str] = set()
        self._struck: dict[str, set[int]] = defaultdict(set)

    @property
    def struck(self) -> Mapping[str, Collection[int]]:
        """See ``Runner``."""
        return self._struck

    def run(self, jobs: Sequence[LaneJob]) -> None:
        """Every job to its record, unless the run is stopped. Raises ``StoreError`` only."""
        by_device: dict[str, list[LaneJob]] = defaultdict(list)
        for item in jobs:
            by_device[item.device].append(item)
        for device in self._suite.devices:
            if device.name in by_device:
                self._add(device, by_device.pop(device.name))
        running: dict[Future[list[Lane]], str] = {}
        count = max(1, len(self._waiting))
        with ThreadPoolExecutor(max_workers=count, thread_name_prefix="lane") as pool:
            try:
                while self._waiting or running:
                    for group in self._waiting.keys() - set(running.values()):
                        lanes = self._waiting.pop(group)
                        running[pool.submit(self._run_group, lanes)] = group
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        del running[future]
                        for lane in future.result():
                            self._struck[lane.device.name] |= lane.struck
                            self._hand_on(lane)
            except BaseException:
                self._stopped.request()  # the store failed: the other devices need not go on
                raise

    def _add(self, device: Device, jobs: list[LaneJob]) -> None:
        group = group_of(device)
        lane = Lane(
            device, jobs, self._suite.policy, self._store, self._owner, self._tell, self._stopped
        )
        lane.on_host = group == THIS_MACHINE
        self._waiting.setdefault(group, []).append(lane)

    def _run_group(self, lanes: list[Lane]) -> list[Lane]:
        for real, of_kind in groupby(lanes, key=lambda lane: lane.real):
            if real:
                self._run_lanes(list(of_kind))
            elif self._at_once == 1:
                self._run_simulated(list(of_kind))
            else:
                with ThreadPoolExecutor(self._at_once, thread_name_prefix="simulated") as pool:
                    for _ in pool.map(self._run_beside, list(of_kind)):
                        pass
        return lanes

    def _run_beside(self, lane: Lane) -> None:
        """A simulated lane beside others, which what it raises stops too."""
        try:
            self._run_simulated([lane])
        except BaseException:
            self._stopped.request()
            raise

    def _run_simulated(self, lanes: list[Lane]) -> None:
        """Lanes one after the other that write many trials at once."""
        fresh = [item.id for lane in lanes for item in lane.left() if not item.attempts]
        with Batch(self._store, fresh) as batch:
            for lane in lanes:
                lane.write_to(batch)
            self._run_lanes(lanes, batch.flush)

    def _run_lanes(self, lanes: list[Lane], before_waiting: Callable[[], None] = _no_more) -> None:
        for lane in lanes:
            if self._stopped():
                break
            if not lane.on_host:
                lane.run()
                continue
            # Only what is timed needs this machine for itself.
            timed = lane.device.kind is DeviceKind.REAL
            lock = HostLock(self._owner, exclusive=timed)
            try:
                with host(lock, self._waiting_for_host(before_waiting)):
                    lane.run()
            except DeviceBusyError as error:
                lane.refuse(error)

    def _waiting_for_host(self, before: Callable[[], None]) -> Busy:
        wait = waiting(self._suite.policy, self._tell, self._stopped)

        def busy(error: DeviceBusyError) -> None:
            before()
            wait(error)

        return busy

    def _hand_on(self, lane: Lane) -> None:
        """What a device that was set aside has left goes to a sibling, all of it to one.

        Variants are compared on one device, so they stay together.
        """
        if lane.aside is None:
            return
        self._aside.add(lane.device.name)
        left = lane.left()
        if not left or self._stopped():
            return
        sibling = next(
            (
                device
                for device in self._suite.devices
                if device.name not in self._aside and alike(device, lane.device)
            ),
            None,
        )
        if sibling is None:
            lane.fail_left()
            return
        why = lane.aside.error.one_line
        self._tell(Preparing(f"{len(left)} jobs of {lane.device.name} move to {sibling.name}"))
        for item in left:
            self._store.withdraw_trials(item.id, f"not counted: the job moved to {sibling.name}")
            item.move(sibling.name, why)
            variant = item.ready.variant
            self._store.note_variant(item.id, variant.sha256, variant.size_bytes, item.noted)
        self._add(sibling, left)


def alike(one: Device, other: Device) -> bool:
    """Whether a job planned for one may run on the other.

    The same kind, link and accelerators; and the same title, where both have one: a title
    says which board it is.
    """
    titles = {device.title for device in (one, other) if device.title not in ("", device.name)}
    return (
        one.name != other.name
        and (one.kind, one.transport) == (other.kind, other.transport)
        and set(one.accelerators) == set(other.accelerators)
        and one.simulation == other.simulation
        and len(titles) < 2
    )


def group_of(device: Device) -> str:
    """Devices whose work loads this machine's processors run one after the other."""
    try:
        transport = TRANSPORTS[device.transport](device)
        return THIS_MACHINE if transport.runs_on_host else transport.address
    except HarnessError:
        return device.name  # its lane will fail and say why


@contextmanager
def host(lock: HostLock, busy: Busy) -> Iterator[None]:
    """This machine's processors: alone for measuring, shared for conversions and simulations.

    Raises ``DeviceBusyError`` through ``busy``.
    """
    while True:
        try:
            lock.acquire()
            break
        except DeviceBusyError as error:
            busy(error)
    try:
        yield
    finally:
        lock.release()
