"""What the machine tells of its load, clock and heat; every key ``None`` where it does not."""

import os
import re
import time

#: Zones of these types are of the processor; others are of batteries, modems and cameras.
_PROCESSOR = re.compile(r"cpu|soc|core|x86_pkg|bcm2\d|tsens|^big|^little|apc|cluster", re.I)

#: More zones than any machine has.
_MOST_ZONES = 256


def snapshot(cores, root=""):
    """The ``conditions`` of PROTOCOL.md at this moment, without ``at``.

    ``root`` stands before every path: a folder that looks like another machine, for tests.
    """
    khz = [frequency_khz(core, "scaling_cur_freq", root) for core in cores or ()]
    highest = [frequency_khz(core, "cpuinfo_max_freq", root) for core in cores or ()]
    temperature = hottest_millidegrees(zones(root))
    return {
        "busy_s": _busy_seconds(root),
        "own_s": round(time.process_time(), 6),
        "frequency_mhz": _mean_mhz(khz),
        "frequency_max_mhz": _mean_mhz(highest),
        "temperature_c": None if temperature is None else temperature / 1000.0,
        "involuntary_switches": _involuntary_switches(),
        "processors": os.cpu_count(),
    }


class Sensors:
    """Temperature and frequency of a machine under load: what to read is found out once."""

    def __init__(self, cores, root=""):
        self._zones = zones(root)
        self._cores = list(cores or ())
        self._root = root

    def read(self):
        """``(phase, unit, integer)`` of each thing that the machine tells just now."""
        found = []
        temperature = hottest_millidegrees(self._zones)
        if temperature is not None:
            found.append(("temperature", "m\u00b0C", temperature))
        khz = [frequency_khz(core, "scaling_cur_freq", self._root) for core in self._cores]
        mhz = _mean_mhz(khz)
        if mhz is not None:
            found.append(("frequency", "kHz", int(round(mhz * 1000))))
        return found


def frequency_khz(core, name, root=""):
    """``name`` of a core's cpufreq in kHz, or ``None``."""
    path = "%s/sys/devices/system/cpu/cpu%d/cpufreq/%s" % (root, core, name)
    return _number(first_line(path), 1, 100 * 1000 * 1000)


def zones(root=""):
    """Paths of the temperatures that say how hot the processor is.

    Those of the processor where any zone is named so, else all.
    """
    folder = root + "/sys/class/thermal"
    try:
        names = [name for name in os.listdir(folder) if name.startswith("thermal_zone")]
    except OSError:
        return []
    processor, others = [], []
    for name in sorted(names)[:_MOST_ZONES]:
        kind = first_line("%s/%s/type" % (folder, name)) or ""
        (processor if _PROCESSOR.search(kind) else others).append("%s/%s/temp" % (folder, name))
    # Sensors that are switched off say what no sensor can.
    return [path for path in processor if millidegrees(path) is not None] or others


def hottest_millidegrees(paths):
    """The highest of these temperatures in thousandths of a degree Celsius, or ``None``."""
    found = [value for value in map(millidegrees, paths) if value is not None]
    return max(found) if found else None


def millidegrees(path):
    """A zone's temperature, or ``None``: the kernel gives thousandths, some boards degrees."""
    value = _number(first_line(path), -100000, 200000)
    if value is None:
        return None
    value = value if abs(value) > 200 else value * 1000
    return value if -40000 < value < 150000 and value != 0 else None


def first_line(path):
    """The first line of a small file, or ``None``."""
    try:
        with open(path, "r") as stream:
            return stream.readline(200).strip() or None
    except (OSError, ValueError):
        return None


def _number(text, low, high):
    if text is None or not re.match(r"-?[0-9]{1,16}$", text):
        return None
    value = int(text)
    return value if low <= value <= high else None


def _mean_mhz(khz):
    known = [value for value in khz if value is not None]
    return sum(known) / 1000.0 / len(known) if known else None


def _busy_seconds(root):
    """CPU time in user and kernel mode of everything, see proc_stat(5).

    Time in guests stands in user's already; time stolen by other machines is nobody's here.
    """
    fields = (first_line(root + "/proc/stat") or "").split()
    if len(fields) < 8 or fields[0] != "cpu" or not all(field.isdigit() for field in fields[1:8]):
        return None
    user, nice, kernel, _idle, _iowait, irq, softirq = map(int, fields[1:8])
    try:
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    return (user + nice + kernel + irq + softirq) / float(ticks) if ticks > 0 else None


def _involuntary_switches():
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    except (ImportError, OSError):
        return None
