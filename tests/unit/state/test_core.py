"""A cluster: events in, tasks and workers out, and everything bounded."""

import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import WINDOWS, Liveness, State, Statistics
from tools.told import CLIENT, OTHER, UUID, WAY, WORKER, account, life, task_of, told

MANY = 1_000_000
FINISHED = ("sent", "received", "started", "succeeded")


def cluster(*events, tasks=MANY, workers=MANY, **settings):
    state = State(max_tasks_in_memory=tasks, max_workers_in_memory=workers, **settings)
    state.apply(events)
    return state


def beat(at=1.0, **fields):
    return told("worker-heartbeat", at, **fields)


def lives(count, *steps, prefix="u", **fields):
    """Return the events of many tasks, each a second after the one before."""
    for number in range(count):
        uuid = f"{prefix}{number}"
        own = {"uuid": uuid, "root_id": uuid} | fields
        yield from life(*steps, start=10.0 + number, **own)


def check_weight(state):
    """See that the weight of all is the sum of the weights of each."""
    tasks = sum(task.weight_bytes for task in state.tasks.values())
    assert state.weight_bytes == tasks + WORKER_BYTES * len(state.workers)


WORKER_BYTES = cluster(beat()).weight_bytes


# --- events of tasks -----------------------------------------------------------------


def test_events_make_tasks_and_workers_and_are_counted():
    events = [beat(zone="eu"), *life(*FINISHED), told("task-progress", x=[1])]
    copies = [dict(event) for event in events]
    state = cluster(*events, {"type": "demo-x"}, {})
    assert events == copies
    assert (list(state.tasks), list(state.workers)) == ([UUID], [WORKER])
    assert state.tasks[UUID].worker is state.workers[WORKER]
    assert (state.event_count, state.task_count, state.nameless) == (8, 1, 0)
    state.apply([told("task-received", uuid="v"), told("task-received", 12.0, uuid="v")])
    assert (state.event_count, state.task_count) == (10, 3)


def test_an_event_that_names_no_subject_changes_nothing_and_is_counted():
    state = cluster(
        *(told("task-sent", uuid=None), told("task-received", uuid=[UUID])),
        *(told("task-progress", uuid=odd) for odd in (None, "", 7, ["x"], {})),
        *(told("worker-heartbeat", hostname=""), {"type": "worker-x", "hostname": {}}),
        {"type": "task-started"},
    )
    assert not state.tasks
    assert not state.workers
    assert state.weight_bytes == 0
    assert state.nameless == state.event_count == 10


def test_a_worker_is_known_by_its_tasks_alone_and_a_client_is_no_worker():
    sent = told("task-sent", 20.0, hostname=OTHER, uuid="v")
    state = cluster(told("task-sent"), beat(hostname=OTHER), sent)
    assert list(state.workers) == [OTHER]
    assert state.workers[OTHER].local_received == 1.0 + WAY
    assert state.tasks[UUID].client == CLIENT
    state.apply([told("task-received", 21.0)])
    assert state.workers[WORKER].status(22.0) == "silent"
    state = cluster(told("task-sent", hostname=None), told("task-started", 12.0, hostname=None))
    assert (state.tasks[UUID].client, state.tasks[UUID].worker) == (None, None)
    assert (state.tasks[UUID].state, len(state.workers)) == ("STARTED", 0)


def test_a_worker_event_that_is_not_celerys_is_a_sign_of_life():
    worker = cluster(beat(), told("worker-warm", 20.0, level=3, pid=78)).workers[WORKER]
    assert worker.local_received == 20.0 + WAY
    assert worker.extra is None
    assert not hasattr(worker, "level")


def without(name, event):
    return {key: value for key, value in event.items() if key != name}


def test_of_an_event_without_times_the_other_time_counts():
    received = without("timestamp", told("task-received", 11.0))
    assert task_of([received]).received == 11.0 + WAY
    received = without("local_received", told("task-received", 11.0))
    assert task_of([received]).local_received == 11.0
    assert task_of([without("timestamp", received)]).received == 0.0
    for odd in ("NaN", "sNaN", "Infinity", "-1", "1e999"):
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
    events = life(*FINISHED)
    task = task_of([{**event, **{k: odd[k] for k in odd if k in event}} for event in events])
    assert task.succeeded is not None
    assert task.kwargs == "{}"


def test_a_workflow_has_children_and_a_family():
    def names(tasks):
        return [task.uuid for task in tasks]

    def sent(uuid, parent=None, root=None):
        return told("task-sent", uuid=uuid, parent_id=parent, root_id=root or uuid)

    state = cluster(sent("r"), sent("b", "r", "r"), sent("a", "r", "r"), sent("c", "a", "r"))
    assert names(state.children("r")) == ["b", "a"]
    for uuid in "rabc":
        assert names(state.family(uuid))[0] == "r"
        assert set(names(state.family(uuid))) == {"r", "a", "b", "c"}
    assert state.children("c") == state.children("?") == state.family("?") == ()
    # Without its root, and with it again; and with another than before.
    del state.tasks["r"]
    for uuid in "abcr":
        assert set(names(state.family(uuid))) == {"a", "b", "c"}
    state.apply([told("task-received", 11.0, uuid="b", parent_id="c", root_id="other")])
    assert (names(state.children("c")), names(state.children("r"))) == (["b"], ["a"])
    assert names(state.family("other")) == ["b"]
    state.clear(ready=False)
    assert state.family("r") == state.children("a") == ()


# --- clocks --------------------------------------------------------------------------

#: When a worker sent its heartbeats by its clock and they came by ours, and its skew.
CLOCKS = {
    "the least delay is nearest to the truth": (
        [(129.0, 100.2), (130.0, 101.0), (131.0, 105.0)],
        29.0,
    ),
    "a clock may be behind": ([(90.0, 100.0)], -10.0),
    "a stream that is late is no slow clock": (
        [(1.0, 1.0), *((float(at), at + 20.0) for at in range(2, 90))],
        0.0,
    ),
    "a clock that was set is believed for a minute": (
        [(40.0, 10.0), *((float(at), float(at)) for at in range(11, 71))],
        30.0,
    ),
    "and not after two": ([(40.0, 10.0), *((float(at), float(at)) for at in range(11, 140))], 0.0),
    "after a pause it is known anew": ([(40.0, 10.0), (1000.0, 1000.5)], -0.5),
}


@pytest.mark.parametrize(("times", "ahead"), CLOCKS.values(), ids=list(CLOCKS))
@pytest.mark.parametrize("utcoffset", [0, 8, None, "?"])
def test_the_clock_of_a_worker_is_ahead_by_the_least_delay(times, ahead, utcoffset):
    events = [beat(at, local_received=received, utcoffset=utcoffset) for at, received in times]
    assert cluster(*events).workers[WORKER].skew == ahead


@given(st.lists(st.floats(0, 59), min_size=1), st.floats(-1e5, 1e5))
def test_within_a_minute_events_may_come_in_any_order(delays, ahead):
    beats = [beat(1e6 + ahead, local_received=1e6 + delay) for delay in delays]
    expected = pytest.approx(ahead - min(delays), abs=1e-6)
    for order in (beats, beats[::-1]):
        assert cluster(*order).workers[WORKER].skew == expected


def test_events_of_tasks_count_for_the_clock_of_a_worker_without_heartbeats_only():
    late = told("task-received", 10.0, local_received=15.0)
    soon = told("task-started", 16.0, local_received=17.0)
    for order in ((late, soon), (soon, late)):
        assert cluster(*order).workers[WORKER].skew == -1.0
    worker = cluster(beat(10.0, local_received=15.0), soon).workers[WORKER]
    assert (worker.skew, worker.local_received) == (-5.0, 17.0)


# --- bounds --------------------------------------------------------------------------


def test_the_oldest_finished_tasks_are_forgotten_first():
    state = cluster(*lives(3, "received"), *lives(20, *FINISHED, prefix="v"), tasks=10)
    assert len(state.tasks) == 10
    assert state.evicted == 13
    assert set(state.tasks) == {"u0", "u1", "u2", *(f"v{number}" for number in range(13, 20))}


def test_failures_are_kept_longer_than_successes_but_do_not_drive_them_out():
    failed = lives(5, "received", "failed", prefix="f")
    state = cluster(*failed, *lives(100, *FINISHED), tasks=20)
    assert {f"f{number}" for number in range(5)} < set(state.tasks)
    successes = lives(20, *FINISHED)
    ends = ["failed", "revoked", "rejected", "cancelled"]
    others = [event for end in ends for event in lives(100, "received", end, prefix=end)]
    left = [task.state for task in cluster(*successes, *others, tasks=100).tasks.values()]
    assert left.count("SUCCESS") == 20


def test_when_few_are_finished_the_oldest_open_ones_go():
    state = cluster(*lives(1, *FINISHED), *lives(30, "received", prefix="v"), tasks=20)
    assert set(state.tasks) == {"u0", *(f"v{number}" for number in range(11, 30))}


def test_tasks_may_take_so_many_bytes():
    state = cluster(*lives(50, *FINISHED, args="x" * 1000), max_bytes=20_000)
    assert 0 < state.weight_bytes <= 20_000
    assert 0 < len(state.tasks) < 50
    assert state.evicted == 50 - len(state.tasks)
    check_weight(state)


def test_one_task_and_one_worker_may_stay_however_little_room_there_is():
    state = cluster(told("task-received", args="x" * 5000), max_bytes=1000)
    assert list(state.tasks) == [UUID]
    assert state.weight_bytes > 5000
    events = (beat(), beat(hostname=OTHER), *lives(3, *FINISHED))
    state = cluster(*events, tasks=0, workers=0)
    assert (len(state.tasks), len(state.workers)) == (1, 1)
    check_weight(state)


@pytest.mark.parametrize("more", [{}, {"order": "x" * 100}], ids=["usual", "odd"])
def test_a_task_that_is_forgotten_as_it_ends_weighs_nothing(more):
    """Finished tasks go first, and this is the only one."""
    events = (*lives(5, "received"), *life("received", parent_id="p"))
    state = cluster(*events, max_bytes=20_000)
    state.apply([told("task-succeeded", 12.0, result="x" * 20_000, **more)])
    assert UUID not in state.tasks
    check_weight(state)


def test_a_task_that_was_forgotten_can_come_back_and_each_is_reported():
    state, forgotten = State(max_tasks_in_memory=2), []
    state.on_forget = lambda task: forgotten.append(task.uuid)
    state.apply(lives(3, *FINISHED))
    assert forgotten == ["u0"]
    (change,) = state.apply([told("task-started", 20.0, uuid="u0")])
    assert change.created
    assert forgotten == ["u0", "u1"]
    state.clear(ready=False)
    assert sorted(forgotten) == ["u0", "u0", "u1", "u2"]


def test_the_worker_whose_event_came_last_is_forgotten_last():
    state = cluster(*(beat(hostname=name) for name in ("a", "b", "a", "c")), workers=2)
    assert list(state.workers) == ["a", "c"]
    check_weight(state)


def _sent(name):
    return told(
        "task-sent",
        uuid=name,
        root_id=f"r{name}",
        parent_id=f"p{name}",
        name=f"n{name}",
        queue=f"q{name}",
        routing_key=f"k{name}",
        hostname=f"gen{name}@web{name}",
    )


def _beat(name):
    return beat(hostname=f"w@{name}")


def _sent_by_long(name):
    return told("task-sent", uuid=name, hostname=f"{name}@{name * 50}", queue=name * 50)


@pytest.mark.parametrize(
    ("event_of", "count"), [(_sent, 5_000), (_beat, 11_000), (_sent_by_long, 5_000)]
)
def test_names_without_end_take_no_space_without_end(event_of, count):
    state, peaks = State(max_tasks_in_memory=50, max_workers_in_memory=50), []
    tracemalloc.start()
    try:
        for start in (0, count):
            tracemalloc.reset_peak()
            names = (f"{number:x}".rjust(80, "-") for number in range(start, start + count))
            for _ in state.changes(map(event_of, names)):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.25
    assert peaks[1] < 16 * 1024 * 1024


def test_long_names_of_forgotten_types_are_forgotten_too():
    state = State(max_tasks_in_memory=1)
    for number in range(3):
        state.apply([told("task-received", 1.0 + number, uuid=str(number), name=f"{number}" * 256)])
    assert state.task_types() == ["2" * 256]


# --- workers that leave --------------------------------------------------------------


def test_a_worker_that_was_silent_for_long_leaves_its_tasks_behind():
    state = cluster(*life("received", "started", hostname=OTHER), beat(500.0), beat(700.0))
    assert list(state.workers) == [WORKER]
    assert state.departed == 1
    task = state.tasks[UUID]
    assert (task.hostname, task.lost(700.0)) == (OTHER, True)
    check_weight(state)


def test_a_worker_leaves_after_its_goodbye_but_not_while_its_tasks_have_events():
    state = cluster(told("worker-offline", 1.0, hostname=OTHER), beat(700.0))
    assert list(state.workers) == [WORKER]
    state = cluster(beat(1.0, hostname=OTHER), beat(500.0))
    state.apply([told("task-received", 510.0, hostname=OTHER), beat(700.0)])
    assert set(state.workers) == {OTHER, WORKER}


def test_when_workers_leave_can_be_chosen():
    state = cluster(beat(hostname=OTHER), beat(30.0), liveness=Liveness(leave=10.0))
    assert list(state.workers) == [WORKER]


def test_a_clock_that_was_put_back_does_not_stop_workers_from_leaving():
    state = cluster(beat(10_000.0), beat(1.0), beat(700.0, hostname=OTHER))
    assert set(state.workers) == {WORKER, OTHER}
    state.apply([beat(10_700.0, hostname=OTHER)])
    assert list(state.workers) == [OTHER]


# --- anything at all -----------------------------------------------------------------

KINDS = (*FINISHED, "failed", "retried", "revoked", "rejected", "cancelled")
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=5),
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
_MEANT = st.builds(told, _TYPES, (st.integers(10, 14) | st.integers(0, 100)).map(float))
_FIELDS = (
    *("uuid", "hostname", "timestamp", "local_received", "clock", "pid", "type"),
    *("retries", "name", "args", "root_id", "parent_id", "eta", "result", "runtime"),
    *("exception", "traceback", "freq", "loadavg", "processed", "active", "signum"),
    *("queue", "utcoffset", "state", "stored_in", "weight_bytes", "__class__", "history"),
    *("cluster_state", "take", "event", "__dict__", "note", "extra", "zone"),
)
_CHANGED = st.dictionaries(st.sampled_from(_FIELDS), _VALUES | st.sampled_from("abc"), max_size=4)
_ANYTHING = st.builds(lambda event, odd: {**event, **odd}, _MEANT, _CHANGED)
_JUNK = st.dictionaries(st.text(max_size=5), _VALUES, max_size=3)


@given(
    st.lists(_ANYTHING | _JUNK, max_size=25),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([0, 5000, 20_000, 2**28]),
)
def test_no_events_raise_and_the_bounds_hold(events, tasks, workers, max_bytes):
    state = cluster(tasks=tasks, workers=workers, max_bytes=max_bytes)
    statistics = Statistics()
    statistics.take(state.changes(events))
    assert state.event_count == len(events)
    assert len(state.tasks) <= max(tasks, 1)
    assert len(state.workers) <= max(workers, 1)
    check_weight(state)
    for uuid, task in state.tasks.items():
        assert task.uuid == uuid
        assert task.cluster_state is state
        account(task)
    half = state.event_count // 2
    newer = [task for task in state.tasks.values() if task.serial > half]
    assert state.tasks.changed_since(half) == sorted(newer, key=lambda task: task.serial)
    for worker in state.workers.values():
        assert worker.status(50.0) in {"online", "late", "busy?", "silent", "offline", "gone"}
    for window in WINDOWS:
        for rows in ("types", "queues", "workers", "failures"):
            for row in getattr(statistics, rows)(window, 50.0):
                assert row.count > 0 if rows == "failures" else row.run.count >= 0
        assert statistics.totals(window, 50.0).event_rate >= 0
    assert statistics.peak >= 0
    still_open = {uuid for uuid, task in state.tasks.items() if not task.ready}
    state.clear_tasks()
    assert set(state.tasks) == still_open
    state.clear(ready=False)
    assert state.weight_bytes == 0
