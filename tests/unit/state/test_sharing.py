"""Shared names: equal ones are one object, odd ones are refused."""

import pytest

from evtools.state import sharing
from evtools.state.sharing import Shared


def a_name(text):
    """Return a string that is equal to others and identical to none."""
    return "".join(list(text))


def test_equal_names_are_kept_once():
    shared = Shared()
    first, second = a_name("proj.add"), a_name("proj.add")
    assert first is not second
    assert shared[first] is first
    assert shared[second] is first


def test_none_is_no_name_and_takes_no_space():
    shared = Shared()
    assert shared[None] is None
    assert len(shared) == 0


@pytest.mark.parametrize("odd", [1, True, 1.5, ("a",), ["a"], {"a": 1}, "x" * 256])
def test_what_is_no_name_or_too_long_for_one_is_refused(odd):
    shared = Shared()
    with pytest.raises(TypeError):
        shared[odd]
    assert len(shared) == 0


def test_the_longest_name_that_amqp_allows_is_one():
    assert Shared()["x" * 255] == "x" * 255


def test_it_begins_anew_when_it_holds_too_many(monkeypatch):
    monkeypatch.setattr(sharing, "_SHARED_MAX", 3)
    shared = Shared()
    for number in range(10):
        assert shared[f"t{number}"] == f"t{number}"
        assert len(shared) <= 3
