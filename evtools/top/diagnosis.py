"""Why a table is empty, as far as that can be known."""

from collections.abc import Iterator
from typing import Final

from evtools.state import State
from evtools.text import human_age, sanitize
from evtools.top.intake import Intake
from evtools.top.status import ConnectionStatus
from evtools.top.table import TableModel
from evtools.transport.live import DOCTOR

#: Nobody needs more names than these to know whom it is about.
_NAMES_MAX: Final = 5
_REASON_CHARS: Final = 300

_SILENCE: Final = (
    "Nothing was received so far. Workers send a heartbeat every few seconds, so",
    "either none is running (or all run with --without-heartbeat), or they use",
    "another broker, virtual host, database, event exchange or key prefix.",
    f"{DOCTOR}.",
)
_EVENTS_OFF: Final = (
    "Task events are off, or there are no tasks. To switch them on: start workers",
    "with -E, set worker_send_task_events, or press a on a worker (view 3) and",
    "choose to enable events.",
)
_SENT_OFF: Final = (
    "Queues are known by task-sent events, and none came: task_send_sent_event is",
    "off in the clients, or nothing was sent since we listen.",
)
_NOTHING_YET: Final = {
    "tasks": "No task yet.",
    "types": "No task yet.",
    "workers": "No worker has told of itself yet.",
    "queues": "No queue was named yet.",
    "events": "No event yet.",
    "errors": "No failure in the window {window}.",
}


def diagnose(
    table: TableModel, state: State, intake: Intake, connection: ConnectionStatus | None, now: float
) -> list[str]:
    """Return lines on why `table` shows nothing, as of `now`; [] if it shows some."""
    if len(table):
        return []
    if connection is not None and connection.emptiness:
        return [sanitize(f"{connection.emptiness}.")]
    lines = list(_connection(connection, now))
    if table.filter is not None and table.total:
        searched = " so far" if table.waiting else ""
        lines.append(
            f"The filter hides all of {table.total} {table.noun}{searched}. "
            "Esc clears it, / changes it."
        )
        return [*lines, *map(sanitize, (*table.notes(), *table.filter.hints()))]
    lines.append(_NOTHING_YET[table.name].format(window=table.lens.window))
    lines += _silence(table, state, intake, connection)
    return lines


def _connection(connection: ConnectionStatus | None, now: float) -> Iterator[str]:
    if connection is None or connection.status == "live":
        return
    reason = f": {sanitize(connection.reason[:_REASON_CHARS])}" if connection.reason else "."
    if connection.status == "connecting":
        yield f"Not connected yet{reason}"
        if connection.attempts:
            yield f"{DOCTOR}."
    elif connection.lost_at is not None:
        since = human_age(max(0.0, now - connection.lost_at))
        yield f"Not connected for {since}{reason}"


def _silence(
    table: TableModel, state: State, intake: Intake, connection: ConnectionStatus | None
) -> Iterator[str]:
    connected = connection is None or connection.status == "live"
    if not intake.events:
        yield from _SILENCE if connected else ()
    elif table.name in ("tasks", "types", "errors") and not intake.has_tasks:
        yield from _events_off(state)
    elif table.name == "queues" and not intake.has_sent:
        yield from _SENT_OFF
    elif table.name == "workers":
        yield "Events came from clients only, and no heartbeat of any worker."


def _events_off(state: State) -> Iterator[str]:
    workers = sorted(state.workers)
    if workers:
        names = ", ".join(sanitize(name[:80]) for name in workers[:_NAMES_MAX])
        more = ", ..." if len(workers) > _NAMES_MAX else ""
        yield f"Heartbeats of {len(workers)} workers came, and no event of a task:"
        yield f"{names}{more}."
    yield from _EVENTS_OFF
    busy = sum(bool(worker.active) for worker in state.workers.values())
    if busy:
        yield f"{busy} of them say that they run tasks right now."
