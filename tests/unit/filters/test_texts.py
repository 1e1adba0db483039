"""Tests for evtools.filters.texts."""

import pytest

from evtools.filters.texts import any_of, contains, equals, glob, is_glob, starts_with
from evtools.filters.tokens import Value


def test_substrings_and_prefixes_are_found_in_any_case():
    assert contains("CHARGE")("proj.Charge")
    assert not contains("x")("proj.charge")
    assert starts_with("7A8B")("7a8b8d37")
    assert not starts_with("8d")("7a8b8d37")
    assert contains("straße")("STRASSE")


def test_equality_minds_the_case_and_takes_several():
    assert equals(["proj.add", "x"])("proj.add")
    assert not equals(["proj.add"])("proj.Add")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("proj.*", "PROJ.add", True),
        ("proj.*", "x.proj.add", False),
        ("*.add", "proj.Add", True),
        ("*.add", "proj.added", False),
        ("w?", "w1", True),
        ("w?", "w12", False),
        ("w[1-3]*", "w2@h", True),
        ("w[1-3]*", "w4@h", False),
        ("a*b*", "axxb\nyy", True),
        ("*", "", True),
    ],
)
def test_wildcards_match_the_whole_text_in_any_case(pattern, text, matches):
    assert glob(pattern)(text) is matches


def test_wildcards_are_such_only_outside_quotes():
    assert is_glob(Value("a*"))
    assert is_glob(Value("a?"))
    assert not is_glob(Value("a[1-3]"))
    assert not is_glob(Value("a*", literal=True))


def test_one_of_several_tests_is_enough():
    test = any_of([contains("a"), contains("b")])
    assert test("xb")
    assert not test("c")
    assert any_of([equals(["a"])])("a")


def test_many_wildcards_take_no_time():
    assert not glob("*a" * 30 + "b")("a" * 4096)
