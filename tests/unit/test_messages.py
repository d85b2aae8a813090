"""Nothing that a device sends is trusted."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.python import wire
from harness.devices import messages
from harness.errors import AgentError, AgentSetupError, ProtocolError, UnsupportedError
from harness.transports.lines import LineReader

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_protocol_error(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(messages.decode(line, "d"), dict)


@given(
    st.sampled_from([messages.samples, messages.loaded, messages.done_facts, messages.check_hello]),
    st.dictionaries(
        st.sampled_from(
            ["type", "phase", "unit", "at", "values", "load_ns", "init_ns", "inputs", "facts",
             "protocol", "runtime", "platform", "clock", "memory_peak_bytes"]
        ),
        json_values | st.sampled_from(["ns", "measure", "hello", 1]),
    ),
)  # fmt: skip
def test_any_message_is_read_or_refused(read: Any, message: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        read({"type": "x", **message}, "d")


def good_outputs() -> dict[str, Any]:
    data = np.arange(6, dtype=np.int8).reshape(2, 3)
    return {"type": "outputs", "offset": 3, "shape": [2, 3], "dtype": "int8",
            "data": wire.pack(data)}  # fmt: skip


def test_outputs_are_read() -> None:
    tensor, offset, values = messages.outputs(good_outputs(), "d", 5)
    assert (tensor, offset) == (0, 3) and values.tolist() == [[0, 1, 2], [3, 4, 5]]
    second = {**good_outputs(), "tensor": 1}
    assert messages.outputs(second, "d", 5, asked=(1, 0))[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 4}, {"offset": -1}, {"offset": True}, {"offset": "3"}, {"shape": [2, 4]},
        {"shape": [1 << 40]}, {"shape": []}, {"shape": [0, 3]}, {"shape": "23"},
        {"dtype": "object"}, {"tensor": 1}, {"tensor": -1}, {"tensor": False}, {"tensor": "0"},
        {"dtype": "float32"}, {"dtype": None}, {"data": "!!"}, {"data": None}, {"data": 5},
        {"data": base64.b64encode(b"x" * 100).decode()},
    ],
)  # fmt: skip
def test_outputs_that_lie_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        messages.outputs({**good_outputs(), **change}, "d", 5)


@pytest.mark.parametrize(
    "change",
    [
        {"values": [1.5, 2]}, {"values": [-1, 2]}, {"values": [True, 2]}, {"values": [1 << 80, 1]},
        {"at": [1]}, {"phase": "other"}, {"unit": "ms"}, {"values": "12"}, {"at": [], "values": []},
    ],
)  # fmt: skip
def test_samples_that_lie_are_refused(change: dict[str, Any]) -> None:
    good = {"type": "samples", "phase": "measure", "unit": "ns", "at": [1, 2], "values": [3, 4]}
    assert messages.samples(good, "d")[2].tolist() == [3, 4]
    with pytest.raises(ProtocolError):
        messages.samples({**good, **change}, "d")


def test_more_runs_than_an_interval_can_hold_are_refused() -> None:
    said = {"type": "samples", "phase": "runs", "unit": "count", "at": [1], "values": [1 << 39]}
    assert messages.samples(said, "d", messages.LOAD)[2].tolist() == [1 << 39]
    with pytest.raises(ProtocolError):
        messages.samples({**said, "values": [1 << 40]}, "d", messages.LOAD)


def test_text_of_a_device_is_bounded_and_printable() -> None:
    cleaned = messages.clean({"a\x1b[31m": "x" * 10_000 + "\n", "b": [[[[[[[["deep"]]]]]]]]})
    (name, *_) = cleaned
    assert "\x1b" not in name and len(cleaned[name]) <= messages.MAX_TEXT
    assert "deep" not in str(cleaned)
    assert messages.clean(float("nan")) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("no_numpy", AgentSetupError), ("numpy_mismatch", AgentSetupError),
     ("unsupported", UnsupportedError), ("bad_model", AgentError), ("whatever", AgentError),
     (None, AgentError)],
)  # fmt: skip
def test_errors_of_an_agent_keep_their_reason(kind: str, expected: type[Exception]) -> None:
    error = messages.reported({"kind": kind, "message": "why", "hint": "do"}, "board")
    assert isinstance(error, expected) and "board: why" in str(error) and error.hint == "do"


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_come_out_as_they_went_in(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    waiting = [part for part in parts if part]
    reader = LineReader(lambda timeout: waiting.pop(0) if waiting else b"")
    assert [reader.read_line(1) for _ in lines] == [line + b"\n" for line in lines]
    assert reader.read_line(1) == b""


def test_a_line_without_end_is_refused() -> None:
    reader = LineReader(lambda timeout: b"x" * 1_000_000)
    with pytest.raises(ProtocolError, match="without an end"):
        reader.read_line(10)


def test_only_samples_count_as_an_agents_timings() -> None:
    facts = messages.done_facts({"type": "done", "facts": {"summary": {"median": 1}}}, "board")
    assert "summary" not in facts


@pytest.mark.parametrize(
    "delegated",
    [3, {}, {"accelerator": 1}, {"accelerator": "gpu", "nodes": -1},
     {"accelerator": "gpu", "total": "9"}, {"accelerator": "gpu", "partitions": True}],
)  # fmt: skip
def test_delegated_that_makes_no_sense(delegated: object) -> None:
    good = {"accelerator": "gpu", "nodes": 3, "total": 9, "partitions": None}
    assert messages.done_facts({"facts": {"delegated": good}}, "board")["delegated"] == good
    with pytest.raises(ProtocolError, match="delegated that makes no sense"):
        messages.done_facts({"facts": {"delegated": delegated}}, "board")


CONDITIONS = {
    "at": 12, "busy_s": 812.5, "own_s": 0.25, "frequency_mhz": 1500.0, "frequency_max_mhz": None,
    "temperature_c": -3.5, "involuntary_switches": 4, "processors": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    "conditions",
    [3, [], {}, {"before": CONDITIONS}, {"before": CONDITIONS, "after": None},
     *({"before": CONDITIONS, "after": {**CONDITIONS, key: value}} for key, value in [
         ("at", -1), ("at", 1.5), ("busy_s", "1"), ("busy_s", -0.1), ("own_s", True),
         ("frequency_mhz", 1e9), ("temperature_c", 400), ("involuntary_switches", 0.5),
         ("processors", 0), ("processors", [8])])],
)  # fmt: skip
def test_conditions_that_make_no_sense(conditions: object) -> None:
    good = {"before": CONDITIONS, "after": {"temperature_c": 41, "more": "words"}}
    assert messages.done_facts({"facts": {"conditions": good}}, "board")["conditions"] == good
    with pytest.raises(ProtocolError, match="conditions that make no sense"):
        messages.done_facts({"facts": {"conditions": conditions}}, "board")


@pytest.mark.parametrize(
    "warmup",
    [[], "steady", 1, {}, {"steady": 1, "runs": 1, "reason": "steady"},
     {"steady": "true", "runs": 1, "reason": "steady"},
     {"steady": [], "runs": 1, "reason": "steady"},
     {"steady": True, "runs": -1, "reason": "steady"}, {"steady": True, "reason": "steady"},
     {"steady": True, "runs": True, "reason": "steady"},
     {"steady": True, "runs": 1, "reason": "\x1b[31m"}, {"steady": True, "runs": 1, "reason": []}],
)  # fmt: skip
def test_a_warm_up_that_makes_no_sense(warmup: object) -> None:
    for steady in (True, False, None):
        good = {"steady": steady, "runs": 9, "reason": "max_seconds"}
        assert messages.done_facts({"facts": {"warmup": good}}, "board")["warmup"] == good
    assert messages.done_facts({"facts": {}}, "board") == {}
    with pytest.raises(ProtocolError, match="warmup that makes no sense"):
        messages.done_facts({"facts": {"warmup": warmup}}, "board")
