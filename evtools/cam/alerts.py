"""Alerts of evcam: what they find, by group, and when that is news for their hooks."""

import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, TypeAlias

from evtools.alerts import NAMES_MAX, Alert, Change, Rule, fields_of_view, with_task
from evtools.cam.camera import Camera
from evtools.cam.hooks import WAITING_MAX, Hook, Notice, senders_of
from evtools.cam.metrics import Family, Sample
from evtools.cam.queues import QueueWatch
from evtools.clock import Clock, SystemClock
from evtools.errors import ConfigError, UsageError
from evtools.filters import Filter
from evtools.rows import (
    NO_FACTS,
    QueueRows,
    error_rows,
    schedules_of,
    title_of,
    title_of_task,
    type_rows,
    worker_rows,
)
from evtools.state import OTHERS, UNKNOWN, State, Statistics, Task, fingerprint
from evtools.state import Change as StateChange
from evtools.text import human_duration, sanitize
from evtools.transport import ConnectionSettings
from evtools.transport.queues import Plan
from evtools.wire import Event, encode_line
from evtools.wire.redact import Redactor

_log = logging.getLogger(__name__)

#: The version of what hooks are given; it changes when something in it changes its meaning.
SCHEMA: Final = 1
#: How often alerts are looked at, in seconds.
EVERY: Final = 1.0
#: How many groups of an alert are told apart at a time: others count together.
GROUPS_MAX: Final = 200
#: How many kinds of failures an alert remembers that it has matched.
SEEN_MAX: Final = 10_000
#: How much of a value goes into a notice, and of a traceback, in characters; and how many values.
_VALUE_CHARS: Final = 1000
_TRACEBACK_CHARS: Final = 4000
_VALUES_MAX: Final = 50
#: How many tasks are looked at between two looks at the clock, and for how long at once (seconds).
_STRIDE: Final = 500
_BUDGET: Final = 0.02
#: How long the state of a cluster is waited for, in seconds.
_PATIENCE: Final = 0.1
#: How long the hooks that are given up are waited for, in seconds.
_END_SECONDS: Final = 5.0

#: What tells a group from others of its alert.
Key: TypeAlias = tuple[str, ...]
_ALL: Final[Key] = ()
_REST: Final[Key] = (OTHERS,)


class NoCamera(Camera):
    """Stands where there is no camera, only alerts."""

    writes_for_all = True

    def install(self) -> None:
        """Take no snapshots."""

    def cancel(self) -> None:
        """Take none at the end, either."""

    def describe(self) -> str:
        return "none"


@dataclass(slots=True, eq=False)
class Group:
    """What one alert finds that belongs together: `about` says what that is.

    `notified` is whether the last notice of it said that it fired; before `quiet_until` there is no
    other such notice.  `total` is how many events matched since the group began, or resolved, and
    `suppressed` how often it fired without a notice.
    """

    alert: Alert
    about: Mapping[str, str]
    sample: Mapping[str, Any] | None = None
    sampled_at: float = -math.inf
    total: int = 0
    notified: bool = False
    quiet_until: float = -math.inf
    suppressed: int = 0
    incident: str = ""
    fired_at: float = 0.0


@dataclass(slots=True, eq=False)
class Watch:
    """An alert: its rule and filter, its hooks, the groups of what it finds, and its counters."""

    rule: Rule
    filter: Filter
    hooks: Sequence[Hook]
    groups: OrderedDict[Key, Group] = field(default_factory=OrderedDict)
    #: The fingerprints of the failures that it has matched, the newest last.
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    fired: int = 0
    resolved: int = 0
    suppressed: int = 0

    def group(self, key: Key, about: Callable[[], Mapping[str, str]]) -> Group:
        """Return the group of that key, a new one if there is room for it."""
        found = self.groups.get(key)
        if found is None:
            if len(self.groups) >= GROUPS_MAX:
                key, about = _REST, lambda: {"by": self.rule.group, "name": OTHERS}
            found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = Group(Alert(self.rule, self.filter), about())
        return found

    def is_new(self, fingerprint: str) -> bool:
        """Return whether it has matched no such failure before, and remember that it has now."""
        is_new = fingerprint not in self.seen
        self.seen[fingerprint] = None
        self.seen.move_to_end(fingerprint)
        if len(self.seen) > SEEN_MAX:
            self.seen.popitem(last=False)
        return is_new

    @property
    def firing(self) -> int:
        return sum(group.alert.fires for group in self.groups.copy().values())


@dataclass(slots=True, eq=False)
class Cluster:
    """What rows are made of in one cluster.

    `since` is since when its events come, infinite while they do not, and `lost_at` since when;
    `latest` is when the last one came.  All are UTC epoch seconds.
    """

    state: State
    statistics: Statistics
    queues: QueueRows
    since: float = -math.inf
    lost_at: float | None = None
    latest: float = 0.0
    broker: QueueWatch | None = None

    def as_of(self, now: float) -> float:
        """Return the time that is known of it when it is `now`."""
        return now if self.lost_at is None else min(now, self.lost_at)

    def rows(self, view: str, window: str, now: float, *, is_replay: bool) -> Iterable[Any]:
        """Return its rows of a view."""
        now, state, statistics = self.as_of(now), self.state, self.statistics
        asked = None if self.broker is None else self.broker.asked()
        if view == "types":
            plan, at = (Plan(), 0.0) if self.broker is None else self.broker.plan()
            # In a replay all was seen that can be.
            unseen = math.inf if is_replay else now if self.since == -math.inf else self.since
            schedules = schedules_of(
                statistics, now, unseen=unseen, latest=self.latest, plan=plan, planned_at=at
            )
            return type_rows(statistics, window, now, schedules)
        if view == "workers":
            return worker_rows(state, statistics, window, now, asked or {})
        if view == "errors":
            return error_rows(statistics, window, now)
        facts = NO_FACTS if self.broker is None else self.broker.facts()
        rows = list(self.queues.rows(window, now, facts, asked, has_replies=asked is not None))
        if self.broker is not None:
            self.broker.note(row.name for row in rows if row.name not in (OTHERS, UNKNOWN))
        return rows


class AlertWatch:
    """The alerts of evcam, and what they find in the clusters that it watches.

    Events are counted as they come; all alerts are looked at once a second of `clock`, that of a
    recording if one is replayed.  Rows are looked at in parts, for no longer than the `_BUDGET` at
    once.  One thread at a time: the loop's.  Unless it `delivers`, nothing is run or sent.
    `has_broker` is whether there is one to be asked about queues.

    Raise ConfigError for a filter that does not fit what it is about, UsageError for one with
    fields that cannot be known here.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        clock: Clock,
        *,
        zone: tzinfo,
        is_replay: bool = False,
        has_broker: bool = True,
        delivers: bool = True,
    ) -> None:
        self._clock, self._is_replay, self._has_broker = clock, is_replay, has_broker
        self._real_clock = SystemClock()
        #: The time that alerts are looked at for, and when they are to be looked at next.
        self._now, self.due = 0.0, 0.0
        self._clusters: dict[str, Cluster] = {}
        self._watches: list[Watch] = []
        self._by_place: dict[tuple[str, str], list[Watch]] = {}
        for rule in rules:
            if not has_broker:
                refuse(rule, _OF_BROKER, "there is no broker to ask")
            fields = fields_of_view(rule.view, self._as_of)
            chosen = rule.compile(fields, zone=zone, now=lambda: self._now)
            senders = senders_of(rule, self._real_clock) if delivers else ()
            # A replay waits for its hooks.
            room = None if is_replay else WAITING_MAX
            watch = Watch(rule, chosen, [Hook(rule, one, room) for one in senders])
            self._watches.append(watch)
            self._by_place.setdefault((rule.view, rule.window), []).append(watch)
        self._hooks = list(chain.from_iterable(watch.hooks for watch in self._watches))
        self._on_events = [each for each in self._watches if each.rule.view == "events"]
        self._on_tasks = self._by_place.pop(("tasks", ""), [])
        for place in [each for each in self._by_place if each[0] == "events"]:
            del self._by_place[place]
        #: What is left of this round of looking at rows, if anything.
        self._round: Iterator[None] | None = None
        self._is_over = False

    def __bool__(self) -> bool:
        return bool(self._watches)

    # --- what comes in ------------------------------------------------------------------

    def add(self, state: State) -> None:
        """Watch the cluster of a state, too."""
        statistics = Statistics(past_bytes=0)
        queues = QueueRows(state, statistics)
        self._clusters[state.cluster] = Cluster(state, statistics, queues)

    def rename(self, state: State, before: str) -> None:
        """Know that a cluster has a name now."""
        self._clusters[state.cluster] = self._clusters.pop(before)

    def refuse_unknown(self, settings: ConnectionSettings) -> None:
        """Raise UsageError if alerts want what workers of a cluster may not be asked for."""
        for watch in self._watches if settings.read_only else ():
            refuse(watch.rule, _OF_WORKERS, "with --read-only the workers are not asked")

    def watch_broker(self, settings: ConnectionSettings, redact: Redactor | None) -> None:
        """Ask the broker and the workers of a cluster for what no event says, if alerts want it.

        Raise UsageError if they want what nobody may ask for.
        """
        self.refuse_unknown(settings)
        rules = [watch.rule for watch in self._watches]
        wants_queues = any(rule.view == "queues" for rule in rules)
        wants_workers = wants_queues or any(uses(rule, _OF_WORKERS) for rule in rules)
        wants_plans = any(uses(rule, _OF_PLANS) for rule in rules)
        if wants_queues or wants_workers or wants_plans:
            self._clusters[settings.cluster].broker = watch = QueueWatch(
                settings, asks_workers=wants_workers, reads_plans=wants_plans, redact=redact
            )
            watch.start()

    def connected(self, cluster: str, now: float) -> None:
        """Know that events of a cluster come from now on."""
        found = self._clusters[cluster]
        found.since, found.lost_at = now, None

    def lost(self, cluster: str, now: float) -> None:
        """Know that no events of a cluster come any more."""
        found = self._clusters[cluster]
        found.since, found.lost_at = math.inf, now

    def take(self, change: StateChange, name: str) -> None:
        """Count an event of the cluster of that name, once its state has taken it in."""
        event, subject = change.event, change.subject
        if self._by_place:
            cluster = self._clusters[name]
            cluster.latest = max(cluster.latest, event.local_received)
            cluster.statistics.take((change,))
        if not self._on_events:
            return
        record = with_task(event, subject) if isinstance(subject, Task) else event
        for watch in self._on_events:
            if not watch.filter.matches(record):
                continue
            by, parts = _group_of(watch.rule.group, record)
            key = _ALL if by == "none" else (name, by, *parts)
            if watch.rule.first_seen:
                if by != "failure":
                    continue
                if not (watch.is_new(_digest(key)) or key in watch.groups):
                    continue
            group = watch.group(key, lambda: _about(by, name, parts))  # noqa: B023  (called now)
            group.alert.take(record)
            group.total += 1
            if event.local_received >= group.sampled_at + 1.0:
                group.sampled_at = event.local_received
                group.sample = _sample({**record.joined, **event.as_dict()})

    # --- looking ------------------------------------------------------------------------

    def look(self, *, whole: bool = False) -> None:
        """Look at alerts if that is due; at tasks for a while, or at the `whole` of them."""
        now = self._clock.wall()
        if self._is_over:
            return
        if now >= self.due or whole:
            self._now, self.due = now, now + EVERY
            for watch in self._on_events:
                self._look_at_events(watch, now)
            is_seen = any(each.since != math.inf for each in self._clusters.values())
            if self._round is None and is_seen:
                self._round = self._look_at_rows(now)
        began = self._real_clock.monotonic()
        for _ in self._round or ():
            if not whole and self._real_clock.monotonic() - began > _BUDGET:
                return
        self._round = None

    def _as_of(self, row: Any) -> float:
        found = self._clusters.get(row.cluster or "")
        return self._now if found is None else found.as_of(self._now)

    def _sure_since(self, cluster: str | None) -> float:
        # Of all clusters together the best of them.
        if cluster is not None and cluster in self._clusters:
            return self._clusters[cluster].since
        return min((each.since for each in self._clusters.values()), default=-math.inf)

    def _look_at_events(self, watch: Watch, now: float) -> None:
        for key, group in list(watch.groups.items()):
            sure = self._sure_since(key[0] if len(key) > 1 else None)
            # What nobody can see has not ended, nor what nobody could see for a while.
            if sure == math.inf:
                continue
            if group.alert.fires and now - sure < watch.rule.span:
                continue
            self._settle(watch, key, group, group.alert.look_at_events(now), now)

    def _look_at_rows(self, now: float) -> Iterator[None]:
        # A round through all rows that alerts are about; it can be interrupted where it yields,
        # and is given up where the state of a cluster cannot be had: it is in use.
        for (view, window), watches in self._by_place.items():
            yield
            found = [Found() for _ in watches]
            for cluster in list(self._clusters.values()):
                with cluster.state.held(_PATIENCE) as held:
                    if not held:
                        return
                    rows = list(cluster.rows(view, window, now, is_replay=self._is_replay))
                    for row in rows:
                        row.cluster = cluster.state.cluster
                    for watch, each in zip(watches, found, strict=True):
                        each.take(watch, filter(watch.filter.matches, rows))
            for watch, each in zip(watches, found, strict=True):
                self._take_found(watch, each, now)
        if self._on_tasks:
            yield from self._look_at_tasks(now)

    def _look_at_tasks(self, now: float) -> Iterator[None]:
        found = [Found() for _ in self._on_tasks]
        for cluster in list(self._clusters.values()):
            state = cluster.state
            with state.held(_PATIENCE) as held:
                if not held:
                    return
                uuids = [uuid for bucket in state.tasks.settled() for uuid in bucket]
            for start in range(0, len(uuids), _STRIDE):
                yield
                with state.held(_PATIENCE) as held:
                    if not held:
                        return
                    known = map(state.tasks.find, uuids[start : start + _STRIDE])
                    tasks: list[Any] = [task for task in known if task is not None]
                    for watch, each in zip(self._on_tasks, found, strict=True):
                        each.take(watch, filter(watch.filter.matches, tasks))
        for watch, each in zip(self._on_tasks, found, strict=True):
            self._take_found(watch, each, now)

    def _take_found(self, watch: Watch, found: "Found", now: float) -> None:
        # What matches now, and what no longer does.
        for key, about in found.about.items():
            watch.group(key, lambda: about)  # noqa: B023  (called now)
        rest = [key for key in found.about if key not in watch.groups]
        fields = fields_of_view(watch.rule.view, self._as_of)
        for key, group in list(watch.groups.items()):
            keys = rest if key == _REST else [key]
            matched = sum(found.counts[each] for each in keys)
            rows = list(chain.from_iterable(found.rows.get(each, ()) for each in keys))
            if rows:
                group.sample = _row(rows[-1], fields)
            title = title_of_task if watch.rule.view == "tasks" else title_of
            change = group.alert.look(matched, map(title, reversed(rows)), now)
            group.total = max(group.total, matched)
            self._settle(watch, key, group, change, now)

    def _settle(
        self, watch: Watch, key: Key, group: Group, change: Change | None, now: float
    ) -> None:
        fires = group.alert.fires
        if fires and not group.notified and now >= group.quiet_until:
            group.notified, group.fired_at = True, now
            group.quiet_until = now + watch.rule.cooldown
            group.incident = _digest((watch.rule.name, *key, repr(now)))
            watch.fired += 1
            self._notify(watch, key, group, "fired", group.alert.matched, now)
            group.suppressed = 0
        elif fires and not group.notified and change is not None:
            watch.suppressed += 1
            group.suppressed += 1
        elif group.notified and not fires:
            group.notified = False
            watch.resolved += 1
            self._notify(watch, key, group, "resolved", group.total, now)
            group.total = 0
        if group.alert.is_idle:
            group.total = 0
            if now >= group.quiet_until:
                del watch.groups[key]

    # --- what is news -------------------------------------------------------------------

    def _notify(
        self, watch: Watch, key: Key, group: Group, state: str, count: int, now: float
    ) -> None:
        rule, alert = watch.rule, group.alert
        text = _sentence(rule, group, state, count, now)
        (_log.warning if state == "fired" else _log.info)("%s", text)
        sample = group.sample or {}
        is_event = rule.view == "events"
        body = encode_line(
            {
                "version": SCHEMA,
                "alert": rule.name,
                "state": state,
                "at": now,
                "id": group.incident,
                "text": text,
                "level": rule.level,
                "message": rule.message,
                "view": rule.view,
                "filter": rule.filter,
                "window": None if math.isinf(rule.span) else rule.span,
                "threshold": rule.count,
                "cluster": group.about.get("cluster"),
                "count": count,
                "since": group.fired_at if alert.since is None else alert.since,
                "suppressed": group.suppressed,
                "first_seen": rule.first_seen,
                "replay": self._is_replay,
                "group": {**group.about, "fingerprint": _digest(key)},
                "names": list(alert.names[:NAMES_MAX]),
                "type": None if rule.view == "queues" else _text(sample.get("name")),
                "worker": _text(sample.get("hostname" if is_event else "worker")),
                "event" if is_event else "row": group.sample,
            }
        )
        for hook in watch.hooks:
            hook.put(Notice(rule.name, state, body))

    # --- the hooks ----------------------------------------------------------------------

    @property
    def firing(self) -> int:
        """How many alerts fire."""
        return sum(each.firing > 0 for each in self._watches)

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until no hook would have to drop a notice; return whether that is so."""
        return all(hook.wait_for_room(timeout) for hook in self._hooks)

    def end(self) -> None:
        """Have the hooks deliver what waits, and nothing after it."""
        self._is_over = True
        for hook in self._hooks:
            hook.end()

    def join(self, timeout: float) -> bool:
        """Wait for the hooks, for `timeout` seconds; return whether they are done."""
        ends_at = self._real_clock.monotonic() + timeout
        lefts = (max(0.0, ends_at - self._real_clock.monotonic()) for _ in self._hooks)
        return all(hook.join(left) for hook, left in zip(self._hooks, lefts, strict=True))

    def close(self) -> None:
        """Give up what is not delivered yet."""
        self._is_over = True
        for hook in self._hooks:
            hook.give_up()
        self.join(_END_SECONDS)
        for cluster in self._clusters.values():
            if cluster.broker is not None:
                cluster.broker.close()

    def check(self) -> Iterator[str]:
        """Yield what each alert does; raise UsageError for a hook that cannot work."""
        for watch in self._watches:
            for hook in watch.hooks:
                try:
                    hook.sender.check()
                except UsageError as error:
                    text = f"alert {watch.rule.name}: {error.message}"
                    raise UsageError(text, error.hint) from None
            does = ", ".join(hook.sender.shown for hook in watch.hooks) or "the log only"
            yield f"alert {watch.rule.name}: {does}"

    def as_dict(self) -> dict[str, Any]:
        """Return what is counted, as plain values; any thread may ask."""
        alerts = {
            watch.rule.name: {
                "firing": watch.firing, "groups": len(watch.groups), "fired": watch.fired,
                "resolved": watch.resolved, "suppressed": watch.suppressed,
            }
            for watch in self._watches
        }  # fmt: skip
        return {"alerts": alerts, "hooks": [hook.as_dict() for hook in self._hooks]}

    def families(self) -> Iterator[Family]:
        """Yield the metrics; of names that are the user's own."""
        if not self._watches:
            return
        for name, kind, about, read in _FAMILIES:
            suffix = "_total" if kind == "counter" else ""
            samples = [
                Sample(suffix, (("alert", each.rule.name),), read(each)) for each in self._watches
            ]
            yield Family(name, kind, about, samples)
        found: Counter[tuple[str, str]] = Counter()
        for hook in self._hooks:
            for result in ("delivered", "failed", "dropped", "retried"):
                found[hook.alert, result] += getattr(hook, result)
        samples = [
            Sample("_total", (("alert", alert), ("result", result)), count)
            for (alert, result), count in found.items()
        ]
        if samples:
            about = "Notices of alerts by what became of them; retried are tries that failed."
            yield Family("evcam_alert_notices", "counter", about, samples)
            waiting = sum(hook.waiting for hook in self._hooks)
            about = "Notices of alerts that are not delivered yet."
            yield Family("evcam_alert_notices_waiting", "gauge", about, [Sample("", (), waiting)])


# fmt: off
_FAMILIES: Final[tuple[tuple[str, str, str, Callable[[Watch], int]], ...]] = (
    ("evcam_alert_firing", "gauge", "Groups of an alert that fire.", lambda one: one.firing),
    ("evcam_alert_fired", "counter", "Times that an alert fired, and said so.",
     lambda one: one.fired),
    ("evcam_alert_resolved", "counter", "Times that an alert resolved.", lambda one: one.resolved),
    ("evcam_alert_suppressed", "counter", "Times that an alert fired while it was to be quiet.",
     lambda one: one.suppressed),
)
# fmt: on


# --- groups -----------------------------------------------------------------------------


def _group_of(by: str, record: Event) -> tuple[str, tuple[str, ...]]:
    """Return what an event is grouped by, and the parts of that which tell it from others."""
    if by == "none":
        return "none", ()
    worker = record.hostname[:_VALUE_CHARS] or UNKNOWN
    if by == "worker":
        return "worker", (worker,)
    if not record.type.startswith("task-"):
        # Of workers, and custom ones.
        return ("worker", (worker,)) if record.type.startswith("worker-") else ("type", ("",))
    name = record.get("name")
    name = name[:_VALUE_CHARS] if isinstance(name, str) and name else UNKNOWN
    if by == "failure" and record.type in ("task-failed", "task-retried"):
        return "failure", (name, *fingerprint(record))
    return "type", (name,)


_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "failure": ("type", "exception", "message"), "type": ("type",), "worker": ("worker",),
    "none": (),
}  # fmt: skip


def _about(by: str, cluster: str, parts: Sequence[str]) -> dict[str, str]:
    # As it was sent: JSON carries it.
    named = zip(_PARTS[by], parts, strict=True)
    return {"by": by, **_in(cluster), **{name: part[:_VALUE_CHARS] for name, part in named}}


def _in(cluster: str) -> dict[str, str]:
    return {"cluster": cluster} if cluster else {}


def _group_of_row(rule: Rule, row: Any) -> tuple[Key, dict[str, str]]:
    """Return the key of the group of a row, and what it is about."""
    by: str = rule.group
    cluster, parts = row.cluster or "", tuple[str, ...]()
    if by == "none":
        return _ALL, _about(by, "", ())
    if by != "row":  # of tasks
        parts = ((row.name if by == "type" else row.worker_name) or UNKNOWN,)
    elif rule.view == "errors":
        # The same as of events.
        by, parts = "failure", (row.task, row.exception, row.message)
    else:
        about = {"by": by, **_in(cluster), rule.view[:-1]: row.name[:_VALUE_CHARS]}
        return (cluster, rule.view, row.name), about
    return (cluster, by, *parts), _about(by, cluster, parts)


@dataclass(slots=True, eq=False)
class Found:
    """The rows that an alert matches now, by group: how many, what that is, and the last ones."""

    counts: Counter[Key] = field(default_factory=Counter)
    about: dict[Key, Mapping[str, str]] = field(default_factory=dict)
    rows: dict[Key, list[Any]] = field(default_factory=dict)

    def take(self, watch: Watch, rows: Iterable[Any]) -> None:
        new: dict[Key, list[Any]] = {}
        for row in rows:
            key, about = _group_of_row(watch.rule, row)
            self.counts[key] += 1
            self.about.setdefault(key, about)
            new.setdefault(key, []).append(row)
        for key, some in new.items():
            # Each bucket of tasks is in the order of their last events, but not all of them.
            kept = [*self.rows.get(key, ()), *some]
            kept.sort(key=lambda row: getattr(row, "serial", 0))
            self.rows[key] = kept[-NAMES_MAX - 1 :]


# --- what can be known ------------------------------------------------------------------

#: Fields by view that only the broker, the workers and RedBeat know.
_OF_WORKERS: Final = {"workers": ("pool", "queues"), "queues": ("consumed_by",)}
_OF_BROKER: Final = {
    "workers": ("pool", "queues"),
    "queues": ("depth", "ready", "unacked", "net_per_min", "empty_in", "oldest", "consumed_by"),
}
_OF_PLANS: Final = {"types": ("period", "next", "overdue")}


def uses(rule: Rule, names: Mapping[str, Sequence[str]]) -> str:
    """Return the first of the fields of its view that the filter of a rule names, "" for none."""
    fields = fields_of_view(rule.view, lambda _: 0.0)
    for name in names.get(rule.view, ()):
        try:
            left = {key: each for key, each in fields.items() if key != name}
            rule.compile(left, now=lambda: 0.0)
        except ConfigError:
            return name
    return ""


def refuse(rule: Rule, names: Mapping[str, Sequence[str]], why: str) -> None:
    """Raise UsageError if the filter of a rule names one of the fields of its view."""
    if name := uses(rule, names):
        text = f"alert {rule.name}: {name} of {rule.view} cannot be known: {why}"
        raise UsageError(text, "leave this alert out, or give it another filter")


def _digest(parts: Iterable[str]) -> str:
    text = "\0".join(parts).encode(errors="surrogatepass")
    return blake2b(text, digest_size=8).hexdigest()


# --- notices ----------------------------------------------------------------------------


def _sentence(rule: Rule, group: Group, state: str, count: int, now: float) -> str:
    words = [
        sanitize(part)
        for name, part in group.about.items()
        if name != "by" and part and part != rule.filter
    ]
    what = " ".join(words)[:_VALUE_CHARS]
    counted = "" if rule.group == "row" else f"{count} {rule.view[:-1]}{'s' * (count != 1)}"
    span = "" if math.isinf(rule.span) or not counted else f" in {human_duration(rule.span)}"
    end = f"{counted}{span}"
    if state == "resolved":
        lasted = f"after {human_duration(max(0.0, now - group.fired_at))}"
        end = f"{lasted}, {counted} in all" if counted else lasted
    return f"alert {rule.name} {state}: {': '.join(filter(None, (rule.about, what, end)))}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _sample(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event, or some of them, each of bounded length."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if len(found) >= _VALUES_MAX:
            break
        found[name[:_VALUE_CHARS]] = _bounded(value, is_traceback=name == "traceback")
    return found


def _bounded(value: Any, *, is_traceback: bool = False) -> Any:
    if isinstance(value, bool | float | None):
        return value
    if is_traceback and isinstance(value, str):
        # Its end says most.
        return value if len(value) <= _TRACEBACK_CHARS else f"...{value[-_TRACEBACK_CHARS:]}"
    text = value if isinstance(value, str) else encode_line(value).decode()
    if len(text) <= _VALUE_CHARS:
        return value
    return f"{text[:_VALUE_CHARS]}..."


def _row(row: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row as filters see them, each of bounded length, if it is known."""
    found: dict[str, Any] = {}
    for name, each in fields.items():
        if name in ("has", "any", "tb"):
            continue
        with suppress(Exception):
            value = each.get(row)
            if value is not None:
                found[name] = _bounded(list(value) if isinstance(value, tuple | set) else value)
    return found
