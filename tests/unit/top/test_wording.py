"""Tests for evtools.top.wording."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.attempts import MOMENTS
from evtools.top.columns import as_text
from evtools.top.ui.theme import STYLES
from evtools.top.wording import LOST, STATES, event_story, event_style, event_word, text_of, was_cut
from evtools.wire import GAP
from tools.gaps import gap


def test_every_state_has_a_word_and_a_style():
    assert set(STATES) == set(MOMENTS)
    assert {style for _, style in (*STATES.values(), LOST)} <= set(STYLES)
    assert max(len(word) for word, _ in STATES.values()) <= 6


def test_values_are_said_as_they_are():
    assert as_text("a b") == "a b"
    assert as_text({"a": [1]}) == '{"a":[1]}'
    assert text_of(None) is None
    assert text_of(3) == "3"


def test_what_the_sender_cut_is_noticed():
    assert was_cut("x" * 1021 + "...")
    assert was_cut("(" + "x" * 1020 + "...)")
    assert not was_cut("x" * 1021)
    assert not was_cut("...")
    assert not was_cut(3)


@pytest.mark.parametrize(
    ("event", "word", "story"),
    [
        ({"type": "task-sent", "queue": "mail"}, "SENT", "queue=mail"),
        ({"type": "task-received", "args": "(1,)", "kwargs": "{}"}, "RECV", "(1,)"),
        ({"type": "task-started"}, "START", ""),
        ({"type": "task-succeeded", "runtime": 1.04, "result": "3"}, "OK", "1.04s  3"),
        ({"type": "task-succeeded", "runtime": "x"}, "OK", "x"),
        ({"type": "task-failed", "exception": "E()"}, "FAIL", "E()"),
        (
            {"type": "task-revoked", "terminated": True, "expired": False},
            "REVOKE",
            "terminated=true",
        ),
        (
            {"type": "worker-heartbeat", "active": 0, "loadavg": [1.5, 2, 3]},
            "beat",
            "active=0  loadavg=1.5",
        ),
        ({"type": "worker-heartbeat", "loadavg": [[], 2]}, "beat", "loadavg=[]"),
        ({"type": "task-progress", "uuid": "u", "percent": 40}, "task-progress", "percent=40"),
        ({"type": ["odd"], "x": None}, '["odd"]', ""),
    ],
)
def test_an_event_is_told_in_a_line(event, word, story):
    assert event_word(event) == word
    assert event_story(event) == story


def test_gaps_are_told_as_sentences():
    lost = gap("reconnect", 0.0, 12.0, error="Connection refused")
    assert event_word(lost) == "GAP"
    assert event_story(lost) == "12.0s without events: reconnect (Connection refused)"
    full = gap("buffer", 0.0, 1.0, dropped=17)
    assert event_story(full) == "17 events dropped: evtop was too slow"
    missed = gap("worker", 0.0, 1.0, missed=3, hostname="w1")
    assert event_story(missed) == "~3 tasks of w1 not seen"
    assert event_story({"type": "evdump-gap"}) == "some time without events: null"


def test_styles_are_those_of_the_theme():
    assert event_style({"type": "task-failed"}) == "failure"
    assert event_style({"type": "odd"}) == ""
    assert event_style({"type": []}) == ""
    assert event_style({"type": "worker-heartbeat"}) in STYLES


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = ("queue", "args", "runtime", "result", "exception", "loadavg", "active", "x")


@given(
    st.sampled_from(["task-sent", "task-succeeded", "worker-heartbeat", "x", GAP]),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_any_json_can_be_told(type_, fields):
    event = {"type": type_, **fields}
    assert isinstance(event_story(event), str)
    assert isinstance(event_word(event), str)
