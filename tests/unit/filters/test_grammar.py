"""Tests for evtools.filters.grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.grammar import MAX_DEPTH, And, Everything, Not, Or, Term, Word, parse
from evtools.filters.tokens import OPERATORS, PATTERN_OPERATORS, Mistake, Value

A, B, C = (Word(Value(letter)) for letter in "abc")


def mistake(text):
    with pytest.raises(Mistake) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", Everything()),
        ("  ", Everything()),
        ("a", A),
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a OR b", Or((A, B))),
        ("a b OR c", Or((And((A, B)), C))),
        ("a (b OR c)", And((A, Or((B, C))))),
        ("NOT a b", And((Not(A), B))),
        ("NOT (a b)", Not(And((A, B)))),
        ("-a", Not(A)),
        ("!a", Not(A)),
        ("a AND NOT b", And((A, Not(B)))),
        ("NOT NOT a", Not(Not(A))),
        ("((a))", A),
        ("(a b) c", And((A, B, C))),
        ("a OR (b OR c)", Or((A, B, C))),
        ("name:a,b", Term("name", ":", (Value("a"), Value("b")))),
        ('name~"a b"', Term("name", "~", (Value("a b"),))),
    ],
)
def test_a_filter_is_read_as_a_tree(text, tree):
    assert parse(text) == tree
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("(", 0, "never closed"),
        ("(a", 0, "never closed"),
        ("(name~a)", 0, "never closed"),
        ("a)", 1, "never opened"),
        (")", 0, "never opened"),
        ("()", 0, "nothing between"),
        ("OR a", 0, "OR needs a term on both sides"),
        ("a OR", 2, "OR needs a term"),
        ("a AND", 2, "AND needs a term"),
        ("a AND OR b", 2, "AND needs a term"),
        ("(OR a)", 1, "OR needs a term"),
        ("(a OR)", 3, "OR needs a term"),
        ("a NOT", 2, "NOT needs a term on its right"),
        ("NOT)", 0, "NOT needs a term"),
    ],
)
def test_a_tree_that_does_not_close_is_refused_in_place(text, position, says):
    error = mistake(text)
    assert error.position == position
    assert says in error.message


def test_parentheses_may_be_nested_so_deep():
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == A
    error = mistake("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert error.position == MAX_DEPTH


def test_a_pattern_at_the_end_of_a_group_is_written_so_that_it_stays_one():
    tree = parse('-(a OR -name~"x|y")')
    assert str(tree) == "NOT (a OR NOT name~x|y )"
    assert parse(str(tree)) == tree


def test_a_term_knows_its_place():
    tree = parse("a name:b")
    assert tree.children[1].position == 2


BARE = st.text("abc*?-_.0@", min_size=1).filter(lambda t: t[0] != "-")
ITEM = st.builds(Value, BARE) | st.builds(Value, st.text(max_size=9), st.just(True))
WORDS = st.builds(
    Word,
    st.builds(Value, st.sampled_from(["a", "a,b", "4411", "proj.*", "w@h"]))
    | st.builds(Value, st.text(max_size=9), st.just(True)),
)
NAMES = st.sampled_from(["name", "field.x-y", "f.a.b", "Unknown"])
TERMS = st.builds(
    Term,
    NAMES,
    st.sampled_from([sign for sign in OPERATORS if sign not in PATTERN_OPERATORS]),
    st.lists(ITEM, min_size=1, max_size=3).map(tuple),
) | st.builds(
    Term,
    NAMES,
    st.sampled_from(PATTERN_OPERATORS),
    st.text('ab" .|()', min_size=1).map(lambda text: (Value(text),)),
)


def of_other_kind(kind):
    return lambda children: not any(isinstance(child, kind) for child in children)


def joined(children):
    lists = st.lists(children, min_size=2, max_size=3)
    return (
        st.builds(Not, children)
        | st.builds(And, lists.filter(of_other_kind(And)).map(tuple))
        | st.builds(Or, lists.filter(of_other_kind(Or)).map(tuple))
    )


@given(st.recursive(WORDS | TERMS, joined, max_leaves=6) | st.just(Everything()))
def test_what_is_written_is_read_back_as_the_same_tree(tree):
    assert parse(str(tree)) == tree


@given(
    st.lists(st.sampled_from(["a", "name:b", "(", ")", "OR", "AND", "NOT", "-", '"c d"', "e~f"]))
)
def test_what_is_read_is_read_back_as_the_same_tree(words):
    try:
        tree = parse(" ".join(words).replace("- ", "-"))
    except Mistake:
        return
    assert parse(str(tree)) == tree
