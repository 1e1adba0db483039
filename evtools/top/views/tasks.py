"""Tasks: one row for each that is remembered, the newest first."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from evtools.clock import Clock
from evtools.filters import FieldTable, task_fields
from evtools.state import State, Task
from evtools.text import sanitize
from evtools.top.cells import (
    count_column,
    duration_column,
    id_column,
    name_column,
    text_column,
    time_column,
)
from evtools.top.columns import Column, Lens, Slot
from evtools.top.detail import Detail
from evtools.top.index import Order
from evtools.top.projected import ProjectedTable
from evtools.top.task_detail import plain_task, run_of, state_of, task_detail
from evtools.top.tree import Node, grow, tops
from evtools.top.wording import STATES, event_story, said
from evtools.wire import EventFields

_UUID_CHARS: Final = 8
#: Where a state stands in the order of states.
_RANKS: Final = {
    state: rank
    for rank, state in enumerate(
        (
            *("FAILURE", "REJECTED", "RETRY", "REVOKED", "CANCELLED"),
            *("STARTED", "RECEIVED", "PENDING", "SUCCESS"),
        )
    )
}
#: Of so many rows trees are grown: of all of them that would take too long.
_TREES: Final = 2_000
_FAILURES: Final = frozenset({"FAILURE", "REJECTED"})


def _outcome(task: Any, _: float) -> Any:
    """Return what became of a task, or the newest it told of itself."""
    if task.exception is not None:
        return task.exception
    if task.result is not None or not task.note:
        return task.result
    return event_story(task.note)


def _rank(task: Any, now: float) -> int:
    return -1 if task.lost(now) else _RANKS.get(task.state, len(_RANKS))


_BEFORE: Final = (
    text_column(
        "state",
        "STATE",
        "the state it is in; LOST? is one whose worker has gone or restarted",
        lambda task, now: state_of(task, now)[0],
        order=_rank,
        moves=lambda task: task.state in ("RECEIVED", "STARTED"),
        cols=6,
    ),
    name_column(
        "name",
        "TASK",
        "the type of task",
        "name",
        say=lambda value, _: value or "?",
        cols=18,
        flex=2,
    ),
    id_column("uuid", "UUID", "its id, or the start of it", "uuid", wide_cols=36, from_cols=80),
    name_column(
        "worker",
        "WORKER",
        "the worker that has it",
        "worker_name",
        cols=10,
        max_cols=40,
        from_cols=80,
    ),
    name_column(
        "queue",
        "QUEUE",
        "the queue it was sent to, if task-sent told",
        "queue_or_none",
        cols=9,
        flex=0,
        wide_cols=12,
        from_cols=100,
    ),
    id_column(
        "root",
        "ROOT",
        "the id of the first task of its workflow, if that is another",
        lambda task, _: None if task.root_id == task.uuid else task.root_id,
        from_cols=140,
    ),
    count_column("retries", "TRY", "how often it was retried", "retries", cols=3, from_cols=100),
    duration_column(
        "wait",
        "WAIT",
        "from sent, or else received, to started, less what it was meant to wait",
        "wait",
        from_cols=100,
    ),
    duration_column(
        "runtime",
        "RUN",
        "how long it ran, or has run so far",
        run_of,
        moves=lambda task: task.state == "STARTED",
    ),
)
_AGE: Final = time_column("age", "AGE", "when we last heard of it", "local_received", cols=6)
_OUTCOME: Final = text_column(
    "outcome",
    "EXCEPTION / RESULT",
    "what it raised or returned, or told of its progress",
    _outcome,
    say=lambda value, _: "" if value is None else said(value),
    cols=18,
    flex=3,
    from_cols=100,
)
#: All columns; times of day take more room than ages.
COLUMNS: Final = (*_BEFORE, _AGE, _OUTCOME)
_WITH_TIMES: Final = (*_BEFORE, replace(_AGE, title="TIME", cols=8), _OUTCOME)


class TasksView(ProjectedTable[Task]):
    """The tasks that a state remembers, kept in order as they change."""

    name = "tasks"
    title = "Tasks"
    noun = "tasks"
    default_sort = "age"

    def __init__(self, state: State, clock: Clock, now: Callable[[], float]) -> None:
        self._state = state
        self._fields = task_fields(now)
        #: Whether rows stand as trees, and which nodes are closed.
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

    def _gather(self) -> None:
        self.note()

    def keep(self, events: Iterable[EventFields]) -> None:
        """Before these events change tasks, put copies of them into the picture.

        For a table that is frozen: the state goes on.
        """
        subjects, live = self._index.subjects, self._state.tasks
        for event in events:
            uuid = event.get("uuid")
            if not isinstance(uuid, str):
                continue
            task = subjects.get(uuid)
            if task is not None and live.get(uuid) is task:
                self._index.substitute(uuid, _still(task))

    def freeze(self, lens: Lens) -> None:
        """Make a last picture, of all tasks: they change while it stands still."""
        self.note()
        self._index.settle()
        super().freeze(lens)

    # --- what is in it --------------------------------------------------------------

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns there are, in their order."""
        return COLUMNS if self.lens.time_style == "age" else _WITH_TIMES

    @property
    def fields(self) -> FieldTable:
        """What its filter knows."""
        return self._fields

    def style_of(self, subject: Task) -> str:
        """Return the style of the task's state."""
        return state_of(subject, self.lens.now)[1]

    def _order(self) -> Order | None:
        descending = self.reverse
        if self.sort_key == self.default_sort and descending:
            return None
        column = self._column(self.sort_key)
        return lambda tasks: column.sort_values(tasks, self.lens.now, descending=descending)

    def _arranged(self) -> Sequence[str]:
        keys = super()._arranged()
        if not self.tree:
            return keys
        nodes = self._grown(keys)
        self._prefixes = {node.key: node.prefix for node in nodes}
        return [node.key for node in nodes]

    # --- trees ----------------------------------------------------------------------

    def _grown(self, keys: Sequence[str]) -> list[Node]:
        """Return trees of the first of `keys`; of more there are too many to grow."""
        shown, subjects = self._index, self._index.subjects
        self.closed = {key for key in self.closed if key in subjects}
        children = self._state.children

        def shown_children(uuid: str) -> list[str]:
            return [child.uuid for child in children(uuid) if child.uuid in shown]

        return grow(
            tops(keys[:_TREES], lambda uuid: subjects[uuid].parent_id, shown),
            shown_children,
            closed=self.closed,
            ascii_only=self.lens.ascii,
        )

    def toggle_tree(self) -> None:
        """Show trees of who called whom, or a list again."""
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
            keys = self.cursor.keys
            self.closed.update(key for key in keys if self._state.children(key))
        self._rearrange()

    def _cell(self, slot: Slot, key: str, subject: Task) -> str:
        prefix = self._prefixes.get(key, "") if self.tree else ""
        if slot.column.name != "name" or not prefix:
            return slot.cell(subject, self.lens)
        room = max(1, slot.cols - len(prefix))
        name = Slot(slot.column, room).cell(subject, self.lens)
        return slot.fitted(prefix + name, ascii_only=self.lens.ascii)

    # --- ways from a row ------------------------------------------------------------

    def detail(self, key: str) -> Detail | None:
        """Return all that is known of a task."""
        task = self.subject(key)
        return None if task is None else task_detail(task, self.lens, self._state)

    def values(self, key: str) -> Mapping[str, str]:
        """Return what of a task can be kept or excluded."""
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
        """Go to the next (1) or previous (-1) failure, if there is one."""
        return self.seek(lambda task: task.state in _FAILURES, step)

    def jump_to_parent(self) -> str:
        """Go to the task that called this one; return why that cannot be, or ""."""
        task = self.subject(self.focus_key or "")
        if task is None:
            return "no task is selected"
        if task.parent_id is None:
            return "this task has no parent, as far as we know"
        if self.cursor.to_key(task.parent_id):
            return ""
        known = task.parent_id in self._index.subjects
        shown = sanitize(task.parent_id[:_UUID_CHARS])
        return f"its parent {shown} is {'not shown' if known else 'not remembered'}"

    def record(self, key: str) -> dict[str, Any]:
        """Return all fields of a task as plain values."""
        task = self.subject(key)
        if task is None:
            return {}
        return {**plain_task(task), "lost": task.lost(self.lens.now)}


def _still(task: Task) -> Task:
    """Return a copy of a task that stays as it is."""
    return copy.copy(task)
