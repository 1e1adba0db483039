"""Summaries: types, workers, queues and kinds of failures."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from evtools.filters import compile_filter, task_fields
from evtools.rows import QueueFacts, WorkerFacts
from evtools.state import Statistics
from evtools.top.clusters import Clusters
from evtools.top.columns import RenderContext
from evtools.top.options import TopOptions
from evtools.top.views.queues import QueuesView
from evtools.top.views.summaries import ErrorsView, TypesView, WorkersView
from evtools.transport.queues import Depth, Plan, PlannedTask, Waiting
from tools.clock import FakeClock
from tools.life import Life


class Summary:
    """A state, its statistics, and a table of them."""

    def __init__(self, view, **bounds):
        self.life = Life()
        clusters = Clusters([""], TopOptions(), FakeClock())
        self.cluster = clusters[""]
        self.state, self.statistics = self.cluster.state, Statistics(**bounds)
        self.cluster.statistics = self.statistics
        self.table = view(clusters)
        self.table.resize(200)

    def take(self, *events):
        self.statistics.take(self.state.apply(events))
        return self

    def refresh(self, after=1.0, **context):
        self.table.refresh(RenderContext(self.life.now + after, **context))
        return list(self.table.keys)

    def cells(self, name):
        at = [slot.column.name for slot in self.table.slots].index(name)
        return [self.table.row(n).cells[at].strip() for n in range(len(self.table))]

    def page(self, key):
        """Return the lines of the first section of a row's page."""
        return next(iter(self.table.detail(key).sections.values()))

    def tints(self, name):
        """Return what a cell looks like, and the style of that, of each row."""
        at = [slot.column.name for slot in self.table.slots].index(name)
        rows = map(self.table.row, range(len(self.table)))
        return {row.cells[at].strip(): row.tints[at] for row in rows}

    def styles(self):
        return [self.table.row(n).style for n in range(len(self.table))]

    def tasks_of(self, key):
        """Return the tasks that a row leads to."""
        view, text = self.table.drill(key)
        assert view == "tasks"
        matches = compile_filter(text, fields=task_fields()).matches
        return sorted(task.uuid for task in self.state.tasks.values() if matches(task))


# --- types --------------------------------------------------------------------


def test_a_share_of_failures_has_a_colour_by_how_large_it_is(types):
    life = types.life
    for name, failed in (("proj.none", 0), ("proj.few", 1), ("proj.some", 2), ("proj.many", 10)):
        for number in range(40):
            make = life.failure if number < failed else life.success
            types.take(*make(f"{name}{number}", name))
    types.refresh()
    assert types.tints("share") == {"25.0": "failure", "5.0": "late", "2.5": "", "0": ""}


@pytest.fixture
def types():
    return Summary(TypesView)


def test_types_that_fail_come_first(types):
    life = types.life
    types.take(*life.success("a", "proj.ok"), *life.failure("b", "proj.bad"))
    types.take(life.received("c", "proj.ok"), life.started("c"), life.received("d", "proj.new"))
    assert types.refresh() == ["proj.bad", "proj.ok", "proj.new"]
    # What completed nothing has no share.
    assert types.cells("share") == ["100", "0", "-"]
    assert types.cells("ok") == ["0", "1", "0"]
    assert types.cells("active") == ["0", "1", "0"]
    assert types.cells("run_max") == ["100ms", "500ms", "-"]
    assert types.styles() == ["failure", "", ""]


@pytest.mark.parametrize(
    ("view", "name"),
    [(TypesView, "proj.add"), (WorkersView, "w1"), (QueuesView, "mail"), (ErrorsView, "proj.bad")],
)
def test_a_trend_is_drawn_and_exported(view, name):
    rows = Summary(view)
    for number in range(100):
        ends = *rows.life.success(f"s{number}"), *rows.life.failure(f"f{number}", "proj.bad")
        rows.take(*ends)
        rows.life.now += 2
    rows.table.sort_by("trend")
    at, key = next(pair for pair in enumerate(rows.refresh()) if name in pair[1])
    assert set(rows.cells("trend")[at]) <= set("▁▂▃▄▅▆▇█")
    assert max(rows.table.record(key)["trend"]) > 0
    rows.refresh(ascii=True)
    assert rows.cells("trend")[at].isascii()


@pytest.mark.parametrize("name", ["proj.add", 'a "b" c', "-x", None])
def test_a_type_leads_to_its_tasks(types, name):
    types.take(types.life.received("a", name), types.life.received("b", "proj.other"))
    key = next(key for key in types.refresh() if key != "proj.other")
    assert types.tasks_of(key) == ["a"]
    assert types.table.values(key) == {"name": key}


@pytest.mark.parametrize(("cols", "shown"), [(80, ["next"]), (120, ["period", "next"])])
def test_types_that_run_at_a_period_say_when(types, cols, shown):
    life, connection = types.life, types.cluster.connection
    connection.status = "live"
    for number in range(6):  # no worker has ever received one
        life.now = 1000.0 + 300 * number
        types.take(life.sent(f"r{number}", "proj.report"))
        if number == 3:
            # Where nothing has a period there is no column for it.
            types.refresh()
            assert not set(shown) & {slot.column.name for slot in types.table.slots}
    types.take(*life.success("a", "proj.ok"))
    life.now = 2500.0
    types.refresh(120.0)
    types.table.resize(cols)
    names = [slot.column.name for slot in types.table.slots]
    assert [name for name in names if name in ("period", "next", "overdue")] == shown
    at = types.table.keys.index("proj.report")
    assert types.cells("next")[at] == "in 3m"
    assert types.cells("next")[1 - at] == "-"
    record = types.table.record("proj.report")
    assert [record[name] for name in ("period", "next", "overdue")] == [300, 180.1, 0]
    assert [types.table.record("proj.ok")[name] for name in ("period", "next")] == [None, None]
    page = "\n".join(types.page("proj.report"))
    assert "period        5m\nlast run      00:41:40  1m ago\nnext run      00:46:40  in 3m" in page
    assert "events: 5 of the last 5 times in between agree" in page
    types.refresh(1021.0)
    types.table.choose_columns(["name", "period", "next", "overdue"])
    assert types.cells("period")[at] == "5m"
    assert (types.cells("next")[at], types.cells("overdue")[at]) == ("overdue 12m", "12m")
    assert types.styles()[at] == "late"
    types.table.set_filter("overdue>10m period<1h")
    assert types.table.keys == ["proj.report"]
    # The connection may hang, unless something came since.
    for late, latest, overdue in ((20.0, None, None), (20.0, 2810.0, 20.0), (40.0, None, 40.0)):
        types.cluster.intake.latest = latest
        types.refresh(300.1 + late)
        assert types.table.record("proj.report")["overdue"] == overdue
    # With a history of before and no connection yet, nobody knows.
    connection.status = "connecting"
    types.refresh(1021.0)
    assert types.table.record("proj.report")["overdue"] is None
    # Since then it has been watched for longer than a period, or shorter.
    for since, overdue in ((3000.0, 221.0), (3300.0, None)):
        connection.status, connection.live_since = "live", since
        types.refresh(1021.0)
        assert types.table.record("proj.report")["overdue"] == overdue


#: What RedBeat said at 1000: the task, how late it is by events, and what is shown at 1010.
PLANNED = {
    "in time": (PlannedTask("n", "proj.a", 1200.0, 900.0, 300.0), ("5m", "in 3m", 0.0)),
    # It may have been sent since 1000.
    "just due": (PlannedTask("n", "proj.a", 1005.0, 900.0, 300.0), ("5m", "in 0s", 0.0)),
    "overdue": (PlannedTask("n", "proj.a", 280.0, 100.0, 300.0), ("5m", "overdue 12m", 730.0)),
    "never": (PlannedTask("n", "proj.a", 900.0, None, 300.0), ("5m", "in 0s", 0.0)),
    "crontab": (PlannedTask("n", "proj.a", 4600.0, 1.0, None, "crontab 0 9 * * *"),
                ("-", "in 59m", 0.0)),
}  # fmt: skip


@pytest.mark.parametrize(("task", "shown"), PLANNED.values(), ids=PLANNED)
def test_what_redbeat_plans_is_shown_also_if_it_never_ran(types, task, shown):
    types.cluster.connection.status = "live"
    later = replace(task, name="later", due=task.due + 9)
    plan = Plan((later, task, replace(later, name="latest")))
    types.cluster.stats = SimpleNamespace(plan=lambda: (plan, 1000.0))
    assert types.refresh(10.0) == []
    types.cluster.asks_broker = True
    assert types.refresh(10.0) == ["proj.a"]
    overdue = types.table.record("proj.a")["overdue"]
    assert (*types.cells("period"), *types.cells("next"), overdue) == shown
    page = "\n".join(types.page("proj.a"))
    assert "RedBeat: n\n" in page
    assert task.schedule in page
    assert ("last run      never" in page) is (task.last is None)


def test_events_know_more_of_a_period_than_what_redbeat_said_before(types):
    life = types.life
    types.cluster.connection.status, types.cluster.asks_broker = "live", True
    for number in range(6):
        life.now = 1000.0 + 60 * number
        types.take(life.sent(f"r{number}", "proj.a"))
    tasks = [PlannedTask("n", "proj.a", 1300.0, 1240.0, every) for every in (60.0, 3600.0)]
    types.cluster.stats = SimpleNamespace(plan=lambda: (Plan((tasks.pop(0),)), 1290.0))
    types.refresh(10.0)
    assert types.table.record("proj.a")["next"] == 50
    assert "RedBeat: n; events: 5 of" in "\n".join(types.page("proj.a"))
    types.refresh(10.0)
    assert [types.table.record("proj.a")[name] for name in ("period", "next")] == [3600, 0]


def test_what_had_no_room_leads_nowhere():
    types = Summary(TypesView, max_types=2)
    types.take(*[types.life.received(str(number), f"proj.t{number}") for number in range(5)])
    assert "(others)" in types.refresh()
    assert types.table.drill("(others)") is None


# --- workers ------------------------------------------------------------------


@pytest.fixture
def workers():
    return Summary(WorkersView)


def test_a_worker_reports_itself_and_its_tasks_are_counted(workers):
    life = workers.life
    workers.take(life.beat(active=15, processed=1_204_411), *life.success("a"), *life.failure("b"))
    assert workers.refresh() == ["w1@host"]
    row = {name: workers.cells(name)[0] for name in ("status", "beat", "active", "processed")}
    assert row == {"status": "online", "beat": "1.00s", "active": "15", "processed": "1204411"}
    row = {name: workers.cells(name)[0] for name in ("load", "version", "share", "run_p95")}
    assert row == {
        "load": "1.0 2.0 3.0", "version": "py-celery 5.6", "share": "50.0", "run_p95": "500ms",
    }  # fmt: skip
    assert workers.cells("ok") == ["0.6"]
    assert workers.styles() == ["good"]
    record = workers.table.record("w1@host")
    assert [type(record[name]) for name in ("active", "processed")] == [int, int]


def test_those_that_need_a_look_come_first(workers):
    life = workers.life
    workers.take(life.beat("gone@h", active=7))
    life.now += 300
    workers.take(life.beat("stopped@h", active=7))
    workers.take(life.event("worker-offline", hostname="stopped@h", active=7))
    workers.take(life.beat("late@h"))
    life.now += 14
    workers.take(life.started("t", hostname="silent@h"), life.beat("up@h"))
    assert workers.refresh() == ["gone@h", "late@h", "silent@h", "stopped@h", "up@h"]
    assert workers.cells("status") == ["gone 5m15s", "late 15s", "silent", "offline", "online"]
    assert workers.styles() == ["failure", "late", "waiting", "gone", "good"]
    # One that is away runs nothing that we know of.
    assert workers.cells("active") == ["-", "1", "-", "-", "1"]
    assert workers.table.record("gone@h")["active"] is None


def test_a_clock_that_is_off_has_a_mark(workers):
    life = workers.life
    workers.take(life.beat("a@h", ahead=29.0), life.beat("b@h", ahead=-0.5))
    workers.take(life.started("t", hostname="c@h"))
    workers.table.sort_by("skew")
    assert workers.refresh() == ["a@h", "b@h", "c@h"]
    assert workers.cells("skew") == ["+29.0s !", "-500ms", "+0ms"]
    # What a worker did not report is not made up.
    for name in ("active", "processed", "load", "share", "run_p95", "version"):
        assert workers.cells(name)[2] == "-"


def test_workers_that_left_are_counted(workers):
    workers.take(workers.life.beat("a@h"))
    workers.life.now += 5000
    workers.take(workers.life.beat("b@h"))
    assert workers.refresh() == ["b@h"]
    assert workers.table.notes() == ["1 workers that have left are not shown"]


def test_workers_lead_to_their_tasks_and_can_be_filtered_by_what_they_are(workers):
    life = workers.life
    workers.take(life.beat("a@h", active=20), life.beat("b@h"))
    workers.take(life.started("t", hostname="a@h"), life.started("u", hostname="b@h"))
    workers.refresh()
    assert workers.tasks_of("a@h") == ["t"]
    assert workers.table.values("a@h") == {"worker": "a@h", "status": "online"}
    assert workers.table.values("x") == {}
    workers.table.narrow("status", "online")
    assert len(workers.table) == 2
    for text, keys in (("active>5 field.pid=7", ["a@h"]), ("field.nonsense:1", [])):
        workers.table.set_filter(text)
        assert list(workers.table.keys) == keys


# --- queues -------------------------------------------------------------------


@pytest.fixture
def queues():
    return Summary(QueuesView)


def asked(queues, *answers, **workers):
    """Have the broker answer depths at some times, and workers say what they consume."""
    history = {}
    for at, depths in answers:
        for name, depth in depths.items():
            history[name] = (*history.get(name, ()), (at, depth.ready))
        facts = QueueFacts(depths, dict(history), at=at)
        queues.cluster.stats = SimpleNamespace(known=lambda facts=facts: facts)
        queues.cluster.asks_broker = True
        queues.refresh(after=0.0)
        yield
    said = {f"{name}@host": SimpleNamespace(shown_queues=names) for name, names in workers.items()}
    queues.cluster.survey = SimpleNamespace(workers=said, replied_at=1.0)
    queues.refresh(after=0.0)
    yield


def test_a_queue_is_known_from_events(queues):
    life = queues.life
    queues.take(*life.success("a"), life.sent("b"), life.sent("c", queue='a "b"'))
    queues.take(life.received("d"))
    queues.table.sort_by("name")
    unnamed, odd, mail = queues.refresh()
    assert (mail, odd) == ("mail", 'a "b"')
    assert queues.cells("backlog") == ["-", "1", "1"]
    page = " ".join(queues.page(unnamed))
    assert "tasks of which no event says the queue" in page
    assert "no task-sent event has their queue" in page
    assert queues.cells("wait_p95")[2] == "200ms"
    # One has received from it; nobody knows how many consume the other one.
    assert queues.cells("consumers") == ["1+", "-", "1+"]
    assert (queues.tasks_of(mail), queues.tasks_of(odd)) == (["a", "b"], ["c"])
    assert queues.table.drill(unnamed) == ("tasks", "-has:queue")
    assert queues.table.drill("(others)") is None
    assert queues.table.values("mail") == {"name": "mail"}
    for text in ("backlog>0 mail", "f.name=mail"):
        queues.table.set_filter(text)
        assert list(queues.table.keys) == [mail]


def test_the_depth_of_a_queue_is_drawn_over_15_minutes(queues):
    # A part of that time without an answer is a gap, and the greatest depth of a part is seen.
    answers = [(0.0, 100), (75.0, 0), (76.0, 50), (80.0, 0), (225.0, 100)]
    list(
        asked(queues, *((at, {"mail": Depth(ready), "off": Depth(None)}) for at, ready in answers))
    )
    drawn = dict(zip(queues.table.keys, queues.cells("trend"), strict=True))
    assert drawn == {"mail": "█▅ █", "off": "-"}
    assert queues.table.record("mail")["trend"] == [None] * 8 + [100, 50, None, 100]


def test_what_the_broker_says_is_shown_and_nothing_else_for_it(queues):
    queues.take(*queues.life.success("a"), queues.life.sent("b", queue="slow"))
    depths = {
        "mail": Depth(1742, 3, unacked=2),
        "idle": Depth(None, reason="no such queue"),
        "new": Depth(5, unacked_reason="not said"),
        "empty": Depth(0, 0, unacked=0),
    }
    list(asked(queues, (0.0, depths), w1=("new",), w2=("new", "other")))
    rows = list(queues.table.keys)

    def column(name):
        return dict(zip(rows, queues.cells(name), strict=True))

    unknown = {"slow": "-", "idle": "-", "other": "-"}
    assert column("depth") == {"mail": "1.7k", "new": "5", "empty": "0", **unknown}
    assert column("unacked") == {"mail": "2", "new": "-", "empty": "0", **unknown}
    # w1 sent events and is there, as far as we know no other worker.
    consumers = {"mail": "3", "new": "2", "empty": "0", "other": "1", "slow": "-", "idle": "-"}
    assert column("consumers") == consumers
    assert column("consumed_by")["new"] == "w1@host, w2@host"
    assert column("empty_in")["empty"] == "now"
    depths["empty"] = Depth(1, 0)  # and nobody to take it
    queues.refresh()
    assert dict(zip(queues.table.keys, queues.styles(), strict=True))["empty"] == "failure"
    for name, words in (
        ("idle", "depth ? no such queue"), ("new", "unacked ? not said"),
        ("mail", "consumers 3 as the broker counts them; no worker says that it consumes it"),
    ):  # fmt: skip
        assert words in " ".join(" ".join(queues.page(name)).split())


@pytest.mark.parametrize(
    ("sent", "workers", "depths", "cells"),
    [
        # sent events, who consumes what,        depth        in       out      net    empty in
        (True,  {"w1": ("mail",)},               (100, 130), ("1.0", "0.5", "+30", "never")),
        (True,  {},                              (100, 130), ("1.0", "0.5", "+30", "never")),
        # Received by workers of one queue; in follows.
        (False, {"w1": ("mail",)},               (100, 130), ("~1.0", "0.5", "+30", "never")),
        (False, {"w1": ("mail",)},               (100, 70),  ("<0.05", "0.5", "-30", "2m20s")),
        # What it received may be of either queue, or is of nobody knows which.
        (False, {"w1": ("mail", "img")},         (100, 70),  ("-", "-", "-30", "2m20s")),
        (False, {},                              (100, 70),  ("-", "-", "-30", "2m20s")),
        # Of w2 no event has ever come.
        (False, {"w1": ("mail",), "w2": ("mail",)}, (9, 9),  ("-", "-", "0", "never")),
        # Less came out than is said: then not everything is known.
        (False, {"w1": ("mail",)},               (400, 10),  ("-", "0.5", "-390", "1.54s")),
    ],
)  # fmt: skip
def test_rates_are_those_that_events_and_depths_agree_on(queues, sent, workers, depths, cells):
    life = queues.life
    queues.take(life.beat(), life.beat("w3@client"))
    # Long ago, so that it is in no rate.
    queues.take(*(life.success("0") if sent else [life.received("0"), life.started("0")]))
    life.now += 500
    at = life.now
    looks = asked(queues, (at, {"mail": Depth(depths[0])}), (at + 60, {"mail": Depth(depths[1])}))
    next(looks)
    for number in range(60):
        life.now = at + number
        if sent:
            queues.take(life.sent(f"t{number}"))
        if number % 2:
            queues.take(life.received(f"t{number}"))
    life.now = at + 60
    said = {**workers, "w3": ()} if workers else {}
    queues.cluster.survey = SimpleNamespace(
        workers={
            f"{name}@host": SimpleNamespace(shown_queues=names) for name, names in said.items()
        }
        | {"w3@client": SimpleNamespace(shown_queues=())},
        replied_at=1.0,
    )
    next(looks)
    at = list(queues.table.keys).index("mail")
    names = ("in_rate", "out_rate", "net_per_min", "empty_in")
    assert tuple(queues.cells(name)[at] for name in names) == cells
    if not sent:  # what is of a queue that its worker says is not counted twice
        at = list(queues.table.keys).index("(unknown)")
        assert queues.cells("out_rate")[at] == ("0" if workers.get("w1") == ("mail",) else "0.5")


def test_the_page_of_a_queue_says_what_waits_and_since_when(queues):
    queues.take(queues.life.sent("a"), queues.life.sent("b"))
    list(asked(queues, (0.0, {"mail": Depth(1)}), (30.0, {"mail": Depth(2, oldest=("a", "b"))})))
    facts = queues.table._queues[""].facts
    waiting = Waiting({"proj.\x1b[2Jadd": 7, "": 1}, "the next messages are too large")
    queues.cluster.stats.known = lambda: facts._replace(waiting=("mail", waiting))
    queues.refresh(after=65.0)
    page = "\n".join(queues.page("mail"))
    for words in ("1 30s ago", "oldest        1m05s", "of 8: 7 proj.\\x1b[2Jadd, 1 (type",
                  "readable); the next messages are too large"):  # fmt: skip
        assert words in page
    # Of one of them it is not known.
    facts.depths["mail"] = Depth(2, oldest=("a", "unheard"))
    queues.refresh()
    assert queues.cells("oldest") == ["-"]


@pytest.mark.parametrize(
    ("active", "pool", "meter"),
    [(0, 4, "0/4"), (1, 100, "|          1/100"), (2, 4, "||||         2/4"), (7, None, "7"),
     (99, 100, "|||||||   99/100"), (9, 8, "||||||||     9/8"), (1000, 1000, "1000/1000")],
)  # fmt: skip
def test_the_use_of_a_pool_is_a_meter_where_there_is_room(workers, active, pool, meter):
    workers.take(workers.life.beat(active=active))
    facts = {"w1@host": WorkerFacts(pool=pool)}
    workers.cluster.survey = SimpleNamespace(workers=facts, replied_at=0.0, error="")
    workers.refresh()
    assert workers.cells("active") == [meter]
    # Without that room, and in other output, it is the figure alone.
    column = workers.table.find_column("active")
    subject, context = workers.table.subject("w1@host"), workers.table.context
    assert column.text(subject, context) == meter.split()[-1]
    workers.table.resize(99)
    assert "|" not in workers.cells("active")[0]


# --- errors -------------------------------------------------------------------


def errors_of(exceptions, name="proj.add", **fields):
    errors = Summary(ErrorsView, max_groups=3)
    for number, exception in enumerate(exceptions):
        errors.take(*errors.life.failure(str(number), name, exception=exception, **fields))
    errors.refresh()
    return errors


def test_failures_that_differ_in_details_are_one_row_with_a_sample():
    errors = errors_of(["KeyError('a 1')", "KeyError('a 2')", "OSError('x')"])
    assert errors.cells("count") == ["2", "1"]
    assert errors.cells("exc")[0] == "KeyError: a *"
    assert errors.styles() == ["failure"] * 2
    key = errors.table.focus_key
    detail = errors.table.detail(key)
    assert detail.title == "proj.add KeyError"
    assert {"  KeyError('a 2')", "  w1@host"} <= set(detail.sections["Info"])
    assert errors.table.values(key) == {"name": "proj.add", "exc": "KeyError: a *"}


def test_where_it_failed_is_a_worker_or_how_many():
    errors = errors_of(["E()"])
    assert errors.cells("workers") == ["w1@host"]
    errors.take(*errors.life.failure("x", exception="E()", hostname="w2@host"))
    assert errors.table.record(errors.refresh()[0])["workers"] == ["w1@host", "w2@host"]
    assert errors.cells("workers") == ["2"]


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
    errors = errors_of([*exceptions, "Other('a 1')"])
    key = next(key for key in errors.table.keys if "Other" not in key)
    assert errors.tasks_of(key) == [str(n) for n in range(len(exceptions))]


def test_a_wrapped_exception_is_found_in_its_traceback_and_a_nameless_task_as_such():
    traceback = "Traceback:\nbilliard.TimeLimitExceeded: TimeLimitExceeded(3,)"
    errors = errors_of(["ExceptionWithTraceback()"], traceback=traceback)
    (key,) = errors.table.keys
    assert "TimeLimitExceeded" in key
    assert errors.tasks_of(key) == ["0"]
    errors = errors_of(["E()"], name=None)
    assert errors.tasks_of(errors.table.focus_key) == ["0"]


def test_failures_without_room_lead_nowhere():
    errors = errors_of([f"E{'x' * number}()" for number in range(1, 9)])
    key = next(key for key in errors.table.keys if "(others)" in key)
    table = errors.table
    assert (table.drill(key), table.drill("gone"), table.detail("gone")) == (None, None, None)
    assert table.values("gone") == {}


# --- types by an argument -----------------------------------------------------------


def test_types_are_grouped_by_the_values_of_an_argument(terminal):
    life, session = terminal.life, terminal.session
    terminal.command("group")
    assert terminal.message.startswith("the newest tasks have no keyword arguments (:group")
    for number, (tenant, end) in enumerate([("acme", 0), ("acme", 1), ("'o", 0), (None, 2)]):
        uuid, kwargs = f"id{number}", repr({"tenant": tenant, "n": 1} if tenant else {"n": 1})
        terminal.take(life.received(uuid, f"proj.t{number % 2}", kwargs=kwargs))
        terminal.take(life.started(uuid))
        if end < 2:
            done = life.failed(uuid, exception="x") if end else life.succeeded(uuid, runtime=2.0)
            terminal.take(done)
    terminal.press("A")
    assert "kwargs.n" in terminal.text
    terminal.press("esc", "A", "2")
    assert terminal.message == "grouped by kwargs.tenant"
    terminal.tick()
    table = session.table
    assert session.view == "types"
    rows = {one["value"]: one for one in table.records()}
    assert {name: (row["tasks"], row["ok"], row["failed"]) for name, row in rows.items()} == {
        "acme": (2, 1, 1), "'o": (1, 1, 0), "(unknown)": (1, 0, 0),
    }  # fmt: skip
    assert (rows["acme"]["share"], rows["acme"]["types"], rows["acme"]["run_p95"]) == (50, 2, 2)
    assert (rows["(unknown)"]["active"], rows["(unknown)"]["run_max"]) == (1, None)
    assert [line.split()[0] for line in terminal.lines()[4:6]] == ["TENANT", ">acme"]
    assert "of 4 tasks in memory, whatever the window" in terminal.text
    assert "[2 By tenant]" in terminal.text

    # A row leads to its tasks, is nothing to act on, and is not saved as the view of types.
    for command, message in (("actions", "rows of groups have no actions"), ("rate-limit", "rows")):
        terminal.command(command)
        assert terminal.message.startswith(message)
    terminal.command("sort tasks")
    terminal.press("enter")
    assert session.view == "tasks"
    assert session.table.filter_text == 'kwargs.tenant="acme"'
    terminal.tick()
    assert len(session.table) == 2
    terminal.press("q")
    assert session.view == "types"
    assert ("evtop", "columns", "types") not in session._settings()
    terminal.command("sort value")
    terminal.press("g")
    assert table.drill("(unknown)") is None

    # What comes and goes is counted; a task whose worker has disappeared does not run.
    terminal.take(life.beat("w1@host", freq=1.0))
    terminal.tick(900.0)
    unknown = table.record("(unknown)")
    assert (unknown["active"], unknown["waiting"], unknown["unsure"]) == (0, 0, 1)
    terminal.take(life.succeeded("id3", runtime=1.0))
    assert table.record("(unknown)")["ok"] == 1
    terminal.command("pause")
    terminal.command("group off")
    assert terminal.message.startswith("not while the display is paused")
    terminal.command("pause")
    terminal.press("A")
    assert terminal.message == "grouped by type"
    assert terminal.lines()[4].split()[0] == "TASK"
    terminal.command("group tenant")
    assert terminal.message.startswith("types cannot be grouped by 'tenant' (write kwargs.NAME")


def test_many_values_are_counted_together_and_many_tasks_bit_by_bit(terminal, monkeypatch):
    monkeypatch.setattr("evtools.top.views.summaries._VALUES_MAX", 3)
    monkeypatch.setattr("evtools.top.views.summaries._BUDGET", -1.0)
    life, session = terminal.life, terminal.session
    terminal.take([life.received(f"i{n}", kwargs=f"{{'n': {n // 200}}}") for n in range(1000)])
    terminal.command("group kwargs.n")
    # A stride of them at the first picture; until all are counted, no row claims anything.
    assert (len(session.table), session.table.waiting) == (0, 800)
    assert session.table.progress == "20% counted"
    while session.model.is_lagging():
        session.model.work()
    found = {row["value"]: row["tasks"] for row in session.table.records()}
    assert found == {"4": 200, "3": 200, "2": 200, "(others)": 400}
    assert session.table.drill("(others)") is None
