"""The model: pictures of the cluster, the pause, the steps back, and why a table is empty."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import InspectedTask
from evtools.top.clusters import row_key
from evtools.top.model import PICTURES_MAX, Model
from evtools.top.options import VIEWS, TopOptions
from evtools.transport import Notice
from evtools.transport.source import DOCTOR
from tools.clock import FakeClock
from tools.life import Life
from tools.told import life, told
from tools.typed import events_of


class Screen:
    """A model with a clock and a life, looked at as a screen does."""

    def __init__(self, **more):
        self.clock = FakeClock(1000.0)
        self.life = Life(1000.0)
        self.model = Model(clock=self.clock, options=TopOptions(**more))

    def take(self, *events):
        self.model.take(events_of(events))
        self.clock.now = max(self.clock.now, self.life.now)

    def look(self, view="tasks"):
        """Make a picture and return its first column of names, as drawn."""
        self.model.refresh(view, self.clock.now)
        return self.drawn(view)

    def drawn(self, view="tasks"):
        table = self.model.views[view]
        self.model.header()
        rows = [table.row(index) for index in range(len(table))]
        return [row.cells[0].strip() for row in rows]


@pytest.fixture
def screen():
    return Screen()


@pytest.mark.parametrize("size", [1, 2, 24, 1000])
@pytest.mark.parametrize("view", ["types", "queues", "workers", "errors"])
def test_figures_are_the_same_however_events_come_together(view, size):
    events = [told("worker-heartbeat", 1.0)]
    for run in range(60):
        start = 10.0 * run + 10
        events += life("sent", "received", "started", start=start)
        kind = "task-succeeded" if run % 3 else "task-failed"
        events.append(told(kind, start + 4, **({"runtime": run / 7} if run % 3 else {})))
    again = Life(700.0)
    for retries in range(4):
        events += [again.sent("t", retries=retries), again.received("t", retries=retries)]
        events += [again.started("t"), again.event("task-retried", uuid="t", hostname="w1@host")]

    def figures(size):
        screen = Screen()
        screen.clock.now = events[-1]["local_received"]
        for at in range(0, len(events), size):
            screen.model.take(events_of(events[at : at + size]))
        screen.look(view)
        return list(screen.model.views[view].records())

    assert figures(size) == figures(len(events))
    assert figures(size)


def test_the_picture_is_of_the_refresh(screen):
    screen.take(screen.life.started("t"))
    assert screen.look() == ["RUN"]
    screen.take(screen.life.succeeded("t"))
    assert screen.drawn() == ["RUN"]
    assert screen.look() == ["OK"]
    assert screen.model.context().now == screen.clock.now


def test_options_are_of_the_next_picture(screen):
    screen.take(*screen.life.success("t"))
    screen.look("types")
    screen.clock.now += 200
    screen.model.options = TopOptions(time_style="utc", ascii=True, window="1m")
    screen.look("types")
    assert screen.model.views["types"].record("proj.add")["ok"] == 0
    assert screen.model.header().run.count == 0
    screen.model.options.window = "1h"
    screen.model.refresh_view("types")
    assert screen.model.views["types"].record("proj.add")["ok"] == 1
    assert screen.model.header().run.count == 1
    assert screen.model.views["types"].context.ascii


# --- figures ----------------------------------------------------------------------


def test_the_header_counts_what_the_views_count(screen):
    for number in range(40):
        screen.life.now += 7
        screen.take(*screen.life.success(f"ok{number}", f"proj.t{number % 3}"))
        screen.take(*screen.life.failure(f"bad{number}", "proj.bad"))
        for window in ("1m", "5m", "all"):
            screen.model.options.window = window
            screen.look("types")
            header = screen.model.header()
            rows = list(screen.model.views["types"].records())
            assert header.run.count == sum(row["ok"] + row["failed"] for row in rows)
            assert header.run.max == max(row["run_max"] for row in rows)
            failed = sum(row["failed"] for row in rows)
            assert header.totals.failure_share == failed / header.run.count


def test_a_figure_that_fails_keeps_nothing_else_from_being_counted(screen, monkeypatch):
    def broken(*_):
        raise KeyError(1)

    monkeypatch.setattr("evtools.state.statistics.Queues.received", broken)
    with pytest.raises(KeyError):
        screen.take(*screen.life.failure("a"), *screen.life.success("b"))
    for view in VIEWS:
        assert screen.look(view) or view in ("overview", "workers")
    [row] = screen.model.clusters[""].statistics.types("all", screen.clock.now)
    assert (row.counts["succeeded"], row.counts["failed"]) == (1, 1)
    assert (screen.model.views["events"].total, screen.model.clusters[""].intake.events) == (8, 8)


def test_ages_stop_without_a_connection_and_are_those_of_a_tape():
    clock = FakeClock(1000.0)
    model = Model(clock=clock)
    link = model.clusters[""].connection
    link.apply(Notice("listening", ""))
    assert model.as_of(1001.0) == 1001.0
    clock.now = 1002.0
    link.apply(Notice("lost", "refused"))
    assert model.as_of(1060.0) == 1002.0
    link.apply(Notice("restored", ""))
    assert model.as_of(1060.0) == 1060.0
    screen = Screen(read=("x.jsonl",))
    assert screen.model.as_of(5.0) == 5.0
    event = screen.life.started("t")
    screen.take(event)
    assert screen.model.as_of(9e9) == event["local_received"]


def test_a_filter_on_ages_goes_on_while_another_view_is_shown(screen):
    screen.take(screen.life.started("t"))
    tasks = screen.model.views["tasks"]
    screen.look()
    tasks.set_filter("age>50s")
    screen.clock.now += 60
    screen.look("types")
    assert "t" in tasks._index


# --- pause ------------------------------------------------------------------------


def test_a_paused_picture_stands_and_events_go_on(screen):
    screen.take(screen.life.started("t"), screen.life.started("u"))
    screen.look()
    screen.model.freeze(screen.clock.now)
    frozen_at, facts = screen.model.context().now, screen.model.header()
    for number in range(20):
        screen.take(*screen.life.success(f"n{number}"))
    screen.take(screen.life.succeeded("t"), screen.life.failed("u"))
    assert screen.model.paused
    assert screen.look() == ["RUN", "RUN"]
    assert screen.model.views["tasks"].detail("t").lines[0].startswith("state   STARTED")
    assert screen.model.header() is facts
    assert screen.model.as_of(9e9) == frozen_at
    assert len(screen.model.clusters[""].state.tasks) == 22
    screen.model.thaw()
    assert len(screen.look()) == 22


def test_no_answer_of_a_worker_changes_a_paused_picture(screen):
    life, state = screen.life, screen.model.clusters[""].state
    screen.take(life.beat(), life.received("t"), life.event("task-sent", uuid="s"))
    screen.look()
    screen.model.freeze(screen.clock.now)
    state.seed("w1@host", [InspectedTask("t", runs=True, started=life.now)], life.now)
    assert state.tasks["t"].state == "STARTED"
    assert screen.look() == ["SENT", "RECV"]
    screen.model.thaw()
    assert "RUN" in screen.look()


def test_a_paused_picture_can_be_filtered_and_sorted(screen):
    screen.take(*screen.life.success("t", "proj.b"), *screen.life.success("u", "proj.a"))
    screen.look()
    screen.model.freeze(screen.clock.now)
    screen.model.freeze(screen.clock.now)
    screen.take(screen.life.event("task-failed", uuid="t", exception="E()"))
    tasks = screen.model.views["tasks"]
    tasks.move(1)
    assert tasks.news() == ""  # the order is not held: it stands still with the picture
    tasks.set_filter("state:ok")
    tasks.sort_by("name")
    assert list(tasks.keys) == ["u", "t"]
    tasks.set_filter("state:fail")
    assert len(tasks) == 0


def test_all_views_are_paused_at_the_same_time(screen):
    screen.take(screen.life.beat(), *screen.life.failure("t"))
    screen.look()
    screen.model.freeze(screen.clock.now)
    screen.take(screen.life.beat("w2@host"), *screen.life.failure("u", exception="X()"))
    rows = {"types": 1, "workers": 1, "queues": 1, "errors": 1, "events": 5}
    for view, count in rows.items():
        screen.model.refresh_view(view)
        assert len(screen.drawn(view)) == count


def test_a_search_goes_on_while_paused():
    class Slow(FakeClock):
        def monotonic(self):
            self.now += 0.015
            return self.now

    life = Life()
    model = Model(clock=Slow())
    model.take(events_of([life.started(str(number)) for number in range(3000)]))
    model.refresh("tasks", life.now)
    model.freeze(life.now)
    tasks = model.views["tasks"]
    tasks.set_filter("state:run")
    assert tasks.waiting
    while model.is_lagging():
        model.work()
    assert len(tasks) == 3000


def test_tasks_that_are_forgotten_stay_in_a_paused_picture():
    screen = Screen(max_tasks=5)
    screen.take(*[screen.life.succeeded(str(number)) for number in range(5)])
    screen.look()
    screen.model.freeze(screen.clock.now)
    screen.take(*[screen.life.succeeded(f"n{number}") for number in range(5)])
    assert screen.drawn() == ["OK"] * 5
    assert screen.model.views["tasks"].subject("0") is not None
    screen.model.thaw()
    screen.look()
    assert screen.model.views["tasks"].subject("0") is None
    assert len(screen.drawn()) == 5


# --- steps ------------------------------------------------------------------------


def step(screen, by):
    picture = screen.model.step(by, screen.clock.now)
    return picture and picture.view


def test_stepping_back_shows_what_was_on_the_screen_and_looked_different(screen):
    screen.take(screen.life.beat(), screen.life.started("t"))
    screen.look("workers")
    for uuid in "tuv":
        screen.take(screen.life.started(uuid))
        screen.look()
        screen.model.views["tasks"].move(1)
        screen.look()  # which looks the same but for the cursor
        screen.model.views["tasks"].go(0)
    screen.model.freeze(screen.clock.now)
    assert len(screen.drawn()) == 3
    assert [step(screen, -1) for _ in range(4)] == ["tasks", "tasks", "workers", None]
    assert screen.drawn("workers") == ["w1@host"]
    assert [step(screen, 1) for _ in range(2)] == ["tasks", "tasks"]
    picture = screen.model.step(-1, screen.clock.now)
    assert len(screen.drawn()) == 1
    assert screen.model.header() is picture.header
    assert screen.model.views["tasks"].counts() == "1 shown"
    for _ in range(3):
        step(screen, 1)
    assert len(screen.drawn()) == 3
    step(screen, -1)
    screen.model.thaw()
    assert len(screen.look()) == 3


def test_stepping_forward_from_the_newest_makes_a_newer_one(screen):
    screen.take(screen.life.started("t"))
    screen.look()
    screen.model.freeze(screen.clock.now)
    screen.take(screen.life.started("u"))
    assert len(screen.drawn()) == 1
    picture = screen.model.step(1, screen.clock.now)
    assert picture.as_of == screen.clock.now
    assert screen.model.paused
    assert len(screen.drawn()) == 2
    step(screen, -1)
    assert len(screen.drawn()) == 1


def test_only_so_many_pictures_are_kept(screen):
    for number in range(PICTURES_MAX + 20):
        screen.take(screen.life.started(str(number)))
        screen.look()
    screen.model.freeze(screen.clock.now)
    screen.drawn()
    # The newest looks like the one that was paused at.
    for _ in range(PICTURES_MAX - 1):
        assert step(screen, -1)
    assert step(screen, -1) is None


# --- anything -----------------------------------------------------------------------

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just("\x1b[31m\u202e画像" * 3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)
# fmt: off
FIELDS = st.sampled_from((
    "hostname", "uuid", "name", "args", "kwargs", "result", "exception", "traceback", "runtime",
    "retries", "root_id", "parent_id", "queue", "eta", "timestamp", "local_received", "pid",
    "clock", "active", "processed", "loadavg", "sw_ident", "freq", "reason", "dropped", "x",
))
TYPES = st.sampled_from((
    "task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-retried",
    "task-revoked", "task-rejected", "task-progress", "worker-online", "worker-heartbeat",
    "worker-offline", "evdump-gap", "custom", "-", "",
))
# fmt: on
UUIDS = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def events(draw):
    """Return an event such as workers send, or one that nobody would."""
    event = {"type": draw(TYPES), "hostname": "w1@host", "uuid": draw(UUIDS)}
    event |= {"timestamp": 1000.0, "local_received": draw(st.floats(990, 1010))}
    event |= {"parent_id": draw(UUIDS), "root_id": draw(UUIDS), "name": "proj.add"}
    return event | draw(st.dictionaries(FIELDS, JUNK, max_size=4))


DONE = {
    "freeze": lambda model, _, now: model.freeze(now),
    "thaw": lambda model, *_: model.thaw(),
    "back": lambda model, _, now: model.paused and model.step(-1, now),
    "forward": lambda model, _, now: model.paused and model.step(1, now),
    "tree": lambda model, *_: model.views["tasks"].toggle_tree(),
    "down": lambda _, table, __: table.move(1),
    "mark": lambda _, table, __: table.toggle_mark(),
    "sort": lambda _, table, __: table.sort_beside(1),
}
ACTIONS = st.sampled_from([*VIEWS, *DONE])


def ask_everything(table):
    """Ask a table for all that a screen may ask it."""
    for index in range(len(table)):
        row = table.row(index)
        assert all(cell.isprintable() for cell in row.cells)
        table.values(row.key)
        table.drill(row.key)
        table.as_json(row.key)
    if table.focus_key is not None:
        table.detail(table.focus_key)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.lists(events(), max_size=5), ACTIONS), max_size=12))
def test_whatever_comes_a_picture_can_be_made(story):
    screen, view = Screen(max_tasks=3), "tasks"
    for batch, action in story:
        screen.model.take(events_of(batch))
        screen.clock.now += 1
        if action in VIEWS:
            view = action
        else:
            DONE[action](screen.model, screen.model.views[view], screen.clock.now)
        screen.look(view)
        ask_everything(screen.model.views[view])
        assert all(line.isprintable() for line in screen.model.diagnosis(view))


@settings(max_examples=50)
@given(st.lists(st.lists(events(), max_size=6), max_size=8), st.booleans())
def test_the_tasks_on_the_screen_are_those_of_the_state(batches, paused):
    screen = Screen(max_tasks=3)
    for batch in batches:
        screen.model.take(events_of(batch))
        if paused:
            screen.model.freeze(screen.clock.now)
            screen.model.take(events_of(batch))
            screen.model.thaw()
        screen.look()
    screen.look()
    newest_first = screen.model.clusters[""].state.tasks_by_time()
    keys = [row_key("", uuid) for uuid, _ in newest_first]
    assert list(screen.model.views["tasks"].keys) == keys


# --- why a table is empty --------------------------------------------------------


LISTENING = (Notice("listening", "redis://x"),)
LOST = (*LISTENING, Notice("lost", "Connection \x1brefused"))
LIFE = Life()
BEATS = [LIFE.beat(f"w{number}@host", active=number) for number in range(7)]
OFF = (
    "7 workers are sending heartbeats but no task events: w0@host, w1@host, w2@host, w3@host,"
    " w4@host, .... Task events are off, or there are no tasks. To enable them: start workers with"
    " -E, set worker_send_task_events, or press a on a worker (view 3) and choose to enable"
    " events. 6 of them report running tasks right now."
)
SILENCE = "Nothing has been received so far. Workers send a heartbeat every few seconds"


@pytest.mark.parametrize(
    ("view", "events", "notices", "filter_text", "said"),
    [
        ("tasks",   [LIFE.sent("t")],        (),        "", ""),
        ("tasks",   [],                      (),        "", "Not connected yet. No tasks yet."),
        ("tasks",   [],                      [Notice("retry", "no route")], "",
         f"Not connected yet: no route {DOCTOR}. No tasks yet."),
        ("tasks",   [],                      LOST,      "",
         "Not connected for 10s: Connection \\x1brefused No tasks yet."),
        ("tasks",   [],                      LISTENING, "", f"No tasks yet. {SILENCE}*{DOCTOR}."),
        ("tasks",   BEATS,                   LISTENING, "", f"No tasks yet. {OFF}"),
        ("types",   BEATS,                   LISTENING, "", f"No tasks yet. {OFF}"),
        ("errors",  BEATS,                   LISTENING, "", f"No failures in the window 5m. {OFF}"),
        ("tasks",   [LIFE.beat(active=0)],   LISTENING, "", "*1 worker is sending*enable events."),
        ("queues",  BEATS,                   LISTENING, "",
         "No queues seen yet. *not asked*task-sent events*task_send_sent_event is off*"),
        ("workers", [LIFE.sent("t")],        LISTENING, "", "No workers seen yet. *no heartbeat*"),
        # No failure is good news and nothing more.
        ("errors",  LIFE.success("t"),       LISTENING, "", "No failures in the window 5m."),
        ("tasks",   [LIFE.started("t")],     LISTENING, "queue:mail",
         "The filter hides all of 1 tasks. Esc clears it*queue: unknown for 100% of tasks*"),
    ],
)  # fmt: skip
def test_an_empty_table_says_why(view, events, notices, filter_text, said):
    clock = FakeClock(1000.0)
    model = Model(clock=clock)
    for notice in notices:
        model.clusters[""].connection.apply(notice)
    model.take(events_of(events))
    clock.now = 1010.0
    model.views[view].set_filter(filter_text)
    model.refresh(view, clock.now)
    text = " ".join(model.diagnosis(view))
    assert text == said or ("*" in said and fnmatchcase(text, said))
