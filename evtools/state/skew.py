"""How far other clocks are ahead of ours."""

from math import inf
from typing import Any, Final

#: Seconds that the least delay is looked for in; as many before count as well.
_WINDOW: Final = 60.0
#: More clients, and machines that they run on, than a cluster has at a time; names
#: are chosen by who sends.
_CLIENTS_MAX: Final = 4096
_MACHINES_MAX: Final = 1024
_LENGTH_MAX: Final = 255


class Skew:
    """How far one clock is ahead of ours, from when it says things and we hear them.

    What it says comes late by the skew and the way here.  The way is never
    negative, so the least delay is nearest to the truth; while all that comes is
    late because the stream is, that is one from before.  A delay is of interest
    if it is less than `least`, or comes after `until`.
    """

    __slots__ = ("_before", "least", "until")

    def __init__(self, least: float = inf, before: float = inf, until: float = -inf) -> None:
        self.least = least
        self._before = before
        self.until = until

    def __reduce__(self) -> tuple[Any, ...]:
        return Skew, (self.least, self._before, self.until)

    def measure(self, timestamp: float, local_received: float) -> None:
        """Take in that we heard at `local_received` what was said at `timestamp`."""
        delay = local_received - timestamp
        if local_received > self.until:
            recent = local_received <= self.until + _WINDOW
            self._before = self.least if recent else inf
            self.least, self.until = delay, local_received + _WINDOW
        elif delay < self.least:
            self.least = delay

    @property
    def ahead(self) -> float | None:
        """Seconds it is ahead of our clock, less the way here; None if unknown."""
        least = min(self.least, self._before)
        return None if least == inf else -least


class Clients(dict[str, Skew]):
    """The skews of clients, by their hostnames.

    Clients come and go, with names of their own.  What follows the @ is the
    machine, whose clock they share.
    """

    def __init__(self) -> None:
        super().__init__()
        self._machines: dict[str, Skew] = {}

    def __missing__(self, client: str) -> Skew:
        machine = client.rpartition("@")[2]
        if len(client) > _LENGTH_MAX:
            return Skew()
        if len(self._machines) >= _MACHINES_MAX:
            self._machines.clear()
        if len(self) >= _CLIENTS_MAX:
            self.clear()
        skew = self[client] = self._machines.setdefault(machine, Skew())
        return skew

    def ahead(self, client: str | None) -> float | None:
        """Return the seconds that a client's clock is ahead of ours, if known."""
        return None if client is None else self[client].ahead
