"""A relay in front of a server: counts what goes by, and cuts or freezes it when told."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """``up`` and ``down`` are bytes; ``turns`` counts answers that were followed by a question.

    With ``cut_after`` the connection is cut once so many bytes more have gone up. ``frozen``
    connections stay open and carry nothing.
    """

    port: int
    up: int = 0
    down: int = 0
    turns: int = 0
    cut_after: int | None = None
    cuts: int = 0
    frozen: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to a loopback port; ends its connections."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        found = Relay(listening.getsockname()[1])

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    near = listening.accept()[0]
                    far = socket.create_connection(("127.0.0.1", port))
                    threads.append(threading.Thread(target=carry, args=(near, far)))
                    threads[-1].start()

        def carry(near: socket.socket, far: socket.socket) -> None:
            was_down = False
            with near, far, contextlib.suppress(OSError):
                while not ended.is_set():
                    if found.frozen.is_set():
                        ended.wait(0.05)
                        continue
                    readable, _, _ = select.select([near, far], [], [], 0.05)
                    for end in readable:
                        data = end.recv(1 << 16)
                        if not data:
                            return
                        if end is near:
                            found.turns += was_down
                            was_down = False
                            found.up += len(data)
                            far.sendall(data)
                            if found.cut_after is not None:
                                found.cut_after -= len(data)
                                if found.cut_after <= 0:
                                    found.cut_after = None
                                    found.cuts += 1
                                    return
                        else:
                            was_down = True
                            found.down += len(data)
                            near.sendall(data)

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield found
        finally:
            ended.set()
            for thread in threads:
                thread.join(10)
