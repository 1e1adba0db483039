"""State: Celery's names for a cluster."""

import copy
import inspect
import pickle
import threading

import celery.events.state
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import CeleryTask as Task
from evtools.state import State, Worker
from tools.told import OTHER, WORKER, account, life, task_of, told

FINISHED = ("sent", "received", "started", "succeeded")
DEFAULT_MAX_BYTES = State().max_bytes


def beat(at=1.0, **fields):
    return told("worker-heartbeat", at, **fields)


def step(kind, uuid, at=10.0, **fields):
    if kind in {"sent", "received"}:
        fields = {"root_id": uuid} | fields
    return told(f"task-{kind}", at, uuid=uuid, **fields)


def run(uuid, *kinds, start=10.0, **fields):
    return [step(kind, uuid, start + n, **fields) for n, kind in enumerate(kinds or FINISHED)]


def state_of(*events, **settings):
    state = State(**settings)
    state.apply(events)
    return state


def uuids(pairs):
    return [uuid for uuid, _ in pairs]


def nothing(*_):
    """Stand for a callback that can be pickled."""


@pytest.fixture
def state():
    """Three tasks of two types on two workers; the last event is of the oldest."""
    return state_of(
        *(beat(), beat(hostname=OTHER)),
        *run("a", "received", name="shop.pay"),
        *run("b", name="shop.pack", start=11.0),
        *run("c", "received", "failed", name="shop.pay", start=20.0, hostname=OTHER),
        step("started", "a", 30.0),
    )


# --- Celery's names ------------------------------------------------------------------

#: Arguments of Celery's that are no arguments: names of the module, made local.
NO_ARGUMENTS = {
    *("precedence", "setattr", "task_event_to_state", "RETRY", "timetuple"),
    *("max_drift", "abs", "int", "insort", "len", "nowfun"),
}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def arguments(function):
    kinds = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    every = inspect.signature(function).parameters.values()
    return {one.name for one in every if one.kind not in kinds} - NO_ARGUMENTS


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (State(), celery.events.state.State()),
        (Task("u"), celery.events.state.Task("u")),
        (Worker("w"), celery.events.state.Worker("w")),
    ],
    ids=["State", "Task", "Worker"],
)
def test_every_name_of_celery_is_here(ours, theirs):
    assert public(theirs) - public(ours) == set()
    # A worker without a heartbeat has none that expires.
    names = public(theirs) - {"heartbeat_expires"}
    for name in [*sorted(names), "__init__"]:
        our, their = getattr(ours, name), getattr(theirs, name)
        assert callable(our) is callable(their), name
        if callable(their):
            assert arguments(their) <= arguments(our), name
    for name in ("_fields", "_info_fields", "merge_rules", "heap_multiplier"):
        if hasattr(theirs, name):
            assert getattr(ours, name) == getattr(theirs, name)


# --- event ---------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, "answer", 0])
@pytest.mark.parametrize(
    "events",
    [
        [beat(), *life(*FINISHED), told("worker-offline", 20.0)],
        *([told(kind)] for kind in ("worker-offline", "worker-online", "worker-odd", "demo-x")),
        *([told(kind)] for kind in ("task-sent", "task-started", "task-progress")),
        *([{"type": "demo"}], [{"type": "other-x"}]),
    ],
    ids=lambda events: events[-1]["type"] if isinstance(events, list) else str(events),
)
def test_an_event_returns_what_it_returns_in_celery(events, answer):
    ours, theirs = State(), celery.events.state.State()
    for each in (ours, theirs):
        each.handlers["demo"] = lambda *_: answer
    for event in events * 2:
        expected, given = theirs.event(dict(event)), ours.event(event)
        if expected is not None and event["type"].partition("-")[0] != "demo":
            ((their, *rest), kind), expected = expected, None
            ((our, *our_rest), our_kind), given = given, None
            assert (our_rest, our_kind) == (rest, kind)
            assert type(our).__name__ == type(their).__name__
            assert our.id.startswith(their.id.partition(".")[0])
        assert given == expected
    assert (ours.event_count, ours.task_count) == (theirs.event_count, theirs.task_count)


def test_the_older_names_of_event_take_the_type_apart():
    state = State()
    task, created = state.task_event("received", step("received", "u"))
    assert (task.uuid, created) == ("u", True)
    worker, created = state.worker_event("heartbeat", beat())
    assert (worker.hostname, created) == (WORKER, False)
    assert state.task_event("received", {}) is None
    assert [state.event(odd) for odd in ({"type": "x"}, {"type": 5}, {})] == [None] * 3
    # A goodbye alone makes no worker.
    assert state.event(told("worker-offline", hostname=OTHER))[0][0].hostname == OTHER
    assert list(state.workers) == [WORKER]
    assert repr(state) == "<State: events=7 tasks=1>"


# --- callbacks and handlers ----------------------------------------------------------


def by_one(state, events):
    for event in events:
        state.event(event)


def at_once(state, events):
    state.apply(events)


in_both_ways = pytest.mark.parametrize("take", [by_one, at_once])


@in_both_ways
def test_the_callback_is_called_before_each_event(take):
    seen = []

    def callback(state, event):
        pay = state.tasks_by_type["shop.pay"]
        seen.append((event["type"], state.event_count, len(pay), len(state.tasks)))

    state = State(callback)
    take(state, [step("received", "a"), beat(), step("received", "b"), {"type": "x-y"}])
    assert seen == [
        *(("task-received", 0, 0, 0), ("worker-heartbeat", 1, 1, 1)),
        *(("task-received", 2, 1, 1), ("x-y", 3, 2, 2)),
    ]
    assert len(state.tasks_by_type["shop.pay"]) == 2


#: Events, and the calls of `on_node_join` and `on_node_leave`.
CALLS = [
    (
        [beat(), beat(2.0), told("worker-offline", 3.0), told("worker-online", 4.0)],
        ["join", "leave", "join"],
    ),
    ([told("worker-offline")], ["leave"]),
    ([step("sent", "u"), step("received", "u")], []),
]


@in_both_ways
@pytest.mark.parametrize(("events", "calls"), CALLS)
@pytest.mark.parametrize("only", ["join", "leave", ""])
def test_workers_that_come_and_go_are_called_out(take, events, calls, only):
    called = []
    callbacks = {
        f"on_node_{name}": lambda worker, name=name: called.append((name, worker.hostname))
        for name in ("join", "leave")
        if only in {name, ""}
    }
    take(State(**callbacks), events)
    assert called == [(name, WORKER) for name in calls if only in {name, ""}]


def test_an_error_of_a_callback_is_not_hidden():
    def callback(_, event):
        if event["type"] == "x-y":
            raise LookupError

    state = State(callback)
    assert "shop.pay" not in state.tasks_by_type
    with pytest.raises(LookupError):
        state.apply([step("received", "u"), {"type": "x-y"}])
    assert names_of(state.tasks_by_type) == {"shop.pay": {"u"}}


def test_a_handler_takes_the_events_of_its_group_in_the_place_of_the_state():
    state, taken = State(), []

    def handler(subject, event):
        taken.append((subject, event["x"]))
        return "answer"

    state.handlers["demo"] = state.handlers["task"] = handler
    assert state.event({"type": "demo-x", "x": 1}) == ("answer", "x")
    (change,) = state.apply([{"type": "demo-y", "x": 2}])
    assert change.subject is None
    assert state.event(step("received", "u", x=3)) == ("answer", "received")
    assert taken == [("x", 1), ("y", 2), ("received", 3)]
    assert state.event_count == 3
    assert not state.tasks
    assert copy.deepcopy(state).handlers == {}


# --- looking -------------------------------------------------------------------------


def test_tasks_are_listed_with_the_one_whose_event_came_last_first(state):
    assert uuids(state.tasks_by_time()) == ["a", "c", "b"]
    assert uuids(state.tasks_by_time(reverse=False)) == ["b", "c", "a"]
    assert uuids(state.tasks_by_time(limit=2)) == ["a", "c"]
    assert uuids(state.tasks_by_time(1, False)) == ["b"]
    assert uuids(state.tasks_by_timestamp()) == ["a", "c", "b"]
    assert all(task is state.tasks[uuid] for uuid, task in state.tasks_by_time())
    state.rebuild_taskheap()
    assert uuids(state.tasks_by_time()) == ["a", "c", "b"]
    assert dict(state.itertasks()) == dict(state.tasks)
    assert len(list(state.itertasks(limit=2))) == 2
    assert len(list(state.itertasks(0))) == 3


def test_the_logical_clock_of_a_new_process_does_not_hide_its_tasks():
    old = [step("received", f"old{n}", clock=10**6 + n) for n in range(50)]
    new = [step("received", f"new{n}", 20.0, clock=n, pid=78) for n in range(50)]
    listed = uuids(state_of(*old, *new).tasks_by_time(50))
    assert set(listed) == {f"new{n}" for n in range(50)}


def test_tasks_are_in_mappings_by_type_and_by_worker_that_can_be_called(state):
    assert names_of(state.tasks_by_type) == {"shop.pay": {"a", "c"}, "shop.pack": {"b"}}
    assert names_of(state.tasks_by_worker) == {WORKER: {"a", "b"}, OTHER: {"c"}}
    assert "nothing" not in state.tasks_by_type
    assert (state.tasks_by_type["nothing"], state.tasks_by_type.get("nothing")) == (set(), None)
    assert uuids(state.tasks_by_type("shop.pay")) == ["a", "c"]
    assert uuids(state.tasks_by_type("shop.pay", reverse=False)) == ["c", "a"]
    assert uuids(state.tasks_by_type("shop.pay", limit=1)) == ["a"]
    assert uuids(state.tasks_by_worker(WORKER)) == ["a", "b"]
    assert uuids(state.tasks_by_worker(WORKER, 1, False)) == ["b"]
    assert uuids(state.tasks_by_worker("nobody")) == []
    nameless = state_of(step("started", "u", hostname=None), step("sent", "v", name=None))
    assert dict(nameless.tasks_by_type) == dict(nameless.tasks_by_worker) == {}
    assert nameless.task_types() == []
    # Types are sorted, and stay when their tasks are forgotten.
    for each in (state, copy.deepcopy(state)):
        assert each.task_types() == ["shop.pack", "shop.pay"]
        each.clear(ready=False)
        assert each.task_types() == ["shop.pack", "shop.pay"]


def names_of(groups):
    return {name: {task.uuid for task in group} for name, group in groups.items()}


def grouped(tasks, key):
    made = {}
    for task in tasks:
        if key(task) is not None:
            made.setdefault(key(task), set()).add(task.uuid)
    return made


_EVENTS = st.builds(
    lambda kind, uuid, name, host: step(
        kind,
        uuid,
        **({"name": name} if kind in {"sent", "received"} else {}),
        **({} if kind == "sent" else {"hostname": host}),
    ),
    st.sampled_from([*FINISHED, "failed", "retried", "progress"]),
    st.sampled_from("abcdefgh"),
    st.sampled_from(["x", "y", None]),
    st.sampled_from([WORKER, OTHER, None]),
)
_DEEDS = st.sampled_from(["look", "clear", "clear_tasks", "create", "copy"])


@given(st.lists(st.lists(_EVENTS, max_size=6) | _DEEDS, max_size=12))
def test_groups_order_and_weight_are_those_of_the_tasks(deeds):
    state = State(max_tasks_in_memory=5)
    seen = []
    for deed in deeds:
        if deed == "clear":
            state.clear()
        elif deed == "clear_tasks":
            state.clear_tasks()
        elif deed == "create":
            state.get_or_create_task("z")
        elif deed == "copy":
            state = copy.deepcopy(state)
        elif deed != "look":
            state.apply(deed)
            seen += [event["uuid"] for event in deed]
        tasks = list(state.tasks.values())
        assert names_of(state.tasks_by_type) == grouped(tasks, lambda task: task.name)
        assert names_of(state.tasks_by_worker) == grouped(tasks, lambda task: task.worker_name)
        listed = [uuid for uuid in uuids(state.tasks_by_time()) if uuid != "z"]
        assert listed == list(filter(state.tasks.get, dict.fromkeys(seen[::-1])))
    state.clear(ready=False)
    assert state.weight_bytes == 0


# --- tasks and workers are what Celery's LRU caches are ------------------------------


def test_the_tasks_read_as_one_mapping(state):
    tasks, expected = state.tasks, dict(state.tasks)
    values, items = tasks.values(), tasks.items()
    state.apply([step("received", "n", 40.0)])
    expected["n"] = tasks["n"]
    assert set(values) == set(tasks.itervalues()) == set(expected.values())
    assert dict(items) == dict(tasks.iteritems()) == dict(tasks) == tasks.copy() == expected
    assert list(tasks) == list(tasks.data) == list(tasks.keys()) == list(tasks.iterkeys())
    assert len(tasks) == len(values) == len(items) == 4
    assert all(uuid in tasks and tasks[uuid] is tasks.get(uuid) for uuid in expected)
    assert "x" not in tasks
    assert tasks.get("x") is None
    with pytest.raises(KeyError, match="x"):
        tasks["x"]
    assert "<Task: shop.pack(b) SUCCESS" in repr(tasks)


def test_a_task_that_is_taken_out_is_forgotten(state):
    # The newest one, or the one to forget next.
    assert next(iter(state.tasks)) == "b"
    assert copy.deepcopy(state).tasks.popitem()[0] == "a"
    assert state.tasks.popitem(last=False)[0] == "b"
    assert "shop.pack" not in state.tasks_by_type
    assert state.tasks.pop("c").name == "shop.pay"
    assert list(state.tasks) == uuids(state.tasks_by_time()) == ["a"]
    assert state.tasks.pop("b", None) is None
    del state.tasks["a"]
    for last in (True, False):
        with pytest.raises(KeyError):
            state.tasks.popitem(last=last)


def test_a_task_that_is_put_in_is_one_of_the_state_and_comes_last(state):
    task = Task("new", name="shop.pay", parent_id="a", root_id="a")
    state.tasks["new"] = task
    assert state.tasks["new"] is task
    assert task.parent is state.tasks["a"]
    assert uuids(state.tasks_by_time())[0] == "new"
    state.apply([step("received", "new", 40.0, name="shop.pay")])
    assert task.state == "RECEIVED"
    state.tasks["b"] = state.tasks.pop("b")
    state.tasks["c"] = state.tasks["c"]
    assert len(state.tasks) == 4
    with pytest.raises(ValueError, match="'x'"):
        state.tasks["x"] = Task("y")
    # Another of the same uuid takes the place of the first.
    state.tasks.update({"a": Task("a", name="other")})
    assert (len(state.tasks), state.tasks["a"].name) == (4, "other")
    state.clear(ready=False)
    assert state.weight_bytes == 0


def test_a_limit_that_was_lowered_holds_from_the_next_update_or_task(state):
    assert (state.tasks.limit, state.workers.limit) == (10_000, 5000)
    state.tasks.limit = state.workers.limit = 1
    assert state.max_tasks_in_memory == state.max_workers_in_memory == 1
    state.tasks.update()
    state.workers.update()
    assert list(state.tasks) == ["a"]
    assert len(state.workers) == 1
    state.event(beat(50.0, hostname="third"))
    assert list(state.workers) == ["third"]


def test_workers_can_be_taken_out_put_in_and_copied(state):
    before = state.weight_bytes
    worker = state.workers.pop(OTHER)
    assert worker.hostname == OTHER
    assert state.weight_bytes < before
    state.workers[OTHER] = worker
    assert state.workers.data[OTHER] is worker
    assert state.weight_bytes == before
    workers = state.workers
    assert f"<Worker: {OTHER}" in repr(workers)
    copies = [workers.copy(), copy.copy(workers), copy.deepcopy(workers)]
    copies += [pickle.loads(pickle.dumps(workers, each)) for each in range(6)]
    for each in (*copies, dict(workers.iteritems())):
        assert list(each) == list(workers.iterkeys()) == [WORKER, OTHER]
        assert list(each.values()) == list(workers.itervalues())
    workers.clear()
    assert not list(state.alive_workers())


@given(
    st.lists(st.sampled_from(["received", "succeeded", "failed"]), max_size=60), st.integers(1, 12)
)
def test_event_forgets_one_task_and_that_is_the_first(kinds, limit):
    """An index that somebody keeps beside the state, as Flower does, stays true."""
    state, index = State(max_tasks_in_memory=limit), set()
    for number, kind in enumerate(kinds):
        uuid = str(number)
        full = len(state.tasks) >= limit
        first = next(iter(state.tasks), None) if full else None
        state.event(step(kind, uuid, number + 1.0))
        index.add(uuid)
        index.discard(first)
        assert index == set(state.tasks)


# --- keeping it still ----------------------------------------------------------------


def test_freeze_while_returns_the_result_of_the_function_and_may_clear(state):
    given = state.freeze_while(lambda *args, **kwargs: (args, kwargs), 1, b=2)
    assert given == ((1,), {"b": 2})
    with pytest.raises(ZeroDivisionError):
        state.freeze_while(lambda: 1 / 0, clear_after=True)
    assert (len(state.tasks), len(state.workers), state.event_count) == (3, 2, 10)
    assert state.freeze_while(lambda: len(state.tasks), clear_after=True) == 3
    assert (list(state.tasks), len(state.workers)) == (["a"], 0)
    # What looks at it may call it.
    assert state.freeze_while(state.get_or_create_task, "a")[1] is False


class Overridden(State):
    """Override what subclasses written for Celery's State do."""

    def __init__(self, *args, **kwargs):
        self.cleared = []
        super().__init__(*args, **kwargs)

    def _clear(self, *args):
        self.cleared.append("all")
        super()._clear(*args)

    def _clear_tasks(self, *args):
        self.cleared.append("tasks")
        super()._clear_tasks(*args)


def test_the_methods_that_a_subclass_overrides_are_called():
    state = Overridden()
    state.clear_tasks()
    assert state.cleared == ["tasks"]
    state.clear()
    state.freeze_while(nothing, clear_after=True)
    assert state.cleared == ["tasks", *["all", "tasks"] * 2]


def test_no_event_is_applied_while_it_is_frozen_and_who_cannot_wait_need_not(state):
    frozen, go = threading.Event(), threading.Event()

    def look():
        frozen.set()
        go.wait(20)
        return "z" in state.tasks

    seen = []
    looking = threading.Thread(target=lambda: seen.append(state.freeze_while(look)))
    looking.start()
    assert frozen.wait(20)
    applying = threading.Thread(target=state.apply, args=([step("received", "z")],))
    applying.start()
    with state.held(0.01) as ours:
        assert not ours
    go.set()
    for thread in (looking, applying):
        thread.join(20)
    assert seen == [False]
    with state.held(20.0) as ours:
        assert ours
        assert "z" in state.tasks
        assert state.apply([step("received", "y")])
    released = threading.Thread(target=state.freeze_while, args=(list,))
    released.start()
    released.join(20)
    assert not released.is_alive()


# --- changing ------------------------------------------------------------------------


def test_tasks_and_workers_can_be_had_whether_they_are_there_or_not():
    state = State(max_tasks_in_memory=3, max_workers_in_memory=2)
    worker, created = state.get_or_create_worker(WORKER, freq=5.0)
    assert (worker.hostname, worker.freq, created) == (WORKER, 5.0, True)
    again, created = state.get_or_create_worker(WORKER, active=3)
    assert again is worker is state.workers[WORKER]
    assert (again.freq, again.active, created) == (5.0, 3, False)
    task, created = state.get_or_create_task("u")
    assert (task.uuid, task.state, created) == ("u", "PENDING", True)
    assert state.get_or_create_task("u") == (task, False)
    assert state.tasks["u"] is task
    state.apply([step("received", "u", name="x")])
    assert task.name == "x"
    for number in range(10):
        state.get_or_create_task(f"u{number}")
        state.get_or_create_worker(f"w{number}")
    assert set(state.tasks) == {"u7", "u8", "u9"}
    assert set(state.workers) == {"w8", "w9"}


def test_clear_tasks_keeps_those_that_have_not_ended(state):
    state.clear_tasks()
    assert (list(state.tasks), state.event_count) == (["a"], 10)
    state.clear_tasks(ready=False)
    assert not state.tasks
    assert set(state.workers) == {WORKER, OTHER}


def test_after_a_clear_the_tasks_that_were_kept_go_on_and_new_ones_are_newer(state):
    state.clear()
    assert (list(state.tasks), len(state.workers)) == (["a"], 0)
    assert state.event_count == state.task_count == 0
    state.apply(run("n"))
    assert uuids(state.tasks_by_time()) == ["n", "a"]
    state.apply([step("received", "o", 50.0), step("succeeded", "a", 40.0)])
    assert uuids(state.tasks_by_time()) == ["a", "o", "n"]
    assert state.tasks["a"].state == "SUCCESS"
    assert state.tasks["a"].worker is state.workers[WORKER]
    assert state.tasks["a"].name == "shop.pay"


# --- copies --------------------------------------------------------------------------


def pickled_with(protocol):
    return lambda state: pickle.loads(pickle.dumps(state, protocol))


copied_in_all_ways = pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, *map(pickled_with, range(pickle.HIGHEST_PROTOCOL + 1))],
    ids=["deepcopy", *map(str, range(pickle.HIGHEST_PROTOCOL + 1))],
)
_OF_WORKER = (*Worker._fields, "online_since", "skew", "beats", "liveness", "extra")
_SETTINGS = (
    *("event_count", "task_count", "evicted", "departed", "max_bytes", "weight_bytes"),
    *("max_tasks_in_memory", "max_workers_in_memory", "liveness"),
    *("event_callback", "on_node_join", "on_node_leave"),
)


def shown(state):
    return {
        "tasks": [(uuid, account(task)) for uuid, task in state.tasks_by_time()],
        "workers": [
            (name, *(getattr(worker, field) for field in _OF_WORKER))
            for name, worker in state.workers.items()
        ],
        **{name: getattr(state, name) for name in _SETTINGS},
        "types": state.task_types(),
        "family": {task.uuid for task in state.family("p")},
    }


def make_rich():
    state = State(nothing, *(None, None, None, 7, 4, nothing, nothing), max_bytes=10**6)
    retried = life("sent", "received", "started", "retried")
    retried += life("sent", "received", "started", start=20.0, retries=1)
    task_of([*retried, told("task-progress", 30.0, percent=5)], state)
    state.apply([*run("a"), *run("b"), *run("c"), *run("d", "received", "failed")])
    state.apply([step("sent", "k", 40.0, parent_id="p", root_id="p", order=4711)])
    state.apply([told("worker-online", 41.0, hostname="celery@new", zone="eu")])
    assert state.evicted
    return state


@copied_in_all_ways
def test_a_copy_shows_the_same_goes_on_and_has_nothing_in_common_with_the_state(copied):
    state = make_rich()
    twin = copied(state)
    assert shown(twin) == shown(state)
    assert twin.tasks["k"].order == 4711
    for task in twin.tasks.values():
        assert task.cluster_state is twin
        assert task.worker is None or task.worker is twin.workers[task.worker_name]
    more = [told("task-succeeded", 50.0), *run("new", start=51.0), beat(60.0, pid=78)]
    for each in (state, twin):
        each.apply(more)
    before = shown(state)
    assert shown(twin) == before
    twin.apply([*run("z"), beat(99.0), told("worker-offline", 100.0, hostname=OTHER)])
    twin.clear(ready=False)
    assert shown(state) == before
    assert twin.weight_bytes == 0


@copied_in_all_ways
def test_a_copy_of_a_state_with_more_room_than_usual_keeps_all_tasks(copied):
    text = "x" * 1_000_000
    events = [step("received", f"u{n}", args=text) for n in range(300)]
    state = state_of(*events, max_bytes=2 * DEFAULT_MAX_BYTES)
    assert state.weight_bytes > DEFAULT_MAX_BYTES
    assert len(copied(state).tasks) == 300


def test_it_can_be_made_of_the_tasks_and_workers_of_another(state):
    other = State(None, dict(state.workers), dict(state.tasks_by_time(reverse=False)))
    assert uuids(other.tasks_by_time()) == ["a", "c", "b"]
    other.apply(run("n", start=50.0))
    assert uuids(other.tasks_by_time()) == ["n", "a", "c", "b"]
    assert other.weight_bytes > 0
    other.clear(ready=False)
    assert other.weight_bytes == 0
    ends = {"a": "SUCCESS", "b": "FAILURE", "c": "STRANGE"}
    tasks = {uuid: Task(uuid, state=end) for uuid, end in ends.items()}
    assert set(State(tasks=tasks, max_tasks_in_memory=2).tasks) == {"b", "c"}


@pytest.mark.parametrize("kind", ["sent", "received", "started", "succeeded", "retried"])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_task_of_a_state_of_somebody_elses_takes_any_event(kind, retries):
    task = Task("u", state="STRANGE", received=50.0, retries=retries, started=60.0, timestamp=60.0)
    state = State(tasks={"u": task})
    assert state.event(step(kind, "u", 4.0))[0] == (task, True)
    assert (list(state.tasks), state.weight_bytes > 0) == (["u"], True)
