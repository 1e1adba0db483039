"""What evtop asks the workers and when, in a thread, and what it knows by their answers."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Final

from msgspec.structs import replace

from evtools.clock import Clock
from evtools.rows import WorkerFacts
from evtools.state import ALIVE, TASK_COMMANDS, InspectedTask, State, Statistics, Task, tasks_in
from evtools.state.inspection import count_in, pool_size, queue_names
from evtools.transport import ConnectionSettings, explain
from evtools.transport.control import ControlChannel, Question
from evtools.wire.redact import Redactor

# --- the thread that asks, so that no key waits for the workers ---------------------------

#: How long one look at the replies may take, in seconds: a new question waits for it.
_LOOK: Final = 0.1
#: While so many answers wait for the screen, an inquiry has one only when it is over.
_ANSWERS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to the workers in `destination`, or to all.

    `deadline` is how long replies are waited for, in seconds, `expected` how many workers are
    to reply, None if that is not known.
    """

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    destination: tuple[str, ...] | None = None
    deadline: float = 2.0
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Replies that came since the last answer to the same inquiry, by node name.

    `at` is when, in UTC epoch seconds, `replied` how many workers have replied by then and
    `over` whether no more are waited for.  `error` says why the workers could not be asked.
    """

    inquiry: Inquiry
    by_node: Mapping[str, Any]
    at: float
    replied: int = 0
    over: bool = True
    error: str = ""


class Inspector(threading.Thread):
    """Put inquiries to the workers, and have the answers ready, also parts of them.

    One connection serves all, from the first inquiry on; another one is tried when it breaks.
    `wake` is called in this thread when there is something to take.
    """

    def __init__(
        self, settings: ConnectionSettings, wake: Callable[[], None], *, clock: Clock
    ) -> None:
        super().__init__(name="evtools-inspector", daemon=True)
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._inquiries: SimpleQueue[Inquiry | None] = SimpleQueue()
        self._answers: deque[Answer] = deque()
        self._channel: ControlChannel | None = None
        #: The questions that wait for replies, and how many each has given out.
        self._open: list[tuple[Inquiry, Question]] = []
        #: Whether those were put once more, over another connection.
        self._again = False

    def ask(self, inquiry: Inquiry) -> None:
        """Have an inquiry put to the workers; return at once."""
        self._inquiries.put(inquiry)
        if self.ident is None:
            self.start()

    def take(self) -> Answer | None:
        """Return the oldest answer that was not taken yet, or None."""
        return self._answers.popleft() if self._answers else None

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; wait at most `timeout` seconds for it."""
        if self.ident is not None:
            self._inquiries.put(None)
            self.join(timeout)

    # --- in the thread ------------------------------------------------------------------

    def run(self) -> None:
        try:
            while True:
                try:
                    # Nothing is looked for while no reply is due.
                    inquiry = self._inquiries.get(block=not self._open)
                except Empty:
                    self._drain()
                    continue
                if inquiry is None:
                    return
                self._put(inquiry)
        finally:
            self._disconnect()

    def _put(self, inquiry: Inquiry) -> None:
        was_connected = self._channel is not None
        try:
            if self._channel is None:
                self._channel = ControlChannel(self._settings)
            question = self._channel.ask(
                inquiry.command,
                inquiry.arguments,
                destination=inquiry.destination,
                deadline=inquiry.deadline,
                expected=inquiry.expected,
            )
        except Exception as error:  # noqa: BLE001  (whatever a driver raises)
            self._fail(error)
            if was_connected:  # it may have been closed while nothing was asked
                self._put(inquiry)
            else:
                self._give_out(inquiry, {}, error=explain(error, self._settings).message)
        else:
            self._open.append((inquiry, question))

    def _drain(self) -> None:
        assert self._channel is not None
        try:
            self._channel.drain(_LOOK)
        except Exception as error:  # noqa: BLE001  (whatever a driver raises)
            if self._again:
                self._fail(error)
                return
            # It may have been closed while nothing was asked, and only a reply would have shown it.
            self._again = True
            inquiries, self._open = [inquiry for inquiry, _ in self._open], []
            self._disconnect()
            for inquiry in inquiries:
                self._put(inquiry)
            return
        self._again = False
        left = []
        for inquiry, question in self._open:
            over = not question.left
            new = question.take_new() if over or len(self._answers) < _ANSWERS_MAX else {}
            if new or over:
                self._give_out(inquiry, new, replied=question.replied, over=over)
            if not over:
                left.append((inquiry, question))
        self._open = left

    def _fail(self, error: Exception) -> None:
        reason = explain(error, self._settings).message
        for inquiry, question in self._open:
            new = question.take_new()
            self._give_out(inquiry, new, replied=question.replied, error=reason)
        self._open = []
        self._disconnect()

    def _give_out(
        self,
        inquiry: Inquiry,
        by_node: Mapping[str, Any],
        *,
        replied: int = 0,
        over: bool = True,
        error: str = "",
    ) -> None:
        self._answers.append(Answer(inquiry, by_node, self._clock.wall(), replied, over, error))
        self._wake()

    def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            try:
                channel.close()
            except Exception:  # noqa: BLE001  (it is broken already)
                return


# --- what is asked, and what is known ----------------------------------------------------

#: What is asked of all workers at first, and again after a gap in the stream.
_AT_FIRST: Final = ("stats", "active_queues", *TASK_COMMANDS)
#: What the page of a worker shows.
PAGE_COMMANDS: Final = (
    *TASK_COMMANDS, "stats", "active_queues", "registered", "revoked", "conf",
)  # fmt: skip
#: What a report on workers asks for, and how long it waits for that, in seconds.
REPORT_COMMANDS: Final = (*PAGE_COMMANDS, "report")
REPORT_DEADLINE: Final = 5.0
_OF_TASKS: Final = (*TASK_COMMANDS, "query_task")
#: What is asked of workers that appeared, and now and then of all.
_OF_WORKERS: Final = ("stats", "active_queues")
#: Time between two such questions to all workers, and to new ones, in seconds.
_ALL_EVERY: Final = 60.0
_NEW_EVERY: Final = 5.0
#: Time between two questions about tasks without a name, or that may be lost, in seconds; and
#: how many are asked about at once.
_TASKS_EVERY: Final = 2.0
_TASKS_MAX: Final = 50
#: Time until a task whose question settled nothing is asked about again, the first time; later
#: four times as long, up to `_ALL_EVERY`.  A worker says that it is there before it listens.
_AGAIN_AFTER: Final = 5.0
#: How old the section of a worker's page may be that is looked at, in seconds.
_PAGE_EVERY: Final = 5.0
#: For how long it is open before all of it is asked for.
_PAGE_STAYS: Final = 0.5
#: Of how many workers what they replied is kept after one has left their page.
_PAGES_KEPT: Final = 20
#: How many workers and tasks are remembered to have been asked about.
_NODES_MAX: Final = 5000
_ASKED_MAX: Final = 20_000
_NAMES_MAX: Final = 1000
#: How many open tasks are looked through for some to ask about.
_LOOKED_AT_MAX: Final = 5000


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker answered to a command, and when, in UTC epoch seconds by our clock."""

    value: Any
    at: float


@dataclass(slots=True)
class Report:
    """What `nodes` reply to `REPORT_COMMANDS`, by node and command, masked.

    `waiting` counts the questions that are not over, `error` is why they could not be asked.
    """

    nodes: tuple[str, ...]
    replies: dict[str, dict[str, Reply]] = field(default_factory=dict)
    waiting: int = 0
    error: str = ""


class Survey:
    """Ask the workers in the background, and keep what they say of themselves.

    The tasks that they name go into `state` and `statistics`, masked by `redact`.  One thread
    owns it: the screen's.  Times (`now`) are UTC epoch seconds.
    """

    def __init__(
        self,
        inspector: Inspector,
        state: State,
        statistics: Statistics,
        redact: Redactor | None = None,
    ) -> None:
        self.workers: dict[str, WorkerFacts] = {}
        #: Why the workers could not be asked last, "" if they could.
        self.error = ""
        #: The worker whose page is open, and what it replied to commands.
        self.page = ""
        self.replies: dict[str, Reply] = {}
        #: Since when it is open, and when it was asked last, by command.
        self._page_at = 0.0
        self._page_asked: dict[str, float] = {}
        #: What workers replied whose pages were open before, and since when a command of the page
        #: has not been replied to.
        self._kept: dict[str, dict[str, Reply]] = {}
        self.waits_since: dict[str, float] = {}
        #: Of the last question to all: how many workers replied, how many there were, and when
        #: the last reply came, in UTC epoch seconds.
        self.replied = self.expected = 0
        self.replied_at = 0.0
        self._inspector = inspector
        self._state = state
        self._statistics = statistics
        self._redact = redact
        #: Inquiries without an end, and whether there ever was one.
        self._waiting = 0
        self._began = False
        #: The questions of reports that are waited for.
        self._reporting: list[tuple[Inquiry, Report]] = []
        self._all_at = self._new_at = self._tasks_at = 0.0
        #: Answers of workers of which no event came yet, with their command.
        self._early: dict[str, list[tuple[str, Any]]] = {}
        #: Workers that were asked, and tasks that were asked about: when they may be again, and
        #: how long after the last time that is.
        self._nodes: set[str] = set()
        self._asked: dict[str, tuple[float, float]] = {}

    @property
    def is_done(self) -> bool:
        """Whether the first questions are answered, as far as they will be."""
        return self._began and not self._waiting and not self._early

    def begin(self, now: float) -> None:
        """Ask all workers what they are and have: at first, and after a gap in the stream."""
        self._began, self._all_at = True, now
        for command in _AT_FIRST:
            self._ask_all(command, now)

    def take(self, now: float) -> bool:
        """Take in the answers that came; return whether something is new."""
        is_new = False
        while (answer := self._inspector.take()) is not None:
            self._take(answer, now)
            is_new = True
        for node in [node for node in self._early if self._is_known(node)]:
            for command, value in self._early.pop(node):
                self._seed(node, command, value, now)
            is_new = True
        return is_new

    def go_on(self, now: float) -> None:
        """Ask what is due: at most a few questions in as many seconds, and none if nothing is."""
        if not self._began or self._waiting:
            return
        if now - self._all_at >= _ALL_EVERY:
            self._all_at = now
            for command in _OF_WORKERS:
                self._ask_all(command, now)
            # By name: the question to all is over when those have replied that are there.
            workers = self._state.workers.values()
            gone = tuple(one.hostname for one in workers if one.status(now) not in ALIVE)
            if gone:
                self._ask("stats", {}, gone[:_NAMES_MAX])
        if now - self._new_at >= _NEW_EVERY:
            self._ask_new(now)
        if now - self._tasks_at >= _TASKS_EVERY:
            self._ask_about_tasks(now)

    def look_at(self, node: str, commands: Collection[str], now: float) -> None:
        """Have a worker asked for its page, and again for what is looked at: `commands`."""
        if node != self.page:
            self.close_page()
            self.page, self.replies, self._page_at = node, self._kept.pop(node, {}), now
        for one in PAGE_COMMANDS:
            asked = self._page_asked.get(one)
            if asked is None:
                # Not of every worker that the cursor passes.
                is_due = one in commands or now - self._page_at >= _PAGE_STAYS
            else:
                is_due = one in commands and now - asked >= _PAGE_EVERY
            if is_due:
                self._page_asked[one] = now
                self.waits_since.setdefault(one, now)
                self._ask(one, {}, (node,))

    def close_page(self) -> None:
        """Ask no more for the page; what the last ones replied is kept for when they are gone."""
        if self.replies:
            self._kept[self.page] = self.replies
            while len(self._kept) > _PAGES_KEPT:
                del self._kept[next(iter(self._kept))]
        self.page, self.replies, self._page_asked, self.waits_since = "", {}, {}, {}

    def report(self, nodes: Collection[str]) -> Report:
        """Ask workers for all that they say of themselves; return what `take` fills in."""
        report = Report(tuple(nodes))
        for command in REPORT_COMMANDS:
            inquiry = Inquiry(command, {}, report.nodes, REPORT_DEADLINE)
            self._put(inquiry)
            self._reporting.append((inquiry, report))
            report.waiting += 1
        return report

    # --- questions ----------------------------------------------------------------------

    def _ask(
        self,
        command: str,
        arguments: Mapping[str, Any],
        destination: tuple[str, ...] | None = None,
        expected: int | None = None,
    ) -> None:
        self._put(Inquiry(command, arguments, destination, expected=expected))

    def _put(self, inquiry: Inquiry) -> None:
        self._waiting += 1
        self._inspector.ask(inquiry)

    def _ask_all(self, command: str, now: float) -> None:
        # As events of all may not have come yet, the end of the deadline counts at first.
        known = sum(worker.status(now) in ALIVE for worker in self._state.workers.values())
        arguments = {"safe": True} if command == "active" else {}
        self._ask(command, arguments, expected=known if self.workers else None)

    def _ask_new(self, now: float) -> None:
        new = [
            worker.hostname
            for worker in self._state.workers.values()
            if worker.hostname not in self._nodes and worker.status(now) in ALIVE
        ]
        self._new_at = now
        if new:
            self._nodes.update(new[:_NAMES_MAX])
            for command in _AT_FIRST:
                self._ask(command, {}, tuple(new[:_NAMES_MAX]))

    def _ask_about_tasks(self, now: float) -> None:
        # To look through them all the time takes too long, also where there are none.
        self._tasks_at = now
        about = list(islice(self._unclear(now), _TASKS_MAX))
        if not about:
            return
        while len(self._asked) > _ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        for task in about:
            _, pause = self._asked.get(task.uuid, (0.0, 0.0))
            pause = min(max(_AGAIN_AFTER, 4 * pause), _ALL_EVERY)
            self._asked[task.uuid] = now + pause, pause
        workers = {task.worker.hostname for task in about if task.worker is not None}
        self._ask("query_task", {"ids": [task.uuid for task in about]}, tuple(sorted(workers)))

    def _unclear(self, now: float) -> Iterable[Task]:
        """Yield the tasks that a worker has and nobody named, and those that may be lost."""
        # Those whose events came longest ago come first; looking at all would take too long.
        # By worker, whether it can be asked, and whether any of its tasks may be in doubt.
        facts: dict[str, tuple[bool, bool]] = {}
        for task in islice(self._state.tasks.settled()[2].values(), _LOOKED_AT_MAX):
            worker = task.worker
            if worker is None:
                continue
            if worker.hostname not in facts:
                is_doubtful = worker.was_replaced or worker.answers_only(now)
                is_doubtful |= self._state.unseen_until > 0
                facts[worker.hostname] = worker.status(now) in ALIVE, is_doubtful
            is_there, is_doubtful = facts[worker.hostname]
            if not is_there or (task.name is not None and not is_doubtful):
                continue
            asked = self._asked.get(task.uuid)
            is_due = asked is None or now >= asked[0]
            if (task.name is None and asked is None) or (
                is_due and task.in_doubt(now) and task.missing_at(now) is None
            ):
                yield task

    # --- answers ------------------------------------------------------------------------

    def _take(self, answer: Answer, now: float) -> None:
        command = answer.inquiry.command
        if answer.over:
            self._waiting -= 1
            self.error = answer.error
        if command == "stats" and answer.inquiry.destination is None:
            self.replied = answer.replied
            self.expected = max(answer.inquiry.expected or 0, answer.replied)
            self.replied_at = answer.at
        if self.page and self.page in answer.by_node and command in PAGE_COMMANDS:
            self.replies[command] = self._reply(answer, self.page)
            self.waits_since.pop(command, None)
        self._fill_reports(answer)
        for node, value in answer.by_node.items():
            # Whatever it is, it shows that the worker is there.
            pid = count_in(value, "pid") if command == "stats" else None
            self._state.answered(node, answer.at, pid)
            if node not in self.workers and len(self.workers) >= _NODES_MAX:
                continue
            facts = self.workers.setdefault(node, WorkerFacts())
            if command == "stats":
                self._nodes.add(node)
                facts.pool, facts.pid, facts.at = pool_size(value), pid, answer.at
            elif command == "active_queues":
                facts.queues, facts.at = queue_names(value), answer.at
                facts.shown_queues = facts.queues and tuple(map(self._masked_queue, facts.queues))
            elif command not in _OF_TASKS:
                continue
            elif self._is_known(node):
                asked = answer.inquiry.arguments.get("ids", ())
                self._seed(node, command, value, now, asked)
            elif len(self._early) < _NODES_MAX:
                self._early.setdefault(node, []).append((command, value))

    def _fill_reports(self, answer: Answer) -> None:
        for asked in [each for each in self._reporting if each[0] is answer.inquiry]:
            report, command = asked[1], answer.inquiry.command
            for node in report.nodes:
                if node in answer.by_node:
                    report.replies.setdefault(node, {})[command] = self._reply(answer, node)
            report.error = answer.error or report.error
            if answer.over:
                self._reporting.remove(asked)
                report.waiting -= 1

    def _reply(self, answer: Answer, node: str) -> Reply:
        value = answer.by_node[node]
        masked = value if self._redact is None else self._redact.of_value(value)
        return Reply(masked, answer.at)

    def _is_known(self, node: str) -> bool:
        worker = self._state.workers.get(node)
        return worker is not None and worker.pid is not None

    def _seed(
        self, node: str, command: str, value: Any, now: float, asked: Iterable[str] = ()
    ) -> None:
        tasks = map(self._masked, tasks_in(command, value))
        is_answer = isinstance(value, Mapping) and "error" not in value
        absent = [uuid for uuid in asked if uuid not in value] if is_answer else ()
        self._statistics.seed(self._state.seed(node, tasks, now, absent))

    def _masked_queue(self, name: str) -> str:
        fields: dict[str, Any] = {"queue": name}
        if self._redact is not None:
            self._redact(fields)
        return str(fields["queue"])

    def _masked(self, task: InspectedTask) -> InspectedTask:
        # As the events of a task are.
        if self._redact is None:
            return task
        fields = {"name": task.name, "args": task.args, "kwargs": task.kwargs}
        self._redact(fields)
        return replace(task, **fields)
