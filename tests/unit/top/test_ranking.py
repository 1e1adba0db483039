"""Tests for evtools.top.ranking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.top import ranking
from evtools.top.ranking import Ranking

KEYS = st.sampled_from([f"{number:02}" for number in range(40)])
STEPS = st.one_of(
    st.tuples(st.just("place"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.just("gather"), st.lists(st.tuples(KEYS, st.integers(0, 9)))),
)


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch):
    monkeypatch.setattr(ranking, "_PART", 3)


@given(st.lists(STEPS, max_size=150), st.booleans())
def test_it_is_what_sorting_all_would_be(steps, descending):
    made = Ranking(descending=descending)
    ranks = {}
    for name, key, *value in steps:
        if name == "gather":
            new = dict(key)
            ranks |= new
            made.gather(list(new), [(rank, one) for one, rank in new.items()])
            assert made.gathered == len(new)
            made.place_gathered()
        elif name == "place":
            ranks[key] = value[0]
            made.place((value[0], key))
        else:
            ranks.pop(key, None)
            made.drop(key)
    keys = sorted(ranks, key=lambda key: (ranks[key], key), reverse=descending)
    assert list(made) == keys
    assert len(made) == len(keys)
    assert [made[at] for at in range(len(keys))] == keys
    assert [made[at] for at in range(-len(keys), 0)] == keys
    assert [made.index(key) for key in keys] == list(range(len(keys)))
    assert made[2:9] == keys[2:9]
    assert made[:5] == keys[:5]
    assert made[::-1] == keys[::-1]


def test_what_is_not_there_is_not_found():
    made = Ranking()
    made.drop("a")
    made.place((1, "a"))
    made.place((2, "b"))
    assert "a" in made
    assert "c" not in made
    with pytest.raises(ValueError, match="c"):
        made.index("c")
    with pytest.raises(ValueError, match="a"):
        made.index("a", 1)
    assert made.index("b", 1) == 1
    for index in (2, -3):
        with pytest.raises(IndexError):
            made[index]


def test_ranks_of_several_parts_are_compared_in_turn():
    made = Ranking()
    made.place((1.0, 9, "a"))
    made.place((1.0, 2, "b"))
    made.place((0.0, 5, "c"))
    assert list(made) == ["c", "b", "a"]
