"""evcam's main loop: events into the state, signals, signs of life, reports, the end."""

import json
import logging
import math
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from msgspec import UNSET

from evtools.cam.alerts import AlertWatch
from evtools.cam.camera import Camera, snapshot_of
from evtools.cam.daemon import Notifier
from evtools.cam.log import FailureLog, named
from evtools.cam.options import CamOptions
from evtools.cam.schedule import CameraThread, ClusterCounters, Counters
from evtools.cam.snapshot import SnapshotSequence, dry_run, summary
from evtools.cam.spool import Spool
from evtools.cam.store import StoreCamera
from evtools.clock import Clock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.filters import all_of, compile_filter
from evtools.signals import EndingSignals
from evtools.state import OTHERS, State
from evtools.text import human_duration, sanitize
from evtools.transport import ConnectionSettings, Notice, Source
from evtools.transport.receiver import Redelivered
from evtools.transport.source import SilenceHint
from evtools.wire import Event, Gap, Joiner
from evtools.wire.joiner import MAX_BYTES, MAX_TASKS
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: The longest wait in seconds before the loop looks at the time.
TICK: Final = 0.25
#: Seconds after which a camera at work is stuck, and evcam too: no sign of life then.
STUCK_AFTER: Final = 120.0
#: Seconds after which a warning says that it takes long; the next at twice that.
_LONG: Final = 30.0
_STATUS_EVERY: Final = 5.0
#: Types of event that are counted apart; senders choose their names.
_TYPES_MAX: Final = 200
#: Clusters of a recording.  What comes of others is left out: mixed with theirs, the workers and
#: tasks of one would be taken for those of another.
CLUSTERS_MAX: Final = 100
_NO_CONNECTION: Final = "no connection"


class EndedEarly(BaseException):
    """A signal has come to end evcam before anything could be recorded.

    It is no Exception, and no SystemExit: either would be taken for a fault of the user's camera.
    """


class Signals(EndingSignals):
    """Keep signals until the main loop looks at them, and takes them out of `came`.

    INT and TERM ask for a last snapshot and the end, HUP to open logs and outputs anew and to read
    the settings file again, USR1 for counters and stacks in the log, USR2 for a snapshot now.
    Until there is a `source` to stop, INT and TERM raise EndedEarly.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(self._stop, clock)
        self.source: Source | None = None
        self.came: set[int] = set()
        wanted = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        self.handlers |= dict.fromkeys(wanted, lambda number, _: self.came.add(number))

    def _stop(self) -> None:
        if self.source is None:
            raise EndedEarly
        self.source.stop()


class EventFilter:
    """Redact events, and drop those of tasks that do not match all filters of `options`.

    An event is matched with the fields of earlier events of its task.  Events of workers always
    pass, as tasks mean little without them.  Raise FilterError or UsageError for invalid ones.
    """

    def __init__(self, options: CamOptions, *, now: Callable[[], float]) -> None:
        texts = [text for text in options.filters if text.strip()]
        compiled = [compile_filter(text, zone=options.zone, now=now) for text in texts]
        self._filter = all_of(*compiled) if compiled else None
        self._redact = redactor(options.redact)
        self._asked = self._passed = 0

    def apply(self, events: list[Event], joiner: Joiner) -> list[Event]:
        """Return the events that pass, masked; `joiner` knows earlier events of their cluster."""
        if self._redact is not None:
            events = list(map(self._redact.of_event, events))
        if self._filter is None:
            return events
        # What evdump recorded is joined already.
        joiner.join([event for event in events if event.known is UNSET])
        passed: list[Event] = []
        for event in events:
            if event.type.startswith("task-"):
                self._asked += 1
                if not self._filter.matches(event):
                    continue
                self._passed += 1
            passed.append(event)
        return passed

    def notes(self) -> list[str]:
        """Return why no event of a task has passed, if that is so."""
        if self._filter is None or self._passed or not self._asked:
            return []
        head = f"--filter matched none of {self._asked} events of tasks"
        return [head, *self._filter.unknown(), *self._filter.hints()]


class ReplayClock:
    """A clock that shows when the current event of a recording was received.

    However fast it is replayed, there are as many snapshots and as far apart as there would have
    been then.  It never goes back, and is 0 before the first event.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def wall(self) -> float:
        return self._now

    monotonic = wall

    def move(self, moment: float) -> None:
        self._now = max(self._now, moment)

    def pieces(
        self, events: list[Event], due: Callable[[], float]
    ) -> Iterator[tuple[list[Event], float]]:
        """Cut events where something is due, according to `due()`, and where time begins.

        Yield the events of a piece, and the moment to move to once they are applied.
        """
        begin, now = 0, self._now
        until = due() if now else 0.0
        for index, event in enumerate(events):
            moment = event.local_received
            if moment <= now:
                continue
            now = moment
            if now >= until:
                yield events[begin:index], now
                begin, until = index, due()
        if begin < len(events):
            yield events[begin:], now


class Cluster:
    """What belongs to one cluster: its state, its camera, and what that is to say of itself.

    `why` there is no connection, and how often that was tried in vain (`retries`); one that was not
    tried yet has no reason.  `is_refused` once nothing more will come of it.
    """

    def __init__(
        self,
        state: State,
        camera: Any,
        sequence: SnapshotSequence,
        counters: ClusterCounters,
        joiner: Joiner,
    ) -> None:
        self.state, self.camera, self.sequence = state, camera, sequence
        self.counters, self.joiner = counters, joiner
        self.observer = camera if isinstance(camera, Camera) else None
        self.why, self.retries, self.is_refused = "", 0, False
        self.events_then = 0
        self.worst_lag: float | None = None
        #: Whether what was observed last would outlive this process.
        self.is_safe = True

    @property
    def name(self) -> str:
        return self.state.cluster


class Loop:
    """Apply events until the end, and never wait for anything longer than a tick.

    While the camera holds a state, events wait in the source, as bytes.  Each of the clusters that
    have `names` has a state of its own; those of a recording are found in it.

    `make_camera` is called with each state and what cameras are made with; raise UsageError if that
    fails, and for invalid filters and patterns, ConfigError for those of alerts.  `ready` is called
    once, when events come or the wait for them is over, `on_hangup` when files are to be opened
    anew.
    """

    def __init__(
        self,
        options: CamOptions,
        make_camera: Callable[..., Any],
        clock: Clock,
        notifier: Notifier | None = None,
        ready: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] = lambda: None,
        names: Sequence[str] = ("",),
    ) -> None:
        self._options, self.clock = options, clock
        self._notifier = notifier or Notifier()
        self._ready, self._on_hangup = ready, on_hangup
        self._replay = ReplayClock() if options.read else None
        #: The clock of the snapshots, which is the recording's if one is replayed.
        self._times: Clock = self._replay or clock
        self.counters = Counters(started=clock.wall())
        self.thread = CameraThread(self.counters, clock, self._replay, options.max_failures)
        self._filter = EventFilter(options, now=self._times.wall)
        self.alerts = AlertWatch(
            options.alerts, self._times, zone=options.zone, is_replay=self._replay is not None,
            has_broker=not (options.read or options.demo), delivers=not options.test,
        )  # fmt: skip
        self._failures = FailureLog()
        self._is_single = options.once or options.test
        self._started = clock.monotonic()
        self._mounted = False
        self._make_camera = make_camera
        self._clusters: dict[str, Cluster] = {}
        for name in sorted(names):
            self._add(name)
        #: When the one period of --once and --test ends, by the clock of the snapshots, and when
        #: evcam must have ended, once that is wanted.
        self._period_ends = self._deadline = math.inf
        self._next_status, self._warn_at = 0.0, _LONG
        self._updated: float | None = None
        self._hint: SilenceHint | None = None
        #: Clusters whose brokers keep events until they are acknowledged.
        self._kept: set[str] = set()
        #: Clusters, and kinds of malformed input, that are in the log.
        self._reported: set[tuple[str, str]] = set()

    def _add(self, name: str) -> Cluster:
        # Watch another cluster; all of them share the memory.
        options, parts = self._options, len(self._clusters) + 1
        state = State(clock=self._times, cluster=name)
        sequence = SnapshotSequence(
            state.workers, started=self.counters.started, warm_up=options.warm_up, cluster=name
        )
        camera = self._make_camera(
            state, freq=options.freq, maxrate=options.maxrate or None,
            cleanup_freq=options.cleanup_freq, timer=self.thread, app=None,
        )  # fmt: skip
        counters = ClusterCounters() if name else self.counters
        joiner = Joiner(max_tasks=MAX_TASKS // parts, max_bytes=MAX_BYTES // parts)
        cluster = Cluster(state, camera, sequence, counters, joiner)
        if name:
            self.counters.clusters = {**self.counters.clusters, name: counters}
        self._clusters = {**self._clusters, name: cluster}
        for each in self._clusters.values():
            each.state.max_tasks_in_memory = max(1, options.max_tasks // parts)
            each.state.max_bytes = options.max_memory // parts
            if each.observer is not None and each.observer.writes_for_all:
                each.observer.share(parts)
        self.alerts.add(state)
        if cluster.observer is not None:
            cluster.observer.load(sequence, self._times)
        leader = self.cameras[0]
        if isinstance(leader, Camera) and leader.writes_for_all:
            leader.lead([each.camera for each in self._clusters.values()])
        if self._mounted:
            sequence.subscribed(self._times.wall())
            if camera in self.cameras:
                self.thread.mount(camera, cluster=name, install=not self._is_single)
        return cluster

    def _cluster(self, name: str) -> Cluster | None:
        # That of a name, of which a recording may have new ones; None if it has too many.
        found = self._clusters.get(name)
        if found is not None or self._replay is None:
            return found
        first = self._clusters.get("")
        if first is not None and len(self._clusters) == 1 and not first.counters.events:
            # Until now its name was not known.
            first.state.cluster = first.sequence.cluster = name
            self.alerts.rename(first.state, "")
            first.counters = ClusterCounters()
            self.counters.clusters = {name: first.counters}
            self._clusters = {name: first}
            return first
        return self._add(name) if len(self._clusters) < CLUSTERS_MAX else None

    @property
    def states(self) -> Mapping[str, State]:
        """The state of each cluster by name."""
        return {name: each.state for name, each in self._clusters.items()}

    @property
    def cameras(self) -> Sequence[Any]:
        """The cameras that take the snapshots: one for all clusters, or one of each."""
        cameras = [each.camera for each in self._clusters.values()]
        is_one = isinstance(cameras[0], Camera) and cameras[0].writes_for_all
        return cameras[:1] if is_one else cameras

    def watch_brokers(self, clusters: Iterable[ConnectionSettings]) -> None:
        """Let cameras and alerts ask the brokers of their clusters for what no event says.

        Raise UsageError if an alert wants what nobody may ask for.
        """
        for settings in clusters:
            self.alerts.watch_broker(settings, redactor(self._options.redact))
            observer = self._clusters[settings.cluster].observer
            if observer is not None:
                observer.watch_broker(settings, redactor(self._options.redact))

    def run(self, source: Source, signals: Signals) -> int:
        """Run to the end; return the exit status.  Raise EvtoolsError if camera or source fail."""
        self._source, self._signals = source, signals
        self.counters.ticked_at = self._started
        if self._replay is None:
            self._mount()
        try:
            return self._run(source)
        finally:
            self.alerts.close()

    def _run(self, source: Source) -> int:
        try:
            for batch in source.events(TICK):
                self._take(batch)
                if self._kept:
                    self._acknowledge()
                if self._is_over():
                    break
        except EvtoolsError:
            if any(each.counters.events for each in self._clusters.values()):
                self._finish()
            raise
        if self.thread.gave_up is not None:
            self._notifier.stopping(self.thread.gave_up.message)
            raise self.thread.gave_up
        return self._finish()

    def keep(self, brokers: Sequence[ConnectionSettings]) -> list[ConnectionSettings]:
        """Return settings by which events stay in a shared queue until they are in a spool.

        They do so for brokers with such a queue, if there is a spool.
        """
        changed: list[ConnectionSettings] = []
        for each in brokers:
            camera = self._clusters[each.cluster].camera
            if each.event_queue and isinstance(camera, StoreCamera) and camera.has_spool:
                self._kept.add(each.cluster)
                limits = (each.event_queue_ttl, each.event_queue_expires)
                camera.kept_for = min([limit for limit in limits if limit is not None])
                changed.append(replace(each, acknowledges=True))
            else:
                changed.append(each)
        return changed

    def _acknowledge(self) -> None:
        # What is in a spool, or was left out.
        source: Any = self._source
        for name in self._kept:
            cluster = self._clusters[name]
            if not cluster.is_safe:
                # Nothing more may come before that.
                with cluster.state.held(TICK) as held:
                    if held:
                        self._persist(cluster)
            if cluster.is_safe:
                source.acknowledge(name)

    def _persist(self, cluster: Cluster) -> None:
        if cluster.observer is None or self._options.test:
            return
        try:
            cluster.is_safe = cluster.observer.persist()
        except Exception as error:  # noqa: BLE001
            cluster.is_safe = False
            self._failures.error("the camera failed to persist", error)

    def _mount(self) -> None:
        self._mounted = True
        cameras = self.cameras
        for each in self._clusters.values():
            if each.camera in cameras:
                # One for all clusters is of none of them.
                name = each.name if len(cameras) > 1 else ""
                self.thread.mount(each.camera, cluster=name, install=not self._is_single)

    def _take(self, batch: list[Event]) -> None:
        if self._replay is None:
            if batch and batch[0].cluster == batch[-1].cluster:
                self._apply(self._clusters[batch[0].cluster or ""], batch)
            else:
                # The last one has the gaps of all that did not come back.
                for cluster, events in self._by_cluster(batch):
                    self._apply(cluster, events)
        else:
            for piece, moment in self._replay.pieces(batch, self._next_due):
                for cluster, events in self._by_cluster(piece):
                    if not self._apply(cluster, events):
                        return
                self._replay.move(moment)
                if not self._mounted:
                    for cluster in self._clusters.values():
                        cluster.sequence.subscribed(moment)
                    self._mount()
                self._look_at_alerts()
                while not (self.alerts.wait_for_room(TICK) and self.thread.settle(TICK)):
                    self._tick()
                    if self._is_over():
                        return
        self._tick()

    def _next_due(self) -> float:
        # Of a recording: when something is to be done at the time that it shows.
        return min(self.thread.due, self.alerts.due if self.alerts else math.inf)

    def _look_at_alerts(self) -> None:
        if not self.alerts:
            return
        try:
            self.alerts.look(whole=self._replay is not None)
        except Exception as error:  # noqa: BLE001  (events go on)
            self._failures.error("alerts could not be looked at", error)

    def _by_cluster(self, events: list[Event]) -> Iterator[tuple[Cluster, list[Event]]]:
        # Of a recording, events may be of any clusters.
        names = {event.cluster or "" for event in events}
        for name in sorted(names):
            part = events
            if len(names) > 1:
                part = [event for event in events if (event.cluster or "") == name]
            if not name and (len(names) > 1 or self.counters.clusters):
                # When nothing was recorded, nothing was of any of them.
                gaps: list[Event] = [event for event in part if isinstance(event, Gap)]
                part = [event for event in part if not isinstance(event, Gap)]
                known = [self._cluster(each) for each in names if each or part]
                for cluster in {*self._clusters.values(), *filter(None, known)}:
                    if gaps:
                        yield cluster, gaps
                if not part:
                    continue
            found = self._cluster(name)
            if found is not None:
                yield found, part
                continue
            words = f"the recording has more than {CLUSTERS_MAX} clusters: the events of others"
            self._report_once("", "clusters", f"{words} are left out, as of {name}")
            self.counters.left_out += len(part)

    def _apply(self, cluster: Cluster, batch: list[Event]) -> bool:
        # To the state, which the camera may be holding.  Return False if the end comes first.
        events = self._filter.apply(batch, cluster.joiner)
        while events:
            with cluster.state.held(TICK) as held:
                if held:
                    if isinstance(batch, Redelivered) and isinstance(cluster.observer, StoreCamera):
                        events = cluster.observer.unrepeated(events)
                    self._apply_all(cluster, events)
                    break
            self._tick()
            if self._is_over():
                return False
        return True

    def _apply_all(self, cluster: Cluster, events: list[Event]) -> None:
        # One after the other: metrics count a task as it was at each event.
        observer, alerts = cluster.observer, self.alerts or None
        if not events:
            return
        for change in cluster.state.changes(events):
            if alerts is not None:
                try:
                    alerts.take(change, cluster.name)
                except Exception as error:  # noqa: BLE001
                    self._failures.error("an event could not be counted for alerts", error)
            if observer is not None:
                try:
                    observer.observe((change,))
                except Exception as error:  # noqa: BLE001  (whatever the camera raises)
                    self._failures.error("the camera failed to observe", error)
            if isinstance(change.event, Gap):
                cluster.sequence.note(change.event)
        self._persist(cluster)
        self._count(cluster, events)

    def _tick(self) -> None:
        self.counters.ticked_at = now = self.clock.monotonic()
        if self._signals.ending and math.isinf(self._deadline):
            self._deadline = now + self._options.shutdown_timeout
            self._notifier.stopping("taking the last snapshot")
        self._handle_signals(now)
        self._get_ready(now)
        if self._replay is None:
            self._look_at_alerts()
        since = self.counters.busy_since
        busy = 0.0 if since is None else now - since
        if busy < STUCK_AFTER:
            self._notifier.watchdog()
        if busy < _LONG:
            self._warn_at = _LONG
        elif busy >= self._warn_at:
            self._warn_at = 2 * busy
            _log.warning("the camera has been at work for %s", human_duration(busy))
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY
            self._update(now)
            self._log_problems()
            if self.counters.ready:
                self._notifier.status(self._line())

    def _handle_signals(self, now: float) -> None:
        while self._signals.came:
            number = self._signals.came.pop()
            if number == signal.SIGUSR2:
                self.thread.take_one()
            elif number == signal.SIGUSR1:
                self._update(now)
                self._dump()
            else:
                if self.counters.ready:
                    self._notifier.reloading()
                self._on_hangup()
                for camera in self.cameras:
                    if isinstance(camera, Camera):
                        self.thread.soon(camera.reopen)
                if self.counters.ready:
                    self._notifier.ready()

    def _get_ready(self, now: float) -> None:
        # Of several, the first is enough once each was tried: those that are away do not keep the
        # others from being recorded.  The only snapshot waits for all that may still come.
        clusters = self._clusters.values()
        is_there = self._replay is not None or any(each.counters.connected for each in clusters)
        waited = now - self._started >= self._options.ready_timeout
        if self._is_single and math.isinf(min(self._period_ends, self._deadline)):
            if not is_there and waited:
                raise BrokerUnavailable(self._away(), "there is nothing to look at")
            missing = [
                each for each in clusters if not (each.counters.connected or each.is_refused)
            ]
            is_whole = self._replay is not None or not missing
            if is_there and self._mounted and (is_whole or waited):
                self._period_ends = self._times.monotonic() + self._options.freq
        is_tried = all(each.counters.connected or each.why for each in clusters)
        is_there = is_there and (self._replay is not None or is_tried)
        if not self.counters.ready and (is_there or waited):
            self.counters.ready = True
            self._ready()
            self._notifier.ready(self._line())

    def _is_over(self) -> bool:
        # Events that have come in are applied, for up to half of the time for the end.
        left = self._deadline - self.clock.monotonic()
        return (
            self.thread.gave_up is not None
            or self._period_ends <= self._times.monotonic()
            or left <= self._options.shutdown_timeout / 2
        )

    def on_notice(self, notice: Notice) -> None:
        """Apply a notice of the source; of many retries in a row log the 1st, 2nd, 4th, ..."""
        cluster = self._clusters.get(notice.cluster)
        text = notice.text
        if (notice.kind == "ended" and text) or notice.kind == "warning":
            _log.warning("%s", text)
        if cluster is None:
            return
        counters = cluster.counters
        if notice.kind in {"listening", "restored"}:
            counters.connected = True
            cluster.sequence.subscribed(self.clock.wall())
            self.alerts.connected(cluster.name, self.clock.wall())
            cluster.retries, cluster.why = 0, ""
            words = "listening on" if notice.kind == "listening" else "connected again:"
            _log.info("%s", named(f"{words} {text}", cluster.name))
        elif notice.kind in {"lost", "refused"}:
            counters.connected = False
            cluster.sequence.lost()
            self.alerts.lost(cluster.name, self.clock.wall())
            cluster.why = text
            if notice.kind == "lost":
                _log.warning("%s", named(f"connection lost: {text}", cluster.name))
                return
            cluster.is_refused = True
            hint = f" ({'; '.join(notice.hint.splitlines())})" if notice.hint else ""
            _log.error("%s; nothing more is recorded of it, the others go on", notice.named + hint)
        elif notice.kind == "retry":
            error = text.rpartition("; trying again")[0] or text
            cluster.retries = cluster.retries + 1 if error == cluster.why else 1
            cluster.why = error
            if cluster.retries & (cluster.retries - 1) == 0:
                _log.warning("%s", notice.named)

    def _away(self) -> str:
        # Why there is no connection, and to which cluster.
        return "; ".join(
            named(each.why or _NO_CONNECTION, each.name)
            for each in self._clusters.values()
            if not each.counters.connected
        )

    @staticmethod
    def _is_spooled(cluster: Cluster) -> bool:
        camera = cluster.camera
        return cluster.is_safe and isinstance(camera, StoreCamera) and camera.spool is not None

    def _count(self, cluster: Cluster, events: Sequence[Event]) -> None:
        # At least one, which were applied to the state.
        counters = cluster.counters
        known = counters.events_by_type
        types = Counter([event.type for event in events])
        counters.gaps += types.pop(Gap.type, 0)
        for kind, number in types.items():
            name = kind if kind in known or len(known) < _TYPES_MAX else OTHERS
            known[name] = known.get(name, 0) + number
        counters.events += types.total()
        last = events[-1]
        received = float(last.local_received)
        if not received:  # a bare event without any time
            return
        counters.last_event_at = received
        if "worker-heartbeat" in types:
            counters.last_heartbeat_at = received
        worker = cluster.state.workers.get(last.hostname)
        if worker is not None and worker.skew is not None and last.timestamp is not None:
            lag = max(0.0, received - last.timestamp + worker.skew)
            cluster.worst_lag = max(lag, cluster.worst_lag or 0.0)

    def _update(self, now: float) -> None:
        then, self._updated = self._updated, now
        for cluster in self._clusters.values():
            counters, state = cluster.counters, cluster.state
            if then is not None and now > then:
                events = counters.events - cluster.events_then
                counters.events_per_second = events / (now - then)
            cluster.events_then = counters.events
            counters.lag, cluster.worst_lag = cluster.worst_lag, None
            workers = list(state.workers.values())
            counters.tasks, counters.workers = len(state.tasks), len(workers)
            counters.workers_alive = sum(worker.alive for worker in workers)
            counters.evicted = state.evicted
            counters.nameless = state.nameless
            spool = getattr(cluster.observer, "spool", None)
            if isinstance(spool, Spool):
                counters.spool_bytes, counters.spool_events = spool.bytes, spool.waiting
                counters.spool_dropped = spool.dropped

    def _line(self) -> str:
        counters, replays = self.counters, self._options.read
        clusters = self._clusters.values()
        there = [each.name for each in clusters if each.counters.connected]
        if not there and not replays:
            return f"waiting for broker: {self._away()}"
        state = "replaying" if replays else "connected"
        if any(there) and not replays:
            state += f" to {', '.join(there)}"
            if len(there) < len(clusters):
                state += f"; away: {self._away()}; in all"
        rate = sum(each.counters.events_per_second for each in clusters)
        workers = sum(each.counters.workers_alive for each in clusters)
        last = "no snapshot yet"
        if counters.last_success_at is not None:
            ago = self.clock.wall() - counters.last_success_at
            last = f"last snapshot {human_duration(ago)} ago"
        parts = [state, f"{rate:.0f} ev/s", f"{workers} workers"]
        if self._options.camera or not self.alerts:
            parts += [last, f"{counters.failures_in_row} failures"]
        if self.alerts:
            firing = self.alerts.firing
            parts.append(f"{firing} alert fires" if firing == 1 else f"{firing} alerts fire")
        return ", ".join(parts)

    def _dump(self) -> None:
        # All counters, and the stacks of all threads, the main thread's first.
        statistics = asdict(self._source.statistics())
        malformed = {each["kind"]: each["count"] for each in statistics.pop("defects")}
        streams = statistics.pop("clusters")
        counters = {**statistics, **self.counters.as_dict(), "malformed": malformed}
        for name, values in streams.items():
            kinds = {each["kind"]: each["count"] for each in values.pop("defects")}
            del values["clusters"]
            counters["clusters"][name] |= {**values, "malformed": kinds}
        _log.warning("counters: %s", json.dumps(counters))
        frames = sys._current_frames()  # noqa: SLF001  (its documented use)
        main, lines = threading.main_thread(), []
        for thread in sorted(threading.enumerate(), key=lambda thread: thread is not main):
            lines.append(f"thread {thread.name}{' (daemon)' if thread.daemon else ''}:")
            frame = frames.get(thread.ident or 0)
            if frame is not None:
                lines.append("".join(traceback.format_stack(frame)).rstrip())
        _log.warning("stacks:\n%s", "\n".join(lines))

    def _log_problems(self) -> None:
        # Each kind of malformed input of a cluster once, and once that nothing comes at all.
        if not self._options.read:
            self._hint = self._hint or SilenceHint(self._source.statistics, self.clock)
            words = self._hint.words()
            if words:
                _log.warning("%s", words)
        statistics = self._source.statistics()
        alone = next(iter(self._clusters)) if len(self._clusters) == 1 else ""
        for name, stream in (statistics.clusters or {alone: statistics}).items():
            for defect in stream.defects:
                words = sanitize(defect.words(redacted=bool(self._options.redact)))
                self._report_once(name, defect.kind, f"left out: {words}")
        for name, cluster in self._clusters.items():
            if cluster.counters.nameless:
                words = "some events have no uuid or hostname and were ignored"
                self._report_once(name, "", words)

    def _report_once(self, cluster: str, kind: str, text: str) -> None:
        if (cluster, kind) not in self._reported:
            self._reported.add((cluster, kind))
            _log.warning("%s", named(text, cluster))

    def _finish(self) -> int:
        # Take the last snapshot, within the time there is; return the exit status.
        self._log_problems()
        if not self._mounted:
            self._mount()
        for note in self._filter.notes():
            _log.warning("%s", note)
        if self.counters.left_out:
            words = "%d events of clusters beyond %d were left out"
            _log.error(words, self.counters.left_out, CLUSTERS_MAX)
        status, missing = 0, self._away()
        if self._is_single and self._replay is None and len(self._clusters) > 1 and missing:
            _log.error("not all clusters were seen: %s", missing)
            status = BrokerUnavailable.exit_code
        if self._options.test:
            for _, cluster in sorted(self._clusters.items()):
                info = cluster.sequence.next(self._times.wall())
                looks: tuple[Any, ...] = (summary, cluster.state, info)
                if cluster.observer is not None:
                    looks = (snapshot_of, cluster.observer, info)
                sys.stdout.buffer.write(dry_run(cluster.state.freeze_while(*looks)) + b"\n")
            sys.stdout.buffer.flush()
            return status
        left = self._source.statistics().buffered_bytes
        if left and not self._is_single:  # which ends with its period
            _log.error("no time for events that have come in: %d bytes", left)
        return self._take_last_snapshot() or status

    def _take_last_snapshot(self) -> int:
        # And have notices delivered meanwhile, and for as long as there is time.
        timeout = self._options.shutdown_timeout
        self._deadline = min(self._deadline, self.clock.monotonic() + timeout)
        self._look_at_alerts()
        self.alerts.end()
        self.thread.end()
        while not self.thread.join(min(TICK, max(0.0, self._deadline - self.clock.monotonic()))):
            self._tick()
            if self.clock.monotonic() >= self._deadline:
                loss, took = "events since its last snapshot may be lost", human_duration(timeout)
                if all(self._is_spooled(each) for each in self._clusters.values()):
                    loss = "what it has not stored is in the spool"
                _log.error("the camera is still at work after %s; %s", took, loss)
                return 1
        while not self.alerts.join(min(TICK, max(0.0, self._deadline - self.clock.monotonic()))):
            self._tick()
            if self.clock.monotonic() >= self._deadline:
                break
        return int(self.thread.last_failed)
