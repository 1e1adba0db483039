"""Tests for evtools.filters.regexes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.regexes import LINE_CHARS, LineSearch, PatternRefused


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("charge", "proj.CHARGE", True),
        ("^proj", "x.proj", False),
        (r"^proj\.(a|b)$", "proj.b", True),
        ("time.*redis.*6379", "Timeout: redis on 6379", True),
        ("time.*redis.*6379", "redis 6379 Timeout", False),
        ("a.*?b", "xaxbx", True),
        (".*b", "ab", True),
        ("a.*", "a", True),
        ("^ab.*$", "ab", True),
        ("ab.*ba", "aba", False),
        (r"a\.*b", "a...b", True),
        ("[.]*x", "..x", True),
        ("a|.*b", "b", True),
        ("x{2,}y", "xxxy", True),
        ("x{2}y", "xy", False),
        ("x{,2}y", "y", True),
        ("x{}", "x{}", True),
        ("(?i:A)b", "ab", True),
        ("(?#note)b", "b", True),
        ("(?P<q>['\"])x(?P=q)", "'x'", True),
        (r"(a)\1", "aa", True),
        ("", "anything", True),
    ],
)
def test_a_pattern_is_found_in_any_case(pattern, text, found):
    assert LineSearch(pattern)(text) is found


def test_text_is_searched_line_by_line():
    search = LineSearch(r"^ValueError: .*x$")
    assert search('Traceback\n  File "a"\nValueError: no x\n')
    assert not search("Traceback\n  ValueError: no\nx")
    assert not LineSearch("a.*b")("a\nb")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a*)*",
        "(?:a+b?)+",
        r"(\w+\s?)*x",
        "(a|a)+",
        "(a|ab)+",
        r"(\w|-)+",
        "(a|)+",
        "(?:a{1,20})+",
        "(a?){2,}",
        "((ab)+)*",
        r"(\x41+A)+",
    ],
)
def test_a_repeat_of_what_matches_in_several_ways_is_refused(pattern):
    with pytest.raises(PatternRefused, match="repeat inside a repeat"):
        LineSearch(pattern)


@pytest.mark.parametrize(
    "pattern", ["a*a*a*a*", r"\w+\w+\w+\w+", "(a?){40}", "(a+){5}", "a+a+a+a+-", "a?" * 20]
)
def test_too_many_competing_repeats_are_refused(pattern):
    with pytest.raises(PatternRefused, match="compete"):
        LineSearch(pattern)


@pytest.mark.parametrize(
    ("pattern", "repeats"),
    [
        ("charge", 0),
        ("a.*b.*c.*d.*e", 0),
        (r"\d{1,3}(\.\d{1,3}){3}", 0),
        ("(foo|bar)+", 1),
        ("(ab){3,}", 1),
        (r"(\w+\.)+x", 2),
        (r"\w+\.\w+\.\w+\.\w+\.\w+", 1),
        (r"\w+:\d+", 1),
        (r"\w+:\d+$", 2),
        (r"\d+x", 1),
        (r"\w+x", 1),
        (r"\w+[.]", 1),
        (r"\w+\.?", 1),
        ("(a+)?", 1),
        (r"(.)x\1", 1),
        ("x+.*y+z", 3),
        ("[0-9a-f]{32}", 0),
    ],
)
def test_the_work_decides_how_much_of_a_line_is_searched(pattern, repeats):
    assert LineSearch(pattern).line_chars == LINE_CHARS[repeats]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("a)", "unbalanced"),
        ("[a", "unterminated"),
        ("*", "nothing to repeat"),
        ("a{99999999999999}", "regular expression"),
        ("(" * 1500 + ")" * 1500, "regular expression"),
        ("[[a]", "nested set"),
        ("(?x)a b", "flag x"),
        ("(?x: a b)", "flag x"),
        (r"a\nb", "line by line"),
        ("(?P<\x1b>a)", r"\\x1b"),
    ],
)
def test_what_is_no_expression_here_is_refused(pattern, says):
    with pytest.raises(PatternRefused, match=says):
        LineSearch(pattern)


def test_a_cut_line_is_counted():
    search = LineSearch(r"\w+x$")
    text = "a" * (search.line_chars + 1)
    assert not search(text + "x")
    assert search.cut == 1
    assert not search("a")
    assert search.cut == 1


def test_the_cut_itself_is_no_end_of_a_line():
    search = LineSearch("x$")
    assert not search("x" * (search.line_chars + 1) + "y")
    assert search.cut == 1
    assert search("y\nx")


def test_many_long_lines_are_not_all_searched():
    search = LineSearch(r"\w+[-]")
    lines = ["a" * search.line_chars] * 3
    assert not search("\n".join([*lines, "b-"]))
    assert search.cut == 1


def test_a_match_before_the_cut_counts_as_found():
    search = LineSearch("needle")
    assert search("needle" + "x" * search.line_chars)
    assert search.cut == 0


@pytest.mark.parametrize("text", ["ab" * 50_000, "a" * 100_000, "abc" * 30_000])
@pytest.mark.parametrize("pattern", ["a.*b.*c.*d.*e", r"\w+-", r"a+.*a+-", "(ab|c)+-"])
def test_no_text_keeps_a_search_busy(pattern, text):
    assert not LineSearch(pattern)(text)


@given(
    st.lists(st.sampled_from(["a", "b", ".", "[ab]", r"\w"]), min_size=1),
    st.lists(st.sampled_from(["a", "b", ".", "[ab]", r"\w"]), min_size=1),
    st.text("abc", max_size=8),
)
def test_searching_piece_by_piece_finds_what_the_engine_finds(first, second, text):
    import re

    pattern = "".join(first) + ".*" + "".join(second)
    assert LineSearch(pattern)(text) is (re.search(pattern, text) is not None)


@given(st.text("ab|()[]*+?{}1,9.\\dw^$-"), st.text("ab1", max_size=20))
def test_any_pattern_is_searched_for_or_refused(pattern, text):
    try:
        search = LineSearch(pattern)
    except PatternRefused:
        return
    assert search(text) in (True, False)
