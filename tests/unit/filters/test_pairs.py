"""Tests for evtools.filters.pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.pairs import MAX_CHARS, pair_test, pairs
from evtools.filters.tokens import Value

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii"))
NESTED = SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS)


@pytest.mark.parametrize(
    ("kwargs", "found"),
    [
        ("{}", []),
        ("{'a': 1}", [("a", "1")]),
        ("{'a': 'x, y', 'b': [1, {'c': 2}]}", [("a", "'x, y'"), ("b", "[1, {'c': 2}]")]),
        ("{'a': <Foo at 0x1f>, 'b': d(1, 2)}", [("a", "<Foo at 0x1f>"), ("b", "d(1, 2)")]),
        ('{"a": "it\'s", "b": null}', [("a", '"it\'s"'), ("b", "null")]),
        ("{'a': x:y}", [("a", "x:y")]),
        ("{'a': 1, 'b': 'cut off...", [("a", "1")]),
        ("{'a': 1, 'b': ...", [("a", "1")]),
        ("{1, 2}", []),
        ("a: b", []),
        ("", []),
        ("]]}{'a': 1}", []),
    ],
)
def test_the_outermost_pairs_are_found(kwargs, found):
    assert list(pairs(kwargs)) == found


@given(st.dictionaries(st.text("abc_'\"\\", min_size=1), NESTED))
def test_every_pair_of_a_dictionary_is_found(kwargs):
    found = list(pairs(repr(kwargs)))
    assert [value for _, value in found] == [repr(value) for value in kwargs.values()]
    assert [key for key, _ in found] == list(kwargs)


@given(st.text("{}[](),:'\"\\ab "))
def test_any_text_can_be_scanned(text):
    list(pairs(text))
    assert pair_test(Value("a=b"))(text) in (True, False)


@pytest.mark.parametrize(
    ("pair", "matches"),
    [
        ("queue=priority", True),
        ("QUEUE=Priority", True),
        ("queue='priority'", True),
        ("queue=prio*", True),
        ("queue=prio", False),
        ("que=priority", False),
        ("n=5", True),
        ("n=", False),
        ("ok=true", True),
        ("inner=1", False),
        ("name=Ann Lee", True),
    ],
)
def test_a_pair_has_exactly_the_value(pair, matches):
    kwargs = "{'queue': 'priority', 'n': 5, 'ok': True, 'o': {'inner': 1}, "
    kwargs += "'name': 'Ann Lee'}"
    assert pair_test(Value(pair))(kwargs) is matches


def test_a_quoted_value_has_no_wildcards():
    test = pair_test(Value("queue=prio*", literal=True))
    assert not test("{'queue': 'priority'}")
    assert test("{'queue': 'prio*'}")


@pytest.mark.parametrize("text", ["priority", "=x", "'a'=1", "a b=1"])
def test_what_is_no_pair_is_told(text):
    assert pair_test(Value(text)) is None


def test_a_long_text_is_scanned_in_part():
    test = pair_test(Value("a=1"))
    assert not test("{'x': '" + "y" * MAX_CHARS + "', 'a': 1}")
    assert not test("'\\" * MAX_CHARS + "a")
