"""Workers: who is there, who is late, who has gone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evtools.filters import quote
from evtools.state import State, Statistics, Worker
from evtools.text import human_age, human_count, human_duration
from evtools.top.cells import (
    count_column,
    duration_column,
    known,
    name_column,
    percent,
    percent_column,
    rate_column,
    text_column,
)
from evtools.top.columns import UNKNOWN, Column, Lens, finite, number
from evtools.top.listing import Listing
from evtools.top.wording import text_of

#: From so many seconds on, a clock that is off is worth a mark.
_SKEW_WORTH_A_MARK: Final = 5.0

#: Status: its style, and its place in the order.
_STATUSES: Final[Mapping[str, tuple[str, int]]] = {
    "gone": ("failure", 0),
    "busy?": ("late", 1),
    "late": ("late", 2),
    "silent": ("waiting", 3),
    "offline": ("gone", 4),
    "online": ("good", 5),
}
_AGED: Final = ("late", "busy?", "gone")
#: What such a worker told last to be running no longer is.
_AWAY: Final = ("offline", "gone")


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as it was at one moment.

    `heard` is when we last heard of it, in UTC epoch seconds; rates are per
    second, `skew` is how many seconds its clock is ahead of ours.  `processes` is
    how many use its name, None if it sends no heartbeats.
    """

    hostname: str
    status: str
    heard: float | None
    active: float | None
    slots: int | None
    processed: float | None
    load: tuple[float, ...]
    ok_rate: float
    failure_share: float | None
    run_p95: float | None
    skew: float | None
    missed: float | None
    version: str | None
    system: str | None
    pid: Any
    freq: Any
    processes: int | None = None

    def get(self, name: str) -> Any:
        """Return what is called so, None if nothing is."""
        return getattr(self, name, None)


def _silence(row: WorkerRow, now: float) -> float | None:
    return None if row.heard is None else max(0.0, now - row.heard)


def _is_shared(row: WorkerRow) -> bool:
    return row.status == "online" and (row.processes or 0) > 1


def _status(row: WorkerRow, lens: Lens) -> str:
    silence = _silence(row, lens.now)
    if _is_shared(row):
        return f"{row.processes} processes"
    if row.status in _AGED and silence is not None:
        return f"{row.status} {human_age(silence)}"
    return row.status


def _active(row: WorkerRow, _: Lens) -> str:
    if row.active is None:
        return UNKNOWN
    active = human_count(row.active)
    return active if row.slots is None else f"{active}/{row.slots}"


def _skew(seconds: float) -> str:
    sign = "-" if seconds < 0 else "+"
    mark = " !" if abs(seconds) >= _SKEW_WORTH_A_MARK else ""
    return f"{sign}{human_duration(abs(seconds))}{mark}"


COLUMNS: Final = (
    name_column("worker", "WORKER", "its node name", lambda row, _: row.hostname, cols=18),
    text_column(
        "status",
        "STATUS",
        "online, late (2 beats missed), gone, offline, silent: it sends no beats,"
        " busy?: gone or in a task, N processes: so many use its name",
        lambda row, _: row.status,
        cols=11,
        order=lambda row, _: _STATUSES[row.status][1],
        tell=_status,
    ),
    duration_column("beat", "BEAT AGE", "time since we last heard of it", _silence),
    count_column(
        "active",
        "ACTIVE",
        "running now, of as many as can if that is known",
        lambda row, _: row.active,
        tell=_active,
        cols=7,
    ),
    count_column(
        "processed",
        "PROCESSED",
        "begun since it was started",
        lambda row, _: row.processed,
        say=known("{:.0f}".format),
        cols=10,
        from_cols=100,
    ),
    count_column(
        "load",
        "LOAD 1/5/15",
        "load of its host over 1, 5 and 15 minutes",
        lambda row, _: row.load[0] if row.load else None,
        tell=lambda row, _: " ".join(map("{:.1f}".format, row.load)) or UNKNOWN,
        cols=13,
        from_cols=100,
    ),
    rate_column("ok", "OK", "succeeded per second", lambda row, _: row.ok_rate),
    percent_column(
        "share",
        "FAIL%",
        "failures among those completed, in per cent",
        lambda row, _: percent(row.failure_share),
    ),
    duration_column(
        "run_p95", "RUN p95", "95 % ran no longer", lambda row, _: row.run_p95, from_cols=130
    ),
    duration_column(
        "skew",
        "SKEW",
        "how far its clock is ahead of ours",
        lambda row, _: row.skew,
        say=known(_skew),
        order=lambda row, _: None if row.skew is None else abs(row.skew),
        cols=8,
    ),
    count_column(
        "missed",
        "MISSED",
        "tasks it says it began and whose events we did not see",
        lambda row, _: row.missed,
        from_cols=120,
    ),
    count_column(
        "processes",
        "PROCS",
        "processes that use its name, by their heartbeats; more than one is a mistake",
        lambda row, _: row.processes,
        from_cols=140,
    ),
    text_column(
        "version", "VERSION", "what it runs", lambda row, _: row.version, cols=15, from_cols=100
    ),
)


class WorkersView(Listing):
    """One row for each worker.

    `slots_of` tells how many tasks a worker can run at once, where somebody has
    asked it.
    """

    name = "workers"
    title = "Workers"
    noun = "workers"
    default_sort = "status"

    def __init__(self, state: State, statistics: Statistics, now: Callable[[], float]) -> None:
        self._state = state
        self._statistics = statistics
        self.slots_of: Mapping[str, int] = {}
        super().__init__(now)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns there are, in their order."""
        return COLUMNS

    def _read(self) -> Iterable[tuple[str, Any]]:
        now = self.lens.now
        figures = {each.name: each for each in self._statistics.workers(self.lens.window, now)}
        for worker in self._state.workers.values():
            yield worker.hostname, self._row(worker, figures.get(worker.hostname), now)

    def _row(self, worker: Worker, figures: Any, now: float) -> WorkerRow:
        status = worker.status(now)
        load = worker.loadavg if isinstance(worker.loadavg, list | tuple) else ()
        software = (text_of(worker.sw_ident), text_of(worker.sw_ver))
        return WorkerRow(
            hostname=worker.hostname,
            status=status,
            heard=finite(worker.local_received),
            active=number(worker.active) if status not in _AWAY else None,
            slots=self.slots_of.get(worker.hostname),
            processed=number(worker.processed),
            load=tuple(each for each in map(finite, load[:3]) if each is not None),
            ok_rate=figures.ok_rate if figures else 0.0,
            failure_share=figures.failure_share if figures else None,
            run_p95=figures.run.p95 if figures else None,
            skew=finite(worker.skew),
            missed=number(worker.missed),
            version=" ".join(filter(None, software)) or None,
            system=text_of(worker.sw_sys),
            pid=worker.pid,
            freq=worker.freq,
            processes=worker.processes(now) or None,
        )

    def notes(self) -> list[str]:
        """Return what the filter could not see, and who has left the table."""
        notes = super().notes()
        if self._state.departed:
            notes.append(f"{self._state.departed} workers that have left are not shown")
        return notes

    def style_of(self, subject: WorkerRow) -> str:
        """Return the style of the worker's status."""
        return "late" if _is_shared(subject) else _STATUSES[subject.status][0]

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks of this worker."""
        return "tasks", f"worker={quote(key)}"

    def values(self, key: str) -> Mapping[str, str]:
        """Return what of a row can be kept or excluded."""
        row = self.subject(key)
        return {} if row is None else {"worker": key, "status": row.status}
