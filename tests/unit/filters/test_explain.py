"""Tests for evtools.filters.explain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import FilterError
from evtools.filters.explain import caret, shell_trap
from evtools.filters.filter import compile_filter


def carets(text):
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    return caret(caught.value).split("\n")


def test_carets_stand_under_the_mistake():
    assert carets("state:failure runtme>2") == [
        "  state:failure runtme>2",
        "                ^^^^^^",
    ]


def test_carets_follow_what_is_escaped_and_wide():
    assert carets("中\x1b runtme>2") == ["  中\\x1b runtme>2", "         ^^^^^^"]


def test_a_mistake_at_the_end_has_a_caret_behind_it():
    assert carets("name:") == ["  name:", "       ^"]


def test_a_long_filter_is_shown_around_the_mistake():
    shown, marks = carets("a " * 50 + "runtme>2 " + "b " * 40)
    assert len(shown) < 90
    assert shown.startswith("  ..")
    assert shown.endswith("..")
    assert shown[marks.index("^") :].startswith("runtme")
    shown, marks = carets("name~" + "a*" * 40)
    assert shown.endswith("..")
    assert len(marks) == len(shown)


@given(st.text(), st.integers(0, 30), st.integers(1, 30))
def test_there_are_always_two_printable_lines(text, position, length):
    error = FilterError("bad", text=text, position=position, length=length)
    lines = caret(error).split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert lines[1].strip(" ^") == ""


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("runtime", "write runtime:2.."),
        (" Runtime ", "'runtime>2'"),
        ("done", "write done:14:30.."),
        ("name", "write any:name"),
        ("has", "write any:has"),
    ],
)
def test_a_bare_field_name_with_output_to_a_file_is_suspicious(argument, says):
    warning = shell_trap(argument, stdout_is_file=True)
    assert 'did the shell take your ">"' in warning
    assert says in warning
    assert shell_trap(argument, stdout_is_file=False) is None


@pytest.mark.parametrize("argument", ["charge", "runtime>2", "", "a runtime"])
def test_anything_else_is_not(argument):
    assert shell_trap(argument, stdout_is_file=True) is None
