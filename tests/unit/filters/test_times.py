"""Tests for evtools.filters.times."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from evtools.filters.times import comparison, read_moment, within
from evtools.filters.tokens import Mistake, Value

EAST = timezone(timedelta(hours=2))


def at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def during(text, zone=UTC):
    return within([Value(item) for item in text.split(",")], zone)


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("2026-11-20", "2026-11-20T00:00", 86400),
        ("2026-11-20T14:00", "2026-11-20T14:00", 60),
        ("2026-11-20 14:00:05", "2026-11-20T14:00:05", 1),
        ("2026-11-20t14:00:05.25", "2026-11-20T14:00:05.250", 0.01),
        ("2026-11-20T14:00:05,5", "2026-11-20T14:00:05.500", 0.1),
        ("2026-11-20T14:00Z", "2026-11-20T14:00", 60),
        ("2026-11-20T14:00+02:00", "2026-11-20T12:00", 60),
        ("2026-11-20T14:00-0130", "2026-11-20T15:30", 60),
    ],
)
def test_a_time_with_a_date_is_a_moment(text, start, length):
    moment = read_moment(text, UTC)
    assert moment.zone is None
    assert moment.start == at(start)
    assert moment.end - moment.start == pytest.approx(length)


def test_without_a_zone_a_moment_is_in_the_given_one():
    assert read_moment("2026-11-20T14:00", EAST).start == at("2026-11-20T12:00")
    assert read_moment("2026-11-20T14:00Z", EAST).start == at("2026-11-20T14:00")


def test_a_day_is_as_long_as_its_zone_has_it():
    moment = read_moment("2026-03-29", ZoneInfo("Europe/Stockholm"))
    assert moment.end - moment.start == 23 * 3600


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("14:30", 52200, 52260),
        ("9:05", 32700, 32760),
        ("14:30:05", 52205, 52206),
        ("14:30Z", 52200, 52260),
    ],
)
def test_a_time_without_a_date_is_a_time_of_day(text, start, end):
    moment = read_moment(text, EAST)
    assert (moment.start, moment.end) == (start, end)
    assert moment.zone is (UTC if text.endswith("Z") else EAST)


@pytest.mark.parametrize(
    "text", ["", "Z", "14", "1430", "yesterday", "2026-11", "20261120", "2026-11-20T14"]
)
def test_what_is_no_time_is_refused_with_the_grammar(text):
    with pytest.raises(ValueError, match=r"is no time .use 14:30"):
        read_moment(text, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "24:00",
        "14:60",
        "14:00:60",
        "2026-02-30",
        "0000-01-01",
        "9999-12-31",
        "2026-01-01T00:00+99:00",
    ],
)
def test_times_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="there is no time"):
        read_moment(text, UTC)


@pytest.mark.parametrize(
    ("sign", "passing"), [(">", [61]), (">=", [60, 61]), ("<", [59]), ("<=", [59, 60])]
)
def test_comparisons_take_the_first_instant(sign, passing):
    test = comparison(sign, Value("1970-01-01T00:01"), UTC)
    assert [epoch for epoch in (59, 60, 61) if test(epoch)] == passing


def test_a_time_of_day_holds_on_every_day_in_its_zone():
    test = comparison(">", Value("14:30"), EAST)
    assert test(at("2026-11-20T14:31", EAST))
    assert test(at("1999-01-01T23:59", EAST))
    assert not test(at("2026-11-20T14:30", EAST))
    assert not test(at("2026-11-20T14:29", EAST))


def test_equality_takes_all_that_is_written():
    assert during("14:30")(at("2026-11-20T14:30:59.9"))
    assert not during("14:30")(at("2026-11-20T14:31"))
    assert during("2026-11-20")(at("2026-11-20T23:59:59"))
    assert not during("2026-11-20")(at("2026-11-21T00:00"))


def test_several_times_are_any_of_them():
    assert during("14:30,15:30")(at("2026-11-20T15:30"))
    assert not during("14:30,15:30")(at("2026-11-20T15:31"))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("14:00..14:10", "14:10:59", "14:11"),
        ("14:00..", "23:59", "13:59"),
        ("..14:00", "14:00:59", "14:01"),
        ("23:50..00:10", "23:55", "12:00"),
        ("23:50..00:10", "00:10:59", "00:11"),
    ],
)
def test_a_range_takes_in_all_of_its_end_and_may_cross_midnight(text, inside, outside):
    assert during(text)(
        at(f"2026-11-20T{inside}" if len(inside) > 5 else f"2026-11-20T{inside}:00")
    )
    assert not during(text)(at(f"2026-11-20T{outside}:00"))


def test_a_range_of_days_takes_in_both():
    test = during("2026-11-20..2026-11-21")
    assert test(at("2026-11-20T00:00"))
    assert test(at("2026-11-21T23:59"))
    assert not test(at("2026-11-22T00:00"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-21..2026-11-20", "before it begins"),
        ("2026-11-20..14:00", "has a date"),
        ("x..14:00", "is no time"),
        ("..", "needs an end"),
    ],
)
def test_a_bad_range_is_refused_in_place(text, says):
    with pytest.raises(Mistake, match=says) as caught:
        within([Value(text, position=3, length=len(text))], UTC)
    assert caught.value.position == 3


@pytest.mark.parametrize("epoch", [1e300, -1e300, 2**53, float("inf"), float("nan")])
def test_a_time_beyond_all_calendars_matches_no_time_of_day(epoch):
    assert not during("..23:59")(epoch)
    assert not comparison(">=", Value("00:00"), UTC)(epoch)
