"""Listening to the cluster and asking its workers, and the checks on what came of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from evtools.clock import Clock
from evtools.doctor.context import Context, Finding, Observation, Severity, counted
from evtools.errors import EvtoolsError
from evtools.text import human_duration
from evtools.transport import ConnectionSettings, EventReceiver, call, explain
from evtools.transport.errors import FAILURES

#: How often to look at the clock while listening, in seconds.
_TICK: Final = 0.25
#: How long workers may take to answer, in seconds: a solo pool is slow.
_ANSWER: Final = 2.0
#: How many workers are asked for their settings, which are rarely different.
_ASKED_MAX: Final = 50
#: Listening for less than two heartbeats and some delay proves nothing; in seconds.
_BEATS_TAKE: Final = 5.0
#: How far clocks may be off: below that it may be the way here; in seconds.
_TOLERANCE: Final = 2.0


def listen(
    settings: ConnectionSettings, wait: float, clock: Clock, *, asks: bool = True
) -> Observation:
    """Listen for `wait` seconds from the moment we are subscribed.

    With `asks`, workers are asked meanwhile.  Without, nothing is published, and the
    exchange for questions is not made where it is missing.
    """
    seen, notices = Observation(), list[str]()
    wakeup = settings.wakeup and asks
    settings = replace(
        settings, reconnect=False, routing_keys=("#",), enable_events=False, wakeup=wakeup
    )
    since: float | None = None
    with EventReceiver(
        settings, on_notice=lambda notice: notices.append(notice.kind), clock=clock
    ) as receiver:
        try:
            for events in receiver.batches(_TICK):
                seen.apply(events)
                if since is None and "listening" in notices:
                    since = clock.monotonic()
                    if asks:
                        # The reader thread goes on to collect events meanwhile.
                        ask(settings, seen, min(wait, _ANSWER))
                if since is not None:
                    seen.seconds = clock.monotonic() - since
                    if seen.seconds >= wait:
                        break
        except EvtoolsError as error:
            seen.failure = error
        defects = receiver.statistics().defects
    seen.defects = tuple((defect.kind, defect.count) for defect in defects)
    return seen


def ask(settings: ConnectionSettings, seen: Observation, deadline: float = _ANSWER) -> None:
    """Ping the workers, and ask for those of their settings that are not Celery's own.

    Each answer may take `deadline` seconds.
    """
    if settings.read_only:
        return
    try:
        replies = call(settings, "ping", deadline=deadline)
        seen.pongs = frozenset(replies.by_node)
        seen.unread.update(replies.unread)
        if seen.pongs:
            asked = sorted(seen.pongs)[:_ASKED_MAX]
            replies = call(settings, "conf", destination=asked, deadline=deadline)
            seen.unread.update(replies.unread)
            seen.settings = {
                node: reply for node, reply in replies.by_node.items() if isinstance(reply, Mapping)
            }
    except Exception as exc:  # noqa: BLE001  (whatever a driver raises)
        seen.refusal = explain(exc, settings)


_ELSEWHERE: Final = (
    "Workers answer, so this is the right broker; their events go elsewhere (event_exchange,"
    " fanout_prefix), or they were started with --without-heartbeat and without -E."
)
_NOBODY: Final = (
    "Either no worker is running, or the workers use a different broker, virtual host or"
    " database, exchange or prefix."
)
_DEAF: Final = (
    "started with worker_enable_remote_control = False, or with another"
    " control_exchange (--control-exchange)."
)
#: From 4.3 on by default, and before it where it is set so.
_MAY_REFUSE: Final = re.compile(r"RabbitMQ ([4-9]|\d\d)")
_REFUSED: Final = (
    " Or it cannot connect: from 4.3 on, and before with deprecated_features.permit"
    ".transient_nonexcl_queues = false, RabbitMQ refuses queues of Celery before 5.7; in 5.6,"
    " control_queue_exclusive = True and event_queue_exclusive = True change them."
)
_ONE_NAME: Final = (
    "Their figures are mixed up, and a command to one reaches all. Give each a name of its own;"
    " %h is its host, and another name before the @ keeps two on one host apart:\n"
    "  celery -A proj worker -n worker2@%h"
)


def check_events(context: Context) -> Iterator[Finding]:
    """Listen, and ask the workers meanwhile; then report what has come."""
    context.inspector.begin()
    context.has_mailboxes = context.inspector.has_mailboxes()
    if context.can_listen:
        context.observation = listen(
            context.settings, context.options.wait, context.clock, asks=context.has_mailboxes
        )
        failure = context.observation.failure
        if failure is not None and isinstance(failure.__cause__, FAILURES):
            raise failure.__cause__
        yield from arrived(context.observation)
    elif context.has_mailboxes:
        ask(context.settings, context.observation)


def arrived(seen: Observation) -> Iterator[Finding]:
    span = human_duration(seen.seconds)
    if seen.failure is not None:
        yield Finding("problem", seen.failure.message, seen.failure.hint)
    elif seen.events:
        text = f"{counted(seen.events, 'event')} of {counted(len(seen.workers), 'worker')}"
        yield Finding("ok", f"{text} arrived in {span}")
    else:
        advice = _ELSEWHERE if seen.pongs else _NOBODY
        yield Finding("problem", f"nothing arrived in {span}", advice)
    for kind, count in seen.defects:
        text = f"{counted(count, 'message')} could not be decoded, whole or in part: {kind}"
        advice = "Compare event_serializer of the workers with --accept"
        yield Finding("warning", text, f"{advice}, and see who else sends to this exchange.")


def check_workers(context: Context) -> Iterator[Finding]:
    """See who answered when asked, and under which names."""
    seen, pongs = context.observation, context.observation.pongs
    if seen.refusal is not None:
        text = f"the workers could not be asked: {seen.refusal.message}"
        advice = "Watching works without; actions in evtop do not. --read-only asks no one."
        yield Finding("warning", text, advice)
    elif pongs is None and context.settings.read_only:
        yield Finding("note", "workers were not asked: --read-only")
    elif pongs is None and context.has_mailboxes:
        yield Finding("note", "workers were not asked, as we cannot listen")
    elif pongs is None:
        text = f"there is no exchange {context.settings.control_exchange}.pidbox"
        if seen.workers:
            yield Finding("warning", f"workers cannot be asked: {text}", f"They were {_DEAF}")
        else:
            yield Finding("note", f"{text}, so no worker takes questions here")
    elif pongs:
        answered = context.names(sorted(pongs))
        yield Finding("ok", f"{counted(len(pongs), 'worker')} answered: {answered}")
    for kind, count in seen.unread.items():
        replies = "1 reply" if count == 1 else f"{count} replies"
        advice = "Workers reply in JSON, with less than 1 MiB: see who else does."
        yield Finding("warning", f"{replies} could not be decoded: {kind}", advice)
    deaf = f"{_DEAF}{_REFUSED}" if _MAY_REFUSE.match(context.inspector.server) else _DEAF
    if pongs is not None and (silent := sorted(seen.workers.keys() - pongs)):
        text = f"events come from workers that do not answer: {context.names(silent)}"
        yield Finding("warning", text, f"Busy with a solo or thread pool, {deaf}")
    elif pongs is not None and not pongs:
        advice = f"No worker runs here. Or it is busy with a solo or thread pool, {deaf}"
        yield Finding("problem", "no worker answered", advice)
    for node, signs in sorted(seen.workers.items()):
        if signs.processes > 1:
            text = f"{signs.processes} processes use the name {node}"
            yield Finding("warning", text, _ONE_NAME)


_SWITCH_ON: Final = (
    "start workers with -E, set worker_send_task_events = True, or until their next"
    " restart run, with the same broker:\n  evdump --enable-events"
)
_UNKNOWN: Final = "no task ran, so it is unknown whether task events are on, at"
_TASK_EVENTS: Final[Mapping[str, tuple[Severity, str, str]]] = {
    "off": ("problem", "task events are off: tasks ran, and no event of any came, at",
            f"To enable: {_SWITCH_ON}"),
    "unset": ("note", _UNKNOWN,
              ("worker_send_task_events is off in their settings; -E on the command line would"
               f" override it, but cannot be queried. To enable: {_SWITCH_ON}")),
    "unknown": ("note", _UNKNOWN, f"If they are off: {_SWITCH_ON}"),
    "set": ("ok", "are switched on, though no task was seen, at", ""),
    "seen": ("ok", "come from", ""),
}  # fmt: skip


def check_task_events(context: Context) -> Iterator[Finding]:
    """See whether workers send events of their tasks, and clients theirs."""
    seen = context.observation
    nodes: dict[str, list[str]] = {name: [] for name in _TASK_EVENTS}
    for node in seen.nodes:
        signs, settings = seen.signs(node), seen.settings.get(node)
        if signs.task_events:
            kind = "seen"
        elif signs.done:
            kind = "off"
        elif settings is None:
            kind = "unknown"
        else:
            kind = "set" if settings.get("worker_send_task_events") is True else "unset"
        nodes[kind].append(node)
    for kind, (severity, text, advice) in _TASK_EVENTS.items():
        if nodes[kind]:
            yield Finding(severity, f"{text}: {context.names(nodes[kind])}", advice)
    if nodes["seen"] and not seen.sent:
        advice = "Queue names and waiting times need task_send_sent_event = True in the clients."
        yield Finding("note", "no client sent task-sent events", advice)


def check_heartbeats(context: Context) -> Iterator[Finding]:
    """See whether workers send heartbeats without being asked."""
    if not context.can_listen:
        return
    seen = context.observation
    without = [node for node in seen.nodes if not seen.signs(node).beats]
    if without and seen.seconds < _BEATS_TAKE:
        text = f"listened too briefly to be sure (--wait {_BEATS_TAKE:g}s)"
        yield Finding("note", text)
    elif without:
        text = f"none came in {human_duration(seen.seconds)} from {context.names(without)}"
        why = "Started with --without-heartbeat or a long --heartbeat-interval?"
        advice = f"{why} Whether they are alive then shows only while they work."
        yield Finding("warning", text, advice)
    beating = len(seen.nodes) - len(without)
    if beating:
        yield Finding("ok", f"come from {counted(beating, 'worker')}")


def check_clocks(context: Context) -> Iterator[Finding]:
    """Compare the workers' clocks with ours."""
    signs = sorted(context.observation.workers.items())
    delays = {node: worker.delay for node, worker in signs if worker.delay is not None}
    late = {node: delay for node, delay in delays.items() if delay > _TOLERANCE}
    early = {node: -delay for node, delay in delays.items() if delay < -_TOLERANCE}
    for wrong, word, also in (
        (late, "behind", " Or is it events that take this long to get here?"),
        (early, "ahead of", ""),
    ):
        if wrong:
            off = human_duration(max(wrong.values()))
            text = f"up to {off} {word} ours: {context.names(list(wrong))}"
            advice = "Let both hosts use NTP; each says whether it does:\n  timedatectl"
            effect = f"Ages, waits and runtimes across hosts are wrong by that.{also}"
            yield Finding("warning", text, f"{effect} {advice}")
    if delays and not (late or early):
        text = f"of {counted(len(delays), 'worker')} are right within {_TOLERANCE:g}s"
        yield Finding("ok", text)
