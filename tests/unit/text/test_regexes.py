"""Regular expressions on hostile text: what is found, and that none takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.text import BoundedPattern
from evtools.text.regexes import TIME_LIMIT


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("charge", "proj.CHARGE", True), ("^proj", "x.proj", False),
        (r"^proj\.(a|b)$", "proj.b", True), ("time.*redis.*6379", "Timeout: redis on 6379", True),
        ("time.*redis.*6379", "redis 6379 Timeout", False), ("a.*b", "a\nb", False),
        (r"^ValueError: .*x$", 'Traceback\n  File "a"\nValueError: no x\n', True),
        (r"^ValueError: .*x$", "Traceback\n  ValueError: no\nx", False),
        ("(?P<q>['\"])x(?P=q)", "'x'", True), (r"(a)\1", "aa", True),
        (r"(\w+\s?)+x", "some words with x", True), ("", "anything", True),
        ("needle", "x" * 200_000 + "NEEDLE", True),
    ],
)  # fmt: skip
def test_a_pattern_is_found_in_any_case(pattern, text, found):
    search = BoundedPattern(pattern)
    assert search.found_in(text) is found
    assert search.timeouts == 0


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("a)", "unbalanced"), ("[a", "unterminated"), ("*", "nothing to repeat"),
        ("a{99999999999999}", "repeat count"), ("(" * 1500 + ")" * 1500, "regular expression"),
        ("(?P<\x1b>a)", "bad character"), ("a\x1b(", r"regular expression"),
    ],
)  # fmt: skip
def test_what_is_not_an_expression_is_refused(pattern, says):
    with pytest.raises(ValueError, match=says) as caught:
        BoundedPattern(pattern)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a|a)+$", "a" * 60 + "!"), ("(a|b)*c", "ab" * 500_000),
        ("a.*b.*c.*d.*e", "ab" * 50_000), (r"\w+\w+\w+\w+-", "a" * 100_000),
        (r"(?:(a)|b)*\1$", "ab" * 30_000), (r"(.*)\1\1x", "ab" * 20_000),
        (r"a(?R)?a|b(?R)?b", "ab" * 20_000),
    ],
)  # fmt: skip
def test_no_text_keeps_a_search_busy(pattern, text):
    search = BoundedPattern(pattern)
    for use in (search.found_in, lambda text: search.mask("***", text), search.spans):
        start = time.process_time()
        use(text)
        assert time.process_time() - start < 10 * TIME_LIMIT


@pytest.mark.parametrize("repeats", range(6))
def test_a_search_that_is_not_timed_is_short(repeats):
    search = BoundedPattern("a*" * repeats + "b")
    start = time.process_time()
    assert not search.found_in("a" * search._untimed_chars)
    assert time.process_time() - start < 4 * TIME_LIMIT
    assert search.timeouts == 0


def test_what_takes_too_long_is_counted_masked_and_not_found():
    search = BoundedPattern("(a|a)+$")
    slow = "a" * 60 + "!"
    assert not search.found_in(slow)
    assert search.mask("***", slow) == "***"
    assert search.spans(slow) == []
    assert search.timeouts == 3
    assert search.found_in("aaa")


def test_matches_are_masked_and_placed():
    search = BoundedPattern("b+", flags=0)
    assert search.mask(r"\0", "abbcbB") == r"a\0c\0B"
    assert search.spans("abbcb") == [(1, 3), (4, 5)]


@given(st.text("ab|()[]*+?{}1,9.\\dw^$-"), st.text("ab1", max_size=20))
def test_any_pattern_is_searched_for_or_refused(pattern, text):
    try:
        search = BoundedPattern(pattern)
    except ValueError:
        return
    assert search.found_in(text) in (True, False)
