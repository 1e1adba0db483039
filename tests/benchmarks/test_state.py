"""What an event and a task cost our State, as a ratio to Celery's.

Both apply the same stream, each as its receiver hands it over, decoded a moment before:
dictionaries to Celery's, typed events to ours.  Most of it are tasks that are sent,
received, started and succeed; of twenty one fails and one is tried again, and the
workers send heartbeats.  Other streams have a field more on each event of a task, or
tasks of three attempts whose events come out of order.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import random
import subprocess
import sys
import time
import uuid
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celery.events.state
import msgspec
import pytest

from evtools.state import State, Statistics
from evtools.wire import Event as TypedEvent
from evtools.wire import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Event = dict[str, Any]

WORKERS = tuple(f"celery@worker-{number}" for number in range(8))
NAMES = tuple(f"proj.app.tasks.task_{number}" for number in range(30))
#: What a busy worker sends at a time.
BATCH = 24
#: How many tasks of several attempts have their events mixed.
BLOCK = 60
FAILING, RETRIED = 0.05, 0.05

#: How much of Celery's time and memory we may take.
TIME_BUDGET, MEMORY_BUDGET = 1 / 7, 1 / 4
EXTRA_BUDGET, SHUFFLED_BUDGET = 1 / 6, 1 / 2.5
TASKS_TIMED, TASKS_WEIGHED = 50_000, 100_000
ROUNDS = 5

#: Events of the soak.
SOAK = int(os.environ.get("SOAK_COUNT", "10000000"))

# --- a typical stream ---------------------------------------------------------------


class Cluster:
    """Tasks at a steady rate, whose events come in the order of their times."""

    def __init__(self, *, seed: int) -> None:
        self._rng = random.Random(seed)
        self._numbers = count()
        self._agenda: list[tuple[float, int, Event]] = []

    def events(self, tasks: int) -> Iterator[Event]:
        """Yield the events of so many tasks, and the heartbeats meanwhile."""
        now = next_beat = 1_795_186_532.0
        clock = count(1)
        for _ in range(tasks):
            now += self._rng.expovariate(1000)
            while next_beat < now:
                for name in WORKERS:
                    self._plan("worker-heartbeat", next_beat, name, **_BEAT)
                next_beat += 2.0
            self._task(now)
            while self._agenda and self._agenda[0][0] < now:
                yield {**heapq.heappop(self._agenda)[2], "clock": next(clock)}
        while self._agenda:
            yield {**heapq.heappop(self._agenda)[2], "clock": next(clock)}

    def _plan(self, kind: str, at: float, hostname: str, **fields: Any) -> None:
        event = {"hostname": hostname, "utcoffset": 0, "pid": 4711, **fields}
        event |= {"timestamp": at, "type": kind}
        heapq.heappush(self._agenda, (at, next(self._numbers), event))

    def _task(self, now: float) -> None:
        rng, plan = self._rng, self._plan
        id_ = str(uuid.UUID(int=rng.getrandbits(128)))
        worker = rng.choice(WORKERS)
        fields = {
            "uuid": id_,
            "name": rng.choice(NAMES),
            "args": f"({rng.randrange(9999)}, 'EUR')",
            "kwargs": "{'retry': False}",
            "root_id": id_,
            "parent_id": None,
            "retries": 0,
            "eta": None,
            "expires": None,
        }
        way = {"queue": "billing", "exchange": "", "routing_key": "billing"}
        plan("task-sent", now, "gen4711@web-1", **fields, **way)
        plan("task-received", now + 0.01, worker, **fields)
        started = now + 0.01 + rng.random() / 20
        plan("task-started", started, worker, uuid=id_)
        ended = started + rng.random() / 2
        chance = rng.random()
        if chance < RETRIED:
            again = {**fields, "retries": 1}
            plan("task-sent", ended - 0.002, "gen4711@worker", **again, **way)
            plan("task-received", ended - 0.001, worker, **again)
            plan("task-retried", ended, worker, uuid=id_, **_RAISED)
            plan("task-started", ended + 0.1, worker, uuid=id_)
            ended += 0.3
        if chance > 1 - FAILING:
            plan("task-failed", ended, worker, uuid=id_, **_RAISED)
        else:
            done = {"result": "{'charged': 4411}", "runtime": ended - started}
            plan("task-succeeded", ended, worker, uuid=id_, **done)


_BEAT: Event = {
    "freq": 2.0,
    "active": 4,
    "processed": 1000,
    "loadavg": [1.5, 1.25, 1.0],
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": "Linux",
}
_RAISED: Event = {
    "exception": "CardError('declined')",
    "traceback": 'Traceback (most recent call last):\n  File "x.py", line 1\n' * 5,
}


def batches(tasks: int, *, seed: int = 1) -> list[bytes]:
    """Return the bodies of messages with the events of so many tasks."""
    events = list(Cluster(seed=seed).events(tasks))
    encode = msgspec.json.encode
    return [encode(events[i : i + BATCH]) for i in range(0, len(events), BATCH)]


def with_a_field(tasks: int) -> list[bytes]:
    """Return such bodies in which events of tasks have a field that Celery does not know."""
    events = [
        {**event, "tenant": "acme"} if event["type"].startswith("task-") else event
        for event in Cluster(seed=1).events(tasks)
    ]
    return [msgspec.json.encode(events[i : i + BATCH]) for i in range(0, len(events), BATCH)]


def of_three_attempts(tasks: int) -> list[bytes]:
    """Return bodies with the events of tasks that succeed the third time.

    Those of `BLOCK` tasks come in no order.
    """
    rng, clock = random.Random(1), count(1)
    events: list[Event] = []
    for number in range(tasks):
        at, worker = 1_795_186_532.0 + number / 1000, WORKERS[number % len(WORKERS)]
        id_ = str(uuid.UUID(int=rng.getrandbits(128)))
        call = {"name": NAMES[number % len(NAMES)], "args": f"({number},)", "kwargs": "{}"}
        call |= {"root_id": id_, "parent_id": None, "eta": None, "expires": None}
        way = {"queue": "billing", "exchange": "", "routing_key": "billing"}
        common = {"utcoffset": 0, "pid": 4711, "uuid": id_, "hostname": worker}
        for retries in range(3):
            call |= {"retries": retries}
            sent = {**common, **call, **way, "hostname": "gen4711@web"}
            events.append({**sent, "type": "task-sent", "timestamp": at})
            events.append({**common, **call, "type": "task-received", "timestamp": at + 0.001})
            if retries:
                again = {**common, **_RAISED, "type": "task-retried", "timestamp": at + 0.002}
                events.append(again)
            events.append({**common, "type": "task-started", "timestamp": at + 0.01})
            at += 0.1
        done = {"result": "4", "runtime": 0.09, "type": "task-succeeded", "timestamp": at}
        events.append({**common, **done})
    of_block = BLOCK * 12
    blocks = [events[i : i + of_block] for i in range(0, len(events), of_block)]
    shuffled = [
        {**event, "clock": next(clock)}
        for block in blocks
        for event in rng.sample(block, len(block))
    ]
    return [msgspec.json.encode(shuffled[i : i + BATCH]) for i in range(0, len(shuffled), BATCH)]


def received(body: bytes) -> list[Event]:
    """Return the events of a message, as Celery's receiver hands them on."""
    events: list[Event] = msgspec.json.decode(body)
    now = events[-1]["timestamp"] + 0.003
    for event in events:
        event["local_received"] = now
    return events


class Typed:
    """Decodes messages into typed events, as our receiver hands them on."""

    def __init__(self) -> None:
        self._schema = Schema()

    def __call__(self, body: bytes) -> list[TypedEvent]:
        try:
            events: list[TypedEvent] = self._schema.json_batch(body)
        except msgspec.ValidationError:
            self._schema.learn(msgspec.json.decode(body))
            events = self._schema.json_batch(body)
        now = (events[-1].timestamp or 0.0) + 0.003
        for event in events:
            event.stamp(now)
        return events


# --- time -----------------------------------------------------------------------------


def _seconds(
    bodies: Iterable[bytes], decode: Callable[[bytes], Any], take: Callable[[Any], object]
) -> float:
    """Return the CPU time that applying the events takes."""
    gc.collect()  # what others left, so that nobody pays for that here
    seconds = 0.0
    for body in bodies:
        events = decode(body)
        started = time.process_time()
        take(events)
        seconds += time.process_time() - started
    return seconds


def _celerys(bodies: list[bytes]) -> float:
    take = celery.events.state.State().event

    def each(events: list[Event]) -> None:
        for event in events:
            take(event)

    return _seconds(bodies, received, each)


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("what", "make", "budget"),
    [
        ("an event", lambda: batches(TASKS_TIMED), TIME_BUDGET),
        ("with a field more", lambda: with_a_field(TASKS_TIMED), EXTRA_BUDGET),
        (
            "of three attempts, shuffled",
            lambda: of_three_attempts(TASKS_TIMED // 4),
            SHUFFLED_BUDGET,
        ),
    ],
    ids=["plain", "field", "shuffled"],
)
def test_an_event_takes_a_fraction_of_the_time_it_takes_celery(table, what, make, budget):
    bodies = make()
    events = sum(len(received(body)) for body in bodies)
    gc.collect()
    gc.freeze()
    try:
        # In turns, as other programs may take some of the machine's time.
        rounds = [
            (
                _seconds(bodies, Typed(), State().apply),
                _celerys(bodies),
                _seconds(bodies, received, State().apply),
            )
            for _ in range(ROUNDS)
        ]
    finally:
        gc.unfreeze()
    rounds.sort(key=lambda times: times[0] / times[1])
    ours, celerys, of_dicts = (seconds / events * 1e6 for seconds in rounds[ROUNDS // 2])
    what = f"State.apply, {what} (dictionaries: {of_dicts:.1f} us)"
    _add_row(table, what, "us", (ours, celerys), budget)


# --- memory ---------------------------------------------------------------------------


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def weigh(who: str, tasks: int) -> dict[str, float]:
    """Return what a task takes in memory, in this process, and what State says."""
    state: Any
    decode: Any = received
    if who == "evtools":
        state = State(max_tasks_in_memory=2 * tasks)
        take, decode = state.apply, Typed()
    else:
        state = celery.events.state.State(max_tasks_in_memory=2 * tasks)

        def take(events: list[Event]) -> None:
            for event in events:
                state.event(event)

    for body in batches(tasks // 20, seed=1):
        take(decode(body))
    before, known = _resident_bytes(), len(state.tasks)
    for seed in range(2, 12):
        for body in batches(tasks // 10, seed=seed):
            take(decode(body))
    new = len(state.tasks) - known
    assert new == tasks
    weight = getattr(state, "weight_bytes", 0) / len(state.tasks)
    return {"bytes": (_resident_bytes() - before) / new, "said": weight}


def _weigh_elsewhere(who: str) -> dict[str, float]:
    argv = [sys.executable, __file__, who, str(TASKS_WEIGHED)]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_a_finished_task_takes_a_fraction_of_the_memory_it_takes_celery(table):
    ours, celerys = _weigh_elsewhere("evtools"), _weigh_elsewhere("celery")
    assert ours["said"] == pytest.approx(ours["bytes"], rel=0.25)
    costs = ours["bytes"], celerys["bytes"]
    _add_row(table, f"memory of a task, of {TASKS_WEIGHED}", "B", costs, MEMORY_BUDGET)


def _add_row(table, what: str, unit: str, costs: tuple[float, float], budget: float) -> None:
    ours, celerys = costs
    met = ours <= celerys * budget
    digits = 1 if unit == "us" else 0
    table.append(
        (
            what,
            f"{celerys:.{digits}f} {unit}",
            f"{ours:.{digits}f} {unit}",
            f"1/{celerys / ours:.1f}",
            f"1/{1 / budget:g}",
            "met" if met else "NOT MET",
        )
    )
    assert met, table[-1]


# --- for ever -------------------------------------------------------------------------


def unique(number: int) -> list[Event]:
    """Return the events of a task of which nothing was ever seen before."""
    at = 1e9 + number / 20  # so that an hour is soon over
    common = {"utcoffset": 0, "pid": number, "clock": number, "timestamp": at}
    worker = {**common, "hostname": f"w{number}@h", "local_received": at}
    task = {
        **worker,
        "uuid": f"id-{number}",
        "name": f"n{number}",
        "args": f"({number},)",
        "kwargs": f"{{'k': {number}}}",
        "root_id": f"r{number}",
        "parent_id": f"p{number}",
        "retries": 0,
        "eta": None,
        "expires": None,
    }
    way = {"queue": f"q{number}", "exchange": f"e{number}", "routing_key": f"k{number}"}
    sent = {**task, **way, "hostname": f"gen{number}@c{number}", "type": "task-sent"}
    id_ = {"uuid": f"id-{number}"}
    odd = {f"x{number}": number}
    return [
        sent,
        {**task, "type": "task-received"},
        {**worker, **id_, "type": "task-started"},
        {**worker, **id_, **odd, "type": "task-progress"},
        {**worker, **_BEAT, **odd, "type": "worker-heartbeat"},
        _END[number % len(_END)](number, {**worker, **id_}),
    ]


#: How a task may end; that it does not is one of the ways.
_END: tuple[Callable[[int, Event], Event], ...] = (
    lambda n, e: {**e, "type": "task-succeeded", "result": f"{n}", "runtime": 0.1},
    lambda n, e: {**e, "type": "task-failed", "exception": f"E({n})", "traceback": "t"},
    lambda n, e: {**e, "type": "task-retried", "exception": f"R({n})", "traceback": ""},
    lambda n, e: {**e, "type": "task-received", "retries": n % 3},
    lambda n, e: {**e, "type": f"custom-{n}"},
)


@pytest.mark.load
@pytest.mark.timeout(7200)
def test_nothing_grows_with_what_is_never_seen_again():
    state, statistics = State(), Statistics()
    tasks = SOAK // len(unique(0))
    early = 0
    for number in range(tasks):
        statistics.take(state.apply(unique(number)))
        if number == tasks // 10:
            early = _resident_bytes()
    late = _resident_bytes()
    print(f"{state.event_count} events: {early / 1e6:.1f} MB, {late / 1e6:.1f} MB")
    assert late <= early * 1.05
    assert state.event_count == tasks * len(unique(0))
    assert len(state.tasks) <= state.max_tasks_in_memory
    assert len(state.workers) <= state.max_workers_in_memory


if __name__ == "__main__":
    print(json.dumps(weigh(sys.argv[1], int(sys.argv[2]))))
