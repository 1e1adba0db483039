"""Shots: a picture written over what is there, with nothing of it lost."""

import logging
import sqlite3

import pytest

from evtools.cam.ledger.notebook import Notebook
from evtools.cam.ledger.shot import Picture, ahead
from evtools.cam.ledger.tables import TABLES
from evtools.cam.snapshot import SnapshotSequence
from evtools.errors import OutputError
from evtools.state import State
from tools.ledgers import Evcam, common, contents, written
from tools.stories import STORIES, UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


def picture_of(*events, skewed=None):
    notebook = Notebook()
    notebook.observe(State().apply(events))
    frame = SnapshotSequence({}, started=1.0).next(2.0)
    return Picture(frame, notebook.take(), skewed or {})


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


def test_after_a_restart_that_forgot_all_a_task_is_still_known(file):
    sent, received, started, succeeded = life(*("sent", "received", "started", "succeeded"))
    for events in ([sent], [received, started], [succeeded]):
        rows = written(file, events)
    [task] = rows["tasks"]
    assert (task["name"], task["args"], task["client"]) == ("shop.pay", "(1,)", CLIENT)
    assert (task["state"], task["runtime"], task["wait"]) == ("SUCCESS", 0.5, 2.0)


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
    assert f"task {UUID}: what was heard is unreadable" in caplog.text


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
    assert ahead(state) == {WORKER: 4, CLIENT: -5}


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
