"""Options and findings, what was observed of the workers, and the context of the checks."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from evtools.clock import Clock
from evtools.doctor.inspect import BrokerInspector
from evtools.errors import EvtoolsError
from evtools.state import Worker, answers_wake_up
from evtools.transport import ConnectionSettings
from evtools.transport.settings import TLS
from evtools.wire import GAP, EventFields, WorkerEvent, from_fields, moment

Severity: TypeAlias = Literal["ok", "note", "warning", "problem"]
#: From good to bad, with the exit status of the doctor.  1 and 2 are not among them:
#: they say that the doctor itself has failed.
STATUSES: Final[Mapping[Severity, int]] = {"ok": 0, "note": 0, "warning": 3, "problem": 4}

_NAMES_SHOWN: Final = 5
_WORKERS_MAX: Final = 10_000
_NAME_MAX_CHARS: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How to examine, and how to report.

    `wait` is how long to listen, in seconds.  `queues` are names of queues to look at besides
    those that the broker lists.  With `fix`, orphans are removed once `confirm` has said yes to
    the question.  `cols` is the width of the terminal, 0 without one.  `verbose` names all
    workers and queues, where otherwise a few stand for the rest.
    """

    wait: float = 6.0
    queues: tuple[str, ...] = ()
    fix: bool = False
    confirm: Callable[[str], bool] = lambda _question: False
    output: Literal["text", "json"] = "text"
    colour: bool = False
    cols: int = 0
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: `text` is one line, `advice` any number, with what to type.

    Both are sanitised when they are printed.  `check` is its name where it is not the one run.
    """

    severity: Severity
    text: str
    advice: str = ""
    check: str = ""


class Endpoint(NamedTuple):
    """Where an address of the broker leads, and the `protocol` we mean to speak there.

    `tls` is None without encryption; `connect_timeout` is in seconds.
    """

    host: str
    port: int
    tls: TLS | None = None
    connect_timeout: float = 4.0
    protocol: str = ""

    @property
    def server_name(self) -> str:
        """The name that the certificate must be for."""
        return (self.tls and self.tls.server_name) or self.host


@dataclass(slots=True)
class WorkerSigns:
    """What the events of one worker showed.

    `beats` counts its heartbeats, but for the answer to our own request; `delay` is the
    least time between its clock, when it sent something, and ours, when we received it.
    """

    beats: int = 0
    task_events: int = 0
    delay: float | None = None
    _worker: Worker = field(default_factory=Worker)

    @property
    def done(self) -> int:
        """How many tasks it has begun while we listened, by its own count."""
        return self._worker.lives.done or 0

    @property
    def processes(self) -> int:
        """How many processes use its name, as far as heartbeats prove it."""
        return self._worker.processes(self._worker.local_received)

    def apply(self, event: EventFields) -> None:
        kind = event["type"]
        if kind.startswith("task-"):
            self.task_events += 1
        else:
            typed = from_fields(event)
            if isinstance(typed, WorkerEvent) and typed.hostname:
                self._worker.take(typed)
                self.beats += kind == "worker-heartbeat" and not answers_wake_up(typed)
        sent, received = moment(event.get("timestamp")), moment(event.get("local_received"))
        if sent is not None and received is not None:
            delay = received - sent
            self.delay = delay if self.delay is None else min(self.delay, delay)


@dataclass(slots=True)
class Observation:
    """What was seen of the whole cluster.

    `pongs` are the nodes that answered, None if they were not asked, and `refusal` is why;
    `settings` are those that workers reported.  `unread` counts replies that could not be decoded,
    by the reason.  `seconds` is for how long we listened, and `failure` why it ended early.
    """

    seconds: float = 0.0
    events: int = 0
    sent: int = 0
    defects: tuple[tuple[str, int], ...] = ()
    workers: dict[str, WorkerSigns] = field(default_factory=dict)
    pongs: frozenset[str] | None = None
    refusal: EvtoolsError | None = None
    failure: EvtoolsError | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)

    def apply(self, events: Iterable[EventFields]) -> None:
        for event in events:
            kind, name = event["type"], event.get("hostname")
            if kind == GAP:
                continue
            self.events += 1
            if kind == "task-sent":
                self.sent += 1  # it is a client's
            elif isinstance(name, str):
                is_new = name not in self.workers and len(self.workers) < _WORKERS_MAX
                is_of_worker = kind.startswith(("worker-", "task-"))
                if is_new and is_of_worker and 0 < len(name) <= _NAME_MAX_CHARS:
                    self.workers[name] = WorkerSigns()
                if name in self.workers:
                    self.workers[name].apply(event)

    @property
    def nodes(self) -> list[str]:
        """All workers that were seen or have answered, by name."""
        return sorted({*self.workers, *(self.pongs or ())})

    def signs(self, node: str) -> WorkerSigns:
        return self.workers.get(node) or WorkerSigns()


@dataclass(slots=True)
class Context:
    """What earlier checks have found out for later ones.

    `endpoints` are those of the broker's addresses that have passed so far, by their position
    in the URL; `opened` is the inspector after the login, `observation` is there after
    listening.  The connection may be `lost` after the login.
    """

    settings: ConnectionSettings
    options: DoctorOptions
    clock: Clock
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    opened: BrokerInspector | None = None
    exchange_exists: bool = True
    may_listen: bool = True
    has_mailboxes: bool = True
    observation: Observation = field(default_factory=Observation)
    lost: bool = False

    @property
    def attempt(self) -> int:
        """The position of the first address that has passed so far."""
        return min(self.endpoints, default=0)

    @property
    def inspector(self) -> BrokerInspector:
        """The open inspector; only after the login."""
        assert self.opened is not None
        return self.opened

    @property
    def can_listen(self) -> bool:
        """Whether events can come; if not, an earlier check has said why."""
        return self.exchange_exists and self.may_listen

    def names(self, names: Sequence[str]) -> str:
        """Return names as a list for people, which is cut unless --verbose is given."""
        shown = names if self.options.verbose else names[:_NAMES_SHOWN]
        more = len(names) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 worker, 2 workers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
