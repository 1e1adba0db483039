import time
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time

import pytest

from evtools.cli.moment import LocalZone, parse_moment

NOON = 1_795_000_000.0  # some moment in 2026


@pytest.fixture
def stockholm(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Stockholm")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"), [("10m", 600), ("10m ago", 600), ("90", 90), ("1h30m", 5400), (" 0 ", 0)]
)
def test_a_duration_is_so_long_ago(text, ago):
    assert parse_moment(text, NOON) == NOON - ago


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795000000", 1_795_000_000.0),
        ("1795000000.5", 1_795_000_000.5),
        ("2026-11-20T14:00Z", 1_795_183_200.0),
        ("2026-11-20T14:00+01:00", 1_795_179_600.0),
    ],
)
def test_a_moment_with_zone_is_itself(text, expected):
    assert parse_moment(text, NOON) == expected


def test_a_date_without_zone_is_local(stockholm):
    assert parse_moment("2026-11-20", NOON) == 1_795_129_200.0
    assert parse_moment("2026-11-20 14:00", NOON) == 1_795_179_600.0


def test_a_time_of_day_has_no_date():
    assert parse_moment("9:30", NOON) == clock_time(9, 30)
    assert parse_moment("13:59:59.5", NOON) == clock_time(13, 59, 59, 500_000)
    assert parse_moment("14:00Z", NOON) == clock_time(14, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "14:60", "2026-13-01", "99999-01-01", "-5m"]
)
def test_what_is_no_time_is_refused_with_the_grammar(text):
    with pytest.raises(ValueError, match=r"is no time \(use 14:30"):
        parse_moment(text, NOON)


def test_the_local_zone_knows_summer_time(stockholm):
    zone = LocalZone()
    assert datetime(2026, 7, 1, tzinfo=zone).utcoffset() == timedelta(hours=2)
    assert datetime(2026, 12, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert noon.astimezone(zone).hour == 14
    assert datetime.fromtimestamp(noon.timestamp(), zone).hour == 14
    assert noon.astimezone(zone).timestamp() == noon.timestamp()


def test_the_local_zone_has_a_name_and_no_offset_of_its_own():
    zone = LocalZone()
    assert zone.utcoffset(None) is None
    assert zone.dst(None) is None
    assert zone.tzname(None) == "local"
