"""What OpenTelemetry calls traces and metrics, made of tasks: spans and points, as OTLP's JSON."""

import math
import re
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from evtools.cam.metrics import ClusterMetrics, Counter, Key, exception_class
from evtools.cam.snapshot import GENERATION
from evtools.state import UNKNOWN, State, Task
from evtools.transport.recording.database import clean, clean_end, clean_key, clean_name

#: A value of OTLP's JSON.
Message: TypeAlias = dict[str, Any]

_TEXT_MAX: Final = 4096
#: OpenTelemetry's numbers.
_PRODUCER, _CONSUMER = 4, 5
_ERROR: Final = 2
_DELTA, _CUMULATIVE = 1, 2
#: Of an error whose class is not known.
_NO_CLASS: Final = "_OTHER"
_UUID: Final = re.compile(
    "[0-9a-f]{8}(-?)[0-9a-f]{4}(?:\\1[0-9a-f]{4}){2}\\1[0-9a-f]{12}", re.IGNORECASE
)
#: What an exception was raised with, in its repr: `all` of it, or a single `text`.
_RAISED: Final = re.compile(
    r"""[^\W\d][\w.]{0,200}\("""
    r"""(?P<all>(?P<quote>['"])(?P<text>(?:(?!(?P=quote)).)*)(?P=quote)|.*?),?\)""",
    re.DOTALL,
)
#: Types of events that are counted apart.
_TYPES_MAX: Final = 200
#: Seconds: less than that may be the time that events take.
_SKEW_MIN: Final = 1.0
_UNIX_MAX: Final = 9.2e9


# --- messages -----------------------------------------------------------------------


def attribute(key: str, value: Any) -> Message:
    """Return an attribute of OTLP; a value that it has no type for becomes text."""
    kind, known = "stringValue", value
    if isinstance(value, bool):
        kind = "boolValue"
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        kind, known = "intValue", str(value)
    elif isinstance(value, float) and math.isfinite(value):
        kind = "doubleValue"
    elif not isinstance(value, str):
        known = str(value)
    return {"key": key, "value": {kind: known}}


def attributes(values: Mapping[str, Any]) -> list[Message]:
    """Return attributes of OTLP; what is None is left out."""
    return [attribute(key, value) for key, value in values.items() if value is not None]


def nanoseconds(moment: float) -> str:
    """Return UTC epoch seconds, to the microsecond, as OTLP has them; what cannot be is cut."""
    return str(round(min(max(0.0, moment), _UNIX_MAX) * 1e6) * 1000)


def trace_id_of(root_id: str) -> str:
    """Return the id of the trace of a workflow: that of its root, where that is a UUID."""
    if _UUID.fullmatch(root_id):
        plain = root_id.replace("-", "").lower()
        if plain.strip("0"):
            return plain
    return _digest(root_id, 16)


def span_id_of(uuid: str, number: int, delivery: int = 0, *, kind: str = "run") -> str:
    """Return the id of the span of an attempt at a task, or of its wait.

    `number` is how often the task had been retried, and `delivery` how often the message of that
    attempt had been delivered before.
    """
    return _digest(f"{kind}\0{number}\0{delivery}\0{uuid}", 8)


def _digest(text: str, size: int) -> str:
    # All zeros are no id.
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=size).hexdigest()
    return digest if digest.strip("0") else f"{1:0{2 * size}x}"


# --- spans --------------------------------------------------------------------------


class Run(NamedTuple):
    """An attempt at a task: how often it was retried, and delivered, before."""

    number: int
    delivery: int
    attempt: Any

    def span_id(self, task: Task, kind: str = "run") -> str:
        return span_id_of(task.uuid, self.number, self.delivery, kind=kind)


def runs_of(task: Task) -> list[Run]:
    """Return all attempts at a task, the oldest first."""
    if task.history is None:
        return [Run(task.retries or 0, 0, task)]
    deliveries: Tally[int] = Tally()
    runs = []
    for attempt in task.history.attempts:
        runs.append(Run(attempt.number, deliveries[attempt.number], attempt))
        deliveries[attempt.number] += 1
    return runs


class Spans:
    """Make spans of the attempts that have ended, each once.

    An attempt is given out `delay` seconds after it ended, as later events may say more of it.
    Meanwhile its task is kept, and all of them take up to `max_bytes`; the oldest are dropped then,
    and counted as `lost`.  With `arguments`, spans have what tasks were called with and returned.
    Call everything with the state's lock held.
    """

    def __init__(self, state: State, *, delay: float, arguments: bool, max_bytes: int) -> None:
        self.state, self._delay, self._arguments = state, delay, arguments
        self.max_bytes = max_bytes
        self.generation = GENERATION
        self.lost = 0
        #: Tasks with when the first end came that is to be exported, by our clock, and their bytes.
        self._waiting: OrderedDict[str, tuple[Task, float, int]] = OrderedDict()
        self._bytes = 0
        #: The ids of spans that were made: those of the newest generation, and as many before.
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task, received: float) -> None:
        """Note that an attempt at a task has ended."""
        if task.uuid in self._waiting:
            # One that is retried again and again does not wait for ever.
            return
        self._waiting[task.uuid] = task, received, task.weight_bytes
        self._bytes += task.weight_bytes
        while self._bytes > self.max_bytes and len(self._waiting) > 1:
            self._bytes -= self._waiting.popitem(last=False)[1][2]
            self.lost += 1

    def take(self, now: float) -> list[tuple[str, Message]]:
        """Return the spans that are due `now`, each with the name of its worker."""
        found: list[tuple[str, Message]] = []
        while self._waiting:
            task, received, weight = next(iter(self._waiting.values()))
            if received > now - self._delay:
                break
            del self._waiting[task.uuid]
            self._bytes -= weight
            runs = runs_of(task)
            for run in runs:
                if run.attempt.ended is not None and self._is_new(run.span_id(task)):
                    worker = clean_name(run.attempt.worker_name or UNKNOWN)
                    found += [(worker, span) for span in self._spans(task, run, runs)]
        return found

    def _is_new(self, span_id: str) -> bool:
        is_new = span_id not in self._young and span_id not in self._old
        self._young.add(span_id)
        if len(self._young) > self.generation:
            self._old, self._young = self._young, set()
        return is_new

    def _spans(self, task: Task, run: Run, runs: Sequence[Run]) -> Iterator[Message]:
        # Of an attempt and, before it, its wait, in whose context it runs.
        attempt = run.attempt
        ahead = self._ahead_of_worker(attempt)
        end = attempt.ended - ahead
        start, is_known = end, True
        if attempt.started is not None:
            start = attempt.started - ahead
        elif attempt.measured is not None:
            start = end - attempt.measured
        else:
            # Else it never ran.
            is_known = attempt.state not in _RAN
        since = received = None if attempt.received is None else attempt.received - ahead
        if attempt.sent is not None:
            sent = attempt.sent - self._ahead(self.state.clients.ahead(attempt.client))
            since = sent if received is None else min(sent, received)
        start = min(start, end)
        above, links = self._context(task, run, runs, start if since is None else since)
        common: Message = {
            "traceId": trace_id_of(task.root_id or task.uuid),
            "attributes": self._common(task, run),
        }
        if since is not None:
            since = min(since, start)
            wait = {
                **common,
                "spanId": run.span_id(task, "wait"),
                "name": clean_name(f"wait {task.queue_or_none or ''}".rstrip()),
                "kind": _PRODUCER,
                "startTimeUnixNano": nanoseconds(since),
                "endTimeUnixNano": nanoseconds(start),
                "attributes": [*_OF_WAIT, *common["attributes"]],
            }
            if above:
                wait["parentSpanId"] = above
            if received is not None:
                wait["events"] = [{"timeUnixNano": nanoseconds(received), "name": "received"}]
            if links:
                wait["links"], links = links, []
            above = wait["spanId"]
            yield wait
        span = {
            **common,
            "spanId": run.span_id(task),
            "name": clean_name(task.name or UNKNOWN),
            "kind": _CONSUMER,
            "startTimeUnixNano": nanoseconds(start),
            "endTimeUnixNano": nanoseconds(end),
            "attributes": [*_OF_RUN, *common["attributes"], *self._own(task, attempt, is_known)],
        }
        if above:
            span["parentSpanId"] = above
        if links:
            span["links"] = links
        self._tell_outcome(span, attempt, end)
        yield span

    def _context(
        self, task: Task, run: Run, runs: Sequence[Run], since: float
    ) -> tuple[str, list[Message]]:
        # The span that sent the message, and links to others, also into other traces.
        links: list[Message] = []
        own = trace_id_of(task.root_id or task.uuid)
        if run.delivery:
            earlier = runs[runs.index(run) - 1]
            if earlier.attempt.ended is not None:
                links.append({"traceId": own, "spanId": earlier.span_id(task)})
        if run.number:
            # The attempt before sent it.
            before = [each for each in runs if each.number == run.number - 1][-1:]
            delivery = before[0].delivery if before else 0
            return span_id_of(task.uuid, run.number - 1, delivery), links
        parent_id = task.parent_id
        if not parent_id or parent_id == task.uuid:
            return "", links
        parent = self.state.tasks.find(parent_id)
        if parent is None:
            return span_id_of(parent_id, 0), links
        sender = self._sender(parent, since).span_id(parent)
        trace_id = trace_id_of(parent.root_id or parent_id)
        if trace_id == own or parent.root_id is None:
            return sender, links
        return "", [*links, {"traceId": trace_id, "spanId": sender}]

    def _sender(self, parent: Task, since: float) -> Run:
        # The attempt at a task that ran when it sent something.
        runs = runs_of(parent)
        begun = [
            run
            for run in runs
            if run.attempt.started is not None
            and run.attempt.started - self._ahead_of_worker(run.attempt) <= since
        ]
        return (begun or runs[:1])[-1]

    def _ahead_of_worker(self, attempt: Any) -> float:
        worker = attempt.worker
        return self._ahead(None if worker is None or not worker.beats else worker.skew)

    @staticmethod
    def _ahead(skew: float | None) -> float:
        return 0.0 if skew is None or abs(skew) < _SKEW_MIN else skew

    def _common(self, task: Task, run: Run) -> list[Message]:
        attempt, queue, root = run.attempt, task.queue_or_none, task.root_id
        return attributes({
            "messaging.destination.name": None if queue is None else clean_name(queue),
            "messaging.message.id": clean_key(task.uuid),
            "messaging.message.conversation_id": None if root is None else clean_key(root),
            "celery.task_name": clean_name(task.name or UNKNOWN),
            "celery.retries": run.number,
            "celery.hostname": None if attempt.worker is None else clean_name(attempt.worker_name),
            "celery.origin": None if attempt.client is None else clean_name(attempt.client),
            "celery.eta": None if attempt.eta is None else clean_name(attempt.eta),
            "celery.expires": None if attempt.expires is None else clean_name(attempt.expires),
        })  # fmt: skip

    def _own(self, task: Task, attempt: Any, is_known: bool) -> list[Message]:  # noqa: FBT001
        values = {
            "celery.state": attempt.state,
            "celery.runtime": attempt.measured,
            "celery.start_unknown": None if is_known else True,
            "process.pid": attempt.pid,
            "celery.parent_id": None if task.parent_id is None else clean_key(task.parent_id),
        }
        if self._arguments:
            texts = {"args": task.args, "kwargs": task.kwargs, "result": attempt.result}
            values |= {
                f"celery.{name}": clean(text, _TEXT_MAX)
                for name, text in texts.items()
                if text is not None
            }
        return attributes(values)

    @staticmethod
    def _tell_outcome(span: Message, attempt: Any, end: float) -> None:
        state, raised = attempt.state, attempt.exception
        kind = text = None
        if raised is not None and state in _RAISES:
            kind, text = exception_class(raised), raised
            if found := _RAISED.fullmatch(raised[: 4 * _TEXT_MAX]):
                text = found["text"] if found["text"] is not None else found["all"]
            text = clean(text, _TEXT_MAX)
            trace = attempt.traceback
            about = {"exception.type": kind, "exception.message": text}
            about["exception.stacktrace"] = None if trace is None else clean_end(trace)
            event = {"timeUnixNano": nanoseconds(end), "name": "exception"}
            span["events"] = [{**event, "attributes": attributes(about)}]
        if state == "FAILURE":
            kind = kind or _NO_CLASS
        elif state == "REVOKED":
            # Tasks have these only if an event had them.
            kind = text = "expired" if getattr(attempt, "expired", None) else "revoked"
            if getattr(attempt, "terminated", None):
                kind, by = "terminated", getattr(attempt, "signum", None)
                text = clean_name(f"terminated by {by or 'a signal'}")
        elif state == "REJECTED" and not getattr(attempt, "requeue", None):
            kind = text = "rejected"
        elif state == "CANCELLED":
            kind, text = "cancelled", "its worker lost the connection to the broker"
        else:
            return
        span["status"] = {"code": _ERROR, **({"message": text} if text else {})}
        span["attributes"].append(attribute("error.type", kind))


#: States of an attempt that has run.
_RAN: Final = frozenset({"SUCCESS", "FAILURE", "RETRY"})
_RAISES: Final = frozenset({"FAILURE", "RETRY"})
_OF_WAIT: Final = attributes({
    "messaging.system": "celery",
    "messaging.operation.name": "wait",
    "messaging.operation.type": "send",
})  # fmt: skip
_OF_RUN: Final = attributes({
    "messaging.system": "celery",
    "messaging.operation.name": "run",
    "messaging.operation.type": "process",
})  # fmt: skip


# --- metrics ------------------------------------------------------------------------

# fmt: off
#: The names of instruments in OpenTelemetry, their units, and what they say of all their points.
_NAMES: Final[Mapping[str, tuple[str, str, Mapping[str, str]]]] = {
    "events": ("celery.events", "{event}", {}),
    "task_sent": ("celery.task.sent", "{task}", {}),
    "task_received": ("celery.task.received", "{task}", {}),
    "task_started": ("celery.task.started", "{task}", {}),
    "task_succeeded": ("celery.task.outcomes", "{attempt}", {"celery.state": "SUCCESS"}),
    "task_failed": ("celery.task.outcomes", "{attempt}", {"celery.state": "FAILURE"}),
    "task_retried": ("celery.task.outcomes", "{attempt}", {"celery.state": "RETRY"}),
    "task_revoked": ("celery.task.outcomes", "{attempt}", {"celery.state": "REVOKED"}),
    "task_rejected": ("celery.task.outcomes", "{attempt}", {"celery.state": "REJECTED"}),
    "task_cancelled": ("celery.task.outcomes", "{attempt}", {"celery.state": "CANCELLED"}),
    "task_runtime": ("celery.task.runtime", "s", {}),
    "task_queue_wait_time": ("celery.task.wait", "s", {}),
    "task_prefetch_time_seconds": ("celery.task.prefetch", "s", {}),
    "worker_up": ("celery.worker.alive", "{worker}", {}),
    "worker_tasks_active": ("celery.worker.active", "{task}", {}),
    "workers": ("celery.worker.count", "{worker}", {}),
    "worker_prefetched_tasks": ("celery.worker.prefetched", "{task}", {}),
    "tasks": ("celery.task.open", "{task}", {}),
    "series_folded": ("celery.series.folded", "{count}", {}),
}
_ATTRIBUTES: Final = {
    "name": "celery.task_name", "queue_name": "messaging.destination.name",
    "exception": "error.type", "hostname": "celery.hostname", "state": "celery.state",
    "status": "celery.worker.status", "type": "celery.event.type",
}
_TEXTS: Final = {
    "celery.task.outcomes": "Attempts at tasks that ended, by state.",
    "celery.worker.alive": "Workers that are alive.",
}
# fmt: on


class Points:
    """Make the points of metrics of a cluster, which count from the one before or from the first.

    `is_delta` says which.  A series that was forgotten, and counts anew, has a new start.
    """

    def __init__(self, metrics: ClusterMetrics, *, is_delta: bool) -> None:
        self._metrics, self._is_delta = metrics, is_delta
        self.events = Counter("events", "Events by type.", ("type",), _TYPES_MAX)
        #: The start of each series, in nanoseconds, and what it counted when we looked.
        self._known: dict[tuple[str, Key], tuple[str, Any]] = {}

    def take(self, since: float, now: float) -> list[Message]:
        """Return the metrics as of `now`; what is new was counted after `since`."""
        with self._metrics.lock:
            self._metrics.count_folded()
            copies = [
                (name, each, {key: _copy(value) for key, value in each.series.items()})
                for name, each in {"events": self.events, **self._metrics.instruments}.items()
                if name in _NAMES
            ]
        before, self._known = self._known, {}
        found: dict[str, Message] = {}
        for name, instrument, series in copies:
            full, unit, fixed = _NAMES[name]
            points = []
            for key, value in series.items():
                about = {
                    _ATTRIBUTES[n]: text or None
                    for n, text in zip(instrument.labels, key, strict=True)
                }
                if about.get("error.type") == UNKNOWN:
                    about["error.type"] = _NO_CLASS
                own = attributes({**fixed, **about})
                times = {"timeUnixNano": nanoseconds(now)}
                if instrument.kind != "gauge":
                    at = nanoseconds(since)
                    start, counted = before.get((name, key), (at, None))
                    if counted is not None and _total(value) < _total(counted):
                        start, counted = at, None
                    self._known[name, key] = start, value
                    if self._is_delta:
                        start, value = at, _less(value, counted)  # noqa: PLW2901
                    times["startTimeUnixNano"] = start
                points.append({"attributes": own, **times, **_value(value, instrument)})
            if full in found:
                self._points_of(found[full]).extend(points)
            elif points:
                text = _TEXTS.get(full, instrument.help)
                metric = {"name": full, "description": text, "unit": unit}
                found[full] = {**metric, **self._data(instrument.kind, points)}
        return list(found.values())

    def _data(self, kind: str, points: list[Message]) -> Message:
        if kind == "gauge":
            return {"gauge": {"dataPoints": points}}
        data = {
            "dataPoints": points,
            "aggregationTemporality": _DELTA if self._is_delta else _CUMULATIVE,
        }
        return (
            {"histogram": data} if kind == "histogram" else {"sum": {**data, "isMonotonic": True}}
        )

    @staticmethod
    def _points_of(metric: Message) -> list[Message]:
        points: list[Message] = metric["sum"]["dataPoints"]
        return points


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, list) else value


def _total(value: Any) -> float:
    return sum(value[:-1]) if isinstance(value, list) else float(value)


def _less(value: Any, before: Any) -> Any:
    if before is None:
        return value
    if isinstance(value, list):
        return [now - then for now, then in zip(value, before, strict=True)]
    return value - before


def _value(value: Any, instrument: Any) -> Message:
    if isinstance(value, list):
        *counts, total = value
        return {
            "count": str(sum(counts)),
            "sum": total if math.isfinite(total) else str(total).replace("inf", "Infinity"),
            "bucketCounts": list(map(str, counts)),
            "explicitBounds": list(instrument.buckets),
        }
    return {"asInt": str(int(value))}
