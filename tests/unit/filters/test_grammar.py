"""The grammar: text to trees, quoting, limits, and mistakes with their places.

What other tools write is in tests/unit/cli/test_filters_asked.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.grammar import (
    MAX_CHARS,
    MAX_DEPTH,
    MAX_TERMS,
    And,
    Mistake,
    Not,
    Or,
    Term,
    Value,
    parse,
    quote,
    quote_pattern,
)


def word(text, *, literal=False):
    return Term("any", ":", (Value(text, literal),), is_word=True)


A, B, C = map(word, "abc")


def term(name, operator, *values):
    return Term(name, operator, tuple(map(Value, values)))


def mistake(text):
    with pytest.raises(Mistake) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", And(())),
        ("  ", And(())),
        ("  a \t b\n", And((A, B))),
        ("a AND b", And((A, B))),
        ("a && b", And((A, B))),
        ("a&&b", And((A, B))),
        ("a OR b", Or((A, B))),
        ("a || b", Or((A, B))),
        ("a b OR c", Or((And((A, B)), C))),
        ("a (b OR c)", And((A, Or((B, C))))),
        ("(a)(b)", And((A, B))),
        ("((a))", A),
        ("NOT a b", And((Not(A), B))),
        ("NOT (a b)", Not(And((A, B)))),
        ("!(a b)", Not(And((A, B)))),
        ("-a", Not(A)),
        ("! a", Not(A)),
        ("-!a", Not(Not(A))),
        ('-"a"', Not(word("a", literal=True))),
        ("a and not b", And((A, Not(B)))),
        ('"AND" "-a"', And((word("AND", literal=True), word("-a", literal=True)))),
        ("name:a,b", term("name", ":", "a", "b")),
        ("(name:a)", term("name", ":", "a")),
        ("a:>2", term("a", ">", "2")),
        ("a==2", term("a", "=", "2")),
        ("received:14:00..14:10", term("received", ":", "14:00..14:10")),
        ('name:"a b,(c)"', Term("name", ":", (Value("a b,(c)", literal=True),))),
        ('name:a,"b,c"', Term("name", ":", (Value("a"), Value("b,c", literal=True)))),
        (r'"a\"b"', word('a"b', literal=True)),
        (r'"a\\b"', word(r"a\b", literal=True)),
        (r'"\d"', word(r"\d", literal=True)),
        (r"name~^proj\.(a|b)$", term("name", "~", r"^proj\.(a|b)$")),
        (r'name~"^proj\.(a|b) c$"', term("name", "~", r"^proj\.(a|b) c$")),
        (r'name~"a\"b\\"', term("name", "~", r'a"b\\')),
        ("name~a,b", term("name", "~", "a,b")),
        ("name!~(a", term("name", "!~", "(a")),
        ('(name~"a|b")', term("name", "~", "a|b")),
        *((text, word(text)) for text in ("celery@w1:x", "4411>2", "it's", "a,b", "a-b", "[1")),
    ],
)
def test_a_filter_is_read_as_a_tree(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "position", "length", "says"),
    [
        ("(", 0, 1, "never closed"),
        ("(a", 0, 1, "never closed"),
        ("(name~a)", 0, 1, "never closed"),
        ("a)", 1, 1, "never opened"),
        (")", 0, 1, "never opened"),
        ("()", 0, 2, "nothing between"),
        ("OR a", 0, 2, "OR needs a term on both sides"),
        ("a OR", 2, 2, "OR needs a term"),
        ("a AND OR b", 2, 3, "AND needs a term"),
        ("(OR a)", 1, 2, "OR needs a term"),
        ("(a OR)", 3, 2, "OR needs a term"),
        ("a NOT", 2, 3, "NOT needs a term on its right"),
        ("NOT)", 0, 3, "NOT needs a term"),
        ("name:", 5, 1, "missing"),
        ("name:a,", 7, 1, "missing"),
        ("name:,a", 5, 1, "missing"),
        ('name~""', 5, 1, "missing"),
        ("name=>2", 4, 2, 'did you mean ">="'),
        ("name:!x", 4, 2, 'invalid operator ":!"'),
        ("- a", 0, 1, "right after"),
        ("a -", 2, 1, "right after"),
        ("(-)", 1, 1, "right after"),
        ("a(b)", 1, 1, "middle of a word"),
        ("name:a(b)", 6, 1, "middle of a word"),
        ('a"b"', 1, 1, "middle of a word"),
        ('"a"b', 3, 1, "middle of a word"),
        ('"a",b', 3, 1, "middle of a word"),
        ('"a""b"', 3, 1, "middle of a word"),
        ('name~"a"b', 8, 1, "middle of a word"),
        ('x "a b', 2, 1, "not closed"),
        ('name:"a\\"', 5, 1, "not closed"),
        ("name:'a", 5, 2, "not closed"),
    ],
)
def test_what_would_be_misread_is_refused_with_its_place(text, position, length, says):
    error = mistake(text)
    assert (error.position, error.length) == (position, length)
    assert says in error.message


def test_a_filter_has_limits():
    assert parse("x" * MAX_CHARS)
    assert mistake("x" * (MAX_CHARS + 1)).position == MAX_CHARS
    assert len(parse("x " * MAX_TERMS).children) == MAX_TERMS
    assert mistake("x " * (MAX_TERMS + 1)).position == 2 * MAX_TERMS
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == A
    assert mistake("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1)).position == MAX_DEPTH


@given(st.text(max_size=MAX_CHARS // 2 - 2))
def test_any_text_can_be_quoted(text):
    assert parse(quote(text)) == word(text, literal=True)


@given(st.text(st.sampled_from('ab \\"|)'), min_size=1))
def test_any_pattern_can_be_quoted(text):
    try:
        pattern = parse("name~" + text).values[0].text
    except (Mistake, AttributeError):
        return
    assert parse("name~" + quote_pattern(pattern)) == term("name", "~", pattern)


def test_patterns_are_quoted_only_if_they_must_be():
    assert quote_pattern("a|b") == "a|b"
    assert quote_pattern("a b") == '"a b"'


@given(st.text(st.sampled_from("ab:=~<>!-()\"', \\NOT.")))
def test_any_text_is_read_or_refused_in_place(text):
    try:
        parse(text, {"a"})
        position = 0
    except Mistake as error:
        position = error.position
    assert 0 <= position <= len(text)
