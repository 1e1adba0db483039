"""Running tasks again: their calls, if the events have all of them, and lines to copy."""

import ast
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from evtools.errors import UsageError
from evtools.state import ALIVE, State, Task
from evtools.text import clip, sanitize
from evtools.top.control import Action, Argument, Request, prepare
from evtools.top.survey import Survey
from evtools.transport.control import TaskCall
from evtools.wire.redact import MASK

#: More levels than any call has; each is one of Python's stack.
_DEPTH_MAX: Final = 50
#: Longer ones were made by someone; Celery sends 1024.
_CHARS_MAX: Final = 16 * 1024
_NAME_MAX_BYTES: Final = 255
#: As Celery marks where it cut arguments.
_CUT: Final = "..."
#: What kombu makes another type of in a worker.
_TYPED: Final = "__type__"
_AT_ONCE_MAX: Final = 1000
_QUEUES_SHOWN: Final = 5
_NAME_COLS: Final = 40
#: The names of queues that hold no tasks: of events, of kombu, of RabbitMQ; and of commands.
_NO_TASKS: Final = ("celeryev", "amq.", "_kombu.", "unacked")
_COMMANDS: Final = ".pidbox"


def call_of(task: Any) -> TaskCall:
    """Return how a task was called; the queue is "" where that is not known.

    Raise UsageError where name or arguments are unknown, were cut or masked, or are not
    literals: nothing is evaluated, and nothing guessed.  Celery writes the arguments into its
    events with `saferepr`, which marks cuts by dots, escapes no backslash, and has no more
    levels than three.  So a text counts only if it reads as a value that would be written so.
    """
    if not task.name:
        raise UsageError("its name is unknown: no event with it was received")
    root_id = task.root_id or task.uuid
    for noun, text in (("name", task.name), ("id", task.uuid), ("root's id", root_id)):
        if problem := _problem(text):
            raise UsageError(f"its {noun} {problem}")
    queue = _queue_said(task)
    if queue and (problem := _queue_problem(queue)):
        raise UsageError(f"its queue {problem}")
    args = _literal("arguments", task.args, tuple, list)
    kwargs = _literal("keyword arguments", task.kwargs, dict)
    if not all(isinstance(name, str) for name in kwargs):
        raise UsageError("its keyword arguments have names that are no text")
    return TaskCall(
        task.name, list(args), kwargs, queue, task.args, task.kwargs, root_id, task.uuid
    )


def _queue_said(task: Any) -> str:
    """Return the queue that a task was sent to, "" if that is not known for certain."""
    # AMQP's default exchange is the one that takes the name of a queue.
    return task.queue_or_none or (task.routing_key if task.exchange == "" else None) or ""


def _queue_of(task: Any) -> str:
    """Return the queue that a task was sent to, "" where it may not be sent again."""
    queue = _queue_said(task)
    return "" if _queue_problem(queue) else queue


def prepare_again(state: State, action: Action, targets: Sequence[str], *, now: float) -> Request:
    """Make a request to run tasks again, of those that can be; the others are `refused`.

    Arguments as of `prepare`.  The calls are those of this moment, whatever events come after it.
    """
    request = prepare(state, action, targets, now=now)
    if len(request.targets) > _AT_ONCE_MAX:
        problem = f"{_AT_ONCE_MAX} tasks are the most that are run again at once"
        raise UsageError(problem, "mark fewer with Space")
    calls, good, refused = [], [], []
    for target, label in zip(request.targets, request.labels, strict=True):
        try:
            calls.append(call_of(_ended(state, target, now)))
            good.append((target, label))
        except UsageError as error:
            refused.append((target, label, error.message))
    return replace(
        request,
        targets=tuple(target for target, _ in good),
        labels=tuple(label for _, label in good),
        calls=tuple(calls),
        refused=tuple(refused),
    )


def _ended(state: State, uuid: str, now: float) -> Task:
    """Return a task that has ended, or is lost; raise UsageError for any other."""
    task = state.tasks.get(uuid)
    if task is None:
        raise UsageError("evtop no longer remembers it")
    if task.state == "REJECTED" and task.get("requeue"):
        raise UsageError("its worker has put it back into its queue")
    if not (task.ready or task.lost(now)):
        raise UsageError("it has not ended")
    return task


def question(request: Request, state: State, survey: Survey | None) -> Argument | None:
    """Return the question for the queue of a call where that is not known, None if all are.

    Its name is the type of the task, its default what other tasks or the worker suggest.
    """
    call = next((call for call in request.calls if not call.queue), None)
    if call is None:
        return None
    found = _usual_queues(state, [call.name])[call.name]
    why = "others of this type were sent to"
    if not found and survey is not None:
        task = state.tasks.get(call.parent_id or "")
        facts = survey.workers.get((task and task.worker_name) or "")
        found = [queue for queue in (facts and facts.queues) or () if not _queue_problem(queue)]
        why = "its worker consumes"
    text = f"No event has the queue of {call.name}"
    text += f"; {why} {_listed(found)}" if found else ""
    return Argument(call.name, "queue", text, _parse_queue, found[0] if found else "")


def _usual_queues(state: State, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the queues that tasks of some types were sent to, by type, the most common first."""
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    for task in state.tasks.values():
        if task.name in found:
            found[task.name][_queue_said(task)] += 1
    return {
        name: [queue for queue, _ in counts.most_common() if not _queue_problem(queue)]
        for name, counts in found.items()
    }


def with_queue(request: Request, name: str, queue: str) -> Request:
    """Return a request with the queue of the calls of a type that have none."""
    calls = (
        call._replace(queue=queue) if call.name == name and not call.queue else call
        for call in request.calls
    )
    return replace(request, calls=tuple(calls))


def dialog(
    request: Request, state: State, survey: Survey | None, *, now: float
) -> Iterator[str | tuple[str, str]]:
    """Yield what is to be confirmed, sanitised: lines, and pairs of a label and a text.

    Nothing is cut.  What warns comes first, in a few lines, so that no sender can push it out of
    sight.
    """
    refused, calls = request.refused, request.calls
    for reason, count in Counter(reason for _, _, reason in refused).most_common():
        yield f"{count} of {len(refused) + len(calls)} not sent: {reason}."
    tasks = [state.tasks.get(target) for target in request.targets]
    again = [_same_again(state, task) for task in tasks]
    if count := sum(map(bool, again)):
        yield f"{count} of {len(calls)} may have been run again already: see below."
    if count := sum(task is not None and task.state == "SUCCESS" for task in tasks):
        yield f"{count} of {len(calls)} succeeded."
    if any(task is not None and task.lost(now) for task in tasks):
        yield "LOST?: the broker may still deliver it once more by itself."
    usual = _usual_queues(state, {call.name for call in calls})
    if odd := [call.name for call in calls if call.queue != (usual[call.name] or [call.queue])[0]]:
        yield f"Most tasks of {_listed([*dict.fromkeys(odd)])} were sent to other queues."
    yield from _doubts(dict.fromkeys(call.queue for call in calls), state, survey, now)
    yield request.action.consequence
    if request.cluster:
        yield "cluster", request.cluster
    for call, task, child in zip(calls, tasks, again, strict=True):
        yield ""
        yield "task", call.name
        where = f", {task.state} on {task.worker_name}" if task is not None else ""
        yield "was", sanitize(f"{call.parent_id}{where}")
        if child is not None:
            yield "again?", sanitize(f"its child {child.uuid[:8]} of the same type: {child.state}")
        yield "queue", call.queue
        yield "args", sanitize(call.argsrepr)
        if call.kwargs:
            yield "kwargs", sanitize(call.kwargsrepr)
    for _, label, reason in refused:
        yield ""
        yield "not", label
        yield "why", reason


def _same_again(state: State, task: Task | None) -> Task | None:
    """Return a child of the same type, which a task that was run again has."""
    children = () if task is None else state.children(task.uuid)
    return next((child for child in children if task and child.name == task.name), None)


def _doubts(
    queues: Iterable[str], state: State, survey: Survey | None, now: float
) -> Iterator[str]:
    alive = (worker.hostname for worker in state.workers.values() if worker.status(now) in ALIVE)
    facts = [survey.workers.get(name) for name in alive] if survey is not None else []
    consumed = {queue for one in facts if one is not None for queue in one.queues or ()}
    if left := [queue for queue in queues if queue not in consumed]:
        names = _listed(left)
        if survey is None:
            yield f"Whether a worker consumes {names} is not known (--no-ask)."
        else:
            yield f"No worker is known to consume {names}: it may wait there for ever."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _QUEUES_SHOWN
    shown = [clip(name, _NAME_COLS) for name in names[:_QUEUES_SHOWN]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _queue_problem(queue: str) -> str:
    """Return why no task is sent to a queue of this name, "" if it may be."""
    if queue.startswith(_NO_TASKS) or queue.endswith(_COMMANDS):
        return "is not a queue of tasks"
    return _problem(queue) if queue else "is empty"


def _parse_queue(text: str) -> str:
    if problem := _queue_problem(text):
        raise ValueError(f"the name {problem}")
    return text


def python_line(task: Any) -> str:
    """Return a line of Python that sends a task again.

    What is not known as a whole is left to be filled in, so that it does not run as it is, and
    stands in a comment: it is anyone's text, and must not become code.
    """
    try:
        call = call_of(task)
        given, note = f"{call.name!r}, args={tuple(call.args)!r}, kwargs={call.kwargs!r}", ""
    except UsageError as error:
        known = " ".join(f"{task.args} {task.kwargs}"[:_CHARS_MAX].split())
        # Python has no such name, and says so.
        given = f"{(task.name or '?')[:_NAME_MAX_BYTES]!r}, args=FILL_IN, kwargs=FILL_IN"
        note = f"  # {error.message}: {known}"
    queue = _queue_of(task)
    given += f", queue={queue!r}" if queue else ""
    # Only what repr() has escaped already can be in a text of a call.
    return sanitize(f"app.send_task({given}){note}")


def celery_line(task: Any) -> str:
    """Return the command line that sends a task again, for sh.

    With arguments that are not known as a whole, Celery refuses it as it is.
    """
    try:
        call = call_of(task)
        name = call.name
        words = ["-a", _json(call.args)] if call.args else []
        words += ["-k", _json(call.kwargs)] if call.kwargs else []
    except UsageError as error:
        name = (task.name or "?")[:_NAME_MAX_BYTES]
        words = ["-a", f"FILL IN: {error.message}"]
    queue = _queue_of(task)
    words += [f"--queue={queue}"] if queue else []
    # A name may look like an option.
    return sanitize(shlex.join(["celery", "-A", "PROJECT", "call", *words, "--", name]))


def _json(value: Any) -> str:
    return json.dumps(value).replace("\x7f", "\\u007f")


def _problem(text: str) -> str:
    """Return why a name or an id cannot be shown as it is, "" if it can."""
    if MASK in text:
        return "is masked"
    if len(text) > _NAME_MAX_BYTES or len(text.encode(errors="replace")) > _NAME_MAX_BYTES:
        return f"is longer than {_NAME_MAX_BYTES} bytes"
    if any(map(str.isspace, text)) or sanitize(text) != text:
        return "has blanks, or characters that cannot be shown"
    return ""


def _literal(noun: str, text: str | None, *kinds: type) -> Any:
    if text is None:
        raise UsageError(f"its {noun} are unknown: the event that has them was not received")
    if MASK in text:
        raise UsageError(f"its {noun} are masked")
    if _CUT in text:
        raise UsageError(f"its {noun} were cut by the sender")
    if len(text) > _CHARS_MAX:
        raise UsageError(f"its {noun} have more than {_CHARS_MAX} characters")
    try:
        # Celery leaves the breaks of lines in a text.
        value = ast.literal_eval(text.replace("\n", "\\n").replace("\r", "\\r"))
        is_whole = isinstance(value, kinds) and text in (_written(value), _repr(value))
        if is_whole and _TYPED not in text and json.dumps(value):
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise UsageError(f"its {noun} are not literals that JSON has")


def _repr(value: Any) -> str | None:
    """Return Python's own text for a value, None if Celery could have meant another by it."""
    text = repr(value)
    return None if "\\" in text else text


def _written(value: Any, depth: int = 0) -> str:
    """Return the text that Celery writes for a value; raise TypeError for one it has no JSON for.

    As `celery.utils.saferepr`, which escapes quotes in texts, and nothing else.
    """
    if depth > _DEPTH_MAX:
        raise TypeError
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    if isinstance(value, dict):
        pairs = (
            f"{_written(name, depth + 1)}: {_written(one, depth + 1)}"
            for name, one in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    if not isinstance(value, tuple | list):
        raise TypeError
    inner = ", ".join(_written(one, depth + 1) for one in value)
    if isinstance(value, list):
        return f"[{inner}]"
    return f"({inner},)" if len(value) == 1 else f"({inner})"
