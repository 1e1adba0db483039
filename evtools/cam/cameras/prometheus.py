"""Metrics for Prometheus: over HTTP, or in a file for node_exporter."""

import contextlib
import math
import os
import re
import secrets
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from evtools.cam.camera import Camera
from evtools.cam.http import Address, HTTPServer
from evtools.cam.metrics import (
    RUN_BUCKETS,
    SERIES_MAX,
    WAIT_BUCKETS,
    ClusterMetrics,
    Family,
    Scheme,
    render,
    scrape,
)
from evtools.cam.roll import Frame
from evtools.errors import OutputError, UsageError
from evtools.state import Change, State
from evtools.trust import check_way, safe_place

_PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
#: node_exporter runs as somebody else.
_MODE: Final = 0o644
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Picture:
    """The metrics as of a snapshot."""

    def __init__(self, metrics: ClusterMetrics) -> None:
        self._metrics = metrics

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return render(self._metrics.families())

    def as_dict(self) -> dict[str, Any]:
        """Return the lines of that."""
        return {"metrics": self.text().decode().splitlines()}


class Prometheus(Camera):
    """Tell what became of tasks as counters and histograms, and who is there.

    At `listen` (HOST:PORT), or in the file `path` whose name should end in
    `.prom`, or both.  Counters are as of now, gauges as of the last snapshot.

    Names begin with `prefix`.  With `hostname` the name of the worker is a
    label.  `runtime_buckets` and `wait_buckets` are upper bounds in seconds.
    Each metric has `max_series` series at the most; what goes beyond is told
    as `(others)`.
    """

    def __init__(
        self,
        state: State,
        *,
        path: str = "",
        listen: str = "",
        prefix: str = "celery_",
        hostname: bool = False,
        runtime_buckets: tuple[float, ...] = RUN_BUCKETS,
        wait_buckets: tuple[float, ...] = WAIT_BUCKETS,
        max_series: int = SERIES_MAX,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(f'prefix: "{prefix}" cannot be the beginning of a name')
        if max_series < 1:
            raise UsageError(f"max_series: {max_series} is too few")
        self._path = Path(path) if path else None
        self._address = Address.of(listen) if listen else None
        self._metrics = ClusterMetrics(
            Scheme(
                prefix=prefix,
                hostname=hostname,
                run_buckets=_bounds("runtime_buckets", runtime_buckets),
                wait_buckets=_bounds("wait_buckets", wait_buckets),
                max_series=max_series,
            )
        )
        self._server: HTTPServer | None = None
        #: Whether somebody else serves what `families` returns.
        self.is_served = False

    @property
    def address(self) -> Address | None:
        """Where it listens, if it does."""
        return None if self._server is None else self._server.address

    def families(self) -> Sequence[Family]:
        """Return the metrics; from any thread."""
        return self._metrics.families()

    def install(self) -> None:
        """Listen, if asked to, and begin to look."""
        self._check_place()
        if self._address is not None and self._server is None:
            self._server = self._serve(self._address)
            self._server.start()
        super().install()

    def observe(self, changes: Sequence[Change]) -> None:
        """Count what events changed."""
        self._metrics.observe(changes)

    def expose(self, frame: Frame) -> Picture:
        """Look how things stand, if that can be seen."""
        if frame.warm and frame.connected:
            self._metrics.look(self.state, frame.at)
        else:
            self._metrics.look_away()
        return Picture(self._metrics)

    def develop(self, picture: Picture) -> None:
        """Write the file, if there is one."""
        if self._path is not None:
            _replace(self._path, picture.text())

    def close(self) -> None:
        """Listen no more; the file stays as it is."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def check(self) -> None:
        """Raise UsageError if there is no place for the metrics, OutputError for a bad.

        One that somebody else serves has to be told before.
        """
        self._check_place()
        if self._address is not None:
            self._serve(self._address).close()
        if self._path is not None:
            try:
                check_way(self._path.absolute().parent)
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
            folder = self._path.absolute().parent
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                raise OutputError(f"cannot write into {folder}")

    def describe(self) -> str:
        """Say where the metrics are."""
        places = [str(self._path)] if self._path else []
        if self._address is not None:
            places.append(f"http://{self.address or self._address}/metrics")
        return f"metrics at {' and '.join(places) or 'the address of --listen'}"

    def _check_place(self) -> None:
        if self._path is None and self._address is None and not self.is_served:
            raise UsageError(
                "camera prometheus has nowhere to put its metrics",
                "give evcam --listen 127.0.0.1:9808, or a file: -c prometheus:x.prom",
            )

    def _serve(self, address: Address) -> HTTPServer:
        return HTTPServer(address, {"/metrics": scrape(self.families)})


def _bounds(name: str, bounds: tuple[float, ...]) -> tuple[float, ...]:
    grow = all(one < other for one, other in pairwise((0.0, *bounds)))
    if not (bounds and grow and math.isfinite(bounds[-1])):
        raise UsageError(f"{name} have to grow, from above 0", "as in 0.1,0.5,1,5")
    return tuple(map(float, bounds))


def _replace(path: Path, data: bytes) -> None:
    """Write a file that has its name only when all of it is there."""
    try:
        with safe_place(path) as (folder, name):
            _replace_in(folder, name, data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _replace_in(folder: int | None, name: str, data: bytes) -> None:
    head, slash, last = name.rpartition("/")
    # Not *.prom, which node_exporter would read, and not to be known before.
    temporary = f"{head}{slash}.{last}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, _FLAGS, _MODE, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor)
            os.fchmod(file.fileno(), _MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
