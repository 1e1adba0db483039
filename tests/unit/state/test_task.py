"""Tasks: what is known of them, what follows from it, and Celery's names for it."""

import copy
import pickle

import celery.events.state
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import CeleryTask as Task
from evtools.state import State, Worker
from tools.told import CLIENT, OTHER, UUID, WAY, WORKER, account, life, task_of, told

SUCCESS = life("sent", "received", "started", "succeeded")
FAILURE = life("sent", "received", "started", "failed")
RETRIED = [
    *life("sent", "received", "started"),
    *life("sent", "received", start=12.5, retries=1),
    *(told("task-retried", 13.75), told("task-started", 20.0)),
    told("task-succeeded", 21.0),
]
#: What was sent with an ETA, in ISO 8601; UTC, as Celery leaves that out.
ETA = {"eta": "1970-01-01T00:00:30"}


def steps(*kinds, **fields):
    return task_of(life(*kinds, **fields))


def cluster(*events):
    state = State()
    state.apply(events)
    return state


# --- its life ----------------------------------------------------------------------


def test_a_task_that_succeeds_tells_of_all_its_steps():
    task = task_of(SUCCESS)
    assert (task.sent, task.received, task.started) == (10.0, 11.0, 12.0)
    assert task.succeeded == task.ended == task.done == 13.0
    assert (task.state, task.ready) == ("SUCCESS", True)
    assert (task.name, task.args, task.kwargs) == ("shop.pay", "(1,)", "{}")
    assert (task.result, task.runtime, task.retries) == ("4", 0.5, 0)
    assert (task.client, task.hostname, task.worker.hostname) == (*(CLIENT, WORKER, WORKER),)
    assert (task.queue, task.exchange, task.routing_key) == ("mail", "", "mail")
    assert (task.timestamp, task.clock, task.pid) == (13.0, 1300, 77)
    assert (task.first_received, task.local_received) == (10.0 + WAY, 13.0 + WAY)
    assert task.attempts == ()


def test_a_task_that_fails_tells_what_was_raised():
    task = task_of(FAILURE)
    assert (task.state, task.ready, task.failed) == ("FAILURE", True, 13.0)
    assert task.exception == "OSError(5)"
    assert task.traceback.endswith("OSError: 5")
    assert (task.succeeded, task.result) == (None, None)
    assert task.runtime == 1.0


@pytest.mark.parametrize(
    ("kind", "state", "ready"),
    [
        *(("sent", "PENDING", False), ("received", "RECEIVED", False)),
        *(("started", "STARTED", False), ("succeeded", "SUCCESS", True)),
        *(("failed", "FAILURE", True), ("retried", "RETRY", False)),
        *(("revoked", "REVOKED", True), ("rejected", "REJECTED", True)),
        ("cancelled", "CANCELLED", True),
    ],
)
def test_each_event_enters_its_state_even_alone(kind, state, ready):
    task = steps(kind)
    assert (task.state, task.ready) == (state, ready)
    assert getattr(task, kind) == 10.0
    assert task.done == (10.0 if ready else None)


def test_a_revoked_task_tells_how():
    task = steps("received", "revoked")
    assert (task.terminated, task.signum, task.expired) == (True, "SIGTERM", False)
    assert steps("received", "rejected").requeue is True


def test_a_task_that_is_retried_keeps_its_older_attempts():
    task = task_of(RETRIED)
    (first,) = task.attempts
    assert (first.state, first.retries, first.started, first.retried) == (
        *("RETRY", 0, 12.0, 13.75),
    )
    assert (task.state, task.retries, task.started) == ("SUCCESS", 1, 20.0)


@pytest.mark.parametrize("events", [SUCCESS, FAILURE], ids=["success", "failure"])
@settings(deadline=None)
@given(data=st.data())
def test_any_order_of_its_events_ends_in_the_same_task(events, data):
    shuffled = data.draw(st.permutations(events))
    assert account(task_of(shuffled)) == account(task_of(events))


@settings(deadline=None)
@given(st.permutations(RETRIED))
def test_any_order_of_the_events_of_a_retry_ends_in_the_same_task(shuffled):
    assert account(task_of(shuffled)) == account(task_of(RETRIED))


@settings(deadline=None)
@given(st.lists(st.sampled_from(RETRIED), max_size=5))
def test_what_is_told_twice_was_true_the_first_time(again):
    assert account(task_of([*RETRIED, *again])) == account(task_of(RETRIED))


# --- how long it took --------------------------------------------------------------


def test_its_run_time_is_what_the_worker_measured_else_from_start_to_end():
    assert task_of(SUCCESS).runtime == 0.5
    assert task_of(FAILURE).runtime == 1.0
    assert steps("received", "started").runtime is None


def test_its_run_time_can_be_set_as_in_celery():
    task = Task(UUID, runtime=2.0)
    assert task.runtime == task.measured == 2.0
    task.runtime = None
    assert task.runtime is None


def test_it_waits_from_its_sending_to_its_start():
    task = task_of(SUCCESS)
    assert task.wait == 2.0
    assert task.queue_time == 1.0


def test_it_waits_from_its_receipt_if_we_missed_its_sending():
    task = steps("received", "started")
    assert task.wait == 1.0
    assert task.queue_time is None


def test_what_has_not_started_has_no_wait_yet():
    assert steps("sent", "received").wait is None
    assert steps("sent").queue_time is None
    assert steps("started").wait is None


def test_the_time_it_was_meant_to_wait_does_not_count():
    task = task_of([*life("sent", "received", **ETA), told("task-started", 31.5)])
    assert task.wait == 1.5


def test_an_eta_that_is_over_when_it_is_sent_changes_nothing():
    assert steps("sent", "received", "started", eta="1970-01-01T00:00:05").wait == 2.0


def test_an_eta_that_is_no_time_changes_nothing():
    assert steps("sent", "received", "started", eta="soon").wait == 2.0


def test_a_timer_that_is_a_little_early_makes_no_wait():
    early = [*life("sent", "received", **ETA), told("task-started", 29.98)]
    assert task_of(early).wait == 0.0


def test_no_wait_is_negative():
    early = [*life("sent", "received", **ETA), told("task-started", 12.0)]
    assert task_of(early).wait is None


@pytest.mark.parametrize(("client", "worker"), [(0, 0), (300, 0), (-300, 0), (0, 40), (7, -9)])
def test_wrong_clocks_do_not_change_how_long_it_waited(client, worker):
    state = State()
    beat = told("worker-heartbeat", 900.0 + worker, local_received=900.0 + WAY)
    state.apply([beat])
    for event in life("sent", "received", "started", start=1000.0):
        event["timestamp"] += client if event["type"] == "task-sent" else worker
        state.apply([event])
    task = state.tasks[UUID]
    assert task.wait == pytest.approx(2.0)
    assert task.queue_time == pytest.approx(1.0)


def test_a_task_of_no_state_takes_the_clocks_to_be_right():
    worker = Worker(WORKER)
    task = Task(UUID, worker=worker, client=CLIENT, sent=1.0, received=3.0, started=4.0)
    assert (task.wait, task.queue_time) == (3.0, 2.0)


@pytest.mark.parametrize("end", ["rejected", "cancelled", "succeeded", None], ids=str)
def test_a_message_that_is_delivered_again_was_sent_when_its_client_sent_it(end):
    first = [told("task-sent", 10.0), told("task-received"), told("task-started", 11.0)]
    first += [told(f"task-{end}", 12.0)] if end else []
    there = {"hostname": OTHER} if end is None else {}
    again = [
        told("task-received", 20.0, **there),
        told("task-started", 20.5, **there),
        told("task-succeeded", 21.0, **there),
    ]
    for order in ([*first, *again], [*again, *first], [*first[::-1], *again]):
        task = task_of(order)
        assert (task.state, task.sent, task.received) == ("SUCCESS", 10.0, 20.0)
        assert [attempt.sent for attempt in task.attempts] == [10.0]
        assert (task.client, task.queue, task.name) == (CLIENT, "mail", "shop.pay")
        # It waits from when it came, not from when it was sent for the first time.
        assert (task.wait, task.queue_time) == (0.5, None)


def test_a_retry_has_what_its_first_try_was_told_but_its_own_time_of_sending():
    task = task_of(
        [
            *(told("task-sent", 10.0), told("task-received", 10.5)),
            *(told("task-started", 11.0), told("task-retried", 12.0)),
            told("task-received", 13.0, retries=1),
        ]
    )
    assert (task.state, task.retries, task.sent) == ("RETRY", 1, None)
    assert (task.name, task.args, task.queue) == ("shop.pay", "(1,)", "mail")
    assert (task.client, task.root_id) == (CLIENT, UUID)


# --- lost --------------------------------------------------------------------------


def last_heard(*events):
    """Return a task and a moment at which all is well with its worker."""
    state = cluster(told("worker-online", 9.0), *events)
    return state, state.tasks[UUID], events[-1]["local_received"]


@pytest.mark.parametrize("kinds", [("received",), ("received", "started")])
def test_a_task_is_lost_when_its_worker_goes_silent(kinds):
    _, task, now = last_heard(*life(*kinds), told("worker-heartbeat", 12.0))
    assert not task.lost(now)
    assert task.lost(now + 31)


def test_a_task_that_its_worker_began_with_as_its_last_word_may_still_run():
    _, task, now = last_heard(*life("received", "started"))
    assert not task.lost(now + 600)
    assert task.lost(now + 601)


def test_a_task_is_lost_some_time_after_the_goodbye_of_its_worker():
    state, task, now = last_heard(*life("received", "started"))
    state.apply([told("worker-offline", now, local_received=now)])
    assert not task.lost(now + 30)
    assert task.lost(now + 31)


@pytest.mark.parametrize("pid", [77, 78])
def test_a_task_is_lost_when_its_worker_starts_anew(pid):
    state, task, now = last_heard(*life("received", "started"))
    state.apply([told("worker-online", now + 1, pid=pid)])
    assert task.lost(now + 2)


@pytest.mark.parametrize(
    "kinds", [("sent",), ("received", "started", "succeeded"), ("received", "retried")]
)
def test_a_task_that_no_worker_has_cannot_be_lost(kinds):
    _, task, now = last_heard(*life(*kinds))
    assert not task.lost(now + 1e6)


# --- relations ---------------------------------------------------------------------


def workflow():
    def sent(uuid, parent):
        return told("task-sent", uuid=uuid, parent_id=parent, root_id="r")

    return cluster(sent("r", None), sent("a", "r"), sent("b", "r"), sent("c", "a"))


def test_a_workflow_can_be_walked_up_and_down():
    state = workflow()
    root, child, leaf = (state.tasks[uuid] for uuid in "rac")
    assert {task.uuid for task in root.children} == {"a", "b"}
    assert child.children == {leaf}
    assert leaf.children == set()
    assert leaf.parent is child
    assert leaf.root is root.root is root
    assert root.parent is None


def test_a_child_may_be_told_of_before_its_parent():
    state = cluster(told("task-sent", uuid="c", parent_id="p", root_id="p"))
    child = state.tasks["c"]
    assert child.parent is child.root is None
    state.apply([told("task-sent", uuid="p", root_id="p")])
    assert child.parent is child.root is state.tasks["p"]
    assert state.tasks["p"].children == {child}


def test_a_task_of_no_state_has_no_relations():
    task = Task("u", root_id="r", parent_id="p")
    assert task.parent is task.root is None
    assert task.children == set()


# --- for cameras and filters -------------------------------------------------------


def test_the_method_event_takes_an_event_into_the_state_of_the_task():
    state = State()
    task = task_of(life("received"), state)
    before = state.weight_bytes
    told_of = {"hostname": WORKER, "result": "x" * 500, "runtime": 0.5}
    assert task.event("succeeded", 13.0, 13.25, told_of | {"pid": 77}) is None
    assert (task.state, task.succeeded, task.result) == ("SUCCESS", 13.0, "x" * 500)
    assert task.stored_in is state.tasks.done
    assert state.weight_bytes > before + 500
    assert names_of(state.tasks_by_type) == {"shop.pay": [UUID]}


def test_what_it_takes_in_changes_the_groups_of_the_state():
    state = State()
    task = task_of([told("task-started")], state)
    assert names_of(state.tasks_by_type) == {}
    task.event("received", 9.0, 9.25, {**told("task-received"), "name": "shop.pack"})
    assert names_of(state.tasks_by_type) == {"shop.pack": [UUID]}


def test_the_method_event_tells_a_task_without_a_state():
    task = Task(UUID)
    task.event("received", 10.0, 10.25, {"name": "shop.pay", "order": 4711})
    task.event("started", 11.0)
    task.event("progress", 11.5, None, {"percent": 5})
    assert (task.state, task.name, task.started) == ("STARTED", "shop.pay", 11.0)
    assert (task.note["percent"], task.order) == (5, 4711)


def test_the_method_event_survives_what_nobody_should_send():
    nameless = Task()
    for kind in ("started", "progress", "", None):
        nameless.event(kind, None, "x", {"uuid": "u", "type": 5, "pid": []})
    assert (nameless.state, nameless.uuid) == ("STARTED", "")
    state = State(max_tasks_in_memory=1)
    task = task_of(life("received"), state)
    state.apply([told("task-received", uuid="v")])
    task.event("started", 12.0)
    assert (task.state, list(state.tasks)) == ("STARTED", ["v"])


def names_of(groups):
    return {name: [task.uuid for task in group] for name, group in groups.items()}


def test_it_tells_its_fields_by_their_names_on_the_wire():
    task = task_of(FAILURE)
    for name in ("uuid", "name", "args", "root_id", "exception", "queue", "pid"):
        told_last = next(event[name] for event in FAILURE[::-1] if name in event)
        assert task.get(name) == told_last
    assert task.get("hostname") == WORKER
    assert task.get("id") == UUID


def test_a_field_that_it_does_not_have_is_the_default():
    task = task_of(SUCCESS)
    assert task.get("exception") is None
    assert task.get("exception", "none") == "none"
    assert task.get("nothing", 5) == 5
    assert task.get("info", "a method is no field") == "a method is no field"


def test_its_extra_fields_are_attributes_and_overwrite_nothing():
    odd = {"order": 4711, "get": 1, "children": 2, "_fields": 3, "shelf": 4, "eta": "e"}
    odd |= {"__class__": 5, "weight_bytes": -(2**70), "state": "HAPPY", "history": 1}
    task = task_of([told("task-received", 11.0, **odd)])
    assert task.order == task.get("order") == 4711
    assert task.state == "RECEIVED"
    assert task.children == set()
    assert task.history is None
    assert task.weight_bytes > 0
    assert task.extra == {name: odd[name] for name in odd if name != "eta"}


def test_info_is_what_is_known_of_what_is_worth_showing():
    names = ("args", "kwargs", "retries", "result", "runtime", "exchange")
    names += ("routing_key", "root_id")
    values = ("(1,)", "{}", 0, "4", 0.5, "", "mail", UUID)
    assert task_of(SUCCESS).info() == dict(zip(names, values, strict=True))


def test_info_can_be_asked_for_other_fields_and_for_more():
    task = task_of(SUCCESS)
    assert task.info(["name", "eta"]) == {"name": "shop.pay"}
    assert task.info([], ["state", "no_field"]) == {"state": "SUCCESS"}
    assert task.info(extra=["name"]) == {**task.info(), "name": "shop.pay"}


@pytest.mark.parametrize(
    "events",
    [
        *(SUCCESS, SUCCESS[:3], SUCCESS[:2], SUCCESS[:1]),
        *(life("sent", "received", "failed"), life("received", "revoked")),
    ],
)
def test_of_a_simple_life_it_tells_what_celery_tells(events):
    theirs = celery.events.state.State()
    for event in (told("worker-heartbeat", 1.0), *events):
        theirs.event(dict(event))
    ours, expected = task_of(events), theirs.tasks[UUID]
    assert ours.info() == expected.info()
    assert (ours.ready, ours.origin) == (expected.ready, expected.origin)
    ours, expected = ours.as_dict(), expected.as_dict()
    for fields in (ours, expected):
        fields["worker"] = fields["worker"] and fields["worker"].hostname
    assert list(ours.items()) == list(expected.items())


def test_as_dict_has_other_tasks_by_their_ids():
    told_of = workflow().tasks["a"].as_dict()
    assert told_of["children"] == ["c"]
    assert told_of["parent"] == told_of["root"] == "r"


def test_its_origin_is_the_worker_as_soon_as_one_has_it():
    assert steps("sent").origin == CLIENT
    assert steps("sent", "received").origin == f"{WORKER}.77"


def test_it_is_who_its_uuid_says():
    assert Task("u", name="a") == Task("u", name="b")
    assert Task("u") != Task("v")
    assert Task("u") != "u"
    assert len({Task("u"), Task("u"), Task("v")}) == 2
    assert Task("u").id == "u"


def test_its_repr_names_it():
    assert repr(task_of(SUCCESS)) == f"<Task: shop.pay({UUID}) SUCCESS clock:1300>"


def test_it_is_made_with_the_arguments_of_celery():
    task = Task("u", None, ["c"], name="a", state="STARTED", eta="x")
    assert (task.uuid, task.name, task.state, task.eta) == ("u", "a", "STARTED", "x")
    assert Task().state == "PENDING"


@pytest.mark.parametrize("events", [SUCCESS, RETRIED], ids=["success", "retried"])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_tells_the_same_and_belongs_to_no_state(events, copied):
    task = task_of([*events, told("task-progress", 30.0, percent=5)])
    twin = copied(task)
    assert twin == task
    assert twin is not task
    assert account(twin) == account(task)
    assert twin.cluster_state is None
    assert twin.children == set()
    assert UUID not in twin.stored_in


# --- what is not there until an event has it, as in Celery --------------------------


@pytest.mark.parametrize(
    "name", ["queue", "terminated", "signum", "expired", "requeue", "cancelled", "hostname"]
)
def test_what_no_event_has_said_is_not_there(name):
    for task in (Task("u"), task_of(life("received", "started", hostname=None))):
        assert getattr(task, name, "celery") == "celery"
        assert not hasattr(task, name)
        assert task.get(name, "celery") == "celery"


def test_what_an_event_has_said_is_there():
    end = told("task-revoked", 13.0, terminated=True, signum=15)
    task = task_of([*life("sent", "received"), end])
    assert (task.queue, task.terminated, task.signum) == ("mail", True, 15)
    assert (task.type, task.utcoffset) == ("task-revoked", 0)
    assert task.expired is False
    assert not hasattr(task, "requeue")
    assert not hasattr(Task("u"), "type")
    assert Task("u", type="x", hostname="h", queue="q").type == "x"


def test_what_only_an_earlier_attempt_has_is_not_there():
    first = [*life("received"), told("task-rejected", 12.0, requeue=True)]
    task = task_of([*first, *life("received", start=20.0)])
    assert task.attempts[0].requeue is True
    assert not hasattr(task, "requeue")


def test_a_task_that_only_its_client_told_of_has_its_hostname():
    state = State()
    task = task_of(life("sent"), state)
    assert (task.hostname, task.worker, task.worker_name) == (CLIENT, None, None)
    assert not state.tasks_by_worker
    task_of(life("received", start=12.0), state)
    assert (task.hostname, task.worker_name) == (WORKER, WORKER)


# --- fields in events that usually lack them ----------------------------------------


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


# --- tasks made by hand -------------------------------------------------------------


def test_a_task_made_by_hand_keeps_what_no_event_has():
    worker = Worker(WORKER)
    given = {"worker": worker, "eta": "2026-01-01", "expires": "2026-01-02"}
    task = Task("u", retries=2, result="kept", **given)
    task.event("started", 12.0, 12.25)
    task.event("failed", 13.0, 13.25, {"exception": "E()"})
    assert task.worker is worker
    assert (task.eta, task.expires) == ("2026-01-01", "2026-01-02")
    assert (task.retries, task.result, task.exception) == (2, "kept", "E()")
    assert task.state == "FAILURE"


def test_a_task_made_by_hand_keeps_its_end():
    task = Task("u", state="SUCCESS", succeeded=13.0, result="4")
    task.event("started", 12.0, 12.25)
    assert (task.state, task.succeeded, task.result) == ("SUCCESS", 13.0, "4")


def test_a_task_can_be_made_of_its_dictionary_as_celery_makes_one():
    task = task_of(SUCCESS)
    twin = Task(**task.as_dict())
    assert twin.as_dict() == {**task.as_dict(), "children": []}


def test_a_task_without_an_id_can_be_told_of():
    task = Task()
    task.event("received", 10.0, 10.25, {"name": "shop.pay"})
    assert (task.state, task.name) == ("RECEIVED", "shop.pay")
