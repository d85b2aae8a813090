"""What a simulated device's profile says of its speed, heat, power and memory, checked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from harness.config.processors import ACCELERATORS, resolved
from harness.config.schema import DeviceFile
from harness.config.toml_source import Path_, TomlSource

#: The least time constant, s. Faster ones change the clock more often than inferences end.
LEAST_TAU_S = 0.01

#: The most that full load would lead to, °C: a sensor that tells more is not believed.
MOST_C = 300.0

#: Parameters that stand together, see ``harness/simulation/thermal.py``.
POWER_PARAMETERS = ("idle_w", "load_w")
THERMAL_PARAMETERS = ("ambient_c", "thermal_resistance_kw", "heat_capacity_jk", "throttle_c",
                      "clock_mhz", "throttled_mhz")  # fmt: skip

#: What means nothing without another parameter.
_TOGETHER = {
    "min_mhz": "clock_mhz",
    "governor": "governors",
    "governors": "governor",
    "gpu_w": "idle_w",
    "nnapi_w": "idle_w",
    "npu_w": "idle_w",
    "edgetpu_w": "idle_w",
    "battery_wh": "battery_percent",
    "battery_percent": "battery_wh",
    "charging_w": "battery_wh",
}

#: What is never above what.
_IN_ORDER = (("idle_w", "load_w"), ("throttled_mhz", "clock_mhz"), ("min_mhz", "throttled_mhz"))

#: What ``[prediction]`` says of an accelerator, for the one who left it out.
_CHIP = "type = ..., float_gmacs = ..., int8_gmacs = ..."
_SAYS = {"edgetpu": "mhz = ..., link = ..., link_mbs = ..., cache_mib = ..."}

#: Parameters that a simulated device needs for each accelerator it offers.
_NEEDED: dict[str, tuple[str, ...]] = {
    "cpu": (),
    "edgetpu": (),
    "gpu": ("gpu_init_ms",),
    "nnapi": ("nnapi_init_ms",),
    "npu": ("npu_init_ms",),
}

#: The same of one without ``[prediction]``, which says all of this better.
_WITHOUT_PREDICTION = {
    "cpu": ("float_gmacs", "int8_gmacs", "int16_gmacs", "thread_scaling", "cores",
            "bandwidth_gbs", "op_overhead_us", "invoke_overhead_us"),
    "edgetpu": ("edgetpu_mhz", "edgetpu_link_mbs", "edgetpu_cache_mb", "edgetpu_invoke_us"),
}  # fmt: skip


def simulation_of(source: TomlSource, name: str, file: DeviceFile, where: Path_) -> dict[str, Any]:
    """``[simulation]`` of a simulated device, with what ``[prediction]`` says resolved in it.

    Raises ``ConfigError`` for numbers that are missing or deny each other.
    """
    if file.simulation is None:
        raise source.error(where, f"device {name}: a simulated device needs [simulation]")
    simulation = file.simulation.model_dump(exclude_none=True)
    _refuse_odd_body(source, name, simulation, where)
    if file.prediction is not None:
        for key in chain.from_iterable(_WITHOUT_PREDICTION.values()):
            simulation.pop(key, None)
        table = file.prediction.model_dump(exclude_none=True)
        simulation["prediction"] = resolved(name, table)
        simulation["cores"] = sum(core["count"] for core in table["cores"])
    for accelerator in file.accelerators:
        _refuse_unmodelled(source, name, accelerator, simulation, where)
    return simulation


def _refuse_odd_body(
    source: TomlSource, name: str, simulation: Mapping[str, Any], where: Path_
) -> None:
    """Heat, power, clocks and battery: what misses its other half, or denies it."""
    for group in (POWER_PARAMETERS, THERMAL_PARAMETERS):
        given = [key for key in group if key in simulation]
        # Heat comes of power.
        needed = (*group, *(() if group is POWER_PARAMETERS else POWER_PARAMETERS))
        for key in needed if given else ():
            if key not in simulation:
                raise source.error(
                    (*where, "simulation"),
                    f"device {name}: [simulation] has {given[0]}, which needs {key} too",
                )
    if all(key in simulation for key in THERMAL_PARAMETERS):
        tau = simulation["thermal_resistance_kw"] * simulation["heat_capacity_jk"]
        if tau < LEAST_TAU_S:
            raise source.error(
                (*where, "simulation", "heat_capacity_jk"),
                f"device {name}: heats up within {tau:.2g} s, which no device does",
                hint="thermal_resistance_kw x heat_capacity_jk, seconds, are at least "
                f"{LEAST_TAU_S:g}; a bare board's are some hundred",
            )
        load = simulation["ambient_c"] + simulation["load_w"] * simulation["thermal_resistance_kw"]
        if load > MOST_C:
            raise source.error(
                (*where, "simulation", "thermal_resistance_kw"),
                f"device {name}: would be {load:.0f} °C hot under load, which no device is",
                hint=f"ambient_c + load_w x thermal_resistance_kw are at most {MOST_C:g} °C; a "
                "bare board's are some 95",
            )
    for key, needs in _TOGETHER.items():
        if key in simulation and needs not in simulation:
            raise source.error(
                (*where, "simulation", key),
                f"device {name}: [simulation] has {key}, which needs {needs} too",
            )
    for low, high in _IN_ORDER:
        if simulation.get(low, 0) > simulation.get(high, 0):
            raise source.error((*where, "simulation", low), f"device {name}: {low} is above {high}")
    if simulation.get("governor") not in simulation.get("governors", [None]):
        raise source.error(
            (*where, "simulation", "governor"),
            f"device {name}: {simulation.get('governor')} is none of its governors",
        )


def _refuse_unmodelled(
    source: TomlSource, name: str, accelerator: str, simulation: Mapping[str, Any], where: Path_
) -> None:
    """An accelerator of which the profile does not say how fast it is."""
    if accelerator not in _NEEDED:
        raise source.error(
            (*where, "accelerators"),
            f"device {name}: {accelerator} cannot be simulated yet",
            hint="simulated: " + ", ".join(_NEEDED),
        )
    prediction = simulation.get("prediction")
    needed, hint = _NEEDED[accelerator], None
    if prediction is None and accelerator in _WITHOUT_PREDICTION:
        needed = _WITHOUT_PREDICTION[accelerator]
        hint = "or a [prediction] table in place of it: see docs/predicting.md"
    for key in needed:
        if key not in simulation:
            raise source.error(
                (*where, "simulation"),
                f"device {name}: [simulation] needs {key} for {accelerator}",
                hint=hint,
            )
    by_predictor = accelerator in ACCELERATORS or prediction is not None
    if by_predictor and accelerator != "cpu" and accelerator not in (prediction or {}):
        says = _SAYS.get(accelerator, _CHIP)
        raise source.error(
            (*where, "accelerators"),
            f"device {name}: {accelerator} is simulated by the predictor, and [prediction] "
            f"does not say what its {accelerator} is",
            hint=f"{accelerator} = {{ {says} }}: see docs/predicting.md",
        )
