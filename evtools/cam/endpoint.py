"""What `--listen` serves: health, status and metrics."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

from evtools.cam.counters import Counters
from evtools.cam.health import Health
from evtools.cam.http import Address, HTTPServer
from evtools.cam.metrics import Family, own_families, scrape
from evtools.cam.probe import Probe
from evtools.clock import Clock
from evtools.state import Worker
from evtools.transport import ConnectionSettings, Statistics, probe


class Endpoint:
    """Serve `/livez`, `/readyz`, `/status` and `/metrics` within its context.

    `settings` are those of the broker to try, None if there is none.  Of a
    `camera` that has metrics without an address of its own, they are served
    too.  Raise UsageError for a bad address and OutputError for one that
    cannot be had.
    """

    def __init__(
        self,
        address: str,
        *,
        counters: Counters,
        statistics: Callable[[], Statistics],
        workers: Mapping[str, Worker],
        settings: ConnectionSettings | None,
        camera: Any,
        clock: Clock,
    ) -> None:
        self._counters = counters
        self._statistics = statistics
        self._camera = camera if adopt(camera) else None
        self._probe = None
        if settings is not None:
            self._probe = Probe(partial(probe, settings), clock)
        health = Health(counters, statistics, workers, self._probe, clock)
        self._server = HTTPServer(
            Address.of(address),
            {
                "/livez": health.livez,
                "/readyz": health.readyz,
                "/status": health.status,
                "/metrics": scrape(self._families),
            },
            clock=clock,
        )

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._server.address

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the address, and leave no thread."""
        with ExitStack() as stack:
            if self._probe is not None:
                stack.callback(self._probe.close)
            stack.callback(self._server.close)

    def _families(self) -> Iterator[Family]:
        yield from own_families(self._counters, self._statistics())
        if self._camera is not None:
            yield from self._camera.families()


def adopt(camera: Any) -> bool:
    """Tell a camera that its metrics are served; return whether it has any to serve.

    One that listens itself, or writes a file, is served as well.
    """
    if not callable(getattr(camera, "families", None)):
        return False
    camera.is_served = True
    return True
