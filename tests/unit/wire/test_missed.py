"""Missed tasks: nothing is claimed that was not lost, and most that was is."""

import random
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.wire import missed as module
from tools.typed import event_of

HOST = "celery@w1"


class MissedTasks(module.MissedTasks):
    """The same, for events as dictionaries."""

    def observe(self, event):
        return super().observe(event_of(event))


class Worker:
    """A worker as Celery's is: it counts a task, then tells, perhaps later.

    `late` are starts that are told of and not sent yet; they keep the logical
    time at which they were told.
    """

    def __init__(self, *, hostname=HOST, pid=1, clock=0):
        self.hostname, self.pid, self.clock = hostname, pid, clock
        self.processed = self.active = 0
        self.late = []

    def _event(self, kind, **fields):
        self.clock += 1
        own = {"hostname": self.hostname, "pid": self.pid, "clock": self.clock}
        return {"type": kind, **own, **fields}

    def start(self):
        """Accept a task; its start is late until it is sent."""
        self.processed += 1
        self.late.append(self._event("task-started"))

    def send(self):
        """Send all that is late, as the next turn of the loop does."""
        late, self.late = self.late, []
        return late

    def beat(self, kind="worker-heartbeat"):
        return self._event(kind, processed=self.processed, active=self.active)

    def run(self, tasks):
        for _ in range(tasks):
            self.start()
        return self.send()


def claimed(missed, events):
    return [missed.observe(event) for event in events]


def settled(worker, tasks=1):
    """A counter that has seen that this worker tells of its tasks."""
    missed = MissedTasks()
    events = [worker.beat(), *worker.run(tasks), worker.beat()]
    assert not any(claimed(missed, events))
    return missed


def beats(worker, count=3):
    """Heartbeats with a task before each, so that events are seen to be on."""
    for _ in range(count):
        yield from worker.run(1)
        yield worker.beat()


# --- losses ----------------------------------------------------------------------


def test_what_was_counted_and_not_told_is_claimed_once():
    worker = Worker()
    missed = settled(worker)
    worker.run(7)
    claims = claimed(missed, beats(worker, 5))
    assert sum(claims) == 7 == missed.total
    assert max(claims) == 7, "in one go, by two heartbeats that agree"
    worker.run(2)
    assert sum(claimed(missed, beats(worker))) == 2
    assert missed.total == 9


def test_two_heartbeats_have_to_agree():
    worker = Worker()
    missed = settled(worker)
    worker.run(7)
    assert not any(claimed(missed, beats(worker, 2)))
    assert sum(claimed(missed, beats(worker, 1))) == 7


def test_what_was_lost_before_we_listened_is_nobodys_loss():
    worker = Worker()
    worker.run(1000)
    missed = settled(worker)
    assert not any(claimed(missed, beats(worker, 5)))


def test_active_tasks_may_be_counted_and_not_told_yet():
    worker = Worker()
    missed = settled(worker)
    worker.run(10)
    worker.active = 4
    assert sum(claimed(missed, beats(worker))) == 6
    worker.active = 0
    assert sum(claimed(missed, beats(worker, 4))) == 4


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_is_within_a_percent_when_a_tenth_is_lost(seed):
    rng = random.Random(seed)
    worker, missed, lost = Worker(), MissedTasks(), 0
    missed.observe(worker.beat())
    for number in range(1, 10_001):
        worker.start()
        worker.active = rng.randrange(8)
        if len(worker.late) >= 24 or rng.random() < 0.3:
            for event in worker.send():
                if number > 200 and rng.random() < 0.1:
                    lost += 1
                else:
                    missed.observe(event)
        if rng.random() < 0.02:
            missed.observe(worker.beat())
    worker.active = 0
    for event in [*worker.send(), worker.beat(), worker.beat(), worker.beat()]:
        missed.observe(event)
    assert 900 < lost < 1100
    assert missed.total <= lost
    assert missed.total == pytest.approx(lost, rel=0.01)


# --- no losses -------------------------------------------------------------------

steps = st.lists(
    st.sampled_from(["start", "start", "send", "beat", "beat", "answer"]), max_size=200
)


@given(steps, st.lists(st.integers(0, 24), max_size=50))
@example(["start", "beat", "send"] * 60, [])
@example((["start"] * 24 + ["beat", "send", "beat"]) * 8, [])
def test_a_worker_that_loses_nothing_is_never_accused(steps, actives):
    worker, missed = Worker(), MissedTasks()
    since = 0
    for step in steps:
        if step == "start" and len(worker.late) < 24:
            worker.start()
        elif step == "send":
            claimed(missed, worker.send())
            since = 0
        elif step == "answer":
            missed.observe({"type": "worker-heartbeat", "hostname": HOST, "freq": 5})
        elif step == "beat":
            # The loop turns more often than the worker sends heartbeats.
            if since == 2:
                claimed(missed, worker.send())
                since = 0
            worker.active = actives.pop() if actives else 0
            missed.observe(worker.beat())
            since += bool(worker.late)
    assert missed.total == 0


@given(st.integers(0, 2**32))
def test_a_pool_of_threads_that_loses_nothing_is_never_accused(seed):
    # Threads count a task at one time and tell of it at a later logical time.
    rng = random.Random(seed)
    worker, missed, counted = Worker(), MissedTasks(), 0
    for _ in range(300):
        step = rng.randrange(4)
        if step == 0 and counted < 8:
            counted += 1
            worker.processed += 1
        elif step == 1 and counted:
            counted -= 1
            missed.observe(worker._event("task-started"))
        elif step == 2:
            worker.active = counted + rng.randrange(3)
            missed.observe(worker.beat())
    assert missed.total == 0


def test_late_starts_of_before_we_counted_hide_no_loss():
    worker, missed = Worker(), MissedTasks()
    claimed(missed, [worker.beat(), *worker.run(1)])
    for _ in range(24):
        worker.start()
    late = worker.send()
    claimed(missed, [worker.beat(), *late])
    worker.run(7)
    assert sum(claimed(missed, beats(worker))) == 7


# --- when nothing can be said ------------------------------------------------------


def test_a_worker_that_never_tells_of_tasks_is_not_accused():
    worker, missed = Worker(), MissedTasks()
    for _ in range(50):
        worker.run(100)
        missed.observe(worker.beat())
    assert missed.total == 0


def test_a_worker_that_begins_to_tell_is_not_accused_of_before():
    worker, missed = Worker(), MissedTasks()
    for _ in range(5):
        worker.run(100)
        missed.observe(worker.beat())
    for _ in range(5):
        assert not any(claimed(missed, [*worker.run(100), worker.beat()]))


def test_a_worker_that_stops_telling_is_not_accused_then_or_later():
    worker = Worker()
    missed = settled(worker)
    for _ in range(10):
        worker.run(100)
        missed.observe(worker.beat())
    assert missed.total == 0
    assert not any(claimed(missed, beats(worker, 10)))


def test_a_short_darkness_is_a_loss():
    worker = Worker()
    missed = settled(worker)
    for _ in range(2):
        worker.run(100)
        missed.observe(worker.beat())
    assert missed.total == 0, "it may have been switched off"
    assert sum(claimed(missed, beats(worker))) == 200
    for _ in range(2):
        worker.run(100)
        missed.observe(worker.beat())
    assert sum(claimed(missed, beats(worker))) == 200


def test_an_idle_worker_is_not_a_dark_one():
    worker = Worker()
    missed = settled(worker)
    worker.run(5)
    claims = claimed(missed, [*worker.run(1), *(worker.beat() for _ in range(10))])
    assert sum(claims) == 5


# --- restarts --------------------------------------------------------------------


def restarted(worker):
    """The same worker in a new process: it counts from 0."""
    return Worker(pid=worker.pid + 1, clock=worker.clock)


def reset(worker):
    """The same in a container, where all have one pid; the clock is mingled."""
    return Worker(pid=worker.pid, clock=worker.clock)


def unmingled(worker):
    """The same without mingling, and quick to have counted more than before."""
    again = Worker(pid=worker.pid)
    again.processed = worker.processed + 10
    return again


def busy(worker):
    """A new process with a mingled clock that has counted more than the old one."""
    again = restarted(worker)
    again.processed = worker.processed + 10
    return again


@pytest.mark.parametrize("restart", [restarted, reset, unmingled, busy])
def test_a_restart_is_no_loss(restart):
    worker = Worker()
    missed = settled(worker, 50)
    worker.run(10)
    again = restart(worker)
    assert not any(claimed(missed, [again.beat("worker-online"), *beats(again, 5)]))
    again.run(3)
    assert sum(claimed(missed, beats(again))) == 3


def test_two_workers_of_one_name_are_not_accused_of_each_others_tasks():
    missed = MissedTasks()
    workers = [Worker(pid=1), Worker(pid=1, clock=1000)]
    workers[1].run(500)
    for _ in range(20):
        for worker in workers:
            claimed(missed, [*worker.run(3), worker.beat()])
    assert missed.total == 0


# --- what others send --------------------------------------------------------------


@pytest.mark.parametrize("wrong", [
    {"hostname": None}, {"hostname": ""}, {"hostname": ["w"]}, {"hostname": "x" * 1025},
    {"processed": None}, {"processed": True}, {"processed": 1e9}, {"processed": -1},
    {"processed": 10**4299}, {"active": "2"}, {"clock": None}, {"pid": {}},
])  # fmt: skip
def test_a_heartbeat_with_odd_fields_tells_nothing(wrong):
    worker = Worker()
    missed = settled(worker)
    worker.run(5)
    for event in [*beats(worker), worker.beat(), worker.beat()]:
        odd = event | wrong if event["type"] == "worker-heartbeat" else event
        assert missed.observe(odd) == 0
    assert list(missed._workers) == [HOST]
    assert sum(claimed(missed, beats(worker))) == 5, "and changes nothing"


def test_starts_with_odd_fields_count_when_they_come():
    worker = Worker()
    missed = settled(worker)
    for clock in (None, "7", [], 1.5):
        (event,) = worker.run(1)
        claimed(missed, [event | {"clock": clock}, worker.beat()])
    assert not any(claimed(missed, beats(worker)))
    assert missed.observe({"type": "task-started"}) == 0
    assert missed.observe({"type": "task-started", "hostname": {}}) == 0
    assert missed.observe({"type": "task-succeeded", "hostname": HOST}) == 0


def test_forged_names_take_no_more_memory_than_real_ones():
    missed = MissedTasks()
    worker = Worker()
    known = [worker.beat(), *worker.run(1), worker.beat()]
    claimed(missed, known)
    tracemalloc.start()
    for number in range(30_000):
        forged = Worker(hostname=f"{'x' * 900}{number}")
        forged.pid = 2**52
        missed.observe(forged.beat())
        if number % 3000 == 0:
            # Who goes on sending heartbeats is not forgotten.
            worker.run(3)
            assert sum(claimed(missed, beats(worker))) == 3
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 30_000_000
    assert len(missed._workers) == 10_000
