"""All that was heard of a task or a worker, as a value that merges in any order."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct, field

from evtools.cam.ledger.texts import CLEANERS, clean, clean_value, name
from evtools.state import unwrapped
from evtools.wire import COMMON, OWN_FIELDS, Event, encode_line

# Several evcams may write into one database, and one evcam writes again after a
# restart that forgot all. So a row is never written over: what it was made of
# (the column `heard`) and what was heard since are put together, and the row is made
# anew of that. To put together is to unite sets and to take the greater of two, so
# order and repetition are of no account; the bounds keep that, too.

#: As many events as a row is made of, the newest; a state takes no more. Beyond the
#: first few they have to share this many characters.
STEPS_MAX: Final = 60
_STEPS_ALWAYS: Final = 4
_STEPS_CHARS: Final = 256 * 1024
#: Of the fields of one event that Celery does not know, in bytes of JSON.
OWN_MAX_BYTES: Final = 4 * 1024
#: Of all such fields of a task together, and how many names.
_EXTRA_MAX_BYTES: Final = 16 * 1024

_encoder: Final = msgspec.json.Encoder(order="deterministic")


#: By name the values of fields that Celery does not know, and when they were told.
Extra: TypeAlias = dict[str, tuple[float, Any]]


class Told(Struct, array_like=True):
    """An event: its kind, its sender's time, and its fields."""

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)


class Step(Struct, gc=False):
    """One of Celery's events of a task: its kind, its sender's time, its values.

    These are of the `FIELDS` of its kind, in their order; the first is its sender.
    """

    kind: str
    at: float
    values: tuple[Any, ...]


class Account(Struct):
    """What was heard of a task.

    `first` and `last` are when, by our clock.  `note` is the newest custom
    event, `ahead` has whole seconds by which the clocks of senders are ahead of
    ours, where that is a second or more.
    `weight` is about how many bytes all this takes.
    """

    first: float
    last: float
    steps: list[Step] = field(default_factory=list)
    note: Told | None = None
    extra: Extra = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    weight: int = 0

    def senders(self) -> Iterable[str | None]:
        """Return the names of those that told something."""
        return (step.values[0] for step in self.steps)


class WorkerAccount(Struct):
    """What was heard of a worker: when last, by our clock, and its newest events."""

    last: float
    told: dict[str, Told] = field(default_factory=dict)


# --- from events --------------------------------------------------------------------

_OF_ALL: Final = frozenset(COMMON) - {"hostname"}
#: By kind of event of a task, the names of its fields, first that of its sender.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(n for n in own if n not in _OF_ALL)
    for kind, own in OWN_FIELDS.items()
    if kind.startswith("task-")
}
#: What gets their values, and how those that are texts are cleaned.
_GETTERS: Final = {kind: attrgetter(*names, "uuid") for kind, names in FIELDS.items()}
_CLEANERS: Final = {
    kind: [CLEANERS.get(name, clean) for name in names] for kind, names in FIELDS.items()
}
_OF_WORKER: Final = tuple(
    n
    for n in OWN_FIELDS["worker-heartbeat"]
    if n not in {"hostname", "timestamp", "clock", "utcoffset"}
)


def told(event: Event) -> Step:
    """Return what one of Celery's events told of a task."""
    kind = event.type
    hostname, *values, _ = _GETTERS[kind](event)
    if event.exception is not None:
        values[0] = unwrapped(event.exception, event.traceback)
    cleaned = [
        clean_text(value) if value.__class__ is str else value
        for clean_text, value in zip(_CLEANERS[kind], [hostname or None, *values], strict=True)
    ]
    return Step(kind, time_of(event), tuple(cleaned))


def told_by_worker(event: Event, own: dict[str, Any]) -> Told:
    """Return what a worker told of itself; `own` are fields Celery does not know."""
    fields = {n: v for n in _OF_WORKER if (v := getattr(event, n)) is not None}
    return Told(event.type, time_of(event), {**own, **clean_value(fields)})


def time_of(event: Event) -> float:
    """Return when an event was sent, else when it was received, in UTC epoch seconds."""
    return float(event.local_received if event.timestamp is None else event.timestamp)


def clean_own(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields that Celery does not know, or nothing if they are too large."""
    if not own or len(encode_line(own)) > OWN_MAX_BYTES:
        return {}
    return {name(key): clean_value(value) for key, value in own.items()}


# --- putting together ---------------------------------------------------------------


def settled(account: Account) -> Account:
    """Return an account with its steps in order, as many as there is room for."""
    return Account(
        account.first,
        account.last,
        _newest(_sorted(account.steps)),
        account.note,
        account.extra,
        account.ahead,
        account.weight,
    )


def merged(one: Account, other: Account) -> Account:
    """Return what two accounts tell together: the same in whatever order."""
    return Account(
        min(one.first, other.first),
        max(one.last, other.last),
        _newest(_sorted([*one.steps, *other.steps])),
        latest((one.note, other.note)),
        joined_extra((one.extra, other.extra)) if one.extra or other.extra else {},
        {
            host: max(each.ahead.get(host, seconds) for each in (one, other))
            for each in (one, other)
            for host, seconds in each.ahead.items()
        },
        one.weight + other.weight,
    )


def _sorted(steps: list[Step]) -> list[Step]:
    """Return each of these steps once, in the order in which they were made."""
    if len(steps) < 2:  # noqa: PLR2004  (nothing to sort)
        return steps
    places = [(step.at, step.kind, step.values[0] or "") for step in steps]
    if all(one < other for one, other in pairwise(places)):
        return steps
    distinct: dict[tuple[float, str, str], Step] = {}
    for place, step in zip(places, steps, strict=True):
        known = distinct.setdefault(place, step)
        if known is not step and _content(step.values) > _content(known.values):
            distinct[place] = step
    return [distinct[place] for place in sorted(distinct)]


def merged_workers(*accounts: WorkerAccount) -> WorkerAccount:
    """Return what these accounts of a worker tell together."""
    kinds = {kind for account in accounts for kind in account.told}
    newest = {kind: latest(a.told.get(kind) for a in accounts) for kind in kinds}
    return WorkerAccount(
        max(account.last for account in accounts),
        {kind: told for kind, told in newest.items() if told is not None},
    )


def latest(each: Iterable[Told | None]) -> Told | None:
    """Return what was told last; None if nothing was."""
    known = [told for told in each if told is not None]
    if len(known) < 2:  # noqa: PLR2004  (nothing to compare)
        return known[0] if known else None
    return max(known, key=lambda told: (told.at, told.kind, _content(told.fields)))


def _content(values: object) -> bytes:
    return _encoder.encode(values)


def _newest(steps: list[Step]) -> list[Step]:
    """Return as many of the last steps as there is room for."""
    if len(steps) <= _STEPS_ALWAYS:
        return steps
    left = _STEPS_CHARS
    for number, step in enumerate(reversed(steps)):
        left -= sum(len(v) for v in step.values if v.__class__ is str)
        if number == STEPS_MAX or (number >= _STEPS_ALWAYS and left < 0):
            return steps[-number:]
    return steps


def joined_extra(each: Iterable[Extra]) -> Extra:
    """Return by name what was told last, of as many names as there is room for."""
    joined: Extra = {}
    for extra in filter(None, each):
        for key, told_at in extra.items():
            joined[key] = max(joined.get(key, told_at), told_at, key=_by_time)
    left = _EXTRA_MAX_BYTES
    kept: Extra = {}
    for key in sorted(joined):
        left -= len(key) + len(_encoder.encode(joined[key]))
        if left < 0:
            break
        kept[key] = joined[key]
    return kept


def _by_time(told_at: tuple[float, Any]) -> tuple[float, bytes]:
    return told_at[0], _encoder.encode(told_at[1])
