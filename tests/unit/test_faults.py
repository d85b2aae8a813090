"""The grammar of faults, and when a planned fault strikes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.faults import with_faults
from harness.config.suites import load_suite, suite_from_json, suite_to_json
from harness.domain.fault import PLACES, PURPOSES, Fault, FaultKind, RandomFaults, parse_fault
from harness.errors import ConfigError, UsageError
from harness.orchestrate.environment import known_names
from harness.simulation.faults import FaultPlan
from harness.transports.faulty.link import damage


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("disconnect", Fault(FaultKind.DISCONNECT, "latency")),
        (
            "disconnect at sample 40 of trial 2",
            Fault(FaultKind.DISCONNECT, "latency", number=2, sample=40),
        ),
        ("disconnect at byte 1000 of push 2", Fault(FaultKind.DISCONNECT, "push", 2, byte=1000)),
        ("crash at load of trial 3, always",
         Fault(FaultKind.CRASH, "load", 3, "latency", times=0)),
        ("hang at accuracy 2 times", Fault(FaultKind.HANG, "accuracy", times=2)),
        ("killed of scenarios 2", Fault(FaultKind.KILLED, "scenarios", 2)),
        ("out of memory at sample 3 of accuracy", Fault(FaultKind.MEMORY, "accuracy", sample=3)),
        ("refused connection at connect 2", Fault(FaultKind.REFUSED, "connect", 2)),
        ("agent missing always", Fault(FaultKind.MISSING, "start", times=0)),
        (
            "throttling factor=3 at sample 100",
            Fault(FaultKind.THROTTLING, "latency", sample=100, settings={"factor": 3.0}),
        ),
        ("low battery", Fault(FaultKind.BATTERY, "connect", times=0, settings={"percent": 5})),
        ("wrong outputs at sample 7", Fault(FaultKind.OUTPUTS, "accuracy", sample=7)),
        ("random rate=0.1 seed=7", RandomFaults(0.1, 7)),
    ],
)  # fmt: skip
def test_a_fault_is_read(text: str, found: Fault | RandomFaults) -> None:
    assert parse_fault(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("disconect at load", "'disconect'\n  did you mean 'disconnect'?"),
        ("crash at laod", "unknown place 'laod'\n  did you mean 'load'?"),
        ("crash of trail 2", "unknown 'trail' after 'of'\n  did you mean 'trial'?"),
        ("crash at sample many", "a whole number from 1"),
        ("crash at sample 0", "a whole number from 1"),
        ("crash at connect", "crash does not strike at connect"),
        ("full disk at load", "full disk does not strike at load\n  it does at push"),
        ("crash at byte 7", "crash does not strike at push"),
        ("full disk at byte 7", "full disk takes no byte"),
        ("disconnect at sample 4 of push", "push has no samples"),
        ("crash at sample 4 of operators", "operators has no samples"),
        ("disconnect at start of trial 2", "start is not of trial 2"),
        ("throttling factr=2", "no setting 'factr'\n  did you mean 'factor'?"),
        ("throttling factor=0.5", "factor is a number from 1.01"),
        ("throttling factor=nan", "factor is a number from 1.01"),
        ("crash factor=2", "crash has no settings"),
        ("crash at", "nothing after 'at'"),
        ("crash at load of", "nothing after 'of'"),
        ("crash once always", "both 'once' and 'always' say how often"),
        ("crash at load 2 times always", "both '2 times' and 'always' say how often"),
        ("crash times once", "both 'times' and 'once' say how often"),
        ("crash once at load", "how often it strikes comes last"),
        ("crash often", "'often' is not understood"),
        ("crash some times", "times 'some'"),
        ("random seed=7", "random needs a rate"),
        ("random rate=2", "rate is a number from 0 to 1"),
        ("random rate=0.1 sed=7", "did you mean 'seed'?"),
        ("", "no fault"),
        ("crash\x1b[31m", "no fault"),
        ("x" * 400, "no fault"),
    ],
)
def test_what_is_no_fault_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert why in str(caught.value) and "Traceback" not in str(caught.value)


@given(st.text(max_size=60) | st.lists(
    st.sampled_from([*(k.value for k in FaultKind), *PURPOSES, "at", "of", "sample", "trial",
                     "2", "0", "push", "byte", "always", "times", "rate=1", "random", "=", "x=y"]),
    max_size=9).map(" ".join))  # fmt: skip
def test_any_text_is_a_fault_or_a_usage_error(text: str) -> None:
    try:
        found = parse_fault(text)
    except UsageError:
        return
    if isinstance(found, Fault):
        assert found.place in PLACES[found.kind]


def test_every_kind_strikes_where_it_says(suite_file: Callable[..., Path]) -> None:
    for kind in FaultKind:
        for place in PLACES[kind]:
            assert Fault.parse(f"{kind.value} at {place}").place == place
        assert Fault.parse(kind.value).place == PLACES[kind][0]


def test_the_command_line_names_devices(suite_file: Callable[..., Path]) -> None:
    suite = load_suite(suite_file(devices=["pixel-3", "local", "raspberry-pi-4"]), known_names())
    found = with_faults(suite, ["pixel-3: hang at load", "pixel-3: crash"])
    assert [device.faults for device in found.devices] == [("hang at load", "crash"), (), ()]
    assert suite_from_json(suite_to_json(found)) == found
    for text, why in [
        ("hang at load", "names no device"),
        ("pixel-33: hang", "did you mean 'pixel-3'?"),
        ("local: hang", "only simulated devices are given faults"),
        ("raspberry-pi-4: cpu fallback", "offers the CPU alone"),
        ("pixel-3: hangs", "did you mean 'hang'?"),
    ]:
        with pytest.raises(UsageError, match=why.replace("?", r"\?")):
            with_faults(suite, [text])


def test_a_profile_has_faults(
    tmp_path: Path, suite_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_DEVICES", str(folder))
    shipped = (Path(__file__).parents[2] / "profiles/devices/pixel-3.toml").read_text()
    profile = folder / "phone.toml"

    def load(faults: str) -> tuple[str, ...]:
        text = shipped.replace('name = "pixel-3"', f'name = "phone"\nfaults = {faults}')
        profile.write_text(text)
        return load_suite(suite_file(devices=["phone"]), known_names()).devices[0].faults

    assert load('["disconnect at sample 40 of trial 2"]') == ("disconnect at sample 40 of trial 2",)
    with pytest.raises(ConfigError, match=r"phone\.toml:3: the fault 'hangs'.*\n.*'hang'"):
        load('["hangs"]')
    profile.write_text('transport = "ssh"\nhost = "pi"\nfaults = ["hang"]\n')
    with pytest.raises(ConfigError, match="faults is a setting of the transport simulated"):
        load_suite(suite_file(devices=["phone"]), known_names())


def test_a_fault_strikes_as_often_as_it_says() -> None:
    plan = FaultPlan("a", ["refused connection 2 times", "agent missing at start 2", "slow link"])
    assert [len(plan.reached("connect")) for _ in range(4)] == [1, 1, 0, 0]
    assert [len(plan.reached("start")) for _ in range(3)] == [0, 1, 0]
    assert [len(plan.reached("push")) for _ in range(3)] == [1, 1, 1]


def test_a_sample_that_is_never_reached_is_no_fault() -> None:
    plan = FaultPlan("a", ["crash at sample 9 of trial 2"])
    assert plan.of_process("latency", 1, "x") == []
    for _ in range(2):  # it was not reached the first time
        (fault,) = plan.of_process("latency", 2, "x")
    assert plan.strike(fault) and not plan.strike(fault)
    assert plan.of_process("latency", 2, "x") == []


def test_a_plan_knows_which_of_its_faults_have_struck() -> None:
    plan = FaultPlan("a", ["crash at sample 9", "full disk", "agent missing at start 2",
                           "random rate=0", "crash at load", "random rate=1"])  # fmt: skip
    assert plan.struck == set()
    plan.reached("start")
    due = plan.of_process("latency", 1, "x")
    assert plan.struck == set() and len(due) == 3  # they may strike, and none has yet
    assert all(plan.strike(fault) for fault in due[1:])
    assert plan.struck == {4, 5}  # what was drawn is the second random one's
    plan.reached("start")
    plan.reached("push")
    assert plan.struck == {1, 2, 4, 5}


def test_random_faults_are_the_same_for_the_same_seed_in_any_order() -> None:
    names = [f"job {n}" for n in range(200)]

    def drawn(seed: int, order: list[str]) -> dict[str, list[Fault]]:
        plan = FaultPlan("a", [f"random rate=0.2 seed={seed}"])
        return {name: plan.of_process("latency", 1, name) for name in order}

    one = drawn(7, names)
    assert one == drawn(7, names[::-1]) and one != drawn(8, names)
    assert 15 < sum(map(len, one.values())) < 70  # 40 on average
    assert {fault.place for found in one.values() for fault in found} == {"load", "latency"}
    assert not any(drawn_ for drawn_ in FaultPlan("a", ["random rate=0"]).reached("connect"))


def test_a_damaged_push_is_one_devices_own(tmp_path: Path) -> None:
    """Simulated devices share what they were pushed by links to one file."""
    shared, pushed, empty = (tmp_path / name for name in ("shared", "pushed", "empty"))
    shared.write_bytes(b"of all")
    pushed.hardlink_to(shared)
    empty.touch()
    for file in (pushed, empty):
        damage(file)
    damage(tmp_path / "not there")
    assert shared.read_bytes() == b"of all" != pushed.read_bytes() and len(pushed.read_bytes()) == 6
    assert empty.read_bytes() and len(list(tmp_path.iterdir())) == 3
