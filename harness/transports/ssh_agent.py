"""Which keys of an ssh-agent to offer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from harness.transports.ssh_config import SshTarget

#: paramiko finds the agent through the environment, which all threads share.
_environment = threading.Lock()


@contextmanager
def agent_of(target: SshTarget) -> Iterator[list[paramiko.PKey]]:
    """The keys of the target's agent that its identities list; empty unless they are a limit.

    Inside the block ``SSH_AUTH_SOCK`` is the agent that the configuration names.
    """
    if not target.use_agent or (target.agent_socket is None and not target.only_identities):
        yield []
        return
    with _environment:
        before = os.environ.get("SSH_AUTH_SOCK")
        if target.agent_socket is not None:
            os.environ["SSH_AUTH_SOCK"] = target.agent_socket
        agent = paramiko.Agent()
        try:
            yield _listed(agent, target) if target.only_identities else []
        finally:
            agent.close()
            if before is None:
                os.environ.pop("SSH_AUTH_SOCK", None)
            else:
                os.environ["SSH_AUTH_SOCK"] = before


def _listed(agent: paramiko.Agent, target: SshTarget) -> list[paramiko.PKey]:
    wanted = set()
    for name in target.identity_names:
        try:
            wanted.add(Path(f"{name}.pub").read_text(encoding="utf-8").split()[1])
        except (OSError, IndexError, UnicodeDecodeError):
            continue
    return [key for key in agent.get_keys() if key.get_base64() in wanted]
