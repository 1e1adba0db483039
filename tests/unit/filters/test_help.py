"""What documents say of filters: `evtools help filter` and evfilter(7)."""

import re
from pathlib import Path

import pytest

from evtools.filters import EVENT_FIELDS, TASK_FIELDS, compile_filter
from evtools.filters.fields import ALIASES, STATE_GROUPS, STATES
from evtools.filters.grammar import OPERATORS
from evtools.filters.help import DIALECTS, EXAMPLES, page
from evtools.text.regexes import TIME_LIMIT
from tools.typed import event_of

PAGE = page()
MANUAL = (Path(__file__).parents[3] / "man" / "evfilter.7").read_text(encoding="utf-8")
ESCAPES = {"-": "-", "e": "\\", "(ti": "~", "(ha": "^", "(dq": '"', "(aq": "'"}
#: What the documentation of Flower searches for.
FLOWER = [
    "email invoice", "email AND invoice", "invoice OR receipt", "(email OR report) urgent",
    '"connection refused"', "args:customer", "kwargs:queue=priority", "result:timeout",
    'result:"connection refused"', "name:send_email", "worker:celery@host", "state:FAILURE",
    "(state:FAILURE OR state:RETRY)",
]  # fmt: skip


def first_words(heading):
    """Return what the lines of a section begin with."""
    section = PAGE.split(f"\n{heading}\n")[1].split("\n\n")[0]
    lines = [line for line in section.splitlines() if not line.startswith("   ")]
    return [line.split()[0] for line in lines]


def tags(macro):
    """Return the tags of the manual's paragraphs that are set in this font."""
    found = re.findall(rf"^\.TP\n\.{macro} (.+)$", MANUAL, re.MULTILINE)
    return [re.sub(r"\\(\(..|.)", lambda match: ESCAPES[match[1]], tag) for tag in found]


def test_the_manual_has_examples():
    assert len(tags("B")) > 40
    assert "state:failure runtime>2" in tags("B")


@pytest.mark.parametrize("text", [*EXAMPLES, *DIALECTS, *tags("B"), *FLOWER])
def test_an_example_is_a_filter(text):
    example = compile_filter(text, now=lambda: 0.0)
    assert example.matches(event_of({"type": "worker-online"})) in (True, False)


def test_the_regular_expressions_of_the_manual_match_what_they_are_for():
    raised = "Traceback (most recent call last):\npsycopg.OperationalError: deadlock detected"
    event = event_of({"type": "task-failed", "name": "proj.a", "traceback": raised})
    examples = [tag for tag in tags("B") if tag.startswith(("name~", "tb~"))]
    assert len(examples) == 2
    for text in examples:
        assert compile_filter(text).matches(event), text


def test_the_page_has_every_state_operator_and_field_once():
    assert first_words("OPERATORS") == list(OPERATORS)
    assert first_words("STATES AND GROUPS OF THEM") == ["(all)", *STATE_GROUPS, "due"]
    assert all(f" {state.lower()}" in PAGE for state in STATES)
    texts = first_words("FIELDS THAT TAKE : = != ~ !~")
    numbers = first_words("FIELDS THAT TAKE : = != > >= < <=")
    both = first_words("FIELDS THAT TAKE : = != ~ !~ > >= < <=")
    assert {"name", "state", "any"} < set(texts)
    assert {"runtime", "sent", "age"} < set(numbers)
    assert both == ["lost", "field.NAME"]
    known = [*texts, *numbers, *both, *first_words("FIELDS THAT TAKE :")]
    assert sorted(known) == sorted({**EVENT_FIELDS, **TASK_FIELDS, "field.NAME": 0})
    others = PAGE.split("\nOTHER NAMES OF FIELDS\n")[1].split("\n\n")[0]
    assert set(ALIASES) < set(re.findall(r"\w+", others))
    assert max(map(len, PAGE.splitlines())) < 80


def test_the_manual_describes_every_field_and_state_and_the_limits():
    assert tags("I") == list(EVENT_FIELDS)
    words = set(re.findall(r"[a-z]+", MANUAL))
    assert {state.lower() for state in STATES} | set(STATE_GROUPS) <= words
    text = " ".join(MANUAL.split())
    assert "2048 characters and 128 terms" in text
    assert f"given {TIME_LIMIT * 1000:.0f} ms of CPU time" in text
