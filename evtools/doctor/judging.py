"""Checks on what was seen and heard of the workers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evtools.doctor.case import Case
from evtools.doctor.finding import Finding, Severity
from evtools.doctor.listening import ask, listen
from evtools.doctor.observation import Observation
from evtools.text import human_duration
from evtools.transport.errors import FAILURES

_NAMES_SHOWN: Final = 5
#: Whoever listens for less than two heartbeats and some delay cannot tell that
#: there are none, in seconds.
_BEATS_TAKE: Final = 5.0
#: How far clocks may be off: below that it may be the way here, in seconds.
_TOLERANCE: Final = 2.0


def check_events(case: Case) -> Iterator[Finding]:
    """Listen, and ask the workers meanwhile; then say what has come."""
    case.examination.begin()
    case.has_mailboxes = case.examination.has_mailboxes()
    if case.can_listen:
        case.observation = listen(
            case.settings, case.options.wait, case.clock, asks=case.has_mailboxes
        )
        failure = case.observation.failure
        if failure is not None and isinstance(failure.__cause__, FAILURES):
            raise failure.__cause__
        yield from arrived(case.observation)
    elif case.has_mailboxes:
        ask(case.settings, case.observation)


def arrived(seen: Observation) -> Iterator[Finding]:
    """Yield what to make of the events that came, or did not."""
    span = human_duration(seen.seconds)
    if seen.failure is not None:
        yield Finding("events", "problem", seen.failure.message, seen.failure.hint)
    elif seen.events:
        text = f"{_count(seen.events, 'event')} of {_count(len(seen.workers), 'worker')}"
        yield Finding("events", "ok", f"{text} arrived in {span}")
    else:
        yield Finding("events", "problem", f"nothing arrived in {span}", _why(seen))
    for kind, count in seen.defects:
        yield Finding(
            "events",
            "warning",
            f"{_count(count, 'message')} could not be read, whole or in part: {kind}",
            "Compare event_serializer of the workers with --accept, and see who else"
            " sends to this exchange.",
        )


def _why(seen: Observation) -> str:
    """Return the most likely reason for silence."""
    if seen.pongs:
        return (
            "Workers answer, so this is the right broker; their events go elsewhere"
            " (event_exchange, fanout_prefix), or they were started with"
            " --without-heartbeat and without -E."
        )
    return (
        "No worker runs, or workers and we do not mean the same place: broker,"
        " virtual host or database, event_exchange, prefixes."
    )


_DEAF: Final = (
    "started with worker_enable_remote_control = False, or with another"
    " control_exchange (--control-exchange)."
)


def check_workers(case: Case) -> Iterator[Finding]:
    """See who answered when asked."""
    seen = case.observation
    if seen.refusal is not None:
        yield Finding(
            "workers",
            "warning",
            f"we could not ask the workers: {seen.refusal.message}",
            "Watching works without; actions in evtop do not. --read-only asks nobody.",
        )
    elif seen.pongs is None:
        yield _unasked(case)
    elif seen.pongs:
        text = f"{_count(len(seen.pongs), 'worker')} answered: "
        yield Finding("workers", "ok", text + _names(case, sorted(seen.pongs)))
    for kind, count in seen.unread.items():
        noun = "reply" if count == 1 else "replies"
        text = f"{count} {noun} could not be read: {kind}"
        advice = "Workers reply in JSON, with less than 1 MiB: see who else does."
        yield Finding("workers", "warning", text, advice)
    if seen.pongs is not None:
        yield from _mute(case, seen)
    yield from _shared(case, seen)


def _unasked(case: Case) -> Finding:
    """Say why nobody was asked."""
    if case.settings.read_only:
        return Finding("workers", "note", "nobody was asked: --read-only")
    if case.has_mailboxes:
        return Finding("workers", "note", "nobody was asked, as we cannot listen")
    text = f"there is no exchange {case.settings.control_exchange}.pidbox"
    if not case.observation.workers:
        text += ", so no worker takes questions here"
        return Finding("workers", "note", text)
    return Finding("workers", "warning", f"nobody can be asked: {text}", f"They were {_DEAF}")


def _mute(case: Case, seen: Observation) -> Iterator[Finding]:
    mute = sorted(set(seen.workers) - (seen.pongs or set()))
    if mute:
        text = "events come from workers that do not answer: "
        yield Finding(
            "workers",
            "warning",
            text + _names(case, mute),
            f"Busy with a solo or thread pool, {_DEAF}",
        )
    elif not seen.pongs:
        text = "no worker answered"
        yield Finding(
            "workers",
            "problem",
            text,
            f"No worker runs here. Or it is busy with a solo or thread pool, {_DEAF}",
        )


def _shared(case: Case, seen: Observation) -> Iterator[Finding]:
    """See whether several workers were started under one name."""
    for node, signs in sorted(seen.workers.items()):
        if signs.processes > 1:
            yield Finding(
                "workers",
                "warning",
                f"{signs.processes} processes use the name {_names(case, [node])}",
                "Their figures are mixed up, and a command to one reaches all. Give"
                " each a name of its own; %h is its host, and another name before the"
                " @ keeps two on one host apart:\n"
                "  celery -A proj worker -n worker2@%h",
            )


def check_task_events(case: Case) -> Iterator[Finding]:
    """See whether workers tell of their tasks."""
    seen = case.observation
    kinds: dict[str, list[str]] = {name: [] for name in _TELLING}
    for node in seen.nodes:
        kinds[_telling(seen, node)].append(node)
    for kind, (severity, text, advice) in _TELLING.items():
        if kinds[kind]:
            names = _names(case, kinds[kind])
            yield Finding("task-events", severity, f"{text}: {names}", advice)
    if kinds["seen"] and not seen.sent:
        yield Finding(
            "task-events",
            "note",
            "no client sent task-sent events",
            "Queue names and waiting times need task_send_sent_event = True in the clients.",
        )


def _telling(seen: Observation, node: str) -> str:
    """Return what is known of a worker's task events."""
    signs = seen.signs(node)
    if signs.task_events:
        return "seen"
    if signs.done:
        return "off"
    told = seen.settings.get(node)
    if told is None:
        return "untold"
    return "set" if told.get("worker_send_task_events") is True else "unset"


_SWITCH_ON: Final = (
    "Start workers with -E, or set worker_send_task_events = True; until their next"
    " restart this does it, too, given the same broker:\n  evdump --enable-events"
)
_UNKNOWN: Final = "no task ran, so it is unknown whether task events are on, at"
_TELLING: Final[Mapping[str, tuple[Severity, str, str]]] = {
    "off": ("problem", "task events are off: tasks ran, and nothing came of any, at", _SWITCH_ON),
    "unset": (
        "note",
        _UNKNOWN,
        (
            "Their settings leave them off; -E on a worker's command line, which nobody"
            f" can ask for, switches them on. If they are off:\n{_SWITCH_ON}"
        ),
    ),
    "untold": ("note", _UNKNOWN, f"If they are off:\n{_SWITCH_ON}"),
    "set": ("ok", "are switched on, though no task was seen, at", ""),
    "seen": ("ok", "come from", ""),
}


def check_clocks(case: Case) -> Iterator[Finding]:
    """Compare the workers' clocks with ours."""
    seen = case.observation
    delays = {
        node: signs.delay for node, signs in sorted(seen.workers.items()) if signs.delay is not None
    }
    wrong = {node: delay for node, delay in delays.items() if abs(delay) > _TOLERANCE}
    for late, word in ((True, "behind"), (False, "ahead of")):
        these = [node for node, delay in wrong.items() if (delay > 0) is late]
        if these:
            off = max(abs(wrong[node]) for node in these)
            yield Finding(
                "clocks",
                "warning",
                f"up to {human_duration(off)} {word} ours: {_names(case, these)}",
                "Ages, waits and runtimes across hosts are wrong by that."
                + (" Or is it events that take so long to get here?" if late else "")
                + " Let both hosts use NTP; each says whether it does:\n"
                "  timedatectl",
            )
    if delays and not wrong:
        text = f"of {_count(len(delays), 'worker')} are right within {_TOLERANCE:g}s"
        yield Finding("clocks", "ok", text)


def check_heartbeats(case: Case) -> Iterator[Finding]:
    """See whether workers send heartbeats without being asked."""
    seen = case.observation
    without = [node for node in seen.nodes if not seen.signs(node).beats]
    beating = len(seen.nodes) - len(without)
    if not case.can_listen:
        return
    if without and seen.seconds < _BEATS_TAKE:
        yield Finding(
            "heartbeats",
            "note",
            f"we listened for too short a time to tell (--wait {_BEATS_TAKE:g}s)",
        )
    elif without:
        yield Finding(
            "heartbeats",
            "warning",
            f"none came in {human_duration(seen.seconds)} from {_names(case, without)}",
            "Started with --without-heartbeat or a long --heartbeat-interval? Whether"
            " they live can then be told only while they work.",
        )
    if beating:
        yield Finding("heartbeats", "ok", f"come from {_count(beating, 'worker')}")


def _names(case: Case, names: Sequence[str]) -> str:
    shown = names if case.options.verbose else names[:_NAMES_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
