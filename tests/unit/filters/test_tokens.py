"""Tests for evtools.filters.tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.tokens import (
    MAX_CHARS,
    MAX_TOKENS,
    Mistake,
    TokenKind,
    Value,
    quote,
    quote_pattern,
    tokenize,
)


def spell(text):
    """Return kind, name, operator and values of every token."""
    return [
        (token.kind.value, token.name, token.operator, [v.text for v in token.values])
        for token in tokenize(text)
    ]


def only(text):
    """Return the one token of `text`."""
    (token,) = tokenize(text)
    return token


def mistake(text):
    with pytest.raises(Mistake) as caught:
        tokenize(text)
    return caught.value


def test_blanks_separate_words():
    assert spell("  a \t b\n") == [("word", "", "", ["a"]), ("word", "", "", ["b"])]


def test_nothing_has_no_tokens():
    assert tokenize(" ") == []


@pytest.mark.parametrize("sign", [":", "=", "!=", "~", "!~", ">", ">=", "<", "<="])
def test_a_field_has_an_operator_and_a_value(sign):
    assert spell(f"name{sign}2") == [("term", "name", sign, ["2"])]


@pytest.mark.parametrize(
    ("text", "sign"),
    [("a==2", "="), ("a:>2", ">"), ("a:>=2", ">="), ("a:<2", "<"), ("a:<=2", "<=")],
)
def test_operators_have_second_spellings(text, sign):
    assert only(text).operator == sign


def test_a_token_knows_its_place():
    first, second = tokenize("ab name:cde")
    assert (first.position, first.length) == (0, 2)
    assert (second.position, second.length) == (3, 4)
    assert (second.values[0].position, second.values[0].length) == (8, 3)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a OR b", "word OR word"),
        ("a AND NOT b", "word AND NOT word"),
        ("-a !b", "NOT word NOT word"),
        ("! a", "NOT word"),
        ("!(a)", "NOT ( word )"),
        ('-"a"', "NOT word"),
        ("--a", "NOT NOT word"),
        ("-!a", "NOT NOT word"),
        ("and or not", "AND OR NOT"),
        ("a && b || c", "word AND word OR word"),
        ("a&&b", "word AND word"),
        ('"AND" "-a"', "word word"),
        ("(a)(b)", "( word ) ( word )"),
        ("(name:a)", "( term )"),
    ],
)
def test_connectives_and_parentheses_are_told_from_words(text, kinds):
    assert " ".join(token.kind.value for token in tokenize(text)) == kinds


@pytest.mark.parametrize("text", ["celery@w1:x", "4411>2", "it's", "a,b", "a-b", "[1"])
def test_words_may_have_any_other_character(text):
    assert spell(text) == [("word", "", "", [text])]


def test_a_value_may_have_colons_and_quotes_hold_anything():
    assert spell('received:14:00..14:10 name:"a b,(c)"') == [
        ("term", "received", ":", ["14:00..14:10"]),
        ("term", "name", ":", ["a b,(c)"]),
    ]


def test_commas_separate_values():
    assert only('name:a,"b,c",d').values == (Value("a"), Value("b,c", literal=True), Value("d"))


def test_a_quoted_value_is_literal():
    assert only('"a*"').values[0] == Value("a*", literal=True)
    assert only("a*").values[0] == Value("a*", literal=False)


@pytest.mark.parametrize(
    ("text", "value"), [(r'"a\"b"', 'a"b'), (r'"a\\b"', r"a\b"), (r'"\d"', r"\d"), ('""', "")]
)
def test_inside_quotes_a_backslash_escapes_quotes_and_itself(text, value):
    assert only(text).values[0].text == value


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (r"name~^proj\.(a|b)$", r"^proj\.(a|b)$"),
        (r'name~"^proj\.(a|b) c$"', r"^proj\.(a|b) c$"),
        (r'name~"a\"b\\"', r'a"b\\'),
        ("name~a,b", "a,b"),
        ("name!~(a", "(a"),
    ],
)
def test_a_pattern_keeps_its_backslashes_parentheses_and_commas(text, pattern):
    (value,) = only(text).values
    assert value.text == pattern


def test_a_quoted_pattern_ends_at_its_quote():
    kinds = [token.kind for token in tokenize('(name~"a|b")')]
    assert kinds == [TokenKind.OPEN, TokenKind.TERM, TokenKind.CLOSE]


@pytest.mark.parametrize(
    ("text", "position", "length", "says"),
    [
        ("name:", 5, 1, "missing"),
        ("name:a,", 7, 1, "missing"),
        ("name:,a", 5, 1, "missing"),
        ('name~""', 5, 1, "missing"),
        ("name=>2", 4, 2, 'did you mean ">="'),
        ("name:!x", 4, 2, "no operator"),
        ("- a", 0, 1, "right behind"),
        ("a -", 2, 1, "right behind"),
        ("(-)", 1, 1, "right behind"),
        ("a(b)", 1, 1, "middle of a word"),
        ("name:a(b)", 6, 1, "middle of a word"),
        ('a"b"', 1, 1, "middle of a word"),
        ('"a"b', 3, 1, "middle of a word"),
        ('"a",b', 3, 1, "middle of a word"),
        ('"a""b"', 3, 1, "middle of a word"),
        ('name~"a"b', 8, 1, "middle of a word"),
        ('x "a b', 2, 1, "not closed"),
        ('name:"a\\"', 5, 1, "not closed"),
    ],
)
def test_what_would_be_misread_is_refused_with_its_place(text, position, length, says):
    error = mistake(text)
    assert (error.position, error.length) == (position, length)
    assert says in error.message


def test_a_filter_has_a_longest_length():
    assert tokenize("x" * MAX_CHARS)
    assert mistake("x" * (MAX_CHARS + 1)).position == MAX_CHARS


def test_a_filter_has_a_largest_number_of_tokens():
    assert len(tokenize("x " * MAX_TOKENS)) == MAX_TOKENS
    assert mistake("x " * (MAX_TOKENS + 1)).position == 2 * MAX_TOKENS


@given(st.text())
def test_any_text_can_be_quoted(text):
    token = only(quote(text)) if len(quote(text)) <= MAX_CHARS else None
    assert token is None or token.values[0] == Value(text, literal=True)


@given(st.text(st.sampled_from('ab \\"|)'), min_size=1))
def test_a_pattern_is_written_as_it_is_read(text):
    try:
        pattern = only("name~" + text).values[0].text
    except (Mistake, ValueError):
        return
    assert only("name~" + quote_pattern(pattern)).values[0].text == pattern


def test_a_value_is_written_as_it_was():
    assert str(Value("a*")) == "a*"
    assert str(Value('a "b"', literal=True)) == r'"a \"b\""'


def test_patterns_are_quoted_only_where_they_must_be():
    assert quote_pattern("a|b") == "a|b"
    assert quote_pattern("a b") == '"a b"'
    assert quote_pattern('"a') == '"\\"a"'


@given(st.text(st.sampled_from("ab:=~<>!-()\"', \\NOT.")))
def test_any_text_is_read_or_refused_in_place(text):
    try:
        places = [token.position for token in tokenize(text)]
    except Mistake as error:
        places = [error.position]
    assert all(0 <= place <= len(text) for place in places)
