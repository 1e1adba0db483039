"""Graphs: what was drawn can be read back from the picture, at every width."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top.ui import graphs
from evtools.top.ui.widgets import columns, plain

EIGHTHS = " ▁▂▃▄▅▆▇█"
rates = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=60)


def heights(lines, column, unit):
    """Return the heights of a bar, its failures and all of it, in eighths of a row (or in rows)."""
    failed = total = 0
    for line in lines:
        at = 0
        for style, text in line:
            if at <= column < at + len(text):
                glyph = text[column - at]
                if glyph != " ":
                    full = unit if glyph in "▒x#" else EIGHTHS.index(glyph)
                    failed += full if style in ("failure", "stack") else 0
                    total += unit if style == "stack" else full
            at += len(text)
    return failed, total


@given(rates, st.integers(1, 80), st.integers(1, 20), st.booleans())
def test_rates_are_read_back_from_bars(values, cols, rows, ascii_only):
    good, failed = [one for one, _ in values], [two for _, two in values]
    top = graphs.scale_top([[sum(pair) for pair in values]])
    lines = graphs.bars(good, failed, (cols, rows), top=top, ascii_only=ascii_only)
    assert [columns(line) for line in lines] == [cols] * rows
    unit = 1 if ascii_only else 8
    step = top / (rows * unit)
    shown = values[-cols:]
    for number, (ok, bad) in enumerate(shown):
        below, total = heights(lines, cols - len(shown) + number, unit)
        assert total * step == pytest.approx(ok + bad, abs=max(step * 1.01, 1e-9))
        assert below * step == pytest.approx(bad, abs=max(top / rows * 1.01, 1e-9))
        # However few, failures are seen.
        assert (below > 0) == (bad > 0)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1000)), min_size=1, max_size=80),
    st.integers(1, 60),
    st.integers(1, 20),
    st.booleans(),
)
def test_durations_are_read_back_from_a_curve(values, cols, rows, ascii_only):
    top = graphs.scale_top([values])
    lines = graphs.curves([values], ["good"], (cols, rows), top=top, ascii_only=ascii_only)
    assert [columns(line) for line in lines] == [cols] * rows
    wide, high = (1, 1) if ascii_only else (2, 4)
    levels = {}
    for row, line in enumerate(map(plain, lines)):
        for column, glyph in enumerate(line):
            bits = 0 if glyph in " ." else ord(glyph) - 0x2800
            if glyph == ".":
                levels[column] = rows - 1 - row
            for side in range(2):
                for dot, bit in enumerate(graphs._DOTS[side]):
                    if bits & bit:
                        levels[column * 2 + side] = (rows - row) * 4 - 1 - dot
    shown = values[-cols * wide :]
    step = top / max(1, rows * high - 1)
    for number, value in enumerate(shown, cols * wide - len(shown)):
        if value is None:
            assert number not in levels
        else:
            assert (
                levels[number] * step == pytest.approx(value, abs=max(step * 0.51, top * 1e-6))
                or rows * high == 1
            )


@given(
    st.lists(st.dictionaries(st.integers(0, 5), st.integers(0, 1000)), max_size=30), st.booleans()
)
def test_a_heat_map_has_its_shades_where_the_counts_are(counts, ascii_only):
    lines = graphs.heat_map(counts, 6, 20, ascii_only=ascii_only)
    shown = counts[-20:]
    most = max((n for column in shown for n in column.values()), default=0)
    for row, line in enumerate(map(plain, lines)):
        assert len(line) == 20
        for column, glyph in enumerate(line[20 - len(shown) :] if shown else ""):
            count = shown[column].get(5 - row, 0)
            assert (glyph != " ") == (count > 0)
            if count == most > 0:
                assert glyph in "█#"


@pytest.mark.parametrize(
    ("values", "top"),
    [([], 1.0), ([0.0], 1.0), ([0.3], 0.5), ([1.0], 1.0), ([1.01], 2.0), ([7.0], 10.0),
     ([math.inf], 1.0), ([230.0, 12.0], 500.0)],
)  # fmt: skip
def test_a_scale_ends_at_a_round_number(values, top):
    assert graphs.scale_top([values]) == pytest.approx(top)


@pytest.mark.parametrize("cols", [8, 20, 60])
def test_a_graph_has_its_scale_and_its_time(cols):
    lines = [
        *graphs.rates([1.0, 2.0], [0.0, 1.0], (cols, 4), ascii_only=True),
        graphs.time_axis(cols, 900.0, ascii_only=True),
    ]
    texts = list(map(plain, lines))
    assert {len(text) for text in texts} == {cols}
    assert texts[0].startswith(" 5.0/s|")
    assert texts[3].startswith("     0|")
    assert ("15m ago" in texts[-1]) is (cols > 20)
    assert ("now" in texts[-1]) is (cols > 20)
