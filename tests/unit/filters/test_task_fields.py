"""Tests for evtools.filters.task_fields."""

from types import SimpleNamespace

import pytest

from evtools.errors import FilterError
from evtools.filters.fields import EVENT_FIELDS
from evtools.filters.filter import compile_filter
from evtools.filters.task_fields import TASK_FIELDS, running_since, task_fields

NOW = 1000.0


class Task(SimpleNamespace):
    """What a filter may ask of a task."""

    def __init__(self, **fields):
        usual = {"state": "SUCCESS", "uuid": "7a8b8d37", "name": "proj.add"}
        usual |= {"hostname": "w1@ip-10-2", "worker": SimpleNamespace(skew=2.0)}
        usual |= {"timestamp": 990.0, "local_received": 991.5, "runtime": None}
        usual |= {"started": None, "ready": True}
        super().__init__(**{**usual, **fields})

    def get(self, name, default=None):
        return getattr(self, name, default)

    def lost(self, now):
        return self.state == "STARTED" and now > 1500


def matches(text, task, now=NOW):
    table = task_fields(lambda: now)
    return compile_filter(text, fields=table, now=lambda: now).matches(task)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("state:failure,retry", {"state": "RETRY"}),
        ("state:bad", {"state": "REVOKED"}),
        ("state:active", {"state": "STARTED"}),
        ("state:run", {"state": "STARTED"}),
        ("name:proj.*", {}),
        ("-name:other", {}),
        ("worker:w1 host=ip-10-2", {}),
        ("uuid:7a8b", {}),
        ("add", {}),
        ("w1@", {}),
        ("SUCC", {}),
        ("kwargs:queue=priority", {"kwargs": "{'queue': 'priority'}"}),
        ("result:42", {"result": "42"}),
        ("exc~^Card", {"state": "FAILURE", "exception": "CardError()"}),
        ("has:tb", {"traceback": "Traceback"}),
        ("-has:queue", {"queue": None}),
        ("queue:mail exchange=x", {"queue": "mail", "exchange": "x"}),
        ("routing_key=r", {"routing_key": "r"}),
        ("root:11c0 parent:4be1", {"root_id": "11c0", "parent_id": "4be1"}),
        ("tree:11c0", {"root_id": "11c0"}),
        ("tree:7a8b", {}),
        ("runtime>2", {"runtime": 2.5}),
        ("runtime:500ms..2s", {"runtime": 1}),
        ("wait>500ms queue_time<1s", {"wait": 0.6, "queue_time": 0.1}),
        ("age<10s", {}),
        ("retries>=3 pid=7 clock>1", {"retries": 3, "pid": 7, "clock": 2}),
        ("lag>1s", {}),
        ("sent:0:16 received:0:16", {"sent": 965.0, "received": 965.0}),
        ("started:0:16 done:0:16", {"started": 965.0, "done": 965.0}),
        ("eta>1970-01-01", {"eta": "1970-01-02T00:00:00Z"}),
        ("field.client:gen", {"client": "gen1@host"}),
        ("lost:false", {}),
    ],
)  # fmt: skip
def test_a_task_is_asked_as_an_event_is(text, fields):
    assert matches(text, Task(**fields))


def test_a_running_task_has_run_so_far():
    running = Task(state="STARTED", started=902.0)
    assert running_since(running) == 900.0
    assert matches("runtime>99 runtime<101", running)
    assert not matches("runtime>99", Task(state="STARTED"))
    assert not matches("runtime>99", Task(state="RECEIVED", started=902.0))
    assert matches("runtime:0", Task(state="STARTED", started=5000.0))


def test_without_a_clock_neither_is_known():
    running = Task(state="STARTED", started=902.0)
    assert not compile_filter("runtime>0", fields=TASK_FIELDS).matches(running)
    assert not compile_filter("lost:false", fields=TASK_FIELDS).matches(running)


def test_a_clock_that_is_not_known_is_taken_for_right():
    assert running_since(Task(state="STARTED", started=5.0, worker=None)) == 5.0


def test_a_lost_task_is_found():
    running = Task(state="STARTED", started=902.0)
    assert not matches("lost:true", running)
    assert matches("lost:true", running, now=2000.0)


@pytest.mark.parametrize(
    ("text", "drifts"),
    [("age<5m", True), ("runtime>5", True), ("lost:true", True), ("name:x", False)],
)
def test_a_filter_knows_whether_time_alone_may_change_it(text, drifts):
    made = compile_filter(text, fields=task_fields(lambda: NOW), now=lambda: NOW)
    assert made.drifts is drifts


def test_what_no_task_could_tell_is_noted_once():
    mail = compile_filter("queue:mail OR result:3 OR done>0:00", fields=TASK_FIELDS)
    mail.matches(Task(state="STARTED", ready=False, queue=None))
    (note,) = mail.unknown("tasks")
    assert note.startswith("queue: unknown for 100% of tasks (task_send_sent_event")


def test_tasks_have_the_fields_of_events_but_the_type():
    assert set(TASK_FIELDS) == set(EVENT_FIELDS) - {"type"} | {"lost"}
    assert all(field.about for field in TASK_FIELDS.values())
    with pytest.raises(FilterError, match="unknown field"):
        compile_filter("type:task-*", fields=TASK_FIELDS)


@pytest.mark.parametrize("junk", [[], {}, True, "x", float("nan"), 10**400])
def test_any_json_in_any_field_is_survived(junk):
    fields = ("runtime", "wait", "started", "eta", "retries", "args", "queue", "root_id")
    task = Task(state="STARTED", **dict.fromkeys(fields, junk))
    for name, field in TASK_FIELDS.items():
        if name not in ("has", "any", "age"):
            matches(f"has:{name}" if name != "tree" else "tree:x", task)
            field.get(task)
    assert matches("runtime>5", task) in (True, False)
