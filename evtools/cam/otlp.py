"""The camera that exports traces and metrics to a collector of OpenTelemetry (OTLP over HTTP)."""

import base64
import gzip
import json
import logging
import math
import os
import random
import socket
import threading
import zlib
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import msgspec

from evtools import __version__
from evtools.cam.camera import Bytes, Camera, Seconds
from evtools.cam.http_client import (
    Answer,
    HTTPClient,
    Unreachable,
    headers_of,
    one_line,
    retry_after,
)
from evtools.cam.metrics import (
    RUN_BUCKETS,
    SERIES_MAX,
    WAIT_BUCKETS,
    ClusterMetrics,
    Family,
    Sample,
    label,
)
from evtools.cam.opentelemetry import Message, Points, Spans, attributes
from evtools.cam.schedule import TryLater
from evtools.cam.snapshot import GENERATION, SnapshotInfo, Steps
from evtools.cam.spool import EVENTS, Piece, Record, Spool
from evtools.cam.store import SPOOL_SIZE, SPOOL_SIZE_MIN
from evtools.clock import SystemClock
from evtools.errors import OutputError, UsageError
from evtools.state import Change, State
from evtools.wire import Gap

_log = logging.getLogger(__name__)

Signal: TypeAlias = Literal["traces", "metrics"]

_DEFAULT: Final = "http://localhost:4318"
_ENDPOINT, _HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"
#: Bytes of attempts that wait to be exported, and of requests that wait for the collector.
MAX_WAITING: Final = 64 * 1024 * 1024
#: Bytes of a request before it is compressed: proxies take a few MiB, collectors up to 64.
_REQUEST_BYTES: Final = 4 * 1024 * 1024
#: The answers to a request that may be sent again, by the specification.
_RETRIED: Final = frozenset({429, 502, 503, 504})
_OK: Final = range(200, 300)
#: Seconds to wait for the next try: the first, doubled with each, and the longest; and the most
#: that a collector may ask for.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
#: Seconds between snapshots while the collector is away.
_AWAY_EVERY: Final = 10.0
#: Seconds for all tries of a replay before it goes on, and of a last snapshot.
_PATIENCE, _LAST_PATIENCE = 60.0, 5.0
_ENDS: Final = frozenset({"succeeded", "failed", "retried", "revoked", "rejected", "cancelled"})


class Request(NamedTuple):
    """A request that waits for the collector, of so many spans or points."""

    signal: Signal
    items: int
    body: bytes
    is_packed: bool = True


class Outbox:
    """Requests that wait for the collector, the oldest first, in memory or in a `spool`.

    In memory they take up to `max_bytes`.  Which is the first is known until it is `done`, or
    `failed` and may come again.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.spool: Spool | None = None
        self._requests: deque[Request] = deque()
        self._bytes = 0
        self._piece: Piece | None = None
        #: What is left of the first one in the spool, if that was split.
        self._parts: deque[Request] = deque()

    @property
    def items(self) -> int:
        """The number of spans and points in all of them."""
        if self.spool is not None:
            return self.spool.waiting
        return sum(request.items for request in tuple(self._requests))

    def add(self, requests: Sequence[Request], now: float) -> Tally[Signal]:
        """Add requests, of `now`; return how many items of others were dropped to make room.

        Those of a spool are counted there.
        """
        lost: Tally[Signal] = Tally()
        if self.spool is not None:
            records = [
                Record(EVENTS, b"%c%c" % (_CODES[signal], is_packed) + body, items, now, now)
                for signal, items, body, is_packed in requests
            ]
            self.spool.append(*records)
            self.spool.take_losses()
            return lost
        self._requests += requests
        self._bytes += sum(len(request.body) for request in requests)
        while self._bytes > self.max_bytes and len(self._requests) > 1:
            dropped = self._requests.popleft()
            self._bytes -= len(dropped.body)
            lost[dropped.signal] += dropped.items
        return lost

    def first(self) -> Request | None:
        """Return the request that is to be sent next, None if there is none."""
        if self.spool is None:
            return self._requests[0] if self._requests else None
        if self._parts and self._piece is not None and self.spool.begin(self._piece):
            return self._parts[0]
        self._parts.clear()
        while (piece := self.spool.read(self.spool.end, max_events=1, max_bytes=1)) is not None:
            if not self.spool.begin(piece):  # it was dropped meanwhile
                continue
            self._piece = piece
            if piece.records:
                record = piece.records[0]
                signal = _SIGNALS.get(record.data[0]) if len(record.data) > 1 else None
                if signal is not None:
                    is_packed, body = bool(record.data[1]), record.data[2:]
                    return Request(signal, record.events, body, is_packed)
                words = "the spool %s has a record that is no request: it is left out"
                _log.error(words, self.spool.folder)
            self.done()
        return None

    def done(self) -> None:
        if self.spool is None:
            self._bytes -= len(self._requests.popleft().body)
            return
        if self._parts:
            self._parts.popleft()
        if self._piece is not None and not self._parts:
            self.spool.acknowledge(self._piece)

    def split(self, parts: Sequence[Request]) -> None:
        """Have these sent instead of the first one."""
        waiting = self._parts if self.spool is not None else self._requests
        if waiting:
            waiting.popleft()
        waiting.extendleft(reversed(parts))
        if self.spool is None:
            self._bytes = sum(len(request.body) for request in self._requests)

    def failed(self) -> None:
        if self.spool is not None:
            self.spool.fail()

    def close(self) -> Tally[Signal]:
        """Return how many items are lost now."""
        lost: Tally[Signal] = Tally()
        for request in self._requests:
            lost[request.signal] += request.items
        self._requests.clear()
        spool, self.spool = self.spool, None
        if spool is not None:
            spool.close()
        return lost


@dataclass(slots=True)
class Export:
    """What there is to export of a cluster: spans by worker, and metrics; some spans are `lost`."""

    cluster: str
    spans: list[tuple[str, Message]] = field(default_factory=list)
    metrics: list[Message] = field(default_factory=list)
    lost: int = 0

    def clear(self) -> None:
        self.spans, self.metrics, self.lost = [], [], 0

    def add(self, other: Self) -> None:
        self.spans += other.spans
        self.metrics += other.metrics
        self.lost += other.lost

    def as_dict(self) -> dict[str, Any]:
        return {"spans": [span for _, span in self.spans], "metrics": self.metrics}


class OTLP(Camera):
    """Export a span for each attempt at a task, and one for its wait, and metrics.

    To the collector at `url`, below which are /v1/traces and /v1/metrics, with `headers`
    (NAME=VALUE, separated by commas; @FILE reads them).  `service` is the name of the service that
    the spans are of, by default the first part of the worker's name.  Spans are exported `delay`
    seconds after their attempt ended, metrics every `interval`.  `ca`, `cert` and `key` are files
    in PEM.  What the collector does not take waits in memory, up to `max_waiting` bytes, or in the
    folder `spool`, up to `spool_size`.
    """

    writes_for_all = True

    def __init__(
        self,
        state: State,
        *,
        url: str = "",
        headers: str = "",
        service: str = "",
        traces: bool = True,
        metrics: bool = True,
        arguments: bool = False,
        delay: Seconds = 2.0,
        interval: Seconds = 60.0,
        temporality: Literal["cumulative", "delta"] = "cumulative",
        batch: int = 1000,
        compression: Literal["gzip", "none"] = "gzip",
        timeout: Seconds = 10.0,
        ca: str = "",
        cert: str = "",
        key: str = "",
        hostname: bool = False,
        runtime_buckets: tuple[float, ...] = RUN_BUCKETS,
        wait_buckets: tuple[float, ...] = WAIT_BUCKETS,
        max_series: int = SERIES_MAX,
        max_waiting: Bytes = MAX_WAITING,
        spool: str = "",
        spool_size: Bytes = SPOOL_SIZE,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if not (traces or metrics):
            raise UsageError(
                "camera otlp has nothing to export", "leave out traces=no or metrics=no"
            )
        if spool_size < SPOOL_SIZE_MIN:
            raise UsageError(f"spool_size {spool_size} is too small", "give it 1M or more")
        if batch < 1:
            raise UsageError(f"batch: {batch} is too few")
        self._given = headers or os.environ.get(_HEADERS, "")
        self._target: dict[str, Any] = {
            "url": url or os.environ.get(_ENDPOINT, "") or _DEFAULT,
            "timeout": timeout, "ca": ca, "cert": cert, "key": key,
        }  # fmt: skip
        self._open()
        self._service, self._batch, self._packs = service, batch, compression == "gzip"
        self._has_traces, self._has_metrics, self._interval = traces, metrics, interval
        self._steps = Steps()
        self._max_waiting = max_waiting
        self._spans = Spans(state, delay=delay, arguments=arguments, max_bytes=max_waiting)
        self._metrics = ClusterMetrics(
            state, hostname=hostname, runtime_buckets=runtime_buckets, wait_buckets=wait_buckets,
            max_series=max_series,
        )  # fmt: skip
        self._points = Points(self._metrics, is_delta=temporality == "delta")
        #: When the metrics were taken last, by the clock of the snapshots.
        self._measured: float | None = None
        #: What could not be handed on, and comes again.
        self._back: list[Export] = []
        self._is_last = False
        # Of the one that writes for all.
        self._outbox = Outbox(max_waiting)
        self._spool_folder = Path(spool).expanduser().absolute() if spool else None
        self._spool_size = spool_size
        self._failures, self._patience = 0, _PATIENCE
        self._problem, self._not_before = "", 0.0
        self._counts: Tally[tuple[str, str]] = Tally()
        self._warnings = self._splits = 0
        self._pause = threading.Event()
        self.is_served = False

    def _open(self) -> None:
        # Read the files of headers and certificates.
        client = HTTPClient(**self._target)
        headers = {"Content-Type": "application/json", "User-Agent": f"evtools/{__version__}"}
        if client.user or client.password:
            basic = base64.b64encode(f"{client.user}:{client.password}".encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        self._headers = headers | headers_of(self._given)
        self._client = client

    # --- while events come ------------------------------------------------------------

    def observe(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event, steps = change.event, list(self._steps.of((change,)))
            if self._has_metrics:
                if not isinstance(event, Gap):
                    self._points.events.add((label(event.type),))
                self._metrics.observe(steps)
            if self._has_traces:
                for step in steps:
                    if step.name in _ENDS:
                        self._spans.add(step.task, float(event.local_received))

    def snapshot(self, info: SnapshotInfo) -> Export:
        export, back, self._back = Export(info.cluster), self._back, []
        for each in back:
            export.add(each)
        if self._is_last:
            export.spans += self._spans.take(math.inf)
        elif self._is_live or len(self._spans) >= self._batch:
            # The seconds of a recording pass quickly, and each request takes its time.
            export.spans += self._spans.take(info.at)
        export.lost += self._spans.lost
        self._spans.lost = 0
        if self._measured is None:
            self._measured = info.since
        is_due = self._is_last or info.at - self._measured >= self._interval
        if self._has_metrics and is_due and info.at > self._measured:
            self._metrics.look(info)
            export.metrics += self._points.take(self._measured, info.at)
            self._measured = info.at
        return export

    @property
    def _is_live(self) -> bool:
        return isinstance(self.clock, SystemClock)

    def share(self, parts: int) -> None:
        self._steps.generation = self._spans.generation = GENERATION // parts
        self._spans.max_bytes = self._max_waiting // parts

    @property
    def spool(self) -> Spool | None:
        return self._outbox.spool

    def install(self) -> None:
        """Begin to take snapshots; raise OutputError if the spool cannot be used."""
        if self._spool_folder is not None and self.spool is None:
            size, waiting = self._spool_size, self._max_waiting
            spool = Spool(
                self._spool_folder, max_bytes=size, max_waiting=waiting, items="spans and points"
            )
            spool.open()
            if spool.waiting:
                words = "spool %s: %d spans and points from before are still to be exported"
                _log.info(words, spool.folder, spool.waiting)
            self._outbox.spool = spool
        super().install()

    def cancel(self) -> None:
        for each in self._cameras:
            each._is_last = True  # noqa: SLF001  (of its own class)
        super().cancel()

    # --- in the camera's thread -------------------------------------------------------

    def write(self, snapshot: Export) -> None:
        self.write_all([snapshot])

    def write_all(self, snapshots: list[Export]) -> None:
        """Hand over to the collector what there is; what it does not take now waits here."""
        lost: Tally[Signal] = Tally()
        while snapshots:
            requests = list(self._requests(snapshots[0]))
            lost["traces"] += snapshots[0].lost
            # It waits here now, and does not come back whatever the collector says.
            snapshots.pop(0).clear()
            lost += self._outbox.add(requests, self.clock.wall())
        self._note_lost(lost)
        self._deliver()

    def _requests(self, export: Export) -> Iterator[Request]:
        pieces: list[tuple[str, bytes]] = []
        size_bytes = 0
        for worker, span in export.spans:
            piece = _encode(span)
            if pieces and (len(pieces) >= self._batch or size_bytes + len(piece) > _REQUEST_BYTES):
                yield self._of_spans(export.cluster, pieces)
                pieces, size_bytes = [], 0
            pieces.append((worker, piece))
            size_bytes += len(piece)
        if pieces:
            yield self._of_spans(export.cluster, pieces)
        if export.metrics:
            yield self._of_metrics(export)

    def _of_spans(self, cluster: str, pieces: list[tuple[str, bytes]]) -> Request:
        resources = []
        for worker, group in groupby(
            sorted(pieces, key=lambda each: each[0]), lambda each: each[0]
        ):
            about = self._resource(worker.partition("@")[0], worker, cluster)
            spans = b",".join(piece for _, piece in group)
            resources.append(
                b'{"resource":%b,"scopeSpans":[{"scope":%b,"spans":[%b]}]}' % (about, _SCOPE, spans)
            )
        body = b'{"resourceSpans":[%b]}' % b",".join(resources)
        return self._packed("traces", len(pieces), body)

    def _of_metrics(self, export: Export) -> Request:
        about = self._resource("celery", f"evcam@{socket.gethostname()}", export.cluster)
        points = sum(len(data["dataPoints"]) for each in export.metrics for data in _data_of(each))
        metrics = _encode(export.metrics)
        body = b'{"resourceMetrics":[{"resource":%b,"scopeMetrics":[{"scope":%b,"metrics":%b}]}]}'
        return self._packed("metrics", points, body % (about, _SCOPE, metrics))

    def _resource(self, name: str, instance: str, cluster: str) -> bytes:
        values = {
            "service.name": self._service or name or "celery",
            "service.instance.id": instance,
            "celery.cluster": cluster or None,
        }
        return _encode({"attributes": attributes(values)})

    def _packed(self, signal: Signal, items: int, body: bytes) -> Request:
        if self._packs:
            body = gzip.compress(body, 1, mtime=0)
        return Request(signal, items, body, self._packs)

    def _note_lost(self, lost: Tally[Signal]) -> None:
        for signal, count in lost.items():
            if count:
                self._counts[signal, "dropped"] += count
                words = "%s: %d %s were dropped, as too many waited for the collector"
                _log.error(words, self.describe(), count, _ITEMS[signal])

    def _deliver(self) -> None:
        # One request after the other, until the collector wants no more.
        refused: list[str] = []
        if self._is_live and not self._is_last and self.clock.monotonic() < self._not_before:
            raise self._later(self._problem)
        while (request := self._outbox.first()) is not None:
            self.gets_on()
            problem, asked = self._send(request)
            if problem is None and asked is not None:
                continue
            if problem is not None and asked is not None:
                self._outbox.failed()
                self._failures += 1
                wait = asked or self._backoff()
                self._problem = problem
                self._not_before = self.clock.monotonic() + wait
                if not self._has_patience(wait):
                    raise self._later("; ".join([problem, *refused]))
                continue
            self._failures, self._patience = 0, _PATIENCE
            self._outbox.done()
            if problem is not None:
                self._counts[request.signal, "refused"] += request.items
                refused.append(f"{problem}; {request.items} {_ITEMS[request.signal]} are lost")
        if refused:
            more = f" (and {len(refused) - 1} requests more)" if len(refused) > 1 else ""
            raise OutputError(refused[0] + more)

    def _later(self, problem: str) -> TryLater:
        # What ends meanwhile is to become requests, too, which take less memory or are on disk.
        left = self._not_before - self.clock.monotonic()
        return TryLater(problem, wait=min(left, max(self.freq, _AWAY_EVERY)))

    def _send(self, request: Request) -> tuple[str | None, float | None]:
        # Return what went wrong, and when to try again: after seconds, 0 for when we like.  If
        # nothing went wrong and it is to be tried again, there are smaller ones instead.
        headers = {**self._headers, **({"Content-Encoding": "gzip"} if request.is_packed else {})}
        try:
            answer = self._client.request("POST", f"/v1/{request.signal}", request.body, headers)
        except Unreachable as error:
            return error.message, 0.0
        if answer.status in _OK and answer.is_whole:
            self._note_success(request, answer.body)
            return None, None
        problem = f"{self._client.address} answered {_words(answer)}"
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and (halves := _halves(request)):
            self._outbox.split(halves)
            self._note_split(problem, request)
            return None, 0.0
        if answer.status in _RETRIED:
            return problem, retry_after(answer, SystemClock().wall())
        return problem, None

    def _note_success(self, request: Request, body: bytes) -> None:
        rejected, message = _partial(body)
        rejected = min(rejected, request.items)
        self._counts[request.signal, "rejected"] += rejected
        self._counts[request.signal, "accepted"] += request.items - rejected
        if not rejected and not message:
            return
        self._warnings += 1
        # The 1st, 2nd, 4th, ...
        if self._warnings & (self._warnings - 1) == 0:
            words = "%s: the collector rejected %d of %d %s: %s"
            about = _ITEMS[request.signal]
            _log.warning(words, self.describe(), rejected, request.items, about, message)

    def _note_split(self, problem: str, request: Request) -> None:
        self._splits += 1
        # The 1st, 2nd, 4th, ...
        if self._splits & (self._splits - 1) == 0:
            words = "%s: %s: the %d %s are sent in halves; a smaller batch saves that"
            _log.warning(words, self.describe(), problem, request.items, _ITEMS[request.signal])

    def _backoff(self) -> float:
        longest = min(_FIRST_WAIT * 2 ** min(self._failures - 1, 20), _LONGEST_WAIT)
        return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)

    def _has_patience(self, wait: float) -> bool:
        # Nothing else comes later than the last snapshot, and a recording can wait.
        if self._is_last:
            self._patience = min(self._patience, _LAST_PATIENCE)
        elif self._is_live:
            return False
        if wait > self._patience:
            self._patience = 0.0
            return False
        self._patience -= wait
        self._pause.wait(wait)
        return True

    def restore(self, snapshot: Export) -> None:
        self._back.append(snapshot)

    def reopen(self) -> None:
        """Read the files of headers and certificates again."""
        before = self._client
        self._open()
        before.close()
        if self._outbox.spool is not None:
            self._outbox.spool.reopen()

    def close(self) -> None:
        self._client.close()
        for signal, count in self._outbox.close().items():
            words = "%s: %d %s were not exported, as the collector did not take them"
            _log.error(words, self.describe(), count, _ITEMS[signal])

    def check(self) -> None:
        """Raise OutputError if the collector does not take an empty request, or for the spool."""
        if self._spool_folder is not None:
            Spool(self._spool_folder, max_bytes=0, max_waiting=0).check()
        for signal, wanted in (("traces", self._has_traces), ("metrics", self._has_metrics)):
            if not wanted:
                continue
            path, body = f"/v1/{signal}", b'{"resource%b":[]}' % _KINDS[signal]
            answer = self._client.request("POST", path, body, self._headers)
            if answer.status not in _OK:
                raise OutputError(f"{self._client.address}{path} answered {_words(answer)}")
        self._client.close()

    def describe(self) -> str:
        signals = [
            name
            for name, has in (("traces", self._has_traces), ("metrics", self._has_metrics))
            if has
        ]
        return f"{' and '.join(signals)} at {self._client.address}"

    def families(self) -> Iterable[Family]:
        """Return what was exported, for the metrics of evcam itself."""
        samples = [
            Sample("_total", (("signal", signal), ("result", result)), count)
            for (signal, result), count in sorted(self._counts.copy().items())
        ]
        waiting = self._outbox.items
        yield Family(
            "evcam_otlp_items", "counter", "Spans and points of metrics by result.", samples
        )
        yield Family(
            "evcam_otlp_waiting",
            "gauge",
            "Spans and points that wait for the collector.",
            [Sample("", (), waiting)],
        )


#: What begins a record of a spool.
_CODES: Final[Mapping[Signal, int]] = {"traces": ord("t"), "metrics": ord("m")}
_SIGNALS: Final[Mapping[int, Signal]] = {code: signal for signal, code in _CODES.items()}
_SCOPE: Final = msgspec.json.encode({"name": "evtools.evcam", "version": __version__})
_ITEMS: Final = {"traces": "spans", "metrics": "points"}
_KINDS: Final = {"traces": b"Spans", "metrics": b"Metrics"}
_encode: Final = msgspec.json.Encoder().encode


def _words(answer: Answer) -> str:
    # Its status, and the message that is in a Status of Google's RPC, if it is one.
    said: Any = answer.body
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        said = json.loads(answer.body)["message"]
    text = one_line(said if isinstance(said, (str, bytes)) else answer.body)
    if not answer.is_whole:
        text = "with more than it may say"
    status = f"{answer.status} {one_line(answer.reason)}".strip()
    return f"{status}: {text}" if text and answer.body != b"{}" else status


def _partial(body: bytes) -> tuple[int, str]:
    # How many items were rejected, and why, by the answer to a request that was taken.
    try:
        partial = json.loads(body)["partialSuccess"]
        rejected = int(partial.get("rejectedSpans") or partial.get("rejectedDataPoints") or 0)
        return max(rejected, 0), one_line(str(partial.get("errorMessage") or ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 0, ""


def _data_of(metric: Message) -> Iterator[Message]:
    for name in ("sum", "gauge", "histogram"):
        if name in metric:
            yield metric[name]


#: By signal, where its items are.
_LEVELS: Final[Mapping[Signal, Sequence[Sequence[str]]]] = {
    "traces": (("resourceSpans",), ("scopeSpans",), ("spans",)),
    "metrics": (
        *(("resourceMetrics",), ("scopeMetrics",), ("metrics",)),
        *(("sum", "gauge", "histogram"), ("dataPoints",)),
    ),
}


def _halves(request: Request) -> list[Request]:
    # Two requests with the items of one; none if it has only one, or is not as we make them.
    if request.items < 2:  # noqa: PLR2004
        return []
    first = request.items // 2
    try:
        body = gzip.decompress(request.body) if request.is_packed else request.body
        parts = _cut(json.loads(body), _LEVELS[request.signal], first)
    except (ValueError, LookupError, TypeError, EOFError, OSError, zlib.error):
        return []
    bodies = [_encode(part) for part in parts]
    if request.is_packed:
        bodies = [gzip.compress(each, 1, mtime=0) for each in bodies]
    counts = (first, request.items - first)
    return [
        request._replace(items=items, body=each) for items, each in zip(counts, bodies, strict=True)
    ]


def _cut(message: Message, levels: Sequence[Sequence[str]], first: int) -> list[Message]:
    # The message with its first items, and with all others.
    names, *deeper = levels
    name = next(each for each in names if each in message)
    within = message[name]
    if isinstance(within, dict):
        return [{**message, name: part} for part in _cut(within, deeper, first)]
    if not deeper:
        return [{**message, name: within[:first]}, {**message, name: within[first:]}]
    parts: list[list[Message]] = [[], []]
    for each in within:
        count = _count(each, deeper)
        if 0 < first < count:
            for part, piece in zip(parts, _cut(each, deeper, first), strict=True):
                part.append(piece)
        else:
            parts[first <= 0].append(each)
        first -= count
    return [{**message, name: part} for part in parts]


def _count(message: Message, levels: Sequence[Sequence[str]]) -> int:
    names, *deeper = levels
    within = message[next(each for each in names if each in message)]
    if isinstance(within, dict):
        return _count(within, deeper)
    return sum(_count(each, deeper) for each in within) if deeper else len(within)
