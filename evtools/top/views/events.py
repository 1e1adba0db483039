"""Events: what came in, as it came, the newest at the bottom."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from evtools.alerts import with_task
from evtools.clock import Clock
from evtools.filters import EVENT_FIELDS, Filter
from evtools.text import human_duration
from evtools.top.clusters import Clusters
from evtools.top.columns import UNKNOWN, Column, RenderContext, as_text, column, own_column, was_cut
from evtools.top.index import Matches
from evtools.top.table import Detail, LiveTable, paragraph, raw
from evtools.wire import GAP, Event, Gap, encode_line, moment

CUT_NOTE: Final = "(cut by the sender: Celery sends 1024 characters)"
#: The weight of an event without its fields, in bytes.
_EVENT_BYTES: Final = 400
#: Fields take about this many times as much memory as they do as JSON.
_JSON_FACTOR: Final = 3
#: An empty list or object is 2 characters of JSON, and takes this many bytes with its
#: place.  A text that looks like one is counted, too.
_CONTAINER_BYTES: Final = 64
# fmt: off
#: Type of event: its word, its style, and the fields of its line; `=` shows the name, too.
_EVENTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "task-sent":        ("SENT",    "waiting", "queue="),
    "task-received":    ("RECV",    "waiting", "args kwargs"),
    "task-started":     ("START",   "running", ""),
    "task-succeeded":   ("OK",      "good",    "runtime result"),
    "task-failed":      ("FAIL",    "failure", "exception"),
    "task-retried":     ("RETRY",   "retry",   "exception"),
    "task-revoked":     ("REVOKE",  "retry",   "terminated= signum= expired="),
    "task-rejected":    ("REJECT",  "failure", "requeue="),
    "task-cancelled":   ("CANCEL",  "retry",   ""),
    "worker-online":    ("online",  "good",    "sw_ident sw_ver sw_sys"),
    "worker-heartbeat": ("beat",    "dim",     "active= processed= loadavg="),
    "worker-offline":   ("offline", "late",    ""),
    GAP:                ("GAP",     "late",    ""),
}
#: Fields with a column of their own, or of interest to the protocol only.
_PLACED: Final = frozenset((
    "type", "hostname", "uuid", "name", "timestamp", "local_received", "utcoffset", "pid", "clock",
))
# fmt: on
_EMPTY: Final[tuple[Any, ...]] = ("", "()", "[]", "{}", [], {}, None)
#: A line shows no more of a value; the detail has all of it.
_SHOWN_CHARS: Final = 1000


def event_story(event: Event) -> str:
    """Return the fields of an event in a line, without its task and worker, not sanitised."""
    if isinstance(event, Gap):
        return _gap_sentence(event)
    if event.type not in _EVENTS:
        return story_of(event.extra)
    return _line(event, _EVENTS[event.type][2].split())


def story_of(custom: Mapping[str, Any]) -> str:
    """Return the fields of a custom event in a line, not sanitised."""
    return _line(custom, (f"{name}=" for name in custom if name not in _PLACED))


def _line(event: Event | Mapping[str, Any], fields: Iterable[str]) -> str:
    parts = []
    for field in fields:
        name = field.removesuffix("=")
        value = event.get(name)
        if value is False or value in _EMPTY:
            continue
        if name == "loadavg" and isinstance(value, list):
            value = value[0]
        seconds: Any = value if name == "runtime" and value.__class__ in (float, int) else None
        text = as_text(value)[:_SHOWN_CHARS] if seconds is None else human_duration(seconds)
        parts.append(f"{field}{text}" if field.endswith("=") else text)
    return "  ".join(parts)


def _gap_sentence(gap: Gap) -> str:
    if gap.reason == "worker":
        return f"~{gap.missed} tasks of {gap.hostname} not seen"
    if gap.reason == "buffer":
        return f"{gap.dropped} events dropped: evtop was too slow"
    lasted = human_duration(gap.duration) if gap.duration else "some time"
    error = f" ({as_text(gap.get('error'))})" if gap.get("error") else ""
    return f"{lasted} without events: {gap.reason or 'unknown'}{error}"


# --- the table ------------------------------------------------------------------


def _sent(event: Event, _: float) -> float | None:
    return moment(event.get("local_received")) if event.timestamp is None else event.timestamp


class EventsView(LiveTable):
    """The newest events; rows are numbered as they come in.

    The oldest are dropped if there are more than `max_events`, or, as many as were taken at
    once, if all together weigh (estimated) more than `max_bytes`.
    """

    name = "events"
    default_sort = "time"
    newest_last = True
    fields = EVENT_FIELDS
    offers = ("type", "name", "worker", "uuid", "queue", "exc", "root", "cluster")

    def __init__(
        self,
        clusters: Clusters,
        clock: Clock,
        *,
        max_events: int = 20_000,
        max_bytes: int = 32 * 2**20,
    ) -> None:
        self._clusters = clusters
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._ring: deque[Event] = deque()
        #: How many were taken at once, and their weight.
        self._taken: deque[tuple[int, int]] = deque()
        #: The numbers of the oldest event here, of the first not noted, and of the next to come.
        self._first = self._next = self._end = 0
        #: The events of a picture that stands still, until it is looked at, and their numbers.
        self._still: tuple[Sequence[Event], int, int] | None = None
        self.weight_bytes = 0
        # fmt: off
        self._columns = (
            column("time", "time", "TIME", "when it was sent, by the sender's clock", _sent,
                format=lambda at, how: UNKNOWN if at is None else how.time_of_day(at, millis=True),
                align="left", cols=12, descending=False),
            column("text", "type", "EVENT", "the kind of event", "type",
                format=lambda kind, _: _EVENTS[kind][0] if kind in _EVENTS else kind,
                cols=7, flex=1, max_cols=16),
            column("name", "worker", "WORKER", "its sender",
                lambda event, _: event.hostname or None, max_cols=30),
            column("name", "name", "TASK", "the type of task",
                lambda event, _: self.record_of(event).get("name"), cols=16, flex=2, max_cols=60),
            column("id", "uuid", "UUID", "the task's id",
                lambda event, _: event.uuid or None, from_cols=80),
            column("text", "story", "", "what happened", lambda event, _: event_story(event),
                cols=12, flex=4, from_cols=80),
        )
        # fmt: on
        # What is in a picture that stands still stays.
        super().__init__(clock, lambda key, _: self.frozen or int(key) >= self._first)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self._clusters.column(self._columns), *self.own.values())

    def make_column(self, name: str) -> Column | None:
        return own_column(name, lambda event, field: self.record_of(event).get(field))

    def take(self, events: Sequence[Event]) -> None:
        """Keep some events, the newest last; they are shown from the next refresh on."""
        if not events:
            return
        # Estimated from their JSON, all at once: to look at each value takes three times as long.
        line = encode_line(events)
        containers = line.count(b"[") + line.count(b"{")
        weight_bytes = len(line) * _JSON_FACTOR + containers * _CONTAINER_BYTES
        weight_bytes += len(events) * _EVENT_BYTES
        self._taken.append((len(events), weight_bytes))
        self._end += len(events)
        self.weight_bytes += weight_bytes
        ring = self._ring
        ring.extend(events)
        while (many := len(ring) - self._max_events) > 0 or self.weight_bytes > self._max_bytes:
            # The rest of those that were taken first, or as many of them as are too many.
            left, weight_bytes = self._taken.popleft()
            count = min(left, many) if many > 0 else left
            share = weight_bytes * count // left
            if count < left:
                self._taken.appendleft((left - count, weight_bytes - share))
            for _ in range(count):
                ring.popleft()
            self._first += count
            self.weight_bytes -= share

    def note(self) -> None:
        events, start, end = self._still or (self._ring, self._first, self._end)
        first, self._still = max(self._next, start), None
        newest = islice(events, first - start, None)
        self._index.take(zip(map(str, range(first, end)), newest, strict=True))
        self._next = end
        oldest = int(next(iter(self.rows), start))
        self._index.forget(list(islice(self.rows, start - oldest)))

    def freeze(self, context: RenderContext) -> None:
        """Keep the events of now, which do not change, for when somebody looks at them."""
        self.context, self.frozen = context, True
        self._still = tuple(self._ring), self._first, self._end

    def refresh(self, context: RenderContext) -> None:
        if self.frozen and self._still is not None:
            self.load()
        super().refresh(context)

    def thaw(self) -> None:
        self._still = None
        super().thaw()

    def matcher(self, chosen: Filter) -> Matches:
        matches = chosen.matches
        return lambda event: matches(self.record_of(event))

    def record_of(self, event: Event) -> Event:
        """Return an event with what is known of its task."""
        state = self._clusters.of(event.cluster or "").state
        task = state.tasks.find(event.uuid) if event.uuid else None
        return event if task is None else with_task(event, task)

    def style_of(self, subject: Event) -> str:
        return _EVENTS[subject.type][1] if subject.type in _EVENTS else ""

    def sort_by(self, name: str) -> None:
        """Stay in the order of receipt; only its direction can be changed."""

    def detail_of(self, subject: Event) -> Detail:
        sent = subject.as_dict()
        joined = self.record_of(subject).joined
        of_task = {name: value for name, value in joined.items() if name not in sent}
        info = []
        for fields, note in ((sent, ""), (of_task, "  (of the task)")):
            for name, value in fields.items():
                if value is not None and name != "traceback":
                    label = f"{paragraph(name)[0]:<14}"
                    info += [f"{label} {line}{note}" for line in paragraph(as_text(value))]
                    info += [f"{'':<14} {CUT_NOTE}"] if was_cut(value) else []
        sections = {"Info": tuple(info), "Raw": raw(sent)}
        traceback = subject.get("traceback")
        if isinstance(traceback, str):
            sections = {"Traceback": paragraph(traceback), **sections}
        return Detail(paragraph(subject.type)[0], (), sections, next(iter(sections)))

    def plain(self, subject: Event) -> dict[str, Any]:
        named = {"cluster": subject.cluster} if subject.cluster else {}
        return {**named, **subject.as_dict()}

    def next_related(self, step: int) -> bool:
        """Go to the next (1) or previous (-1) event of the same task."""
        event = self.subject(self.focus_key or "")
        if event is None or not event.uuid:
            return False
        uuid, cluster = event.uuid, event.cluster
        return self.seek(lambda other: other.uuid == uuid and other.cluster == cluster, step)

    def next_failure(self, step: int) -> bool:
        """Go to the next (1) or previous (-1) event of a failure."""
        return self.seek(lambda event: event.type == "task-failed", step)
