"""Tests for evtools.top.projected."""

from types import SimpleNamespace

from evtools.top.cells import count_column, name_column
from evtools.top.columns import Lens, fields_of
from evtools.top.projected import ProjectedTable
from tools.clock import FakeClock

COLUMNS = (
    name_column("name", "NAME", "the name", lambda row, _: row.name),
    count_column("count", "COUNT", "how many", lambda row, _: row.count),
)
LENS = Lens(100.0)


class Things(ProjectedTable):
    """A table of what it is told of."""

    name = "things"
    title = "Things"
    noun = "things"
    default_sort = "name"

    def __init__(self):
        self.live = {}
        self.orders = 0
        super().__init__(FakeClock(), FakeClock().wall)

    @property
    def columns(self):
        return COLUMNS

    @property
    def fields(self):
        return fields_of(COLUMNS, self.now)

    def _is_alive(self, key, subject):
        return self.live.get(key) is subject

    def _order(self):
        self.orders += 1
        if self.sort_key == "name":
            return None
        return lambda things: [thing.count for thing in things]

    def change(self, name, count):
        thing = self.live.setdefault(name, SimpleNamespace(name=name, count=0))
        thing.count = count
        self._index.take([(name, thing)])

    def forget(self, name):
        del self.live[name]
        self._index.forget([name])


def things():
    table = Things()
    for name, count in (("a", 3), ("b", 1), ("c", 2)):
        table.change(name, count)
    table.refresh(LENS)
    return table


def keys(table):
    return list(table.cursor.keys)


def test_subjects_come_as_they_are_told_of():
    table = things()
    assert keys(table) == ["c", "b", "a"]
    assert (table.total, table.arrived, table.waiting) == (3, 3, 0)
    assert table.subject("a").count == 3
    assert table.subject("x") is None


def test_an_order_is_made_when_it_changes():
    table = things()
    table.sort_by("count")
    assert keys(table) == ["a", "c", "b"]
    table.refresh(LENS)
    assert table.orders == 2
    table.invert()
    assert keys(table) == ["b", "c", "a"]
    assert table.orders == 3


def test_a_filter_is_asked_at_once_and_about_what_comes():
    table = things()
    table.set_filter("count>1")
    assert keys(table) == ["c", "a"]
    table.change("b", 5)
    table.refresh(LENS)
    assert keys(table) == ["b", "c", "a"]
    table.set_filter("")
    assert len(table) == 3


def test_what_is_forgotten_loses_its_mark():
    table = things()
    table.marks.update("ab")
    table.forget("b")
    table.refresh(LENS)
    assert table.marks == {"a"}
    assert keys(table) == ["c", "a"]


def test_a_frozen_table_goes_on_searching_what_it_has():
    table = things()
    table.frozen = True
    table.change("d", 9)
    table.set_filter("count>1")
    table.refresh(LENS)
    assert keys(table) == ["c", "a"]
    table.frozen = False
    table.refresh(LENS)
    assert keys(table) == ["d", "c", "a"]
