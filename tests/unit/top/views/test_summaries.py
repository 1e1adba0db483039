"""Tests for evtools.top.views.summaries."""

import pytest

from evtools.filters import compile_filter, task_fields
from evtools.state import State, Statistics
from evtools.top.columns import RenderContext
from evtools.top.views.summaries import ErrorsView, QueuesView, TypesView, WorkersView
from evtools.transport.queues import Depth
from tools.life import Life


def cell(table, key, name):
    at = [slot.column.name for slot in table.slots].index(name)
    index = key if isinstance(key, int) else list(table.cursor.keys).index(key)
    return table.row(index).cells[at].strip()


def found(table, state, key):
    """Return the tasks that a row leads to."""
    view, text = table.drill(key)
    assert view == "tasks"
    matches = compile_filter(text, fields=task_fields()).matches
    return sorted(task.uuid for task in state.tasks.values() if matches(task))


# --- types --------------------------------------------------------------------


def types_of(*events, max_types=1000, cols=150):
    statistics, state = Statistics(max_types=max_types), State()
    statistics.take(state.apply(events))
    table = TypesView(statistics)
    table.resize(cols)
    table.refresh(RenderContext(max(event["local_received"] for event in events) + 1))
    return table, state


def test_types_that_fail_come_first():
    life = Life()
    events = [*life.success("a", "proj.ok"), *life.failure("b", "proj.bad")]
    events += [life.received("c", "proj.ok"), life.started("c")]
    table, _ = types_of(*events)
    assert list(table.cursor.keys) == ["proj.bad", "proj.ok"]
    assert cell(table, 0, "share") == "100.00"
    assert cell(table, 1, "share") == "0.00"
    assert cell(table, 1, "ok") == "1"
    assert cell(table, 1, "active") == "1"
    assert cell(table, 1, "run_max").endswith("ms")
    assert (table.row(0).style, table.row(1).style) == ("failure", "")


def test_a_type_that_completed_nothing_has_no_share():
    life = Life()
    table, _ = types_of(life.received("a"))
    assert cell(table, 0, "share") == "-"
    assert cell(table, 0, "run_p95") == "-"


def test_a_trend_is_drawn_and_exported():
    life = Life()
    events = []
    for number in range(200):
        events += life.success(str(number))
        life.now += 1
    table, _ = types_of(*events)
    assert set(cell(table, 0, "trend")) <= set("▁▂▃▄▅▆▇█")
    assert max(table.record("proj.add")["trend"]) > 0
    table.refresh(RenderContext(life.now, ascii=True))
    assert cell(table, 0, "trend").isascii()
    table.sort_by("trend")
    assert len(table) == 1


@pytest.mark.parametrize("name", ["proj.add", 'a "b" c', "-x", None])
def test_a_type_leads_to_its_tasks(name):
    life = Life()
    table, state = types_of(life.received("a", name), life.received("b", "proj.other"))
    key = next(key for key in table.cursor.keys if key != "proj.other")
    view, text = table.drill(key)
    assert view == "tasks"
    matches = compile_filter(text, fields=task_fields()).matches
    assert [task.uuid for task in state.tasks.values() if matches(task)] == ["a"]
    assert table.values(key) == {"name": key}


def test_what_had_no_room_leads_nowhere():
    life = Life()
    events = [life.received(str(number), f"proj.t{number}") for number in range(5)]
    table, _ = types_of(*events, max_types=2)
    assert table.drill("(others)") is None


# --- workers ------------------------------------------------------------------


class Workers:
    """A state with its workers as a table."""

    def __init__(self):
        self.life = Life()
        self.state, self.statistics = State(), Statistics()
        self.table = WorkersView(self.statistics, self.state)
        self.table.resize(200)

    def take(self, *events):
        self.statistics.take(self.state.apply(events))

    def refresh(self, after=1.0):
        self.table.refresh(RenderContext(self.life.now + after))
        return list(self.table.cursor.keys)

    def cells(self, name):
        at = [slot.column.name for slot in self.table.slots].index(name)
        return [self.table.row(n).cells[at].strip() for n in range(len(self.table))]


@pytest.fixture
def workers():
    return Workers()


def test_a_worker_tells_of_itself(workers):
    workers.take(workers.life.beat(active=15, processed=1_204_411))
    assert workers.refresh() == ["w1@host"]
    assert workers.cells("status") == ["online"]
    assert workers.cells("beat") == ["1.00s"]
    assert workers.cells("active") == ["15"]
    assert workers.cells("processed") == ["1204411"]
    assert workers.cells("load") == ["1.0 2.0 3.0"]
    assert workers.cells("version") == ["py-celery 5.6"]
    assert workers.table.row(0).style == "good"


def test_its_tasks_are_counted(workers):
    life = workers.life
    workers.take(life.beat(), *life.success("a"), *life.failure("b"))
    workers.refresh()
    assert workers.cells("share") == ["50.00"]
    assert workers.cells("run_p95")[0].endswith("ms")
    assert workers.cells("ok")[0].endswith("/s")


def test_those_that_need_a_look_come_first(workers):
    life = workers.life
    workers.take(life.beat("gone@h"))
    life.now += 300
    workers.take(life.event("worker-offline", hostname="stopped@h"))
    workers.take(life.beat("late@h"))
    life.now += 14
    workers.take(life.started("t", hostname="silent@h"), life.beat("up@h"))
    assert workers.refresh() == ["gone@h", "late@h", "silent@h", "stopped@h", "up@h"]
    assert workers.cells("status") == [*("gone 5m15s", "late 15s", "silent", "offline", "online")]
    styles = [workers.table.row(number).style for number in range(5)]
    assert styles == ["failure", "late", "waiting", "gone", "good"]


def test_a_clock_that_is_off_has_a_mark(workers):
    life = workers.life
    workers.take(life.beat("a@h", ahead=29.0), life.beat("b@h", ahead=-0.5))
    workers.take(life.started("t", hostname="c@h"))
    workers.table.sort_by("skew")
    assert workers.refresh() == ["a@h", "b@h", "c@h"]
    assert workers.cells("skew") == ["+29.0s !", "-500ms", "+0ms"]


def test_what_it_did_not_tell_is_not_made_up(workers):
    workers.take(workers.life.started("t", hostname="w1@host"))
    workers.refresh()
    for name in ("active", "processed", "load", "share", "run_p95", "version"):
        assert workers.cells(name) == ["-"]


def test_a_worker_that_is_away_runs_nothing_that_we_know_of(workers):
    life = workers.life
    workers.take(life.beat("gone@h", active=7), life.beat("offline@h", active=7))
    workers.take(life.event("worker-offline", hostname="offline@h", active=7))
    life.now += 300
    workers.refresh()
    assert workers.cells("active") == ["-", "-"]
    assert workers.table.record("gone@h")["active"] is None


def test_counts_are_whole_numbers_as_they_came(workers):
    workers.take(workers.life.beat(active=15, processed=1_204_411))
    workers.refresh()
    record = workers.table.record("w1@host")
    assert [type(record[name]) for name in ("active", "processed")] == [int, int]


def test_workers_that_left_are_counted(workers):
    workers.take(workers.life.beat("a@h"))
    workers.life.now += 5000
    workers.take(workers.life.beat("b@h"))
    assert workers.refresh() == ["b@h"]
    assert workers.table.notes() == ["1 workers that have left are not shown"]


def test_a_worker_leads_to_its_tasks(workers):
    life = workers.life
    workers.take(life.started("a"), life.started("b", hostname="other"))
    workers.refresh()
    view, text = workers.table.drill("w1@host")
    matches = compile_filter(text, fields=task_fields()).matches
    assert view == "tasks"
    assert [t.uuid for t in workers.state.tasks.values() if matches(t)] == ["a"]


def test_workers_can_be_filtered_by_what_they_are(workers):
    life = workers.life
    workers.take(life.beat("a@h", active=20), life.beat("b@h"))
    workers.refresh()
    assert workers.table.values("a@h") == {"worker": "a@h", "status": "online"}
    assert workers.table.values("x") == {}
    workers.table.narrow("status", "online")
    assert len(workers.table) == 2
    workers.table.set_filter("active>5 field.pid=7")
    assert list(workers.table.cursor.keys) == ["a@h"]
    workers.table.set_filter("field.nonsense:1")
    assert len(workers.table) == 0


# --- queues -------------------------------------------------------------------


def queues_of(*events, depths=None):
    statistics, state = Statistics(), State()
    statistics.take(state.apply(events))
    table = QueuesView(statistics)
    table.depths = depths or {}
    last = max((event["local_received"] for event in events), default=1000.0)
    table.refresh(RenderContext(last + 1))
    table.resize(160)
    return table, state


def test_a_queue_is_known_from_events():
    life = Life()
    table, _ = queues_of(*life.success("a"), life.sent("b"), life.sent("c"))
    assert cell(table, "mail", "backlog").startswith("2")
    assert cell(table, "mail", "consumers") == "1"
    assert cell(table, "mail", "published").endswith("/s")
    assert cell(table, "mail", "wait_p95").endswith("ms")


def test_what_cannot_be_known_has_its_reason():
    life = Life()
    table, _ = queues_of(life.received("a"))
    (key,) = table.cursor.keys
    assert cell(table, key, "backlog").startswith("? ")
    view, text = table.drill(key)
    assert (view, text) == ("tasks", "-has:queue")


def test_the_broker_is_shown_where_it_was_asked():
    life = Life()
    depths = {
        "mail": Depth(1742, 3),
        "idle": Depth(None, reason="no such queue"),
        "new": Depth(5, 2),
    }
    table, _ = queues_of(*life.success("a"), depths=depths)
    assert cell(table, "mail", "depth") == "1.7k"
    assert cell(table, "idle", "depth") == "? no such queue"
    assert cell(table, "new", "depth") == "5"
    assert cell(table, "new", "consumers") == "2"
    assert cell(table, "new", "backlog") == "? no event names it"
    assert cell(table, "new", "published") == "-"


def test_a_queue_the_broker_was_not_asked_about_has_no_depth():
    life = Life()
    table, _ = queues_of(*life.success("a"), depths={"other": Depth(0)})
    assert cell(table, "mail", "depth") == "-"


def test_there_is_a_column_for_depths_as_soon_as_there_are_any():
    life = Life()
    table, _ = queues_of(*life.success("a"))
    table.depths = {"mail": Depth(3)}
    table.refresh(table.context)
    assert cell(table, "mail", "depth") == "3"
    table.depths = {}
    table.refresh(table.context)
    assert "depth" not in [slot.column.name for slot in table.slots]


def test_a_queue_leads_to_its_tasks():
    life = Life()
    table, state = queues_of(life.sent("a", queue='a "b"'), life.sent("b"))
    view, text = table.drill('a "b"')
    matches = compile_filter(text, fields=task_fields()).matches
    assert view == "tasks"
    assert [task.uuid for task in state.tasks.values() if matches(task)] == ["a"]
    assert table.drill("(others)") is None
    assert table.values("mail") == {"name": "mail"}


def test_queues_can_be_filtered_by_any_of_their_figures():
    life = Life()
    table, _ = queues_of(*life.success("a"), life.sent("b", queue="slow"))
    table.set_filter("backlog>0")
    assert list(table.cursor.keys) == ["slow"]
    table.set_filter("f.name=mail")
    assert list(table.cursor.keys) == ["mail"]


# --- errors -------------------------------------------------------------------


def errors_of(*events):
    statistics, state = Statistics(max_groups=3), State()
    statistics.take(state.apply(events))
    table = ErrorsView(statistics)
    table.refresh(RenderContext(events[-1]["local_received"] + 1))
    return table, state


def failures(exceptions, name="proj.add", **fields):
    life = Life()
    events = []
    for number, exception in enumerate(exceptions):
        events += life.failure(str(number), name, exception=exception, **fields)
    return events


def test_failures_that_differ_in_details_are_one_row():
    exceptions = ["KeyError('a 1')", "KeyError('a 2')", "OSError('x')"]
    table, _ = errors_of(*failures(exceptions))
    first = table.row(0)
    assert first.cells[0].strip() == "2"
    assert first.cells[-1].strip() == "KeyError: a *"
    assert first.style == "failure"
    assert len(table) == 2


def test_where_it_failed_is_a_worker_or_how_many():
    events = failures(["E()"])
    table, _ = errors_of(*events)
    assert table.row(0).cells[4].strip() == "w1@host"
    events += Life(2000.0).failure("x", exception="E()", hostname="w2@host")
    table, _ = errors_of(*events)
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
    table, state = errors_of(*events)
    key = next(key for key in table.cursor.keys if "Other" not in key)
    assert found(table, state, key) == [str(n) for n in range(len(exceptions))]


def test_a_wrapped_exception_is_found_in_its_traceback():
    events = failures(
        ["ExceptionWithTraceback()"],
        traceback="Traceback:\nbilliard.TimeLimitExceeded: TimeLimitExceeded(3,)",
    )
    table, state = errors_of(*events)
    (key,) = table.cursor.keys
    assert "TimeLimitExceeded" in key
    assert found(table, state, key) == ["0"]


def test_a_task_without_a_name_is_found_as_such():
    life = Life()
    table, state = errors_of(life.failed("t"))
    (key,) = table.cursor.keys
    assert found(table, state, key) == ["t"]


def test_failures_without_room_lead_nowhere():
    table, _ = errors_of(*failures([f"E{'x' * number}()" for number in range(1, 9)]))
    key = next(key for key in table.cursor.keys if key.startswith("(others)"))
    assert table.drill(key) is None
    assert table.drill("gone") is None
    assert table.values("gone") == {}
    assert table.detail("gone") is None


def test_a_detail_has_a_sample_and_all_workers():
    table, _ = errors_of(*failures(["KeyError('a 1')", "KeyError('a 2')"]))
    key = table.focus_key
    detail = table.detail(key)
    assert detail.title == "proj.add KeyError"
    assert "  KeyError('a 2')" in detail.sections["Info"]
    assert "  w1@host" in detail.sections["Info"]
    assert table.values(key) == {"name": "proj.add", "exc": "KeyError: a *"}
    assert table.record(key)["workers"] == ["w1@host"]
