"""An account as a text beside its row, without what the row says anyway."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, field

from evtools.cam.ledger.account import FIELDS, Account, Extra, Step, Told, WorkerAccount
from evtools.cam.ledger.tables import TASKS, Row, Stored, Table

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_SENT: Final = "task-sent"
_PREFIX: Final = "task-"
#: The fields of events that no column has as they were told; they come last.
_OWN: Final = frozenset({"runtime", "terminated", "signum", "expired", "requeue"})
#: The columns that have the other fields, by kind of event.
_COLUMNS: Final = {
    kind: tuple(
        {"hostname": "client" if kind == _SENT else "worker"}.get(name, name)
        for name in names
        if name not in _OWN
    )
    for kind, names in FIELDS.items()
}


def needed(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that tell what was heard, its key first."""
    shared = [name for each in _COLUMNS.values() for name in each]
    return *table.key, "heard", *dict.fromkeys(shared if table is TASKS else ())


class _Packed(Struct, omit_defaults=True):
    """An account without what its row says, and with short names of events."""

    first: float
    last: float
    steps: list[Told] = field(default_factory=list)
    note: Told | None = None
    extra: Extra = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)


_Values = Callable[[Any], tuple[Any, ...]]


class _Shape(NamedTuple):
    """Where the values of a kind of event are: in a row, and in what of it is read.

    `others` stand for those that come last and are in neither.
    """

    names: tuple[str, ...]
    of_row: _Values
    of_stored: _Values
    others: tuple[None, ...]


def _getter(columns: Iterable[str], names: Iterable[str]) -> _Values:
    """Return what gets the values of `names` from those of `columns`."""
    places = list(columns)
    first, *rest = [places.index(name) for name in names]
    if rest:
        return itemgetter(first, *rest)
    return itemgetter(slice(first, first + 1))


def _shape(kind: str, names: tuple[str, ...]) -> _Shape:
    shared = _COLUMNS[kind]
    return _Shape(
        names,
        _getter(TASKS.columns, shared),
        _getter(needed(TASKS), shared),
        (None,) * (len(names) - len(shared)),
    )


_SHAPES: Final = {kind: _shape(kind, names) for kind, names in FIELDS.items()}


def pack(account: Account, row: Row) -> str:
    """Return an account as a text; what the row says itself is left out of it."""
    steps = [
        Told(step.kind.removeprefix(_PREFIX), step.at, _unsaid(step, row)) for step in account.steps
    ]
    note, extra, ahead = account.note, account.extra, account.ahead
    packed = _Packed(account.first, account.last, steps, note, extra, ahead)
    return _encoder.encode(packed).decode()


def _unsaid(step: Step, row: Row) -> dict[str, Any]:
    """Return the fields of an event that its row does not tell."""
    names, of_row, _, others = _SHAPES[step.kind]
    said = (*of_row(row), *others)
    if said == step.values:
        return {}
    return {
        name: value
        for name, value, known in zip(names, step.values, said, strict=True)
        if value != known
    }


def unpack(text: str, stored: Stored) -> Account:
    """Return the account that was packed beside a row, of which this is `stored`.

    Raise msgspec.DecodeError, and KeyError for a kind of event that is none.
    """
    packed = _decoder.decode(text)
    return Account(
        packed.first,
        packed.last,
        [_step(told, stored) for told in packed.steps],
        packed.note,
        packed.extra,
        packed.ahead,
    )


def _step(told: Told, stored: Stored) -> Step:
    """Return an event with what its row tells of it."""
    kind, fields = _PREFIX + told.kind, told.fields
    names, _, of_stored, others = _SHAPES[kind]
    values = (*of_stored(stored), *others)
    if fields:
        known = zip(names, values, strict=True)
        values = tuple([fields.get(name, value) for name, value in known])
    return Step(kind, told.at, values)


def pack_worker(account: WorkerAccount) -> str:
    """Return an account of a worker as a text."""
    return _encoder.encode(account).decode()


def unpack_worker(text: str) -> WorkerAccount:
    """Return an account of a worker; raise msgspec.DecodeError."""
    return _worker_decoder.decode(text)


_decoder: Final = msgspec.json.Decoder(_Packed)
_worker_decoder: Final = msgspec.json.Decoder(WorkerAccount)
