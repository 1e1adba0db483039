"""Tasks: one row for each that is remembered, the newest first; or as trees; and their detail."""

import copy
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from evtools.clock import Clock
from evtools.filters import FieldTable, running_since, task_fields
from evtools.state import ALIVE, State, Task
from evtools.text import elide_middle, human_duration, sanitize
from evtools.top.columns import (
    Column,
    RenderContext,
    Slot,
    as_text,
    count_column,
    duration_column,
    finite,
    id_column,
    name_column,
    one_line,
    text_column,
    text_of,
    time_column,
    was_cut,
)
from evtools.top.index import Order
from evtools.top.table import Detail, LiveTable, labelled, paragraph, raw
from evtools.top.views.events import story_of
from evtools.wire import Event

#: State: its word on the screen, and its style.
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "PENDING": ("SENT", "waiting"),
    "RECEIVED": ("RECV", "waiting"),
    "STARTED": ("RUN", "running"),
    "SUCCESS": ("OK", "good"),
    "FAILURE": ("FAIL", "failure"),
    "RETRY": ("RETRY", "retry"),
    "REVOKED": ("REVOKE", "retry"),
    "REJECTED": ("REJECT", "failure"),
    "CANCELLED": ("CANCEL", "retry"),
}
LOST: Final = ("LOST?", "late")

_ID_CHARS: Final = 8
#: Where a state stands in the order of states.
# fmt: off
_ORDER: Final = (
    "FAILURE", "REJECTED", "RETRY", "REVOKED", "CANCELLED",
    "STARTED", "RECEIVED", "PENDING", "SUCCESS",
)
# fmt: on
_RANKS: Final = {state: rank for rank, state in enumerate(_ORDER)}
#: From how many rows trees are grown: from all of them it would take too long.
_TREES: Final = 2_000
_FAILURES: Final = frozenset({"FAILURE", "REJECTED"})


def state_of(task: Any, now: float) -> tuple[str, str]:
    """Return the word for the state a task is in, and its style."""
    return LOST if task.lost(now) else STATES.get(task.state, (as_text(task.state), ""))


def run_of(task: Any, now: float) -> float | None:
    """Return how long a task ran or has run so far; unknown if it may be lost."""
    known: float | None = task.runtime
    if known is not None:
        return known
    since = running_since(task)
    return None if since is None or task.lost(now) else max(0.0, now - since)


def _outcome(task: Any, _: float) -> Any:
    """Return the exception or result of a task, or else its newest custom event."""
    if task.exception is not None:
        return task.exception
    if task.result is not None or not task.note:
        return task.result
    return story_of(task.note)


def _rank(task: Any, now: float) -> int:
    return -1 if task.lost(now) else _RANKS.get(task.state, len(_RANKS))


# fmt: off
_BEFORE: Final = (
    text_column("state", "STATE", "its state; LOST?: its worker has disappeared or restarted",
        lambda task, now: state_of(task, now)[0], order=_rank, cols=6,
        moves=lambda task: task.state in ("RECEIVED", "STARTED")),
    name_column("name", "TASK", "the type of task", "name",
        format=lambda value, _: value or "?", cols=18, flex=2),
    id_column("uuid", "UUID", "its id, or the start of it", "uuid", wide_cols=36, from_cols=80),
    name_column("worker", "WORKER", "the worker that has it", "worker_name",
        cols=10, max_cols=40, from_cols=80),
    name_column("queue", "QUEUE", "the queue it was sent to, known from task-sent",
        "queue_or_none", cols=9, flex=0, wide_cols=12, from_cols=100),
    id_column("root", "ROOT", "the id of the first task of its workflow, if that is another",
        lambda task, _: None if task.root_id == task.uuid else task.root_id, from_cols=140),
    count_column("retries", "TRY", "number of retries", "retries", cols=3, from_cols=100),
    duration_column("wait", "WAIT",
        "time from sent (or received) to started, minus its ETA", "wait", from_cols=100),
    duration_column("runtime", "RUN", "how long it ran, or has run so far", run_of,
        moves=lambda task: task.state == "STARTED"),
)
_AGE: Final = time_column("age", "AGE", "time of its last event", "local_received", cols=6)
_OUTCOME: Final = text_column("outcome", "EXCEPTION / RESULT", "exception, result or progress",
    _outcome, format=lambda value, _: "" if value is None else as_text(value),
    cols=18, flex=3, from_cols=100)
# fmt: on
COLUMNS: Final = (*_BEFORE, _AGE, _OUTCOME)
#: Times of day take more room than ages.
_WITH_TIMES: Final = (*_BEFORE, replace(_AGE, title="TIME", cols=8), _OUTCOME)


class TasksView(LiveTable[Task]):
    """The tasks that a state remembers, kept in order as they change."""

    name = "tasks"
    title = "Tasks"
    noun = "tasks"
    default_sort = "age"

    def __init__(self, state: State, clock: Clock, now: Callable[[], float]) -> None:
        self._state = state
        self._fields = task_fields(now)
        #: Whether rows are shown as trees, and which nodes are closed.
        self.tree = False
        self.closed: set[str] = set()
        self._prefixes: dict[str, str] = {}
        #: The number of the last event that was noted.
        self._noted = 0
        super().__init__(clock, now)
        state.on_forget = lambda task: self._index.forget([task.uuid])

    def _is_alive(self, key: str, subject: Task) -> bool:
        return subject.stored_in.get(key) is subject

    # --- what happens ------------------------------------------------------------

    def note(self) -> None:
        """Note which tasks have changed, also while the table is frozen."""
        changed = self._state.tasks.changed_since(self._noted)
        self._index.take((task.uuid, task) for task in changed)
        self._noted = self._state.event_count

    def _note(self) -> None:
        self.note()

    def keep(self, events: Iterable[Event]) -> None:
        """Before these events change tasks, put copies of those into the frozen table."""
        subjects, live = self._index.subjects, self._state.tasks
        for event in events:
            task = subjects.get(event.uuid)
            if task is not None and live.get(task.uuid) is task:
                self._index.substitute(task.uuid, copy.copy(task))

    def freeze(self, context: RenderContext) -> None:
        """Make a last picture, of all tasks: they change while it stands still."""
        self.note()
        self._index.settle()
        super().freeze(context)

    # --- what is in it --------------------------------------------------------------

    @property
    def columns(self) -> tuple[Column, ...]:
        return COLUMNS if self.context.time_style == "age" else _WITH_TIMES

    @property
    def fields(self) -> FieldTable:
        return self._fields

    def style_of(self, subject: Task) -> str:
        return state_of(subject, self.context.now)[1]

    def _order(self) -> Order | None:
        descending = self.reverse
        if self.sort_key == self.default_sort and descending:
            return None
        column = self._column(self.sort_key)
        return lambda tasks: column.sort_values(tasks, self.context.now, descending=descending)

    def _arranged(self) -> Sequence[str]:
        keys = super()._arranged()
        if not self.tree:
            return keys
        nodes = self._grown(keys)
        self._prefixes = {node.key: node.prefix for node in nodes}
        return [node.key for node in nodes]

    # --- trees ----------------------------------------------------------------------

    def _grown(self, keys: Sequence[str]) -> list["Node"]:
        """Return the trees of the first of `keys`; there may be too many to grow."""
        shown, subjects = self._index, self._index.subjects
        self.closed = {key for key in self.closed if key in subjects}
        children = self._state.children
        return grow(
            tops(keys[:_TREES], lambda uuid: subjects[uuid].parent_id, shown),
            lambda uuid: [child.uuid for child in children(uuid) if child.uuid in shown],
            closed=self.closed,
            ascii_only=self.context.ascii,
        )

    def toggle_tree(self) -> None:
        """Show tasks as a call tree, or as a list again."""
        self.tree = not self.tree
        self._rearrange()

    def expand(self, *, shut: bool = False) -> None:
        """Open the node under the cursor, or shut it."""
        if self.tree and self.focus_key is not None:
            if shut:
                self.closed.add(self.focus_key)
            else:
                self.closed.discard(self.focus_key)
            self._rearrange()

    def toggle_all(self) -> None:
        """Shut all nodes that have children, or open all if some are shut."""
        if not self.tree:
            return
        if self.closed:
            self.closed.clear()
        else:
            self.closed.update(key for key in self.cursor.keys if self._state.children(key))
        self._rearrange()

    def _cell(self, slot: Slot, key: str, subject: Task) -> str:
        prefix = self._prefixes.get(key, "") if self.tree else ""
        if slot.column.name != "name" or not prefix:
            return slot.cell(subject, self.context)
        room = max(1, slot.cols - len(prefix))
        name = Slot(slot.column, room).cell(subject, self.context)
        return slot.fitted(prefix + name, ascii_only=self.context.ascii)

    # --- ways from a row ------------------------------------------------------------

    def detail(self, key: str) -> Detail | None:
        task = self.subject(key)
        return None if task is None else task_detail(task, self.context, self._state)

    def values(self, key: str) -> Mapping[str, str]:
        task = self.subject(key)
        if task is None:
            return {}
        found = {
            "name": task.name,
            "worker": task.worker_name,
            "state": task.state if task.state in STATES else None,
            "queue": task.queue_or_none,
            "exc": task.exception,
            "root": task.root_id,
        }
        return {field: value for field, value in found.items() if value}

    def next_failure(self, step: int) -> bool:
        """Go to the next (1) or previous (-1) failure; return False if there is none."""
        return self.seek(lambda task: task.state in _FAILURES, step)

    def jump_to_parent(self) -> str:
        """Go to the task that called this one; return why that is impossible, or ""."""
        task = self.subject(self.focus_key or "")
        if task is None:
            return "no task is selected"
        if task.parent_id is None:
            return "this task has no known parent"
        if self.cursor.to_key(task.parent_id):
            return ""
        known = task.parent_id in self._index.subjects
        shown = sanitize(task.parent_id[:_ID_CHARS])
        return f"its parent {shown} is {'not shown' if known else 'not remembered'}"

    def record(self, key: str) -> dict[str, Any]:
        """Return all fields of a task as plain values."""
        task = self.subject(key)
        return {} if task is None else {**plain_task(task), "lost": task.lost(self.context.now)}


# --- trees, made flat -----------------------------------------------------------

_TREE_ROWS_MAX: Final = 5_000
MAX_DEPTH: Final = 40


class _Signs(NamedTuple):
    """What is drawn before a node, by whether others follow it at its depth."""

    branch: Mapping[bool, str]
    line: Mapping[bool, str]


_UNICODE: Final = _Signs({True: "├─ ", False: "└─ "}, {True: "│  ", False: "   "})
_ASCII: Final = _Signs({True: "|- ", False: "`- "}, {True: "|  ", False: "   "})
_CLOSED: Final = "+ "


class Node(NamedTuple):
    """A row of a tree; `prefix` draws the branches that lead to it."""

    key: str
    prefix: str


def grow(
    roots: Iterable[str],
    children: Callable[[str], Collection[str]],
    *,
    closed: Collection[str] = (),
    ascii_only: bool = False,
    max_rows: int = _TREE_ROWS_MAX,
) -> list[Node]:
    """Return the nodes of the trees under `roots`, each before its children.

    Every key comes once, whatever cycles there are.  A node that is `closed`, or too
    deep, hides its children.
    """
    signs = _ASCII if ascii_only else _UNICODE
    nodes: list[Node] = []
    seen: set[str] = set()
    #: A key, what is drawn before its branch, and whether siblings follow; None for a root.
    waiting: list[tuple[str, str, bool | None]] = [(key, "", None) for key in roots]
    waiting.reverse()
    while waiting and len(nodes) < max_rows:
        key, indent, followed = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        below = [child for child in children(key) if child not in seen]
        hides = bool(below) and (key in closed or len(indent) >= 3 * MAX_DEPTH)
        branch = "" if followed is None else signs.branch[followed]
        nodes.append(Node(key, indent + branch + (_CLOSED if hides else "")))
        if below and not hides:
            deeper = indent + ("" if followed is None else signs.line[followed])
            waiting += [(child, deeper, child is not below[-1]) for child in reversed(below)]
    return nodes


def tops(
    keys: Iterable[str], parent: Callable[[str], str | None], shown: Container[str]
) -> Iterator[str]:
    """Yield the topmost ancestor that is shown of each key, each of them once.

    In a cycle, that is the one where the walk closes it.
    """
    top: dict[str, str] = {}
    for key in keys:
        path: list[str] = []
        at = key
        while at not in top:
            path.append(at)
            top[at] = at
            above = parent(at)
            if above is None or above not in shown:
                break
            at = above
        highest = top[at]
        if at in path and highest == at:
            yield at
        for each in path:
            top[each] = highest


# --- the detail -----------------------------------------------------------------

_CUT_NOTE: Final = "(cut by the sender: Celery sends 1024 characters)"
_NAME_COLS: Final = 40
_VALUE_COLS: Final = 60
_FAMILY_MAX: Final = 500
#: From this number of seconds on, the skew of a clock is shown beside its times.
_SKEW_SHOWN: Final = 1.0
#: The moments of an attempt or a task, in order: attributes, and words.
# fmt: off
_MOMENTS: Final = (
    "sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected",
    "cancelled",
)
# fmt: on


def task_detail(task: Any, context: RenderContext, state: Any) -> Detail:
    """Return all that is known of a task; `state` knows its family."""
    sections = {
        "Traceback": _traceback(task),
        "Info": _info(task, context),
        "Args": _arguments(task),
        "Timeline": tuple(_timeline(task, context)),
        "Tree": _family(task, context, state),
        "Raw": raw({name: value for name, value in plain_task(task).items() if value is not None}),
    }
    title = f"{one_line(as_text(task.name or '?'), _NAME_COLS)} {_short(task.uuid)}"
    lines = (_state_line(task, context), *_argument_line(task), _time_line(task, context))
    lines += (_tree_line(task, state),)
    return Detail(title, lines, sections, "Traceback" if task.traceback else "Args")


def _short(value: Any) -> str:
    return one_line(as_text(value), _VALUE_COLS)


def _state_line(task: Any, context: RenderContext) -> str:
    line = f"state   {as_text(task.state)}"
    if task.lost(context.now):
        is_there = task.worker.status(context.now) in ALIVE
        left = "its process" if is_there else "its worker"
        line = f"state   LOST? ({left} has disappeared)"
    run = run_of(task, context.now)
    if run is not None:
        line += f" after {human_duration(run)}"
    if task.worker_name is not None:
        line += f" on {as_text(task.worker_name)}"
    return sanitize(line if task.pid is None else f"{line} pid {as_text(task.pid)}")


def _argument_line(task: Any) -> Iterator[str]:
    if task.args is None and task.kwargs is None:
        yield "args    unknown: received before evtop connected"
        return
    args, kwargs = (_short("?" if each is None else each) for each in (task.args, task.kwargs))
    cut = f"  {_CUT_NOTE}" if was_cut(task.args) or was_cut(task.kwargs) else ""
    yield f"args    {args}   kwargs {kwargs}{cut}"


def _moments(attempt: Any) -> dict[str, float]:
    """Return the moments of an attempt that are known, by their words."""
    found = {name: finite(getattr(attempt, name, None)) for name in _MOMENTS}
    return {name: moment for name, moment in found.items() if moment is not None}


def _time_line(task: Any, context: RenderContext) -> str:
    parts: list[str] = []
    moments = _moments(task)
    first = next(iter(moments.values()), 0.0)
    for word, moment in moments.items():
        when = _relative(moment - first) if parts else context.time_of_day(moment, millis=True)
        parts.append(f"{word} {when}")
    if task.queue_or_none is not None:
        parts.append(f" queue {one_line(as_text(task.queue_or_none), _NAME_COLS)}")
    if task.retries is not None:
        parts.append(f" retries {as_text(task.retries)}")
    return "time    " + ("  ".join(parts) or "unknown") + _clock_note(task)


def _clock_note(task: Any) -> str:
    """Return how far the clock behind most of these times is off, if that shows."""
    skew = finite(task.worker.skew) if task.worker is not None else None
    if skew is None or abs(skew) < _SKEW_SHOWN:
        return ""
    side = "ahead" if skew > 0 else "behind"
    return f"   (the worker's clock is {human_duration(abs(skew))} {side})"


def _relative(seconds: float) -> str:
    return ("+" if seconds >= 0 else "") + human_duration(seconds)


def _tree_line(task: Any, state: Any) -> str:
    parts = []
    for role, uuid in (("root", task.root_id), ("parent", task.parent_id)):
        if uuid is not None and uuid != task.uuid:
            known = state.tasks.get(uuid)
            name = f" {as_text(known.name)}" if known is not None and known.name else ""
            parts.append(f"{role} {as_text(uuid)[:_ID_CHARS]}{name}")
    count = len(state.children(task.uuid))
    if not parts and not count:
        return "tree    no children"
    children = [f"{count} child" if count == 1 else f"{count} children"] if count else []
    return sanitize("tree    " + " > ".join([*parts, "this", *children]))


def _traceback(task: Any) -> tuple[str, ...]:
    if task.traceback is not None:
        return paragraph(as_text(task.traceback))
    if task.exception is not None:
        return ("The event had no traceback.", "", *paragraph(as_text(task.exception)))
    return ("No traceback: the task did not raise.",)


def _info(task: Any, context: RenderContext) -> tuple[str, ...]:
    word, _ = state_of(task, context.now)
    # fmt: off
    return labelled((
        ("uuid", text_of(task.uuid)),
        ("name", text_of(task.name) or "unknown: received before evtop connected"),
        ("state", f"{as_text(task.state)} ({word})"),
        ("last event", context.moment(finite(task.local_received))),
        ("worker", text_of(task.worker_name)),
        ("pid", text_of(task.pid)),
        ("client", text_of(task.client)),
        ("queue", text_of(task.queue_or_none)),
        ("exchange", text_of(task.exchange)),
        ("routing key", text_of(task.routing_key)),
        ("retries", text_of(task.retries)),
        ("waited", _duration(task.wait)),
        ("in the queue", _duration(task.queue_time)),
        ("ran", _duration(run_of(task, context.now))),
        ("eta", text_of(task.eta)),
        ("expires", text_of(task.expires)),
        ("terminated", text_of(task.get("terminated"))),
        ("signal", text_of(task.get("signum"))),
        ("expired", text_of(task.get("expired"))),
        ("requeued", text_of(task.get("requeue"))),
        ("root", text_of(task.root_id)),
        ("parent", text_of(task.parent_id)),
        ("progress", story_of(task.note) if task.note else None),
        ("memory", f"{as_text(task.weight_bytes)} bytes"),
    ))
    # fmt: on


def _duration(seconds: Any) -> str | None:
    known = finite(seconds)
    return None if known is None else human_duration(known)


def _arguments(task: Any) -> tuple[str, ...]:
    lines: list[str] = []
    for name in ("args", "kwargs", "result", "exception"):
        value = getattr(task, name)
        if value is None:
            continue
        lines += [name, *(f"  {line}" for line in paragraph(as_text(value)))]
        if was_cut(value):
            lines.append(f"  {_CUT_NOTE}")
    return tuple(lines) or ("Unknown: received before evtop connected.",)


def _timeline(task: Any, context: RenderContext) -> Iterator[str]:
    attempts = [*task.attempts, task]
    moments = [moment for attempt in attempts for moment in _moments(attempt).values()]
    if not moments:
        yield "No event with a time was received."
        return
    first = min(moments)
    yield f"from {context.time_of_day(first, millis=True)} on, by the senders' clocks"
    for number, attempt in enumerate(attempts):
        where = f" on {as_text(attempt.worker_name)}" if attempt.worker_name else ""
        retries = getattr(attempt, "retries", None)
        yield sanitize(f"attempt {as_text(number if retries is None else retries)}{where}")
        yield from _steps(attempt, first)


def _steps(attempt: Any, first: float) -> Iterator[str]:
    steps = list(_moments(attempt).items())
    ended = finite(getattr(attempt, "ended", None))
    if ended is not None and all(moment != ended for _, moment in steps):
        steps.append((as_text(attempt.state), ended))
    before = None
    for word, moment in sorted(steps, key=lambda step: step[1]):
        since = "" if before is None else f"  ({_relative(moment - before)})"
        yield f"  {_relative(moment - first):>9}  {sanitize(word)}{since}"
        before = moment
    exception = getattr(attempt, "exception", None)
    if exception is not None:
        yield f"  {'':>9}  {one_line(as_text(exception), 4 * _VALUE_COLS)}"


def _family(task: Any, context: RenderContext, state: Any) -> tuple[str, ...]:
    root = task.root_id if task.root_id is not None else task.uuid
    family = {each.uuid: each for each in state.family(root)[:_FAMILY_MAX]}
    family[task.uuid] = task
    below: dict[str, list[str]] = {}
    for each in family.values():
        below.setdefault(each.parent_id, []).append(each.uuid)
    nodes = grow(
        tops(family, lambda uuid: family[uuid].parent_id, family),
        lambda uuid: below.get(uuid, []),
        ascii_only=context.ascii,
    )
    return tuple(_member(node.prefix, family[node.key], task, context) for node in nodes)


def _member(prefix: str, member: Any, task: Any, context: RenderContext) -> str:
    mark = ">" if member.uuid == task.uuid else " "
    name = elide_middle(sanitize(as_text(member.name or "?")[:1024]), _NAME_COLS)
    word, _ = state_of(member, context.now)
    ran = _duration(run_of(member, context.now)) or ""
    uuid = sanitize(as_text(member.uuid)[:_ID_CHARS])
    return f"{mark} {prefix}{name} {uuid} {sanitize(word)} {ran}".rstrip()


#: The fields of a task in an export, in this order.
# fmt: off
_EXPORTED: Final = (
    "uuid", "name", "state", "hostname", "client", "pid", "queue", "exchange", "routing_key",
    "args", "kwargs", "result", "exception", "traceback", "retries", "eta", "expires",
    "root_id", "parent_id", "runtime", "wait", "sent", "received", "started", "succeeded",
    "failed", "retried", "revoked", "rejected", "cancelled", "terminated", "signum", "expired",
    "requeue", "timestamp", "local_received", "clock", "note",
)
# fmt: on


def plain_task(task: Any) -> dict[str, Any]:
    """Return the fields of a task as plain values, in a fixed order."""
    return {name: task.get(name) for name in _EXPORTED}
