"""What `--listen` serves: whether evcam is alive and sees the cluster, its counters, metrics."""

import os
import platform
import resource
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from evtools import __version__
from evtools.cam.http import Address, HTTPServer, Response
from evtools.cam.log import named
from evtools.cam.log import reason as failure
from evtools.cam.loop import Loop
from evtools.cam.metrics import Family, Labels, Sample, label, labelled
from evtools.cam.prometheus import scrape
from evtools.cam.schedule import ClusterCounters, Counters
from evtools.clock import Clock
from evtools.state import State
from evtools.text import human_duration
from evtools.transport import ConnectionSettings, Source, Statistics, probe
from evtools.wire import encode_line

#: The main loop moves several times a second; after this many seconds it hangs.
STUCK: Final = 15.0
#: This many missing heartbeats say nothing.
_BEATS: Final = 3.0
#: Seconds between heartbeats: Celery's default, and the most that a worker can claim.
_BEAT, _BEAT_MAX = 2.0, 60.0
#: Seconds from the end of one login to the next.
PROBE_EVERY: Final = 2.0
#: Seconds that an answer waits for a login under way, or the end of evcam for an answer.
_PATIENCE: Final = 30.0
_NOT_TRIED: Final = "the broker was not tried"
_STATM: Final = Path("/proc/self/statm")

Verdict: TypeAlias = tuple[bool, str]


class Health:
    """Serve `/livez`, `/readyz`, `/status` and `/metrics` of a loop within its context.

    `source` is where its events come from, `brokers` the settings of those to log in to.  Raise
    UsageError for a bad address and OutputError for one that cannot be bound.
    """

    def __init__(
        self, address: str, loop: Loop, source: Source, brokers: Sequence[ConnectionSettings]
    ) -> None:
        self._counters, self._loop = loop.counters, loop
        self._clock = loop.clock
        #: One serves the metrics of all clusters; of a user's class those of each.
        self._cameras = [camera for camera in loop.cameras if adopt(camera)]
        self._statistics = source.statistics
        self._logins = {each.cluster: _Login(each, self._clock) for each in brokers}
        routes = {
            "/livez": lambda _: _answer("alive", self._is_alive()),
            "/readyz": lambda _: _answer("ready", self._is_ready(probe=True)),
            "/status": self._status,
            "/metrics": scrape(self._families),
        }
        self._server = HTTPServer(Address.of(address), routes)
        self.address = self._server.address

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.close()

    def _status(self, _: str) -> Response:
        ready, reason = self._is_ready(probe=False)
        statistics = self._statistics()
        values = {"alive": self._is_alive()[0], "ready": ready, "reason": reason}
        counters, stream = self._counters.as_dict(), _plain(statistics)
        alerts = self._loop.alerts.as_dict() if self._loop.alerts else {}
        return _json(200, {**values, "counters": counters, "stream": stream, **alerts})

    def _families(self) -> Iterator[Family]:
        yield from own_families(self._counters, self._statistics())
        yield from self._loop.alerts.families()
        for camera in self._cameras:
            yield from camera.families()

    def _is_alive(self) -> Verdict:
        still = self._clock.monotonic() - self._counters.ticked_at
        if still > STUCK:
            return False, f"the main loop has not moved for {human_duration(still)}"
        return True, "the main loop moves"

    def _is_ready(self, *, probe: bool) -> Verdict:
        # Whether events come of any cluster, or would, and why; brokers are tried with `probe`.
        # One that is away is no reason to end what records the others.
        states, statistics = self._loop.states, self._statistics()
        verdicts: dict[str, Verdict] = {}
        for probing in (False, True):
            if probing and (not probe or any(is_good for is_good, _ in verdicts.values())):
                break
            for name, state in states.items():
                stream = statistics.clusters.get(name, statistics)
                verdicts[name] = self._sees(name, state, stream, probe=probing)
                if probing and verdicts[name][0]:
                    break
        reasons = (named(reason, name) for name, (_, reason) in verdicts.items())
        return any(is_good for is_good, _ in verdicts.values()), "; ".join(reasons)

    def _sees(self, name: str, state: State, stream: Statistics, *, probe: bool) -> Verdict:
        if not stream.connected:
            problem = f": {stream.problem}" if stream.problem and name else ""
            return False, f"there is no connection{problem}"
        workers = list(state.workers.values())
        beats = (min(each.freq, _BEAT_MAX) for each in workers if each.beats)
        limit = _BEATS * max([_BEAT, *beats])
        beat_at = self._counters.clusters.get(name, self._counters).last_heartbeat_at
        age = None if beat_at is None else self._clock.wall() - beat_at
        if age is not None and age <= limit:
            return True, f"a worker's heartbeat came {human_duration(max(0.0, age))} ago"
        silence = "no heartbeat" if age is None else "no heartbeat lately"
        login = self._logins.get(name)
        if login is None:
            return True, f"{silence}, and no broker to try"
        if probe and not login.is_good_for(limit):
            login.try_again()
        if login.is_good_for(limit):
            return True, f"{silence}, but the broker accepts logins"
        return False, f"{silence}: {login.refusal}"


class _Login:
    # The last try to log in to the broker of a cluster.

    def __init__(self, settings: ConnectionSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._probing = threading.Lock()
        #: By the monotonic clock: the begin of the last login that worked, the end of any.
        self._let_in_at = self._probed_at = -float("inf")
        self.refusal = _NOT_TRIED

    def is_good_for(self, limit: float) -> bool:
        return self._clock.monotonic() - self._let_in_at <= limit

    def try_again(self) -> None:
        # Unless that was tried just now; a login under way is waited for.
        if not self._probing.acquire(timeout=_PATIENCE):
            return
        try:
            began = self._clock.monotonic()
            if began - self._probed_at < PROBE_EVERY:
                return
            try:
                probe(self._settings)
                self._let_in_at, self.refusal = began, _NOT_TRIED
            except Exception as error:  # noqa: BLE001  (part of the answer)
                self.refusal = failure(error)
            self._probed_at = self._clock.monotonic()
        finally:
            self._probing.release()


def adopt(camera: Any) -> bool:
    """Return whether a camera has metrics, which then need no other place."""
    if not callable(getattr(camera, "families", None)):
        return False
    camera.is_served = True
    return True


def _plain(statistics: Statistics) -> dict[str, Any]:
    # Samples of malformed messages are for the log, where they are redacted.
    defects = [{"kind": each.kind, "count": each.count} for each in statistics.defects]
    values = {each.name: getattr(statistics, each.name) for each in fields(statistics)}
    clusters = {name: _plain(each) for name, each in statistics.clusters.items()}
    del values["clusters"]
    return {**values, "defects": defects, **({"clusters": clusters} if clusters else {})}


def _answer(name: str, verdict: Verdict) -> Response:
    is_good, why = verdict
    return _json(200 if is_good else 503, {name: is_good, "reason": why})


def _json(status: int, values: Mapping[str, Any]) -> Response:
    return Response(status, encode_line(values) + b"\n", "application/json")


def own_families(own: Counters, stream: Statistics) -> Iterator[Family]:
    """Yield the metrics of evcam itself, as far as they are known.

    Those of clusters that have names have the name as a label.
    """
    build = {"version": __version__, "python": platform.python_version(), "platform": sys.platform}
    sample = Sample("", tuple(build.items()), 1)
    yield Family("evcam_build_info", "gauge", "Version of evcam.", [sample])
    clusters = own.clusters
    tables = {name: _table(own, each, stream.clusters.get(name, stream))
              for name, each in clusters.items()} or {"": _table(own, own, stream)}  # fmt: skip
    # A recording does not say of which cluster a line was that is malformed.
    of_stream = _OF_STREAM if stream.clusters or len(tables) == 1 else frozenset()
    has_label = _OF_STATE | of_stream
    for rows in zip(*tables.values(), strict=True):
        full_name, text = rows[0][:2]
        name = full_name.removesuffix("_total")
        suffix = full_name.removeprefix(name)
        samples: list[Sample] = []
        for cluster, (_, _, figures, *by) in zip(tables, rows, strict=True):
            # By the values of labels, of which two may look alike.
            summed: dict[Labels, float] = {}
            for key, figure in figures.items() if by else [("", figures)] * (figures is not None):
                labels = tuple((label_name, label(key)) for label_name in by)
                summed[labels] = summed.get(labels, 0) + figure
            found = [Sample(suffix, labels, value) for labels, value in summed.items()]
            if name not in has_label:
                samples = found
                break
            samples += labelled(found, cluster) if cluster else found
        if samples:
            yield Family(name, "counter" if suffix else "gauge", text, samples)


#: What each cluster has of its own.
_OF_STREAM: Final = frozenset((
    "evcam_connected", "evcam_events_lost", "evcam_malformed", "evcam_gaps", "evcam_gap_seconds",
    "evcam_reconnects", "evcam_buffered_bytes",
))  # fmt: skip
_OF_STATE: Final = frozenset((
    "evcam_events", "evcam_lag_seconds", "evcam_last_event_timestamp_seconds", "evcam_state_tasks",
    "evcam_state_workers", "evcam_state_evicted", "evcam_spool_bytes", "evcam_spool_events",
    "evcam_spool_dropped",
))  # fmt: skip


def _table(own: Counters, cluster: ClusterCounters, stream: Statistics) -> Sequence[Any]:
    # Names, helps, figures, and for what label there is one for each of its values.
    names = ("taken", "failed", "overrun", "skipped_rate")
    results = {name: getattr(own.shots, name) for name in names}
    cleanups = {"done": own.cleanups - own.cleanups_failed, "failed": own.cleanups_failed}
    lost = {"dropped": stream.dropped, "missed": stream.missed}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    try:
        resident = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # no Linux, or no /proc
        resident = None
    # fmt: off
    # Counters end in _total.  Some have a figure for each value of the label named last.
    return (
        ("evcam_up", "Always 1.", 1),
        ("evcam_connected", "1 if there is a connection to the broker.", int(stream.connected)),
        # A copy in one step, for it grows in another thread.
        ("evcam_events_total", "Events by type.", cluster.events_by_type.copy(), "type"),
        ("evcam_events_lost_total", ("Events dropped because evcam was too slow, and tasks that"
         " workers counted without an event reaching evcam."), lost, "reason"),
        ("evcam_malformed_total", ("Malformed messages, unreadable values in events, and events of"
         " tasks and workers without uuid or hostname."), stream.malformed + cluster.nameless),
        ("evcam_gaps_total", "Interruptions of the connection.", stream.gaps),
        ("evcam_gap_seconds_total", "Time without a connection, in seconds.", stream.gap_seconds),
        ("evcam_reconnects_total", "Connections after the first.", stream.reconnects),
        ("evcam_buffered_bytes", "Size of events waiting to be processed.", stream.buffered_bytes),
        ("evcam_lag_seconds", ("Delay of the most recent events, corrected for clock skew: the"
         " largest of the last seconds."), cluster.lag),
        ("evcam_last_event_timestamp_seconds", "Time of the last event, in seconds since 1970.",
         cluster.last_event_at),
        ("evcam_snapshots_total", ("Snapshots by result: taken, failed, skipped because one took"
         " too long (overrun) or because of the maximum rate."), results, "result"),
        ("evcam_snapshot_duration_seconds", "Duration of the last snapshot.",
         own.last_shot_seconds),
        ("evcam_snapshot_seconds_total", "Duration of all snapshots together.", own.shot_seconds),
        ("evcam_snapshot_failures_in_row", "Failed snapshots since the last successful one.",
         own.failures_in_row),
        ("evcam_last_success_timestamp_seconds", ("Time of the last successful snapshot, in seconds"
         " since 1970."), own.last_success_at),
        ("evcam_cleanups_total", "Cleanups by result.", cleanups, "result"),
        ("evcam_state_tasks", "Tasks in memory.", cluster.tasks),
        ("evcam_state_workers", "Workers in memory.", cluster.workers),
        ("evcam_state_evicted_total", "Tasks forgotten to make room.", cluster.evicted),
        ("evcam_spool_bytes", "Size of the spool on disk.", cluster.spool_bytes),
        ("evcam_spool_events", "Events in the spool that are not stored yet.",
         cluster.spool_events),
        ("evcam_spool_dropped_total", "Events dropped because the spool or its disk was full.",
         cluster.spool_dropped),
        ("process_start_time_seconds", "Start time of evcam, in seconds since 1970.", own.started),
        ("process_cpu_seconds_total", "CPU time used, in seconds.",
         usage.ru_utime + usage.ru_stime),
        ("process_resident_memory_bytes", "Resident memory.", resident),
    )
    # fmt: on
