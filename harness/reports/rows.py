"""One row per job: the stable columns, and the comparison with float32.

Version 1 of the columns. A column is never renamed or given another meaning within a
version; new ones are added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.metrics import main_measurement
from harness.store import JobRecord

if TYPE_CHECKING:
    import pandas as pd

COLUMNS_VERSION = 1

#: The stable interface of ``--format json|csv``; ``docs/columns.md`` says what each means.
COLUMNS = (
    "run",
    "model",
    "recipe",
    "variant_sha256",
    "device",
    "kind",
    "backend",
    "threads",
    "status",
    "stage",
    "error",
    "size_bytes",
    "metric",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "samples",
    "latency_median_ms",
    "latency_low_ms",
    "latency_high_ms",
    "latency_p95_ms",
    "trials",
    "runs",
    "init_ms",
    "first_inference_ms",
    "memory_peak_mb",
    "runtime",
    "runtime_version",
    "advisories",
    "metric_value",
    "metric_low",
    "metric_high",
    "metric_unit",
    "top5",
    "balanced_accuracy",
    "map50",
    "pixel_accuracy",
    "mse",
    "agreement_top1",
    "agreement_cosine",
    "agreement_snr_db",
    "gzip_bytes",
    "ran_on",
    "memory_before_load_mb",
    "memory_after_load_mb",
    "memory_model_mb",
    "sustained_first_ms",
    "sustained_last_ms",
    "sustained_ratio",
    "sustained_runs_per_s",
    "temperature_start_c",
    "temperature_max_c",
    "frequency_start_mhz",
    "frequency_end_mhz",
    "energy_mj",
    "energy_low_mj",
    "energy_high_mj",
    "energy_gross_mj",
    "power_idle_w",
    "power_load_w",
    "profile",
)

#: What a comparison adds: each against the float32 job of the same model, device and backend.
DERIVED = ("size_ratio", "accuracy_delta", "speed_up", "metric_ratio")

#: The recipe that everything is compared with.
BASELINE = "float32"

MB = 1e6


def job_row(record: JobRecord) -> dict[str, Any]:
    """One job as the stable columns; ``None`` where there is no number."""
    found = record.measurements

    def value(name: str, part: str = "value") -> Any:
        return getattr(found[name], part) if name in found else None

    def in_mb(amount: float | None) -> float | None:
        return amount / MB if amount is not None else None

    main = main_measurement(found)
    # Of 0 to 1, the more the better; an error in the output's units is no accuracy.
    share = main if main is not None and main.unit in ("share", "area") else None
    return {
        "run": record.run,
        "model": record.job.model,
        "recipe": record.job.recipe,
        "variant_sha256": record.variant_sha256,
        "device": record.job.device,
        "kind": record.job.kind.value,
        "backend": str(record.job.backend),
        "threads": record.job.backend.threads,
        "status": record.status.value,
        "stage": record.stage.value,
        "error": record.error,
        "size_bytes": record.size_bytes,
        "metric": main.name if main else None,
        "accuracy": share.value if share else None,
        "accuracy_low": share.low if share else None,
        "accuracy_high": share.high if share else None,
        "samples": main.n if main else None,
        "latency_median_ms": value("latency_median"),
        "latency_low_ms": value("latency_median", "low"),
        "latency_high_ms": value("latency_median", "high"),
        "latency_p95_ms": value("latency_p95"),
        "trials": value("latency_median", "groups"),
        "runs": value("latency_median", "n"),
        "init_ms": value("init"),
        "first_inference_ms": value("first_inference"),
        "memory_peak_mb": in_mb(value("memory_peak")),
        "runtime": record.runtime,
        "runtime_version": record.runtime_version,
        "advisories": list(dict.fromkeys(item.kind.value for item in record.advisories)),
        "metric_value": main.value if main else None,
        "metric_low": main.low if main else None,
        "metric_high": main.high if main else None,
        "metric_unit": main.unit if main else None,
        "top5": value("top5"),
        "balanced_accuracy": value("balanced_accuracy"),
        "map50": value("map50"),
        "pixel_accuracy": value("pixel_accuracy"),
        "mse": value("mse"),
        "agreement_top1": value("agreement_top1"),
        "agreement_cosine": value("agreement_cosine"),
        "agreement_snr_db": value("agreement_snr"),
        "gzip_bytes": record.manifest.get("gzip_bytes"),
        "ran_on": record.facts.get("ran_on"),
        **{
            f"memory_{name}_mb": in_mb(value(f"memory_{name}"))
            for name in ("before_load", "after_load", "model")
        },
        "sustained_first_ms": value("sustained_first"),
        "sustained_last_ms": value("sustained_last"),
        "sustained_ratio": value("sustained_ratio"),
        "sustained_runs_per_s": value("sustained_throughput"),
        "temperature_start_c": value("temperature_start"),
        "temperature_max_c": value("temperature_max"),
        "frequency_start_mhz": value("frequency_start"),
        "frequency_end_mhz": value("frequency_end"),
        "energy_mj": value("energy"),
        "energy_low_mj": value("energy", "low"),
        "energy_high_mj": value("energy", "high"),
        "energy_gross_mj": value("energy_gross"),
        "power_idle_w": value("power_idle"),
        "power_load_w": value("power_load"),
        "profile": record.facts.get("profile"),
    }


def job_rows(records: Sequence[JobRecord]) -> list[dict[str, Any]]:
    """Every job as the stable columns."""
    return [job_row(record) for record in records]


def compared_rows(records: Sequence[JobRecord]) -> list[dict[str, Any]]:
    """The stable columns and the derived ones.

    ``size_ratio`` = size over float32's; ``accuracy_delta`` in shares (0.01 is one point);
    ``speed_up`` = float32's median over this one's; ``metric_ratio`` of the main metric over
    float32's, for what is no share.
    """
    rows = job_rows(records)
    baselines = {
        (row["model"], _where(row), row["backend"]): row
        for row in sorted(rows, key=lambda row: row["ran_on"] is None)  # planned ones win
        if row["recipe"] == BASELINE
    }
    sizes = {row["model"]: row["size_bytes"] for row in baselines.values() if row["size_bytes"]}
    for row in rows:
        base = baselines.get((row["model"], _where(row), row["backend"]), {})
        size, own = sizes.get(row["model"]), row["size_bytes"]
        accuracy, latency = base.get("accuracy"), base.get("latency_median_ms")
        row["size_ratio"] = own / size if own and size else None
        row["accuracy_delta"] = (
            row["accuracy"] - accuracy
            if row["accuracy"] is not None and accuracy is not None
            else None
        )
        error, own_error = base.get("metric_value"), row["metric_value"]
        row["metric_ratio"] = (
            own_error / error
            if error and own_error is not None and row["accuracy"] is None
            else None
        )
        row["speed_up"] = (
            latency / row["latency_median_ms"] if latency and row["latency_median_ms"] else None
        )
    return rows


def _where(row: dict[str, Any]) -> str:
    """The device that a row's numbers come from."""
    return str(row["ran_on"] or row["device"])


def frame(records: Sequence[JobRecord]) -> pd.DataFrame:
    """The comparison as a pandas DataFrame: ``COLUMNS`` and ``DERIVED``, one row per job."""
    import pandas as pd

    return pd.DataFrame(compared_rows(records), columns=[*COLUMNS, *DERIVED])
