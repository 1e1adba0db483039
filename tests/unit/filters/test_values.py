"""Times, keyword arguments and wildcards: what is read as which value, and what it matches."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import FilterError
from evtools.filters import compile_filter
from evtools.filters.compile import PAIRS_MAX_CHARS, pairs
from tools.typed import event_of

EAST = timezone(timedelta(hours=2))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def during(text, moment, zone=UTC, sign=":"):
    epoch = at(moment) if isinstance(moment, str) else moment
    made = compile_filter(f'sent{sign}"{text}"', zone=zone)
    return made.matches(event_of({"type": "task-sent", "timestamp": epoch}))


@pytest.mark.parametrize(("text", "zone", "start", "seconds"), [
    ("2026-11-20", UTC, "2026-11-20T00:00", 86400),
    ("2026-11-20T14:00", UTC, "2026-11-20T14:00", 60),
    ("2026-11-20T14:00", EAST, "2026-11-20T12:00", 60),
    ("2026-11-20 14:00:05", UTC, "2026-11-20T14:00:05", 1),
    ("2026-11-20t14:00:05.25", UTC, "2026-11-20T14:00:05.250", 0.01),
    ("2026-11-20T14:00Z", EAST, "2026-11-20T14:00", 60),
    ("2026-11-20T14:00+02:00", UTC, "2026-11-20T12:00", 60),
    ("2026-11-20T14:00-0130", UTC, "2026-11-20T15:30", 60),
    ("14:30", EAST, "2026-11-20T12:30", 60), ("14:30", UTC, "1999-01-01T14:30", 60),
    ("9:05", UTC, "2026-11-20T09:05", 60), ("14:30:05", UTC, "2026-11-20T14:30:05", 1),
    ("14:30:05.5", UTC, "2026-11-20T14:30:05.5", 0.1), ("14:30Z", EAST, "2026-11-20T14:30", 60),
])  # fmt: skip
def test_a_time_lasts_as_long_as_what_is_written(text, zone, start, seconds):
    first = at(start)
    for epoch in (first, first + seconds * 0.98):
        assert during(text, epoch, zone)
    for epoch in (first - 0.001, first + seconds * 1.02):
        assert not during(text, epoch, zone)


@pytest.mark.parametrize(("text", "inside", "outside"), [
    ("14:00..14:10", "2026-11-20T14:10:59", "2026-11-20T14:11"),
    ("14:00..", "2026-11-20T23:59", "2026-11-20T13:59"),
    ("..14:00", "2026-11-20T14:00:59", "2026-11-20T14:01"),
    ("23:50..00:10", "2026-11-20T23:55", "2026-11-20T12:00"),
    ("23:50..00:10", "2026-11-20T00:10:59", "2026-11-20T00:11"),
    ("14:00Z..17:00+02:00", "2026-11-20T15:00:59", "2026-11-20T15:01"),
    ("2026-11-20..2026-11-21", "2026-11-21T23:59", "2026-11-22T00:00"),
    ("2026-11-20..2026-11-21", "2026-11-20T00:00", "2026-11-19T23:59"),
])  # fmt: skip
def test_a_range_includes_all_of_its_end_and_may_cross_midnight(text, inside, outside):
    assert during(text, inside)
    assert not during(text, outside)


@pytest.mark.parametrize("text", ["1970-01-01T00:01", "0:01"])
@pytest.mark.parametrize(
    ("sign", "passing"), [(">", [61]), (">=", [60, 61]), ("<", [59]), ("<=", [59, 60])]
)
def test_comparisons_take_the_first_instant(text, sign, passing):
    assert [epoch for epoch in (59, 60, 61) if during(text, epoch, sign=sign)] == passing


@pytest.mark.parametrize("epoch", [1e300, -1e300, 2**53, float("inf"), float("nan")])
def test_a_time_beyond_all_calendars_matches_no_time_of_day(epoch):
    record = event_of({"type": "task-sent", "eta": epoch})
    assert not compile_filter("eta:..23:59").matches(record)
    assert not compile_filter("eta>=00:00").matches(record)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((text, "invalid time") for text in ("Z", "14", "1430", "yesterday", "2026-11")),
        *((text, "invalid time") for text in ("20261120", "2026-11-20T14", "x..14:00")),
        *((text, "there is no time") for text in ("24:00", "14:60", "14:00:60", "2026-02-30")),
        *((text, "there is no time") for text in ("0000-01-01", "9999-12-31")),
        ("2026-01-01T00:00+99:00", "there is no time"),
        ("2026-11-21..2026-11-20", "before it begins"),
        ("2026-11-20..14:00", "has a date"),
        ("..", "needs an end"),
    ],
)
def test_what_is_not_a_time_is_refused_in_place(text, says):
    with pytest.raises(FilterError, match=says) as caught:
        compile_filter(f"sent:{text}")
    assert (caught.value.position, caught.value.length) == (5, len(text))


# --- text -------------------------------------------------------------------------


def matches(text, **fields):
    return compile_filter(text).matches(event_of({"type": "task-received", **fields}))


SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii"))
NESTED = SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS)


@pytest.mark.parametrize(("kwargs", "found"), [
    ("{}", []), ("{'a': 1}", [("a", "1")]),
    ("{'a': 'x, y', 'b': [1, {'c': 2}]}", [("a", "'x, y'"), ("b", "[1, {'c': 2}]")]),
    ("{'a': <Foo at 0x1f>, 'b': d(1, 2)}", [("a", "<Foo at 0x1f>"), ("b", "d(1, 2)")]),
    ('{"a": "it\'s", "b": null}', [("a", '"it\'s"'), ("b", "null")]),
    ("{'a': x:y}", [("a", "x:y")]), ("{'a': 1, 'b': 'cut off...", [("a", "1")]),
    ("{'a': 1, 'b': ...", [("a", "1")]), ("{1, 2}", []), ("a: b", []), ("]]}{'a': 1}", []),
])  # fmt: skip
def test_the_outermost_pairs_are_found(kwargs, found):
    assert list(pairs(kwargs)) == found


@given(st.dictionaries(st.text("abc_'\"\\", min_size=1), NESTED))
def test_every_pair_of_a_dictionary_is_found(kwargs):
    found = list(pairs(repr(kwargs)))
    assert [value for _, value in found] == [repr(value) for value in kwargs.values()]
    assert [key for key, _ in found] == list(kwargs)


@given(st.text("{}[](),:'\"\\ab "))
def test_any_text_can_be_scanned(text):
    assert matches("kwargs:a=b", kwargs=text) in (True, False)


@pytest.mark.parametrize(("pair", "passes"), [
    ("queue=priority", True), ("QUEUE=Priority", True), ("queue='priority'", True),
    ("queue=prio*", True), ("queue=prio", False), ("que=priority", False), ("n=5", True),
    ("n=", False), ("ok=true", True), ("inner=1", False), ('"name=Ann Lee"', True),
    # A quoted value has no wildcards, and what is no pair is text.
    ('"queue=prio*"', False), ('"star=x*"', True), ('"=x"', True),
    ("'a'=1", True), ('"a b=1"', True),
])  # fmt: skip
def test_a_pair_has_exactly_the_value(pair, passes):
    kwargs = "{'queue': 'priority', 'n': 5, 'ok': True, 'o': {'inner': 1}, 'name': 'Ann Lee', "
    kwargs += "'star': 'x*', 't': \"'a'=1 a b=1 =x\"}"
    assert matches(f"kwargs:{pair}", kwargs=kwargs) is passes


def test_a_long_text_is_scanned_in_part():
    assert not matches("kwargs:a=1", kwargs="{'x': '" + "y" * PAIRS_MAX_CHARS + "', 'a': 1}")
    assert not matches("kwargs:a=1", kwargs="'\\" * PAIRS_MAX_CHARS + "a")


@pytest.mark.parametrize(("pattern", "text", "passes"), [
    ("proj.*", "PROJ.add", True), ("proj.*", "x.proj.add", False), ("*.add", "proj.Add", True),
    ("*.add", "proj.added", False), ("w?", "w12", False), ("w[1-3]*", "w2@h", True),
    ("w[1-3]*", "w4@h", False), ("a*b*", "axxb\nyy", True), ("*", "", True),
    ("*a" * 30 + "b", "a" * 4096, False),  # in no time
])  # fmt: skip
def test_wildcards_match_the_whole_text_in_any_case(pattern, text, passes):
    assert matches(f"name:{pattern}", name=text) is passes
