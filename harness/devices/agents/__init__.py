"""The programs that run models on a device, as the host brings them there and starts them.

A new one is one file with a class that is an ``AgentProgram`` and one line in ``AGENTS``; what
it speaks is ``device_agents/PROTOCOL.md``.
"""

from __future__ import annotations

from harness.devices.agents.agent import AgentFactory, AgentProgram
from harness.devices.agents.native import NativeAgent
from harness.devices.agents.python import PythonAgent
from harness.domain import Device

AGENTS: dict[str, AgentFactory] = {
    "python": PythonAgent,
    "native": NativeAgent,
}


def agent_for(device: Device) -> AgentFactory:
    """The agent that the profile names, or the one that suits its link."""
    default = "native" if device.transport == "adb" else "python"
    return AGENTS[str(device.link.get("agent") or default)]


__all__ = ["AGENTS", "AgentFactory", "AgentProgram", "agent_for"]
