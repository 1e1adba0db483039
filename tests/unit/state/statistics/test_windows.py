from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.statistics.windows import WIDTHS, WINDOWS, Windows

T = 1_000_000_000.0
OTHERS = "(others)"


def make(max_names=100, **limits):
    return Windows(others=OTHERS, max_names=max_names, **limits)


class Counting:
    """Windows that go on to the next slot by themselves, and a list of all counts."""

    def __init__(self, windows):
        self.windows = windows
        self.next = -inf
        self.counted = []

    def count(self, name, cell, at):
        if at >= self.next:
            self.next = self.windows.advance(at)
        self.windows[name][cell] += 1
        self.counted.append((name, cell, at))

    def expected(self, window, now, *, by_name=True):
        """Return what must be in a window: whole slots, the first one cut nowhere."""
        width = WIDTHS[list(WINDOWS).index(window)]
        span = WINDOWS[window]
        edge = -inf if span is None else (now - span) // width * width
        counts = {}
        for name, cell, at in self.counted:
            if at >= edge:
                counts.setdefault(name if by_name else "", Counter())[cell] += 1
        return counts


moments = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.integers(0, 3), st.one_of(st.floats(0, 10), st.floats(0, 5000))
    ),
    max_size=60,
)


@given(moments, st.floats(0, 5000))
def test_a_window_has_what_happened_in_its_slots(steps, idle):
    counting = Counting(make())
    now = T
    for name, cell, after in steps:
        now += after
        counting.count(name, cell, now)
        for window in WINDOWS:
            assert counting.windows.read(window, now) == counting.expected(window, now)
    for window in WINDOWS:
        later = now + idle
        assert counting.windows.read(window, later) == counting.expected(window, later)


@given(moments, st.integers(1, 3), st.integers(1, 40))
def test_what_is_folded_is_counted_with_the_others(steps, max_names, max_cells):
    counting = Counting(make(max_names, max_cells=max_cells))
    now = T
    for name, cell, after in steps:
        now += after
        counting.count(name, cell, now)
        assert len(counting.windows.names) <= max_names
        for window in WINDOWS:
            found = counting.windows.read(window, now)
            assert set(found) <= {*counting.windows.names, OTHERS}
            assert all(min(cells.values()) > 0 for cells in found.values())
            total = sum(map(Counter, found.values()), Counter())
            expected = counting.expected(window, now, by_name=False)
            assert total == expected.get("", Counter())


def test_a_window_slides_by_its_slots():
    counting = Counting(make())
    counting.count("a", 0, T + 1)
    windows = counting.windows
    assert windows.read("1m", T + 61) == {"a": {0: 1}}
    assert windows.read("1m", T + 64.9) == {"a": {0: 1}}
    assert windows.read("1m", T + 65) == {}
    assert windows.read("5m", T + 65) == {"a": {0: 1}}
    assert windows.read("1h", T + 1e6) == {}
    assert windows.read("all", T + 1e6) == {"a": {0: 1}}


def test_what_was_read_may_be_changed():
    counting = Counting(make())
    for after in (0, 7, 20, 100):
        counting.count("a", 0, T + after)
    counting.windows.read("5m", T + 100)["a"][0] = 77
    assert counting.windows.read("5m", T + 100) == {"a": {0: 4}}


def test_rates_divide_by_the_time_that_was_listened_to():
    windows = make()
    assert windows.covered("5m", T) == 1
    windows.advance(T)
    assert windows.covered("5m", T) == 1
    assert windows.covered("5m", T + 12) == 12
    assert windows.covered("1m", T + 120) == 60
    assert windows.covered("1m", T + 124) == 64
    assert windows.covered("all", T + 5000) == 5000


def test_the_name_that_was_silent_for_longest_is_folded():
    folded = []
    counting = Counting(make(2, on_fold=folded.append))
    for name, after in (("a", 0), ("b", 5), ("a", 10), ("c", 15)):
        counting.count(name, 0, T + after)
    windows = counting.windows
    assert windows.read("all", T + 15) == {"a": {0: 2}, OTHERS: {0: 1}, "c": {0: 1}}
    assert folded == ["b"]
    assert windows.folded == 1


def test_a_name_that_comes_back_begins_anew():
    counting = Counting(make(1))
    for name, after in (("a", 0), ("b", 10), ("a", 20), ("a", 70)):
        counting.count(name, 0, T + after)
    windows = counting.windows
    assert windows.read("5m", T + 70) == {"a": {0: 2}, OTHERS: {0: 2}}
    # The first `a` leaves with the others that it was counted with.
    assert windows.read("1m", T + 70) == {"a": {0: 2}, OTHERS: {0: 1}}


def test_the_others_may_be_counted_like_any_name():
    windows = make(1)
    windows[OTHERS][0] += 1
    assert OTHERS not in windows.names
    assert windows.read("all", T) == {OTHERS: {0: 1}}


def test_what_many_cells_take_is_bounded():
    windows = make(1000, max_cells=500)
    for slot in range(100):
        windows.advance(T + 5 * slot)
        for name in range(10):
            windows[f"t{name}"][slot % 40 + name] += 1
        cells = sum(level.cells() for level in windows._levels)
        assert cells <= 500 + 2 * 5 * 50  # what is open, and the others
    assert windows.folded


def test_the_trend_shows_rates_of_the_last_five_minutes():
    counting = Counting(make())
    start = T - T % 300
    for second in range(315):
        counting.count("a", 3 if second < 285 else 4, start + second)
    trend = counting.windows.trend("a", (3, 4), start + 315)
    assert trend == pytest.approx([1.0] * 20)
    assert counting.windows.trend("a", (4,), start + 315)[-3:] == pytest.approx([0, 1, 1])
    assert counting.windows.trend("b", (3,), start + 315) == [0.0] * 20
    assert counting.windows.trend("a", (3,), start + 10_000) == [0.0] * 20


def test_memory_is_told_and_stays_bounded():
    windows = make(50)
    weights = []
    for slot in range(300):
        windows.advance(T + 50 * slot)
        for name in range(100):
            windows[f"type{slot}-{name}"][name % 30] += 1
        weights.append(windows.weight_bytes())
    assert weights[0] > 0
    assert max(weights[100:]) <= max(weights[:100]) * 1.05


def test_windows_of_no_such_name_cannot_be_read():
    with pytest.raises(KeyError, match="2m"):
        make().read("2m", T)
