"""Cameras that are databases: however the events are shared out, one cluster."""

import logging
import sqlite3
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.database.camera import Retention, Snapshot, clocks_ahead
from evtools.cam.database.merge import PendingEvents
from evtools.cam.database.schema import SNAPSHOTS, TABLES, TASKS, WORKERS, Expired
from evtools.cam.snapshot import SnapshotSequence
from evtools.errors import OutputError
from evtools.state import State
from tools.clock import FakeClock
from tools.ledgers import Evcam, common, contents, written
from tools.stories import STORIES, UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

# --- many evcams, one database -------------------------------------------------------

_BEATS = [
    told(kind, at, hostname=hostname, active=int(at))
    for hostname in (WORKER, OTHER)
    for kind, at in (
        *(("worker-online", 5.0), ("worker-heartbeat", 7.0)),
        *(("worker-heartbeat", 9.0), ("worker-offline", 30.0)),
    )
]


def _cluster(names):
    """The events of some lives, each with a uuid of its own, and of the workers."""
    lives = [
        event | {"uuid": name, "root_id": name} for name in names for event in STORIES[name].events
    ]
    notes = [told("task-progress", 12.0 + n, uuid=name, done=n) for n, name in enumerate(names)]
    own = [told("task-started", 12.0, uuid=names[0], zone="eu")]
    return [*lives, *notes, *own, *_BEATS]


_numbers = count()


@st.composite
def _shared_out(draw):
    """Events, and what becomes of them: (evcam, event) in an order, None is a shot."""
    names = draw(st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=4))
    events = _cluster(list(dict.fromkeys(names)))
    order = draw(st.permutations(events))
    evcams = draw(st.integers(1, 3))
    steps = [(draw(st.integers(0, evcams - 1)), event) for event in order]
    for place in draw(st.lists(st.integers(0, len(steps)), max_size=12)):
        steps.insert(place, (draw(st.integers(0, evcams - 1)), None))
    twice = draw(st.lists(st.sampled_from(steps), max_size=5))
    return events, evcams, [*steps, *twice]


def _play(database, evcams, steps):
    """Let evcams hear and shoot as it is said; return what is in the database."""
    every = [Evcam(database) for _ in range(evcams)]
    for number, event in steps:
        if event is None:
            every[number].shoot()
        else:
            every[number].hear([event])
    for evcam in every:
        evcam.shoot()
        evcam.close()
    return common(database)


_OPTIONS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=60, **_OPTIONS)
@given(_shared_out())
def test_events_shared_out_among_evcams_end_in_the_rows_of_one(tmp_path, shared):
    events, evcams, steps = shared
    number = next(_numbers)
    many = _play(tmp_path / f"many{number}.db", evcams, steps)
    one = written(tmp_path / f"one{number}.db", events)
    del one["snapshots"]
    assert many == one


@settings(max_examples=10, **_OPTIONS)
@given(_shared_out())
def test_so_they_do_in_postgresql(postgres_server, tmp_path, shared):
    events, evcams, steps = shared
    many = _play(postgres_server.fresh_url(), evcams, steps)
    one = written(tmp_path / f"pg{next(_numbers)}.db", events)
    del one["snapshots"]
    assert many == one


def test_who_hears_what_another_wrote_down_writes_it_no_other_way(tmp_path):
    # Both hear all, each at its own time; what was heard first counts.
    file = tmp_path / "ledger.db"
    later = [e | {"local_received": e["local_received"] + 0.125} for e in life("sent")]
    for batches in ([later, life("sent")], [life("sent"), later]):
        rows = written(file, *batches)
        assert rows["tasks"][0]["first_heard"] == "1970-01-01T00:00:10.250000Z"
        assert rows["tasks"][0]["last_heard"] == "1970-01-01T00:00:10.375000Z"


# --- shots ---------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


def test_a_picture_that_cannot_be_written_comes_with_the_next(tmp_path):
    folder = tmp_path / "later"
    evcam = Evcam(folder / "ledger.db")
    for step in ("sent", "received"):
        evcam.hear(life(step))
        with pytest.raises(OutputError):
            evcam.shoot()
    folder.mkdir()
    evcam.hear(life("started", start=11.0))
    evcam.shoot()
    evcam.close()
    rows = contents(folder / "ledger.db")
    assert [row["state"] for row in rows["tasks"]] == ["STARTED"]
    assert [(row["sequence"], row["events"]) for row in rows["snapshots"]] == [(1, 3)]


def test_what_was_forgotten_is_said(file, caplog):
    evcam = Evcam(file, max_waiting=1)
    evcam.hear(life("sent", "received"))
    evcam.shoot()
    evcam.close()
    assert "2 events were dropped" in caplog.text
    [snapshot] = contents(file)["snapshots"]
    assert (snapshot["lost"], snapshot["events"], snapshot["tasks"]) == (2, 0, 0)


# --- keeping -------------------------------------------------------------------------


class Store:
    """Has so many old tasks; takes what is written, and forgets it."""

    def __init__(self, old):
        self.old = old
        self.slices = 0

    def expire(self, expired, limit):
        self.slices += 1
        removed = min(limit, self.old)
        self.old -= removed
        return removed

    @contextmanager
    def transaction(self):
        yield self

    def read(self, table, keys):
        return {}

    def swap(self, table, rows, read):
        return ()

    def put(self, table, rows):
        pass

    def drop(self, table, keys):
        pass

    def describe(self):
        return "a store"


def test_a_sweep_removes_what_is_too_old(file, caplog):
    caplog.set_level(logging.INFO)
    evcam = Evcam(file, keep=100.0, keep_failed=200.0)
    evcam.hear(
        [
            *life("succeeded", uuid="old success"),
            *life("failed", uuid="old failure"),
            *life("succeeded", uuid="new success", start=60.0),
        ]
    )
    evcam.shoot()
    evcam.camera.clock = FakeClock(150.0)
    evcam.camera.sweep()
    assert [row["uuid"] for row in contents(file)["tasks"]] == [*("new success", "old failure")]
    assert f"sqlite:{file}: removed old rows: tasks 1" in caplog.text
    evcam.camera.clock = FakeClock(1000.0)
    evcam.camera.sweep()
    evcam.close()
    assert contents(file)["tasks"] == []


def test_a_long_sweep_goes_on_after_the_next_shots(file):
    evcam = Evcam(file, keep=0, keep_failed=1.0, keep_tasks=0)
    evcam.camera.store = store = Store(old=107_000)
    evcam.shoot()
    assert store.slices == 0
    evcam.camera.sweep()
    assert (store.old, store.slices) == (7_000, 100)
    left = []
    for _ in range(3):
        evcam.shoot()
        left.append(store.old)
    assert left == [2_000, 0, 0]
    assert store.slices == 100 + 5 + 3


# --- the rest ------------------------------------------------------------------------


# === snapshots over rows that are there ==============================================


def picture_of(*events, skewed=None):
    pending = PendingEvents()
    pending.observe(State().apply(events))
    frame = SnapshotSequence({}, started=1.0).next(2.0)
    return Snapshot(frame, pending.take(), skewed or {})


def test_a_picture_can_be_looked_at_before_it_is_written(file):
    story = UNUSUAL["retried in vain"].events
    events = [*story, told("worker-online", 1.0)]
    rows = picture_of(*events).as_dict()
    assert list(rows) == [table.name for table in TABLES]
    assert {name: len(each) for name, each in rows.items()} == {
        "tasks": 1,
        "attempts": 2,
        "workers": 1,
        "snapshots": 1,
    }
    assert rows["tasks"] == written(file, events)["tasks"]


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_life_in_many_shots_is_the_same_as_in_one(tmp_path, story):
    whole = written(tmp_path / "whole.db", story.events)
    pieces = written(tmp_path / "pieces.db", *([event] for event in story.events))
    assert len(pieces["snapshots"]) == len(story.events)
    del whole["snapshots"], pieces["snapshots"]
    assert whole == pieces
    [task] = whole["tasks"]
    assert (*(a["state"] for a in whole["attempts"]), task["state"]) == story.attempts


def test_attempts_that_turn_out_to_be_one_are_one(file):
    _, received, started, *again = UNUSUAL["retried at the same worker"].events
    again_sent, again_received, _, again_started, _ = again
    # Without its receipt, the second start may be that of a redelivery.
    rows = written(file, [received, started, again_sent, again_started])
    assert [each["number"] for each in rows["attempts"]] == [0, 0]
    rows = written(file, [again_received])
    assert [each["number"] for each in rows["attempts"]] == [0]


def test_what_is_known_already_changes_nothing(file):
    events = [*UNUSUAL["retried in vain"].events, told("worker-online", 1.0)]
    once = written(file, events)
    again = written(file, events)
    assert len(again.pop("snapshots")) == 2
    assert again == {name: once[name] for name in again}


def test_a_row_of_which_there_is_no_news_is_not_written(file):
    events = [*UNUSUAL["retried in vain"].events, *life("received", uuid="other")]
    written(file, events)
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TRIGGER written BEFORE UPDATE ON tasks "
            "BEGIN SELECT RAISE(ABORT, 'it was written'); END"
        )
    connection.close()
    written(file, events)
    with pytest.raises(OutputError, match="it was written"):
        written(file, life("started", uuid="other"))


def test_many_tasks_are_written_a_few_at_a_time(file):
    big = {"args": "x" * 16_000, "kwargs": "y" * 16_000}
    events = [told("task-received", uuid=f"{n:04}", **big) for n in range(300)]
    events += [told("task-received", uuid=f"small{n:04}") for n in range(2100)]
    rows = written(file, events)
    assert len(rows["tasks"]) == 2400
    assert rows["snapshots"][0]["tasks"] == 2400


def test_what_somebody_else_wrote_into_a_row_is_written_over(file, caplog):
    caplog.set_level(logging.WARNING)
    written(file, [*life("sent"), told("worker-online", 1.0)])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE tasks SET heard = 'nothing'")
        connection.execute("UPDATE workers SET heard = NULL")
    connection.close()
    rows = written(file, life("received", "started"))
    assert (rows["tasks"][0]["state"], rows["tasks"][0]["sent"]) == ("STARTED", None)
    assert rows["workers"][0]["pid"] is None
    assert f"task {UUID}: its earlier events are unreadable" in caplog.text


def test_values_that_somebody_else_wrote_are_no_obstacle(file, caplog):
    written(file, life("received"))
    odd = '{"first": 1, "last": 1, "steps": [["received", 11.0, {"retries": "x"}]]}'
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE tasks SET heard = ?", [odd])
    connection.close()
    [task] = written(file, life("received", "started", start=20.0))["tasks"]
    assert (task["state"], task["retries"]) == ("STARTED", 0)
    assert f"task {UUID}: its earlier events are unreadable" in caplog.text


# --- clocks --------------------------------------------------------------------------


def test_clocks_that_are_off_by_seconds_are_noted():
    state = State()
    state.apply(
        [
            told("worker-heartbeat", 100.0, local_received=95.3),
            told("worker-heartbeat", 100.0, local_received=100.9, hostname=OTHER),
            told("task-sent", 90.0, local_received=95.0),
            told("task-started", 50.0, local_received=95.0, hostname="mute@x"),
        ]
    )
    assert clocks_ahead(state) == {WORKER: 4, CLIENT: -5}


def test_a_task_notes_the_clocks_of_those_who_told_of_it():
    skewed = {WORKER: 4, OTHER: 7}
    [row] = picture_of(*life("sent", "started"), skewed=skewed).as_dict()["tasks"]
    assert '"ahead":{"celery@one":4}' in row["heard"]
    [row] = picture_of(*life("sent")).as_dict()["tasks"]
    assert "ahead" not in row["heard"]


def test_clocks_are_of_no_account_in_whatever_shot_they_are_noticed(tmp_path):
    def behind(seconds, events):
        return [event | {"local_received": event["local_received"] + seconds} for event in events]

    beats = [
        *behind(30.0, [told("worker-heartbeat", 4.0, hostname=OTHER)]),
        told("worker-heartbeat", 4.0),
    ]
    there = life("received", "started", "succeeded", start=5.0, hostname=OTHER)
    events = [*life("received", "started", "rejected"), *behind(30.0, there)]
    one = Evcam(tmp_path / "one.db")
    one.hear([*beats, *events])
    one.shoot()
    two = Evcam(tmp_path / "two.db")
    two.hear(beats)
    for event in events:
        two.hear([event])
        two.shoot()
    assert common(tmp_path / "one.db") == common(tmp_path / "two.db")
    [task] = contents(tmp_path / "one.db")["tasks"]
    assert (task["state"], task["worker"]) == ("SUCCESS", OTHER)


# === retention =======================================================================


class Boundary:
    """Says where the newest so many rows begin, and notes how many that are."""

    def __init__(self, boundary=None):
        self.asked = []
        self._boundary = boundary

    def boundary(self, table, column, keep):
        self.asked.append((table.name, column, keep))
        return self._boundary


def expired(store=None, **keep):
    return list(Retention(**keep).expired(store or Boundary(), 1000.0))


NOTHING = {"keep": 0, "keep_failed": 0, "keep_tasks": 0}


def test_what_succeeded_goes_before_what_did_not():
    assert expired(keep=10.0, keep_failed=20.0, keep_tasks=0) == [
        Expired(TASKS, "last_heard", "1970-01-01T00:16:30.000000Z", True),
        Expired(WORKERS, "last_heard", "1970-01-01T00:16:30.000000Z"),
        Expired(SNAPSHOTS, "at", "1970-01-01T00:16:30.000000Z"),
        Expired(TASKS, "last_heard", "1970-01-01T00:16:20.000000Z"),
    ]


def test_more_tasks_than_are_kept_go_however_new_they_are():
    store = Boundary("2026-01-01T00:00:00.000000Z")
    assert expired(store, **NOTHING | {"keep_tasks": 7}) == [
        Expired(TASKS, "last_heard", "2026-01-01T00:00:00.000000Z")
    ]
    assert store.asked == [("tasks", "last_heard", 7)]
    assert expired(Boundary(None), **NOTHING | {"keep_tasks": 7}) == []


def test_what_is_kept_for_longer_than_there_is_time_is_kept():
    before = [each.before for each in expired(keep=1e6, keep_failed=1e12, keep_tasks=0)]
    assert before == ["1969-12-20T10:30:00.000000Z"] * 3
