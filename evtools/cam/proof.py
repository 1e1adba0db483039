"""What --test prints: the picture that a camera would have written, as JSON."""

from typing import Any

import msgspec

from evtools.cam.roll import Frame
from evtools.state import State
from evtools.wire import encode_line


def proof(picture: Any) -> bytes:
    """Return a picture as a line of JSON, whatever it is made of."""
    try:
        shown = msgspec.to_builtins(picture, enc_hook=_plain, str_keys=True)
    except (TypeError, ValueError, RecursionError):  # odd keys, and worse
        shown = {"picture": repr(picture)}
    return encode_line(shown)


def summary(state: State, frame: Frame) -> dict[str, Any]:
    """Return what a camera that has no picture would have looked at."""
    states: dict[str, int] = {}
    for task in state.tasks.values():
        states[task.state] = states.get(task.state, 0) + 1
    return {
        **frame.as_dict(),
        "event_count": state.event_count,
        "task_count": state.task_count,
        "tasks": dict(sorted(states.items())),
        "workers": {worker.hostname: worker.status(frame.at) for worker in state.workers.values()},
    }


def _plain(value: Any) -> Any:
    """Return what stands in JSON for a value that JSON does not know."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return repr(value)
