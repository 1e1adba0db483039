"""Windows: counts by name and cell that slide with time, bounded by both."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from evtools.state import WINDOWS
from evtools.state.statistics.windows import Windows
from tools.watched import T

_STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.integers(0, 3), st.one_of(st.floats(0, 10), st.floats(0, 5000))
    ),
    max_size=60,
)


@given(_STEPS, st.integers(1, 3), st.integers(1, 40))
def test_counts_are_folded_and_never_lost_where_there_are_too_many(steps, max_names, max_cells):
    windows = Windows(others="(others)", max_names=max_names, max_cells=max_cells)
    now, until, counted = T, 0.0, Counter()
    for name, cell, after in steps:
        now += after
        if now >= until:
            until = windows.advance(now)
        windows[name][cell] += 1
        counted[cell] += 1
        assert len(windows.names) <= max_names
        for window in WINDOWS:
            found = windows.read(window, now)
            assert set(found) <= {*windows.names, "(others)"}
            assert all(min(cells.values()) > 0 for cells in found.values())
        assert sum(map(Counter, found.values()), Counter()) == counted


def test_the_memory_of_many_cells_is_bounded():
    bounded, free = (
        Windows(others="(others)", max_names=1000, max_cells=cells) for cells in (500, 100_000)
    )
    for slot in range(300):
        for windows in (bounded, free):
            windows.advance(T + 50 * slot)
            for name in range(20):
                windows[f"{name}"][slot * 7 % 40 + name] += 1
    assert bounded.folded
    assert not free.folded
    assert bounded.weight_bytes() < free.weight_bytes() / 3
