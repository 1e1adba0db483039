"""Tests for evtools.top.views.errors."""

import pytest

from evtools.filters import compile_filter, task_fields
from evtools.state import State, Statistics
from evtools.top.columns import Lens
from evtools.top.views.errors import ErrorsView
from tools.clock import FakeClock
from tools.life import Life


def shown(*events):
    statistics, state = Statistics(max_groups=3), State()
    statistics.take(state.apply(events))
    table = ErrorsView(statistics, FakeClock().wall)
    table.refresh(Lens(events[-1]["local_received"] + 1))
    return table, state


def failures(exceptions, name="proj.add", **fields):
    life = Life()
    events = []
    for number, exception in enumerate(exceptions):
        events += life.failure(str(number), name, exception=exception, **fields)
    return events


def found(table, state, key):
    view, text = table.drill(key)
    assert view == "tasks"
    matches = compile_filter(text, fields=task_fields()).matches
    return sorted(task.uuid for task in state.tasks.values() if matches(task))


def test_failures_that_differ_in_details_are_one_row():
    exceptions = ["KeyError('a 1')", "KeyError('a 2')", "OSError('x')"]
    table, _ = shown(*failures(exceptions))
    first = table.row(0)
    assert first.cells[0].strip() == "2"
    assert first.cells[-1].strip() == "KeyError: a *"
    assert first.style == "failure"
    assert len(table) == 2


def test_where_it_failed_is_a_worker_or_how_many():
    events = failures(["E()"])
    table, _ = shown(*events)
    assert table.row(0).cells[4].strip() == "w1@host"
    events += Life(2000.0).failure("x", exception="E()", hostname="w2@host")
    table, _ = shown(*events)
    assert table.row(0).cells[4].strip() == "2"


@pytest.mark.parametrize(
    "exceptions",
    [
        ["KeyError('a 1')", "KeyError('a 22')"],
        ["E('(a|b) [x] 1.5')", "E('(a|b) [x] 2')"],
        ["E()"],
        ["E('it\\'s \"7\" gone')"],
    ],
)
def test_a_row_leads_to_its_tasks(exceptions):
    events = failures([*exceptions, "Other('a 1')"])
    table, state = shown(*events)
    key = next(key for key in table.cursor.keys if "Other" not in key)
    assert found(table, state, key) == [str(n) for n in range(len(exceptions))]


def test_a_wrapped_exception_is_found_in_its_traceback():
    events = failures(
        ["ExceptionWithTraceback()"],
        traceback="Traceback:\nbilliard.TimeLimitExceeded: TimeLimitExceeded(3,)",
    )
    table, state = shown(*events)
    (key,) = table.cursor.keys
    assert "TimeLimitExceeded" in key
    assert found(table, state, key) == ["0"]


def test_a_task_without_a_name_is_found_as_such():
    life = Life()
    table, state = shown(life.failed("t"))
    (key,) = table.cursor.keys
    assert found(table, state, key) == ["t"]


def test_what_had_no_room_leads_nowhere():
    table, _ = shown(*failures([f"E{'x' * number}()" for number in range(1, 9)]))
    key = next(key for key in table.cursor.keys if key.startswith("(others)"))
    assert table.drill(key) is None
    assert table.drill("gone") is None
    assert table.values("gone") == {}
    assert table.detail("gone") is None


def test_a_detail_has_a_sample_and_all_workers():
    table, _ = shown(*failures(["KeyError('a 1')", "KeyError('a 2')"]))
    key = table.focus_key
    detail = table.detail(key)
    assert detail.title == "proj.add KeyError"
    assert "  KeyError('a 2')" in detail.sections["Info"]
    assert "  w1@host" in detail.sections["Info"]
    assert table.values(key) == {"name": "proj.add", "exc": "KeyError: a *"}
    assert table.record(key)["workers"] == ["w1@host"]
