"""What can be done to a cluster: one table of actions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from evtools.state import OTHERS, UNKNOWN
from evtools.top import arguments as ask
from evtools.top.arguments import Argument
from evtools.top.choices import View

#: What an action is done to.
Kind: TypeAlias = Literal["task", "type", "worker", "queue"]
#: How it is confirmed: not at all, by `y` or the count, by the name.
Severity: TypeAlias = Literal["mild", "normal", "severe"]
Values: TypeAlias = Mapping[str, Any]


def _nothing_wrong(_: Values) -> None:
    """Accept all values: each was looked at by itself."""


@dataclass(frozen=True, slots=True)
class Action:
    """One row of the table.

    `key` chooses it in the menu.  `command` is the workers' name for it, and
    `subject` that command's argument which takes the target: a list of them
    if `takes_many`, else each target is a command of its own.  A command
    without a subject is sent to the targets, which are workers.  `constants`
    are arguments that never change.  `check` raises ValueError for values
    that contradict each other.  `answers` tells whether workers reply.
    `consequence` is a sentence for the dialog.
    """

    name: str
    key: str
    title: str
    kind: Kind
    command: str
    consequence: str
    subject: str = ""
    takes_many: bool = False
    arguments: tuple[Argument, ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    severity: Severity = "normal"
    check: Callable[[Values], None] = _nothing_wrong
    answers: bool = True


def _check_limits(values: Values) -> None:
    soft, hard = values["soft"], values["hard"]
    if soft is not None and hard is not None and soft >= hard:
        raise ValueError("the soft limit must be shorter than the hard one")


def _check_autoscale(values: Values) -> None:
    if values["min"] > values["max"]:
        raise ValueError("the least must not be more than the most")


_QUEUE: Final = Argument("queue", "queue", "its name", ask.queue)
_COUNT: Final = Argument("n", "processes", "how many", ask.processes, default="1")

#: Actions by the kind of their target, in the order of the menu.
ACTIONS: Final = (
    Action(
        *("revoke", "C", "Revoke", "task", "revoke"),
        "Workers will not start it. If it runs already, it goes on.",
        subject="task_id",
        takes_many=True,
    ),
    Action(
        *("terminate", "K", "Revoke and terminate", "task", "revoke"),
        "Workers will not start it. If it runs, its process gets the signal.",
        subject="task_id",
        takes_many=True,
        arguments=(
            Argument(
                *("signal", "signal", "SIGTERM asks, SIGKILL does not"),
                ask.signal_name,
                choices=ask.SIGNALS,
            ),
        ),
        constants=(("terminate", True),),
    ),
    Action(
        *("rate-limit", "L", "Limit the rate", "type", "rate_limit"),
        "Each worker starts no more tasks of this type than that, until it restarts.",
        subject="task_name",
        arguments=(
            Argument(*("rate_limit", "rate", "10/s, 100/m or 5/h per worker; 0: none"), ask.rate),
        ),
    ),
    Action(
        *("time-limit", "T", "Limit the run time", "type", "time_limit"),
        # Celery 5 takes the limits of a type when it connects: it confirms the
        # command at once, and heeds it later.
        "Workers confirm this, but heed it only after they have connected anew.",
        subject="task_name",
        arguments=(
            Argument("soft", "soft limit", "30s, 5m; empty: none", ask.limit),
            Argument("hard", "hard limit", "1m, 10m; empty: none", ask.limit),
        ),
        check=_check_limits,
    ),
    Action(
        *("ping", "P", "Ping", "worker", "ping"),
        "Asks the worker to answer. Nothing changes.",
        severity="mild",
    ),
    Action(
        *("enable-events", "E", "Enable events", "worker", "enable_events"),
        "The worker tells what happens to its tasks.",
    ),
    Action(
        *("disable-events", "D", "Disable events", "worker", "disable_events"),
        "The worker no longer tells what happens to its tasks; no monitor sees them.",
    ),
    Action(
        *("pool-grow", "G", "Grow the pool", "worker", "pool_grow"),
        "The worker starts more processes.",
        arguments=(_COUNT,),
    ),
    Action(
        *("pool-shrink", "H", "Shrink the pool", "worker", "pool_shrink"),
        "The worker ends processes when they have nothing to do.",
        arguments=(_COUNT,),
    ),
    Action(
        *("autoscale", "A", "Autoscale", "worker", "autoscale"),
        "The pool grows and shrinks between these; only where it does so already.",
        arguments=(
            Argument("max", "at the most", "processes", ask.processes),
            Argument("min", "at the least", "processes", ask.least_processes, "0"),
        ),
        check=_check_autoscale,
    ),
    Action(
        *("add-consumer", "B", "Begin to consume a queue", "worker", "add_consumer"),
        "The worker also takes tasks from this queue, until it restarts.",
        arguments=(_QUEUE,),
    ),
    Action(
        *("cancel-consumer", "X", "Stop consuming a queue", "worker"),
        *("cancel_consumer", "The worker takes no more tasks from this queue."),
        arguments=(_QUEUE,),
    ),
    Action(
        *("shutdown", "S", "Shut down", "worker", "shutdown"),
        "The worker ends its running tasks and exits. Something else must start it again.",
        severity="severe",
        answers=False,
    ),
    Action(
        *("queue-add", "B", "Have a worker consume it", "queue", "add_consumer"),
        "The worker also takes tasks from this queue, until it restarts.",
        subject="queue",
        arguments=(Argument("worker", "worker", "its full name", ask.node),),
    ),
    Action(
        *("queue-cancel", "X", "Have nobody consume it", "queue", "cancel_consumer"),
        "No worker takes tasks from this queue any more; they pile up in it.",
        subject="queue",
        severity="severe",
    ),
)

BY_NAME: Final = {action.name: action for action in ACTIONS}

#: What a row of each view can be a target as.
_KINDS_OF: Final[Mapping[View, tuple[Kind, ...]]] = {
    "tasks": ("task", "type"),
    "types": ("type",),
    "workers": ("worker",),
    "queues": ("queue",),
    "events": ("task", "type"),
    "errors": ("type",),
}


#: Views whose keys name no task, type, worker or queue.
_KEYED_OTHERWISE: Final = ("events", "errors")
_FIELD_OF: Final[Mapping[Kind, str]] = {
    "task": "uuid",
    "type": "name",
    "worker": "worker",
    "queue": "queue",
}


def actions_for(view: View, *, read_only: bool) -> Iterator[Action]:
    """Yield what can be done to a row of `view`; nothing in read-only mode."""
    if not read_only:
        kinds = _KINDS_OF[view]
        yield from (action for action in ACTIONS if action.kind in kinds)


def target_of(action: Action, view: View, key: str, values: Mapping[str, str]) -> str | None:
    """Return what `action` would be done to, None if a row does not say.

    `key` and `values` are the row's: its key, and its fields by name.
    """
    by_key = _KINDS_OF[view][0] == action.kind and view not in _KEYED_OTHERWISE
    target = key if by_key else values.get(_FIELD_OF[action.kind])
    return None if target in (OTHERS, UNKNOWN) else target
