"""Times as `--ts` has them."""

import math
import time
from datetime import UTC, timedelta, timezone

import pytest

from evtools.dump.stamps import Stamps, moment_of

NOON = 1795186532.103655
EVENT = {"type": "x", "timestamp": NOON, "local_received": NOON + 5}


@pytest.mark.parametrize(
    ("way", "stamp"),
    [
        ("utc", "14:55:32.104Z"),
        ("iso", "2026-11-20T14:55:32.103655Z"),
        ("epoch", "1795186532.103655"),
        ("delta", "+0.000"),
        ("start", "+0.000"),
        ("none", ""),
    ],
)
def test_each_way_has_its_form(way, stamp):
    stamps = Stamps(way)
    assert stamps.stamp(EVENT) == stamp
    assert stamps.cols >= len(stamp)


def test_local_is_the_time_of_day_in_the_zone():
    east = timezone(timedelta(hours=2))
    assert Stamps("local", east).stamp(EVENT) == "16:55:32.104"
    assert Stamps("local", UTC).stamp(EVENT) == "14:55:32.104"


def test_local_without_a_zone_is_that_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", "XXX-3")
    time.tzset()
    assert Stamps("local").stamp(EVENT) == "17:55:32.104"
    monkeypatch.undo()
    time.tzset()


def test_the_clock_is_right_again_after_every_second():
    stamps = Stamps("utc")
    times = [stamps.stamp({"type": "x", "timestamp": moment}) for moment in (0.5, 0.9994, 0.9996)]
    assert times == ["00:00:00.500Z", "00:00:00.999Z", "00:00:01.000Z"]
    assert stamps.stamp({"type": "x", "timestamp": -0.5}) == "23:59:59.500Z"


def after(way, *moments):
    stamps = Stamps(way)
    return [stamps.stamp({"type": "x", "timestamp": moment}) for moment in moments]


def test_delta_is_since_the_event_before():
    assert after("delta", 5.0, 7.5, 7.0) == ["+0.000", "+2.500", "-0.500"]


def test_start_is_since_the_first_event():
    assert after("start", 5.0, 7.5, 4.0) == ["+0.000", "+2.500", "-1.000"]


def test_an_event_without_a_time_does_not_count_for_differences():
    assert after("delta", 5.0, None, 7.0) == ["+0.000", "-", "+2.000"]


@pytest.mark.parametrize("odd", [None, "1", True, [], math.nan, math.inf, 1e300, 1763380002000])
def test_an_odd_timestamp_gives_way_to_when_we_received_it(odd):
    assert moment_of({"type": "x", "timestamp": odd, "local_received": 7}) == 7.0
    assert moment_of({"type": "x", "timestamp": odd, "local_received": odd}) is None


def test_what_has_no_time_at_all_is_a_dash():
    assert Stamps("local").stamp({"type": "x"}) == "-"
    assert Stamps("none").stamp({"type": "x"}) == ""


@pytest.mark.parametrize("moment", [253402300799.9999, -62135596800.0])
def test_a_time_that_its_zone_takes_out_of_the_calendar_is_a_dash(moment):
    west, east = timezone(timedelta(hours=-9)), timezone(timedelta(hours=9))
    event = {"type": "x", "timestamp": moment}
    stamps = {Stamps("local", zone).stamp(event) for zone in (west, east)}
    assert "-" in stamps
