"""Checks on what events need at the broker, and on what is left there of dead monitors."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from evtools.doctor.context import Context, Finding, counted
from evtools.doctor.inspect import ORPHAN_KINDS, Elsewhere, OrphanedQueue
from evtools.text import human_duration, human_size, sanitize
from evtools.transport.url import MASK

#: A queue that keeps messages for less loses them whenever we are busy, in seconds.
_TTL_MIN: Final = 1.0


def check_exchange(context: Context) -> Iterator[Finding]:
    """See whether the event exchange is there, and of the right type."""
    exchange = context.inspector.exchange()
    context.exchange_exists = exchange.exists
    context.may_listen = not exchange.clash
    if not exchange.exists:
        listed = ""
        if exchange.command:
            listed = f" On the broker's host, this lists what there is:\n  {exchange.command}"
        yield Finding(
            "problem",
            f"there is no {exchange.where}",
            "Every worker makes it when it starts, so none was ever here: compare"
            " the virtual host and event_exchange with the workers' settings"
            f" (--event-exchange).{listed}",
        )
    elif exchange.clash:
        why = "It was declared differently from how Celery does."
        advice = f"{why} With the workers stopped, delete it on the broker; they make it again."
        yield Finding("problem", f"{exchange.where}: {exchange.clash}", advice)
    else:
        more = "" if exchange.may_declare else " is there; we may not declare it, and need not"
        yield Finding("ok", f"{exchange.where}{more}")


def check_permissions(context: Context) -> Iterator[Finding]:
    """Try what every monitor must be allowed to do."""
    if not context.exchange_exists:
        return
    allowed = []
    for permission in context.inspector.permissions():
        if permission.refusal:
            context.may_listen = False
            text = f"may not {permission.name}: {permission.refusal}"
            yield Finding("problem", text, permission.advice)
        else:
            allowed.append(permission.name)
    if allowed:
        yield Finding("ok", f"may {'; '.join(allowed)}")


def check_queue(context: Context) -> Iterator[Finding]:
    """Look at what our own queue is to do without us."""
    settings = context.settings
    ttl, expires = settings.event_queue_ttl, settings.event_queue_expires
    if not context.inspector.keeps_queues:
        return
    if expires is None and not settings.event_queue_exclusive:
        text = "our queue would stay for ever if we were killed"
        yield Finding("warning", text, "Let it expire, as in --event-queue-expires 60s")
    if ttl is None:
        advice = "A stopped reader makes the broker's memory grow: --event-queue-ttl 5s"
        yield Finding("note", "events that are not fetched are never dropped", advice)
    elif ttl < _TTL_MIN:
        text = f"the broker drops events after {human_duration(ttl)} already"
        advice = "A moment of load on this host, and events are missing: --event-queue-ttl 5s"
        yield Finding("warning", text, advice)
    else:
        text = f"the broker drops events that were not fetched for {human_duration(ttl)}"
        yield Finding("ok", text)


def check_elsewhere(context: Context) -> Iterator[Finding]:
    """Look for Celery in other databases, virtual hosts, exchanges and prefixes."""
    # Workers say themselves where they send their events: this comes first, and says it best.
    places: dict[tuple[str, ...], Elsewhere] = {}
    for node, settings in sorted(context.observation.settings.items()):
        exchange = settings.get("event_exchange")
        if isinstance(exchange, str) and exchange != context.settings.event_exchange:
            seen, words = f"{node} sends its events there", ("--event-exchange", exchange)
            places.setdefault(words, Elsewhere(f"exchange {exchange}", seen, words, alive=True))
    for place in context.inspector.elsewhere():
        places.setdefault(place.words, place)
    for place in places.values():
        # Anyone chooses the names of channels, and advice may have several lines.
        shown = sanitize(shlex.join(place.words))
        hidden = f", with the password in place of {MASK}" if MASK in shown else ""
        is_note = bool(context.observation.workers) or not place.alive
        text = f"{place.where}: {place.seen}"
        advice = f"To watch there{hidden}:\n  {shown}"
        yield Finding("note" if is_note else "problem", text, advice)


def check_orphans(context: Context) -> Iterator[Finding]:
    """List event queues without a reader; remove them if that was asked for and confirmed."""
    options = context.options
    search = context.inspector.orphans(options.queues)
    if search.gap:
        advice = search.command and (
            f"On the broker's host, this lists them:\n  {search.command}\n"
            "Then the same command as now with --fix and their names removes them."
        )
        text = f"not all orphaned event queues can be found: {search.gap}"
        yield Finding("note", text, advice)
    for orphan in search.found if options.queues else ():
        if orphan.kept:
            yield Finding("note", f"{orphan.name} stays: {orphan.kept}")
    free = [orphan for orphan in search.found if not orphan.kept]
    if not free:
        if not search.gap:
            yield Finding("ok", "no orphaned event queues")
    elif not options.fix:
        advice = "Monitors that are gone have left them; the same command with --fix removes them."
        yield Finding("warning", f"without a reader: {_listed(context, free)}", advice)
    elif not options.confirm(f"Remove {_listed(context, free, every=True)}?"):
        yield Finding("warning", f"not removed: {_listed(context, free)}")
    else:
        gone = []
        for orphan in free:
            if why := context.inspector.remove(orphan):
                yield Finding("warning", f"{orphan.name} stays: {why}")
            else:
                gone.append(orphan)
        if gone:
            yield Finding("note", f"removed {_listed(context, gone, every=True)}")


def _listed(context: Context, orphans: Sequence[OrphanedQueue], *, every: bool = False) -> str:
    # How many of each kind there are, their size, and their names: `every` one before the
    # question, and after something was removed.
    numbers = {kind: sum(orphan.kind == kind for orphan in orphans) for kind in ORPHAN_KINDS}
    counts = [counted(number, kind) for kind, number in numbers.items() if number]
    messages = sum(orphan.messages or 0 for orphan in orphans)
    size_bytes = sum(orphan.size_bytes or 0 for orphan in orphans)
    facts = [counted(messages, "message")] if messages else []
    facts += [human_size(size_bytes)] if size_bytes else []
    held = f" ({', '.join(facts)})" if facts else ""
    names = list(dict.fromkeys(orphan.name for orphan in orphans))
    shown = ", ".join(names) if every else context.names(names)
    return f"{' and '.join(counts)}{held}: {shown}"
