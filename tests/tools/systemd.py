"""The socket that systemd has for notifications of a service."""

from __future__ import annotations

import socket
import time
from typing import Self

from servers.process import PATIENCE, NotInTimeError


class NotifySocket:
    """A real datagram socket at a path, or with `@` before it an abstract name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)

    def __enter__(self) -> Self:
        """Listen."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self, *, deadline: float = PATIENCE) -> list[str]:
        """Return the lines of the next datagram."""
        self._socket.settimeout(deadline)
        try:
            return self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            raise NotInTimeError(f"no notification within {deadline:g} s") from None

    def wait(self, wanted: str, *, deadline: float = PATIENCE) -> list[list[str]]:
        """Read until a line begins with what is wanted; return all datagrams."""
        end = time.monotonic() + deadline
        datagrams: list[list[str]] = []
        while not datagrams or not any(s.startswith(wanted) for s in datagrams[-1]):
            left = end - time.monotonic()
            if left <= 0:
                raise NotInTimeError(f"{wanted!r} is not among {datagrams}")
            datagrams.append(self.read(deadline=left))
        return datagrams

    @property
    def is_silent(self) -> bool:
        """Whether nothing waits to be read."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False
