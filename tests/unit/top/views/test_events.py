"""The view of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top.clusters import Clusters
from evtools.top.columns import RenderContext
from evtools.top.options import TopOptions
from evtools.top.ui.theme import STYLES
from evtools.top.views.events import EventsView, event_story
from evtools.wire import GAP
from tools.clock import FakeClock
from tools.gaps import gap
from tools.life import Life
from tools.typed import event_of, events_of


class Events:
    """A state, and its events as a table."""

    def __init__(self, **bounds):
        self.life = Life()
        clusters = Clusters([""], TopOptions(), FakeClock())
        self.state = clusters[""].state
        self.table = EventsView(clusters, FakeClock(), **bounds)

    def take(self, *events):
        events = events_of(events)
        self.state.apply(events)
        self.table.take(events)

    def refresh(self):
        self.table.refresh(RenderContext(self.life.now))
        return self.cells("type")

    def cells(self, name):
        at = [slot.column.name for slot in self.table.slots].index(name)
        return [self.table.row(n).cells[at].strip() for n in range(len(self.table))]


@pytest.fixture
def events():
    return Events()


def test_the_newest_event_is_at_the_bottom_and_followed(events):
    events.take(*events.life.success("t"))
    assert events.refresh() == ["SENT", "RECV", "START", "OK"]
    assert events.table.focus_index == 3
    assert events.table.follows
    assert events.cells("time")[0] == "00:16:40.100"
    assert events.cells("story")[3] == "500ms  3"
    assert events.table.row(3).style == "good"


def test_events_know_their_task_but_not_what_it_came_to(events):
    events.take(*events.life.failure("t"))
    events.refresh()
    assert set(events.cells("name")) == {"proj.add"}
    for text, kinds in (
        ("name:proj.add queue:mail type:task-started", ["START"]),
        ("has:exc", ["FAIL"]),
    ):
        events.table.set_filter(text)
        assert events.cells("type") == kinds
    joined = events.table.record_of(event_of({"type": "task-sent", "uuid": "t"})).joined
    assert "name" in joined
    assert "exception" not in joined
    assert len(joined) == len(list(joined))


def test_scrolling_up_stops_following_and_counts_what_comes(events):
    events.take(*events.life.success("t"))
    events.refresh()
    events.table.move(-1)
    events.take(*events.life.success("u"))
    for _ in range(6):
        events.refresh()
    assert events.table.focus_index == 2
    assert events.table.news() == "4 new below, G to follow"
    events.table.move(99)
    events.refresh()
    assert (events.table.news(), events.table.focus_index) == ("", 7)


def test_the_order_is_that_of_receipt_and_can_be_turned_round(events):
    events.take(*events.life.success("t"))
    events.table.sort_by("name")
    events.refresh()
    events.table.invert()
    assert events.refresh() == ["OK", "START", "RECV", "SENT"]


def test_the_oldest_go_when_there_are_too_many():
    events = Events(max_events=5)
    events.take(*[{"type": str(number)} for number in range(4)])
    assert events.refresh() == list("0123")
    weight_bytes = events.table.weight_bytes
    # Of those that came together some may stay.
    events.take(*[{"type": str(number)} for number in range(4, 8)])
    assert weight_bytes < events.table.weight_bytes < 2 * weight_bytes
    events.take()
    assert events.refresh() == list("34567")
    assert (events.table.total, events.table.subject("2")) == (5, None)


def test_the_oldest_go_when_they_weigh_too_much():
    events = Events(max_bytes=10_000)
    for _ in range(100):
        events.take({"type": "task-received", "args": "x" * 1000})
    assert 1 <= len(events.refresh()) <= 2
    assert 5000 < events.table.weight_bytes <= 10_000
    # Containers weigh more than they seem to.
    events.take({"type": "a", "nested": [[]] * 150})
    assert (events.refresh(), events.table.weight_bytes) == ([], 0)


def test_a_detail_has_all_of_the_event_and_of_its_task(events):
    events.take(*events.life.failure("t", args="(" + "x" * 1020 + "...)"))
    events.refresh()
    detail = events.table.detail(events.table.focus_key)
    assert detail.title == "task-failed"
    assert detail.section == "Traceback"
    info = detail.sections["Info"]
    assert "exception      ValueError('no 12')" in info
    assert "name           proj.add  (of the task)" in info
    assert not any(line.startswith("traceback") for line in info)
    assert any("cut by the sender" in line for line in info)
    assert detail.sections["Raw"][0] == "{"
    assert events.table.detail("99") is None


def test_values_of_an_event_make_filters(events):
    events.take(*events.life.failure("t"), events.life.beat())
    events.refresh()
    values = events.table.values("3")
    assert list(values) == ["type", "name", "worker", "uuid", "queue", "exc", "root"]
    for field, value in values.items():
        events.table.narrow(field, value)
    assert events.cells("type") == ["FAIL"]
    assert events.table.values("99") == {}
    assert events.table.drill("3") is None


def test_an_event_is_exported_as_it_came(events):
    beat = events.life.beat()
    events.take(beat, {"type": "custom"}, gap("reconnect", 0.0, 12.0))
    events.refresh()
    assert (events.table.record("0"), events.table.record("99")) == (beat, {})
    assert events.cells("time")[1] == "-"
    assert events.cells("story")[2] == "12.0s without events: reconnect"


# --- words -----------------------------------------------------------------------


# fmt: off
#: Fields of an event, its word, and its line.
STORIES = [
    ({"type": "task-sent", "queue": "mail"},               "SENT",   "queue=mail"),
    ({"type": "task-received", "args": "(1,)", "kwargs": "{}"}, "RECV", "(1,)"),
    ({"type": "task-started"},                             "START",  ""),
    ({"type": "task-succeeded", "runtime": 1.04, "result": "3"}, "OK", "1.04s  3"),
    ({"type": "task-succeeded", "runtime": "x"},           "OK",     "x"),
    ({"type": "task-failed", "exception": "E()"},          "FAIL",   "E()"),
    ({"type": "task-revoked", "terminated": True, "expired": False}, "REVOKE", "terminated=true"),
    ({"type": "worker-heartbeat", "active": 0, "loadavg": [1.5, 2]}, "beat", "active=0  loadavg=1.5"),  # noqa: E501
    ({"type": "worker-heartbeat", "loadavg": [[], 2]},     "beat",   "loadavg=[]"),
    ({"type": "task-progress", "uuid": "u", "percent": 40}, "task-progress", "percent=40"),
    ({"type": GAP, "reason": "reconnect", "duration": 12.0, "error": "refused"}, "GAP", "12.0s without events: reconnect (refused)"),  # noqa: E501
    ({"type": GAP, "reason": "buffer", "dropped": 17},     "GAP",    "17 events dropped: evtop was too slow"),  # noqa: E501
    ({"type": GAP, "reason": "worker", "missed": 3, "hostname": "w1"}, "GAP", "~3 tasks of w1 not seen"),  # noqa: E501
    ({"type": GAP}, "GAP", "some time without events: unknown"),
]
# fmt: on


@pytest.mark.parametrize(("fields", "word", "story"), STORIES)
def test_an_event_is_shown_in_a_line(events, fields, word, story):
    events.take(fields)
    assert events.refresh() == [word[:16]]
    assert event_story(event_of(fields)) == story
    assert events.table.row(0).style in {*STYLES, ""}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = ("queue", "args", "runtime", "result", "exception", "loadavg", "active", "x")


@given(
    st.sampled_from(["task-sent", "task-succeeded", "worker-heartbeat", "x", GAP]),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_any_json_can_be_shown(type_, fields):
    assert isinstance(event_story(event_of({"type": type_, **fields})), str)
