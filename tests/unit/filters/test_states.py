"""Tests for evtools.filters.states."""

import pytest

from evtools.filters.states import EVENT_STATES, STATE_GROUPS, STATE_NAMES, states_of
from evtools.filters.tokens import Mistake, Value


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("FAILURE", {"FAILURE"}),
        ("failure", {"FAILURE"}),
        ("fail", {"FAILURE"}),
        ("failed", {"FAILURE"}),
        ("ok", {"SUCCESS"}),
        ("run", {"STARTED"}),
        ("sent", {"PENDING"}),
        ("active", {"RECEIVED", "STARTED"}),
        ("bad", {"FAILURE", "RETRY", "REVOKED", "REJECTED", "CANCELLED"}),
        ("done", {"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "CANCELLED"}),
        ("re*", {"RECEIVED", "RETRY", "REVOKED", "REJECTED"}),
    ],
)
def test_names_groups_and_wildcards_stand_for_states(text, states):
    assert states_of(Value(text)) == states


def test_a_misspelt_state_is_refused_with_a_guess():
    with pytest.raises(Mistake, match=r'"failrue" .did you mean "failure"') as caught:
        states_of(Value("failrue", position=6, length=7))
    assert caught.value.position == 6
    assert "cancelled" in caught.value.hint


@pytest.mark.parametrize("value", [Value("zzz"), Value("z*"), Value("re*", literal=True)])
def test_what_is_no_state_is_refused(value):
    with pytest.raises(Mistake, match="there is no state"):
        states_of(value)


def test_every_name_stands_for_a_state_an_event_can_tell():
    states = set(EVENT_STATES.values())
    assert set(STATE_NAMES.values()) == states
    assert all(group <= states for group in STATE_GROUPS.values())
