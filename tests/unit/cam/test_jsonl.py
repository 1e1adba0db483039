"""Snapshots as lines of JSON: everything, once, completely or not at all."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.jsonl import JSONL, ChangedTasks, serialize_task, serialize_worker
from evtools.cam.schedule import Timer
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.wire import encode_line
from tools.disk import full_disk
from tools.stories import STORIES
from tools.told import UUID, WORKER, life, task_of, told


class Studio:
    """A camera and its state."""

    def __init__(self, clock, **options):
        self.state = State()
        self.camera = JSONL(self.state, timer=Timer(clock), **options)
        self.camera.load(self.camera._sequence, clock)

    def take(self, *events):
        self.camera.observe(self.state.apply(events))
        return self

    def shoot(self):
        self.camera.capture()
        return self


@pytest.fixture
def studio(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x.jsonl"))
    yield studio
    studio.camera.close()


def lines(path):
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def uuids(line):
    return [task["uuid"] for task in line["tasks"]]


# --- what is in a line -------------------------------------------------------------


def test_a_line_says_who_took_it_and_when(studio, tmp_path, clock):
    studio.shoot()
    clock.now = 1010.0
    studio.shoot()
    first, second = lines(tmp_path / "x.jsonl")
    assert (first["v"], first["warm"], first["gaps"]) == (1, False, [])
    assert (first["sequence"], second["sequence"], second["period"]) == (1, 2, 10.0)
    assert second["at"] == "1970-01-01T00:16:50.000000Z"
    assert (second["since"], second["evcam"]) == (first["at"], first["evcam"])
    assert second["pid"] == os.getpid()


def test_a_line_has_the_tasks_that_changed_since_the_one_before(studio, tmp_path):
    studio.take(*life("sent", "received", uuid="a"), *life("sent", uuid="b")).shoot()
    studio.take(told("task-started", 12.0, uuid="a")).shoot().shoot()
    one, two, three = lines(tmp_path / "x.jsonl")
    assert [uuids(each) for each in (one, two, three)] == [["a", "b"], ["a"], []]
    assert two["tasks"][0]["state"] == "STARTED"


def test_or_all_that_are_in_memory(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x"), tasks="all")
    studio.take(*life("sent", uuid="a"), *life("sent", uuid="b")).shoot().shoot()
    assert [uuids(line) for line in lines(tmp_path / "x")] == [["a", "b"]] * 2


def test_a_line_has_all_workers_as_they_are(studio, tmp_path, clock):
    studio.take(told("worker-heartbeat", 999.0)).shoot()
    clock.now = 1100.0
    studio.shoot()
    one, two = lines(tmp_path / "x.jsonl")
    assert one["workers"][0]["hostname"] == WORKER
    assert (one["statuses"], two["statuses"]) == ({"online": 1}, {"gone": 1})


def test_a_line_has_totals_since_the_start(studio, tmp_path):
    steps = ("sent", "received", "started", "succeeded")
    studio.take(*life(*steps) * 2).shoot()
    (line,) = lines(tmp_path / "x.jsonl")
    assert {name: count for name, count in line["steps"].items() if count} == dict.fromkeys(
        steps, 1
    )
    assert line["steps"]["failed"] == 0
    assert (line["events"], line["known"], line["open"]) == (8, 1, 0)


def test_a_task_that_the_state_forgets_is_written_all_the_same(studio, tmp_path):
    studio.state.max_tasks_in_memory = 1
    studio.take(*life("sent", uuid="a")).take(*life("sent", uuid="b")).shoot()
    (line,) = lines(tmp_path / "x.jsonl")
    assert uuids(line) == ["a", "b"]
    assert (line["known"], line["forgotten"], line["lost"]) == (1, 1, 0)


def test_whatever_is_in_an_event_it_is_one_line(studio, tmp_path):
    hostile = "two\nlines \x1b[31m \ud800 \u202e \0"
    everywhere = dict.fromkeys(("args", "name", "uuid", "hostname"), hostile)
    studio.take(told("task-received", **everywhere)).shoot()
    text = (tmp_path / "x.jsonl").read_text()
    assert len(text.splitlines()) == 1
    assert text.rstrip("\n").isprintable()
    assert uuids(json.loads(text))


# --- files -------------------------------------------------------------------------


def test_a_full_disk_leaves_no_torn_line_and_loses_nothing(studio, tmp_path, clock):
    path = tmp_path / "x.jsonl"
    studio.take(*life("sent", uuid="a")).shoot()
    clock.now = 1005.0
    studio.take(*life("sent", uuid="b"), *life("sent", uuid="lost"))
    full = full_disk(path.stat().st_size + 10)
    with full, pytest.raises(OutputError, match="too large"):
        studio.shoot()
    assert len(lines(path)) == 1
    clock.now = 1010.0
    studio.take(told("task-received", 11.0, uuid="b"), *life("sent", uuid="c")).shoot()
    _, line = lines(path)
    assert sorted(uuids(line)) == ["b", "c", "lost"]
    assert [task["state"] for task in line["tasks"] if task["uuid"] == "b"] == ["RECEIVED"]
    assert (line["sequence"], line["period"]) == (2, 10.0)


def test_after_logrotate_it_goes_on_under_its_name(studio, tmp_path):
    studio.shoot()
    (tmp_path / "x.jsonl").rename(tmp_path / "x.jsonl.1")
    studio.shoot()
    studio.camera.reopen()
    studio.shoot()
    assert [line["sequence"] for line in lines(tmp_path / "x.jsonl.1")] == [1, 2]
    assert [line["sequence"] for line in lines(tmp_path / "x.jsonl")] == [3]


@pytest.mark.parametrize("rotation", [{"rotate_size": 1}, {"rotate_every": 60.0}])
def test_files_are_rotated_by_size_or_age_and_the_newest_kept(tmp_path, clock, rotation):
    studio = Studio(clock, path=str(tmp_path / "x.jsonl"), rotate_keep=2, **rotation)
    for _ in range(5):
        studio.shoot()
        clock.now += 60
    names = ["x.jsonl", "x.jsonl.1", "x.jsonl.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [lines(tmp_path / name)[0]["sequence"] for name in names] == [5, 4, 3]


def test_lines_may_go_to_stdout_which_cannot_be_rotated(clock, capfd):
    studio = Studio(clock).shoot()
    studio.camera.check()
    studio.camera.reopen()
    studio.shoot().camera.close()
    assert len(capfd.readouterr().out.splitlines()) == 2
    with pytest.raises(UsageError, match="stdout cannot be rotated"):
        Studio(clock, rotate_size=1)


@pytest.mark.parametrize(
    ("path", "may", "why"),
    [
        (".", True, "it is a directory"),
        ("no/x", True, "there is no directory"),
        ("x", False, "permission denied"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_at_once(
    clock, tmp_path, monkeypatch, path, may, why
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_, **__: may)
    with pytest.raises(OutputError, match=why):
        Studio(clock, path=path).camera.check()


# === tasks and workers ===============================================================


def read(values):
    """Return values as they are read again."""
    return json.loads(encode_line(values))


def at(seconds):
    return f"1970-01-01T00:00:{seconds:09.6f}Z"


# fmt: off
SUCCESS = {
    "uuid": UUID, "name": "shop.pay", "state": "SUCCESS", "worker": WORKER,
    "client": "gen1@shop", "queue": "mail", "exchange": "", "routing_key": "mail",
    "root_id": UUID, "args": "(1,)", "kwargs": "{}", "result": "4",
    "sent": at(10), "received": at(11), "started": at(12), "ended": at(13),
    "runtime": 0.5, "wait": 2.0, "retries": 0,
    "first_heard": at(10.25), "last_heard": at(13.25),
}
RETRY = {
    "number": 0, "state": "RETRY", "worker": WORKER, "retries": 0,
    "sent": at(10), "received": at(10.5), "started": at(12), "ended": at(14),
    "runtime": 2.0, "exception": "OSError(1)",
}
ONLINE = {
    "hostname": WORKER, "status": "online", "last_heard": at(10.25), "online_since": at(9),
    "skew": -0.25, "pid": 77, "freq": 2.0, "active": 0, "processed": 0, "missed": 0,
    "loadavg": [0.5, 0.25, 0.125], "sw_ident": "py-celery", "sw_ver": "5.6.2",
    "sw_sys": "Linux", "extra": {"color": "red"},
}
# fmt: on


def test_a_task_is_what_is_known_of_it_and_of_its_earlier_attempts():
    task = task_of(life("sent", "received", "started", "succeeded"))
    assert read(serialize_task(task)) == SUCCESS
    failed = serialize_task(task_of(life("received", "failed")))
    assert (failed["exception"], failed["traceback"]) == ("OSError(5)", "Traceback\nOSError: 5")
    values = serialize_task(task_of(STORIES["retried in vain"].events))
    assert values["state"] == "FAILURE"
    assert [attempt["state"] for attempt in values["attempts"]] == ["RETRY", "RETRY"]
    assert values["attempts"][0] == RETRY


def test_custom_events_and_fields_are_there_and_do_not_change_later():
    state = State()
    state.apply([told("task-received", color="red", args="x" * 10**6)])
    state.apply([told("task-progress", done=1)])
    values = serialize_task(state.tasks[UUID])
    state.apply([told("task-progress", 11.0, done=2)])
    assert (values["extra"], values["note"]["done"]) == ({"color": "red"}, 1)
    assert len(values["args"]) < 20_000


def test_a_worker_is_what_is_known_of_it():
    state = State()
    state.apply([told("worker-online", 9.0), told("worker-heartbeat", 10.0, color="red")])
    worker = state.workers[WORKER]
    assert read(serialize_worker(worker, 11.0)) == ONLINE
    state.apply([told("worker-offline", 12.0)])
    values = serialize_worker(worker, 13.0)
    assert (values["goodbye"], values["status"]) == (at(12), "offline")


# === tasks that changed ==============================================================

LIFE = ("sent", "received", "started", "succeeded")


def changed_tasks(**bounds):
    return ChangedTasks(State(max_tasks_in_memory=3), **bounds)


def apply(changes, *steps, **fields):
    events = [
        told(f"task-{step}", 10.0 + LIFE.index(step), uuid=uuid, root_id=uuid, **fields)
        for uuid, step in steps
    ]
    changes.observe(changes.state.apply(events))


def receive(changes, uuids, **fields):
    """Let a task be received for each letter, one after the other."""
    for uuid in uuids:
        apply(changes, (uuid, "received"), **fields)


def taken(changes):
    return "".join(task.uuid for task in changes.take())


def test_a_task_that_comes_back_is_there_twice():
    changes = changed_tasks()
    receive(changes, "abcde")
    assert "a" not in changes.state.tasks
    apply(changes, ("a", "succeeded"))
    before, after = (task for task in changes.take() if task.uuid == "a")
    assert (before.state, before.name) == ("RECEIVED", "shop.pay")
    assert (after.state, after.name) == ("SUCCESS", None)


@pytest.mark.parametrize("bounds", [{"max_tasks": 2}, {"max_bytes": 7000}])
def test_beyond_the_bounds_the_oldest_are_dropped_and_counted(bounds):
    changes = changed_tasks(**bounds)
    receive(changes, "abcdefgh", args="x" * 2000)
    kept = len(changes.state.tasks) + 2
    assert changes.overflow == 8 - kept
    assert taken(changes) == "abcdefgh"[-kept:]


@pytest.mark.parametrize("again", ["", "a"])
def test_what_was_forgotten_meanwhile_is_bounded_again_and_counts_once(again):
    changes = changed_tasks(max_tasks=6)
    receive(changes, "abc")
    failed = changes.take()
    for uuid in again:
        apply(changes, (uuid, "started"))
    receive(changes, "defghij")
    changes.restore(failed)
    kept = len(changes.state.tasks) + 6
    assert changes.overflow == 10 - kept
    assert len(taken(changes)) == kept


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(LIFE)),
            st.sampled_from(["take", "fail", "clear"]),
        ),
        max_size=60,
    )
)
def test_whatever_happens_every_change_is_written(steps):
    changes = changed_tasks()
    open_ = set()
    for step in [*steps, "take"]:
        match step:
            case "take":
                assert open_ <= set(taken(changes))
                open_ = set()
            case "fail":
                changes.restore(changes.take())
            case "clear":
                changes.state.clear(ready=False)
            case pair:
                apply(changes, pair)
                open_.add(pair[0])
    assert changes.overflow == 0
