"""The detail of a task: traceback, arguments, timeline, family."""

from collections.abc import Iterator
from typing import Any, Final

from evtools.filters import running_since
from evtools.state import ALIVE
from evtools.text import elide_middle, human_duration, sanitize
from evtools.top.columns import Lens, finite, one_line
from evtools.top.detail import Detail, labelled, paragraph, raw
from evtools.top.tree import grow, tops
from evtools.top.wording import LOST, STATES, event_story, said, text_of, was_cut

_CUT_NOTE: Final = "(cut by the sender: Celery sends 1024 characters)"
_ID_CHARS: Final = 8
_NAME_COLS: Final = 40
_VALUE_COLS: Final = 60
_FAMILY_MAX: Final = 500
#: From so many seconds on, a clock that is off is told beside its times.
_SKEW_SHOWN: Final = 1.0
#: What is said of an attempt or a task in order of time: attribute and word.
_TIMES: Final = (
    ("sent", "sent"),
    ("received", "received"),
    ("started", "started"),
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("retried", "retried"),
    ("revoked", "revoked"),
    ("rejected", "rejected"),
    ("cancelled", "cancelled"),
)


def task_detail(task: Any, lens: Lens, state: Any) -> Detail:
    """Return all that is known of a task; `state` knows its family."""
    traceback = task.traceback
    sections = {
        "Traceback": _traceback(task),
        "Info": _info(task, lens),
        "Args": _arguments(task),
        "Timeline": tuple(_timeline(task, lens)),
        "Tree": _family(task, lens, state),
        "Raw": raw(_everything(task)),
    }
    title = f"{one_line(said(task.name or '?'), _NAME_COLS)} {_uuid(task)}"
    lines = (_state_line(task, lens), *_argument_lines(task), _time_line(task, lens))
    lines += (_tree_line(task, state),)
    return Detail(title, lines, sections, "Traceback" if traceback else "Args")


def state_of(task: Any, now: float) -> tuple[str, str]:
    """Return the word for the state a task is in, and its style."""
    if task.lost(now):
        return LOST
    return STATES.get(task.state, (said(task.state), ""))


def run_of(task: Any, now: float) -> float | None:
    """Return how long a task ran or has run so far; unknown if it may be lost."""
    known: float | None = task.runtime
    if known is not None:
        return known
    since = running_since(task)
    if since is None or task.lost(now):
        return None
    return max(0.0, now - since)


def _uuid(task: Any) -> str:
    return one_line(said(task.uuid), _VALUE_COLS)


# --- the lines that are always there ----------------------------------------------


def _state_line(task: Any, lens: Lens) -> str:
    line = f"state   {said(task.state)}"
    if task.lost(lens.now):
        left = "the process that had it" if _is_there(task, lens.now) else "its worker"
        line = f"state   LOST? ({left} has gone)"
    run = run_of(task, lens.now)
    if run is not None:
        line += f" after {human_duration(run)}"
    if task.worker_name is not None:
        line += f" on {said(task.worker_name)}"
    return sanitize(line if task.pid is None else f"{line} pid {said(task.pid)}")


def _is_there(task: Any, now: float) -> bool:
    return task.worker.status(now) in ALIVE


def _argument_lines(task: Any) -> Iterator[str]:
    if task.args is None and task.kwargs is None:
        yield "args    unknown: not received while we listened"
        return
    args = one_line(said(task.args if task.args is not None else "?"), _VALUE_COLS)
    kwargs = one_line(said(task.kwargs if task.kwargs is not None else "?"), _VALUE_COLS)
    cut = f"  {_CUT_NOTE}" if was_cut(task.args) or was_cut(task.kwargs) else ""
    yield f"args    {args}   kwargs {kwargs}{cut}"


def _time_line(task: Any, lens: Lens) -> str:
    parts, first = [], None
    for name, word in _TIMES:
        moment = finite(getattr(task, name, None))
        if moment is None:
            continue
        if first is None:
            first = moment
            parts.append(f"{word} {lens.time_of_day(moment, millis=True)}")
        else:
            parts.append(f"{word} {_relative(moment - first)}")
    if task.queue_or_none is not None:
        parts.append(f" queue {one_line(said(task.queue_or_none), _NAME_COLS)}")
    if task.retries is not None:
        parts.append(f" retries {said(task.retries)}")
    return "time    " + ("  ".join(parts) or "unknown") + _clock_note(task)


def _clock_note(task: Any) -> str:
    """Return how far the clock behind most of these times is off, if that shows."""
    skew = finite(task.worker.skew) if task.worker is not None else None
    if skew is None or abs(skew) < _SKEW_SHOWN:
        return ""
    side = "ahead" if skew > 0 else "behind"
    return f"   (the worker's clock is {human_duration(abs(skew))} {side})"


def _relative(seconds: float) -> str:
    return ("+" if seconds >= 0 else "") + human_duration(seconds)


def _tree_line(task: Any, state: Any) -> str:
    parts = []
    for role, uuid in (("root", task.root_id), ("parent", task.parent_id)):
        if uuid is not None and uuid != task.uuid:
            known = state.tasks.get(uuid)
            name = f" {said(known.name)}" if known is not None and known.name else ""
            parts.append(f"{role} {said(uuid)[:_ID_CHARS]}{name}")
    count = len(state.children(task.uuid))
    children = f"{count} child" if count == 1 else f"{count} children"
    return sanitize("tree    " + " > ".join([*parts, "this", children]))


# --- sections ---------------------------------------------------------------------


def _traceback(task: Any) -> tuple[str, ...]:
    if task.traceback is not None:
        return paragraph(said(task.traceback))
    if task.exception is not None:
        return ("The event had no traceback.", "", *paragraph(said(task.exception)))
    return ("There is none: nothing was raised, as far as we know.",)


def _info(task: Any, lens: Lens) -> tuple[str, ...]:
    word, _ = state_of(task, lens.now)
    run = run_of(task, lens.now)
    pairs = [
        ("uuid", text_of(task.uuid)),
        ("name", text_of(task.name) or "unknown: not received while we listened"),
        ("state", f"{said(task.state)} ({word})"),
        ("last heard", lens.moment(finite(task.local_received))),
        ("worker", text_of(task.worker_name)),
        ("pid", text_of(task.pid)),
        ("client", text_of(task.client)),
        ("queue", text_of(task.queue_or_none)),
        ("exchange", text_of(task.exchange)),
        ("routing key", text_of(task.routing_key)),
        ("retries", text_of(task.retries)),
        ("waited", _duration(task.wait)),
        ("in the queue", _duration(task.queue_time)),
        ("ran", _duration(run)),
        ("eta", text_of(task.eta)),
        ("expires", text_of(task.expires)),
        ("terminated", text_of(task.get("terminated"))),
        ("signal", text_of(task.get("signum"))),
        ("expired", text_of(task.get("expired"))),
        ("requeued", text_of(task.get("requeue"))),
        ("root", text_of(task.root_id)),
        ("parent", text_of(task.parent_id)),
        ("told us", event_story(task.note) if task.note else None),
        ("memory", f"{said(task.weight_bytes)} bytes"),
    ]
    return labelled(pairs)


def _duration(seconds: Any) -> str | None:
    known = finite(seconds)
    return None if known is None else human_duration(known)


def _arguments(task: Any) -> tuple[str, ...]:
    lines: list[str] = []
    for name in ("args", "kwargs", "result", "exception"):
        value = getattr(task, name)
        if value is None:
            continue
        lines += [name, *(f"  {line}" for line in paragraph(said(value)))]
        if was_cut(value):
            lines.append(f"  {_CUT_NOTE}")
    return tuple(lines) or ("Unknown: not received while we listened.",)


def _timeline(task: Any, lens: Lens) -> Iterator[str]:
    attempts = [*task.attempts, task]
    moments = [
        moment
        for attempt in attempts
        for name, _ in _TIMES
        if (moment := finite(getattr(attempt, name, None))) is not None
    ]
    if not moments:
        yield "No event with a time was received."
        return
    first = min(moments)
    yield f"from {lens.time_of_day(first, millis=True)} on, by the senders' clocks"
    for number, attempt in enumerate(attempts):
        where = f" on {said(attempt.worker_name)}" if attempt.worker_name else ""
        retries = getattr(attempt, "retries", None)
        tried = number if retries is None else retries
        yield sanitize(f"attempt {said(tried)}{where}")
        yield from _steps(attempt, first)


def _steps(attempt: Any, first: float) -> Iterator[str]:
    steps = [
        (moment, word)
        for name, word in _TIMES
        if (moment := finite(getattr(attempt, name, None))) is not None
    ]
    ended = finite(getattr(attempt, "ended", None))
    if ended is not None and all(moment != ended for moment, _ in steps):
        steps.append((ended, said(attempt.state)))
    before = None
    for moment, word in sorted(steps, key=lambda step: step[0]):
        since = "" if before is None else f"  ({_relative(moment - before)})"
        yield f"  {_relative(moment - first):>9}  {sanitize(word)}{since}"
        before = moment
    exception = getattr(attempt, "exception", None)
    if exception is not None:
        yield f"  {'':>9}  {one_line(said(exception), 4 * _VALUE_COLS)}"


def _family(task: Any, lens: Lens, state: Any) -> tuple[str, ...]:
    root = task.root_id if task.root_id is not None else task.uuid
    family = {each.uuid: each for each in state.family(root)[:_FAMILY_MAX]}
    family[task.uuid] = task
    below: dict[str, list[str]] = {}
    for each in family.values():
        below.setdefault(each.parent_id, []).append(each.uuid)
    nodes = grow(
        tops(family, lambda uuid: family[uuid].parent_id, family),
        lambda uuid: below.get(uuid, []),
        ascii_only=lens.ascii,
    )
    return tuple(_member(node.prefix, family[node.key], task, lens) for node in nodes)


def _member(prefix: str, member: Any, task: Any, lens: Lens) -> str:
    mark = ">" if member.uuid == task.uuid else " "
    name = elide_middle(sanitize(said(member.name or "?")[:1024]), _NAME_COLS)
    word, _ = state_of(member, lens.now)
    ran = _duration(run_of(member, lens.now)) or ""
    uuid = sanitize(said(member.uuid)[:_ID_CHARS])
    return f"{mark} {prefix}{name} {uuid} {sanitize(word)} {ran}".rstrip()


def _everything(task: Any) -> dict[str, Any]:
    """Return the fields of a task that are known, as plain values."""
    return {name: value for name, value in plain_task(task).items() if value is not None}


#: The fields of a task that an export has, in this order.
_EXPORTED: Final = (
    *("uuid", "name", "state", "hostname", "client", "pid", "queue", "exchange"),
    *("routing_key", "args", "kwargs", "result", "exception", "traceback"),
    *("retries", "eta", "expires", "root_id", "parent_id", "runtime", "wait"),
    *("sent", "received", "started", "succeeded", "failed", "retried", "revoked"),
    *("rejected", "cancelled", "terminated", "signum", "expired", "requeue"),
    *("timestamp", "local_received", "clock", "note"),
)


def plain_task(task: Any) -> dict[str, Any]:
    """Return the fields of a task as plain values, in a fixed order."""
    return {name: task.get(name) for name in _EXPORTED}
