"""Workers: what they report of themselves, and what their silence means."""

import itertools

import celery.events.state
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import Liveness, State, Worker, answers_wake_up, heartbeat_expires
from evtools.wire import from_fields
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


def beats(*times, **fields):
    return [beat(at, **fields) for at in times]


def hello(at, **fields):
    return told("worker-online", at, **fields)


def goodbye(at, **fields):
    return told("worker-offline", at, **fields)


# --- what it reports -----------------------------------------------------------------


def test_a_heartbeat_describes_the_worker_and_what_is_odd_leaves_what_was_known():
    odd = beat(12.0, pid="x", loadavg=None, freq=-1, processed=5, active=2)
    for worker in (worker_of(beat(10.0, processed=5, active=2)), worker_of(beat(10.0), odd)):
        assert (worker.hostname, worker.pid) == (WORKER, 77)
        assert (worker.processed, worker.active, worker.freq) == (5, 2, 2.0)
        assert worker.loadavg == [0.5, 0.25, 0.125]
        assert (worker.sw_ident, worker.sw_ver, worker.sw_sys) == ("py-celery", "5.6.2", "Linux")
    worker = worker_of(beat(10.0))
    assert (worker.clock, worker.timestamp, worker.local_received) == (1000, 10.0, HEARD)


def test_the_four_newest_heartbeats_are_kept_in_order():
    worker = worker_of(*beats(1.0, 2.0, 9.0, 4.0, 5.0, 6.0))
    assert worker.heartbeats == [4.25, 5.25, 6.25, 9.25]
    assert worker.beats == 6


def test_it_is_online_since_it_said_so():
    assert worker_of(hello(9.0), beat(10.0)).online_since == 9.0
    assert worker_of(beat(10.0)).online_since is None
    # One that runs is woken up, and the start of another was missed.
    assert worker_of(hello(9.0, processed=7)).online_since is None
    worker = worker_of(hello(9.0), beat(20.0, pid=78))
    assert (worker.online_since, worker.pid) == (None, 78)


def test_the_answer_to_a_wake_up_reports_its_process_and_nothing_else():
    short = beat(12.0, freq=5.0, pid=78)
    del short["processed"], short["active"], short["loadavg"]
    assert answers_wake_up(from_fields(short))
    worker = worker_of(beat(10.0, processed=5), short)
    assert (worker.pid, worker.freq, worker.processed) == (78, 2.0, 5)
    assert (worker.beats, worker.local_received) == (1, 12.25)
    short["pid"] = None
    assert worker_of(beat(10.0), short).pid == 77


def test_tasks_that_it_counted_and_no_event_reported_are_missed():
    starts = [told("task-started", at, uuid=f"u{at}") for at in (2.0, 4.0)]
    later = beats(5.0, 7.0, 9.0, processed=5)
    worker = worker_of(beat(1.0), starts[0], beat(3.0, processed=1), starts[1], *later)
    assert worker.missed == 3


def test_a_field_that_celery_does_not_know_is_kept_and_overwrites_nothing():
    odd = {"zone": "eu-1", "alive": False, "take": 5, "__class__": 1, "missed": 9}
    worker = worker_of(beat(10.0, **odd), clock=FakeClock(HEARD))
    assert (worker.zone, worker.extra, type(worker)) == ("eu-1", odd, Worker)
    assert callable(worker.take)
    assert (worker.alive, worker.missed, worker.status(HEARD)) == (True, 0, "online")
    worker = worker_of(beat(10.0, zone="eu-1"), beat(12.0, story="x" * 5000))
    assert worker.extra == {"zone": "eu-1"}
    assert not hasattr(worker, "story")


# --- whether it is there -------------------------------------------------------------


def test_after_its_goodbye_a_worker_is_offline_until_it_comes_back():
    state = State()
    state.apply([beat(10.0), goodbye(11.0)])
    worker = state.workers[WORKER]
    assert (worker.goodbye, worker.heartbeats) == (11.0, [])
    assert worker.status(11.5) == worker.status(1e9) == "offline"
    state.apply([hello(20.0, pid=78)])
    assert (worker.goodbye, worker.status(20.5)) == (None, "online")
    assert worker_of(goodbye(10.0)).status(10.5) == "offline"


START = told("task-started", 10.0)
MINIMAL = {"type": "worker-heartbeat", "hostname": WORKER}
ODD_FREQS = (0, -1, None, "often", 1e9, float("nan"), float("inf"), 10**400)
#: Events, seconds since the last of them, and the status then.
# fmt: off
STATUSES = [
    *(([beat(10.0)], age, status) for age, status in (
        (-5.0, "online"), (0.0, "online"), (4.0, "online"), (4.1, "late"), (30.0, "late"),
        (30.1, "gone"), (1e9, "gone"))),
    # It beats seldom.
    *(([beat(10.0, freq=60.0)], age, status) for age, status in (
        (120, "online"), (240, "late"), (241, "gone"))),
    # A frequency that is none is the usual one, a minute.
    *(([beat(10.0, freq=odd)], age, status) for odd in ODD_FREQS for age, status in (
        (100, "online"), (241, "gone"))),
    # It runs without heartbeats.
    ([told("task-received", 10.0)], 600, "silent"),
    ([told("task-received", 10.0)], 601, "gone"),
    # Events of tasks are signs of life.
    ([beat(10.0), told("task-received", 39.0)], 3, "online"),
    # What it began last it may still run, and says nothing meanwhile.
    ([beat(9.0), told("task-received", 9.5), START], 30, "late"),
    ([beat(9.0), told("task-received", 9.5), START], 38, "busy?"),
    ([beat(9.0), START], 601, "gone"),
    ([beat(9.0), START, told("task-progress", 11.0)], 38, "busy?"),
    *(([beat(9.0), START, told(kind, 11.0)], 38, "gone")
      for kind in ("task-succeeded", "task-received", "worker-heartbeat")),
    # It has beaten while it ran one.
    ([beat(9.0, active=1), START], 38, "gone"),
    # Of two processes one may go.
    ([hello(10.0, pid=78), goodbye(10.1, pid=77)], 0.2, "online"),
    # A heartbeat that comes after the goodbye that followed it.
    ([beat(98.0), goodbye(100.0), beat(99.0, local_received=100.5)], 0.5, "offline"),
    # Other workers say next to nothing in a heartbeat.
    ([MINIMAL | {"timestamp": at, "local_received": at, "sw_ident": "gocelery"}
      for at in (10.0, 12.0)], 1.0, "online"),
    # The clock of its machine is wrong.
    ([beat(500.0, local_received=100.0)], 1.0, "online"),
    ([beat(20.0, local_received=100.0)], 20.0, "late"),
]
# fmt: on


@pytest.mark.parametrize(("events", "age", "status"), STATUSES)
def test_its_status_follows_from_when_its_last_event_came(events, age, status):
    received = max(event["local_received"] for event in events)
    assert worker_of(*events).status(received + age) == status


@pytest.mark.parametrize(
    ("events", "answered", "now", "status"),
    [
        # One that crashed after its answer.
        ([beat(10.0)], 11.0, 13.0, "online"), ([beat(10.0)], 11.0, 41.0, "gone"),
        ([beat(10.0)], 20.0, 41.0, "gone"),
        # It answers, and its heartbeats do not come.
        ([beat(10.0)], 21.0, 22.0, "late"), ([beat(10.0)], 21.0, 41.0, "online"),
        ([beat(10.0)], 90.0, 180.0, "online"), ([beat(10.0)], 90.0, 180.5, "gone"),
        ([beat(10.0, freq=60.0)], 100.0, 260.0, "gone"),
        ([beat(10.0, freq=60.0)], 200.0, 260.0, "online"),
        ([beat(9.0), told("task-received", 9.5), START], 60.0, 61.0, "online"),
        # It sends none.
        ([told("task-received", 10.0)], 9.0, 60.0, "online"),
        ([told("task-received", 10.0)], 9.0, 100.0, "silent"),
        # Its goodbye may have overtaken the answer.
        ([beat(9.0), goodbye(10.0)], 12.0, 13.0, "offline"),
        ([beat(9.0), goodbye(10.0)], 21.0, 22.0, "online"),
    ],
)  # fmt: skip
def test_an_answer_is_a_sign_of_life_of_one_that_says_nothing(events, answered, now, status):
    worker = worker_of(*events)
    worker.answer(answered)
    assert worker.status(now) == status
    assert not worker.leaves(answered + 600.0)


def test_how_long_is_too_long_can_be_chosen():
    worker = worker_of(beat(10.0), liveness=Liveness(late_beats=1, lost=5))
    assert worker.status(HEARD + 2.1) == "late"
    assert worker.status(HEARD + 5.1) == "gone"


def test_it_is_alive_by_the_clock_of_the_state():
    clock = FakeClock(HEARD)
    worker = worker_of(beat(10.0), clock=clock)
    assert (worker.alive, worker.status_string) == (True, "ONLINE")
    assert repr(worker) == f"<Worker: {WORKER} (ONLINE clock:1000)>"
    clock.now += 10
    assert worker.alive
    clock.now += 30
    assert (worker.alive, worker.status_string) == (False, "OFFLINE")


def test_one_that_beats_once_an_hour_stays_until_it_is_gone_by_that():
    state = State()
    state.apply([beat(10.0, freq=3600.0)])
    state.apply(beat(float(at), hostname=OTHER) for at in range(100, 14_000, 100))
    assert state.workers[WORKER].status(14_000.0) == "late"
    state.apply([beat(14_500.0, hostname=OTHER)])
    assert state.workers[WORKER].status(14_500.0) == "gone"
    state.apply([beat(15_000.0, hostname=OTHER)])
    assert WORKER not in state.workers


# --- its processes -------------------------------------------------------------------


def two(*times, gap=1.0):
    """Return the heartbeats of two processes that use one name."""
    return [
        each
        for at in times
        for each in (beat(at, processed=900), beat(at + gap, pid=78, processed=5))
    ]


LATER = beats(2.5, 4.5, 6.5, pid=78)
REST = beats(*range(5, 15, 2), pid=78, processed=5)
OTHERS = beats(*range(3, 45, 2), pid=78, processed=1)
SAME_PID = [
    each
    for n in range(4)
    for each in (beat(0.5 + 2 * n, processed=900 + n), beat(1.5 + 2 * n, processed=n))
]
#: Events of a worker, the pid and the start of a task on it, and whether that is lost.
# fmt: off
RESTARTS = {
    "a count that goes back is another process": (
        [beat(0.5, processed=900), beat(11.0)], 77, 1.0, True),
    "a count that stays is none": (
        [beat(0.5, processed=900), beat(11.0, processed=900)], 77, 1.0, False),
    "the new process has its own tasks": (
        [beat(0.5, processed=900), *beats(11.0, 13.0)], 77, 12.0, False),
    "a hello of the same pid": ([beat(0.5), hello(3.0)], 77, 1.0, True),
    "a hello of another pid": ([beat(0.5), hello(3.0, pid=78)], 77, 1.0, True),
    "a task after the hello": ([beat(0.5), hello(1.0)], 77, 2.0, False),
    "a task after the hello of another": ([beat(0.5), hello(1.0, pid=78)], 78, 2.0, False),
    "another pid that beats once": ([beat(0.5), beat(2.5, pid=78)], 77, 1.0, False),
    "another pid while this one misses its beats": ([beat(0.5), *LATER], 77, 1.0, True),
    "the pid of a child": ([beat(0.5), *beats(2.5, 4.5, 6.5)], 4321, 1.0, False),
    "the pid of a child, of none": (beats(0.5, 2.5, pid=None), 4321, 1.0, False),
    "the pid of a child of a process that went": ([beat(0.5), *LATER], 4321, 1.0, True),
    "a heartbeat without a pid": (
        [beat(0.5), *beats(2.5, 4.5, 6.5, pid=None), beat(8.5)], 77, 1.0, False),
    "a pid after heartbeats without": (
        [beat(0.5, pid=None), *beats(2.5, 4.5, 6.5)], 77, 1.0, False),
    **{f"a count of {odd} proves nothing": (
        [beat(0.5, processed=9), beat(2.5, processed=odd)], 77, 1.0, False)
       for odd in ("12", None, -1, 1e300, True)},
    "a reconnect": (
        [beat(0.5, processed=5), goodbye(4.0), hello(4.5, processed=5)], 77, 1.0, False),
    "soon after its goodbye it may run": ([beat(0.5), goodbye(2.0), *OTHERS[:13]], 77, 1.0, False),
    "long after its goodbye it does not": ([beat(0.5), goodbye(2.0), *OTHERS], 77, 1.0, True),
    "the one of two that goes on": ([*two(0.5, 2.5), *REST], 78, 1.2, False),
    "the one of two that died": ([*two(0.5, 2.5), *REST], 77, 1.0, True),
    "two of the same pid, as in containers": (SAME_PID, 77, 1.0, False),
    **{f"one of two, after {end} heartbeats": (two(0.5, 2.5, 4.5)[:end], pid, started, False)
       for end in range(2, 7) for pid, started in ((77, 1.0), (78, 1.2))},
}
# fmt: on


@pytest.mark.parametrize(
    ("events", "pid", "started", "lost"), RESTARTS.values(), ids=list(RESTARTS)
)
def test_a_task_is_lost_with_the_process_that_had_it(events, pid, started, lost):
    state = State()
    events = [*events, told("task-started", started, pid=pid)]
    state.apply(sorted(events, key=lambda event: event["local_received"]))
    now = max(event["local_received"] for event in events)
    assert state.tasks[UUID].lost(now) is lost


def test_processes_of_one_name_are_counted_when_they_have_come_again():
    worker = worker_of(*two(0.5, 2.5))
    assert (worker.processes(3.75), worker.status(3.75)) == (2, "online")
    assert worker_of(beat(0.5), beat(2.5)).processes(2.75) == 1
    assert worker_of(beat(0.5), beat(2.5, pid=78)).processes(2.75) == 1
    assert worker_of(told("task-started", 1.0)).processes(1.25) == 0
    assert worker_of(*SAME_PID).processes(7.75) == 2
    assert worker_of(*two(0.5, 2.5), *REST).processes(13.25) == 1
    third = [*two(0.5, 2.5), *beats(1.8, 3.8, pid=79)]
    assert worker_of(*sorted(third, key=lambda event: event["timestamp"])).processes(4.0) == 3
    worker = worker_of(*two(0.5, 2.5), goodbye(4.0), beat(4.5, pid=78))
    assert (worker.status(4.75), worker.processes(4.75)) == ("online", 1)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("pid", [77, 78])
def test_a_goodbye_and_a_hello_count_by_their_own_times(order, pid):
    state = State()
    events = [
        goodbye(99.0, processed=5),
        hello(100.0, pid=pid),
        told("task-started", 101.0, pid=pid),
    ]
    state.apply(
        {**events[at], "local_received": 102.0 + number / 10} for number, at in enumerate(order)
    )
    assert state.workers[WORKER].status(102.5) == "online"
    state.apply([beat(103.0, pid=pid, processed=1)])
    assert state.workers[WORKER].status(103.5) == "online"
    assert not state.tasks[UUID].lost(103.5)


@given(
    st.permutations(
        [
            *beats(1.0, 3.0, processed=7),
            *(goodbye(4.0), hello(9.0, pid=78)),
            *beats(11.0, 13.0, pid=78),
        ]
    )
)
def test_in_whatever_order_they_come_the_process_that_began_last_is_online(events):
    events = [{**event, "local_received": 14.0} for event in events]
    last = beat(15.0, pid=78, processed=0)
    assert worker_of(*events, last).status(15.5) == "online"
    assert worker_of(*events, last, goodbye(16.0, pid=78)).goodbye == 16.0


# --- Celery's names ------------------------------------------------------------------


def test_the_method_event_applies_an_event():
    worker = Worker(WORKER)
    worker.event("online", 10.0, HEARD, {"freq": 2.0, "pid": 9})
    assert (worker.pid, worker.freq, worker.heartbeats) == (9, 2.0, [HEARD])
    worker.event("offline", 11.0, 11.25, {"pid": 9})
    assert worker.status(11.5) == "offline"
    worker.event(None, 12.0, 12.25)
    assert worker.local_received == 12.25
    nameless, odd = Worker(""), Worker(WORKER)
    nameless.event("heartbeat", None, None, {"pid": 5})
    assert nameless.pid is None
    odd.event("odd", None, None, {"pid": "x", "freq": [], "loadavg": {"a": 1}})
    assert (odd.pid, odd.freq, odd.loadavg) == (None, 60, None)


def test_events_of_its_tasks_are_heartbeats_as_cameras_expect():
    started = told("task-started", 10.0, uuid="u")
    worker = worker_of(started)
    assert (worker.heartbeats, worker.beats) == ([HEARD], 0)
    assert worker.heartbeat_expires > HEARD
    assert worker_of(beat(8.0), started).heartbeats == [8.25, HEARD]
    assert worker_of(*beats(8.0, 12.0), goodbye(13.0)).heartbeats == []


@pytest.mark.parametrize("freq", [2.0, 60])
def test_a_heartbeat_expires_when_celery_says_so(freq):
    theirs = celery.events.state.heartbeat_expires
    assert heartbeat_expires(100.0, freq) == theirs(100.0, freq)
    assert heartbeat_expires(100.0, freq, 300) == theirs(100.0, freq, 300)
    assert worker_of(beat(10.0, freq=freq)).heartbeat_expires == theirs(HEARD, freq)
