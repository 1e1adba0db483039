"""Tests for evtools.top.tree."""

from hypothesis import given
from hypothesis import strategies as st

from evtools.top.tree import MAX_DEPTH, grow, tops

FAMILY = {"a": ["b", "c"], "b": ["d"], "c": ["e"]}


def lines(roots, family, **more):
    nodes = grow(roots, lambda key: family.get(key, []), **more)
    return [node.prefix + node.key for node in nodes]


def test_children_stand_below_their_parent():
    assert lines("a", FAMILY) == ["a", "├─ b", "│  └─ d", "└─ c", "   └─ e"]


def test_a_terminal_without_lines_gets_ascii():
    assert lines("ax", FAMILY, ascii_only=True) == [
        *("a", "|- b", "|  `- d", "`- c", "   `- e", "x")
    ]


def test_what_is_closed_hides_its_children():
    assert lines("a", FAMILY, closed={"b", "d"}) == ["a", "├─ + b", "└─ c", "   └─ e"]


def test_there_are_no_more_rows_than_wanted():
    assert lines("a", FAMILY, max_rows=2) == ["a", "├─ b"]


def test_a_root_that_is_named_twice_stands_once():
    assert lines("aba", {"a": ["b"]}) == ["a", "└─ b"]


def test_cycles_are_harmless():
    assert lines("a", {"a": ["b"], "b": ["a", "b", "c"]}) == ["a", "└─ b", "   └─ c"]


def test_what_is_too_deep_is_hidden():
    chain = {str(number): [str(number + 1)] for number in range(1000)}
    found = lines(["0"], chain)
    assert len(found) == MAX_DEPTH + 2
    assert found[-1].endswith(f"+ {MAX_DEPTH + 1}")


def test_the_top_is_the_highest_ancestor_that_is_shown():
    parents = {"d": "b", "b": "a", "e": "c", "c": "a", "x": "gone", "a": None}
    assert list(tops("debx", parents.get, set("abcdex"))) == ["a", "x"]
    assert list(tops("de", parents.get, set("bcde"))) == ["b", "c"]


def test_a_cycle_has_one_top():
    parents = {"a": "b", "b": "c", "c": "b"}
    assert list(tops("abc", parents.get, set("abc"))) == ["b"]
    assert list(tops("x", {"x": "x"}.get, {"x"})) == ["x"]


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 20)))
def test_a_forest_has_every_key_once_whatever_their_parents_are(parents):
    shown = {str(key) for key in parents}
    above = {str(key): str(parent) for key, parent in parents.items()}
    below = {}
    for key, parent in above.items():
        below.setdefault(parent, []).append(key)
    roots = tops(sorted(shown), above.get, shown)
    keys = [node.key for node in grow(roots, lambda key: below.get(key, []))]
    assert sorted(keys) == sorted(shown)
