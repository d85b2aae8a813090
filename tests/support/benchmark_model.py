"""A stand-in for the ``benchmark_model`` binary: really runs the model, prints as the tool does.

Written as a program into a test's folder by ``write_tool``. It knows the flags of a build for
Linux, with ``android`` in ``FAKE_BENCHMARK_MODEL`` also those of NNAPI and the GPU; the other
words there make it misbehave.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

FLAGS: dict[str, str] = {
    "num_runs": "50", "min_secs": "1", "max_secs": "150", "num_threads": "-1",
    "warmup_runs": "1", "warmup_min_secs": "0.5", "verbose": "false",
    "report_peak_memory_footprint": "false", "memory_footprint_check_interval_ms": "50",
    "graph": "", "input_layer": "", "input_layer_shape": "", "input_layer_value_files": "",
    "enable_op_profiling": "false", "op_profiling_output_mode": "stdout",
    "op_profiling_output_file": "", "output_filepath": "", "result_file_path": "",
    "use_xnnpack": "", "use_gpu": "false",
}  # fmt: skip

ANDROID: dict[str, str] = {
    "use_nnapi": "false", "nnapi_accelerator_name": "", "nnapi_execution_preference": "",
    "nnapi_execution_priority": "", "nnapi_allow_fp16": "false", "disable_nnapi_cpu": "false",
    "gpu_precision_loss_allowed": "true", "gpu_experimental_enable_quant": "true",
}  # fmt: skip

#: Flags that builds of long ago lack.
RECENT = ("op_profiling_output_mode", "op_profiling_output_file", "result_file_path",
          "memory_footprint_check_interval_ms")  # fmt: skip


def write_tool(folder: Path) -> Path:
    """The program, run by this interpreter."""
    path = folder / "benchmark_model"
    path.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text(encoding="utf-8"))
    path.chmod(0o755)
    return path


def say(text: str) -> None:
    level = "" if "old" in WORDS else "INFO: "
    print(f"{level}{text}", flush=True)


def statistics(values: list[int]) -> str:
    """As ``StatWithPercentiles`` puts it."""
    ordered, count = sorted(values), len(values)
    if not values:
        return "count=0"
    mean = sum(values) / count
    spread = (sum(value * value for value in values) / count - mean * mean) ** 0.5
    text = (
        f"count={count} curr={values[-1]}" + ("(all same)" if count > 1 else "")
        if ordered[0] == ordered[-1]
        else f"count={count} first={values[0]} curr={values[-1]} min={ordered[0]} "
        f"max={ordered[-1]} avg={mean:g} std={int(spread)}"
    )
    if "old" in WORDS:
        return text
    p5, median, p95 = percentiles(ordered)
    return f"{text} p5={p5} median={median} p95={p95}"


def percentiles(ordered: list[int]) -> tuple[int, int, int]:
    count = len(ordered)
    return (
        ordered[count * 5 // 100],
        ordered[count // 2],
        ordered[min(count - 1, count * 95 // 100)],
    )


def phase(invoke: Any, runs: int, seconds: float, limit: float) -> list[int]:
    said = 7 if "ignores" in WORDS else runs
    say(
        f"Running benchmark for at least {said} iterations and at least {seconds:g} seconds but "
        f"terminate if exceeding {limit:g} seconds."
    )
    begin, values = time.monotonic(), []
    while (len(values) < runs or time.monotonic() < begin + seconds) and (
        time.monotonic() <= begin + limit
    ):
        start = time.perf_counter_ns()
        invoke()
        values.append((time.perf_counter_ns() - start) // 1000)
    text = statistics(values)
    if "escape" in WORDS:
        text = "\x1b[1m" + text + "\x1b[0m"
    say(text + "\n")
    return values


def field(number: int, value: float | bytes | int) -> bytes:
    def varint(item: int) -> bytes:
        out = b""
        while item > 127:
            out += bytes([item & 127 | 128])
            item >>= 7
        return out + bytes([item])

    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def result(warmup: list[int], measured: list[int], init: int) -> bytes:
    ordered = sorted(measured)
    mean = sum(ordered) / len(ordered)
    spread = (sum(value * value for value in ordered) / len(ordered) - mean * mean) ** 0.5
    p5, median, p95 = percentiles(ordered)
    times = [mean, ordered[0], ordered[-1], int(spread), median, p5, p95, init, warmup[0],
             sum(warmup) / len(warmup)]  # fmt: skip
    if "lying_result" in WORDS:
        times[0] *= 2
    latency = b"".join(field(i, item / 1000) for i, item in enumerate(times, 1))
    misc = field(1, 0.1) + field(2, len(measured)) + field(3, len(warmup))
    return field(2, latency) + field(4, misc)


def delegate(flags: dict[str, str]) -> None:
    for flag, name, runtime in (
        ("use_nnapi", "NNAPI", "TfLiteNnapiDelegate"),
        ("use_gpu", "GPU", "TfLiteGpuDelegateV2"),
        ("use_xnnpack", "XNNPACK", "TfLiteXNNPackDelegate"),
    ):
        if flags.get(flag) != "true" or "silent" in WORDS:
            continue
        if "unsupported" in WORDS or (name == "GPU" and "android" not in WORDS):
            print(f"WARN: {name} acceleration is unsupported on this platform.", flush=True)
            continue
        if "fails" in WORDS:
            print("ERROR: Restored original execution plan after delegate application failure.")
            print(f"ERROR: Failed to apply {name} delegate.", flush=True)
            sys.exit(1)
        say(f"{name} delegate created.")
        if "partial" in WORDS:
            print(f"VERBOSE: Replacing 5 out of 9 node(s) with delegate ({runtime}) node, "
                  "yielding 3 partitions for the whole graph.", file=sys.stderr)  # fmt: skip
            how = "partially executed by the delegate w/ 2 delegate kernels."
        else:
            how = "completely executed by the delegate."
        say(f"Explicitly applied {name} delegate, and the model graph will be {how}")


def profile(flags: dict[str, str], runs: int) -> None:
    text = f"""Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, QC8) IGEMM, 0.004, 0.005, 50%, 50%, 0, 1, Delegate/Convolution (NHWC\t QC8):0
SOFTMAX, 0.004, 0.005, 50%, 100%, 0, 1, [Identity]:15

Number of nodes executed: 2
Timings (microseconds): count={runs} first=36 curr=35 min=30 max=132 avg=38.886 std=8
"""
    if flags.get("op_profiling_output_file"):
        Path(flags["op_profiling_output_file"]).write_text(text)
    else:
        print(text, flush=True)


def main() -> int:
    known = {**FLAGS, **(ANDROID if "android" in WORDS else {})}
    if "old" in WORDS:
        known = {name: value for name, value in known.items() if name not in RECENT}
    flags, unconsumed = dict(known), []
    for item in sys.argv[1:]:
        name, _, value = item.removeprefix("--").partition("=")
        if name in known:
            flags[name] = value
        else:
            unconsumed.append(item)
    if "--help" in sys.argv:
        listed = "\n".join(f"\t--{name}={value}\tstring\toptional\ttext" for name, value in
                           known.items())  # fmt: skip
        print(f"ERROR: usage: {sys.argv[0]} <flags>\nFlags:\n{listed}", flush=True)
        return 1
    say("STARTING!")
    if unconsumed:
        print("WARN: Unconsumed cmdline flags: " + " ".join(unconsumed), flush=True)
    for name in ("num_threads", "graph"):
        say(f"{name}: [{flags[name]}]")
    begin = time.perf_counter_ns()
    try:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=flags["graph"], num_threads=int(flags["num_threads"]))
    except ValueError as error:
        print(f"ERROR: Failed to load model {flags['graph']}: {str(error)[:60]}", flush=True)
        return 1
    say(f"Loaded model {flags['graph']}")
    delegate(flags)
    interpreter.allocate_tensors()
    init = (time.perf_counter_ns() - begin) // 1000
    say(f"Initialized session in {init / 1000:g}ms.")
    details = interpreter.get_input_details()
    files = dict(item.split(":") for item in flags["input_layer_value_files"].split(",") if item)
    names = flags["input_layer"].split(",") if flags["input_layer"] else []
    shapes = flags["input_layer_shape"].split(":") if flags["input_layer_shape"] else []
    for detail, name, shape in zip(details, names, shapes, strict=True) if names else ():
        import numpy as np

        data = Path(files[name]).read_bytes()
        array = np.zeros([int(size) for size in shape.split(",")], detail["dtype"])
        if len(data) != array.nbytes:
            print(f"FATAL: The size of {files[name]} is {len(data)} bytes. It should be "
                  f"{array.nbytes} bytes.", flush=True)  # fmt: skip
            os.kill(os.getpid(), signal.SIGABRT)
        array = np.frombuffer(data, detail["dtype"]).reshape(array.shape)
        interpreter.set_tensor(detail["index"], array)
    limit = float(flags["max_secs"])
    warmup = phase(
        interpreter.invoke, int(flags["warmup_runs"]), float(flags["warmup_min_secs"]), limit
    )
    if "crashes" in WORDS:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hangs" in WORDS:
        time.sleep(600)
    while "endless" in WORDS:
        say("x" * 100_000)
    measured = phase(interpreter.invoke, int(flags["num_runs"]), float(flags["min_secs"]), limit)
    if "truncates" in WORDS:
        return 0
    unit = "ms" if "units" in WORDS else "us"
    averages = [sum(values) / len(values) if values else 0 for values in (warmup, measured)]
    say(
        f"Inference timings in {unit}: Init: {init}, First inference: {([*warmup, 0])[0]}, "
        f"Warmup (avg): {averages[0]:g}, Inference (avg): {averages[1]:g}"
    )
    say("Memory footprint delta from the start of the tool (MB): init=4.23 overall=5.05")
    if flags["report_peak_memory_footprint"] == "true":
        say("Overall peak memory footprint (MB) via periodic monitoring: 12.5")
    if flags["enable_op_profiling"] == "true":
        profile(flags, len(measured))
    if flags.get("result_file_path"):
        Path(flags["result_file_path"]).write_bytes(result(warmup, measured, init))
    if flags["output_filepath"]:
        outputs = b"".join(
            interpreter.get_tensor(detail["index"]).tobytes()
            for detail in interpreter.get_output_details()
        )
        Path(flags["output_filepath"]).write_bytes(outputs[:-1] if "short" in WORDS else outputs)
    return 0


WORDS = set(os.environ.get("FAKE_BENCHMARK_MODEL", "").split(","))

if __name__ == "__main__":
    sys.stdout.flush()
    sys.exit(main())
