"""Words on the screen: of states, events and values."""

from collections.abc import Mapping
from typing import Any, Final

from evtools.text import human_duration
from evtools.top.columns import as_text, finite
from evtools.wire import GAP, EventFields

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

#: Type of event: its word, its style, and the fields of its line.
_EVENTS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "task-sent": ("SENT", "waiting", ("queue=",)),
    "task-received": ("RECV", "waiting", ("args", "kwargs")),
    "task-started": ("START", "running", ()),
    "task-succeeded": ("OK", "good", ("runtime", "result")),
    "task-failed": ("FAIL", "failure", ("exception",)),
    "task-retried": ("RETRY", "retry", ("exception",)),
    "task-revoked": ("REVOKE", "retry", ("terminated=", "signum=", "expired=")),
    "task-rejected": ("REJECT", "failure", ("requeue=",)),
    "task-cancelled": ("CANCEL", "retry", ()),
    "worker-online": ("online", "good", ("sw_ident", "sw_ver", "sw_sys")),
    "worker-heartbeat": ("beat", "dim", ("active=", "processed=", "loadavg=")),
    "worker-offline": ("offline", "late", ()),
    GAP: ("GAP", "late", ()),
}
#: Fields with a column of their own, or of interest to the protocol only.
# fmt: off
_PLACED: Final = frozenset((
    "type", "hostname", "uuid", "name", "timestamp", "local_received", "utcoffset", "pid", "clock",
))
# fmt: on
_NOTHING: Final[tuple[Any, ...]] = ("", "()", "[]", "{}", [], {}, None)
#: A line shows no more of a value; the detail has all of it.
_SHOWN_CHARS: Final = 1000

#: Celery cuts the reprs it sends at 1024 characters; a few less after cutting.
_SENDERS_CUT_FROM: Final = 1000
_SENDERS_CUT: Final = "..."


def text_of(value: Any) -> str | None:
    """Return a value as text, None for None."""
    return None if value is None else as_text(value)


def was_cut(value: Any) -> bool:
    """Return whether the sender has cut a repr."""
    return isinstance(value, str) and len(value) >= _SENDERS_CUT_FROM and _SENDERS_CUT in value[-6:]


def event_word(event: EventFields) -> str:
    """Return the word for the type of an event, not sanitised."""
    type_ = as_text(event.get("type"))
    return _EVENTS[type_][0] if type_ in _EVENTS else type_


def event_style(event: EventFields) -> str:
    """Return the style of an event."""
    type_ = event.get("type")
    return _EVENTS[type_][1] if isinstance(type_, str) and type_ in _EVENTS else ""


def event_story(event: EventFields) -> str:
    """Return the fields of an event in a line, without its task and worker, not sanitised."""
    type_ = event.get("type")
    if type_ == GAP:
        return gap_sentence(event)
    if isinstance(type_, str) and type_ in _EVENTS:
        return "  ".join(filter(None, (_part(event, f) for f in _EVENTS[type_][2])))
    named = (_part(event, f"{name}=") for name in event if name not in _PLACED)
    return "  ".join(filter(None, named))


def _part(event: EventFields, field: str) -> str:
    """Return one field of an event, with its name if that ends in `=`."""
    name = field.removesuffix("=")
    value = event.get(name)
    if value is False or value in _NOTHING:
        return ""
    seconds = finite(value)
    if name == "runtime" and seconds is not None:
        return human_duration(seconds)
    if name == "loadavg" and isinstance(value, list):
        value = value[0]
    text = as_text(value)[:_SHOWN_CHARS]
    return f"{field}{text}" if field.endswith("=") else text


def gap_sentence(event: EventFields) -> str:
    """Return what a gap record means, not sanitised."""
    reason = event.get("reason")
    if reason == "worker":
        hostname = as_text(event.get("hostname"))
        return f"~{as_text(event.get('missed'))} tasks of {hostname} not seen"
    if reason == "buffer":
        return f"{as_text(event.get('dropped'))} events dropped: evtop was too slow"
    length = finite(event.get("duration"))
    lasted = "some time" if length is None else human_duration(length)
    error = f" ({as_text(event['error'])})" if event.get("error") else ""
    return f"{lasted} without events: {as_text(reason)}{error}"
