"""The view of tasks: its rows, its trees, and the detail of a task."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import InspectedTask, State
from evtools.state.store import MAX_DEPTH, grow, tops
from evtools.text import width
from evtools.top.clusters import Clusters
from evtools.top.columns import RenderContext
from evtools.top.options import TopOptions
from evtools.top.ui.theme import STYLES
from evtools.top.views.tasks import _TREES as TREES
from evtools.top.views.tasks import TasksView, task_detail
from evtools.wire import gap
from tools.clock import FakeClock
from tools.life import Life
from tools.typed import events_of


class Tasks:
    """A state, its tasks as a table, and a life."""

    def __init__(self, max_tasks=1000):
        self.life = Life()
        clusters = Clusters([""], TopOptions(max_tasks=max_tasks), FakeClock())
        self.cluster = clusters[""]
        self.state = self.cluster.state
        self.now = 1000.0
        self.table = TasksView(clusters, FakeClock())

    def take(self, *events):
        self.cluster.statistics.take(self.state.apply(events))

    def refresh(self, **context):
        self.now = self.life.now + 1
        self.table.refresh(RenderContext(self.now, **context))
        return list(self.table.keys)

    def lines(self, **context):
        self.refresh(**context)
        return [" ".join(self.table.row(n).cells) for n in range(len(self.table))]

    def column(self, name):
        at = [slot.column.name for slot in self.table.slots].index(name)
        return [self.table.row(n).cells[at].strip() for n in range(len(self.table))]


@pytest.fixture
def tasks():
    return Tasks()


UUID = "7a8b8d37-ebe5-4d26-8057-17bb6963e503"


@pytest.mark.parametrize(("runs", "longer", "much_longer"), [(100, "late", "failure"), (5, "", "")])
def test_what_runs_longer_than_is_usual_for_its_type_has_a_colour(tasks, runs, longer, much_longer):
    life = tasks.life
    for number in range(runs):
        tasks.take(*life.success(str(number)))
    for uuid, seconds in (("longer", 1.0), ("much", 9.0)):
        tasks.take(life.received(uuid, "proj.add"), life.started(uuid))
        tasks.take(life.event("task-succeeded", uuid=uuid, runtime=seconds))
    tasks.refresh()
    at = [slot.column.name for slot in tasks.table.slots].index("runtime")
    rows = {key: tasks.table.row(n).tints[at] for n, key in enumerate(tasks.table.keys)}
    assert (rows["longer"], rows["much"], rows["0"]) == (longer, much_longer, "")


def test_a_screen_of_120_columns_shows_what_matters(tasks):
    tasks.take(*tasks.life.failure(UUID))
    (line,) = tasks.lines()
    names = " ".join(slot.column.name for slot in tasks.table.slots)
    assert names == "state name uuid worker queue retries wait runtime age outcome"
    assert " ".join(line.split()) == (
        "FAIL proj.add 7a8b8d37 w1@host mail 0 200ms 100ms 1s ValueError('no 12')"
    )
    assert width(line) == 119


@pytest.mark.parametrize(
    ("cols", "names", "uuid"),
    [
        (60,  "state name runtime age", None),
        (80,  "state name uuid worker runtime age", UUID[:8]),
        (140, "state name uuid worker queue root retries wait runtime age outcome", UUID),
    ],
)  # fmt: skip
def test_columns_suit_the_screen(tasks, cols, names, uuid):
    tasks.take(tasks.life.started(UUID))
    tasks.table.resize(cols)
    tasks.refresh()
    assert " ".join(slot.column.name for slot in tasks.table.slots) == names
    assert uuid is None or tasks.column("uuid") == [uuid]


def test_states_have_words_and_styles(tasks):
    life = tasks.life
    tasks.take(
        life.beat(),
        life.sent("a"),
        life.received("b"),
        life.started("c"),
        life.succeeded("d"),
        life.failed("e"),
        life.event("task-revoked", uuid="f", hostname="w1@host"),
    )
    tasks.refresh()
    assert tasks.column("state") == ["REVOKE", "FAIL", "OK", "RUN", "RECV", "SENT"]
    assert set(tasks.column("name")) == {"?", "proj.add"}
    styles = [tasks.table.row(number).style for number in range(6)]
    assert set(styles) <= set(STYLES)
    assert styles[1] == "failure"


def test_a_task_whose_worker_went_may_be_lost(tasks):
    life = tasks.life
    tasks.take(life.beat(), life.started("a"), *life.failure("f"))
    tasks.refresh()
    life.now += 300
    tasks.table.sort_by("state")
    assert tasks.refresh() == ["a", "f"]
    assert tasks.column("state") == ["LOST?", "FAIL"]
    assert tasks.column("runtime") == ["-", "100ms"]
    tasks.table.set_filter("lost:true")
    assert len(tasks.table) == 1


def eta(at):
    return datetime.fromtimestamp(at, UTC).isoformat()


def test_a_task_that_waits_for_its_eta_is_due(tasks):
    life = tasks.life
    # The clock of w2, which waits by it, is 30 s ahead.
    tasks.take(life.beat(), life.beat("w2@host", ahead=30))
    at = eta(life.now + 1000)
    tasks.take(
        life.received("r"),
        life.received("d", eta=at),
        life.received("e", eta=at, hostname="w2@host", ahead=30),
        life.received("past", eta=eta(900)),
        life.received("junk", eta="soon"),
        life.sent("s", eta=at),
        life.event("task-retried", uuid="t", hostname="w1@host", exception="E(1)"),
        life.received("t", retries=1, eta=eta(life.now + 14)),
    )
    tasks.table.sort_by("state")
    assert tasks.refresh() == ["t", "junk", "past", "r", "e", "d", "s"]
    assert tasks.column("state") == ["RETRY", "RECV", "RECV", "RECV", "DUE", "DUE", "SENT"]
    assert tasks.column("outcome") == [
        "again in 12.9s: E(1)", "", "", "", "due in 16m08s", "due in 16m38s", "due in 16m38s",
    ]  # fmt: skip
    assert tasks.table.row(5).style == "waiting"
    assert (
        tasks.table.detail("d").lines[0].startswith("state   RECEIVED (due in 16m38s, at 00:33:20)")
    )
    for text, found in (
        ("state:due", "ed"), ("state:due,sent", "eds"), ("state!=due", "tjunkpastrs"),
        ("due<1m", "t"), ("has:due", "teds"), ("state:recv -state:due", "junkpastr"),
    ):  # fmt: skip
        tasks.table.set_filter(text)
        assert "".join(tasks.refresh()) == found
    tasks.table.set_filter("state:due")
    life.now += 970
    tasks.take(life.beat(), life.beat("w2@host", ahead=30))
    assert tasks.refresh() == ["d"]
    life.now += 300
    tasks.table.set_filter("")
    tasks.refresh()
    assert "DUE" not in tasks.column("state")


def test_an_answer_without_a_task_that_waits_for_its_eta_proves_nothing(tasks):
    life = tasks.life
    tasks.take(life.beat(), life.received("t", eta=eta(5000)))
    for _ in range(5):
        life.now += 2
        tasks.take(life.beat(pid=8))
    tasks.state.seed("w1@host", [], life.now, ["t"])
    tasks.refresh()
    assert tasks.column("state") == ["LOST?"]


def test_what_runs_is_sorted_by_how_long_it_has_run(tasks):
    life = tasks.life
    tasks.take(life.beat(), life.succeeded("a", runtime=3.0), life.started("b"))
    tasks.table.sort_by("runtime")
    assert tasks.refresh() == ["a", "b"]
    tasks.life.now += 5
    tasks.take(tasks.life.beat())
    assert tasks.refresh() == ["b", "a"]
    tasks.table.invert()
    assert tasks.refresh() == ["a", "b"]


def test_tasks_of_the_same_rank_come_newest_first(tasks):
    life = tasks.life
    tasks.take(*[life.succeeded(uuid) for uuid in "abc"], life.failed("d"))
    orders = [tasks.refresh()]
    for do in (tasks.table.invert, lambda: tasks.table.sort_by("state"), tasks.table.invert):
        do()
        orders.append(tasks.refresh())
    assert ["".join(order) for order in orders] == ["dcba", "abcd", "dcba", "cbad"]


def test_times_of_day_stand_in_the_place_of_ages(tasks):
    tasks.take(tasks.life.started("a"))
    tasks.refresh(time_style="utc")
    assert tasks.column("age") == ["00:16:40"]
    assert "   TIMEv" in tasks.table.heads()


def test_the_outcome_is_what_was_raised_returned_or_reported(tasks):
    life = tasks.life
    tasks.take(
        life.succeeded("a"),
        life.failed("b", exception="画像\x1b[0m"),
        life.received("c"),
        life.event("task-progress", uuid="d", hostname="w1@host", percent=40),
    )
    lines = tasks.lines()
    assert tasks.column("outcome") == ["percent=40", "", "画像\\x1b[0m", "3"]
    assert {width(line) for line in lines} == {119}


def test_what_the_state_forgets_the_table_forgets():
    tasks = Tasks(max_tasks=3)
    tasks.take(*[tasks.life.succeeded(str(number)) for number in range(3)])
    tasks.refresh()
    tasks.table.marks.update(("0", "2"))
    tasks.take(tasks.life.succeeded("3"))
    assert tasks.refresh() == ["3", "2", "1"]
    table = tasks.table
    assert (table.marks, table.subject("0"), table.detail("0")) == ({"2"}, None, None)
    assert (table.values("0"), table.record("0")) == ({}, {})
    tasks.state.clear()
    assert tasks.refresh() == []


# --- frozen -----------------------------------------------------------------------


def test_a_frozen_table_keeps_tasks_as_they_were(tasks):
    life = tasks.life
    tasks.take(life.received("a"), life.started("a"), life.started("b"))
    tasks.refresh()
    tasks.table.frozen = True
    events = [
        life.event("task-retried", uuid="a", hostname="w1@host"),
        life.received("a", retries=1),
        life.succeeded("b"),
        life.succeeded("b"),
        life.succeeded("c"),
        {"type": "task-sent", "uuid": []},
    ]
    for event in events:
        tasks.table.keep(tasks.cluster, events_of([event]))
        tasks.take(event)
    assert tasks.refresh() == ["b", "a"]
    assert tasks.column("state") == ["RUN", "RUN"]
    assert len(tasks.table.detail("a").sections["Timeline"]) == 4
    tasks.table.frozen = False
    assert tasks.refresh() == ["c", "b", "a"]
    assert tasks.table.subject("a") is tasks.state.tasks["a"]


# --- trees ------------------------------------------------------------------------


def family(tasks):
    life = tasks.life
    tasks.take(
        life.received("r", "proj.root"),
        life.received("a", root_id="r", parent_id="r"),
        life.received("b", root_id="r", parent_id="r"),
        life.received("c", root_id="r", parent_id="a"),
        life.received("x", "proj.other"),
    )
    tasks.refresh()
    tasks.table.toggle_tree()


def test_tasks_stand_below_those_that_sent_them(tasks):
    family(tasks)
    assert tasks.refresh() == ["x", "r", "a", "c", "b"]
    assert tasks.column("name") == [
        "proj.other", "proj.root", "├─ proj.add", "│  └─ proj.add", "└─ proj.add",
    ]  # fmt: skip
    tasks.refresh(ascii=True)
    assert tasks.column("name")[3] == "|  `- proj.add"
    assert {width(line) for line in tasks.lines()} == {119}
    tasks.table.toggle_tree()
    assert tasks.refresh() == ["x", "c", "b", "a", "r"]


def test_a_node_that_is_shut_has_a_sign_and_no_filter_parts_a_family(tasks):
    family(tasks)
    tasks.table.set_filter("-uuid:a")
    assert tasks.refresh() == ["x", "r", "a", "c", "b"]
    tasks.table.set_filter("")
    tasks.table.go_to("a")
    tasks.table.expand(shut=True)
    assert tasks.refresh() == ["x", "r", "a", "b"]
    assert tasks.column("name")[2] == "├─ + proj.add"


def test_a_prefix_never_breaks_the_column(tasks):
    life, parent = tasks.life, "0"
    tasks.take(life.received("0"))
    for number in range(1, 30):
        tasks.take(life.received(str(number), root_id="0", parent_id=parent))
        parent = str(number)
    tasks.table.toggle_tree()
    assert {width(line) for line in tasks.lines()} == {119}


def test_of_very_many_tasks_the_first_grow_trees():
    tasks = Tasks(max_tasks=TREES + 200)
    life = tasks.life
    tasks.take(*[life.received(str(number)) for number in range(TREES + 50)])
    tasks.table.toggle_tree()
    assert len(tasks.refresh()) == TREES
    newest = str(TREES + 49)
    tasks.take(*[life.received(f"c{number}", parent_id=newest) for number in range(9)])
    tasks.take(life.succeeded(newest))
    rows = tasks.refresh()
    assert rows[:2] == [newest, "c0"]
    assert len(rows) == TREES


# --- ways from a row ----------------------------------------------------------------


def test_the_parent_is_jumped_to_or_explained(tasks):
    table = tasks.table
    assert table.jump_to_parent() == "no task is selected"
    family(tasks)
    table.go_to("c")
    assert (table.jump_to_parent(), table.focus_key) == ("", "a")
    table.go_to("x")
    assert table.jump_to_parent() == "this task has no known parent"
    tasks.take(tasks.life.received("y", root_id="r", parent_id="gone\x1b"))
    tasks.refresh()
    table.toggle_tree()
    table.set_filter("uuid=y")
    assert table.jump_to_parent() == "its parent gone\\x1b is not remembered"
    tasks.take(tasks.life.received("gone\x1b"))
    tasks.refresh()
    assert table.jump_to_parent() == "its parent gone\\x1b is not shown"


def test_values_of_a_task_make_filters(tasks):
    tasks.take(*tasks.life.failure("a", 'proj "x" y'))
    tasks.refresh()
    values = tasks.table.values("a")
    assert list(values) == ["name", "worker", "state", "queue", "exc", "root"]
    for field, value in values.items():
        tasks.table.narrow(field, value)
        assert len(tasks.table) == 1
    tasks.table.set_filter("")
    tasks.table.narrow("state", "FAILURE", exclude=True)
    assert len(tasks.table) == 0


# --- the detail --------------------------------------------------------------------


@pytest.fixture
def life():
    return Life()


def seen(*events, later=1.0, cols=100, **how):
    """Return the detail of the task "t" some seconds after events."""
    state = State()
    state.apply(events)
    context = RenderContext(max(event["local_received"] for event in events) + later, **how)
    return task_detail(state.tasks["t"], context, state, cols=cols)


def test_a_failure_begins_with_its_traceback_below_its_facts(life):
    detail = seen(*life.failure("t"))
    assert detail.section == "Traceback"
    assert detail.sections["Traceback"][-1] == "ValueError: no 12"
    assert detail.title == "proj.add t"
    assert list(detail.sections) == ["Traceback", "Info", "Args", "Timeline", "Tree", "Bars", "Raw"]
    assert detail.lines == (
        "state   FAILURE after 100ms on w1@host pid 7",
        "args    (1, 2)   kwargs {}",
        "time    sent 00:16:40.100  received +100ms  started +200ms  failed +300ms   queue mail   retries 0",  # noqa: E501
        "tree    no children",
    )


def test_a_clock_that_is_off_is_mentioned_beside_its_times(life):
    for ahead, words in ((29.0, "29.0s ahead"), (-3.0, "3.00s behind")):
        detail = seen(life.beat(ahead=ahead), *life.success("t"))
        assert detail.lines[2].endswith(f"(the worker's clock is {words})")
    assert "clock" not in seen(life.beat(), *life.success("t")).lines[2]


def test_a_success_begins_with_its_arguments(life):
    detail = seen(*life.success("t"))
    assert detail.section == "Args"
    assert detail.sections["Args"] == ("args", "  (1, 2)", "kwargs", "  {}", "result", "  3")
    assert detail.sections["Traceback"] == ("No traceback: the task did not raise.",)


def test_what_the_sender_cut_is_said(life):
    detail = seen(life.received("t", args="(" + "x" * 1020 + "...)"))
    assert "cut by the sender" in detail.lines[1]
    assert any("cut by the sender" in line for line in detail.sections["Args"])


def test_what_was_not_received_is_not_made_up(life):
    detail = seen(life.event("task-failed", uuid="t", exception="E()"))
    assert detail.title == "? t"
    assert detail.lines[1] == "args    unknown: received before evtop connected"
    assert detail.sections["Traceback"][0] == "The event had no traceback."
    assert any("unknown" in line for line in detail.sections["Info"])
    started = seen(life.started("t", timestamp=None))
    assert started.sections["Args"] == ("Unknown: received before evtop connected.",)
    note = seen(life.event("task-progress", uuid="t", hostname="w1@host", percent=40))
    assert note.sections["Timeline"] == ("No event with a time was received.",)
    assert note.lines[2] == "time    unknown"
    assert any("percent" in line for line in note.sections["Info"])


def test_every_attempt_is_in_the_timeline(life):
    events = [
        life.received("t"),
        life.started("t"),
        life.event("task-retried", uuid="t", hostname="w1@host", exception="E(1)"),
        life.received("t", retries=1, hostname="w2@host"),
        life.started("t", hostname="w2@host"),
        life.succeeded("t", hostname="w2@host"),
    ]
    timeline = seen(*events).sections["Timeline"]
    assert timeline[0].startswith("from 00:16:40.100 on")
    assert timeline[1] == "attempt 0 on w1@host"
    assert "attempt 1 on w2@host" in timeline
    assert any("E(1)" in line for line in timeline)
    assert timeline[-1].split() == ["+500ms", "succeeded", "(+100ms)"]


def test_a_running_task_has_run_so_far_unless_it_may_be_lost(life):
    events = [life.beat(), life.received("t"), life.started("t")]
    for later, line in (
        (3, "STARTED after 3.00s on w1@host pid 7"),
        (-3, "STARTED after 0ms on w1@host pid 7"),
        (300, "LOST? (its worker has disappeared) on w1@host pid 7"),
    ):
        assert seen(*events, later=later).lines[0] == f"state   {line}"
    life.now += 1
    restarted = {**life.beat(), "type": "worker-online", "pid": 8, "processed": 0}
    line = seen(*events, restarted, later=2).lines[0]
    assert line.startswith("state   LOST? (its process has disappeared) on w1@host")


@pytest.mark.parametrize(
    ("found", "word", "fact", "runtime"),
    [
        ([], "LOST", "does not have it", "-"),
        ([InspectedTask("t", runs=True)], "RUN", "runs it", "-"),
        ([InspectedTask("t", runs=False)], "RECV", "has it, and does not run it yet", "-"),
    ],
)
def test_a_task_that_may_be_lost_is_what_its_worker_answers(tasks, found, word, fact, runtime):
    life = tasks.life
    tasks.take(life.beat(), life.received("t"), life.started("t"))
    for _ in range(5):
        life.now += 2
        tasks.take(life.beat(pid=8))
    tasks.refresh()
    assert tasks.column("state") == ["LOST?"]
    tasks.state.seed("w1@host", found, life.now, ["t"] if not found else ())
    tasks.refresh()
    assert (tasks.column("state"), tasks.column("runtime")) == ([word], [runtime])
    detail = "\n".join(tasks.table.detail("t").sections["Info"])
    said = re.search(r"w1@host said at \d\d:\d\d:\d\d that it (.*)", detail)
    assert said[1] == fact
    assert (said[0] in tasks.table.detail("t").lines[0]) is not found
    assert (tasks.table.record("t")["missing_at"] is not None) is not found


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ([], "ENDED?"),
        ([InspectedTask("t", runs=True)], "RUN"),
        ([InspectedTask("t", runs=False)], "RECV"),
    ],
)
def test_what_ran_when_nobody_looked_any_more_may_have_ended(tasks, found, word):
    life = tasks.life
    tasks.take(life.beat(), life.received("t"), life.started("t"), *life.success("done"))
    life.now += 100
    hole = gap("stopped", life.now - 100, life.now).as_dict()
    tasks.take(hole, life.beat(), life.received("new"), life.started("new"))
    tasks.refresh()
    states = dict(zip(tasks.column("uuid"), tasks.column("state"), strict=True))
    assert states == {"t": "RUN?", "done": "OK", "new": "RUN"}
    assert "STARTED? (it may have ended while evtop" in tasks.table.detail("t").lines[0]
    [kind] = tasks.cluster.statistics.types("5m", life.now)
    assert kind.running == 1
    tasks.state.seed("w1@host", found, life.now, ["t"] if not found else ())
    tasks.refresh()
    states = dict(zip(tasks.column("uuid"), tasks.column("state"), strict=True))
    assert states["t"] == word
    tasks.take(life.event("task-succeeded", uuid="t", hostname="w1@host", runtime=1.0))
    tasks.refresh()
    states = dict(zip(tasks.column("uuid"), tasks.column("state"), strict=True))
    assert states["t"] == "OK"


def test_relatives_are_shown_as_a_tree(life):
    events = [
        life.received("r", "proj.checkout"),
        life.received("t", root_id="r", parent_id="r"),
        life.received("c", root_id="r", parent_id="t"),
        life.received("d", root_id="r", parent_id="t"),
    ]
    detail = seen(*events)
    assert detail.lines[3] == (
        "tree    root r proj.checkout > parent r proj.checkout > this > 2 children"
    )
    assert detail.sections["Tree"] == (
        "  proj.checkout r RECV",
        "> └─ proj.add t RECV",
        "     ├─ proj.add c RECV",
        "     └─ proj.add d RECV",
    )
    detail = seen(life.received("t", root_id="0123456789", parent_id="t"))
    assert detail.lines[3] == "tree    root 01234567 > this > 1 child"


#: A workflow on 80 columns, and earlier on 60 without Unicode.
BARS = (
    "4 tasks, by the senders' clocks",
    "corrected: the clock of w2@host is 29.0s ahead",
    "                  00:16:40.300 ─────────────────────────────────── +5.80s",
    ">* proj.add       ·██████████████                                          500ms",
    " * ├─ proj.add                ····████████████r···········████████████     1.10s",
    " * │  └─ proj.add                                                     ··█  500ms",
    "   └─ proj.add                 ··············████████████x                 1.30s",
    "",
    "· waits  █ runs  x failed or stopped  r retried",
    "* the last to end, and those that led to it by sending",
)
RUNNING = (
    "4 tasks, by the senders' clocks",
    "corrected: the clock of w2@host is 29.0s ahead",
    "                  00:16:40.300 --------------- +6.20s",
    ">  proj.add       .########                            500ms",
    "   |- proj.add           ..#######r.......#######      1.10s",
    "   |  `- proj.add                                .##>  500ms",
    "   `- proj.add           .........#######x             1.30s",
    "",
    ". waits  # runs  x failed or stopped  r retried  > runs on",
)


def workflow(life):
    """Return events of a task that sends a failure, and a retry that sends another one."""

    def member(kind, uuid, parent="t", **more):
        more |= {} if parent is None or kind == "started" else {"parent_id": parent}
        return getattr(life, kind)(uuid, **more, **({} if kind == "started" else {"root_id": "t"}))

    w2 = {"hostname": "w2@host", "ahead": 29.0}
    yield from (life.beat(), life.beat(**w2), member("sent", "t", None))
    yield from (member("received", "t", None), life.started("t"))
    life.now += 1
    yield from (member("sent", "a"), member("sent", "b"), life.succeeded("t"))
    yield from (member("received", "a", **w2), life.started("a", **w2))
    life.now += 1
    yield from (member("received", "b"), life.started("b"))
    yield life.event("task-retried", uuid="a", exception="E(1)", **w2)
    yield member("received", "a", **w2, retries=1)
    life.now += 1
    yield from (life.failed("b"), life.started("a", **w2))
    life.now += 1
    yield life.succeeded("a", **w2, runtime=1.1)
    yield member("sent", "c", "a", name="proj.\x1b[1m" + "long." * 20)
    yield from (member("received", "c", "a"), life.started("c"))


def test_a_workflow_is_bars_on_one_axis_of_time_by_our_clock(life):
    events = [*workflow(life)]
    assert seen(*events, life.succeeded("c"), cols=80).sections["Bars"] == BARS
    running = seen(*events, later=0.5, cols=60, ascii=True).sections["Bars"]
    assert running == RUNNING
    # What decides the end is not known while something may go on.
    assert "?" in seen(*events, later=300, cols=50).sections["Bars"][5]
    for cols in (50, 80, 200):
        bars = seen(*events, cols=cols).sections["Bars"]
        assert {width(line) for line in bars[3:7]} == {cols}
        assert all(line.isprintable() for line in bars)


def test_bars_take_the_width_of_the_screen(tasks):
    tasks.take(*workflow(tasks.life))
    for cols in (60, 140):
        tasks.table.resize(cols)
        tasks.refresh()
        assert width(tasks.table.detail("t").sections["Bars"][3]) == cols


def test_of_a_large_workflow_some_members_are_bars(life):
    events = life.success("t")
    for number in range(600):
        events += life.success(str(number), root_id="t", parent_id="t")
    bars = seen(*events).sections["Bars"]
    assert (bars[0], len(bars)) == ("500 of 601 tasks, by the senders' clocks", 504)
    # Another one may have been the last.
    assert "*" not in "".join(bars)
    note = seen(life.event("task-progress", uuid="t", hostname="w1@host"))
    assert note.sections["Bars"] == ("No event with a time was received.",)


@given(
    st.lists(st.sampled_from(["sent", "received", "started", "succeeded", "failed"]),
        min_size=1, max_size=8),
    st.sampled_from([None, 3, [], {}, "\x1b[31m", "\u202e", 1e300, "x" * 2000]),
    st.sampled_from([
        "name", "hostname", "args", "exception", "timestamp", "retries", "root_id", "parent_id",
        "runtime", "eta", "queue", "pid", "traceback",
    ]),
)  # fmt: skip
def test_nothing_that_comes_breaks_a_detail(kinds, junk, field):
    life = Life()
    events = [getattr(life, kind)("t", **{field: junk}) for kind in kinds]
    detail = seen(*events)
    lines = [detail.title, *detail.lines]
    for section in detail.sections.values():
        lines += section
    assert all(line.isprintable() for line in lines)


# --- trees, made flat ---------------------------------------------------------------


def lines(roots, family, **more):
    nodes = grow(roots, lambda key: family.get(key, []), **more)
    return [prefix + key for key, prefix in nodes]


def test_what_is_too_deep_is_hidden():
    chain = {str(number): [str(number + 1)] for number in range(1000)}
    found = lines(["0"], chain)
    assert len(found) == MAX_DEPTH + 2
    assert found[-1].endswith(f"+ {MAX_DEPTH + 1}")


def test_the_top_is_the_highest_ancestor_that_is_shown():
    parents = {"d": "b", "b": "a", "e": "c", "c": "a", "x": "gone", "a": None}
    assert list(tops("debx", parents.get, set("abcdex"))) == ["a", "x"]
    assert list(tops("de", parents.get, set("bcde"))) == ["b", "c"]


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 20)))
def test_a_forest_has_every_key_once_whatever_their_parents_are(parents):
    shown = {str(key) for key in parents}
    above = {str(key): str(parent) for key, parent in parents.items()}
    below = {}
    for key, parent in above.items():
        below.setdefault(parent, []).append(key)
    roots = tops(sorted(shown), above.get, shown)
    keys = [key for key, _ in grow(roots, lambda key: below.get(key, []))]
    assert sorted(keys) == sorted(shown)
