"""Texts that every database takes, and the events in files of evcam."""

import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.clock import SystemClock
from evtools.errors import UsageError
from evtools.transport.recording.database import (
    NAME_MAX,
    TEXT_MAX,
    clean,
    clean_end,
    clean_key,
    clean_name,
    clean_value,
    open_replay,
)
from evtools.transport.recording.reader import RecordingReader
from tools.ledgers import Evcam, common
from tools.stories import STORIES
from tools.told import OTHER, UUID, life, told


@given(st.text(st.characters(codec=None) | st.sampled_from("\0\ud83d\ude00\udfff")))
@example("\ud800")
@example("a\0b")
def test_every_text_becomes_one_that_a_database_takes_and_stays_that(text):
    for made in (clean(text), clean_end(text), clean_name(text), clean_key(text)):
        assert "\0" not in made
        made.encode()
        assert clean(made) == clean_end(made) == clean_name(made) == clean_key(made) == made


def test_what_can_be_kept_is_kept_down_to_the_last_value():
    text = "ünï\tcödé\n\x1b[31m 😀"
    assert clean(text) == text
    dirty = {"a\0": ["b\0\ud800c", {"c": ("\ud800", 1, None, 2.5, True)}]}
    assert clean_value(dirty) == {"a�": ["b��c", {"c": ["�", 1, None, 2.5, True]}]}


def test_long_texts_lose_their_end_and_tracebacks_their_beginning():
    text = "a" + "b" * TEXT_MAX + "c"
    assert clean(text) == "a" + "b" * (TEXT_MAX - 2) + "…"
    assert clean_end(text) == "…" + "b" * (TEXT_MAX - 2) + "c"
    assert clean_name(text) == "a" + "b" * (NAME_MAX - 2) + "…"


def test_different_keys_stay_different_however_long_they_are():
    keys = ["k" * NAME_MAX, "k" * 300 + "1", "k" * 300 + "2", "\ud800" * 300]
    made = [clean_key(each) for each in keys]
    assert made[0] == keys[0]
    assert len(set(made)) == len(keys)
    assert {len(each) for each in made} == {NAME_MAX}
    assert [clean_key(each) for each in made] == made


# --- the events in a file ------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


def change(file, *statements):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def write(file, *batches, **options):
    evcam = Evcam(file, **options)
    for batch in batches:
        evcam.hear(batch)
        evcam.shoot()
    evcam.close()


def opened(file, **options):
    how = {"clock": SystemClock(), "speed": None, "since": None, "until": None, **options}
    return open_replay([f"sqlite:{file}"], **how)


def read(file, **options):
    """Return the events in a file, the notes on them, and what was counted."""
    reader, notices = opened(file, **options), []
    reader.on_notice = notices.append
    events = [event for batch in reader.events() for event in batch]
    return events, [notice.text for notice in notices if notice.text], reader.statistics()


_BEATS = [
    *(told("worker-online", 5.0), told("worker-heartbeat", 9.0, active=3, zone="eu")),
    *(told("worker-heartbeat", 9.0, hostname=OTHER), told("worker-offline", 30.0, hostname=OTHER)),
]


def test_of_the_events_in_a_database_a_state_makes_the_tasks_that_are_in_it(file, tmp_path):
    lives = [e | {"uuid": name, "root_id": name} for name in STORIES for e in STORIES[name].events]
    notes = [told("task-progress", 12.0, uuid=name, done=1) for name in STORIES]
    write(file, [*lives, *notes, told("task-started", 12.0, uuid=UUID, zone="eu"), *_BEATS])
    events, _, statistics = read(file)
    assert (len(events), statistics.defects) == (statistics.events, ())
    assert [e.local_received for e in events] == sorted(e.local_received for e in events)
    copy = Evcam(tmp_path / "copy.db")
    copy.camera.observe(copy.state.apply(events))
    copy.shoot()
    copy.close()
    rows = [common(each) for each in (file, tmp_path / "copy.db")]
    for worker in (worker for each in rows for worker in each["workers"]):
        # Of a worker, it is not kept when each of its events came.
        assert worker.pop("last_heard").startswith(("1970-01-01T00:00:3", "1970-01-01T00:00:1"))
        del worker["heard"]
    assert rows[0] == rows[1]


def many(count):
    return [event for n in range(count) for event in life("sent", "started", start=10.0 + 10 * n,
                                                          uuid=f"task-{n}")]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "tasks", "notes"),
    [
        ({}, "012345", ()),
        ({"max_tasks": 6}, "012345", ()),
        ({"max_tasks": 2}, "45", ("the newest 2 of 6 tasks; --max-tasks N reads more",)),
        ({"since": 35.0}, "345", ()),
        # It was received a quarter of a second later.
        ({"since": 31.25, "until": 45.0}, "23", ()),
        ({"since": time(0, 0, 35, tzinfo=UTC), "until": time(0, 0, 45, tzinfo=UTC)}, "3", ()),
        ({"until": time(0, 0, 45, tzinfo=UTC)}, "0123", ()),
        ({"since": 1e9}, "", ("no events at that time; the newest in ",)),
    ],
)
def test_the_newest_tasks_are_read_of_the_time_that_is_asked_for(file, options, tasks, notes):
    write(file, many(6))
    events, said, _ = read(file, **options)
    assert [e.uuid[-1] for e in events if e.type == "task-sent"] == list(tasks)
    assert len(said) == len(notes)
    assert all(text.startswith(note) for text, note in zip(said, notes, strict=True))


def test_what_came_after_the_end_that_is_asked_for_is_left_out_of_a_task(file):
    write(file, life("sent", "received", "started", "succeeded"))
    assert [event.type for event in read(file, until=12.3)[0]][-1] == "task-started"


def test_events_have_their_cluster_and_a_batch_is_of_one(file):
    for cluster in ("prod", "eu"):
        write(file, many(2), cluster=cluster)
    reader = opened(file)
    assert reader.clusters() == ["eu", "prod"]
    batches = [{event.cluster for event in batch} for batch in reader.events()]
    assert sorted(map(len, batches)) == [1] * len(batches)
    assert set().union(*batches) == {"prod", "eu"}


def test_gaps_and_what_evcam_had_to_drop_are_in_their_place(file):
    write(file, many(2))
    change(
        file,
        'UPDATE snapshots SET gaps = \'[{"reason": "reconnect", "from": 12, "to": 15}]\','
        " lost = 3, since = '1970-01-01T00:00:01Z', at = '1970-01-01T00:01:00Z'",
    )
    events, _, statistics = read(file)
    gaps = [(place, e.reason, e.dropped) for place, e in enumerate(events) if e.is_gap]
    assert gaps == [(2, "reconnect", 0), (5, "buffer", 3)]
    assert (statistics.gaps, statistics.gap_seconds, statistics.dropped) == (1, 3.0, 3)


@pytest.mark.parametrize("text", ["{", "[" * 99_999, '{"first":1,"last":1,"steps":[["no",1]]}', 7])
def test_a_row_that_nobody_can_read_costs_itself_and_is_counted(file, text):
    write(file, many(2), [told("worker-online", hostname=OTHER)])
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET heard = ? WHERE uuid = 'task-0'", (text,))
        connection.execute("UPDATE workers SET heard = ? WHERE hostname = ?", (text, OTHER))
    events, _, statistics = read(file)
    assert {event.uuid for event in events if event.uuid} == {"task-1"}
    assert [each.kind for each in statistics.defects] == ["unreadable row"]
    assert statistics.defects[0].count == (1 if "steps" in str(text) else 2)


def test_the_tables_of_an_earlier_version_are_read_without_a_cluster(file):
    write(file, many(2))
    change(file, "PRAGMA foreign_keys = OFF", "PRAGMA legacy_alter_table = ON")
    for table in ("tasks", "workers", "snapshots"):
        change(
            file,
            f"CREATE TABLE old AS SELECT * FROM {table}",
            f"DROP TABLE {table}",
            "ALTER TABLE old DROP COLUMN cluster",
            f"ALTER TABLE old RENAME TO {table}",
        )
    change(file, "PRAGMA user_version = 1")
    assert len(read(file)[0]) == 4
    assert opened(file).clusters() == []


# --- a file that others use ----------------------------------------------------------


def test_what_a_killed_evcam_has_left_is_read(file, tmp_path):
    evcam = Evcam(file)
    evcam.hear(many(3))
    evcam.shoot()
    for names in (("", "-wal"), ("", "-wal", "-shm")):
        (copy := tmp_path / f"copy{len(names)}").mkdir()
        for name in names:
            (copy / f"x{name}").write_bytes(Path(f"{file}{name}").read_bytes())
        assert len(read(copy / "x")[0]) == 6
    evcam.close()


def test_a_file_that_changes_while_nobody_holds_it_is_not_trusted(file):
    write(file, many(3))
    reader = opened(file)
    os.utime(file, (1, 1))
    with pytest.raises(UsageError, match=r"has changed while it was read"):
        list(reader.events())


# --- what is no database -------------------------------------------------------------


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda file: None, "cannot read {file}: No such file or directory"),
        (lambda file: file.mkdir(), "cannot read {file}: it is no regular file"),
        (lambda file: file.write_text("{}"), "{file} is not an SQLite database"),
        (lambda file: change(file, "CREATE TABLE tasks (x)"),
         "{file} is a database of another program than evcam"),
        (lambda file: [write(file, many(1)), change(file, "PRAGMA user_version = 99")],
         "{file} was written by a newer evcam (its tables are of version 99, this"),
        (lambda file: [write(file, many(9)), file.write_bytes(file.read_bytes()[:5000])],
         "cannot read {file}: database disk image is malformed"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_in_one_line(file, prepare, message):
    prepare(file)
    with pytest.raises(UsageError) as caught:
        list(opened(file).events())
    assert caught.value.message.startswith(message.format(file=file))
    assert "\n" not in caught.value.message


def test_without_psycopg_it_is_said_what_is_missing_and_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for url in ("postgres:service=x", "postgresql://h/d", "postgres://h/d"):
        with pytest.raises(UsageError, match="PostgreSQL needs psycopg, which") as caught:
            open_replay([url], clock=SystemClock(), speed=None, since=None, until=None)
        assert caught.value.hint == "pip install 'evtools[postgres]'"


def test_who_reads_a_database_as_a_recording_learns_how_it_is_read(file):
    write(file, many(1))
    with pytest.raises(UsageError, match="is no recording") as caught:
        list(RecordingReader(str(file), clock=SystemClock()).events())
    assert caught.value.hint == f"a database of evcam is read with sqlite:{file}"


def test_a_database_is_read_alone(file):
    with pytest.raises(UsageError, match="a database is read alone"):
        open_replay(
            [f"sqlite:{file}", "x"], clock=SystemClock(), speed=None, since=None, until=None
        )
