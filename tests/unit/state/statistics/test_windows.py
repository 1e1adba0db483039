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


@given(_STEPS, st.sampled_from((120.0, 900.0, 3600.0, 86_400.0)))
def test_what_was_counted_is_found_again_slot_by_slot(steps, span):
    windows = Windows(others="(others)", max_names=10)
    now, until, counted = T, 0.0, []
    for name, cell, after in steps:
        now += after
        if now >= until:
            until = windows.advance(now)
        windows[name][cell] += 1
        counted.append((now, name, cell))
    for name in (None, "a", "nobody"):
        width, slots = windows.series(name, span, now)
        first = now // width - len(slots) + 1
        for number, cells in enumerate(slots):
            of_slot = [
                c for at, n, c in counted if at // width == first + number and name in (None, n)
            ]
            assert cells == Counter(of_slot)
        assert len(slots) * width >= min(span, now - (windows.since or now)) - width
        assert len(slots) * width <= span + width
    if now - T > 120:
        start, end = (T // 60 + 1) * 60, now // 60 * 60
        found = windows.between(start, end)
        wanted = {}
        for at, name, cell in counted:
            if start <= at < end and at // 60 < windows._levels[2].index:
                wanted.setdefault(name, Counter())[cell] += 1
        assert {name: Counter(cells) for name, cells in found.items()} == wanted


def test_a_day_is_kept_as_far_as_it_fits():
    kept, bounded = (
        Windows(others="(others)", max_names=1000, past_bytes=size) for size in (2**26, 300_000)
    )
    for windows in (kept, bounded):
        for minute in range(26 * 60):
            windows.advance(T + 60 * minute)
            for name in range(10):
                windows[f"{name}"][name] += 1
    now = T + 26 * 3600 - 60
    assert 86_400 <= kept.reach(now) < 86_460
    width, slots = kept.series("3", 86_400, now)
    assert (width, len(slots)) == (60.0, 1440)
    assert [cells for cells in slots if cells != {3: 1}] == []
    hour_ago = kept.between(now - 7200, now - 3600)
    assert hour_ago["3"][3] in (59, 60)
    # As much as fits, and no minute of which a part is missing.
    assert bounded.weight_bytes() < 700_000 < kept.weight_bytes() < 4_000_000
    reach = bounded.reach(now)
    assert 600 < reach < 40_000
    assert len(bounded.series("3", 86_400, now)[1]) == reach // 60 + 1
