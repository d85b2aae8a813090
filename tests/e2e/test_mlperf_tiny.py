"""Real input, end to end: ResNet8 over 5,000 CIFAR-10 images, here and over ssh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.paths import profiles_dir
from tests.support.sshd import Sshd

#: Known answers of plain scripts: bytes and top-1; None where only a range is known.
KNOWN = {
    "float32": (318_292, 0.7624),
    "float16": (166_300, 0.7624),
    "dynamic_int8": (94_600, 0.7606),
    "int8": (95_568, None),
    "int16x8": (100_632, None),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_known_sizes_and_accuracies_equal_on_local_and_ssh(
    shared: Path, sshd: Sshd, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    text = (profiles_dir() / "suites" / "mlperf_tiny.toml").read_text()
    text = text.replace('devices = ["local"]', 'devices = ["local", "board"]')
    policy = "\n[policy]\ntrials = 2\nmin_seconds = 0.2\nwarmup_seconds = 0.1\n"
    suite = tmp_path / "suite.toml"
    suite.write_text(text + sshd.device("board") + policy)
    done = cli("run", str(suite), "--format", "json", env={"HARNESS_SHARED": str(shared)},
               timeout=800)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {(row["recipe"], row["device"]): row for row in json.loads(done.stdout)}
    assert len(rows) == 10
    for recipe, (size, accuracy) in KNOWN.items():
        local, board = rows[recipe, "local"], rows[recipe, "board"]
        assert local["variant_sha256"] == board["variant_sha256"]
        assert local["accuracy"] == board["accuracy"]
        assert local["samples"] == board["samples"] == 5000
        assert abs(local["size_bytes"] - size) <= (0.005 * size if accuracy is None else 0)
        if accuracy is not None:
            assert local["accuracy"] == pytest.approx(accuracy, abs=5e-5)
        else:
            assert local["accuracy"] == pytest.approx(0.76, abs=0.005)
        for row in (local, board):
            assert row["status"] == "ok" and row["kind"] == "real"
            assert "outputs_differ" not in row["advisories"]
            assert ("reference_kernels" in row["advisories"]) == (recipe == "int16x8")
            assert row["latency_low_ms"] <= row["latency_median_ms"] <= row["latency_high_ms"]
    slow, fast = rows["int16x8", "local"], rows["float32", "local"]
    assert slow["latency_median_ms"] > 10 * fast["latency_median_ms"]
