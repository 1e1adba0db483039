"""What a worker said of itself when it was asked, a section for each command: page and report."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from evtools.rows import WorkerFacts
from evtools.state import TASK_COMMANDS, InspectedTask, epoch, tasks_in
from evtools.text import hide_credentials, human_age, human_duration, sanitize
from evtools.top.columns import RenderContext, as_text, one_line
from evtools.top.survey import Reply, Survey
from evtools.top.table import Detail, labelled, paragraph

#: No figure of a worker is larger.
_NUMBER_MAX: Final = 1e15
#: More lines of a section than anyone reads.
_LINES_MAX: Final = 2000
#: How much is shown of a task's id, name and arguments on a page, and in a report.
_PAGE_COLS: Final = (8, 40, 80)
_REPORT_COLS: Final = (255, 255, 2000)
_SHOWN_CHARS: Final = 2000
#: Settings whose values are secrets, whatever the worker itself has masked.
_SECRETS: Final = re.compile("API|TOKEN|KEY|SECRET|PASS|SIGNATURE|CREDENTIAL", re.IGNORECASE)
#: How long an answer may well take, in seconds.
_ANSWERS_WITHIN: Final = 2.0
#: Of its run times, what share a task may be beyond before it is marked.
_LONG: Final = 3.0


#: The commands whose answers make each section, in the order in which they are shown.
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Tasks": TASK_COMMANDS,
    "Pool": ("stats",),
    "Queues": ("active_queues",),
    "Registered": ("registered",),
    "Revoked": ("revoked",),
    "Config": ("conf",),
}
#: Those of a report; Celery's own comes first.
REPORT_SECTIONS: Final = {"Report": ("report",), **SECTIONS}
#: A heading for each group of tasks.
_GROUPS: Final = {"active": "running", "reserved": "reserved", "scheduled": "scheduled"}


#: Of these workers nothing more will come.
GONE: Final = ("gone", "offline")


def worker_page(
    row: Any,
    lines: tuple[str, ...],
    last: tuple[str, ...],
    info: tuple[str, ...],
    survey: Survey,
    p95: Callable[[str], float | None],
    context: RenderContext,
) -> Detail:
    """Return the page of a worker, the `row` of the table, with what it replied to commands.

    `lines` stand above the sections, and `info` is one; `last` are the tasks that it had by its
    events, if it is gone.  `p95` returns how long 95 % of a type of task run at most, in seconds.
    What was not answered says why, or for how long it has been waited for.
    """
    replies = survey.replies if survey.page == row.hostname else {}

    def missing(command: str) -> list[str]:
        return [
            *_why_missing(command, row, survey, context),
            *_known(command, row, survey, context),
        ]

    asked = SECTIONS
    if row.status in GONE:
        # One sentence on it is enough.
        said = tuple(one for one in TASK_COMMANDS if one in replies)
        asked = {**SECTIONS, "Tasks": said}
    sections = _sections(asked, replies, p95, context, _PAGE_COLS, missing)
    if row.status in GONE:
        older = sections["Tasks"]
        heading = ("", "as it had replied before it went", "") if older else ()
        sections["Tasks"] = (*last, *heading, *older)
    title = one_line(row.hostname, _PAGE_COLS[1])
    return Detail(title, lines, {**sections, "Info": info}, "Tasks")


def _why_missing(command: str, row: Any, survey: Survey, context: RenderContext) -> Iterator[str]:
    if row.status in GONE:
        yield f"It is {row.status}, and did not say so before."
        return
    since = survey.waits_since.get(command)
    if since is None:
        yield "Not asked yet."
        return
    waited = max(0.0, context.now - since)
    if waited < _ANSWERS_WITHIN:
        yield "No answer yet."
        return
    yield f"No answer for {human_age(waited)}."
    yield "With the pool solo a worker answers between two tasks only."
    if survey.error:
        yield sanitize(f"The workers could not be asked: {survey.error[:_SHOWN_CHARS]}")


def _known(command: str, row: Any, survey: Survey, context: RenderContext) -> Iterator[str]:
    # What all workers are asked now and then.
    facts = survey.workers.get(row.hostname, WorkerFacts())
    found: list[tuple[str, Any]] = []
    if command == "stats":
        found = [("size", facts.pool), ("pid", facts.pid)]
    elif command == "active_queues" and facts.shown_queues is not None:
        found = [("queues", ", ".join(facts.shown_queues)[:_SHOWN_CHARS] or "none")]
    if facts.at and any(value is not None for _, value in found):
        yield from ("", *labelled(found))
        yield from ("", f"as it replied {human_age(max(0.0, context.now - facts.at))} ago")


def last_signs(worker: Any, row: Any, context: RenderContext) -> tuple[str, ...]:
    """Return lines on a worker that is not there, as the `row` says: since when, and its last."""
    if row.status not in GONE:
        return ()
    what = "it said goodbye" if row.status == "offline" else "its last event came"
    age = human_age(max(0.0, context.now - row.seen))
    beat = "no heartbeat"
    if worker.last_beat is not None:
        beat = f"the last heartbeat {human_age(max(0.0, context.now - worker.last_beat))} ago"
    elif row.status == "offline":
        beat = "heartbeats until then"
    reported = [
        None if worker.active is None else f"{worker.active} running",
        None if worker.processed is None else f"{worker.processed} processed",
        "load " + " ".join(map("{:.1f}".format, row.load)) if row.load else None,
    ]
    words = ", ".join(filter(None, reported)) or "nothing of its tasks"
    software = " ".join(filter(None, (row.version, row.system)))
    runs = [software or None, None if worker.pid is None else f"pid {worker.pid}"]
    lines = (
        f"state   {row.status}: {what} at {context.time_of_day(row.seen)}, {age} ago; {beat}",
        f"said    {words}, in its last heartbeat",
        f"was     {', '.join(filter(None, runs)) or 'not known'}",
    )
    return tuple(map(sanitize, lines))


def last_tasks(tasks: Iterable[Any], row: Any, context: RenderContext) -> tuple[str, ...]:
    """Return lines on the open `tasks` of a worker that is gone, as its events have them."""
    if row.status not in GONE:
        return ()
    running: list[str] = []
    received: list[str] = []
    skew = row.skew or 0.0
    for task in tasks:
        uuid, name = sanitize(task.uuid[: _PAGE_COLS[0]]), one_line(task.name or "?", _PAGE_COLS[1])
        called = one_line(f"{task.args or '?'} {task.kwargs or '?'}", _PAGE_COLS[2])
        at = task.started if task.state == "STARTED" else task.received
        when = "" if at is None else f"since {context.time_of_day(at - skew)}"
        into = running if task.state == "STARTED" else received
        into.append(f"  {when:<16}{uuid:<8}  {name}  {called}")
    if not running and not received:
        return ("It had no task, by its events.",)
    lines = [f"it ran {len(running)} when it went, by its events", *running]
    if received:
        lines += ["", f"it had received {len(received)} more; the broker may give them to another"]
        lines += received
    return tuple(lines[:_LINES_MAX])


def worker_report(
    name: str,
    info: tuple[str, ...],
    replies: Mapping[str, Reply],
    p95: Callable[[str], float | None],
    context: RenderContext,
) -> Iterator[str]:
    """Yield the lines of a report on the worker `name`; `replies` are what it said to commands."""

    def missing(_: str) -> list[str]:
        return ["No answer."]

    sections = _sections(REPORT_SECTIONS, replies, p95, context, _REPORT_COLS, missing)
    yield f"==== {sanitize(name[:_SHOWN_CHARS])} ===="
    for title, lines in {**sections, "Info, by its events": info}.items():
        yield from ("", f"---- {title} ----", "", *lines)
    yield ""


def answered(replies: Mapping[str, Reply]) -> int:
    """Return how many sections of a report have their answers."""
    return sum(all(map(replies.__contains__, commands)) for commands in REPORT_SECTIONS.values())


def _sections(
    commands_of: Mapping[str, tuple[str, ...]],
    replies: Mapping[str, Reply],
    p95: Callable[[str], float | None],
    context: RenderContext,
    cols: tuple[int, int, int],
    missing: Callable[[str], list[str]],
) -> dict[str, tuple[str, ...]]:
    sections: dict[str, tuple[str, ...]] = {}
    for title, commands in commands_of.items():
        text: list[str] = []
        for command in commands:
            reply = replies.get(command)
            if reply is None:
                found, age = missing(command), ""
            else:
                found = list(_section(command, reply.value, p95, context, cols))
                age = f"{human_age(max(0.0, context.now - reply.at))} ago"
            if len(found) > _LINES_MAX:
                found = [*found[:_LINES_MAX], f"and {len(found) - _LINES_MAX} more lines"]
            if command in _GROUPS:
                text += [*([""] if text else []), f"{_GROUPS[command]:<12}{age}"]
                text += [f"  {line}" for line in found]
            else:
                text += [*found, *(["", f"as it replied {age}"] if age else [])]
        sections[title] = tuple(text)
    return sections


def _section(
    command: str,
    value: Any,
    p95: Callable[[str], float | None],
    context: RenderContext,
    cols: tuple[int, int, int],
) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(value.get("error"), str):
        yield from paragraph(f"It could not say: {value['error']}")
    elif command in ("active", "reserved", "scheduled"):
        yield from _tasks(command, value, p95, context, cols)
    elif command == "report":
        yield from _celery_report(value)
    elif command == "stats":
        yield from _pool(value)
    elif command == "active_queues":
        yield from _queues(value)
    elif command == "conf":
        yield from _settings(value)
    else:
        names = sorted(map(as_text, value)) if isinstance(value, list) else []
        yield from (sanitize(name[:_SHOWN_CHARS]) for name in names)
        if not names:
            yield "None."


def _tasks(
    command: str,
    value: Any,
    p95: Callable[[str], float | None],
    context: RenderContext,
    cols: tuple[int, int, int],
) -> Iterator[str]:
    id_cols, name_cols, arguments_cols = cols
    tasks = list(tasks_in(command, value))
    if command == "active":
        tasks.sort(key=lambda task: task.started or context.now)
    elif command == "scheduled":
        tasks.sort(key=lambda task: task.eta or "")
    if not tasks:
        yield "No tasks."
    for task in tasks:
        when = _when(command, task, p95, context)
        name = one_line(task.name or "?", name_cols)
        called = f"{task.args or '?'} {task.kwargs or '?'}"
        called = one_line(called, arguments_cols)
        uuid = sanitize(task.uuid[:id_cols])
        yield f"{f'{when:<28}' if when else ''}{uuid:<8}  {name}  {called}"


def _when(
    command: str, task: InspectedTask, p95: Callable[[str], float | None], context: RenderContext
) -> str:
    if command == "active" and task.started is not None:
        ran = max(0.0, context.now - task.started)
        usual = p95(task.name or "")
        text = human_duration(ran)
        if usual:
            text += f" (p95 {human_duration(usual)})"
            text += " LONG" if ran > _LONG * usual else ""
        return text
    if command == "scheduled":
        due = epoch(task.eta)
        if due is None:
            return sanitize(task.eta or "?")[:28]
        return f"due in {human_age(due - context.now)}" if due > context.now else "due"
    return ""


def _pool(stats: Any) -> Iterator[str]:
    if not isinstance(stats, Mapping):
        yield "Nothing that can be read."
        return
    pool, rusage, broker = (_part(stats, name) for name in ("pool", "rusage", "broker"))
    processes = pool.get("processes")
    processes = processes if isinstance(processes, list) else []
    uptime, memory = _finite(stats.get("uptime")), _finite(rusage.get("maxrss"))
    cpu = [_finite(rusage.get(name)) for name in ("utime", "stime")]
    yield from labelled(
        (label, None if value is None else as_text(value)[:_SHOWN_CHARS])
        for label, value in (
            ("pool", pool.get("implementation")),
            ("size", pool.get("max-concurrency")),
            ("processes", " ".join(map(as_text, processes)) or None),
            ("tasks/process", pool.get("max-tasks-per-child")),
            ("time limits", _limits(pool.get("timeouts"))),
            ("prefetch", stats.get("prefetch_count")),
            ("uptime", None if uptime is None else human_duration(uptime)),
            ("pid", stats.get("pid")),
            ("CPU", " + ".join(f"{one:.1f}s" for one in cpu if one is not None) or None),
            ("memory", None if memory is None else f"{memory / 1024:.0f} MiB at the most"),
            ("clock", stats.get("clock")),
            (
                "broker",
                " ".join(as_text(broker[one]) for one in _BROKER if broker.get(one)) or None,
            ),
        )
    )
    total = _part(stats, "total")
    if total:
        yield ""
        yield "started since then"
        for name, count in sorted(total.items(), key=lambda pair: as_text(pair[0])):
            yield f"  {one_line(as_text(count), 12):>12}  {one_line(as_text(name), 100)}"


_BROKER: Final = ("transport", "hostname", "port", "virtual_host")


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = value.get(name)
    return part if isinstance(part, Mapping) else {}


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _NUMBER_MAX else None


def _limits(timeouts: Any) -> str | None:
    if not isinstance(timeouts, list) or len(timeouts) != 2:  # noqa: PLR2004  (soft and hard)
        return None
    texts = [human_duration(one) if one else "none" for one in map(_finite, timeouts)]
    return f"soft {texts[0]}, hard {texts[1]}"


def _queues(queues: Any) -> Iterator[str]:
    found = [one for one in queues if isinstance(one, Mapping)] if isinstance(queues, list) else []
    if not found:
        yield "It consumes no queue."
    for queue in found:
        exchange = _part(queue, "exchange")
        facts = [
            as_text(queue.get("name")),
            f"exchange {as_text(exchange.get('name'))} ({as_text(exchange.get('type'))})",
            f"key {as_text(queue.get('routing_key'))}",
            *(
                flag
                for flag in ("durable", "exclusive", "auto_delete", "no_ack")
                if queue.get(flag)
            ),
        ]
        yield sanitize("  ".join(facts)[:_SHOWN_CHARS])


def _settings(settings: Any) -> Iterator[str]:
    if not isinstance(settings, Mapping) or not settings:
        yield "Only Celery's own settings."
        return
    for name, value in sorted(settings.items(), key=lambda pair: as_text(pair[0])):
        text = "********" if _SECRETS.search(as_text(name)) else hide_credentials(as_text(value))
        yield sanitize(f"{as_text(name)} = {text}"[:_SHOWN_CHARS])


#: A setting of a report; its value may go on in lines that are indented.
_SETTING: Final = re.compile(r"(\w+):")


def _celery_report(value: Any) -> Iterator[str]:
    text = value.get("ok") if isinstance(value, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        yield "Nothing that can be read."
        return
    hides = False
    for line in hide_credentials(text).strip().splitlines():
        setting = _SETTING.match(line)
        if setting is not None:
            hides = _SECRETS.search(setting[1]) is not None
            yield sanitize((f"{setting[1]}: ********" if hides else line)[:_SHOWN_CHARS])
        elif not hides:
            yield sanitize(line[:_SHOWN_CHARS])
