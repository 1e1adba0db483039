"""Tests for evtools.filters.page."""

import re

import pytest

from evtools.filters import EVENT_FIELDS, TASK_FIELDS, compile_filter
from evtools.filters.fields import ALIASES
from evtools.filters.page import DIALECTS, EXAMPLES, MEANINGS, page
from evtools.filters.states import STATE_GROUPS, STATES
from evtools.filters.tokens import OPERATORS
from evtools.wire import Record

PAGE = page()


def words(heading):
    """Return what the lines of a section begin with."""
    section = PAGE.split(f"\n{heading}\n")[1].split("\n\n")[0]
    lines = [line for line in section.splitlines() if not line.startswith("   ")]
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize("text", [*EXAMPLES, *DIALECTS])
def test_an_example_is_a_filter(text):
    example = compile_filter(text)
    assert example.matches(Record({"type": "worker-online"})) in (True, False)
    assert f"  {text}  " in PAGE


def test_every_operator_has_a_meaning():
    assert set(MEANINGS) == set(OPERATORS)
    assert words("OPERATORS") == list(OPERATORS)


def test_every_state_and_group_is_named():
    assert words("STATES AND GROUPS OF THEM") == ["(all)", *STATE_GROUPS]
    assert all(f" {state.lower()}" in PAGE for state in STATES)


def test_every_field_stands_by_the_operators_that_go_with_it():
    texts = words("FIELDS THAT GO WITH : = != ~ !~")
    numbers = words("FIELDS THAT GO WITH : = != > >= < <=")
    both = words("FIELDS THAT GO WITH : = != ~ !~ > >= < <=")
    assert {"name", "state", "any"} < set(texts)
    assert {"runtime", "sent", "age"} < set(numbers)
    assert both == ["lost", "field.NAME"]
    known = [*texts, *numbers, *both, *words("FIELDS THAT GO WITH :")]
    assert sorted(known) == sorted({**EVENT_FIELDS, **TASK_FIELDS, "field.NAME": 0})
    others = PAGE.split("\nOTHER NAMES OF FIELDS\n")[1].split("\n\n")[0]
    assert set(ALIASES) < set(re.findall(r"\w+", others))


def test_it_fits_a_terminal():
    assert max(map(len, PAGE.splitlines())) < 80
