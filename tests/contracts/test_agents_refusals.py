"""What no agent can do is refused alike: wrong requests, damaged models, samples of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl

from device_agents.python import wire
from tests.support.agent import AgentProcess, exchange, request
from tests.support.models import adding_model, pack, unpack


def probe(extra: bytes) -> bytes:
    """A request of a long id that asks for nothing and has another member."""
    identity = "\u00e9" * 2048
    return b'{"protocol": 1, "action": "probe", "id": "%s", "x": %s}\n' % (identity.encode(), extra)


@pytest.mark.parametrize(
    ("change", "kind", "stage"),
    [
        ({"protocol": 99}, "bad_request", "start"),
        ({"protocol": None}, "bad_request", "start"),
        ({"action": "reboot"}, "bad_request", "start"),
        ({"action": 7}, "bad_request", "start"),
        ({"action": ["latency"]}, "bad_request", "start"),
        ({"action": {}}, "bad_request", "start"),
        ({"protocol": 1.0}, "bad_request", "start"),
        ({"protocol": True}, "bad_request", "start"),
        ({"id": 7}, "bad_request", "start"),
        ({"id": "x" * 4097}, "bad_request", "start"),
        ({"cores": []}, "bad_request", "start"),
        ({"cores": [-1]}, "bad_request", "start"),
        ({"cores": ["0"]}, "bad_request", "start"),
        ({"threads": "many"}, "bad_request", "load"),
        ({"threads": 0}, "bad_request", "load"),
        ({"threads": 257}, "bad_request", "load"),
        ({"threads": True}, "bad_request", "load"),
        ({"threads": 1.0}, "bad_request", "load"),
        ({"accelerator": None}, "bad_request", "load"),
        ({"accelerator": ["cpu"]}, "bad_request", "load"),
        ({"model": None}, "bad_request", "load"),
        ({"model": {"path": "/nonexistent"}}, "bad_model", "load"),
        ({"model": {"path": "/"}}, "bad_model", "load"),
        ({"accelerator": "warp"}, "unsupported_accelerator", "load"),
        ({"accelerator": "gpu"}, "unsupported_accelerator", "load"),
        ({"accelerator": "npu"}, "unsupported_accelerator", "load"),
        ({"samples": {"path": "/nonexistent"}}, "bad_samples", "accuracy"),
        ({"samples": {"path": "/"}}, "bad_samples", "accuracy"),
        ({"samples": None}, "bad_request", "accuracy"),
        ({"count": 10**9}, "bad_request", "accuracy"),
        ({"count": 0}, "bad_request", "accuracy"),
        ({"count": 1.5}, "bad_request", "accuracy"),
        ({"count": True}, "bad_request", "accuracy"),
        ({"workers": True}, "bad_request", "accuracy"),
        ({"reset_variables": 1}, "bad_request", "accuracy"),
        ({"reset_variables": None}, "bad_request", "accuracy"),
        ({"workers": -1}, "bad_request", "accuracy"),
        ({"outputs": [1]}, "bad_request", "accuracy"),
        ({"outputs": [0, 0]}, "bad_request", "accuracy"),
        ({"outputs": []}, "bad_request", "accuracy"),
        ({"outputs": [False]}, "bad_request", "accuracy"),
        ({"outputs": 0}, "bad_request", "accuracy"),
        ({"preprocessing": {"std": [0]}}, "bad_request", "accuracy"),
        *(
            ({"preprocessing": wrong}, "bad_request", "accuracy")
            for wrong in (
                "x",
                [],
                7,
                False,
                *(
                    {key: value}
                    for key in ("scale", "mean", "std")
                    for value in ("2", None, True, {}, [], [1, 2], [1, 2, 3], [None], ["1"], [[1]])
                ),
            )
        ),
        ({"action": "latency", "min_runs": -1}, "bad_request", "latency"),
        ({"action": "latency", "max_seconds": "1"}, "bad_request", "latency"),
        ({"action": "latency", "min_runs": 1.5}, "bad_request", "latency"),
        ({"action": "latency", "min_runs": True}, "bad_request", "latency"),
        ({"action": "latency", "max_runs": 1 << 63}, "bad_request", "latency"),
        ({"action": "latency", "preprocessing": "x"}, "bad_request", "latency"),
    ],
)
def test_wrong_requests_are_refused_alike(
    agent: list[str], digits: dict[str, Path], change: dict[str, object], kind: str, stage: str
) -> None:
    asked = {**request("sweep", digits["float32"], digits["samples"]), **change}
    error = exchange(asked, command=agent)[-1]
    assert (error["type"], error["kind"], error["stage"]) == ("error", kind, stage), error
    assert error["message"]


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfenot json\n", b"\n", b"[1]\n", b'{"protocol": 1,}\n', b"[" * 100_000 + b"\n",
     b'{"protocol": 1, "action": "\xc3\x28"}\n', b'{"protocol": 1} {}\n', b"{\n",
     b'{"protocol": 1, "action": "probe\n', b'{"protocol": 01, "action": "probe"}\n',
     probe(b"[" * 33 + b"]" * 33), probe(b"[" + b"1," * 99_994 + b"1,1]"), probe(b"1" * 64),
     probe(b"1e400"), probe(b"NaN"), probe(b"-Infinity"), probe(b'"\\u0000"'), probe(b'"\0"'),
     probe(b'"\\ud800"'), probe(b'"\\udc00\\ud800"'), probe(b'{"\\udfff": 1}')],
    ids=lambda line: repr(line[-40:]),
)  # fmt: skip
def test_garbage_instead_of_a_request(agent: list[str], line: bytes) -> None:
    process = AgentProcess(command=agent)
    assert process.hear()["type"] == "hello"
    process.say(line)
    (answer,), code, _ = process.rest()
    assert (answer["kind"], answer["stage"], code) == ("bad_request", "start", 1), answer


@pytest.mark.parametrize(
    "extra",
    [b"[" * 32 + b"]" * 32, b"[" + b"1," * 99_993 + b"1,1]", b"1" * 63, b"-1.5e+300",
     b'"\\ud83d\\ude00"'],
    ids=lambda extra: repr(extra[-40:]),
)  # fmt: skip
def test_requests_at_the_limits(agent: list[str], extra: bytes) -> None:
    process = AgentProcess(command=agent)
    assert process.hear()["type"] == "hello"
    process.say(probe(extra))
    (answer,), code, _ = process.rest()
    assert (answer["type"], answer["id"], code) == ("done", "\u00e9" * 2048, 0)


@pytest.mark.parametrize(
    "change",
    [{"max_seconds": 1e300}, {"warmup_seconds": 1e308, "max_runs": 3, "warmup_runs": 1},
     {"preprocessing": None}, {"preprocessing": {"mean": 0.5, "std": 2, "scale": [0.1]}},
     {"preprocessing": {"mean": 1e300, "scale": 1 << 70}}],
)  # fmt: skip
def test_odd_requests_that_make_sense(
    agent: list[str], digits: dict[str, Path], change: dict[str, Any]
) -> None:
    asked = request("latency", digits["float32"], digits["samples"], min_runs=1, min_seconds=0)
    answers = exchange({**asked, "warmup_seconds": 0, **change}, command=agent)
    assert answers[-1]["type"] == "done", answers[-1]


def test_a_line_without_end(agent: list[str]) -> None:
    process = AgentProcess(command=agent)
    process.hear()
    process.say(b" " * (wire.MAX_LINE_BYTES + 1))
    (answer,), code, _ = process.rest()
    assert (answer["kind"], code) == ("bad_request", 1) and "33554432" in answer["message"]


@pytest.mark.parametrize(
    "damage",
    ["truncated", "cut", "tail", "empty", "foreign", "text after its name", "no operators",
     "operators of version 0"],
)  # fmt: skip
def test_damaged_models_are_refused(
    agent: list[str], digits: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    data = digits["float32"].read_bytes()
    path = tmp_path / "model.tflite"
    contents = {
        "truncated": data[:100], "cut": data[: len(data) // 2], "tail": data[:-16], "empty": b"",
        "foreign": b"PK\3\4" * 99, "text after its name": b"\x1c\0\0\0TFL3" + b"hello" * 99,
        "no operators": b"\x08\0\0\0TFL3" + bytes(64),
    }  # fmt: skip
    if damage in contents:
        path.write_bytes(contents[damage])
    else:
        model = unpack(adding_model())
        model.operatorCodes[0].version = 0
        path.write_bytes(pack(model))
    message = exchange(request("sweep", path, digits["samples"]), command=agent)[-1]
    assert message["type"] == "error" and message["kind"] == "bad_model", message
    assert "crashed" not in message["message"]


@pytest.mark.parametrize("action", ["latency", "sweep"])
@pytest.mark.parametrize("odd", ["text", "text beside numbers", "many axes", "truth"])
def test_models_that_no_agent_can_feed(
    agent: list[str], tmp_path: Path, action: str, odd: str
) -> None:
    model = unpack(adding_model((1,) * (99 if odd == "many axes" else 1) + (3,), inputs=2))
    graph = model.subgraphs[0]
    if odd == "text":
        for tensor in graph.tensors:
            tensor.type = tfl.TensorType.STRING
    elif odd == "text beside numbers":
        text = tfl.TensorT()
        text.name, text.shape, text.type = "text", [1], tfl.TensorType.STRING
        graph.tensors.append(text)
        graph.inputs = [*graph.inputs, len(graph.tensors) - 1]
    elif odd == "truth":
        code, operator = model.operatorCodes[0], graph.operators[0]
        code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.LOGICAL_NOT
        operator.inputs, operator.builtinOptionsType = operator.inputs[:1], 0
        operator.builtinOptions, graph.inputs = None, graph.inputs[:1]
        for index in (*operator.inputs, *graph.outputs):
            graph.tensors[index].type = tfl.TensorType.BOOL
    (tmp_path / "m.tflite").write_bytes(pack(model))
    np.save(tmp_path / "s.npy", np.ones((2, 3), np.float32))
    asked = request(action, tmp_path / "m.tflite", tmp_path / "s.npy")
    message = exchange(asked, command=agent)[-1]
    stage = "accuracy" if action == "sweep" else action
    expected = ("bad_samples", stage) if odd == "truth" else ("unsupported", "load")
    assert (message.get("kind"), message.get("stage")) == expected, message


def npy(header: str, body: bytes = bytes(8 * 64), form: bytes = b"\1\0") -> bytes:
    """A ``.npy`` with such a header."""
    return b"\x93NUMPY" + form + len(header).to_bytes(2, "little") + header.encode() + body


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8, 8, 1), }   \n"

WRONG_FILES = {
    "empty": b"",
    "text": b"hello" * 99,
    "cut header": npy(HEADER)[:40],
    "header without a bracket": npy(HEADER.replace("1), }", "1    ")),
    "header without an end": npy(HEADER.rstrip()),
    "format 2.0": npy(HEADER, form=b"\2\0"),
    "negative size": npy(HEADER.replace("(8,", "(-5,")),
    "vast size": npy(HEADER.replace("(8,", f"({2**63 - 1},")),
    "vast sizes": npy(HEADER.replace("(8, 8,", f"({2**32}, {2**32},")),
    "long size": npy(HEADER.replace("(8,", f"({'9' * 5000},")),
    "33 axes": npy(HEADER.replace("(8,", "(" + "1, " * 29 + "8,")),
    "double quotes": npy(HEADER.replace("'", '"')),
    "other order": npy(HEADER.replace("'descr': '|u1', ", "").replace("}", "'descr': '|u1', }")),
    "other spaces": npy(HEADER.replace(": ", ":")),
    "code": npy(HEADER.replace("8, 8,", "8, 4 + 4,")),
    "complex": npy(HEADER.replace("|u1", "<c8")),
    "native order": npy(HEADER.replace("|u1", "=u2")),
}


def test_samples_with_a_header_of_numpys(
    agent: list[str], digits: dict[str, Path], tmp_path: Path
) -> None:
    """What the wrong ones are wrong in: this one differs from each in that alone."""
    (tmp_path / "s.npy").write_bytes(npy(HEADER))
    asked = request("sweep", digits["float32"], tmp_path / "s.npy")
    assert exchange(asked, command=agent)[-1]["type"] == "done"


@pytest.mark.parametrize(
    "damage",
    ["shape", "cut", "object", "strings", "scalar", "none", "Fortran order", "big-endian",
     "archive", *WRONG_FILES],
)  # fmt: skip
def test_samples_that_cannot_be_used(
    agent: list[str], digits: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "s.npy"
    good = digits["samples"].read_bytes()
    arrays = {
        "shape": np.zeros((4, 5, 5), np.uint8), "strings": np.array(["ab"] * 64),
        "scalar": np.array(5, np.uint8), "object": np.array([{}], dtype=object),
        "none": np.zeros((0, 8, 8, 1), np.uint8), "big-endian": np.zeros((4, 8, 8, 1), ">u2"),
        "Fortran order": np.asfortranarray(np.zeros((4, 8, 8, 1), np.uint8)),
    }  # fmt: skip
    if damage in arrays:
        np.save(path, arrays[damage], allow_pickle=True)
    elif damage == "archive":
        with path.open("wb") as stream:
            np.savez(stream, samples=np.zeros((4, 8, 8, 1), np.uint8))
    else:
        path.write_bytes(good[:1000] if damage == "cut" else WRONG_FILES[damage])
    message = exchange(request("sweep", digits["float32"], path), command=agent)[-1]
    assert message["type"] == "error" and message["kind"] == "bad_samples", message
    if damage == "shape":
        assert "[5, 5]" in message["message"]
