"""paramiko's transport, set up for speed."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import paramiko

#: Ciphers in the order of their speed; others that both ends know come after them.
_FASTEST = ("aes128-gcm@openssh.com", "aes128-ctr", "aes256-gcm@openssh.com")


class _PromptSocket(socket.socket):
    """Neither holds small packets back nor delays what the server's small packets wait for.

    OpenSSH's server sends nothing small while an earlier packet is not acknowledged, and the
    kernel acknowledges after 40 ms: each command would wait for that.
    """

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        if quick := getattr(socket, "TCP_QUICKACK", None):  # Linux; forgotten by the kernel
            with contextlib.suppress(OSError):
                self.setsockopt(socket.IPPROTO_TCP, quick, 1)
        return data


def fast_transport(sock: Any, **settings: Any) -> paramiko.Transport:
    """A transport over a socket, with the fastest cipher first that paramiko knows."""
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        timeout = sock.gettimeout()
        sock = _PromptSocket(sock.family, sock.type, sock.proto, sock.detach())
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, **settings)
    options = transport.get_security_options()
    known = list(options.ciphers)
    first = [name for name in _FASTEST if name in known]
    options.ciphers = (*first, *(name for name in known if name not in first))
    return transport
