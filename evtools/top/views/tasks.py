"""Tasks: one row for each that is remembered, the newest first; or as trees; and their detail."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeAlias

from evtools.clock import Clock
from evtools.filters import FieldTable, due_in, running_since, task_fields
from evtools.state import ALIVE, Quantiles, Task, TypeStatistics, epoch
from evtools.state.store import (
    SKEW_SHOWN,
    Clocks,
    Family,
    Outcome,
    Piece,
    family_of,
    grow,
    pieces,
    tops,
)
from evtools.text import elide_middle, human_duration, pad, sanitize
from evtools.top.clusters import Cluster, Clusters, row_key
from evtools.top.columns import Column, RenderContext, Slot, column, one_line, own_column, was_cut
from evtools.top.table import Detail, LiveTable, labelled, paragraph, raw
from evtools.top.views.events import CUT_NOTE, story_of
from evtools.wire import Event

# fmt: off
#: State, in the order in which they sort: its word on the screen, and its style.
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "FAILURE":   ("FAIL",   "failure"),
    "REJECTED":  ("REJECT", "failure"),
    "RETRY":     ("RETRY",  "retry"),
    "REVOKED":   ("REVOKE", "retry"),
    "CANCELLED": ("CANCEL", "retry"),
    "STARTED":   ("RUN",    "running"),
    "RECEIVED":  ("RECV",   "waiting"),
    "PENDING":   ("SENT",   "waiting"),
    "SUCCESS":   ("OK",     "good"),
}
# fmt: on
#: A worker has it, and its ETA has not come.
DUE: Final = ("DUE", "waiting")
LOST: Final = ("LOST?", "late")
#: Its worker has said that it does not have it.
MISSING: Final = ("LOST", "failure")
#: It was open when nobody looked any more, and its worker has said that it does not have it.
ENDED: Final = ("ENDED?", "late")
_RANKS: Final = {state: rank for rank, state in enumerate(STATES)}
_ID_CHARS: Final = 8
#: From how many rows trees are grown: from all of them it would take too long.
_TREES: Final = 2_000


def state_of(task: Any, now: float) -> tuple[str, str]:
    """Return the word for the state a task is in, and its style."""
    if task.lost(now):
        return LOST if task.missing_at(now) is None else MISSING
    answer = task.current_answer(now)
    if task.may_have_ended(now):
        return ENDED if answer is not None else (f"{STATES[task.state][0]}?", "late")
    state = task.state if answer is None else "STARTED" if answer.runs else "RECEIVED"
    if state == "RECEIVED" and due_in(task, now) is not None:
        return DUE
    return STATES.get(state, (state, ""))


def run_of(task: Any, now: float) -> float | None:
    """Return how long a task ran or has run so far.

    That is unknown if it may be lost or have ended, or if only an answer shows that it is not.
    """
    ran: float | None = task.runtime
    since = running_since(task) if ran is None else None
    is_doubtful = since is not None and (
        task.lost(now) or task.may_have_ended(now) or task.current_answer(now) is not None
    )
    return ran if since is None or is_doubtful else max(0.0, now - since)


def _field(task: Any, name: str) -> Any:
    # Also one that only its newest custom event has.
    value = task.get(name)
    return task.note.get(name) if value is None and task.note else value


def _rank(task: Any, now: float) -> float:
    if task.lost(now):
        return -1
    rank = _RANKS.get(task.state, len(_RANKS))
    # Below those that could start now.
    return rank + 0.5 if task.state == "RECEIVED" and due_in(task, now) is not None else rank


def _due(task: Any, now: float) -> str:
    left = due_in(task, now)
    if left is None:
        return ""
    return f"{'again' if task.state == 'RETRY' else 'due'} in {human_duration(left)}"


def _shown_outcome(task: Any, context: RenderContext) -> str:
    parts = _due(task, context.now), _outcome(task, context.now)
    return ": ".join(part for part in parts if part)


def _outcome(task: Any, _: float) -> str | None:
    # Else the newest custom event.
    outcome: str | None = task.result if task.exception is None else task.exception
    return story_of(task.note) if outcome is None and task.note else outcome


# fmt: off
COLUMNS: Final = (
    column("text", "state", "STATE",
        "its state; LOST?: its worker has disappeared or restarted; LOST: and says it has it not;"
        " RUN?: it may have ended while evtop was not there; ENDED?: its worker has it no more",
        lambda task, now: state_of(task, now)[0], cols=6, order=_rank,
        moves=lambda task: task.state in ("RECEIVED", "STARTED")),
    column("name", "name", "TASK", "the type of task", "name",
        format=lambda value, _: value or "?", cols=18, flex=2),
    column("id", "uuid", "UUID", "its id, or the start of it", "uuid", wide_cols=36, from_cols=80),
    column("name", "worker", "WORKER", "the worker that has it", "worker_name",
        cols=10, max_cols=40, from_cols=80),
    column("name", "queue", "QUEUE", "the queue it was sent to, known from task-sent",
        "queue_or_none", cols=9, flex=0, wide_cols=12, from_cols=100),
    column("id", "root", "ROOT", "the id of the first task of its workflow, if that is another",
        lambda task, _: None if task.root_id == task.uuid else task.root_id, from_cols=140),
    column("count", "retries", "TRY", "number of retries", "retries", cols=3, from_cols=100),
    column("duration", "wait", "WAIT",
        "time from sent (or received) to started, minus its ETA", "wait", from_cols=100),
    column("duration", "runtime", "RUN", "how long it ran, or has run so far", run_of,
        moves=lambda task: task.state == "STARTED"),
    column("time", "age", "AGE", "time of its last event", "local_received", cols=6),
    column("text", "outcome", "EXCEPTION / RESULT",
        "when it is due or tried again; exception, result or progress", _outcome,
        format=lambda value, _: value or "", format_row=_shown_outcome,
        cols=18, flex=3, from_cols=100),
)
# fmt: on
#: Times of day take more room than ages.
_WITH_TIMES: Final = tuple(
    replace(one, title="TIME", cols=8) if one.name == "age" else one for one in COLUMNS
)


#: From so many runs on it is known what is usual; p95s are off by 5 %, and so is what is longer.
_USUAL_FROM: Final = 20
_LONGER, _MUCH_LONGER = 1.1, 3.0
_Usual: TypeAlias = tuple[Quantiles | None, Quantiles | None]
#: For how long what is usual is not looked up again, in seconds.
_USUAL_FOR: Final = 5.0


class TasksView(LiveTable):
    """The tasks that a state remembers, kept in order as they change."""

    name = "tasks"
    default_sort = "age"
    offers = ("name", "worker", "state", "queue", "exc", "root", "cluster")

    def __init__(self, clusters: Clusters, clock: Clock) -> None:
        self._clusters = clusters
        #: Whether there are trees, their nodes that are closed, and what is drawn before names.
        self.tree = False
        self.closed: set[str] = set()
        self._prefixes: Mapping[str, str] = {}
        #: The number of the last event of each cluster that was noted.
        self._noted: dict[str, int] = {}
        #: What is usual for each type, by cluster, with the slot of time that it is of.
        self._usual: dict[str, tuple[float, Mapping[str, TypeStatistics], dict[str, _Usual]]] = {}
        super().__init__(clock, lambda _, task: task.stored_in.get(task.uuid) is task)

    def note(self) -> None:
        """Note which tasks have changed, also while the table is frozen."""
        changed: list[Task] = []
        for name, cluster in self._clusters.items():
            state = cluster.state
            state.on_forget, state.on_answer = self._forget, self._keep
            changed += state.tasks.changed_since(self._noted.get(name, 0))
            self._noted[name] = state.event_count
        if self._clusters.named:
            changed.sort(key=attrgetter("local_received"))
            self._index.take((row_key(task.cluster, task.uuid), task) for task in changed)
        else:
            self._index.take((row_key("", task.uuid), task) for task in changed)

    def _forget(self, task: Task) -> None:
        self._index.forget([row_key(task.cluster, task.uuid)])

    def keep(self, cluster: Cluster, events: Iterable[Event]) -> None:
        """Before these events change tasks, put copies of those into the frozen table."""
        for event in events:
            task = cluster.state.tasks.find(event.uuid)
            if task is not None:
                self._keep(task)

    def _keep(self, task: Task) -> None:
        key = row_key(task.cluster, task.uuid)
        if self.frozen and self.rows.get(key) is task:
            frozen: Any = copy.copy(task)
            frozen.cluster_state = task.cluster_state
            self._index.substitute(key, frozen)

    def freeze(self, context: RenderContext) -> None:
        """Take in what happened to all tasks: they change while the table stands still."""
        self.note()
        self._index.settle()
        super().freeze(context)

    @property
    def columns(self) -> tuple[Column, ...]:
        own = COLUMNS if self.context.time_style == "age" else _WITH_TIMES
        return (*self._clusters.column(own), *self.own.values())

    def make_column(self, name: str) -> Column | None:
        return own_column(name, _field)

    @property
    def fields(self) -> FieldTable:
        return task_fields(self.now_of)

    def style_of(self, subject: Task) -> str:
        return state_of(subject, self.now_of(subject))[1]

    def tint(self, column: Column, subject: Any, now: float) -> str:
        """Return the style of a time that is longer than is usual for its type."""
        if column.name not in ("wait", "runtime"):
            return super().tint(column, subject, now)
        seconds = column.value(subject, now)
        wait, run = self._usual_of(subject, now) if seconds is not None else (None, None)
        usual = wait if column.name == "wait" else run
        if usual is None or usual.count < _USUAL_FROM or not usual.p95:
            return ""
        times = seconds / usual.p95
        return "failure" if times > _MUCH_LONGER else "late" if times > _LONGER else ""

    def _usual_of(self, task: Task, now: float) -> _Usual:
        # Of the wait and the run of its type.  Not for each picture: they change slowly.
        cluster, slot = task.cluster or "", now // _USUAL_FOR
        if self._usual.get(cluster, (None,))[0] != slot:
            found = self._clusters.of(cluster).statistics.types("all", now)
            self._usual[cluster] = slot, {row.name: row for row in found}, {}
        _, types, known = self._usual[cluster]
        row = types.get(task.name or "")
        if row is None:
            return None, None
        if row.name not in known:
            known[row.name] = row.wait, row.run
        return known[row.name]

    def matching(self) -> Sequence[str]:
        keys, rows = super().matching(), self.rows
        self._prefixes = {}
        if not self.tree:
            return keys

        def parent(key: str) -> str | None:
            task = rows[key]
            return None if task.parent_id is None else row_key(task.cluster, task.parent_id)

        self.closed = {key for key in self.closed if key in rows}
        # Of the first ones only; there may be too many to grow.  Their families are whole: who
        # looks for one task wants to see what called it, too.
        roots = tops(keys[:_TREES], parent, rows)
        ascii_only = self.context.ascii
        nodes = grow(roots, self._children, closed=self.closed, ascii_only=ascii_only)
        self._prefixes = dict(nodes)
        return list(self._prefixes)

    def _children(self, key: str) -> list[str]:
        task = self.rows[key]
        below = () if task.cluster_state is None else task.cluster_state.children(task.uuid)
        keys = (row_key(child.cluster, child.uuid) for child in below)
        return [key for key in keys if key in self.rows]

    def cells(self, subject: Task) -> tuple[str, ...]:
        cells = list(super().cells(subject))
        prefix = self._prefixes.get(row_key(subject.cluster, subject.uuid), "")
        for at, slot in enumerate(self.slots if prefix else ()):
            if slot.column.name == "name":
                narrow = Slot(slot.column, max(1, slot.cols - len(prefix)))
                name = narrow.cell(subject, self.context.of(subject))
                cells[at] = slot.fitted(prefix + name, ascii_only=self.context.ascii)
        return tuple(cells)

    def toggle_tree(self) -> None:
        """Show tasks as a call tree, or as a list again."""
        self.tree = not self.tree
        self._rearrange()

    def expand(self, *, shut: bool = False) -> None:
        """Open the node under the cursor, or shut it."""
        if self.tree and self.focus_key is not None:
            (self.closed.add if shut else self.closed.discard)(self.focus_key)
            self._rearrange()

    def toggle_all(self) -> None:
        """Shut all nodes that have children, or open all if some are shut."""
        if self.tree:
            self.closed = set() if self.closed else set(filter(self._children, self.keys))
            self._rearrange()

    def detail_of(self, subject: Task) -> Detail:
        state, cols = self._clusters[subject.cluster].state, self.screen_cols
        return task_detail(subject, self.context.of(subject), state, cols=cols)

    def plain(self, subject: Task) -> dict[str, Any]:
        named, now = {"cluster": subject.cluster} if subject.cluster else {}, self.now_of(subject)
        lost = {"lost": subject.lost(now), "missing_at": subject.missing_at(now)}
        return {**named, **plain_task(subject), **lost}

    def next_failure(self, step: int) -> bool:
        """Go to the next (1) or previous (-1) failure; return False if there is none."""
        return self.seek(lambda task: task.state in ("FAILURE", "REJECTED"), step)

    def jump_to_parent(self) -> str:
        """Go to the task that called this one; return why that is impossible, or ""."""
        task = self.subject(self.focus_key or "")
        if task is None:
            return "no task is selected"
        if task.parent_id is None:
            return "this task has no known parent"
        parent = row_key(task.cluster, task.parent_id)
        if self.go_to(parent):
            return ""
        why = "not shown" if parent in self.rows else "not remembered"
        return f"its parent {sanitize(task.parent_id[:_ID_CHARS])} is {why}"


# --- the detail -----------------------------------------------------------------

_NAME_COLS: Final = 40
_VALUE_COLS: Final = 60
_FAMILY_MAX: Final = 500
_UNKNOWN: Final = "unknown: received before evtop connected"
# fmt: off
#: The moments of an attempt or a task, in order: attributes, and words.
_MOMENTS: Final = (
    "sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected",
    "cancelled",
)
#: The fields of a task in an export, in this order.
_EXPORTED: Final = (
    "uuid", "name", "state", "hostname", "client", "pid", "queue", "exchange", "routing_key",
    "args", "kwargs", "result", "exception", "traceback", "retries", "eta", "expires",
    "root_id", "parent_id", "runtime", "wait", *_MOMENTS, "terminated", "signum", "expired",
    "requeue", "timestamp", "local_received", "clock", "note",
)
# fmt: on


def plain_task(task: Any) -> dict[str, Any]:
    """Return the fields of a task as plain values, in a fixed order."""
    return {name: task.get(name) for name in _EXPORTED}


def task_detail(task: Any, context: RenderContext, state: Any, *, cols: int = 100) -> Detail:
    """Return all that is known of a task; `state` knows its family, `cols` is for its bars."""
    if task.traceback is not None:
        traceback = paragraph(task.traceback)
    elif task.exception is not None:
        traceback = ("The event had no traceback.", "", *paragraph(task.exception))
    else:
        traceback = ("No traceback: the task did not raise.",)
    family = _family(task, context, state)
    sections = {
        "Traceback": traceback,
        "Info": _info(task, context),
        "Args": _arguments(task),
        "Timeline": tuple(_timeline(task, context)),
        "Tree": tuple(_tree(task, context, family)),
        "Bars": tuple(_bars(task, context, state, family, cols)),
        "Raw": raw({name: value for name, value in plain_task(task).items() if value is not None}),
    }
    title = f"{one_line(task.name or '?', _NAME_COLS)} {one_line(task.uuid, _VALUE_COLS)}"
    lines = tuple(_summary(task, context, state))
    return Detail(title, lines, sections, "Traceback" if task.traceback else "Args")


def _moments(attempt: Any) -> dict[str, float]:
    found = ((name, getattr(attempt, name, None)) for name in _MOMENTS)
    return {name: moment for name, moment in found if moment is not None}


def _relative(seconds: float) -> str:
    return ("+" if seconds >= 0 else "") + human_duration(seconds)


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else human_duration(seconds)


def _summary(task: Any, context: RenderContext, state: Any) -> Iterator[str]:
    # Four lines: the state, the arguments, the times, the relatives.
    name, run = task.state, run_of(task, context.now)
    if task.missing_at(context.now) is not None:
        name = f"LOST ({_answer(task, context)})"
    elif task.lost(context.now):
        is_there = task.worker.status(context.now) in ALIVE
        name = f"LOST? ({'its process' if is_there else 'its worker'} has disappeared)"
    elif task.may_have_ended(context.now):
        answer = _answer(task, context)
        why = "it may have ended while evtop was not there" if answer is None else answer
        name = f"{task.state if answer is None else 'ENDED'}? ({why})"
    elif due := _due(task, context.now):
        name += f" ({due}, at {context.time_of_day(epoch(task.eta) or 0.0)})"
    ran = f" after {human_duration(run)}" if run is not None else ""
    where = f" on {task.worker_name}" if task.worker_name is not None else ""
    pid = f" pid {task.pid}" if task.pid is not None else ""
    yield sanitize(f"state   {name}{ran}{where}{pid}")

    given = task.args, task.kwargs
    if given == (None, None):
        yield f"args    {_UNKNOWN}"
    else:
        args, kwargs = (one_line("?" if one is None else one, _VALUE_COLS) for one in given)
        cut = f"  {CUT_NOTE}" if any(map(was_cut, given)) else ""
        yield f"args    {args}   kwargs {kwargs}{cut}"
    yield f"time    {_times(task, context)}"

    relatives = []
    for role, uuid in (("root", task.root_id), ("parent", task.parent_id)):
        if uuid is not None and uuid != task.uuid:
            known = state.tasks.get(uuid)
            named = f" {known.name}" if known is not None and known.name else ""
            relatives.append(f"{role} {uuid[:_ID_CHARS]}{named}")
    count = len(state.children(task.uuid))
    children = [f"{count} child" if count == 1 else f"{count} children"] if count else []
    path = [*relatives, "this", *children] if relatives or children else ["no children"]
    yield sanitize(f"tree    {' > '.join(path)}")


def _answer(task: Any, context: RenderContext) -> str | None:
    answer = task.current_answer(context.now)
    if task.missing_at(context.now) is not None:
        answer = task.worker_answer
    if answer is None:
        return None
    fact = "runs it" if answer.runs else "has it, and does not run it yet"
    if not answer.has:
        back = "; the broker may deliver it again" if task.state == "RECEIVED" else ""
        fact = f"does not have it{back}"
    return f"{answer.worker} said at {context.time_of_day(answer.at)} that it {fact}"


def _times(task: Any, context: RenderContext) -> str:
    times: list[str] = []
    moments = _moments(task)
    first = next(iter(moments.values()), 0.0)
    for word, moment in moments.items():
        when = _relative(moment - first) if times else context.time_of_day(moment, millis=True)
        times.append(f"{word} {when}")
    if task.queue_or_none is not None:
        times.append(f" queue {one_line(task.queue_or_none, _NAME_COLS)}")
    if task.retries is not None:
        times.append(f" retries {task.retries}")
    line = "  ".join(times) or "unknown"
    # Of the clock behind most of these times.
    skew = task.worker.skew if task.worker is not None else None
    if skew is None or abs(skew) < SKEW_SHOWN:
        return line
    side = "ahead" if skew > 0 else "behind"
    return f"{line}   (the worker's clock is {human_duration(abs(skew))} {side})"


def _info(task: Any, context: RenderContext) -> tuple[str, ...]:
    # fmt: off
    return labelled((
        ("cluster", task.cluster or None),
        ("uuid", task.uuid),
        ("name", task.name or _UNKNOWN),
        ("state", f"{task.state} ({state_of(task, context.now)[0]})"),
        ("last event", context.moment(task.local_received)),
        ("worker", task.worker_name),
        ("asked", _answer(task, context)),
        ("pid", task.pid),
        ("client", task.client),
        ("queue", task.queue_or_none),
        ("exchange", task.exchange),
        ("routing key", task.routing_key),
        ("retries", task.retries),
        ("waited", _duration(task.wait)),
        ("in the queue", _duration(task.queue_time)),
        ("ran", _duration(run_of(task, context.now))),
        ("eta", task.eta),
        ("expires", task.expires),
        ("terminated", task.get("terminated")),
        ("signal", task.get("signum")),
        ("expired", task.get("expired")),
        ("requeued", task.get("requeue")),
        ("root", task.root_id),
        ("parent", task.parent_id),
        ("progress", story_of(task.note) if task.note else None),
        ("memory", f"{task.weight_bytes} bytes"),
    ))
    # fmt: on


def _arguments(task: Any) -> tuple[str, ...]:
    lines: list[str] = []
    for name in ("args", "kwargs", "result", "exception"):
        value = getattr(task, name)
        if value is not None:
            lines += [name, *(f"  {line}" for line in paragraph(value))]
            lines += [f"  {CUT_NOTE}"] if was_cut(value) else []
    return tuple(lines) or (f"{_UNKNOWN.capitalize()}.",)


def _timeline(task: Any, context: RenderContext) -> Iterator[str]:
    attempts = [(attempt, _moments(attempt)) for attempt in (*task.attempts, task)]
    first = min((moment for _, moments in attempts for moment in moments.values()), default=None)
    if first is None:
        yield "No event with a time was received."
        return
    yield f"from {context.time_of_day(first, millis=True)} on, by the senders' clocks"
    for number, (attempt, moments) in enumerate(attempts):
        where = f" on {attempt.worker_name}" if attempt.worker_name else ""
        yield sanitize(f"attempt {number if attempt.retries is None else attempt.retries}{where}")
        ended = getattr(attempt, "ended", None)
        if ended is not None and ended not in moments.values():
            moments[attempt.state] = ended
        before = None
        for word, moment in sorted(moments.items(), key=itemgetter(1)):
            since = "" if before is None else f"  ({_relative(moment - before)})"
            yield f"  {_relative(moment - first):>9}  {sanitize(word)}{since}"
            before = moment
        if attempt.exception is not None:
            yield f"  {'':>9}  {one_line(attempt.exception, 4 * _VALUE_COLS)}"


def _family(task: Any, context: RenderContext, state: Any) -> Family:
    everybody = state.family(task.root_id if task.root_id is not None else task.uuid)
    return family_of(task, everybody, _FAMILY_MAX, ascii_only=context.ascii)


def _name(task: Any, cols: int) -> str:
    return elide_middle(sanitize((task.name or "?")[:1024]), cols)


def _tree(task: Any, context: RenderContext, family: Family) -> Iterator[str]:
    for member, prefix in family.members:
        mark = ">" if member is task else " "
        name, word = _name(member, _NAME_COLS), state_of(member, context.now)[0]
        ran = _duration(run_of(member, context.now)) or ""
        facts = f"{sanitize(member.uuid[:_ID_CHARS])} {sanitize(word)} {ran}"
        yield f"{mark} {prefix}{name} {facts}".rstrip()


# --- a workflow as bars on an axis of time ----------------------------------------

#: What waits, what runs, and the axis.
_BARS: Final = "·█─"
_ASCII_BARS: Final = ".#-"
#: What stands at the end of an attempt: of one that succeeded nothing, of others x.
_END_MARKS: Final[Mapping[Outcome, str]] = {
    "retried": "r", "failed": "x", "running": ">", "unknown": "?",
}  # fmt: skip
_MARKS: Final = {
    "x": "failed or stopped", "r": "retried", ">": "runs on", "?": "unknown since",
}  # fmt: skip
_CLOCKS_SHOWN: Final = 3
_DURATION_COLS: Final = 6


def _drawn(pieces: Sequence[Piece], first: float, span: float, cols: int, glyphs: str) -> str:
    def at(moment: float) -> int:
        return min(cols - 1, max(0, int((moment - first) / span * cols))) if span > 0 else 0

    cells = [" "] * cols
    for waits in (True, False):
        for piece in pieces:
            begin = piece.since if waits else piece.started
            end = piece.started if waits and piece.started is not None else piece.end
            if begin is not None:
                left = at(begin)
                right = max(left + 1, at(end) + (not waits))
                cells[left:right] = (glyphs[0] if waits else glyphs[1]) * (right - left)
    for piece in pieces:
        if piece.outcome in _END_MARKS:
            cells[at(piece.end)] = _END_MARKS[piece.outcome]
    return "".join(cells)


def _bars(
    task: Any, context: RenderContext, state: Any, family: Family, cols: int
) -> Iterator[str]:
    clocks = Clocks()
    drawn = {
        member.uuid: list(pieces(member, state.clients, context.now, clocks))
        for member, _ in family.members
    }
    moments = [
        moment
        for pieces in drawn.values()
        for since, started, end, _ in pieces
        for moment in (since, started, end)
        if moment is not None
    ]
    if not moments:
        yield "No event with a time was received."
        return
    first, span = min(moments), max(moments) - min(moments)
    ends = {uuid: pieces[-1].end for uuid, pieces in drawn.items() if pieces}
    path = family.led_to_the_end(ends)
    glyphs = _ASCII_BARS if context.ascii else _BARS

    shown = len(family.members)
    of = f" of {family.total}" if family.total > shown else ""
    yield f"{shown}{of} task{'' if shown == 1 and not of else 's'}, by the senders' clocks"
    for sender, skew in [*clocks.items()][:_CLOCKS_SHOWN]:
        side = "ahead" if skew > 0 else "behind"
        name = one_line(sender, _NAME_COLS)
        yield f"corrected: the clock of {name} is {human_duration(abs(skew))} {side}"
    if len(clocks) > _CLOCKS_SHOWN:
        yield f"corrected: {len(clocks) - _CLOCKS_SHOWN} more clocks"

    wanted = max(len(prefix) + len(member.name or "?") for member, prefix in family.members)
    names = max(8, min(wanted, _NAME_COLS, cols // 3))
    # Two marks, three gaps, and the duration.
    room = max(8, cols - names - _DURATION_COLS - 5)
    start, total = context.time_of_day(first, millis=True), f"+{human_duration(span)}"
    axis = f"{start} {glyphs[2] * max(1, room - len(start) - len(total) - 2)} {total}"
    yield f"   {'':<{names}} {axis}"
    for member, prefix in family.members:
        # Of what is deep, the branch next to its name.
        branch = prefix[-(names // 2) :]
        name = pad(branch + _name(member, max(1, names - len(branch))), names)
        marks = (">" if member is task else " ") + ("*" if member.uuid in path else " ")
        bar = _drawn(drawn[member.uuid], first, span, room, glyphs)
        ran = _duration(run_of(member, context.now)) or "-"
        yield f"{marks} {name} {bar} {ran:>{_DURATION_COLS}}"
    used = {_END_MARKS.get(piece.outcome) for pieces in drawn.values() for piece in pieces}
    words = {glyphs[0]: "waits", glyphs[1]: "runs"}
    words |= {mark: word for mark, word in _MARKS.items() if mark in used}
    yield ""
    yield "  ".join(f"{mark} {word}" for mark, word in words.items())
    if path:
        yield "* the last to end, and those that led to it by sending"
