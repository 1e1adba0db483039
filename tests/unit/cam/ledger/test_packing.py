import json

import msgspec
import pytest

from evtools.cam.ledger.account import FIELDS, Account, Step, Told, WorkerAccount, settled
from evtools.cam.ledger.notebook import Notebook
from evtools.cam.ledger.packing import needed, pack, pack_worker, unpack, unpack_worker
from evtools.cam.ledger.rows import Rows
from evtools.cam.ledger.tables import TASKS, WORKERS
from evtools.state import State
from tools.stories import STORIES
from tools.told import UUID, life


def account_of(events):
    notebook = Notebook()
    notebook.observe(State().apply(events))
    account = settled(notebook.take().tasks[UUID])
    account.weight = 0
    return account


def row_of(account):
    """Return the row of an account, and what of it would be read."""
    row, _ = Rows().of_tasks({UUID: account})[UUID]
    return row, stored_of(row)


def stored_of(row):
    return tuple(row[PLACES[name]] for name in needed(TASKS))


def unknown(**known):
    """Return a row in which nothing else is known."""
    return [known.get(name) for name in TASKS.columns]


#: Where a column is in a row.
PLACES = {name: place for place, name in enumerate(TASKS.columns)}


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_row_holds_all_that_was_heard(story):
    account = account_of(story.events)
    _, stored = row_of(account)
    assert unpack(stored[1], stored) == account


def test_what_the_row_says_is_not_said_twice():
    row, _ = row_of(account_of(life("sent", "received", "started")))
    assert json.loads(row[-1]) == {
        "first": 10.25,
        "last": 12.25,
        "steps": [["sent", 10.0, {}], ["received", 11.0, {}], ["started", 12.0, {}]],
    }


def test_what_differs_from_the_row_is_said_even_if_it_is_nothing():
    account = Account(1.0, 1.0, [Step("task-failed", 1.0, (None, None, "T"))])
    row = unknown(exception="E", worker="w")
    packed = pack(account, row)
    assert json.loads(packed)["steps"] == [
        ["failed", 1.0, {"hostname": None, "exception": None, "traceback": "T"}]
    ]
    assert unpack(packed, stored_of(row)) == account


def test_what_no_column_has_is_said_if_it_is_known():
    ends = (("w", "4", 0.5), ("w", "4", None))
    for values, said in zip(ends, ({"runtime": 0.5}, {}), strict=True):
        account = Account(1.0, 1.0, [Step("task-succeeded", 1.0, values)])
        row = unknown(result="4", worker="w", runtime=7.0)
        packed = pack(account, row)
        assert json.loads(packed)["steps"] == [["succeeded", 1.0, said]]
        assert unpack(packed, stored_of(row)) == account


def test_texts_that_were_removed_from_a_row_are_gone():
    row, _ = row_of(account_of(life("received")))
    row[PLACES["args"]] = "(redacted)"
    [step] = unpack(row[-1], stored_of(row)).steps
    assert dict(zip(FIELDS[step.kind], step.values, strict=True))["args"] == ("(redacted)")


def test_what_is_none_of_ours_is_refused():
    stored = stored_of(unknown())
    with pytest.raises(msgspec.DecodeError):
        unpack("{", stored)
    with pytest.raises(KeyError):
        unpack('{"first": 1, "last": 1, "steps": [["eaten", 1]]}', stored)


def test_accounts_of_workers_are_packed_whole():
    account = WorkerAccount(1.0, {"worker-online": Told("worker-online", 1.0, {"a": 1})})
    assert unpack_worker(pack_worker(account)) == account
    assert needed(WORKERS) == ("hostname", "heard")
