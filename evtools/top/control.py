"""Changes to the cluster: actions, their questions, requests, and the thread that sends them."""

import getpass
import json
import logging
import os
import re
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.state import ALIVE, OTHERS, UNKNOWN, State
from evtools.text import human_duration, parse_duration, sanitize
from evtools.top.options import View
from evtools.transport import ConnectionSettings, call, explain
from evtools.transport.control import DEADLINE, TaskCall, send_tasks
from evtools.transport.queues import purge

#: The kinds of targets.
Kind: TypeAlias = Literal["task", "type", "worker", "queue", "stamp"]
Values: TypeAlias = Mapping[str, Any]

# --- actions ----------------------------------------------------------------------------

_NAME_MAX_BYTES: Final = 255
_PROCESSES_MAX: Final = 1000
_WHOLE: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
#: As Celery parses it: tasks per second, or per the unit given.
_RATE_TEXT: Final = re.compile(r"\d{1,9}(?:\.\d{1,6})?(?:/[smh])?", re.ASCII)


def _shown(text: str) -> str:
    return f'"{sanitize(text[:40])}"'


def _rate(text: str) -> str:
    if _RATE_TEXT.fullmatch(text) is None:
        raise ValueError(f"invalid rate {_shown(text)} (use 10/s, 100/m, 5/h; 0: none)")
    return text


def _limit(text: str) -> float | None:
    seconds = parse_duration(text) if text else None
    if seconds is not None and seconds <= 0:
        raise ValueError("a limit must be longer than zero (empty: no limit)")
    return seconds


def _processes(text: str, least: int = 1) -> int:
    count = int(text[:_NAME_MAX_BYTES]) if text.isascii() and text.isdecimal() else -1
    if count < least:
        raise ValueError(f"{_shown(text)} is not a whole number from {least} up")
    if count > _PROCESSES_MAX:
        raise ValueError(f"{_PROCESSES_MAX} is the most at once")
    return count


def _name(text: str, noun: str = "queue") -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{_shown(text)} is not a name of a {noun}")
    if len(text.encode()) > _NAME_MAX_BYTES:
        raise ValueError(f"longer than {_NAME_MAX_BYTES} bytes")
    if noun == "worker" and "@" not in text:
        raise ValueError(f"{_shown(text)} is not a worker (use celery@web-1)")
    return text


def _stamp(text: str) -> str:
    header, equals, value = text.partition("=")
    if not (header and equals and value and text.isprintable()):
        raise ValueError(f"{_shown(text)} is not a stamp")
    if len(text.encode()) > _NAME_MAX_BYTES:
        raise ValueError(f"longer than {_NAME_MAX_BYTES} bytes")
    return text


def _header_of(stamp: str) -> dict[str, list[Any]]:
    # A stamp may be a number, which is another one to workers.
    header, _, value = stamp.partition("=")
    return {header: [value, int(value)] if _WHOLE.fullmatch(value) else [value]}


class Argument(NamedTuple):
    """One question of an action: its name in the command, a word for it, how to answer.

    `parse` makes the value of an answer without blanks around it, or raises ValueError with a
    message for the user.  With `choices` one of them is taken, the first by default.
    """

    name: str
    title: str
    question: str
    parse: Callable[[str], Any]
    default: str = ""
    choices: tuple[str, ...] = ()


class Action(NamedTuple):
    """One row of the table of actions.

    `key` chooses it in the menu.  `command` is the workers' name for it, `consequence` a
    sentence for the dialog.  `severity` is how it is confirmed: not at all, by `y` or the
    count, by the name.  Where not `answers`, workers do not reply; where it `shows` them, all
    replies are worth reading, and not those of failures only.

    `target` asks for the target, which then is that of no row.  `carry_out` does what is no
    command to the workers, and yields a reply for each target.
    """

    name: str
    key: str
    title: str
    kind: Kind
    command: str
    consequence: str
    arguments: tuple[Argument, ...] = ()
    severity: Literal["mild", "normal", "severe"] = "normal"
    answers: bool = True
    shows: bool = False
    target: Argument | None = None
    carry_out: "Callable[[ConnectionSettings, Request], Iterator[Reply]] | None" = None


def _purge(settings: ConnectionSettings, request: "Request") -> "Iterator[Reply]":
    for queue, purged in purge(settings, request.targets):
        deleted = purged.ready
        text = f"{deleted} message{'s' if deleted != 1 else ''} deleted"
        reason = f"nothing deleted: {purged.reason}"
        yield Reply.of(queue, reason if deleted is None else text, failed=deleted is None)


def _send_again(settings: ConnectionSettings, request: "Request") -> "Iterator[Reply]":
    sent = send_tasks(settings, request.calls)
    for target, task_id in zip(request.targets, sent, strict=True):
        yield Reply.of(target, f"sent as {task_id}", failed=False)


# fmt: off
_QUEUE: Final = Argument("queue", "queue", "Queue to consume", _name)
_COUNT: Final = Argument("n", "processes", "Number of processes", _processes, "1")
_MOST: Final = Argument("max", "maximum", "Most processes", _processes)
_LEAST: Final = Argument("min", "minimum", "Fewest processes", partial(_processes, least=0), "0")
_SIGNAL: Final = Argument("signal", "signal", "SIGTERM asks, SIGKILL does not", str,
                          choices=("SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "SIGUSR1"))
_LET_RUN: Final = "let them run"
_RUNNING: Final = Argument("signal", "those that run", "A signal, or none",
                           lambda text: None if text == _LET_RUN else text,
                           choices=(_LET_RUN, *_SIGNAL.choices))
_STAMP: Final = Argument("stamp", "stamp", "HEADER=VALUE, as with monitoring_id=4711", _stamp)
_RATE: Final = Argument("rate_limit", "rate",
                        "Rate limit per worker (10/s, 100/m, 5/h; 0 = none)", _rate)
_SOFT: Final = Argument("soft", "soft limit", "30s, 5m; empty = none", _limit)
_HARD: Final = Argument("hard", "hard limit", "1m, 10m; empty = none", _limit)
_WORKER: Final = Argument("worker", "worker", "Full name of the worker",
                          partial(_name, noun="worker"))

#: Actions by the kind of their target, in the order of the menu.
ACTIONS: Final = (
    Action("revoke", "C", "Revoke", "task", "revoke",
           "Workers will skip it. If it is already running, it goes on."),
    Action("terminate", "K", "Revoke and terminate", "task", "revoke",
           "Workers will skip it. If it is already running, its process gets the signal.",
           (_SIGNAL,)),
    # What it is sent with is read from the events: see evtools.top.rerun.
    Action("run-again", "R", "Run again", "task", "",
           "A new message is sent, with a new id and the old task as its parent, to be run at once."
           " ETA, expiry, priority and limits, callbacks, chain, group and chord of the old one are"
           " not sent. What it did before may be done twice.",
           shows=True, carry_out=_send_again),
    Action("revoke-stamped", "M", "Revoke by a stamp", "stamp", "revoke_by_stamped_headers",
           "Until they restart, workers will skip every task with this stamp.",
           (_RUNNING,), shows=True, target=_STAMP),
    Action("rate-limit", "L", "Limit the rate", "type", "rate_limit",
           "Until it restarts, each worker starts tasks of this type at this rate at most.",
           (_RATE,)),
    # Celery 5 takes the limits of a type when it connects: it confirms the command at once,
    # and heeds it later.
    Action("time-limit", "T", "Limit the run time", "type", "time_limit",
           "Workers confirm this, but apply it only after they have reconnected.",
           (_SOFT, _HARD)),
    Action("ping", "P", "Ping", "worker", "ping",
           "Asks the worker to answer. Nothing changes.", severity="mild"),
    Action("enable-events", "E", "Enable events", "worker", "enable_events",
           "The worker sends task events from now on."),
    Action("disable-events", "D", "Disable events", "worker", "disable_events",
           "The worker stops sending task events; no monitor sees its tasks any more."),
    Action("pool-grow", "G", "Grow the pool", "worker", "pool_grow",
           "The worker starts more processes.", (_COUNT,)),
    Action("pool-shrink", "H", "Shrink the pool", "worker", "pool_shrink",
           "The worker ends processes when they are idle.", (_COUNT,)),
    # Celery refuses it unless the worker has the setting, and says so in its reply.
    Action("pool-restart", "R", "Restart the pool", "worker", "pool_restart",
           "Its processes end after the task that they run, and new ones take their places."
           " Refused unless worker_pool_restarts is set."),
    Action("autoscale", "A", "Autoscale", "worker", "autoscale",
           "The pool grows and shrinks between these; only where it does so already.",
           (_MOST, _LEAST)),
    Action("add-consumer", "B", "Add a queue", "worker", "add_consumer",
           "The worker also takes tasks from this queue, until it restarts.", (_QUEUE,)),
    Action("cancel-consumer", "X", "Stop consuming a queue", "worker", "cancel_consumer",
           "The worker takes no more tasks from this queue.", (_QUEUE,)),
    Action("shutdown", "S", "Shut down", "worker", "shutdown",
           "The worker finishes its running tasks and exits. evtop cannot start it again.",
           severity="severe", answers=False),
    Action("queue-add", "B", "Have a worker consume it", "queue", "add_consumer",
           "The worker also takes tasks from this queue, until it restarts.", (_WORKER,)),
    Action("queue-cancel", "X", "Stop all workers consuming it", "queue", "cancel_consumer",
           "No worker takes tasks from this queue any more; they pile up in it.",
           severity="severe"),
    Action("purge", "U", "Purge", "queue", "",
           "All messages that wait in it are deleted for good. What workers have taken from it,"
           " running, reserved or unacknowledged, stays.",
           severity="severe", shows=True, carry_out=_purge),
)

#: The argument of commands that takes a target of a kind.  A worker is none: they are sent to it.
_SUBJECTS: Final[Mapping[Kind, str]] = {
    "task": "task_id", "type": "task_name", "queue": "queue", "stamp": "headers",
}
#: The kinds of targets that a row of each view names, and in which field; "" is its key.
_KINDS_OF: Final[Mapping[View, Mapping[Kind, str]]] = {
    "overview": {},
    "tasks":   {"task": "", "type": "name", "stamp": ""},
    "types":   {"type": "", "stamp": ""},
    "workers": {"worker": ""},
    "queues":  {"queue": ""},
    "events":  {"task": "uuid", "type": "name"},
    "errors":  {"type": "name"},
}
# fmt: on

BY_NAME: Final = {action.name: action for action in ACTIONS}


def actions_for(view: View) -> list[Action]:
    return [action for action in ACTIONS if action.kind in _KINDS_OF[view]]


def target_of(action: Action, view: View, key: str, values: Mapping[str, str]) -> str | None:
    """Return the target of `action` in a row, None if the row has none.

    `key` and `values` are the row's: its key, and its fields by name.
    """
    field_name = _KINDS_OF[view][action.kind]
    target = values.get(field_name) if field_name else key
    return None if target in (OTHERS, UNKNOWN) else target


# --- requests ---------------------------------------------------------------------------

#: How much is shown of a target, and of a reply.
_SHOWN_CHARS: Final = 200
_REPLIES_SHOWN: Final = 3


class Reply(NamedTuple):
    """The answer of one worker, or for one target, by `name`, as text that may be shown."""

    name: str
    text: str
    failed: bool

    @classmethod
    def of(cls, name: str, answer: Any, *, failed: bool) -> "Reply":
        """Return a reply of anything, sanitised."""
        name, text = (sanitize(str(one)[:_SHOWN_CHARS]) for one in (name, answer))
        return cls(name, text, failed)


def replies_of(answers: Mapping[str, Any]) -> Iterator[Reply]:
    """Yield the answers of workers, by their names, sanitised."""
    for name, answer in sorted(answers.items()):
        failed = isinstance(answer, Mapping) and "error" in answer
        if isinstance(answer, Mapping):
            answer = answer.get("error" if failed else "ok", answer)  # noqa: PLW2901
        yield Reply.of(name, answer, failed=failed)


@dataclass(frozen=True, slots=True)
class Request:
    """An action, its targets, the answers to its questions, and in the end the outcome.

    The targets are those of the moment it was made; `labels` describe them for people,
    sanitised.  `workers` is how many workers there were to answer, None if there were none.
    `replies` came within `seconds`, `unread` counts those that could not be parsed, by the
    reason, and `error` says why it could not be sent.

    `calls` are those of targets that are sent again, `refused` has others: id, label and why.
    """

    action: Action
    targets: tuple[str, ...]
    labels: tuple[str, ...]
    workers: int | None
    values: Values = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()
    seconds: float = 0.0
    error: str = ""
    unread: Mapping[str, int] = field(default_factory=dict)
    calls: tuple[TaskCall, ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    #: The name of the cluster, "" where there is but one.
    cluster: str = ""

    @property
    def confirmation(self) -> str:
        """The text that must be typed: the name, the count, `y`, or "" for nothing."""
        if self.action.severity == "mild":
            return ""
        if len(self.targets) > 1:
            return str(len(self.targets))
        return self.targets[0] if self.action.severity == "severe" else "y"

    @property
    def summary(self) -> str:
        """The action, and its one target or how many there are."""
        noun = "task type" if self.action.kind == "type" else self.action.kind
        count = len(self.targets)
        subject = f"{noun} {self.labels[0]}" if count == 1 else f"{count} {noun}s"
        where = f" in {self.cluster}" if self.cluster else ""
        return f"{self.action.title}, {subject}{where}"

    def answered(self, texts: Mapping[str, str]) -> "Request":
        """Return the request with the answers to its questions.

        Raise UsageError for a bad answer; its hint says how to answer.
        """
        values = {}
        for argument in self.action.arguments:
            default = argument.choices[0] if argument.choices else argument.default
            try:
                values[argument.name] = argument.parse(texts.get(argument.name, default).strip())
            except ValueError as error:
                raise UsageError(f"{argument.title}: {error}", argument.question) from None
        soft, hard = values.get("soft"), values.get("hard")
        if soft is not None and hard is not None and soft >= hard:
            raise UsageError("the soft limit must be shorter than the hard one")
        if "min" in values and values["min"] > values["max"]:
            raise UsageError("the minimum must not be more than the maximum")
        return replace(self, values=values)

    @property
    def destination(self) -> tuple[str, ...] | None:
        """The workers that it is sent to, None for all."""
        worker = self.values.get("worker")
        return self.targets if self.action.kind == "worker" else (worker,) if worker else None

    @property
    def expected(self) -> int | None:
        """How many replies are likely, None if that is not known."""
        if not self.action.answers:
            return 0
        if self.action.carry_out is not None:
            return len(self.targets)
        return self.workers if self.destination is None else len(self.destination)

    def commands(self) -> list[Values]:
        """Return the arguments of each command to the workers."""
        # The worker is where a command is sent, and not a part of it.
        given = {name: value for name, value in self.values.items() if name != "worker"}
        if "signal" in given:
            given["terminate"] = given["signal"] is not None
        if self.action.kind == "worker":
            return [given]
        subject = _SUBJECTS[self.action.kind]
        if self.action.kind == "task":  # of which one command takes many
            return [given | {subject: list(self.targets)}]
        if self.action.kind == "stamp":
            return [given | {subject: _header_of(target)} for target in self.targets]
        return [given | {subject: target} for target in self.targets]

    @property
    def replied(self) -> int:
        """How many replies have come, of workers or for targets."""
        return len({reply.name for reply in self.replies})

    @property
    def good(self) -> bool:
        """Whether it was sent, and nothing was refused or missing."""
        silent = self.replied < (self.expected or 0)
        return not (self.error or silent or any(reply.failed for reply in self.replies))

    def sentence(self) -> str:
        """Return one line that says how it went."""
        action, parts = self.action, list[str]()
        if action.carry_out is None:
            if self.error:
                return f"{self.summary}: not sent: {self.error}"
            if not action.answers:
                return f"{self.summary}: sent; workers do not answer this"
            # A worker that evtop has not seen yet answers as well as any other.
            count = max(self.replied, self.expected or 0)
            replied = f"{self.replied} of {count}" if count == self.expected else str(count)
            noun = "worker" if count == 1 else "workers"
            parts.append(f"{replied} {noun} replied in {human_duration(self.seconds)}")
        # Those that failed come first.
        shown = sorted(
            (one for one in self.replies if action.shows or one.failed),
            key=lambda one: not one.failed,
        )
        is_named = action.carry_out is None or len(self.targets) > 1
        parts += [
            f"{one.name}: {one.text}" if is_named else one.text for one in shown[:_REPLIES_SHOWN]
        ]
        if len(shown) > _REPLIES_SHOWN:
            noun = "more" if action.shows else "more failures"
            parts.append(f"and {len(shown) - _REPLIES_SHOWN} {noun}")
        for reason, count in self.unread.items():
            noun = "reply" if count == 1 else "replies"
            parts.append(f"{count} {noun} could not be read: {reason}")
        if self.error:
            count = len(self.targets)
            which = f"{count - self.replied} of {count} " if is_named and action.carry_out else ""
            parts.append(f"{which}not done: {self.error}")
        return f"{self.summary}: {'; '.join(parts)}"

    def audit(self) -> str:
        """Return one line of JSON: the user, the action, the targets, the replies."""
        try:
            who = getpass.getuser()
        except (KeyError, OSError, ImportError):
            who = str(os.getuid())
        replies = {one.name: ("error: " if one.failed else "") + one.text for one in self.replies}
        facts: dict[str, Any] = {
            "who": f"{who}@{socket.gethostname()}", "action": self.action.name,
            "targets": self.targets, "arguments": dict(self.values),
            "outcome": self.error or f"{self.replied} replied", "expected": self.expected,
            "seconds": round(self.seconds, 3), "replies": replies,
        }  # fmt: skip
        if self.cluster:
            facts["cluster"] = self.cluster
        for target, sent in zip(self.targets, self.calls, strict=False):
            call = {"name": sent.name, "queue": sent.queue, "root": sent.root_id}
            facts.setdefault("calls", {})[target] = call
        if self.refused:
            facts["refused"] = {target: reason for target, _, reason in self.refused}
        return json.dumps(facts, ensure_ascii=True)


def prepare(state: State, action: Action, targets: Sequence[str], *, now: float) -> Request:
    """Make a request of an action on `targets` (ids or names) as of `now` (UTC epoch seconds).

    Raise UsageError where there are no targets.
    """
    targets = tuple(dict.fromkeys(targets))
    if not targets:
        raise UsageError(f"{action.title.lower()}: no row to do it to")
    workers = sum(worker.status(now) in ALIVE for worker in state.workers.values())
    labels = []
    for target in targets:
        label = target
        if action.kind == "task" and (task := state.tasks.get(target)) is not None:
            where = f" on {task.worker.hostname}" if task.worker is not None else ""
            label = f"{task.name or '?'} {task.uuid[:8]}{where}, {task.state}"
        elif action.kind == "worker" and (worker := state.workers.get(target)) is not None:
            label = f"{target}, {worker.status(now)}"
        labels.append(sanitize(label[:_SHOWN_CHARS]))
    return Request(action, targets, tuple(labels), workers or None, cluster=state.cluster)


# --- the thread that sends them ---------------------------------------------------------

#: Outcomes that wait to be taken; more are forgotten, oldest first.
_OUTCOMES_MAX: Final = 100

_audit: Final = logging.getLogger("evtools.top.audit")
#: Whatever the level of the other loggers.
_audit.setLevel(logging.INFO)


class ControlClient(threading.Thread):
    """Carry out requests one after another, from the first one on.

    `wake` is called in this thread when an outcome can be taken.  `deadline` is how long to
    wait for the replies to one command, in seconds.  Each request leaves one line in the log.
    Where the settings are read-only, nothing is sent.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        wake: Callable[[], None],
        *,
        clock: Clock,
        deadline: float = DEADLINE,
    ) -> None:
        super().__init__(name="evtools-control", daemon=True)
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._deadline = deadline
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._outcomes: deque[Request] = deque(maxlen=_OUTCOMES_MAX)

    def submit(self, request: Request) -> None:
        """Have a request carried out; return at once.  Raise UsageError in read-only mode."""
        if self._settings.read_only:
            raise UsageError(
                f"{request.action.title} is not sent: read-only mode",
                "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
            )
        self._requests.put(request)
        if self.ident is None:
            self.start()

    def take(self) -> Request | None:
        """Return the oldest request that was carried out and not taken yet, or None."""
        return self._outcomes.popleft() if self._outcomes else None

    def close(self, timeout: float = 2.0) -> None:
        """Carry out the requests of before, for `timeout` seconds at the most."""
        if self.ident is not None:
            self._requests.put(None)
            self.join(timeout)

    def run(self) -> None:
        while (request := self._requests.get()) is not None:
            began = self._clock.monotonic()
            replies: list[Reply] = []
            unread: Counter[str] = Counter()
            error = ""
            carry_out = request.action.carry_out
            try:
                if carry_out is not None:
                    replies.extend(carry_out(self._settings, request))
                else:
                    self._command(request, replies, unread)
            except Exception as exc:  # noqa: BLE001  (explained to the user)
                error = explain(exc, self._settings).message
            seconds, got = self._clock.monotonic() - began, tuple(replies)
            outcome = replace(request, replies=got, seconds=seconds, error=error, unread=unread)
            _audit.info("audit %s", outcome.audit())
            self._outcomes.append(outcome)
            self._wake()

    def _command(self, request: Request, replies: list[Reply], unread: Counter[str]) -> None:
        send = partial(call, self._settings, deadline=self._deadline)
        command, to, expected = request.action.command, request.destination, request.expected
        for arguments in request.commands():
            answered = send(command, arguments, destination=to, expected=expected)
            unread.update(answered.unread)
            replies += replies_of(answered.by_node)
