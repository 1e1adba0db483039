"""Announcements: what an event tells of a task as a whole, and whether it is news."""

import pytest

from evtools.state import Task
from evtools.state.announcements import announce, announce_next, is_news, is_next, is_same
from evtools.state.readings import COUNT_MAX
from evtools.state.sharing import Shared
from tools.told import UUID, task_of, told

SENT = told("task-sent", 10.0)
RECEIVED = told("task-received", 11.0)
STARTED = told("task-started", 12.0)
AGAIN = told("task-received", 13.0, retries=1)
NAMES = ("name", "args", "kwargs", "root_id", "parent_id", "eta", "expires")


def known_of(task):
    return {name: getattr(task, name) for name in NAMES}


def announced(**fields):
    task = Task(UUID)
    announce(task, {**SENT, **fields}, Shared())
    return task


def test_what_is_announced_is_known():
    told_of = {"parent_id": "p", "root_id": "r", "eta": "soon", "expires": "late"}
    task = announced(**told_of, retries=3)
    assert known_of(task) == {name: {**SENT, **told_of}[name] for name in NAMES}
    assert task.retries == 3


def test_what_is_left_open_is_not_forgotten():
    task = announced(parent_id="p", root_id="r", eta="soon", expires="late")
    open_ = dict.fromkeys(("name", "parent_id", "root_id", "eta", "expires"))
    before = known_of(task)
    announce(task, {**SENT, **open_}, Shared())
    assert known_of(task) == before


def test_the_uuid_is_kept_once_and_names_are_shared():
    shared = Shared()
    name, uuid = (text.encode().decode() for text in ("shop.pay", UUID))
    task = Task(UUID)
    announce(task, {**SENT, "root_id": uuid, "name": name}, shared)
    assert task.root_id is task.uuid is not uuid
    assert task.name is name is shared["shop.pay"]


@pytest.mark.parametrize(
    "odd",
    [
        *({"args": None}, {"kwargs": {}}, {"name": 7}, {"name": "x" * 1000}),
        *({"root_id": 7}, {"parent_id": []}, {"eta": 5.5}, {"expires": {}}),
        *({"retries": None}, {"retries": True}, {"retries": 1.0}, {"retries": -1}),
        *({"retries": COUNT_MAX + 1}, {"eta": "soon", "expires": 5}),
    ],
    ids=str,
)
def test_what_is_not_as_celery_has_it_changes_nothing(odd):
    task = Task(UUID)
    with pytest.raises(TypeError):
        announce(task, {**SENT, **odd}, Shared())
    assert set(known_of(task).values()) == {None}
    assert task.retries is None
    assert not vars(task)


def test_what_is_missing_changes_nothing():
    task = Task(UUID)
    with pytest.raises(KeyError):
        announce(task, STARTED, Shared())
    assert set(known_of(task).values()) == {None}


@pytest.mark.parametrize("name", ["args", "kwargs", "root_id", "parent_id", "eta"])
def test_a_task_grows_by_what_is_told(name):
    light, heavy = (
        announce(Task(UUID), {**SENT, name: "x" * length}, Shared()) for length in (1, 1001)
    )
    assert heavy - light == 1000


# --- news ----------------------------------------------------------------------------


def test_what_was_told_is_no_news():
    task = task_of([SENT])
    assert not is_news(task, RECEIVED)
    assert not is_news(task, {**RECEIVED, "root_id": None, "expires": None})


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_told_is_news(name):
    assert is_news(task_of([SENT]), {**RECEIVED, name: "else"})


@pytest.mark.parametrize("name", ["name", "args", "kwargs"])
def test_that_an_event_has_none_is_news(name):
    assert is_news(task_of([SENT]), {**RECEIVED, name: None})


@pytest.mark.parametrize("name", ["name", "root_id", "parent_id"])
def test_a_task_that_is_named_otherwise_is_another(name):
    task = task_of([SENT])
    assert is_same(task, RECEIVED)
    assert not is_same(task, {**RECEIVED, name: "else"})


# --- the next try --------------------------------------------------------------------


def test_the_next_try_has_a_higher_number():
    task = task_of([SENT, RECEIVED, STARTED])
    assert is_next(task, AGAIN)
    assert is_next(task, {**AGAIN, "retries": 7})
    for retries in (0, -1, None, True, 1.0, "1", COUNT_MAX + 1):
        assert not is_next(task, {**AGAIN, "retries": retries})
    assert not is_next(task, {**AGAIN, "name": "shop.other"})


def test_the_next_try_has_delays_of_its_own():
    delays = {"eta": "soon", "expires": "late"}
    sent, received = ({**event, **delays} for event in (SENT, RECEIVED))
    task = task_of([sent, received, STARTED])
    announce_next(task, {**AGAIN, "eta": "later"})
    assert (task.eta, task.expires, task.retries) == ("later", None, 1)
    [first] = task.attempts
    assert (first.eta, first.expires) == ("soon", "late")
    announce_next(task_of([RECEIVED]), {**AGAIN, "expires": "late"})


def test_what_is_asked_for_first_is_kept_by_the_next_try():
    task = task_of([SENT, RECEIVED, STARTED])
    announce_next(task, {**AGAIN, "args": "(2,)"})
    assert task.args == "(1,)"


@pytest.mark.parametrize(
    "odd", [{"args": None}, {"kwargs": 7}, {"eta": []}, {"expires": 7}], ids=str
)
def test_a_next_try_without_texts_does_not_begin(odd):
    task = task_of([SENT, RECEIVED, STARTED])
    with pytest.raises(TypeError):
        announce_next(task, {**AGAIN, **odd})
    assert (task.retries, task.started, task.attempts) == (0, 12.0, ())
