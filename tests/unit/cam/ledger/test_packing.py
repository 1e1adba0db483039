import json

import msgspec
import pytest

from evtools.cam.ledger.account import Account, Told, WorkerAccount, merged
from evtools.cam.ledger.notebook import Notebook
from evtools.cam.ledger.packing import (
    needed,
    pack,
    pack_worker,
    unpack,
    unpack_worker,
)
from evtools.cam.ledger.rows import Rows
from evtools.cam.ledger.tables import TASKS, WORKERS
from evtools.state import State
from tools.stories import STORIES
from tools.told import UUID, life


def account_of(events):
    notebook = Notebook()
    notebook.observe(State().apply(events))
    account = merged(notebook.take().tasks[UUID])
    account.weight = 0
    return account


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_row_holds_all_that_was_heard(story):
    account = account_of(story.events)
    row, _ = Rows().of_tasks({UUID: account})[UUID]
    stored = {name: row[name] for name in needed(TASKS)}
    assert unpack(stored["heard"], stored) == account


def test_what_the_row_says_is_not_said_twice():
    row, _ = Rows().of_tasks({UUID: account_of(life("sent", "received", "started"))})[
        UUID
    ]
    assert json.loads(row["heard"]) == {
        "first": 10.25,
        "last": 12.25,
        "steps": [
            ["sent", 10.0, {}],
            ["received", 11.0, {}],
            ["started", 12.0, {}],
        ],
    }


def test_what_differs_from_the_row_is_said_even_if_it_is_nothing():
    step = Told("task-failed", 1.0, dict.fromkeys(["hostname", "exception"]))
    step.fields["traceback"] = "T"
    account = Account(1.0, 1.0, [step])
    row = dict.fromkeys(TASKS.columns) | {"exception": "E", "worker": "w"}
    packed = pack(account, row)
    assert json.loads(packed)["steps"] == [
        ["failed", 1.0, {"hostname": None, "exception": None, "traceback": "T"}]
    ]
    assert unpack(packed, row) == account


def test_texts_that_were_removed_from_a_row_are_gone():
    row, _ = Rows().of_tasks({UUID: account_of(life("received"))})[UUID]
    row["args"] = "(redacted)"
    [step] = unpack(row["heard"], row).steps
    assert step.fields["args"] == "(redacted)"


def test_what_is_none_of_ours_is_refused():
    row = dict.fromkeys(TASKS.columns)
    with pytest.raises(msgspec.DecodeError):
        unpack("{", row)
    with pytest.raises(KeyError):
        unpack('{"first": 1, "last": 1, "steps": [["eaten", 1]]}', row)


def test_accounts_of_workers_are_packed_whole():
    account = WorkerAccount(
        1.0, {"worker-online": Told("worker-online", 1.0, {"a": 1})}
    )
    assert unpack_worker(pack_worker(account)) == account
    assert needed(WORKERS) == ("hostname", "heard")
