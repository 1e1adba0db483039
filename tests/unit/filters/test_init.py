"""Tests for evtools.filters as a whole: that evfilter(7) says what they do."""

import re
from pathlib import Path

import pytest

from evtools.filters import EVENT_FIELDS, all_of, compile_filter, quote
from evtools.filters.grammar import parse
from evtools.filters.regexes import LINE_CHARS
from evtools.filters.states import STATE_GROUPS, STATES
from evtools.wire import Record

PAGE = (Path(__file__).parents[3] / "man" / "evfilter.7").read_text(encoding="utf-8")
ESCAPES = {"-": "-", "e": "\\", "(ti": "~", "(ha": "^", "(dq": '"', "(aq": "'"}


def plain(roff):
    return re.sub(r"\\(\(..|.)", lambda match: ESCAPES[match[1]], roff)


def tagged(macro):
    """Return the tags of the page's paragraphs that are set in this font."""
    tags = re.findall(rf"^\.TP\n\.{macro} (.+)$", PAGE, re.MULTILINE)
    return [plain(tag) for tag in tags]


EXAMPLES = tagged("B")
#: What the documentation of Flower searches for.
FLOWER = [
    "email invoice",
    "email AND invoice",
    "invoice OR receipt",
    "(email OR report) urgent",
    '"connection refused"',
    "args:customer",
    "kwargs:queue=priority",
    "result:timeout",
    'result:"connection refused"',
    "name:send_email",
    "worker:celery@host",
    "state:FAILURE",
    "(state:FAILURE OR state:RETRY)",
]


def test_the_page_has_examples():
    assert len(EXAMPLES) > 40
    assert "state:failure runtime>2" in EXAMPLES


@pytest.mark.parametrize("text", [*EXAMPLES, *FLOWER])
def test_an_example_is_a_filter(text):
    example = compile_filter(text, now=lambda: 0.0)
    assert example.matches(Record({"type": "worker-online"})) in (True, False)
    assert parse(str(parse(text))) == parse(text)


def test_every_field_is_described():
    assert tagged("I") == list(EVENT_FIELDS)


def test_every_state_and_group_is_named():
    words = set(re.findall(r"[a-z]+", PAGE))
    assert {state.lower() for state in STATES} | set(STATE_GROUPS) <= words


def test_the_limits_are_told():
    text = " ".join(PAGE.split())
    assert "2048 characters and 128 terms" in text
    assert "{} characters, or {}, {} and {} with".format(*LINE_CHARS) in text


def test_the_package_offers_what_the_tools_need():
    exact = compile_filter(f"name={quote('a b')}")
    assert all_of(exact).matches(Record({"type": "x", "name": "a b"}))
