"""Rows of simple lives: whatever is answered here is what a state says."""

from itertools import permutations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from evtools.cam.ledger.account import FIELDS, Account, settled
from evtools.cam.ledger.notebook import Notebook
from evtools.cam.ledger.tables import TASKS
from evtools.cam.ledger.usual import usual_values
from evtools.state import State
from tools.stories import STORIES
from tools.told import OTHER, UUID, WORKER, life, told

#: The columns from the name of a task to its routing key.
NAMES = list(TASKS.columns)[1:-5]


def _of_state(task):
    names = ["worker_name" if name == "worker" else name for name in NAMES]
    return tuple(getattr(task, name, None) for name in names)


def account_of(events):
    notebook = Notebook()
    notebook.observe(State().apply(events))
    return settled(notebook.take().tasks[UUID])


def said(account):
    """What a state says that hears of each event when it is sent."""
    state = State()
    for step in account.steps:
        fields = dict(zip(FIELDS[step.kind], step.values, strict=True))
        event = told(step.kind, step.at, local_received=step.at, pid=0, **fields)
        state.apply([event])
    return _of_state(state.tasks[UUID])


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_what_is_said_of_a_life_is_what_a_state_says(story):
    account = account_of(story.events)
    values = usual_values(account)
    assert values is None or values == said(account)


_BEGUN = ("received", "started")


@pytest.mark.parametrize("sent", [(), ("sent",)])
@pytest.mark.parametrize("steps", [_BEGUN[:1], _BEGUN, (*_BEGUN, "succeeded"), (*_BEGUN, "failed")])
def test_most_lives_need_no_state(sent, steps):
    events = life(*sent, *steps)
    for order in permutations(events):
        account = account_of(order)
        values = usual_values(account)
        assert values is not None
        assert values == said(account)


def test_a_run_time_that_nobody_measured_is_from_start_to_end():
    events = life("received", "started", "succeeded")
    events[-1]["runtime"] = None
    assert usual_values(account_of(events))[NAMES.index("runtime")] == 1.0


_ODD = [
    life("sent"),
    life("started", "succeeded"),
    life("received", "started", "retried"),
    life("received", "started", "succeeded", "succeeded"),
    life("received", "started", retries=1),
    life("received", "started", eta="2026-11-21T00:00:00"),
    life("received", "started", hostname=None),
    life("received", "started", name=""),
    life("received", "started", args=None),
    [*life("received"), told("task-started", 11.0, hostname=OTHER)],
    [*life("sent", name="shop.other"), *life("received", start=11.0)],
    [*life("sent", start=12.0), *life("received", start=11.0)],
    [told("task-progress")],
]


@pytest.mark.parametrize("events", _ODD)
def test_of_what_is_odd_a_state_has_to_be_asked(events):
    assert usual_values(account_of(events)) is None


def test_of_clocks_that_are_off_a_state_has_to_be_asked():
    account = account_of(life("received"))
    assert usual_values(account) is not None
    account.ahead = {WORKER: 3}
    assert usual_values(account) is None
    assert usual_values(Account(1.0, 1.0)) is None


_texts = st.sampled_from(["x", "", None, 5])
_hosts = st.sampled_from([WORKER, OTHER, "", None])
_counts = st.sampled_from([0, 1, 2.5, None, "x"])
_odd = {
    **dict.fromkeys(("name", "args", "kwargs", "root_id", "parent_id"), _texts),
    **dict.fromkeys(("eta", "queue", "result", "exception", "traceback"), _texts),
    **dict.fromkeys(("retries", "runtime"), _counts),
    "hostname": _hosts,
}
_ENDS = ("succeeded", "failed")
_kinds = st.lists(st.sampled_from(["sent", *_BEGUN, *_ENDS]), min_size=1, max_size=5) | st.builds(
    lambda sent, end: [*sent, *_BEGUN, end], st.sampled_from([[], ["sent"]]), st.sampled_from(_ENDS)
)


@st.composite
def _lives(draw):
    """Events of one task, where a few things are not as they should be."""
    events = life(*draw(_kinds))
    names = draw(st.lists(st.sampled_from(sorted(_odd)), max_size=3, unique=True))
    odd = {name: draw(_odd[name]) for name in names}
    alike = draw(st.booleans())
    for each in events:
        if alike or draw(st.booleans()):
            each |= {name: value for name, value in odd.items() if name in each}
        each["timestamp"] = draw(st.just(each["timestamp"]) | st.sampled_from([10.0, 11.0, 12.0]))
    return events


@settings(max_examples=300)
@given(_lives())
def test_whatever_is_told_is_understood_as_a_state_does(events):
    account = account_of(events)
    values = usual_values(account)
    event("told to a state" if values is None else "answered")
    if values is not None:
        assert values == said(account)
