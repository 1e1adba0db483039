"""Checks on what events need at the broker: rights, the exchange, our queue."""

import shlex
from collections.abc import Iterator
from typing import Final

from evtools.doctor.case import Case
from evtools.doctor.finding import Finding
from evtools.doctor.inspect.base import Elsewhere, Ground, Right
from evtools.text import human_duration, sanitize
from evtools.transport.url import MASK

#: A queue that keeps messages for less loses them whenever we are busy, in seconds.
_TTL_MIN: Final = 1.0


def check_exchange(case: Case) -> Iterator[Finding]:
    """See whether the event exchange is there, and of the right type."""
    ground = case.examination.ground()
    case.exchange_exists = ground.exists
    case.may_listen = not ground.clash
    if not ground.exists:
        yield Finding(
            "exchange",
            "problem",
            f"there is no {ground.where}",
            "Every worker makes it when it starts, so none was ever here: compare"
            " the virtual host and event_exchange with the workers' settings"
            f" (--event-exchange).{_what_there_is(ground)}",
        )
    elif ground.clash:
        yield Finding(
            "exchange",
            "problem",
            f"{ground.where}: {ground.clash}",
            "Somebody has declared it otherwise than Celery does. With the workers"
            " stopped, delete it on the broker; they make it again.",
        )
    elif not ground.may_declare:
        text = f"{ground.where} is there; we may not declare it, and need not"
        yield Finding("exchange", "ok", text)
    else:
        yield Finding("exchange", "ok", ground.where)


def _what_there_is(ground: Ground) -> str:
    if not ground.command:
        return ""
    return f" On the broker's host, this lists what there is:\n  {ground.command}"


def check_permissions(case: Case) -> Iterator[Finding]:
    """Try what every monitor must be allowed to do."""
    if not case.exchange_exists:
        return
    rights = case.examination.rights()
    for right in rights:
        if not right.granted:
            case.may_listen = False
            text = f"may not {right.name}: {right.why}"
            yield Finding("permissions", "problem", text, _advice(right))
    names = "; ".join(right.name for right in rights if right.granted)
    if names:
        yield Finding("permissions", "ok", f"may {names}")


def _advice(right: Right) -> str:
    if right.advice:
        return right.advice
    caveat = f" ({right.caveat})" if right.caveat else ""
    return f"The administrator of the broker can allow it{caveat}:\n  {right.grant}"


def check_queue(case: Case) -> Iterator[Finding]:
    """Look at what our own queue is told to do without us."""
    if not case.examination.keeps_queues:
        return
    settings = case.settings
    ttl, expires = settings.event_queue_ttl, settings.event_queue_expires
    if expires is None and not settings.event_queue_exclusive:
        yield Finding(
            "queue",
            "warning",
            "our queue would stay for ever if we were killed",
            "Give it an end, as in --event-queue-expires 60s",
        )
    if ttl is None:
        yield Finding(
            "queue",
            "note",
            "events that nobody fetches are never dropped",
            "A reader that stands still makes the broker's memory grow: --event-queue-ttl 5s",
        )
    elif ttl < _TTL_MIN:
        yield Finding(
            "queue",
            "warning",
            f"the broker drops events after {human_duration(ttl)} already",
            "A moment of load on this host, and events are missing: --event-queue-ttl 5s",
        )
    else:
        text = f"the broker drops events that were not fetched for {human_duration(ttl)}"
        yield Finding("queue", "ok", text)


def check_elsewhere(case: Case) -> Iterator[Finding]:
    """Look for Celery in other databases, virtual hosts, exchanges and prefixes."""
    here = bool(case.observation.workers)
    # What workers say comes first, and says it best.
    places: dict[tuple[str, ...], Elsewhere] = {}
    for place in (*_told(case), *case.examination.elsewhere()):
        places.setdefault(place.words, place)
    for place in places.values():
        # Names of channels are anybody's, and advice may have several lines.
        words = sanitize(shlex.join(place.words))
        hidden = f", with the password in place of {MASK}" if MASK in words else ""
        yield Finding(
            "elsewhere",
            "note" if here or not place.alive else "problem",
            f"{place.where}: {place.seen}",
            f"To watch there{hidden}:\n  {words}",
        )


def _told(case: Case) -> Iterator[Elsewhere]:
    """Yield the other exchanges that workers say they send their events to."""
    exchanges: dict[str, str] = {}
    for node, settings in sorted(case.observation.settings.items()):
        theirs = settings.get("event_exchange")
        if isinstance(theirs, str) and theirs != case.settings.event_exchange:
            exchanges.setdefault(theirs, node)
    for exchange, node in exchanges.items():
        seen = f"{node} sends its events there"
        words = ("--event-exchange", exchange)
        yield Elsewhere(f"exchange {exchange}", seen, words, alive=True)
