"""Rows: what a state understands of all that was heard of a task or a worker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from evtools.cam.ledger.account import Account, Told, WorkerAccount
from evtools.cam.ledger.packing import pack, pack_worker
from evtools.cam.ledger.tables import ATTEMPTS, SNAPSHOTS, TASKS, WORKERS, Row
from evtools.cam.ledger.texts import clean
from evtools.cam.roll import Frame
from evtools.state import Attempt, State, Task, Worker
from evtools.wire import EventFields, iso_utc

# A row depends on its account and on nothing else, or two evcams would make different
# rows of the same. So events are told to a state that knows no other's times, in which
# all clocks are right unless the account says how far they are ahead.

_FOREVER_BYTES: Final = 2**62
_COUNT_MAX: Final = 2**62
_OF_ALL: Final[EventFields] = {"clock": 0, "pid": 0, "utcoffset": 0}
_BEAT: Final[EventFields] = {**_OF_ALL, "type": "worker-heartbeat", "processed": 0}

#: The columns of a task, and of its attempts, that are attributes; their worker goes
#: by its hostname.
_OF_ATTEMPT: Final = tuple(n for n in ATTEMPTS.columns if n in TASKS.columns)[1:]
_OF_TASK: Final = (
    *("name", *_OF_ATTEMPT, "retried", "wait", "args", "kwargs", "root_id"),
    *("parent_id", "client", "queue", "exchange", "routing_key"),
)
_VALUES_OF_TASK, _VALUES_OF_ATTEMPT = (
    attrgetter(*("hostname" if name == "worker" else name for name in names))
    for names in (_OF_TASK, _OF_ATTEMPT)
)
_OF_WORKER: Final = (
    *("pid", "active", "processed", "sw_ident", "sw_ver", "sw_sys"),
    *("online_since", "goodbye"),
)
_TIMES: Final = {
    table.name: [name for name, kind in table.columns.items() if kind == "time"]
    for table in (TASKS, ATTEMPTS, WORKERS, SNAPSHOTS)
}
_json: Final = msgspec.json.Encoder(order="deterministic")


class Rows:
    """Make rows of accounts."""

    def __init__(self) -> None:
        self._state = _state()

    def of_tasks(
        self, accounts: Mapping[str, Account]
    ) -> dict[str, tuple[Row, list[Row]]]:
        """Return the rows of tasks, by uuid, each with those of its attempts before."""
        state, apart = self._state, {}
        events = []
        for uuid, account in accounts.items():
            told = [_event(step, uuid=uuid) for step in account.steps]
            if account.ahead:
                apart[uuid] = _told_ahead(told, account.ahead)
            else:
                events += told
        _tell(state, events)
        tasks = {uuid: apart.get(uuid, state).tasks.find(uuid) for uuid in accounts}
        # Nothing of them may show in the next, which may have their uuids.
        state.clear_tasks(ready=False)
        return {
            uuid: _of_task(uuid, account, tasks[uuid] or Task(uuid))
            for uuid, account in accounts.items()
        }

    def of_worker(self, hostname: str, account: WorkerAccount) -> Row:
        """Return the row of a worker."""
        told = sorted(account.told.values(), key=lambda each: (each.at, each.kind))
        state = _state()
        state.apply(_event(each, hostname=hostname) for each in told)
        worker = state.workers.get(hostname) or Worker(hostname)
        row: Row = dict.fromkeys(WORKERS.columns)
        row["hostname"] = hostname
        for name in _OF_WORKER:
            row[name] = getattr(worker, name)
        row["freq"] = worker.freq if worker.beats else None
        row["loadavg"] = _as_json(worker.loadavg) if worker.loadavg else None
        row["extra"] = _as_json(worker.extra) if worker.extra else None
        row["last_told"], row["last_heard"] = worker.timestamp, account.last
        row["heard"] = pack_worker(account)
        return _timely("workers", row)


def of_snapshot(frame: Frame, *, events: int, tasks: int, lost: int) -> Row:
    """Return the row of a snapshot."""
    row = {name: getattr(frame, name, None) for name in SNAPSHOTS.columns}
    counts = {"events": events, "tasks": tasks, "lost": lost}
    counts |= {"dropped": frame.dropped, "missed": frame.missed}
    row |= {name: min(count, _COUNT_MAX) for name, count in counts.items()}
    row["evcam"], row["host"] = clean(frame.evcam), clean(frame.host)
    row["gaps"] = _as_json([gap.as_dict() for gap in frame.gaps])
    return _timely("snapshots", row)


def _state() -> State:
    return State(max_bytes=_FOREVER_BYTES)


def _event(told: Told, **of_whom: str) -> EventFields:
    """Return an event as it was, heard at the moment when it was sent."""
    at = told.at
    return {
        **_OF_ALL,
        **told.fields,
        **of_whom,
        "type": told.kind,
        "timestamp": at,
        "local_received": at,
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


def _of_task(uuid: str, account: Account, task: Task) -> tuple[Row, list[Row]]:
    row: Row = dict.fromkeys(TASKS.columns)
    row["uuid"] = uuid
    row |= _attributes(task, _OF_TASK, _VALUES_OF_TASK)
    row["first_heard"], row["last_heard"] = account.first, account.last
    note = account.note
    if note is not None:
        shown = {"type": note.kind, "timestamp": note.at, **note.fields}
        row["note"] = _as_json(shown)
    if account.extra:
        row["extra"] = _as_json({n: v for n, (_, v) in account.extra.items()})
    row["heard"] = pack(account, row)
    earlier = [
        {
            "uuid": uuid,
            "place": place,
            "number": attempt.number,
            **_attributes(attempt, _OF_ATTEMPT, _VALUES_OF_ATTEMPT),
        }
        for place, attempt in enumerate(task.attempts)
    ]
    return _timely("tasks", row), [_timely("attempts", each) for each in earlier]


def _attributes(
    subject: Task | Attempt, names: Sequence[str], values: Callable[[Any], Any]
) -> Row:
    row = dict(zip(names, values(subject), strict=True))
    if row["signum"] is not None:
        row["signum"] = str(row["signum"])
    return row


def _timely(table: str, row: Row) -> Row:
    """Write the times in a row out."""
    for name in _TIMES[table]:
        if row[name] is not None:
            row[name] = iso_utc(row[name])
    return row


def _as_json(value: Any) -> str:
    return _json.encode(value).decode()
