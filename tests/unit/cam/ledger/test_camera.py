"""Cameras that write ledgers: however the events are shared out, one cluster."""

import logging
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.ledger import LedgerCamera, Retention
from evtools.errors import OutputError
from tools.clock import FakeClock
from tools.ledgers import Evcam, common, contents, touch, written
from tools.stories import STORIES
from tools.told import OTHER, WORKER, life, told

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


def test_what_one_of_them_heard_alone_would_be_another_story(tmp_path):
    events = _cluster(["succeeded", "retried at the same worker"])
    one = written(tmp_path / "one.db", events)
    for share in (events[::2], events[1::2]):
        alone = written(tmp_path / f"{len(share)}-{share[0]['type']}.db", share)
        for table in ("tasks", "workers"):
            assert alone[table] != one[table]


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
    assert "2 events were forgotten" in caplog.text
    [snapshot] = contents(file)["snapshots"]
    assert (snapshot["lost"], snapshot["events"], snapshot["tasks"]) == (2, 0, 0)


def test_only_what_changed_is_written(file):
    evcam = Evcam(file)
    evcam.hear(life("sent", uuid="a"))
    evcam.shoot()
    evcam.hear(life("sent", uuid="b"))
    evcam.shoot()
    evcam.close()
    assert [row["tasks"] for row in contents(file)["snapshots"]] == [1, 1]


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
    assert f"sqlite:{file}: removed what is too old: tasks 1" in caplog.text
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


def test_what_a_user_says_is_kept(file):
    evcam = Evcam(file, keep=1.0, keep_failed=2.0, keep_tasks=3)
    assert evcam.camera.retention == Retention(keep=1.0, keep_failed=2.0, keep_tasks=3)


# --- the rest ------------------------------------------------------------------------


def test_a_camera_is_asked_what_and_whether(file):
    camera = Evcam(file).camera
    assert isinstance(camera, LedgerCamera)
    camera.check()
    assert camera.describe() == f"sqlite:{file}"
    touch(file)
    camera.reopen()
    camera.close()
