"""Rows: what a state understands of all that was heard of a task or a worker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from evtools.cam.ledger.account import FIELDS, Account, Step, Told, WorkerAccount
from evtools.cam.ledger.packing import pack, pack_worker
from evtools.cam.ledger.tables import ATTEMPTS, SNAPSHOTS, TABLES, TASKS, WORKERS, Row, Table
from evtools.cam.ledger.texts import clean
from evtools.cam.ledger.usual import usual_values
from evtools.cam.snapshot import SnapshotInfo
from evtools.state import State, Task, Worker
from evtools.wire import EventFields, iso_utc

# A row depends on its account and on nothing else, or two evcams would make different
# rows of the same. So events are told to a state that knows no other's times, in which
# all clocks are right unless the account says how far they are ahead.

_FOREVER_BYTES: Final = 2**62
_COUNT_MAX: Final = 2**62
_OF_ALL: Final[EventFields] = {"clock": 0, "pid": 0, "utcoffset": 0}
_BEAT: Final[EventFields] = {**_OF_ALL, "type": "worker-heartbeat", "processed": 0}


def _attributes(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what gets the columns that are attributes; a worker goes by its name."""
    known = ["worker_name" if name == "worker" else name for name in names]
    return lambda told: tuple([getattr(told, name, None) for name in known])


#: What of a row of a task is no attribute: its key, and what comes last.
_LAST: Final = ("note", "extra", "first_heard", "last_heard", "heard")
_NAMES: Final = tuple(TASKS.columns)[1 : -len(_LAST)]
_values_of_task: Final = _attributes(_NAMES)
#: Of an attempt, all but the task's key and its place there.
_values_of_attempt: Final = _attributes(tuple(ATTEMPTS.columns)[2:])
_OF_WORKER: Final = (
    *("pid", "active", "processed", "sw_ident", "sw_ver", "sw_sys"),
    *("online_since", "goodbye"),
)
#: Where in a row there are times, and where a signal's number or name.
_TIMES: Final = {
    table.name: [place for place, kind in enumerate(table.columns.values()) if kind == "time"]
    for table in TABLES
}
_SIGNUM: Final = {table.name: list(table.columns).index("signum") for table in (TASKS, ATTEMPTS)}
_json: Final = msgspec.json.Encoder(order="deterministic")


class Rows:
    """Make rows of accounts."""

    def __init__(self) -> None:
        self._state = _state()

    def of_tasks(self, accounts: Mapping[str, Account]) -> dict[str, tuple[Row, list[Row]]]:
        """Return the rows of tasks, by uuid, each with those of its attempts before."""
        values = {uuid: usual_values(each) for uuid, each in accounts.items()}
        unusual = {u: each for u, each in accounts.items() if values[u] is None}
        tasks = self._told(unusual)
        return {
            uuid: (
                (_of_task(uuid, account, known), [])
                if (known := values[uuid])
                else _of_told(uuid, account, tasks[uuid])
            )
            for uuid, account in accounts.items()
        }

    def _told(self, accounts: Mapping[str, Account]) -> dict[str, Task]:
        """Return tasks, by uuid, as a state knows them that was told of them."""
        state, apart = self._state, {}
        events = []
        for uuid, account in accounts.items():
            told = [_event(step, uuid) for step in account.steps]
            if account.ahead:
                apart[uuid] = _told_ahead(told, account.ahead)
            else:
                events += told
        _tell(state, events)
        tasks = {uuid: apart.get(uuid, state).tasks.find(uuid) for uuid in accounts}
        # Nothing of them may show in the next, which may have their uuids.
        state.clear_tasks(ready=False)
        return {uuid: task or Task(uuid) for uuid, task in tasks.items()}

    def of_worker(self, hostname: str, account: WorkerAccount) -> Row:
        """Return the row of a worker."""
        told = sorted(account.told.values(), key=lambda each: (each.at, each.kind))
        state = _state()
        state.apply(_beat(each, hostname) for each in told)
        worker = state.workers.get(hostname) or Worker(hostname)
        row: dict[str, Any] = dict.fromkeys(WORKERS.columns)
        row["hostname"] = hostname
        for name in _OF_WORKER:
            row[name] = getattr(worker, name)
        row["freq"] = worker.freq if worker.beats else None
        row["loadavg"] = _as_json(worker.loadavg) if worker.loadavg else None
        row["extra"] = _as_json(worker.extra) if worker.extra else None
        row["last_told"], row["last_heard"] = worker.timestamp, account.last
        row["heard"] = pack_worker(account)
        return _finished(WORKERS, list(row.values()))


def of_snapshot(frame: SnapshotInfo, *, events: int, tasks: int, lost: int) -> Row:
    """Return the row of a snapshot."""
    row = {name: getattr(frame, name, None) for name in SNAPSHOTS.columns}
    counts = {"events": events, "tasks": tasks, "lost": lost}
    counts |= {"dropped": frame.dropped, "missed": frame.missed}
    row |= {name: min(count, _COUNT_MAX) for name, count in counts.items()}
    row["evcam"], row["host"] = clean(frame.evcam), clean(frame.host)
    row["gaps"] = _as_json([gap.as_dict() for gap in frame.gaps])
    return _finished(SNAPSHOTS, list(row.values()))


def _state() -> State:
    return State(max_bytes=_FOREVER_BYTES)


def _event(step: Step, uuid: str) -> EventFields:
    """Return an event of a task as it was, heard at the moment when it was sent."""
    kind, at = step.kind, step.at
    event = dict(zip(FIELDS[kind], step.values, strict=True))
    event["type"] = kind
    event["uuid"] = uuid
    event["timestamp"] = event["local_received"] = at
    event["clock"] = event["pid"] = event["utcoffset"] = 0
    return event


def _beat(told: Told, hostname: str) -> EventFields:
    """Return an event of a worker, likewise."""
    return {
        **_OF_ALL,
        **told.fields,
        "hostname": hostname,
        "type": told.kind,
        "timestamp": told.at,
        "local_received": told.at,
    }


def _tell(state: State, events: Sequence[EventFields]) -> None:
    """Let a state hear of tasks, whose workers it knows."""
    for hostname in {event["hostname"] for event in events}:
        if hostname is not None and hostname not in state.workers:
            state.get_or_create_worker(hostname)
    state.apply(events)


def _told_ahead(events: list[EventFields], ahead: dict[str, int]) -> State:
    """Return a state that heard of a task from senders whose clocks are ahead."""
    state = _state()
    for event in events:
        early = ahead.get(event["hostname"], 0)
        event["local_received"] = max(0.0, event["timestamp"] - early)
    events.sort(key=_heard)
    state.apply(_beats(events, ahead))
    _tell(state, events)
    return state


def _beats(events: Iterable[EventFields], ahead: dict[str, int]) -> list[EventFields]:
    """Return events that tell a state how far the clocks of senders are ahead."""
    first = min((event["timestamp"] for event in events), default=0.0)
    return [
        {**_BEAT, "hostname": host, "timestamp": first, "local_received": first - early}
        for host, early in ahead.items()
    ]


def _heard(event: EventFields) -> Any:
    return event["local_received"]


def _of_told(uuid: str, account: Account, task: Task) -> tuple[Row, list[Row]]:
    attempts = [
        _finished(ATTEMPTS, [uuid, place, *_values_of_attempt(attempt)])
        for place, attempt in enumerate(task.attempts)
    ]
    return _of_task(uuid, account, _values_of_task(task)), attempts


def _of_task(uuid: str, account: Account, values: tuple[Any, ...]) -> Row:
    note, extra = account.note, account.extra
    row = [
        uuid,
        *values,
        None if note is None else _as_json(_shown(note)),
        _as_json({n: v for n, (_, v) in extra.items()}) if extra else None,
        account.first,
        account.last,
    ]
    row.append(pack(account, row))
    return _finished(TASKS, row)


def _shown(note: Told) -> EventFields:
    return {"type": note.kind, "timestamp": note.at, **note.fields}


def _finished(table: Table, row: Row) -> Row:
    """Write out the times in a row, and its signal."""
    for place in _TIMES[table.name]:
        if row[place] is not None:
            row[place] = iso_utc(row[place])
    signum = _SIGNUM.get(table.name)
    if signum is not None and row[signum] is not None:
        row[signum] = str(row[signum])
    return row


def _as_json(value: Any) -> str:
    return _json.encode(value).decode()
