"""The grammar: text to trees, quoting, limits, and mistakes with their places.

What other tools write is in tests/unit/cli/test_filters_asked.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters import grammar
from evtools.filters.grammar import Group, Mistake, Term, Value, parse, quote, quote_pattern


def word(text, *, literal=False):
    return Term("", ":", (Value(text, literal),))


A, B, C = map(word, "abc")
AB = Group("AND", (A, B))


def term(name, operator, *values):
    return Term(name, operator, tuple(map(Value, values)))


def either(*children):
    return Group("OR", children)


def negated(child):
    return Group("NOT", (child,))


def mistake(text):
    with pytest.raises(Mistake) as caught:
        parse(text)
    return caught.value


# fmt: off
TREES = [
    ("", Group("AND", ())), ("  ", Group("AND", ())), ("  a \t b\n", AB), ("a AND b", AB),
    ("a && b", AB), ("a&&b", AB), ("(a)(b)", AB), ("((a))", A),
    ("a OR b", either(A, B)), ("a || b", either(A, B)), ("a b OR c", either(AB, C)),
    ("a (b OR c)", Group("AND", (A, either(B, C)))),
    ("NOT a b", Group("AND", (negated(A), B))), ("a and not b", Group("AND", (A, negated(B)))),
    ("NOT (a b)", negated(AB)), ("!(a b)", negated(AB)), ("-a", negated(A)), ("! a", negated(A)),
    ("-!a", negated(negated(A))), ('-"a"', negated(word("a", literal=True))),
    ('"AND" "-a"', Group("AND", (word("AND", literal=True), word("-a", literal=True)))),
    ("name:a,b", term("name", ":", "a", "b")), ("(name:a)", term("name", ":", "a")),
    ("f.a not in (1, b)", term("f.a", "!=", "1", "b")), ("a:>2", term("a", ">", "2")),
    ("a==2", term("a", "=", "2")),
    ("received:14:00..14:10", term("received", ":", "14:00..14:10")),
    ('name:"a b,(c)"', Term("name", ":", (Value("a b,(c)", literal=True),))),
    ('name:a,"b,c"', Term("name", ":", (Value("a"), Value("b,c", literal=True)))),
    (r'"a\"b"', word('a"b', literal=True)), (r'"a\\b"', word(r"a\b", literal=True)),
    (r'"\d"', word(r"\d", literal=True)),
    (r"name~^proj\.(a|b)$", term("name", "~", r"^proj\.(a|b)$")),
    (r'name~"^proj\.(a|b) c$"', term("name", "~", r"^proj\.(a|b) c$")),
    (r'name~"a\"b\\"', term("name", "~", r'a"b\\')), ("name~a,b", term("name", "~", "a,b")),
    ("name!~(a", term("name", "!~", "(a")), ('(name~"a|b")', term("name", "~", "a|b")),
    *((text, word(text)) for text in ("celery@w1:x", "4411>2", "it's", "a,b", "a-b", "[1")),
]
MISTAKES = [
    ("(", 0, 1, "never closed"), ("(a", 0, 1, "never closed"), ("(name~a)", 0, 1, "never closed"),
    ("a)", 1, 1, "never opened"), (")", 0, 1, "never opened"), ("()", 0, 2, "nothing between"),
    ("OR a", 0, 2, "OR needs a term on both sides"), ("a OR", 2, 2, "OR needs a term"),
    ("a AND OR b", 2, 3, "AND needs a term"), ("(OR a)", 1, 2, "OR needs a term"),
    ("(a OR)", 3, 2, "OR needs a term"), ("a NOT", 2, 3, "NOT needs a term on its right"),
    ("NOT)", 0, 3, "NOT needs a term"), ("name:", 5, 1, "missing"), ("name:a,", 7, 1, "missing"),
    ("name:,a", 5, 1, "missing"), ("name: OR a", 5, 1, "missing"), ('name~""', 5, 1, "missing"),
    ("name=>2", 4, 2, 'did you mean ">="'), ("name:!x", 4, 2, 'invalid operator ":!"'),
    ("- a", 0, 1, "right after"), ("a -", 2, 1, "right after"), ("(-)", 1, 1, "right after"),
    ("a(b)", 1, 1, "middle of a word"), ("name:a(b)", 6, 1, "middle of a word"),
    ('a"b"', 1, 1, "middle of a word"), ('"a"b', 3, 1, "middle of a word"),
    ('"a",b', 3, 1, "middle of a word"), ('"a""b"', 3, 1, "middle of a word"),
    ('name~"a"b', 8, 1, "middle of a word"), ('x "a b', 2, 1, "not closed"),
    ('name:"a\\"', 5, 1, "not closed"), ("name:'a", 5, 2, "not closed"),
]
# fmt: on


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_a_filter_is_read_as_a_tree(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize(("text", "position", "length", "says"), MISTAKES)
def test_what_would_be_misread_is_refused_with_its_place(text, position, length, says):
    error = mistake(text)
    assert (error.position, error.length) == (position, length)
    assert says in error.message


def test_a_filter_has_limits():
    chars, terms, depth = grammar.MAX_CHARS, grammar.MAX_TERMS, grammar.MAX_DEPTH
    assert parse("x" * chars)
    assert mistake("x" * (chars + 1)).position == chars
    assert len(parse("x " * terms).children) == terms
    assert mistake("x " * (terms + 1)).position == 2 * terms
    assert parse("(" * depth + "a" + ")" * depth) == A
    assert mistake("(" * (depth + 1) + "a" + ")" * (depth + 1)).position == depth


@given(st.text(max_size=grammar.MAX_CHARS // 2 - 2))
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
