"""An account as a text beside its row, without what the row says anyway."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from evtools.cam.ledger.account import FIELDS, Account, Told, WorkerAccount
from evtools.cam.ledger.tables import TASKS, Table

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_SENT: Final = "task-sent"
#: The fields of events that a row has as well, by the name of its column.
_COLUMNS: Final = {
    kind: {
        n: {"hostname": "client" if kind == _SENT else "worker"}.get(n, n)
        for n in names
        if n not in {"runtime", "terminated", "signum", "expired", "requeue"}
    }
    for kind, names in FIELDS.items()
}


def needed(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that tell what was heard, its key first."""
    shared = [name for each in _COLUMNS.values() for name in each.values()]
    return *table.key, "heard", *dict.fromkeys(shared if table is TASKS else ())


def pack(account: Account, row: Mapping[str, Any]) -> str:
    """Return an account as a text; what the row says itself is left out of it."""
    steps = []
    for step in account.steps:
        columns, fields = _COLUMNS[step.kind], step.fields
        kept = {
            n: v
            for n, v in fields.items()
            if (v != row[columns[n]] if n in columns else v is not None)
        }
        steps.append(Told(step.kind.removeprefix("task-"), step.at, kept))
    packed = replace(account, steps=steps, weight=0)
    return _encoder.encode(packed).decode()


def unpack(text: str, row: Mapping[str, Any]) -> Account:
    """Return the account that was packed beside `row`.

    Raise msgspec.DecodeError, and KeyError for a kind of event that is none.
    """
    account = _decoder.decode(text)
    for step in account.steps:
        step.kind = kind = f"task-{step.kind}"
        columns, fields = _COLUMNS[kind], step.fields
        step.fields = {
            n: fields[n] if n in fields else row[columns[n]] if n in columns else None
            for n in FIELDS[kind]
        }
    return account


def pack_worker(account: WorkerAccount) -> str:
    """Return an account of a worker as a text."""
    return _encoder.encode(account).decode()


def unpack_worker(text: str) -> WorkerAccount:
    """Return an account of a worker; raise msgspec.DecodeError."""
    return _worker_decoder.decode(text)


_decoder: Final = msgspec.json.Decoder(Account)
_worker_decoder: Final = msgspec.json.Decoder(WorkerAccount)
