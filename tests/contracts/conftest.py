"""Every agent, for the tests that hold them against each other."""

from __future__ import annotations

import pytest

from harness.devices.agents import AGENTS
from tests.support.agent import command_of


@pytest.fixture(scope="module")
def commands() -> dict[str, list[str]]:
    """What starts each agent on this machine."""
    return {name: command_of(name) for name in AGENTS}


@pytest.fixture(params=AGENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def agent(commands: dict[str, list[str]], name: str) -> list[str]:
    """Each agent in its turn."""
    return commands[name]
