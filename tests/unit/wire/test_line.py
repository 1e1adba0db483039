"""JSON that is safe to look at."""

import json
import math
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.wire.line import encode_line, escape, is_plain


def test_letters_of_the_world_are_not_escaped():
    assert encode_line({"name": "Grüße 世界 ✓"}) == '{"name":"Grüße 世界 ✓"}'.encode()


@pytest.mark.parametrize(
    "character", ["\x7f", "\x9b", "\u2028", "\u2029", "\u202e", "\u200b", "\ufeff", "\U000e0041"]
)
def test_what_a_terminal_may_act_on_is_escaped_wherever_it_stands(character):
    line = encode_line({f"k{character}": f"ü{character}x"})
    assert line.decode().isprintable()
    assert json.loads(line) == {f"k{character}": f"ü{character}x"}
    assert msgspec.json.decode(line) == json.loads(line)


def bottomless():
    value = []
    for _ in range(sys.getrecursionlimit() * 2):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("\ud800x", "\\ud800x"),
        (10**5000, hex(10**5000)),
        (bottomless(), "nested too deep"),
        ({1, 2} - {2}, [1]),
        (object(), "object"),
        (math.nan, None),
    ],
    ids=["surrogate", "huge", "deep", "set", "foreign", "nan"],
)
def test_what_json_cannot_say_is_still_written(value, said):
    assert json.loads(encode_line({"x": value})) == {"x": said}


def test_a_line_need_not_be_an_object():
    assert encode_line([1, "\ud800"]) == b'[1,"\\\\ud800"]'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_plain_needs_no_escape(text):
    line = msgspec.json.encode(text)
    if is_plain(line):
        assert escape(line) == line
    assert escape(line) == encode_line(text)
