"""The index of very many subjects: filtered, sorted, and kept up to date."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top import index
from evtools.top.index import BUDGET, LiveIndex
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


def many(count, value=lambda number: number, **how):
    """Return so many things, all noted."""
    things = Things(**how)
    for number in range(count):
        things.change(str(number), value(number))
    return things


def test_what_changed_last_comes_first():
    things = many(3)
    assert things.refresh() == ["2", "1", "0"]
    things.change("0", 2)
    assert things.refresh() == ["0", "2", "1"]
    assert things.index.arrived == 3
    things.index.set_filter(large)
    things.change("1", 9)
    assert (things.refresh(), things.index.arrived) == (["1"], 4)


def test_a_filter_that_takes_long_begins_with_the_newest():
    things = many(200, lambda _: 9, clock=Slow())
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


def test_a_filter_that_drifts_is_asked_again():
    limit = [5]
    things = many(10)
    things.refresh()
    things.index.set_filter(lambda thing: thing.value > limit[0], drifts=True)
    assert len(things.refresh()) == 4
    limit[0] = 8
    assert things.refresh() == ["9"]
    assert things.index.waiting == 0
    limit[0] = 5
    things.index.sort(order)
    assert things.refresh() == ["6", "7", "8", "9"]


def test_a_sort_that_takes_long_begins_with_the_newest():
    things = many(200, lambda number: -number, clock=Slow())
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


def test_what_moves_is_looked_at_in_turn():
    things = many(200, clock=Slow())
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
    things = many(300, lambda _: 9, clock=Slow())
    things.index.settle()
    things.index.set_filter(chosen, first="7")
    things.index.sort(order, first="7")
    keys = things.index.keys()
    assert "7" in keys
    assert "8" not in keys


def test_many_changes_are_taken_in_bit_by_bit():
    things = many(300, lambda _: 9, clock=Slow())
    assert len(things.refresh()) < 300
    assert things.index.waiting == 300 - len(things.index.subjects)
    things.forget("299")
    things.change("0", 9)
    things.change("300", 9)
    while things.index.waiting:
        things.refresh()
    assert things.refresh() == things.rebuilt()
    assert len(things.rebuilt()) == 300


def test_changes_that_nobody_looks_at_do_not_pile_up():
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
