"""Running a task again: its arguments, if the events have all of them, and lines to copy."""

import ast
import json
import shlex
from typing import Any, Final

from evtools.errors import UsageError
from evtools.text import sanitize

#: More levels than any call has; each is one of Python's stack.
_DEPTH_MAX: Final = 50
#: As Celery marks where it cut arguments.
_CUT: Final = "..."
_SHOWN_CHARS: Final = 200


def call_of(task: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name and the arguments of a task, to be sent as JSON.

    Raise UsageError where they are unknown, were cut, or are not literals: nothing is
    evaluated, and nothing guessed.  Celery writes the arguments into its events with
    `saferepr`, which marks cuts by dots, escapes no backslash, and has no more levels than
    three.  So a text counts only if it reads as a value that would be written like that.
    """
    if not task.name:
        raise UsageError("its name is unknown", "no event with its name was received")
    args = _literal("arguments", task.args, tuple, list)
    kwargs = _literal("keyword arguments", task.kwargs, dict)
    if not all(isinstance(name, str) for name in kwargs):
        raise UsageError("its keyword arguments have names that are no text", _copy_hint())
    return task.name, list(args), kwargs


def python_line(task: Any) -> str:
    """Return Python that sends a task again.

    What is not known as a whole is left to be filled in, and stands in the comment: it is
    anyone's text, and must not become code.
    """
    queue = f", queue={task.queue_or_none!r}" if task.queue_or_none else ""
    try:
        name, args, kwargs = call_of(task)
        given, note = f"args={tuple(args)!r}, kwargs={kwargs!r}", ""
    except UsageError:
        name, given = task.name or "?", "args=..., kwargs=..."
        note = f"  # {' '.join(f'{task.args} {task.kwargs}'.split())}"
    return sanitize(f"app.send_task({name!r}, {given}{queue}){note}")


def celery_line(task: Any) -> str:
    """Return the command line that sends a task again; raise UsageError as `call_of` does."""
    name, args, kwargs = call_of(task)
    words = ["celery", "-A", "PROJECT", "call", name]
    words += ["-a", json.dumps(args)] if args else []
    words += ["-k", json.dumps(kwargs)] if kwargs else []
    words += ["--queue", task.queue_or_none] if task.queue_or_none else []
    return sanitize(shlex.join(words))


def _copy_hint() -> str:
    return "copy a line to complete: export as python"


def _literal(noun: str, text: str | None, *kinds: type) -> Any:
    if text is None:
        raise UsageError(f"its {noun} are unknown", "task-received has them, and came before evtop")
    if _CUT in text:
        raise UsageError(f"its {noun} were cut by the sender: {_start(text)}", _copy_hint())
    try:
        value = ast.literal_eval(text)
        if isinstance(value, kinds) and text in (_written(value), _repr(value)):
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise UsageError(f"its {noun} are not literals: {_start(text)}", _copy_hint())


def _start(text: str) -> str:
    return sanitize(text[:_SHOWN_CHARS])


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
