"""Free loopback ports that a client cannot connect to by accident."""

from __future__ import annotations

import os
import random
import socket

HOST = "127.0.0.1"

# Below the range the kernel takes ports of outgoing connections from. A client that
# reconnects to a stopped server on a port of that range may be given the same port as
# its own, and then it is connected to itself.
_LOWEST, _HIGHEST = 20_000, 32_000

# Each process of pytest-xdist has ports of its own: a port is free for a while before a server
# listens there, while one is stopped, and for as long as a test wants nobody there.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

_given: set[int] = set()


def free_port() -> int:
    """Return a port nobody listens on and this process has not given out before."""
    while True:
        port = random.randrange(_LOWEST + _WORKER, _HIGHEST, _WORKERS)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    """Return whether somebody listens on a port."""
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True
