"""Workers: what they tell of themselves, and what their silence means."""

import copy
import itertools
import pickle

import celery.events.state
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import Liveness, State, Worker, heartbeat_expires
from tools.clock import FakeClock
from tools.told import OTHER, UUID, WORKER, told

#: Heartbeats come every two seconds: late after 4, lost after 30 s without one.
HEARD = 10.25


def worker_of(*events, **settings):
    state = State(**settings)
    state.apply(events)
    return state.workers[WORKER]


def beat(at, **fields):
    return told("worker-heartbeat", at, **fields)


# --- what it tells -----------------------------------------------------------------


def test_a_heartbeat_tells_of_the_worker():
    worker = worker_of(beat(10.0, processed=5, active=2))
    assert (worker.hostname, worker.pid, worker.clock) == (WORKER, 77, 1000)
    assert (worker.processed, worker.active, worker.freq) == (5, 2, 2.0)
    assert worker.loadavg == [0.5, 0.25, 0.125]
    assert (worker.sw_ident, worker.sw_ver, worker.sw_sys) == (*("py-celery", "5.6.2", "Linux"),)
    assert worker.timestamp == 10.0
    assert worker.local_received == HEARD
    assert worker.heartbeats == [HEARD]
    assert worker.beats == 1


def test_a_field_that_is_missing_or_odd_leaves_what_was_told():
    worker = worker_of(beat(10.0), beat(12.0, pid="x", loadavg=None, freq=-1))
    assert worker.pid == 77
    assert worker.loadavg == [0.5, 0.25, 0.125]
    assert worker.freq == 2.0


def test_the_four_newest_heartbeats_are_kept_in_order():
    worker = worker_of(*map(beat, (1.0, 2.0, 9.0, 4.0, 5.0, 6.0)))
    assert worker.heartbeats == [4.25, 5.25, 6.25, 9.25]
    assert worker.beats == 6


def test_it_is_online_since_it_said_so():
    hello = told("worker-online", 9.0)
    assert worker_of(hello, beat(10.0)).online_since == 9.0
    assert worker_of(beat(10.0)).online_since is None


def test_a_wake_up_of_one_that_runs_is_no_start():
    awake = told("worker-online", 9.0, processed=7)
    assert worker_of(awake).online_since is None


def test_a_start_that_we_missed_is_not_known():
    worker = worker_of(told("worker-online", 9.0), beat(20.0, pid=78))
    assert worker.online_since is None
    assert worker.pid == 78


def test_the_answer_to_a_wake_up_tells_its_process_and_nothing_else():
    short = beat(12.0, freq=5.0, pid=78)
    del short["processed"], short["active"], short["loadavg"]
    worker = worker_of(beat(10.0, processed=5), short)
    assert (worker.pid, worker.freq, worker.processed) == (78, 2.0, 5)
    assert worker.beats == 1
    assert worker.local_received == 12.25
    short["pid"] = None
    assert worker_of(beat(10.0), short).pid == 77


def test_its_clock_is_ahead_by_the_least_delay():
    worker = worker_of(beat(110.0, local_received=10.5), beat(112.0, local_received=14.0))
    assert worker.skew == 99.5
    assert Worker("w").skew is None


def test_without_heartbeats_tasks_tell_of_its_clock():
    silent = worker_of(told("task-started", 50.0, local_received=10.0))
    assert silent.skew == 40.0
    assert silent.local_received == 10.0
    beats = worker_of(beat(10.0), told("task-started", 50.0, local_received=11.0))
    assert beats.skew == -0.25
    assert beats.local_received == 11.0


def test_tasks_it_counted_and_no_event_told_of_are_missed():
    starts = [told("task-started", at, uuid=f"u{at}") for at in (2.0, 4.0)]
    beats = [beat(at, processed=5) for at in (5.0, 7.0, 9.0)]
    worker = worker_of(*(beat(1.0), starts[0], beat(3.0, processed=1), starts[1], *beats))
    assert worker.missed == 3


def test_what_celery_does_not_know_is_kept_and_overwrites_nothing():
    odd = {"zone": "eu-1", "alive": False, "take": 5, "__class__": 1, "missed": 9}
    worker = worker_of(beat(10.0, **odd), clock=FakeClock(HEARD))
    assert worker.zone == "eu-1"
    assert worker.extra == odd
    assert isinstance(worker, Worker)
    assert callable(worker.take)
    assert worker.alive
    assert worker.missed == 0


def test_too_much_of_what_celery_does_not_know_is_not_kept():
    worker = worker_of(beat(10.0, zone="eu-1"), beat(12.0, story="x" * 5000))
    assert worker.extra == {"zone": "eu-1"}
    assert not hasattr(worker, "story")


# --- goodbye -----------------------------------------------------------------------


def test_who_says_goodbye_is_offline_until_it_comes_back():
    state = State()
    state.apply([beat(10.0), told("worker-offline", 11.0)])
    worker = state.workers[WORKER]
    assert worker.goodbye == 11.0
    assert worker.heartbeats == []
    assert worker.status(11.5) == worker.status(1e9) == "offline"
    state.apply([told("worker-online", 20.0, pid=78)])
    assert worker.goodbye is None
    assert worker.status(20.5) == "online"


def test_the_goodbye_of_its_predecessor_does_not_take_it_offline():
    worker = worker_of(told("worker-online", 10.0, pid=78), told("worker-offline", 10.1, pid=77))
    assert worker.status(10.5) == "online"


def test_a_goodbye_is_believed_if_we_know_no_process():
    assert worker_of(told("worker-offline", 10.0)).status(10.5) == "offline"


# --- silence -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "status"),
    [
        *((-5.0, "online"), (0.0, "online"), (4.0, "online"), (4.1, "late")),
        *((30.0, "late"), (30.1, "gone"), (1e9, "gone")),
    ],
)
def test_a_worker_is_late_after_two_beats_and_gone_after_half_a_minute(age, status):
    assert worker_of(beat(10.0)).status(HEARD + age) == status


def test_one_that_beats_seldom_is_given_more_time():
    worker = worker_of(beat(10.0, freq=60.0))
    assert worker.status(HEARD + 120) == "online"
    assert worker.status(HEARD + 240) == "late"
    assert worker.status(HEARD + 241) == "gone"


def test_one_without_heartbeats_is_silent_until_it_leaves():
    worker = worker_of(told("task-received", 10.0))
    assert worker.status(HEARD + 600) == "silent"
    assert worker.status(HEARD + 601) == "gone"


def test_the_events_of_its_tasks_are_signs_of_life():
    worker = worker_of(beat(10.0), told("task-received", 39.0))
    assert worker.status(42.0) == "online"


def test_how_long_is_too_long_can_be_chosen():
    worker = worker_of(beat(10.0), liveness=Liveness(late_beats=1, lost=5))
    assert worker.status(HEARD + 2.1) == "late"
    assert worker.status(HEARD + 5.1) == "gone"


def test_it_is_alive_by_the_clock_it_was_given():
    clock = FakeClock(HEARD)
    worker = worker_of(beat(10.0), clock=clock)
    assert worker.alive
    assert worker.status_string == "ONLINE"
    clock.now += 10
    assert worker.alive
    clock.now += 30
    assert not worker.alive
    assert worker.status_string == "OFFLINE"


@given(st.lists(st.sampled_from(["online", "heartbeat", "offline"]), max_size=8), st.floats(0, 1e6))
def test_its_status_is_one_of_six_at_any_time(kinds, now):
    events = [told(f"worker-{kind}", 10.0 + n) for n, kind in enumerate(kinds)]
    status = worker_of(beat(1.0), *events).status(now)
    assert status in {"online", "late", "busy?", "silent", "offline", "gone"}


# --- a new process -----------------------------------------------------------------


def lost(*events, pid=77, started=1.0, now=None):
    """Tell whether a task that was started at a worker is lost after `events`.

    As of the last of them.
    """
    state = State()
    start = told("task-started", started, pid=pid)
    events = sorted([*events, start], key=lambda event: event["local_received"])
    state.apply(events)
    now = events[-1]["local_received"] if now is None else now
    return state.tasks[start["uuid"]].lost(now)


def beats(*times, **fields):
    return [beat(at, **fields) for at in times]


def test_a_count_that_goes_back_is_another_process_with_the_same_pid():
    assert lost(beat(0.5, processed=900), beat(11.0))
    assert not lost(beat(0.5, processed=900), beat(11.0, processed=900))


def test_what_the_new_process_begins_is_not_lost():
    assert not lost(beat(0.5, processed=900), *beats(11.0, 13.0), started=12.0)


@pytest.mark.parametrize("pid", [77, 78])
def test_who_says_hello_has_started_then(pid):
    assert lost(beat(0.5), told("worker-online", 3.0, pid=pid))
    assert not lost(beat(0.5), told("worker-online", 1.0, pid=pid), started=2.0, pid=pid)


def test_another_pid_takes_over_when_the_one_before_misses_its_beats():
    assert not lost(beat(0.5), beat(2.5, pid=78))
    assert lost(beat(0.5), *beats(2.5, 4.5, 6.5, pid=78))


def test_the_pid_of_a_child_is_no_restart():
    assert not lost(beat(0.5), *beats(2.5, 4.5, 6.5), pid=4321)
    assert not lost(beat(0.5, pid=None), beat(2.5, pid=None), pid=4321)
    assert lost(beat(0.5), *beats(2.5, 4.5, 6.5, pid=78), pid=4321)


def test_a_heartbeat_without_a_pid_is_of_the_process_we_know():
    assert not lost(beat(0.5), *beats(2.5, 4.5, 6.5, pid=None), beat(8.5))
    assert not lost(beat(0.5, pid=None), *beats(2.5, 4.5, 6.5))


@pytest.mark.parametrize("processed", ["12", None, -1, 1e300, True])
def test_a_count_that_is_none_proves_nothing(processed):
    assert not lost(beat(0.5, processed=9), beat(2.5, processed=processed))


def test_a_reconnect_is_no_restart():
    back = told("worker-online", 4.5, processed=5)
    assert not lost(beat(0.5, processed=5), told("worker-offline", 4.0), back)


def test_after_its_goodbye_a_process_has_time_to_end_what_it_runs():
    other = beats(*range(3, 45, 2), pid=78, processed=1)
    goodbye = told("worker-offline", 2.0)
    assert not lost(beat(0.5), goodbye, *other, now=30.0)
    assert lost(beat(0.5), goodbye, *other, now=40.0)


def two(*times, gap=1.0):
    """Return the heartbeats of two processes that use one name."""
    return [
        each
        for at in times
        for each in (beat(at, processed=900), beat(at + gap, pid=78, processed=5))
    ]


def test_two_processes_of_one_name_both_have_their_tasks():
    events = two(0.5, 2.5, 4.5)
    for end in range(2, len(events) + 1):
        assert not lost(*events[:end])
        assert not lost(*events[:end], pid=78, started=1.2)


def test_two_processes_of_one_name_are_counted_when_both_have_come_again():
    worker = worker_of(*two(0.5, 2.5))
    assert worker.processes(3.75) == 2
    assert worker.status(3.75) == "online"
    assert worker_of(beat(0.5), beat(2.5)).processes(2.75) == 1
    assert worker_of(beat(0.5), beat(2.5, pid=78)).processes(2.75) == 1
    assert worker_of(told("task-started", 1.0)).processes(1.25) == 0


def test_three_processes_of_one_name_are_three():
    third = [beat(at, pid=79) for at in (1.8, 3.8)]
    events = sorted([*two(0.5, 2.5), *third], key=lambda event: event["timestamp"])
    assert worker_of(*events).processes(4.0) == 3


def test_of_two_processes_one_dies_and_its_tasks_are_lost():
    rest = beats(*range(5, 15, 2), pid=78, processed=5)
    worker = worker_of(*two(0.5, 2.5), *rest)
    assert worker.processes(13.25) == 1
    assert lost(*two(0.5, 2.5), *rest)
    assert not lost(*two(0.5, 2.5), *rest, pid=78, started=1.2)


def test_two_processes_may_have_the_same_pid_as_in_containers():
    both = [
        each
        for n in range(4)
        for each in (beat(0.5 + 2 * n, processed=900 + n), beat(1.5 + 2 * n, processed=n))
    ]
    assert worker_of(*both).processes(7.75) == 2
    assert not lost(*both)


def test_one_of_two_that_says_goodbye_leaves_the_other_online():
    worker = worker_of(*two(0.5, 2.5), told("worker-offline", 4.0), beat(4.5, pid=78))
    assert worker.status(4.75) == "online"
    assert worker.processes(4.75) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("pid", [77, 78])
def test_a_goodbye_and_a_hello_count_by_their_own_times(order, pid):
    state = State()
    events = [
        told("worker-offline", 99.0, processed=5),
        told("worker-online", 100.0, pid=pid),
        told("task-started", 101.0, pid=pid),
    ]
    for number, at in enumerate(order):
        state.apply([{**events[at], "local_received": 102.0 + number / 10}])
    state.apply([beat(103.0, pid=pid, processed=1)])
    assert state.workers[WORKER].status(103.5) == "online"
    assert not state.tasks[UUID].lost(103.5)


def test_a_goodbye_that_comes_before_the_last_heartbeat_of_its_process_holds():
    worker = worker_of(
        *(beat(98.0), told("worker-offline", 100.0)), beat(99.0, local_received=100.5)
    )
    assert worker.status(101.0) == "offline"


@given(
    st.permutations(
        [
            *beats(1.0, 3.0, processed=7),
            told("worker-offline", 4.0),
            told("worker-online", 9.0, pid=78),
            *beats(11.0, 13.0, pid=78),
        ]
    )
)
def test_in_whatever_order_they_come_the_process_that_began_last_is_online(events):
    events = [{**event, "local_received": 14.0} for event in events]
    last = beat(15.0, pid=78, processed=0)
    assert worker_of(*events, last).status(15.5) == "online"
    assert worker_of(*events, last, told("worker-offline", 16.0, pid=78)).goodbye == 16.0


# --- one that runs a task and says nothing -------------------------------------------


def test_one_whose_last_word_was_the_start_of_a_task_may_be_busy():
    worker = worker_of(beat(10.0), told("task-received"), told("task-started", 10.5))
    assert worker.status(10.75 + 30) == "late"
    assert worker.status(10.75 + 38) == "busy?"
    assert worker.status(10.75 + 601) == "gone"


@pytest.mark.parametrize("kind", ["task-succeeded", "task-received", "worker-heartbeat"])
def test_one_that_said_something_since_is_gone(kind):
    worker = worker_of(beat(10.0), told("task-started", 10.5), told(kind, 11.0))
    assert worker.status(50.0) == "gone"


def test_progress_of_a_task_is_not_its_end():
    events = (told("task-started", 10.5), told("task-progress", 11.0))
    assert worker_of(beat(10.0), *events).status(50.0) == "busy?"


def test_one_that_beats_while_it_runs_tasks_is_gone_when_it_is_silent():
    events = (beat(10.0, active=1), told("task-started", 10.5))
    assert worker_of(*events).status(50.0) == "gone"


# --- impolite ones -----------------------------------------------------------------


def test_a_heartbeat_that_tells_next_to_nothing_counts():
    minimal = {"type": "worker-heartbeat", "hostname": WORKER, "timestamp": 10}
    worker = worker_of({**minimal, "sw_ident": "gocelery"}, {**minimal, "timestamp": 12})
    assert worker.status(13.0) == "online"
    assert worker.beats == 2


@pytest.mark.parametrize("freq", [0, -1, None, "often", 1e9, float("nan"), float("inf"), 10**400])
def test_a_frequency_that_is_none_is_the_usual_one(freq):
    worker = worker_of(beat(10.0, freq=freq))
    assert worker.status(HEARD + 100) == "online"
    assert worker.status(HEARD + 241) == "gone"


def test_one_that_beats_once_an_hour_stays_until_it_is_gone_by_that():
    state = State()
    state.apply([beat(10.0, freq=3600.0)])
    for at in range(100, 14_000, 100):
        state.apply([beat(float(at), hostname=OTHER)])
    assert state.workers[WORKER].status(14_000.0) == "late"
    state.apply([beat(14_500.0, hostname=OTHER)])
    assert state.workers[WORKER].status(14_500.0) == "gone"
    state.apply([beat(15_000.0, hostname=OTHER)])
    assert WORKER not in state.workers


# --- Celery's names ----------------------------------------------------------------


def test_it_is_who_its_hostname_says():
    worker = Worker(WORKER, pid=1)
    assert worker == Worker(WORKER, pid=2)
    assert worker != Worker(OTHER)
    assert worker != WORKER
    assert len({worker, Worker(WORKER), Worker(OTHER)}) == 2
    assert worker.id == f"{WORKER}.1"


def test_it_is_made_with_the_arguments_of_celery():
    arguments = (WORKER, 7, 2.0, [1.0], 9, 1, 2, [0.5], "celery", "5", "Linux")
    ours, theirs = Worker(*arguments), celery.events.state.Worker(*arguments)
    assert Worker._fields == theirs._fields
    for name in (*theirs._fields, "id", "heartbeat_expires", "status_string"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.local_received == 1.0


def test_one_of_nothing_has_the_defaults_of_celery():
    ours, theirs = Worker(), celery.events.state.Worker()
    for name in set(theirs._fields) - {"hostname"}:
        assert getattr(ours, name) == getattr(theirs, name)


def test_its_repr_names_it_and_says_whether_it_is_there():
    worker = worker_of(beat(10.0), clock=FakeClock(HEARD))
    assert repr(worker) == f"<Worker: {WORKER} (ONLINE clock:1000)>"


def test_update_sets_attributes():
    worker = Worker(WORKER)
    worker.update({"freq": 5.0}, active=3)
    assert (worker.freq, worker.active) == (5.0, 3)


def test_the_method_event_takes_an_event_in():
    worker = Worker(WORKER)
    worker.event("online", 10.0, HEARD, {"freq": 2.0, "pid": 9})
    assert (worker.pid, worker.freq, worker.heartbeats) == (9, 2.0, [HEARD])
    worker.event("offline", 11.0, 11.25, {"pid": 9})
    assert worker.status(11.5) == "offline"
    worker.event(None, 12.0, 12.25)
    assert worker.local_received == 12.25


def test_the_method_event_survives_what_nobody_should_send():
    nameless = Worker("")
    nameless.event("heartbeat", None, None, {"pid": 5})
    assert nameless.pid is None
    worker = Worker(WORKER)
    worker.event("odd", None, None, {"pid": "x", "freq": [], "loadavg": {"a": 1}})
    assert (worker.pid, worker.freq, worker.loadavg) == (None, 60, None)


def test_a_worker_known_from_its_tasks_has_heartbeats_as_cameras_expect():
    worker = worker_of(told("task-started", 10.0, uuid="u"))
    assert worker.heartbeats == [HEARD]
    assert worker.heartbeat_expires > HEARD
    assert worker.beats == 0
    worker = worker_of(beat(8.0), told("task-started", 10.0, uuid="u"))
    assert worker.heartbeats == [8.25, HEARD]
    worker = worker_of(beat(8.0), beat(12.0), told("worker-offline", 13.0))
    assert worker.heartbeats == []


@pytest.mark.parametrize("freq", [2.0, 60])
def test_a_heartbeat_expires_when_celery_says_so(freq):
    theirs = celery.events.state.heartbeat_expires
    assert heartbeat_expires(100.0, freq) == theirs(100.0, freq)
    assert heartbeat_expires(100.0, freq, 300) == theirs(100.0, freq, 300)
    worker = worker_of(beat(10.0, freq=freq))
    assert worker.heartbeat_expires == theirs(HEARD, freq)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_it_is_like_it(copied):
    worker = worker_of(told("worker-online", 10.0, zone="eu"))
    twin = copied(worker)
    assert twin is not worker
    for name in (*Worker._fields, "online_since", "skew", "beats", "zone"):
        assert getattr(twin, name) == getattr(worker, name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(protocol):
    worker = worker_of(told("worker-online", 10.0, zone="eu"))
    twin = pickle.loads(pickle.dumps(worker, protocol))
    for name in (*Worker._fields, "online_since", "skew", "liveness", "zone"):
        assert getattr(twin, name) == getattr(worker, name)
