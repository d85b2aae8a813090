"""Linux devices over ssh (paramiko), with host keys checked as ``ssh`` does."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import paramiko

from harness.domain import Device
from harness.errors import (
    AgentTimeoutError,
    LinkLostError,
    ProtocolError,
    TransportError,
)
from harness.transports.lines import Tail
from harness.transports.quoting import command_line
from harness.transports.scripts import script
from harness.transports.ssh_agent import agent_of
from harness.transports.ssh_alive import Heartbeat
from harness.transports.ssh_config import SshTarget, resolve
from harness.transports.ssh_fast import fast_transport
from harness.transports.ssh_helper import SshHelper
from harness.transports.ssh_host_keys import RefuseUnknown, load_known_hosts
from harness.transports.ssh_keys import meant, unlocked
from harness.transports.ssh_process import SshProcess, end, feed, read_stderr
from harness.transports.ssh_pull import receive
from harness.transports.ssh_refusals import raise_refusal
from harness.transports.transport import MAX_OUTPUT, Completed, Process, Upload

# paramiko tells its log of each link that fails, and who has set none up reads it on stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

#: Seconds after which a server that accepted a request and never answers is given up.
ANSWER_TIMEOUT = 30

#: Seconds in which a server that allows few sessions must notice that one has ended.
SLOT_TIMEOUT = 5


class SshTransport:
    """A Linux device that runs OpenSSH's server."""

    kind_is_simulated: ClassVar[bool] = False
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device
        self._client: paramiko.SSHClient | None = None
        self._heartbeat: Heartbeat | None = None
        self._helper = SshHelper(device.name, self._command, self._beat)
        self._proxy: subprocess.Popen[bytes] | None = None
        self._proxy_said: Tail | None = None

    @cached_property
    def target(self) -> SshTarget:
        """Where the profile and the ssh configuration say that the device is."""
        link = self._device.link
        return resolve(
            str(link["host"]),
            port=link.get("port"),
            user=link.get("user"),
            identity_file=link.get("identity_file"),
            known_hosts=link.get("known_hosts"),
            config=link.get("ssh_config"),
        )

    @property
    def runs_on_host(self) -> bool:
        """Whether the address is a loopback one."""
        try:
            return ipaddress.ip_address(self.target.hostname).is_loopback
        except ValueError:
            return self.target.hostname == "localhost"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"ssh:{self.target.hostname}:{self.target.port}"

    @property
    def python(self) -> str:
        """The profile's ``python``, else ``python3``."""
        return str(self._device.link.get("python") or "python3")

    @property
    def work_dir(self) -> str:
        """The profile's ``work_dir``, else a folder of the user's cache on the device."""
        return str(self._device.link.get("work_dir") or "~/.cache/edge-harness")

    def open(self) -> None:
        """See ``Transport``."""
        target, name = self.target, self._device.name
        client = paramiko.SSHClient()
        revoked = load_known_hosts(client.get_host_keys(), target.known_hosts)
        if target.host_key_alias:
            server = target.hostname if target.port == 22 else f"[{target.hostname}]:{target.port}"
            for kind, key in (client.get_host_keys().lookup(target.host_key_alias) or {}).items():
                client.get_host_keys().add(server, kind, key)
        client.set_missing_host_key_policy(RefuseUnknown(name, target, revoked))
        through = None
        try:
            through = self._through()
            try:
                with agent_of(target) as listed:
                    self._connect(client, target, through, listed)
            except paramiko.PasswordRequiredException:
                keys = unlocked(target.identity_files, f"device {name}")
                if not keys:
                    raise
                through = self._through()  # the one before is used up
                self._connect(client, target, through, keys)
            transport = client.get_transport()
            assert transport is not None
            interval = target.alive_interval
            self._heartbeat = Heartbeat(transport, interval, interval * target.alive_count)
        except BaseException as error:
            self._client = client
            self.close()
            if through is not None:
                through.close()
            said = self._proxy_said.text() if self._proxy_said is not None else None
            raise_refusal(error, self._device, target, said)
        self._client = client
        self._helper.wire.hashing = "after" if self.runs_on_host else "beside"
        self._helper.get_ready()

    def _through(self) -> socket.socket | None:
        return self._proxy_socket(self.target.proxy) if self.target.proxy else None

    @staticmethod
    def _connect(
        client: paramiko.SSHClient,
        target: SshTarget,
        through: socket.socket | None,
        listed: Sequence[paramiko.PKey],
    ) -> None:
        """Offer the listed keys one after the other, then files and the whole agent."""
        for index, key in enumerate([*listed, None]):
            try:
                client.connect(
                    target.hostname,
                    target.port,
                    username=target.user,
                    pkey=key,
                    key_filename=None if key else list(target.identity_files) or None,  # type: ignore[arg-type]  # a list is fine
                    allow_agent=key is None and target.use_agent and not target.only_identities,
                    look_for_keys=False,
                    timeout=target.connect_timeout,
                    banner_timeout=target.connect_timeout,
                    auth_timeout=target.connect_timeout * 3,
                    channel_timeout=30,
                    sock=through,
                    transport_factory=fast_transport,
                )
                return
            except paramiko.AuthenticationException:
                # A link through a proxy is used up by a refusal; another key needs a new one.
                if index == len(listed) or through is not None:
                    raise
            except (OSError, ValueError, paramiko.SSHException) as error:
                link = client.get_transport()
                if link is None or not link.initial_kex_done:
                    raise
                raise meant(error, target.identity_files) from None

    def close(self) -> None:
        """See ``Transport``."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if self._client is not None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._client.close()
            self._client = None
        self._end_proxy()
        self._helper.close()  # after the link: what waits for it has an answer then

    def _end_proxy(self) -> None:
        if self._proxy is not None:
            self._proxy.kill()
            self._proxy.wait()
            if self._proxy.stderr is not None:
                self._proxy.stderr.close()
            self._proxy = None

    def _proxy_socket(self, command: Sequence[str]) -> socket.socket:
        """A socket whose other end is the proxy command's stdin and stdout.

        Not paramiko's own ProxyCommand: that one spins for ever when the proxy dies.
        """
        self._end_proxy()
        ours, theirs = socket.socketpair()
        try:
            self._proxy = subprocess.Popen(
                list(command),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            ours.close()
            raise TransportError(
                f"{self._device.name}: cannot start the proxy {shlex.join(command)}: {error}"
            ) from None
        finally:
            theirs.close()
        assert self._proxy.stderr is not None
        self._proxy_said = Tail(partial(os.read, self._proxy.stderr.fileno(), 4096))
        return ours

    def _channel(self) -> paramiko.Channel:
        transport = self._client.get_transport() if self._client else None
        if transport is None or not transport.is_active():
            raise LinkLostError(f"{self._device.name}: the link was cut")
        deadline = time.monotonic() + SLOT_TIMEOUT
        try:
            while True:
                try:
                    return transport.open_session(timeout=ANSWER_TIMEOUT)
                except paramiko.ChannelException:
                    # The place of a command that has just ended is not free at once.
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.1)
        except paramiko.ChannelException:
            raise TransportError(
                f"{self._device.name}: its ssh server allows no further session on this link",
                hint="set MaxSessions 3 or more in /etc/ssh/sshd_config of the device",
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LinkLostError(f"{self._device.name}: the link was cut: {error}") from None

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """See ``Transport``."""
        if argv[:2] == ["sh", "-c"] and not stdin:
            try:
                done = self._helper.run(argv, timeout)
            except TimeoutError:
                raise self._too_long(argv, timeout) from None
            if done is not None:
                return done
        channel = self._channel()
        out, err = bytearray(), bytearray()
        deadline = time.monotonic() + timeout
        try:
            channel.settimeout(timeout)
            with self._bounded():
                channel.exec_command(command_line(argv))
            feed(channel, stdin)
            stderr = Tail(partial(read_stderr, channel))
            while data := channel.recv(1 << 16):
                out += data
                if len(out) > MAX_OUTPUT:
                    raise ProtocolError(
                        f"{self._device.name}: {argv[0]} printed more than {MAX_OUTPUT:,} bytes"
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError
            err += stderr.text().encode()
            if not channel.status_event.wait(max(0.1, deadline - time.monotonic())):
                raise TimeoutError
        except TimeoutError:
            raise self._too_long(argv, timeout) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LinkLostError(f"{self._device.name}: the link was cut: {error}") from None
        finally:
            end(channel)
        transport = self._client.get_transport() if self._client else None
        if channel.exit_status < 0 and not (transport and transport.is_active()):
            raise LinkLostError(f"{self._device.name}: the link was cut")
        return Completed(channel.exit_status, bytes(out), bytes(err))

    def _too_long(self, argv: Sequence[str], timeout: float) -> AgentTimeoutError:
        return AgentTimeoutError(f"{self._device.name}: {argv[0]} did not end within {timeout:g} s")

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[None]:
        """paramiko waits for ever for some answers; after a while the link is cut instead."""
        transport = self._client.get_transport() if self._client else None
        timer = threading.Timer(ANSWER_TIMEOUT, transport.close if transport else lambda: None)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> Collection[str]:
        """See ``Transport``."""
        return self._helper.put(files, progress)

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        channel = self._command(["sh", "-c", script("send.sh"), "send.sh", remote])
        try:
            return receive(channel, local, limit, f"{self._device.name}: {remote}")
        except TimeoutError:
            raise LinkLostError(
                f"{self._device.name}: nothing more of {remote} for {ANSWER_TIMEOUT} s"
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LinkLostError(f"{self._device.name}: the link was cut: {error}") from None
        finally:
            end(channel)

    def start(self, argv: Sequence[str]) -> SshProcess:
        """See ``Transport``."""
        return SshProcess(self._command(argv), self._device.name)

    def stay(self, argv: Sequence[str]) -> Process:
        """See ``Transport``."""
        return self._helper.stay(argv, ANSWER_TIMEOUT) or self.start(argv)

    def _command(self, argv: Sequence[str]) -> paramiko.Channel:
        """A channel on which the command has been started."""
        channel = self._channel()
        try:
            channel.settimeout(ANSWER_TIMEOUT)
            with self._bounded():
                channel.exec_command(command_line(argv))
        except (OSError, EOFError, paramiko.SSHException) as error:
            end(channel)
            raise LinkLostError(f"{self._device.name}: the link was cut: {error}") from None
        return channel

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat()
