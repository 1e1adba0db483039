"""Clusters: events in, tasks and workers out, and everything bounded."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import Liveness, State
from evtools.state.core import SWEEP_EVERY, TASK_BYTES, WORKER_BYTES, Cluster
from tools.told import CLIENT, OTHER, UUID, WAY, WORKER, account, life, task_of, told

MANY = 1_000_000
#: How fast it goes is for the benchmarks to say.
UNHURRIED = settings(deadline=None)
FINISHED = ("sent", "received", "started", "succeeded")


def cluster(*events, tasks=MANY, workers=MANY, **settings):
    made = Cluster(max_tasks_in_memory=tasks, max_workers_in_memory=workers, **settings)
    made.apply(events)
    return made


def beat(at=1.0, **fields):
    return told("worker-heartbeat", at, **fields)


def lives(count, *steps, prefix="u", **fields):
    """Return the events of many tasks, each a second after the one before."""
    for number in range(count):
        uuid = f"{prefix}{number}"
        own = {"uuid": uuid, "root_id": uuid} | fields
        yield from life(*steps, start=10.0 + number, **own)


def check_weight(known):
    """See that the weight of all is the sum of the weights of each."""
    tasks = sum(task.weight_bytes for task in known.tasks.values())
    assert known.weight_bytes == tasks + WORKER_BYTES * len(known.workers)


# --- who is told of ----------------------------------------------------------------


def test_events_tell_of_tasks_and_workers():
    known = cluster(beat(), *life(*FINISHED))
    assert list(known.tasks) == [UUID]
    assert list(known.workers) == [WORKER]
    assert known.tasks[UUID].worker is known.workers[WORKER]


def test_clients_are_no_workers():
    known = cluster(told("task-sent"))
    assert not known.workers
    assert known.clients.ahead(CLIENT) == -WAY


def test_a_worker_is_known_by_its_tasks_alone():
    known = cluster(told("task-received"))
    assert known.workers[WORKER].status(11.0) == "silent"


def test_events_are_left_as_they_are():
    events = [beat(zone="eu"), *life(*FINISHED), told("task-progress", x=[1])]
    copies = [dict(event) for event in events]
    cluster(*events)
    assert events == copies


def test_events_and_receipts_are_counted():
    odd = told("task-received", uuid="v", utcoffset=None, order=1)
    known = cluster(beat(), *life(*FINISHED), odd, {"type": "demo-x"}, {})
    assert known.event_count == 8
    assert known.task_count == 2
    twice = [told("task-received", 12.0, uuid="v"), told("task-received", uuid="")]
    known.apply(twice)
    assert known.event_count == 10
    assert known.task_count == 3


def test_what_names_no_subject_changes_nothing():
    known = cluster(
        *(told("task-sent", uuid=None), told("task-received", uuid=[UUID])),
        *(told("task-progress", uuid=5), told("worker-heartbeat", hostname="")),
        *({"type": "task-started"}, {"type": "worker-x", "hostname": {}}),
    )
    assert not known.tasks
    assert not known.workers
    assert known.weight_bytes == 0


def test_a_worker_event_that_is_not_celerys_is_a_sign_of_life():
    known = cluster(beat(), told("worker-warm", 20.0, level=3, pid=78))
    worker = known.workers[WORKER]
    assert worker.local_received == 20.0 + WAY
    assert worker.extra is None
    assert not hasattr(worker, "level")


def test_a_sending_that_is_told_late_does_not_look_newer():
    sent, received = life("sent", "received")
    sent["local_received"] = 20.0
    task = task_of([received, sent])
    assert (task.state, task.timestamp, task.clock) == ("RECEIVED", 11.0, 1100)
    assert (task.sent, task.queue, task.local_received) == (10.0, "mail", 20.0)


def test_who_sent_a_task_may_be_unknown():
    known = cluster(told("task-sent", hostname=None))
    assert known.tasks[UUID].client is None
    assert not known.clients


def test_the_fastest_of_the_events_of_a_client_tells_of_its_clock():
    ways = (0.5, 0.25, 0.75)
    sendings = [
        told("task-sent", at, uuid=f"u{at}", local_received=at + way)
        for at, way in zip((10.0, 11.0, 12.0), ways, strict=True)
    ]
    assert cluster(*sendings).clients.ahead(CLIENT) == -0.25


def test_who_has_no_heartbeats_tells_the_time_with_all_its_events():
    """Also with those that are heard of late."""
    events = [told("task-received", 11.0), told("task-received", 10.0, uuid="v")]
    events[0]["local_received"] = 15.0
    for order in (events, events[::-1]):
        assert cluster(*order).workers[WORKER].skew == -WAY


def test_who_sends_under_the_name_of_a_worker_is_still_a_client():
    known = cluster(beat(), told("task-sent", 20.0, hostname=WORKER))
    assert known.workers[WORKER].local_received == 1.0 + WAY
    assert known.clients.ahead(WORKER) == -WAY


# --- odd events of tasks -----------------------------------------------------------


def without(name, event):
    return {key: value for key, value in event.items() if key != name}


@pytest.mark.parametrize(
    "name", ["utcoffset", "pid", "clock", "eta", "args", "local_received", "retries"]
)
def test_an_event_that_lacks_a_field_is_understood(name):
    events = [without(name, event) for event in life(*FINISHED)]
    task = task_of(events)
    assert (task.state, task.received, task.started) == ("SUCCESS", 11.0, 12.0)
    assert task.name == "shop.pay"


def test_an_event_without_a_host_comes_from_the_only_worker_there_is():
    received, started = life("received", "started")
    task = task_of([received, without("hostname", started)])
    assert (task.state, task.hostname) == ("STARTED", WORKER)
    alone = cluster(without("hostname", started)).tasks[UUID]
    assert (alone.state, alone.worker) == ("STARTED", None)


def test_of_an_event_without_times_the_other_time_counts():
    received = without("timestamp", told("task-received", 11.0))
    assert task_of([received]).received == 11.0 + WAY
    received = without("local_received", told("task-received", 11.0))
    assert task_of([received]).local_received == 11.0
    received = without("timestamp", received)
    assert task_of([received]).received == 0.0


@pytest.mark.parametrize("kind", [int, Decimal])
def test_times_may_be_numbers_of_other_kinds(kind):
    events = [
        {**event, "timestamp": kind(at), "local_received": kind(at + 1)}
        for at, event in enumerate(life(*FINISHED), 10)
    ]
    task = task_of(events)
    assert task.history is None
    assert (task.sent, task.succeeded, task.local_received) == (10.0, 13.0, 14.0)
    assert {type(getattr(task, name)) for name in ("sent", "local_received")} == {float}
    odd = [{**event, "order": 4711} for event in events]
    assert (task_of(odd).sent, task_of(odd).order) == (10.0, 4711)


@pytest.mark.parametrize("odd", ["NaN", "sNaN", "Infinity", "-1", "1e999"])
def test_times_that_are_none_are_not_known(odd):
    for fields in ({"timestamp": Decimal(odd)}, {"timestamp": Decimal(odd), "x": 1}):
        task = task_of([told("task-received", 10.0, **fields)])
        assert task.received == 10.0 + WAY


@pytest.mark.parametrize(
    "odd",
    [
        *({"timestamp": -1}, {"timestamp": "x"}, {"local_received": 2**80}),
        *({"clock": -5}, {"clock": 2**100}, {"pid": "x"}, {"pid": -1}),
        *({"hostname": 5}, {"hostname": []}, {"hostname": {}}),
        *({"retries": -1}, {"retries": None}, {"retries": "x"}, {"retries": 2**90}),
        *({"name": {}}, {"args": 5}, {"root_id": []}, {"eta": 7}, {"expires": {}}),
        *({"result": []}, {"runtime": "x"}, {"runtime": -1.0}, {"queue": ["a"]}),
    ],
    ids=str,
)
def test_an_odd_field_does_not_hide_the_rest(odd):
    events = [{**event, **{k: odd[k] for k in odd if k in event}} for event in SUCCESS]
    task = task_of(events)
    assert task.succeeded is not None
    assert task.kwargs == "{}"


SUCCESS = life(*FINISHED)


def test_an_event_that_adds_a_field_is_as_any_other_otherwise():
    plain = account(task_of(life(*FINISHED)))
    more = account(task_of(life(*FINISHED, order=4711)))
    assert more.pop("extra") == {"order": 4711}
    assert plain.pop("extra") is None
    assert more == plain


def test_an_event_with_one_field_less_and_another_more_is_odd():
    received = without("utcoffset", told("task-received", order=4711))
    assert task_of([received]).order == 4711


def test_a_note_on_a_task_that_we_do_not_know_makes_it_known():
    known = cluster(told("task-progress", 12.0, percent=5))
    task = known.tasks[UUID]
    assert (task.state, task.note["percent"]) == ("PENDING", 5)
    assert not known.workers


def test_a_note_is_a_sign_of_life_of_a_worker_that_we_know():
    known = cluster(beat(), told("task-progress", 20.0))
    assert known.workers[WORKER].local_received == 20.0 + WAY


KINDS = ("sent", "received", "started", "succeeded", "failed", "retried")
KINDS += ("revoked", "rejected", "cancelled")
_PLAIN = st.builds(
    lambda kind, at, host, retries: told(
        f"task-{kind}",
        at,
        **({"retries": retries} if kind in {"sent", "received"} else {}),
        **({} if kind == "sent" else {"hostname": host}),
    ),
    st.sampled_from(KINDS),
    st.integers(10, 14).map(float),
    st.sampled_from([WORKER, OTHER]),
    st.sampled_from([0, 0, 0, 1, 2]),
)


# --- anything at all ---------------------------------------------------------------

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.decimals()
    | st.text(max_size=5)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
_TYPES = st.sampled_from(
    [f"task-{kind}" for kind in (*KINDS, "progress", "")]
    + [f"worker-{kind}" for kind in ("online", "heartbeat", "offline", "odd")]
    + ["demo-x", "task", "-"]
)
_MEANT = st.builds(told, _TYPES, st.integers(0, 100).map(float)) | _PLAIN
_FIELDS = (
    *("uuid", "hostname", "timestamp", "local_received", "clock", "pid", "type"),
    *("retries", "name", "args", "root_id", "parent_id", "eta", "result", "runtime"),
    *("exception", "traceback", "freq", "loadavg", "processed", "active", "signum"),
    *("queue", "utcoffset", "state", "shelf", "weight_bytes", "__class__", "history"),
    *("cluster_state", "take", "event", "__dict__", "note", "extra", "zone"),
)
_CHANGED = st.dictionaries(st.sampled_from(_FIELDS), _VALUES | st.sampled_from("abc"), max_size=4)
_ANYTHING = st.builds(lambda event, odd: {**event, **odd}, _MEANT, _CHANGED)
_JUNK = st.dictionaries(st.text(max_size=5), _VALUES, max_size=3)


@UNHURRIED
@given(
    st.lists(_ANYTHING | _JUNK, max_size=25),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([0, 5000, 20_000, 2**28]),
)
def test_no_events_raise_and_the_bounds_hold(events, tasks, workers, max_bytes):
    known = cluster(*events, tasks=tasks, workers=workers, max_bytes=max_bytes)
    assert known.event_count == len(events)
    assert len(known.tasks) <= max(tasks, 1)
    assert len(known.workers) <= max(workers, 1)
    assert known.weight_bytes >= 0
    check_weight(known)
    for uuid, task in known.tasks.items():
        assert task.uuid == uuid
        assert task.stored_in is known.tasks.of_state[task.state]
        assert task.cluster_state is known
        account(task)
    assert len(known._tree) <= len(known.tasks)
    half = known.event_count // 2
    newer = [task for task in known.tasks.values() if task.serial > half]
    heard = known.tasks.changed_since(half)
    assert heard == sorted(newer, key=lambda task: task.serial)
    for worker in known.workers.values():
        assert worker.status(50.0)


# --- kin ---------------------------------------------------------------------------


def sent(uuid, parent=None, root=None):
    return told("task-sent", uuid=uuid, parent_id=parent, root_id=root or uuid)


def names(tasks):
    return [task.uuid for task in tasks]


def test_a_workflow_has_children_and_a_family():
    known = cluster(sent("r"), sent("a", "r", "r"), sent("b", "a", "r"), sent("x"))
    assert names(known.children("r")) == ["a"]
    for uuid in "rab":
        assert set(names(known.family(uuid))) == {"r", "a", "b"}
        assert known.family(uuid)[0].uuid == "r"
    assert names(known.family("x")) == ["x"]
    assert known.children("b") == ()


def test_a_family_may_be_without_its_root():
    known = cluster(sent("a", "r", "r"), sent("b", "r", "r"))
    assert set(names(known.family("a"))) == {"a", "b"}
    assert names(known.children("r")) == ["a", "b"]
    assert set(names(known.family("r"))) == {"a", "b"}


def test_who_is_not_known_has_no_family():
    known = cluster()
    assert known.family("x") == known.children("x") == ()


def test_an_event_of_something_unknown_is_alone():
    known = cluster(told("task-started"))
    assert names(known.family(UUID)) == [UUID]


# --- bounds ------------------------------------------------------------------------


def test_the_oldest_finished_tasks_are_forgotten_first():
    known = cluster(*lives(3, "received"), *lives(20, *FINISHED, prefix="v"), tasks=10)
    assert len(known.tasks) == 10
    assert known.evicted == 13
    assert {f"u{number}" for number in range(3)} < set(known.tasks)
    assert {f"v{number}" for number in range(13, 20)} < set(known.tasks)


def test_failures_are_kept_longer_than_successes():
    failed = lives(5, "received", "failed", prefix="f")
    known = cluster(*failed, *lives(100, *FINISHED), tasks=20)
    assert {f"f{number}" for number in range(5)} < set(known.tasks)


def test_tasks_may_take_so_many_bytes():
    known = cluster(*lives(50, *FINISHED, args="x" * 1000), max_bytes=20_000)
    assert 0 < known.weight_bytes <= 20_000
    assert 0 < len(known.tasks) < 50
    assert known.evicted == 50 - len(known.tasks)
    check_weight(known)


def test_a_single_task_may_stay_however_large_it_is():
    known = cluster(told("task-received", args="x" * 5000), max_bytes=1000)
    assert list(known.tasks) == [UUID]
    assert known.weight_bytes > 5000


def test_there_is_room_for_one_task_and_one_worker_even_if_there_is_for_none():
    known = cluster(*(beat(), beat(hostname=OTHER)), *lives(3, *FINISHED), tasks=0, workers=0)
    assert len(known.tasks) == 1
    assert len(known.workers) == 1
    check_weight(known)


@pytest.mark.parametrize("more", [{}, {"order": "x" * 100}], ids=["usual", "odd"])
def test_a_task_that_is_forgotten_as_it_ends_weighs_nothing(more):
    """Finished tasks go first, and this is the only one."""
    known = cluster(*(*lives(5, "received"), *life("received", parent_id="p")), max_bytes=20_000)
    ending = told("task-succeeded", 12.0, result="x" * 20_000, **more)
    known.apply([ending])
    assert UUID not in known.tasks
    assert len(known._tree) == 0
    check_weight(known)


def test_what_is_forgotten_can_come_back():
    known = cluster(*lives(3, "received"), tasks=1)
    assert list(known.tasks) == ["u2"]
    (change,) = known.apply([told("task-started", 20.0, uuid="u0")])
    assert change.created
    assert list(known.tasks) == ["u0"]


def test_who_wants_to_know_is_told_of_each_task_that_is_forgotten():
    known, forgotten = State(max_tasks_in_memory=2), []
    known.on_forget = lambda task: forgotten.append(task.uuid)
    known.apply(lives(3, *FINISHED))
    assert forgotten == ["u0"]
    known.clear_tasks()
    assert sorted(forgotten) == ["u0", "u1", "u2"]


def test_kin_goes_with_its_tasks():
    known = cluster(*(sent(f"u{n}", f"p{n}", f"r{n}") for n in range(50)), tasks=5)
    assert len(known._tree) == 5
    assert known.children("p0") == ()
    assert names(known.children("p49")) == ["u49"]


def test_a_task_weighs_more_with_what_is_told_of_it():
    known = cluster(told("task-received"))
    task = known.tasks[UUID]
    before = task.weight_bytes
    assert before > TASK_BYTES
    known.apply([told("task-succeeded", 12.0, result="x" * 500)])
    assert task.weight_bytes > before + 500
    known.apply([told("task-progress", 13.0, story="y" * 500)])
    assert task.weight_bytes > before + 1000
    check_weight(known)


def test_only_so_many_workers_are_known():
    known = cluster(*(beat(hostname=f"w{n}") for n in range(10)), workers=3)
    assert list(known.workers) == ["w7", "w8", "w9"]
    check_weight(known)


def test_the_worker_that_spoke_last_is_forgotten_last():
    beats = [beat(hostname=name) for name in ("a", "b", "a", "c")]
    assert list(cluster(*beats, workers=2).workers) == ["a", "c"]


# --- who leaves --------------------------------------------------------------------


def test_a_worker_that_was_silent_for_long_leaves():
    known = cluster(beat(hostname=OTHER), beat(500.0), beat(700.0))
    assert list(known.workers) == [WORKER]
    assert known.departed == 1
    check_weight(known)


def test_a_worker_that_said_goodbye_leaves_as_well():
    known = cluster(told("worker-offline", 1.0, hostname=OTHER), beat(700.0))
    assert list(known.workers) == [WORKER]


def test_who_is_heard_of_by_its_tasks_stays():
    known = cluster(beat(1.0, hostname=OTHER), beat(500.0))
    known.apply([told("task-received", 510.0, hostname=OTHER), beat(700.0)])
    assert set(known.workers) == {OTHER, WORKER}


def test_when_workers_leave_can_be_chosen():
    known = cluster(*(beat(hostname=OTHER), beat(30.0)), liveness=Liveness(leave=SWEEP_EVERY))
    assert list(known.workers) == [WORKER]


def test_a_clock_that_was_put_back_does_not_stop_workers_from_leaving():
    known = cluster(beat(10_000.0), beat(1.0), beat(700.0, hostname=OTHER))
    assert set(known.workers) == {WORKER, OTHER}
    known.apply([beat(10_700.0, hostname=OTHER)])
    assert list(known.workers) == [OTHER]


def test_the_tasks_of_a_worker_that_left_still_name_it():
    known = cluster(*life("received", "started"), beat(700.0, hostname=OTHER))
    task = known.tasks[UUID]
    assert task.hostname == WORKER
    assert task.lost(700.0)
