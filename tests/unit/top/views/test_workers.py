"""Tests for evtools.top.views.workers."""

import pytest

from evtools.filters import compile_filter, task_fields
from evtools.state import State, Statistics
from evtools.top.columns import Lens
from evtools.top.views.workers import WorkersView
from tools.clock import FakeClock
from tools.life import Life


class Workers:
    """A state with its workers as a table."""

    def __init__(self):
        self.life = Life()
        self.state, self.statistics = State(), Statistics()
        self.table = WorkersView(self.state, self.statistics, FakeClock().wall)
        self.table.resize(200)

    def take(self, *events):
        self.statistics.take(self.state.apply(events))

    def refresh(self, after=1.0):
        self.table.refresh(Lens(self.life.now + after))
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


def test_its_room_is_shown_where_it_is_known(workers):
    workers.table.slots_of = {"w1@host": 16}
    workers.take(workers.life.beat())
    workers.refresh()
    assert workers.cells("active") == ["1/16"]


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


def test_all_that_is_known_is_exported(workers):
    workers.take(workers.life.beat())
    workers.refresh()
    record = workers.table.record("w1@host")
    assert (record["worker"], record["status"], record["active"]) == ("w1@host", "online", 1)
    assert workers.table.detail("w1@host").title == "w1@host"
