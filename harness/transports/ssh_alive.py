"""Noticing a device that has vanished without a word: switched off, out of reach, hung."""

from __future__ import annotations

import contextlib
import threading

import paramiko


class Heartbeat:
    """Asks the server for an answer now and then; cuts the link when none comes.

    paramiko's own keep-alive asks for no answer, and a connection to a machine that is gone
    looks idle for ever. ``interval`` seconds lie between two questions, ``patience`` is how long
    the device may neither answer nor take anything.
    """

    def __init__(self, transport: paramiko.Transport, interval: float, patience: float) -> None:
        self._transport = transport
        self._interval = interval
        self._patience = patience
        self._ended = threading.Event()
        self._silent = 0.0
        for work in (self._ask, self._watch):
            threading.Thread(target=work, name="ssh-heartbeat", daemon=True).start()

    def beat(self) -> None:
        """The device has just shown that it lives."""
        self._silent = 0.0

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _ask(self) -> None:
        while not self._ended.wait(self._interval) and self._transport.is_active():
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                # Any answer will do; "no such request" is the usual one.
                self._transport.global_request("keepalive@openssh.com", wait=True)
                if self._transport.is_active():
                    self.beat()

    def _watch(self) -> None:
        """Counts its own steps: a host that slept itself has heard nothing, and no fault of it."""
        step = self._interval / 4
        while not self._ended.wait(step) and self._transport.is_active():
            self._silent += step
            if self._silent > self._patience:
                self._transport.close()
                return
