"""Running tasks again: their calls, if the events have all of them, and lines to copy."""

import ast
import json
import shlex
from collections import Counter
from typing import Any, Final

from evtools.errors import UsageError
from evtools.state import State
from evtools.text import sanitize
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
    args = _literal("arguments", task.args, tuple, list)
    kwargs = _literal("keyword arguments", task.kwargs, dict)
    if not all(isinstance(name, str) for name in kwargs):
        raise UsageError("its keyword arguments have names that are no text")
    return TaskCall(
        task.name, list(args), kwargs, queue_of(task), task.args, task.kwargs, root_id, task.uuid
    )


def why_not(task: Any, now: float) -> str:
    """Return why a task is not to be run again as long as it is as it is, "" if it may be."""
    if task.get("requeue"):
        return "its worker has put it back into its queue"
    return "" if task.ready or task.lost(now) else f"it has not ended: {task.state}"


def queue_of(task: Any) -> str:
    """Return the queue that a task was sent to, "" if that is not known for certain."""
    # AMQP's default exchange is the one that takes the name of a queue.
    queue = task.queue_or_none or (task.routing_key if task.exchange == "" else None)
    return queue if queue and not queue_problem(queue) else ""


def queue_problem(queue: str) -> str:
    """Return why no task is sent to a queue of this name, "" if it may be."""
    if queue.startswith(_NO_TASKS) or queue.endswith(_COMMANDS):
        return "is not a queue of tasks"
    return _problem(queue)


def likely_queues(state: State, name: str) -> list[str]:
    """Return the queues that other tasks of a type were sent to, the most common first."""
    queues = (queue_of(task) for task in state.tasks.values() if task.name == name)
    return [queue for queue, _ in Counter(filter(None, queues)).most_common()]


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
    queue = queue_of(task)
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
    queue = queue_of(task)
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
