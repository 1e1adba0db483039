"""The page of a worker: whatever it answers, in lines that are safe to look at."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top.columns import RenderContext
from evtools.top.survey import PAGE_COMMANDS, Reply
from evtools.top.views.worker import SECTIONS, worker_page

NOW = 1795186532.0
TASK = {"id": "eacdf44c-x", "name": "shop.pay", "args": [1], "kwargs": {}}
STATS = {
    "pid": 77, "uptime": 429, "prefetch_count": 4, "total": {"shop.pay": 8},
    "pool": {"implementation": "prefork", "max-concurrency": 2, "processes": [78, 79],
             "timeouts": [0, 30], "max-tasks-per-child": "N/A"},
    "rusage": {"utime": 1.25, "stime": 0.5, "maxrss": 61440},
    "broker": {"hostname": "localhost", "port": 6379, "transport": "redis", "virtual_host": "3"},
}  # fmt: skip


def page(command, value, *, at=NOW - 3.0, p95=None):
    row = SimpleNamespace(hostname="w1@host", status="online")
    replies = {command: Reply(value, at)}
    survey = SimpleNamespace(page="w1@host", replies=replies, workers={}, waits_since={})
    return worker_page(row, (), (), (), survey, lambda _: p95, RenderContext(NOW))


def section(command, value, **how):
    title = next(title for title, commands in SECTIONS.items() if command in commands)
    return page(command, value, **how).sections[title]


@pytest.mark.parametrize(
    ("command", "value", "shown"),
    [
        ("active", [], ["No tasks."]),
        ("active", [{**TASK, "time_start": NOW - 90}], ["1m30s", "eacdf44c", "shop.pay", "(1,)"]),
        ("reserved", [TASK], ["eacdf44c", "shop.pay", "(1,)"]),
        ("scheduled", [{"eta": "2026-11-20T20:19:02+00:00", "request": TASK}], ["due", "shop.pay"]),
        ("scheduled", [{"eta": "2026-11-20T23:59:00", "request": TASK}], ["due in", "shop.pay"]),
        ("scheduled", [{"eta": "soon", "request": TASK}], ["soon", "shop.pay"]),
        ("stats", STATS, ["prefork", "78 79", "soft none, hard 30", "1.2s + 0.5s", "60 MiB", "8"]),
        ("active_queues", [{"name": "mail", "routing_key": "m", "durable": True,
                            "exchange": {"name": "x", "type": "direct"}}],
         ["mail", "exchange x (direct)", "key m", "durable"]),
        ("active_queues", [], ["It consumes no queue."]),
        ("registered", ["b", "a"], ["a", "b"]),
        ("revoked", [], ["None."]),
        ("conf", {"broker_url": "redis://:geheim@h/0", "my_token": "geheim", "x": {"a": 1}},
         ["broker_url = redis://**@h/0", "my_token = ********", 'x = {"a":1}']),
        ("conf", {}, ["Only Celery's own settings."]),
        ("stats", {"error": "boom\x1b[2J"}, [r"It could not say: boom\x1b[2J"]),
        ("stats", 7, ["Nothing that can be read."]),
    ],
)  # fmt: skip
def test_a_section_shows_what_the_worker_said_and_how_old_it_is(command, value, shown):
    text = "\n".join(section(command, value))
    assert [part for part in shown if part not in text] == []
    assert "3s ago" in text
    assert "geheim" not in text
    assert "\x1b" not in text


def test_a_task_that_runs_far_longer_than_usual_is_marked():
    tasks = [{**TASK, "time_start": NOW - 90}]
    assert "p95 10.0s) LONG" in section("active", tasks, p95=10.0)[1]
    assert "LONG" not in section("active", tasks, p95=80.0)[1]


def test_what_was_not_answered_yet_says_so():
    sections = page("active", []).sections
    assert [*sections] == [*SECTIONS, "Info"]
    assert sections["Config"] == ("Not asked yet.",)


def test_a_long_answer_is_cut():
    lines = section("registered", [f"t{number}" for number in range(9000)])
    assert len(lines) < 2100
    assert lines[-3] == "and 7000 more lines"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "name", "request", "eta", "pool", "rusage", "total", "exchange"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(PAGE_COMMANDS), values)
def test_any_answer_can_be_shown(command, value):
    for line in section(command, value):
        assert line.isprintable()
