"""Cameras that are databases: however the events are shared out, one cluster."""

import sqlite3
from collections import Counter
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.database import camera as module
from evtools.cam.database.sqlite import APPLICATION_ID
from evtools.errors import OutputError
from evtools.transport.recording.database import TASKS, VERSION
from tools.clock import FakeClock
from tools.ledgers import Evcam, common, contents, written
from tools.stories import STORIES, UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, file):
    """Return the file of SQLite, or the URL of PostgreSQL."""
    return file if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def change(file, statement, *values):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(statement, values)


# --- many evcams, one database -------------------------------------------------------

_BEATS = [
    told(kind, at, hostname=hostname, active=int(at), zone={"eu": [1, None]})
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
    """Events, and what becomes of them: (evcam, event) in an order, None is a snapshot."""
    names = draw(st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=4))
    events = _cluster(list(dict.fromkeys(names)))
    order = draw(st.permutations(events))
    evcams = draw(st.integers(1, 3))
    steps = [(draw(st.integers(0, evcams - 1)), event) for event in order]
    for place in draw(st.lists(st.integers(0, len(steps)), max_size=12)):
        steps.insert(place, (draw(st.integers(0, evcams - 1)), None))
    twice = draw(st.lists(st.sampled_from(steps), max_size=5))
    return events, evcams, [*steps, *twice]


def _ends_in_the_rows_of_one(database, shared, tmp_path):
    events, evcams, steps = shared
    every = [Evcam(database) for _ in range(evcams)]
    for number, event in steps:
        if event is None:
            every[number].shoot()
        else:
            every[number].hear([event])
    for evcam in every:
        evcam.shoot()
        evcam.close()
    one = written(tmp_path / f"one{next(_numbers)}.db", events)
    del one["snapshots"]
    return common(database) == one


_OPTIONS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=60, **_OPTIONS)
@given(_shared_out())
def test_events_shared_out_among_evcams_end_in_the_rows_of_one(tmp_path, shared):
    assert _ends_in_the_rows_of_one(tmp_path / f"many{next(_numbers)}.db", shared, tmp_path)


@settings(max_examples=10, **_OPTIONS)
@given(_shared_out())
def test_so_they_do_in_postgresql(postgres_server, tmp_path, shared):
    assert _ends_in_the_rows_of_one(postgres_server.fresh_url(), shared, tmp_path)


def test_an_event_that_two_evcams_receive_counts_as_of_its_first_and_last_receipt(file):
    later = [e | {"local_received": e["local_received"] + 0.125} for e in life("sent")]
    for batches in ([later, life("sent")], [life("sent"), later]):
        [task] = written(file, *batches)["tasks"]
        assert task["first_heard"] == "1970-01-01T00:00:10.250000Z"
        assert task["last_heard"] == "1970-01-01T00:00:10.375000Z"


def test_attempts_that_turn_out_to_be_one_are_one(file):
    _, received, started, *again = UNUSUAL["retried at the same worker"].events
    again_sent, again_received, _, again_started, _ = again
    # Without its receipt, the second start may be that of a redelivery.
    rows = written(file, [received, started, again_sent, again_started])
    assert [each["number"] for each in rows["attempts"]] == [0, 0]
    rows = written(file, [again_received])
    assert [each["number"] for each in rows["attempts"]] == [0]


def test_a_row_of_which_there_is_no_news_is_not_written(file):
    events = [*UNUSUAL["retried in vain"].events, *life("received", uuid="other"), *_BEATS]
    once = written(file, events)
    for table in ("tasks", "workers"):
        change(
            file,
            f"CREATE TRIGGER written_{table} BEFORE UPDATE ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'it was written'); END",
        )
    again = written(file, events)
    assert len(again.pop("snapshots")) == 2
    assert again == {name: once[name] for name in again}
    with pytest.raises(OutputError, match="it was written"):
        written(file, life("started", uuid="other"))


def test_a_snapshot_can_be_looked_at_before_it_is_written(file):
    events = [*UNUSUAL["retried in vain"].events, told("worker-online", 1.0)]
    evcam = Evcam(file)
    evcam.hear(events)
    info = evcam.camera._sequence.next(2.0)
    rows = evcam.camera.snapshot(info).as_dict()
    assert list(rows) == ["tasks", "attempts", "workers", "snapshots"]
    assert [len(each) for each in rows.values()] == [1, 2, 1, 1]
    assert rows["tasks"] == written(file, events)["tasks"]


# --- what goes wrong -----------------------------------------------------------------


def test_a_snapshot_that_cannot_be_written_comes_with_the_next(tmp_path):
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


def test_a_snapshot_that_fails_leaves_nothing(database):
    evcam = Evcam(database)
    evcam.hear(life("sent"))
    put = evcam.camera.put

    def fail(table, *rows):
        if table.name == "snapshots":
            raise ZeroDivisionError
        return put(table, *rows)

    evcam.camera.put = fail
    with pytest.raises(ZeroDivisionError):
        evcam.shoot()
    evcam.hear(life("received"))
    evcam.camera.put = put
    assert contents(database)["tasks"] == []
    evcam.shoot()
    evcam.close()
    assert [row["events"] for row in contents(database)["snapshots"]] == [2]


def test_tables_of_an_older_version_are_changed_and_those_of_a_newer_one_left_alone(
    database, monkeypatch
):
    written(database, life("sent"))
    camera = Evcam(database).camera
    kind, steps = type(camera), {VERSION: [f"ALTER TABLE {camera.place(TASKS)} ADD mood text"]}
    with monkeypatch.context() as newer:
        newer.setattr(kind, "version", VERSION + 1)
        newer.setattr(kind, "migrations", steps)
        Evcam(database).camera.check()
        [task] = written(database, life("received"))["tasks"]
        assert task["state"] == "RECEIVED"
    for call in (Evcam(database).camera.check, Evcam(database).shoot):
        with pytest.raises(OutputError, match="written by a newer evcam") as raised:
            call()
        assert "update evtools" in raised.value.hint
    assert len(contents(database)["snapshots"]) == 2


def _executed(database, *statements):
    """Execute statements, and return the rows of the last one."""
    with closing(
        psycopg.connect(database, autocommit=True)
        if isinstance(database, str)
        else sqlite3.connect(database, isolation_level=None)
    ) as connection:
        return [connection.execute(each) for each in statements][-1].fetchall()


def _restored(database):
    """Make a database as evcam 0.1.0 wrote it, of the STORIES of that time, and what others add."""
    kind = "postgres" if isinstance(database, str) else "sqlite"
    dump = Path(__file__).with_name(f"evcam-0.1.0.{kind}.sql").read_text()
    to = "evcam." if kind == "postgres" else ""
    view = f"SELECT t.name, a.place FROM {to}tasks t JOIN {to}attempts a ON a.uuid = t.uuid"
    added = (
        f"CREATE VIEW {to}mine AS {view}",
        f"CREATE INDEX of_client ON {to}tasks (client)",
        "SELECT 1",
    )
    if kind == "postgres":
        _executed(database, dump, *added)
        return to
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump)
    # These are not in a dump.
    _executed(database, *added, f"PRAGMA application_id = {APPLICATION_ID}",
              "PRAGMA user_version = 1")  # fmt: skip
    return to


def test_a_database_that_evcam_0_1_wrote_is_changed_in_place_and_keeps_all_there_is(
    database, caplog
):
    caplog.set_level("INFO")
    to = _restored(database)
    Evcam(database).camera.check()
    rows = written(database, [told("task-succeeded", 20.0, uuid="running")])
    assert "become those of version 2" in caplog.text
    assert {row["cluster"] for table in rows.values() for row in table} == {""}
    tasks = {row["uuid"]: row for row in rows["tasks"]}
    states = {uuid: STORIES[uuid].attempts[-1] for uuid in tasks}
    assert len(states) == 34
    assert {uuid: row["state"] for uuid, row in tasks.items()} == states | {"running": "SUCCESS"}
    assert tasks["running"]["started"] == "1970-01-01T00:00:12.000000Z"
    earlier = Counter(row["uuid"] for row in rows["attempts"])
    assert earlier == {uuid: n for uuid in tasks if (n := len(STORIES[uuid].attempts) - 1)}
    assert tasks["succeeded"]["note"]["done"] == 1
    assert [row["goodbye"] for row in rows["workers"]] == ["1970-01-01T00:00:30.000000Z"] * 2
    assert sum(row["events"] for row in rows["snapshots"]) == 181
    # What somebody has added is still there, and attempts go with their task.
    names = "indexname FROM pg_indexes" if to else "name FROM sqlite_master"
    assert {("of_client",), ("tasks_root_id",)} <= {*_executed(database, f"SELECT {names}")}
    assert len(_executed(database, f"SELECT * FROM {to}mine")) == len(rows["attempts"])
    cascades = () if to else ("PRAGMA foreign_keys = ON",)
    ends = (f"DELETE FROM {to}tasks", f"SELECT count(*) FROM {to}attempts")
    assert _executed(database, *cascades, *ends) == [(0,)]


def test_what_has_the_same_name_in_two_clusters_is_two_rows_of_a_snapshot(database):
    prod, eu = Evcam(database, cluster="prod"), Evcam(database, cluster="eu")
    prod.camera.lead([prod.camera, eu.camera])
    prod.hear([*UNUSUAL["retried in vain"].events, *_BEATS])
    eu.hear(life("sent", "received"))
    prod.shoot()
    rows = contents(database)
    for table, key in (("tasks", "uuid"), ("workers", "hostname")):
        assert [row["cluster"] for row in rows[table] if row[key] in {UUID, WORKER}] == [
            "eu",
            "prod",
        ]
    assert {row["cluster"] for row in rows["attempts"]} == {"prod"}
    assert {(row["cluster"], row["events"]) for row in rows["snapshots"]} == {
        *(("eu", 2), ("prod", len(UNUSUAL["retried in vain"].events)))
    }
    # What was not written of one is written of neither, and comes with the next.
    put = prod.camera.put
    prod.camera.put = lambda table, rows, read=None: (
        1 / 0 if rows and rows[0][-1] == "prod" else put(table, rows, read)
    )
    eu.hear(life("started", start=12.0))
    prod.hear(life("received", start=30.0, uuid="other"))
    with pytest.raises(ZeroDivisionError):
        prod.shoot()
    assert contents(database) == rows
    del prod.camera.put
    prod.shoot()
    prod.close()
    after = contents(database)["tasks"]
    assert {(row["cluster"], row["uuid"], row["state"]) for row in after} == {
        *(("prod", UUID, "FAILURE"), ("eu", UUID, "STARTED"), ("prod", "other", "RECEIVED"))
    }


def test_what_was_dropped_is_reported(file, caplog):
    [snapshot] = written(file, life("sent", "received"), max_waiting=1)["snapshots"]
    assert "2 events were dropped" in caplog.text
    assert (snapshot["lost"], snapshot["events"], snapshot["tasks"]) == (2, 0, 0)


def test_many_tasks_are_written_a_few_at_a_time(file):
    big = {"args": "x" * 16_000, "kwargs": "y" * 16_000}
    events = [told("task-received", uuid=f"{n:04}", **big) for n in range(300)]
    events += [told("task-received", uuid=f"small{n:04}") for n in range(2100)]
    rows = written(file, events)
    assert len(rows["tasks"]) == 2400
    assert rows["snapshots"][0]["tasks"] == 2400


ODD = '{"first": 1, "last": 1, "steps": [["received", 11.0, {"retries": "x"}]]}'
UNKNOWN = '{"first": 1, "last": 1, "steps": [["eaten", 1]]}'


@pytest.mark.parametrize("heard", ["nothing", "{", None, UNKNOWN, ODD])
def test_what_somebody_else_wrote_into_a_row_is_written_over(file, caplog, heard):
    written(file, [*life("sent"), told("worker-online", 1.0)])
    change(file, "UPDATE tasks SET heard = ?", heard)
    change(file, "UPDATE workers SET heard = ?", heard)
    rows = written(file, life("received", "started", start=20.0))
    [task], [worker] = rows["tasks"], rows["workers"]
    assert (task["state"], task["sent"], task["retries"]) == ("STARTED", None, 0)
    assert worker["pid"] is None
    assert f"task {UUID}: its earlier events are unreadable" in caplog.text


# --- clocks --------------------------------------------------------------------------


def test_clocks_that_are_off_by_seconds_are_noted_with_the_tasks_of_those_senders(file):
    evcam = Evcam(file)
    evcam.hear(
        [
            told("worker-heartbeat", 100.0, local_received=95.3),
            told("worker-heartbeat", 100.0, local_received=100.9, hostname=OTHER),
            told("task-sent", 90.0, local_received=95.0),
            told("task-started", 50.0, local_received=95.0, hostname="mute@x", uuid="mute"),
            told("task-started", 100.0, local_received=95.0, hostname=WORKER, uuid="one"),
        ]
    )
    snapshot = evcam.camera.snapshot(evcam.camera._sequence.next(2.0))
    assert snapshot.ahead == {WORKER: 4, CLIENT: -5}
    heard = {row["uuid"]: row["heard"] for row in snapshot.as_dict()["tasks"]}
    assert '"ahead":{"celery@one":4}' in heard["one"]
    assert "ahead" not in heard["mute"]


def test_clocks_do_not_matter_in_whatever_snapshot_they_are_noticed(tmp_path):
    def behind(seconds, events):
        return [event | {"local_received": event["local_received"] + seconds} for event in events]

    beats = [
        *behind(30.0, [told("worker-heartbeat", 4.0, hostname=OTHER)]),
        told("worker-heartbeat", 4.0),
    ]
    there = life("received", "started", "succeeded", start=5.0, hostname=OTHER)
    events = [*life("received", "started", "rejected"), *behind(30.0, there)]
    one = written(tmp_path / "one.db", [*beats, *events])
    two = Evcam(tmp_path / "two.db")
    two.hear(beats)
    for event in events:
        two.hear([event])
        two.shoot()
    two.close()
    assert {**one, "snapshots": []} == {**common(tmp_path / "two.db"), "snapshots": []}
    [task] = one["tasks"]
    assert (task["state"], task["worker"]) == ("SUCCESS", OTHER)


# --- old rows ------------------------------------------------------------------------


def swept(evcam, at, database):
    """Return how many rows there are after a sweep at a time, and the uuids of the tasks."""
    evcam.camera.clock = FakeClock(at)
    evcam.camera.sweep()
    rows = contents(database)
    return [len(each) for each in rows.values()], [task["uuid"] for task in rows["tasks"]]


def test_a_sweep_removes_what_is_too_old_with_what_belongs_to_it(database, caplog):
    caplog.set_level("INFO")
    evcam = Evcam(database, keep=100.0, keep_failed=200.0)
    evcam.camera.clock = FakeClock(100.0)
    retried = UNUSUAL["retried in vain"].events
    evcam.hear([event | {"uuid": "old failure"} for event in retried])
    evcam.hear(life("succeeded", uuid="old success"))
    evcam.hear(life("succeeded", uuid="new success", start=60.0))
    evcam.shoot()
    assert swept(evcam, 150.0, database) == ([2, 2, 1, 1], ["new success", "old failure"])
    assert f"{evcam.camera.describe()}: removed old rows: tasks 1" in caplog.text
    assert swept(evcam, 1000.0, database) == ([0, 0, 0, 0], [])
    evcam.close()


def test_more_tasks_than_are_kept_go_however_new_they_are(database):
    # No time is so long ago as what is kept for that long.
    evcam = Evcam(database, keep=1e12, keep_failed=0, keep_tasks=4)
    evcam.hear([event for n in range(4) for event in life("sent", uuid=f"u{n}", start=n)])
    evcam.shoot()
    assert swept(evcam, 1e9, database)[1] == ["u0", "u1", "u2", "u3"]
    evcam.hear([event for n in range(4, 9) for event in life("sent", uuid=f"u{n}", start=n)])
    evcam.shoot()
    assert swept(evcam, 1e9, database) == ([4, 0, 0, 2], ["u5", "u6", "u7", "u8"])
    evcam.close()


def test_a_long_sweep_goes_on_after_the_next_snapshots(file, monkeypatch):
    monkeypatch.setattr(module, "_SLICE_ROWS", 2)
    monkeypatch.setattr(module, "_SWEEP_SLICES", 3)
    monkeypatch.setattr(module, "_SNAPSHOT_SLICES", 2)
    evcam = Evcam(file, keep=0, keep_failed=1.0, keep_tasks=0)
    evcam.hear([event for n in range(12) for event in life("sent", uuid=f"u{n}")])
    left = []
    for sweeps in (False, True, False, False, False):
        evcam.shoot()
        if sweeps:
            evcam.camera.sweep()
        left.append(len(contents(file)["tasks"]))
    evcam.close()
    assert left == [12, 6, 2, 0, 0]
