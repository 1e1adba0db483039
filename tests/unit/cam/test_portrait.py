"""Tasks and workers as JSON."""

import json

import pytest

from evtools.cam.portrait import of_task, of_worker
from evtools.state import State
from evtools.wire import encode_line
from tools.stories import STORIES
from tools.told import UUID, WORKER, life, task_of, told


def read(portrait):
    """Return a portrait as it is read again."""
    return json.loads(encode_line(portrait))


def test_a_task_is_what_is_known_of_it():
    task = task_of(life("sent", "received", "started", "succeeded"))
    assert read(of_task(task)) == {
        "uuid": UUID,
        "name": "shop.pay",
        "state": "SUCCESS",
        "worker": WORKER,
        "client": "gen1@shop",
        "queue": "mail",
        "exchange": "",
        "routing_key": "mail",
        "root_id": UUID,
        "args": "(1,)",
        "kwargs": "{}",
        "result": "4",
        "sent": "1970-01-01T00:00:10.000000Z",
        "received": "1970-01-01T00:00:11.000000Z",
        "started": "1970-01-01T00:00:12.000000Z",
        "ended": "1970-01-01T00:00:13.000000Z",
        "runtime": 0.5,
        "wait": 2.0,
        "retries": 0,
        "first_heard": "1970-01-01T00:00:10.250000Z",
        "last_heard": "1970-01-01T00:00:13.250000Z",
    }


def test_what_is_not_known_is_left_out():
    portrait = of_task(task_of([told("task-started")]))
    assert "name" not in portrait
    assert "ended" not in portrait
    assert "attempts" not in portrait
    assert None not in portrait.values()


def test_a_failure_has_its_traceback():
    portrait = of_task(task_of(life("received", "failed")))
    assert portrait["exception"] == "OSError(5)"
    assert portrait["traceback"] == "Traceback\nOSError: 5"


def test_earlier_attempts_are_there():
    portrait = of_task(task_of(STORIES["retried in vain"].events))
    assert portrait["state"] == "FAILURE"
    assert [attempt["state"] for attempt in portrait["attempts"]] == ["RETRY", "RETRY"]
    assert portrait["attempts"][0] == {
        "number": 0,
        "state": "RETRY",
        "worker": WORKER,
        "retries": 0,
        "sent": "1970-01-01T00:00:10.000000Z",
        "received": "1970-01-01T00:00:10.500000Z",
        "started": "1970-01-01T00:00:12.000000Z",
        "ended": "1970-01-01T00:00:14.000000Z",
        "runtime": 2.0,
        "exception": "OSError(1)",
    }


def test_custom_events_and_fields_are_there_and_do_not_change_later():
    state = State()
    state.apply([told("task-received", color="red"), told("task-progress", done=1)])
    portrait = of_task(state.tasks[UUID])
    state.apply([told("task-progress", 11.0, done=2)])
    assert portrait["extra"] == {"color": "red"}
    assert portrait["note"]["done"] == 1


def test_long_texts_are_cut():
    portrait = of_task(task_of([told("task-received", args="x" * 10**6)]))
    assert len(portrait["args"]) < 20_000


@pytest.mark.parametrize("text", ["\x1b[31m", "\ud800", "a\x00b"])
def test_whatever_is_in_them_can_be_written(text):
    event = told("task-received", name=text, args=text, uuid=text, hostname=text)
    (change,) = State().apply([event])
    assert read(of_task(change.subject))["uuid"]


def test_a_worker_is_what_is_known_of_it():
    state = State()
    state.apply([told("worker-heartbeat", 10.0, color="red")])
    worker = state.workers[WORKER]
    assert read(of_worker(worker, 11.0)) == {
        "hostname": WORKER,
        "status": "online",
        "last_heard": "1970-01-01T00:00:10.250000Z",
        "skew": -0.25,
        "pid": 77,
        "freq": 2.0,
        "active": 0,
        "processed": 0,
        "missed": 0,
        "loadavg": [0.5, 0.25, 0.125],
        "sw_ident": "py-celery",
        "sw_ver": "5.6.2",
        "sw_sys": "Linux",
        "extra": {"color": "red"},
    }
    assert of_worker(worker, 500.0)["status"] == "gone"


def test_a_worker_that_said_goodbye_says_when():
    state = State()
    state.apply([told("worker-online", 10.0), told("worker-offline", 12.0)])
    portrait = of_worker(state.workers[WORKER], 13.0)
    assert portrait["online_since"] == "1970-01-01T00:00:10.000000Z"
    assert portrait["goodbye"] == "1970-01-01T00:00:12.000000Z"
    assert portrait["status"] == "offline"
