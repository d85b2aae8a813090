"""What the agent can observe of the machine it runs on."""

import os
import platform
import sys
import time

from device_agents.python import conditions
from device_agents.python.conditions import first_line
from device_agents.python.failures import AgentFailure

#: Before the end of a wait, the processor is kept for this long.
AWAKE_NS = 500 * 1000


class Clock:
    """The monotonic clock of this machine."""

    name = "perf_counter_ns"

    #: Whether it goes on by itself, as that of other programs here.
    real = True

    def __init__(self):
        self.now_ns = time.perf_counter_ns
        self._resolution = None

    def sleep(self, seconds):
        """Do nothing for so long."""
        time.sleep(seconds)

    def sleep_until(self, when_ns):
        """Wait until the clock says so; the last bit of it awake, since a sleep ends late."""
        left = when_ns - self.now_ns()
        if left > 2 * AWAKE_NS:
            time.sleep((left - AWAKE_NS) / 1e9)
        while self.now_ns() < when_ns:
            pass

    def resolution_ns(self):
        """The smallest step seen between two readings, in ns; looked for once."""
        if self._resolution is None:
            self._resolution = self._smallest_step()
        return self._resolution

    def _smallest_step(self):
        now = self.now_ns
        smallest = 10**9
        for _ in range(200):
            first = now()
            second = now()
            while second == first:
                second = now()
            smallest = min(smallest, second - first)
        return smallest


class System:
    """Memory, threads and identity of this process and machine."""

    def describe(self):
        """Identity of the machine, for the hello message."""
        libc = platform.libc_ver()
        return {
            "system": platform.system(),
            "machine": platform.machine(),
            "release": platform.release(),
            "libc": ("%s %s" % libc).strip(),
            "python": platform.python_version(),
            "executable": sys.executable or "",
            "cpu_count": os.cpu_count() or 1,
            "cpu_model": _cpu_model(),
            "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "temperature_c": _temperature(),
        }

    def peak_memory_bytes(self):
        """``VmHWM`` of this process, or ``None`` where there is no /proc.

        Not ``ru_maxrss``: that one inherits the parent's peak over fork and exec.
        """
        return _memory(b"VmHWM:")

    def resident_memory_bytes(self):
        """``VmRSS`` of this process now, or ``None`` where there is no /proc."""
        return _memory(b"VmRSS:")

    def conditions(self):
        """Load, clock and heat at this moment, see ``conditions.snapshot``."""
        return conditions.snapshot(self.cores())

    def sensors(self):
        """What can be read again and again while a model runs, see ``conditions.Sensors``."""
        return conditions.Sensors(self.cores())

    def thread_count(self):
        """Threads of this process now, or ``None`` where there is no /proc."""
        try:
            return len(os.listdir("/proc/self/task"))
        except OSError:
            return None

    def cores(self):
        """The CPU numbers that this process may use, or ``None`` where the system has no say."""
        try:
            return sorted(os.sched_getaffinity(0))
        except (AttributeError, OSError):
            return None

    def keep_to(self, cores):
        """Let every thread of this process use those CPUs only, as far as the system lets it."""
        try:
            os.sched_setaffinity(0, cores)
            for thread in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(thread), cores)
        except (AttributeError, OSError, ValueError):
            pass  # ``cores`` tells what holds


def _memory(name):
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _temperature():
    text = first_line("/sys/class/thermal/thermal_zone0/temp")
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    if value is None:
        return None
    return value / 1000.0 if abs(value) > 1000 else value


def _cpu_model():
    try:
        with open("/proc/cpuinfo", "r") as stream:
            for line in stream:
                if line.startswith(("model name", "Hardware", "Model")):  # x86, Android, Pi
                    return line.split(":", 1)[1].strip()[:120]
    except (OSError, IndexError, ValueError):
        pass
    return platform.processor() or None


def import_numpy():
    """NumPy, or ``AgentFailure`` with the command that installs it."""
    try:
        import numpy
    except ImportError as error:
        raise AgentFailure(
            "no_numpy",
            "start",
            "NumPy cannot be imported by %s: %s" % (sys.executable, error),
            "install it on the device: %s -m pip install numpy" % (sys.executable or "python3"),
        ) from None
    return numpy
