"""Tests for evtools.top.index."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top import index
from evtools.top.columns import RenderContext, count_column, fields_of, name_column
from evtools.top.index import BUDGET, LiveIndex
from evtools.top.table import LiveTable
from tools.clock import FakeClock


@pytest.fixture(autouse=True)
def _small_strides(monkeypatch):
    monkeypatch.setattr(index, "_STRIDE", 64)


@dataclass
class Thing:
    value: float
    serial: int


class Things:
    """What exists, and an index of it."""

    def __init__(self, clock=None):
        self.clock = clock or FakeClock()
        self.live = {}
        self.serial = 0
        self.chosen, self.order, self.descending = None, None, False
        self.index = LiveIndex(self.clock, lambda key, thing: self.live.get(key) is thing)

    def change(self, key, value):
        self.serial += 1
        thing = self.live.setdefault(key, Thing(value, 0))
        thing.value, thing.serial = value, self.serial
        self.index.take([(key, thing)])

    def forget(self, key):
        if self.live.pop(key, None) is not None:
            self.index.forget([key])

    def filter(self, chosen):
        self.chosen = chosen
        self.index.set_filter(chosen)

    def sort(self, chosen, descending):
        self.order, self.descending = chosen, descending
        self.index.sort(chosen, descending=descending)

    def refresh(self):
        self.index.refresh()
        return list(self.index.keys())

    def rebuilt(self):
        """Return the keys in order, worked out from scratch."""
        chosen = self.chosen or (lambda _: True)
        keys = [key for key, thing in self.live.items() if chosen(thing)]
        if self.order is None:
            return sorted(keys, key=lambda key: -self.live[key].serial)
        keys.sort(key=lambda key: -self.live[key].serial)
        return sorted(keys, key=lambda key: self.live[key].value, reverse=self.descending)


class Slow(FakeClock):
    """A clock on which every look takes a while."""

    def monotonic(self):
        self.now += BUDGET * 1.1
        return self.now


def order(things):
    return [thing.value for thing in things]


def large(thing):
    return thing.value > 5


def test_what_changed_last_comes_first():
    things = Things()
    for key in "abc":
        things.change(key, 1)
    assert things.refresh() == ["c", "b", "a"]
    things.change("a", 2)
    assert things.refresh() == ["a", "c", "b"]
    assert things.index.arrived == 3


def test_nothing_changes_before_a_refresh():
    things = Things()
    things.change("a", 1)
    assert things.index.keys() == []


def test_a_filter_is_asked_about_what_was_there_and_what_comes():
    things = Things()
    for number in range(10):
        things.change(str(number), number)
    things.refresh()
    things.index.set_filter(large)
    assert things.index.waiting == 10
    assert things.refresh() == ["9", "8", "7", "6"]
    things.change("9", 0)
    things.change("0", 9)
    assert things.refresh() == ["0", "8", "7", "6"]
    assert things.index.arrived == 11
    things.index.set_filter(None)
    assert things.refresh()[:3] == ["0", "9", "8"]


def test_a_filter_that_takes_long_begins_with_the_newest():
    things = Things(Slow())
    for number in range(200):
        things.change(str(number), 9)
    things.index.settle()
    things.index.set_filter(large)
    things.index.work()
    first = things.index.keys()
    assert 0 < len(first) < 200
    assert first[0] == "199"
    assert things.index.waiting == 200 - len(first)
    while things.index.waiting:
        things.refresh()
    assert len(things.refresh()) == 200


def test_what_is_forgotten_before_it_was_asked_about_is_not_shown():
    things = Things(Slow())
    for number in range(200):
        things.change(str(number), 9)
    things.index.settle()
    things.index.set_filter(large)
    for number in range(50):
        things.forget(str(number))
    while things.index.waiting:
        things.refresh()
    assert len(things.refresh()) == 150


def test_a_filter_that_drifts_is_asked_again():
    things = Things()
    limit = [5]
    for number in range(10):
        things.change(str(number), number)
    things.refresh()
    things.index.set_filter(lambda thing: thing.value > limit[0], drifts=True)
    assert len(things.refresh()) == 4
    limit[0] = 8
    assert things.refresh() == ["9"]
    assert things.index.waiting == 0
    limit[0] = 5
    things.index.sort(order)
    assert things.refresh() == ["6", "7", "8", "9"]


def test_a_sort_places_what_changes():
    things = Things()
    for key, value in zip("abc", (2, 3, 1), strict=True):
        things.change(key, value)
    things.refresh()
    things.index.sort(order, descending=True)
    assert things.refresh() == ["b", "a", "c"]
    assert things.refresh() == ["b", "a", "c"]
    things.change("c", 9)
    things.forget("b")
    assert things.refresh() == ["c", "a"]
    things.index.sort(None)
    assert things.refresh() == ["c", "a"]


def test_a_sort_that_takes_long_begins_with_the_newest():
    things = Things(Slow())
    for number in range(200):
        things.change(str(number), -number)
    things.index.settle()
    things.index.refresh()
    things.index.sort(order)
    keys = things.index.keys()
    assert 0 < len(keys) < 200
    assert things.index.waiting == 200 - len(keys)
    assert keys[0] == "199"
    while things.index.waiting:
        keys = things.refresh()
    assert keys == [str(number) for number in range(199, -1, -1)]


def test_what_moves_by_itself_is_placed_at_every_refresh():
    things = Things()
    for key, value in zip("abc", (2, 3, 1), strict=True):
        things.change(key, value)
    things.refresh()
    things.index.sort(order, moves=lambda thing: thing.serial == 1)
    assert things.refresh() == ["c", "a", "b"]
    things.live["a"].value = 9
    things.live["c"].value = 8
    assert things.refresh() == ["c", "b", "a"]


def test_what_moves_is_looked_at_in_turn():
    things = Things(Slow())
    for number in range(200):
        things.change(str(number), number)
    things.index.settle()
    things.index.sort(order, moves=lambda _: True)
    while things.index.waiting:
        keys = things.refresh()
    for thing in things.live.values():
        thing.value = -thing.value
    assert things.refresh() != keys
    assert things.index.waiting == 0
    for _ in range(5):
        keys = things.refresh()
    assert keys == [str(number) for number in range(199, -1, -1)]


@pytest.mark.parametrize("chosen", [None, large])
def test_one_key_comes_first(chosen):
    things = Things(Slow())
    for number in range(300):
        things.change(str(number), 9)
    things.index.settle()
    things.index.set_filter(chosen, first="7")
    things.index.sort(order, first="7")
    keys = things.index.keys()
    assert "7" in keys
    assert "8" not in keys


def test_many_changes_are_taken_in_bit_by_bit():
    things = Things(Slow())
    for number in range(300):
        things.change(str(number), 9)
    assert len(things.refresh()) < 300
    assert things.index.waiting == 300 - len(things.index.subjects)
    things.forget("299")
    things.change("0", 9)
    things.change("300", 9)
    while things.index.waiting:
        things.refresh()
    assert things.refresh() == things.rebuilt()
    assert len(things.rebuilt()) == 300


def test_another_object_can_stand_for_a_subject():
    things = Things()
    things.change("a", 1)
    things.refresh()
    still = Thing(7, 7)
    things.index.substitute("a", still)
    things.index.substitute("b", still)
    assert things.index.subjects == {"a": still}
    things.change("a", 2)
    things.refresh()
    assert things.index.subjects["a"] is things.live["a"]


def test_changes_that_nobody_looks_at_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(index, "_CHANGES_MAX", 10)
    things = Things()
    things.index.refresh()
    for number in range(1000):
        things.change(str(number), number)
        things.forget(str(number - 3))
    assert len(things.index._changes) <= 12
    assert things.refresh() == ["999", "998", "997"]


KEYS = st.sampled_from("abcdefgh")
STEPS = st.one_of(
    st.tuples(st.just("change"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("forget"), KEYS),
    st.tuples(st.just("filter"), st.sampled_from([None, large])),
    st.tuples(st.just("sort"), st.sampled_from([None, order]), st.booleans()),
    st.tuples(st.just("refresh")),
)


@given(st.lists(STEPS), st.booleans())
def test_an_index_is_what_a_rebuild_from_scratch_would_be(steps, slow):
    things = Things(Slow() if slow else None)
    for name, *arguments in steps:
        getattr(things, name)(*arguments)
    keys = things.refresh()
    while things.index.waiting:
        keys = things.refresh()
    assert keys == things.rebuilt()


# --- as a table --------------------------------------------------------------------

COLUMNS = (
    name_column("name", "NAME", "the name", lambda row, _: row.name),
    count_column("count", "COUNT", "how many", lambda row, _: row.count),
)
LENS = RenderContext(100.0)


class Table(LiveTable):
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

    def _note(self):
        pass

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


def filled():
    table = Table()
    for name, count in (("a", 3), ("b", 1), ("c", 2)):
        table.change(name, count)
    table.refresh(LENS)
    return table


def keys(table):
    return list(table.cursor.keys)


def test_subjects_come_as_they_are_told_of():
    table = filled()
    assert keys(table) == ["c", "b", "a"]
    assert (table.total, table.arrived, table.waiting) == (3, 3, 0)
    assert table.subject("a").count == 3
    assert table.subject("x") is None


def test_an_order_is_made_when_it_changes():
    table = filled()
    table.sort_by("count")
    assert keys(table) == ["a", "c", "b"]
    table.refresh(LENS)
    assert table.orders == 2
    table.invert()
    assert keys(table) == ["b", "c", "a"]
    assert table.orders == 3


def test_a_filter_is_asked_at_once_and_about_what_comes():
    table = filled()
    table.set_filter("count>1")
    assert keys(table) == ["c", "a"]
    table.change("b", 5)
    table.refresh(LENS)
    assert keys(table) == ["b", "c", "a"]
    table.set_filter("")
    assert len(table) == 3


def test_what_is_forgotten_loses_its_mark():
    table = filled()
    table.marks.update("ab")
    table.forget("b")
    table.refresh(LENS)
    assert table.marks == {"a"}
    assert keys(table) == ["c", "a"]


def test_a_frozen_table_goes_on_searching_what_it_has():
    table = filled()
    table.frozen = True
    table.change("d", 9)
    table.set_filter("count>1")
    table.refresh(LENS)
    assert keys(table) == ["c", "a"]
    table.frozen = False
    table.refresh(LENS)
    assert keys(table) == ["d", "c", "a"]
