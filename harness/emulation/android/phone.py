"""What an emulated Android says of itself: properties, battery, temperatures, processors.

Formats: AOSP frameworks/base ``BatteryService.java`` and ``ThermalManagerService.java`` (their
``dump``), the kernel's ``Documentation/ABI/testing/sysfs-class-thermal`` and
``sysfs-class-power``, and ``Documentation/admin-guide/pm/cpufreq.rst``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: ``BatteryManager.BATTERY_STATUS_*``.
BATTERY_STATUS = {"unknown": 1, "charging": 2, "discharging": 3, "not charging": 4, "full": 5}


@dataclass(frozen=True, slots=True)
class Phone:
    """A made-up phone; temperatures in degrees Celsius, frequencies in kHz.

    ``governor_writable`` is true of no phone that is not rooted, and on many ``/sys/class`` is
    closed to their shell: that is for a phone's whole life. What the thermal service remembers of
    the processor may be older than its HAL's word, where there is a HAL. ``properties`` adds to
    what follows from the other fields, or replaces it.
    """

    model: str = "Emulated Phone"
    manufacturer: str = "Edge Harness"
    device: str = "emulated"
    serial: str = "EMULATED0001"
    release: str = "14"
    sdk: int = 34
    abi: str = "x86_64"
    hardware: str = "emulated"
    soc_manufacturer: str = "Edge Harness"
    soc_model: str = "EMU1"
    battery_level: int = 85
    battery_status: str = "discharging"
    battery_temperature: float = 29.5
    ac_powered: bool = False
    usb_powered: bool = False
    thermal_status: int = 0
    cpu_temperature: float = 38.0
    remembered_cpu_temperature: float | None = None
    thermal_hal: bool = True
    sys_class_closed: bool = False
    skin_temperature: float = 31.0
    governor: str = "schedutil"
    governor_writable: bool = False
    min_khz: int = 300_000
    little_khz: int = 1_800_000
    big_khz: int = 2_850_000
    current_khz: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


GOVERNORS = ("performance", "powersave", "schedutil")


def properties(phone: Phone) -> dict[str, str]:
    """What ``getprop`` prints."""
    build = f"EMU.{phone.sdk}.001"
    return {
        "ro.build.fingerprint": f"edge/{phone.device}/{phone.device}:{phone.release}/{build}/1:"
        "user/release-keys",
        "ro.build.id": build,
        "ro.build.type": "user",
        "ro.build.version.release": phone.release,
        "ro.build.version.sdk": str(phone.sdk),
        "ro.hardware": phone.hardware,
        "ro.product.brand": "edge",
        "ro.product.cpu.abi": phone.abi,
        "ro.product.cpu.abilist": phone.abi,
        "ro.product.device": phone.device,
        "ro.product.manufacturer": phone.manufacturer,
        "ro.product.model": phone.model,
        "ro.product.name": phone.device,
        "ro.serialno": phone.serial,
        "ro.soc.manufacturer": phone.soc_manufacturer,
        "ro.soc.model": phone.soc_model,
        "sys.boot_completed": "1",
        **phone.properties,
    }


def _word(value: bool) -> str:
    return "true" if value else "false"


def battery(phone: Phone) -> str:
    """``dumpsys battery``."""
    return f"""Current Battery Service state:
  AC powered: {_word(phone.ac_powered)}
  USB powered: {_word(phone.usb_powered)}
  Wireless powered: false
  Dock powered: false
  Max charging current: {500_000 if phone.usb_powered or phone.ac_powered else 0}
  Max charging voltage: {5_000_000 if phone.usb_powered or phone.ac_powered else 0}
  Charge counter: {phone.battery_level * 40_000}
  status: {BATTERY_STATUS[phone.battery_status]}
  health: 2
  present: true
  level: {phone.battery_level}
  scale: 100
  voltage: 3900
  temperature: {round(phone.battery_temperature * 10)}
  technology: Li-ion
"""


def thermal_service(phone: Phone) -> str:
    """``dumpsys thermalservice``."""

    def sensors(cpu: float) -> str:
        return "".join(
            f"\tTemperature{{mValue={value:.1f}, mType={kind}, mName={name}, "
            f"mStatus={phone.thermal_status if kind == 3 else 0}}}\n"
            for value, kind, name in (
                (cpu, 0, "CPU"),
                (phone.battery_temperature, 2, "BATTERY"),
                (phone.skin_temperature, 3, "SKIN"),
            )
        )

    remembered = phone.remembered_cpu_temperature
    text = f"""IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
Thermal Status: {phone.thermal_status}
Cached temperatures:
{sensors(phone.cpu_temperature if remembered is None else remembered)}\
HAL Ready: {_word(phone.thermal_hal)}
"""
    if not phone.thermal_hal:
        return text
    return f"""{text}HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
{sensors(phone.cpu_temperature)}\
Current cooling devices from HAL:
\tCoolingDevice{{mValue=0, mType=2, mName=cpu0}}
"""


def class_files(phone: Phone) -> dict[str, str]:
    """Files below ``/sys/class``."""
    if phone.sys_class_closed:
        return {}
    zones = (
        ("cpu-0-0", phone.cpu_temperature),
        ("battery", phone.battery_temperature),
        ("skin", phone.skin_temperature),
    )
    found = {}
    for number, (kind, value) in enumerate(zones):
        found[f"thermal/thermal_zone{number}/type"] = kind
        found[f"thermal/thermal_zone{number}/temp"] = str(round(value * 1000))
    supply = {
        "type": "Battery",
        "present": "1",
        "health": "Good",
        "technology": "Li-ion",
        "capacity": str(phone.battery_level),
        "status": phone.battery_status.capitalize(),
        "temp": str(round(phone.battery_temperature * 10)),
        "voltage_now": "3900000",
    }
    found.update({f"power_supply/battery/{name}": value for name, value in supply.items()})
    found["power_supply/usb/type"] = "USB"
    found["power_supply/usb/online"] = str(int(phone.usb_powered))
    return {name: value + "\n" for name, value in found.items()}


def clusters(cpus: int) -> list[list[int]]:
    """Little cores, then big ones; a single core is alone."""
    numbers = list(range(cpus))
    half = cpus // 2
    return [numbers[:half], numbers[half:]] if half else [numbers]


def frequency_files(phone: Phone, cpus: int) -> dict[str, str]:
    """Files below ``/sys/devices/system/cpu/cpufreq``, but for the governor."""
    found = {}
    for number, cores in enumerate(clusters(cpus)):
        highest = phone.big_khz if number or cpus == 1 else phone.little_khz
        now = highest if phone.governor == "performance" else phone.min_khz
        values = {
            "affected_cpus": " ".join(map(str, cores)),
            "cpuinfo_max_freq": str(highest),
            "cpuinfo_min_freq": str(phone.min_khz),
            "related_cpus": " ".join(map(str, cores)),
            "scaling_available_governors": " ".join(GOVERNORS),
            "scaling_cur_freq": str(phone.current_khz or now),
            "scaling_driver": "emulated",
            "scaling_max_freq": str(highest),
            "scaling_min_freq": str(phone.min_khz),
        }
        found.update({f"policy{cores[0]}/{name}": f"{value}\n" for name, value in values.items()})
    return found
