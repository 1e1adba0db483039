"""The camera that shows metrics to Prometheus, and the text that they are."""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, Self

from evtools.cam.camera import Camera, check_place
from evtools.cam.http import Address, HTTPServer, Response, Route
from evtools.cam.metrics import (
    RUN_BUCKETS,
    SERIES_MAX,
    WAIT_BUCKETS,
    ClusterMetrics,
    Family,
    labelled,
    number,
)
from evtools.cam.queues import QueueWatch
from evtools.cam.snapshot import GENERATION, SnapshotInfo, Steps
from evtools.errors import OutputError, UsageError
from evtools.state import Change, State
from evtools.transport import ConnectionSettings
from evtools.trust import replace_file
from evtools.wire.redact import Redactor

_PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
#: node_exporter runs as another user.
_MODE: Final = 0o644


class Format(Enum):
    """A text format; the value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @classmethod
    def accepted(cls, accept: str) -> Self:
        for entry in accept.split(","):
            kind, *parameters = (part.strip() for part in entry.split(";"))
            refused = any(_REFUSED.fullmatch(parameter) for parameter in parameters)
            if kind.lower() == "application/openmetrics-text" and not refused:
                return cls.OPENMETRICS
        return cls.TEXT


_REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?", re.IGNORECASE)
_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def scrape(families: Callable[[], Iterable[Family]]) -> Route:
    """Return a route that answers with the metrics that `families` returns then."""

    def answer(accept: str) -> Response:
        form = Format.accepted(accept)
        return Response(200, render(families(), form), form.value)

    return answer


def render(families: Iterable[Family], form: Format = Format.TEXT) -> bytes:
    """Return the text of `families`; a name must not come twice."""
    lines: list[str] = []
    for family in families:
        # The older format calls a family what its samples are called.
        total = "_total" if family.kind == "counter" and form is Format.TEXT else ""
        lines.append(f"# HELP {family.name}{total} {family.help}\n")
        lines.append(f"# TYPE {family.name}{total} {family.kind}\n")
        for suffix, labels, value in family.samples:
            pairs = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels)
            braced = f"{{{pairs}}}" if pairs else ""
            lines.append(f"{family.name}{suffix}{braced} {number(value)}\n")
    if form is Format.OPENMETRICS:
        lines.append("# EOF\n")
    return "".join(lines).encode()


class Prometheus(Camera):
    """Count what became of tasks, and show which workers are alive.

    At `listen` (HOST:PORT), in the file `path` whose name should end in `.prom`, or both.  Counters
    and histograms follow the events, gauges are as of the last snapshot.  Names begin with
    `prefix`; with `names` of `flower` there are Flower's metrics as well, under its names.  With
    `hostname` the name of the worker is a label.  `runtime_buckets` and `wait_buckets` are upper
    bounds in seconds.  Each metric has at most `max_series` series of a cluster; the rest is
    `(others)`.  The name of the cluster is a label, if it has one.

    With `broker_stats` the broker is asked about the queues that events or workers name, and about
    these `queues`; with `ask` the workers are asked, once a minute, which those are.
    """

    writes_for_all = True

    def __init__(
        self,
        state: State,
        *,
        path: str = "",
        listen: str = "",
        prefix: str = "celery_",
        names: Literal["celery", "flower"] = "celery",
        hostname: bool = False,
        runtime_buckets: tuple[float, ...] = RUN_BUCKETS,
        wait_buckets: tuple[float, ...] = WAIT_BUCKETS,
        max_series: int = SERIES_MAX,
        queues: tuple[str, ...] = (),
        ask: bool = True,
        broker_stats: bool = True,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(f'prefix: no metric\'s name can begin with "{prefix}"')
        if names == "flower" and prefix == "flower_":
            raise UsageError("names=flower and prefix=flower_ would name two metrics the same")
        self._path = Path(path) if path else None
        self._address = Address.of(listen) if listen else None
        self._server: HTTPServer | None = None
        self._routes = {"/metrics": scrape(self.families)}
        #: Whether --listen of evcam serves `families`.
        self.is_served = False
        self._queues, self._asks_workers, self._asks_broker = queues, ask, broker_stats
        self._steps = Steps()
        self._metrics = ClusterMetrics(
            state, prefix=prefix, hostname=hostname, runtime_buckets=runtime_buckets,
            wait_buckets=wait_buckets, max_series=max_series, flower=names == "flower",
        )  # fmt: skip

    def share(self, parts: int) -> None:
        self._steps.generation = GENERATION // parts

    def watch_broker(self, settings: ConnectionSettings, redact: Redactor | None = None) -> None:
        if self._asks_broker:
            self._metrics.queues = watch = QueueWatch(
                settings, self._queues, asks_workers=self._asks_workers, redact=redact
            )
            watch.start()

    def observe(self, changes: Sequence[Change]) -> None:
        self._metrics.observe(self._steps.of(changes))

    def snapshot(self, info: SnapshotInfo) -> Self:
        """Set the gauges, while they can be known, and return this camera."""
        self._metrics.look(info)
        return self

    def families(self) -> Sequence[Family]:
        """Return all metrics that have series, as they are now; any thread may ask for them.

        They are of all clusters, if this camera takes the snapshots of all.
        """
        found: list[Sequence[Family]] = [each.own_families() for each in self._cameras]
        if len(found) == 1:
            return found[0]
        metrics = self._metrics.instruments.values()
        by_name: dict[str, list[Family]] = {each.name: [] for each in metrics}
        for family in chain.from_iterable(found):
            by_name[family.name].append(family)
        return [
            each[0]._replace(samples=chain.from_iterable(family.samples for family in each))
            for each in by_name.values()
            if each
        ]

    def own_families(self) -> Sequence[Family]:
        """Return the metrics of this camera's cluster."""
        families, cluster = self._metrics.families(), self.state.cluster
        if not cluster:
            return families
        return [each._replace(samples=labelled(each.samples, cluster)) for each in families]

    def as_dict(self) -> dict[str, Any]:
        """Return what would be written, for a dry run."""
        return {"metrics": render(self.own_families()).decode().splitlines()}

    @property
    def address(self) -> Address | None:
        return None if self._server is None else self._server.address

    def install(self) -> None:
        self._check_place()
        if self._address is not None and self._server is None:
            self._server = HTTPServer(self._address, self._routes)
            self._server.start()
        super().install()

    def write_all(self, snapshots: list[Self]) -> None:
        # They are in one file.
        self.write(self)
        snapshots.clear()

    def write(self, snapshot: Self) -> None:
        """Write a file that gets its name only when it is complete."""
        if self._path is None:
            return
        data = render(snapshot.families())
        try:
            replace_file(self._path, data, _MODE)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Stop listening and asking; the file stays as it is."""
        for camera in self._cameras:
            camera.stop_asking()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def stop_asking(self) -> None:
        watch, self._metrics.queues = self._metrics.queues, None
        if watch is not None:
            watch.close()

    def check(self) -> None:
        """Raise UsageError if there is no place for the metrics, OutputError for a bad one."""
        self._check_place()
        if self._address is not None:
            HTTPServer(self._address, self._routes).close()
        if self._path is not None:
            check_place(self._path.absolute(), replaces=True)

    def describe(self) -> str:
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
