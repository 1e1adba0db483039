"""Tasks: what is known of them, what follows from it, and Celery's names for it."""

import copy
import pickle

import celery.events.state
import pytest

from evtools.state import CeleryTask as Task
from evtools.state import State, Worker
from tools.told import CLIENT, UUID, WAY, WORKER, account, life, task_of, told

SUCCESS = life("sent", "received", "started", "succeeded")
FAILURE = life("sent", "received", "started", "failed")
RETRIED = [
    *life("sent", "received", "started"),
    *life("sent", "received", start=12.5, retries=1),
    *(told("task-retried", 13.75), told("task-started", 20.0), told("task-succeeded", 21.0)),
]


def steps(*kinds, **fields):
    return task_of(life(*kinds, **fields))


def cluster(*events):
    state = State()
    state.apply(events)
    return state


def names_of(groups):
    return {name: [task.uuid for task in group] for name, group in groups.items()}


# --- its life ------------------------------------------------------------------------


STATES = [
    ("sent", "PENDING", False),
    ("received", "RECEIVED", False),
    ("started", "STARTED", False),
    ("succeeded", "SUCCESS", True),
    ("failed", "FAILURE", True),
    ("retried", "RETRY", False),
    ("revoked", "REVOKED", True),
    ("rejected", "REJECTED", True),
    ("cancelled", "CANCELLED", True),
]


@pytest.mark.parametrize(("kind", "state", "ready"), STATES)
def test_each_event_enters_its_state_even_alone(kind, state, ready):
    task = steps(kind)
    assert (task.state, task.ready, getattr(task, kind)) == (state, ready, 10.0)
    assert task.done == (10.0 if ready else None)


# --- how long it took ----------------------------------------------------------------


def test_its_run_time_is_what_the_worker_measured_else_from_start_to_end():
    assert task_of(SUCCESS).runtime == 0.5
    assert task_of(FAILURE).runtime == 1.0
    assert steps("received", "started").runtime is None
    task = Task(UUID, runtime=2.0)
    assert task.runtime == 2.0
    task.runtime = None
    assert task.runtime is None


#: Sent at 10 s, received at 11 s.
# fmt: off
WAITS = [
    (None,                          12.0,  2.0),
    ("1970-01-01T00:00:30",         31.5,  1.5),
    ("1970-01-01T00:00:30.250000",  31.5,  1.25),
    ("1970-01-01T00:00:30Z",        31.5,  1.5),
    ("1970-01-01T02:00:30+02:00",   31.5,  1.5),
    ("1970-01-01 05:30:30+05:30",   31.5,  1.5),
    ("1970-01-01T00:00:05",         12.0,  2.0),   # before it was sent
    ("1970-01-01T00:00:30",         29.98, 0.0),   # a timer may be a little early
    ("1970-01-01T00:00:30",         12.0,  None),  # clocks differ
    *((odd, 12.0, 2.0) for odd in ("", "soon", "NaN", "30", "1970-13-45T99:99", "9" * 5000)),
]
# fmt: on


@pytest.mark.parametrize(("eta", "started", "wait"), WAITS)
@pytest.mark.parametrize("order", [1, -1])
def test_it_waits_from_its_sending_but_for_the_delay_that_was_asked_for(eta, started, wait, order):
    events = [*life("sent", "received", eta=eta), told("task-started", started)]
    task = task_of(events[::order])
    assert (task.wait, task.queue_time) == (wait, 1.0)


@pytest.mark.parametrize("order", [1, -1])
def test_the_wait_of_a_second_try_begins_with_its_own_sending_and_delay(order):
    delayed = {"retries": 1, "eta": "1970-01-01T00:01:00"}
    events = [
        *life("sent", "received", "started"),
        told("task-sent", 13.0, hostname=WORKER, **delayed),
        told("task-received", 13.5, **delayed),
        *(told("task-retried", 14.0), told("task-started", 61.5)),
    ]
    assert task_of(events[::order]).wait == 1.5


def test_without_its_sending_it_waits_from_its_receipt_and_without_a_start_not_yet():
    assert (steps("received", "started").wait, steps("received", "started").queue_time) == (1, None)
    assert steps("sent", "received").wait is steps("sent").queue_time is None
    assert steps("started").wait is None


@pytest.mark.parametrize("retries", [0, None])
@pytest.mark.parametrize(("client", "worker"), [(0, 0), (300, 0), (-300, 0), (0, 40), (7, -9)])
def test_wrong_clocks_do_not_change_how_long_it_waited(client, worker, retries):
    state = cluster(told("worker-heartbeat", 900.0 + worker, local_received=900.0 + WAY))
    for event in life("sent", "received", "started", start=1000.0):
        event["timestamp"] += client if event["type"] == "task-sent" else worker
        state.apply([event | ({"retries": retries} if event["type"] == "task-sent" else {})])
    task = state.tasks[UUID]
    assert task.wait == pytest.approx(2.0)
    assert task.queue_time == pytest.approx(1.0)
    assert task.sent == 1000.0 + client


def test_the_clients_of_one_machine_have_one_clock():
    """The second client's own event comes late, so it says less of that clock."""
    beat = told("worker-heartbeat", 100.0, local_received=100.0)
    first = told("task-sent", 105.0, uuid="u", hostname="gen1@web", local_received=100.0)
    sent = told("task-sent", 110.0, hostname="gen2@web", local_received=108.0)
    other = told("task-sent", 110.0, uuid="v", hostname="gen1@db", local_received=108.0)
    events = [*life("received", "started", start=106.0)]
    events += life("received", "started", start=106.0, uuid="v")
    tasks = cluster(beat, first, sent, other, *events).tasks
    assert tasks[UUID].wait == 2.0
    # By what is known of its clock, the other client's was sent after its receipt.
    assert tasks["v"].wait == 1.0


# --- lost ----------------------------------------------------------------------------

ONLINE, GOODBYE = told("worker-online", 9.0), told("worker-offline", 12.0, local_received=12.0)
RUNS = life("received", "started")
#: Events, a time at which the task is not lost, and one at which it is.
LOST = {
    "its worker is silent before its start": (
        [*life("received"), told("worker-heartbeat", 12.0)], 12.25, 43.5),
    "its worker is silent": ([*RUNS, told("worker-heartbeat", 12.0)], 12.25, 43.5),
    "its start was the last event, so it may still run": ([ONLINE, *RUNS], 611.25, 612.25),
    "its worker has said goodbye": ([ONLINE, *RUNS, GOODBYE], 42.0, 43.0),
    **{f"no worker has it, it was {kinds[-1]}": ([ONLINE, *life(*kinds)], 1e6, None)
       for kinds in (["sent"], ["received", "started", "succeeded"], ["received", "retried"])},
}  # fmt: skip


@pytest.mark.parametrize(("events", "not_yet", "then"), LOST.values(), ids=list(LOST))
def test_a_task_is_lost_some_time_after_the_last_sign_of_its_worker(events, not_yet, then):
    task = cluster(*events).tasks[UUID]
    assert not task.lost(not_yet)
    assert then is None or task.lost(then)


# --- relations -----------------------------------------------------------------------


def test_a_workflow_can_be_walked_up_and_down():
    def sent(uuid, parent):
        return told("task-sent", uuid=uuid, parent_id=parent, root_id="r")

    # A child may be reported before its parent.
    state = cluster(sent("c", "a"))
    leaf = state.tasks["c"]
    assert leaf.parent is leaf.root is None
    state.apply([sent("r", None), sent("a", "r"), sent("b", "r")])
    root, child = state.tasks["r"], state.tasks["a"]
    assert {task.uuid for task in root.children} == {"a", "b"}
    assert (child.children, leaf.children) == ({leaf}, set())
    assert (leaf.parent, leaf.root, root.root, root.parent) == (child, root, root, None)
    fields = child.as_dict()
    assert (fields["children"], fields["parent"], fields["root"]) == (["c"], "r", "r")
    alone = Task("u", root_id="r", parent_id="p")
    assert (alone.parent, alone.root, alone.children) == (None, None, set())


# --- Celery's names ------------------------------------------------------------------


def test_the_method_event_applies_an_event_in_the_state_of_the_task():
    state = State()
    task = task_of([told("task-started")], state)
    before = state.weight_bytes
    assert names_of(state.tasks_by_type) == {}
    task.event("received", 9.0, 9.25, {**told("task-received"), "name": "shop.pack"})
    assert names_of(state.tasks_by_type) == {"shop.pack": [UUID]}
    fields = {"hostname": WORKER, "result": "x" * 500, "runtime": 0.5, "pid": 77}
    assert task.event("succeeded", 13.0, 13.25, fields) is None
    assert (task.state, task.succeeded, task.result) == ("SUCCESS", 13.0, "x" * 500)
    assert state.weight_bytes > before + 500
    state.clear_tasks()
    assert not state.tasks


@pytest.mark.parametrize("uuid", [UUID, ""])
def test_the_method_event_applies_an_event_to_a_task_without_a_state(uuid):
    task = Task(uuid)
    task.event("received", 10.0, 10.25, {"name": "shop.pay", "order": 4711})
    task.event("started", 11.0)
    task.event("progress", 11.5, None, {"percent": 5})
    assert (task.uuid, task.state, task.name, task.started) == (uuid, "STARTED", "shop.pay", 11.0)
    assert (task.note["percent"], task.order) == (5, 4711)


def test_the_method_event_survives_any_event_and_an_eviction():
    nameless = Task()
    for kind in ("started", "progress", "", None):
        nameless.event(kind, None, "x", {"uuid": "u", "type": 5, "pid": []})
    assert (nameless.state, nameless.uuid) == ("STARTED", "")
    state = State(max_tasks_in_memory=1)
    task = task_of(life("received"), state)
    state.apply([told("task-received", uuid="v")])
    task.event("started", 12.0)
    assert (task.state, list(state.tasks)) == ("STARTED", ["v"])


def test_get_returns_fields_by_the_names_they_have_in_events():
    task = task_of(FAILURE)
    for name in ("uuid", "name", "args", "root_id", "exception", "queue", "pid"):
        assert task.get(name) == next(event[name] for event in FAILURE[::-1] if name in event)
    assert (task.get("hostname"), task.get("id")) == (WORKER, UUID)
    assert (task.get("result"), task.get("result", "none"), task.get("odd", 5)) == (None, "none", 5)
    assert task.get("info", "a method is no field") == "a method is no field"


_OTHER_ENDS = [life("sent", "received", "failed"), life("received", "revoked")]


@pytest.mark.parametrize("events", [*(SUCCESS[:n] for n in range(1, 5)), *_OTHER_ENDS])
def test_a_simple_life_is_shown_as_by_celery(events):
    theirs = celery.events.state.State()
    for event in (told("worker-heartbeat", 1.0), *events):
        theirs.event(dict(event))
    ours, expected = task_of(events), theirs.tasks[UUID]
    assert ours.info() == expected.info()
    for fields in ((["name", "eta"],), ([], ["state", "no_field"]), (None, ["name"])):
        assert ours.info(*fields) == expected.info(*fields)
    assert (ours.ready, ours.origin, ours.id) == (expected.ready, expected.origin, UUID)
    assert repr(ours) == repr(expected)
    ours, expected = ours.as_dict(), expected.as_dict()
    for fields in (ours, expected):
        fields["worker"] = fields["worker"] and fields["worker"].hostname
    assert list(ours.items()) == list(expected.items())


@pytest.mark.parametrize("events", [SUCCESS, RETRIED], ids=["success", "retried"])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_shows_the_same_and_belongs_to_no_state(events, copied):
    task = task_of([*events, told("task-progress", 30.0, percent=5)])
    twin = copied(task)
    assert twin == task
    assert twin is not task
    assert account(twin) == account(task)
    assert (twin.cluster_state, twin.children) == (None, set())


@pytest.mark.parametrize(
    "name", ["queue", "terminated", "signum", "expired", "requeue", "cancelled", "hostname"]
)
def test_an_attribute_that_no_event_had_is_not_there_as_in_celery(name):
    for task in (Task("u"), task_of(life("received", "started", hostname=None))):
        assert not hasattr(task, name)
        assert task.get(name, "celery") == "celery"


def test_an_attribute_that_an_event_of_the_newest_attempt_had_is_there():
    task = task_of([*life("sent", "received"), told("task-revoked", 13.0, signum=15)])
    assert (task.queue, task.terminated, task.signum) == ("mail", True, 15)
    assert (task.type, task.utcoffset, task.expired) == ("task-revoked", 0, False)
    assert not hasattr(task, "requeue")
    assert not hasattr(Task("u"), "type")
    assert Task("u", type="x", hostname="h", queue="q").type == "x"
    first = [*life("received"), told("task-rejected", 12.0, requeue=True)]
    task = task_of([*first, *life("received", start=20.0)])
    assert task.attempts[0].requeue is True
    assert not hasattr(task, "requeue")


def test_until_a_worker_has_it_its_hostname_is_that_of_its_client():
    state = State()
    task = task_of(life("sent"), state)
    assert (task.hostname, task.worker, task.worker_name) == (CLIENT, None, None)
    assert not state.tasks_by_worker
    task_of(life("received", start=12.0), state)
    assert (task.hostname, task.worker_name) == (WORKER, WORKER)


def test_a_task_made_by_hand_keeps_what_no_event_has():
    worker = Worker(WORKER)
    given = {"worker": worker, "eta": "2026-01-01", "expires": "2026-01-02"}
    task = Task("u", None, ["c"], retries=2, result="kept", **given)
    task.event("started", 12.0, 12.25)
    task.event("failed", 13.0, 13.25, {"exception": "E()"})
    assert task.worker is worker
    assert (task.eta, task.expires) == ("2026-01-01", "2026-01-02")
    assert (task.retries, task.result, task.exception) == (2, "kept", "E()")
    assert task.state == "FAILURE"
    ended = Task("u", state="SUCCESS", succeeded=13.0, result="4")
    ended.event("started", 12.0, 12.25)
    assert (ended.state, ended.succeeded, ended.result) == ("SUCCESS", 13.0, "4")
    task = task_of(SUCCESS)
    assert Task(**task.as_dict()).as_dict() == {**task.as_dict(), "children": []}


# --- custom events -------------------------------------------------------------------


def progress(at, percent, **fields):
    """The event that a task sends of itself, from its process."""
    return told("task-progress", at, percent=percent, clock=2, **fields)


def test_a_custom_event_changes_nothing_but_the_note():
    usual = account(task_of(SUCCESS))
    note = {"type": "task-progress", "timestamp": 11.5, "percent": 50, "stage": "cook"}
    for place in range(len(SUCCESS) + 1):
        events = [*SUCCESS[:place], progress(11.5, 50, stage="cook"), *SUCCESS[place:]]
        assert account(task_of(events)) == usual | {"note": note}


def test_a_task_may_be_known_by_its_note_alone():
    state = State()
    change, again = state.apply([progress(10.0, 1), progress(11.0, 2)])
    assert (change.created, change.before, change.after) == (True, None, "PENDING")
    assert (again.created, again.before, again.after) == (False, "PENDING", "PENDING")
    assert change.subject.note["percent"] == 2
    assert (change.subject.first_received, change.subject.local_received) == (10.25, 11.25)
    assert change.subject.worker is None
    assert not state.workers


def test_the_newest_note_is_kept_in_whatever_order_they_come():
    notes = [progress(10.0, 1), progress(11.0, 2), told("task-log", 11.0, line="x")]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]):
        assert task_of([notes[number] for number in order]).note["percent"] == 2
    assert task_of([progress(10.0, 1), progress(10.0, 2)]).note["percent"] == 2


def test_a_note_is_a_sign_of_life_of_a_known_worker():
    state = cluster(told("worker-heartbeat", 1.0), progress(20.0, 1))
    assert state.workers[WORKER].local_received == 20.25


def test_notes_weigh_and_old_ones_do_not():
    state = State()
    light = task_of([progress(10.0, 1)], state).weight_bytes
    task = state.tasks[UUID]
    state.apply([progress(11.0, 1, text="x" * 5000)])
    heavy = task.weight_bytes
    assert heavy > light + 5000
    state.apply([progress(10.5, 1, text="x" * 9000)])
    assert task.weight_bytes == heavy
    state.apply([progress(12.0, 1)])
    assert task.weight_bytes == light
    # Of one that is too large its type and time are kept.
    state.apply([progress(13.0, 1, lines=["x" * 100] * 1000)])
    assert task.note == {"type": "task-progress", "timestamp": 13.0}
    assert task.weight_bytes < 16 * 1024


# --- fields that Celery does not know ------------------------------------------------


#: Fields that events of Celery's have by rights.
CELERYS = {*SUCCESS[0], *SUCCESS[1], *SUCCESS[3], "exception", "traceback"}
CELERYS |= {"requeue", "terminated", "signum", "expired"}


@pytest.mark.parametrize("name", sorted({*dir(Task), "__init__"} - CELERYS))
def test_no_field_takes_the_name_of_anything_of_a_task(name):
    plain = task_of(life("received", "started"))
    first, second = life("received", "started")
    task = task_of([{**first, name: "evil"}, second])
    assert task.extra == {name: "evil"}
    assert type(task) is Task
    assert {**account(task), "extra": None} == account(plain)
    assert repr(task) == repr(plain)


def test_fields_that_celery_does_not_know_are_attributes_the_latest_first():
    events = life("received", "started", "succeeded")
    events[0] |= {"tenant": "old", "region": "north", "priority": 3}
    events[1]["tenant"] = "new"
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
        task = task_of([events[number] for number in order])
        assert task.extra == {"tenant": "new", "region": "north", "priority": 3}
        assert (task.tenant, task.get("region"), task.priority) == ("new", "north", 3)
        plain = account(task_of(life("received", "started", "succeeded")))
        assert {**account(task), "extra": None} == plain


def test_fields_weigh_and_those_that_do_not_fit_are_not_kept():
    first, second = life("received", "started")
    state = State()
    light = task_of([first], state).weight_bytes
    task = state.tasks[UUID]
    state.apply([{**second, "tenant": "x" * 1000}])
    assert task.weight_bytes > light + 1000
    state.apply([{**told("task-succeeded", 12.0), "tenant": "x"}])
    small = task.weight_bytes
    assert small < light + 1000
    state.apply([{**second, "dump": "x" * 20_000}])
    assert task.extra == {"tenant": "x"}
    assert not hasattr(task, "dump")
    assert task.weight_bytes == small


def test_no_number_of_names_fills_the_memory():
    state = State()
    task = task_of(life("received", "started"), state)
    for number in range(2000):
        state.apply([told("task-started", 11.0, **{f"name{number}": "x" * 100})])
        state.apply([told("worker-heartbeat", 10.0 + number, **{f"name{number}": 1})])
    assert len(vars(task)) < 200
    assert task.weight_bytes < 32 * 1024
    worker = state.workers[WORKER]
    assert worker.name1999 == 1
    assert len(vars(worker)) < 5


def test_a_field_in_an_event_that_usually_lacks_it_is_shown():
    started = told("task-started", 12.0, name="shop.pay", eta="2026-01-01", retries=1)
    task = task_of([started])
    assert (task.name, task.eta, task.retries) == ("shop.pay", "2026-01-01", 1)
    task = task_of([started, told("task-failed", 13.0, queue="mail", args=[1, 2])])
    assert (task.queue, task.args, task.state) == ("mail", "[1, 2]", "FAILURE")
    assert (task.name, task.eta) == ("shop.pay", "2026-01-01")


@pytest.mark.parametrize("turn", [1, -1])
def test_the_event_that_has_a_field_by_rights_counts_more(turn):
    events = [*life("received", eta=None), told("task-started", 12.0, name="odd")]
    assert task_of(events[::turn]).name == "shop.pay"
