"""Tests of times: moments with a date, and times of day."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from evtools.filters.numbers import COMPARISONS, Number, NumberTest, read_at, split_range
from evtools.filters.tokens import Mistake, Value
from evtools.text import sanitize

# A time without a date is a time of day and matches on every day: a recording
# of last night reads the same in the morning, and nothing here needs a clock.
# A range that ends before it begins crosses midnight.
#
# What is written stands for all of the minute, second or day it names when it
# is tested with `:` or `=` or ends a range; the comparisons take its first
# instant, so that > and <= are each other's opposite.

GRAMMAR: Final = "use 14:30, 14:30:05, 2026-11-20 or 2026-11-20T14:00Z"
_DAY: Final = 86400.0
_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)(?:[Tt ]|(?=$)))?"
    r"(?:(?P<hour>\d\d?):(?P<minute>\d\d)(?P<second>:\d\d(?:[.,]\d{1,6})?)?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a written time stands for: from `start` up to, not including, `end`.

    Both are epoch seconds, or seconds of the day in `zone` if there is one.
    """

    start: float
    end: float
    zone: tzinfo | None = None

    def clock(self, epoch: Number) -> float | None:
        """Return the reading of `epoch` on this moment's scale."""
        if self.zone is None:
            return epoch
        try:
            local = datetime.fromtimestamp(epoch, self.zone)
        except (OverflowError, ValueError, OSError):
            return None
        since_midnight = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        return since_midnight.total_seconds() + local.microsecond / 1e6


def read_moment(text: str, zone: tzinfo) -> Moment:
    """Return what a time means; without a zone of its own it is in `zone`.

    Raises ValueError with a message for the user.
    """
    match = _TIME.fullmatch(text)
    if not match or not (match["date"] or match["hour"]):
        raise ValueError(f'"{sanitize(text)}" is no time ({GRAMMAR})')
    try:
        return _moment(match, _zone(match["zone"]) or zone)
    except (ValueError, OverflowError):
        raise ValueError(f'there is no time "{sanitize(text)}" ({GRAMMAR})') from None


def _moment(match: re.Match[str], zone: tzinfo) -> Moment:
    seconds = float((match["second"] or ":0")[1:].replace(",", "."))
    of_day = timedelta(
        hours=int(match["hour"] or 0), minutes=int(match["minute"] or 0)
    ).total_seconds()
    if of_day >= _DAY or seconds >= 60 or int(match["minute"] or 0) >= 60:  # noqa: PLR2004
        raise ValueError
    if not match["date"]:
        return Moment(of_day + seconds, of_day + seconds + _precision(match), zone)
    day = datetime.fromisoformat(match["date"]).replace(tzinfo=zone)
    wall = day + timedelta(seconds=of_day + seconds)
    end = wall + timedelta(seconds=_precision(match))
    return Moment(wall.timestamp(), end.timestamp())


def _precision(match: re.Match[str]) -> float:
    """Return how many seconds the last part that was written stands for."""
    if match["second"]:
        fraction = len(match["second"]) - len(":00.")
        return 10.0**-fraction if fraction > 0 else 1.0
    return 60.0 if match["hour"] else _DAY


def _zone(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def comparison(sign: str, value: Value, zone: tzinfo) -> NumberTest:
    """Test for times (epoch seconds) that compare so with `value`."""
    moment = _read(value, value.text, zone)
    compare, limit = COMPARISONS[sign], moment.start

    def test(epoch: Number) -> bool:
        reading = moment.clock(epoch)
        return reading is not None and compare(reading, limit)

    return test


def within(values: Sequence[Value], zone: tzinfo) -> NumberTest:
    """Test for times that are one of `values` or in one of their ranges."""
    tests = [_within(value, zone) for value in values]
    if len(tests) == 1:
        return tests[0]
    return lambda epoch: any(test(epoch) for test in tests)


def _within(value: Value, zone: tzinfo) -> NumberTest:
    low, dots, high = split_range(value)
    first = _read(value, low or high, zone)
    last = _read(value, high or low, zone)
    if (first.zone is None) != (last.zone is None):
        raise Mistake(
            "one end of the range has a date and the other has none", value.position, value.length
        )
    start = first.start if low else float("-inf")
    end = last.end if high or not dots else float("inf")
    crosses_midnight = start >= end
    if crosses_midnight and first.zone is None:
        raise Mistake("the range ends before it begins", value.position, value.length)

    def test(epoch: Number) -> bool:
        after, before = first.clock(epoch), last.clock(epoch)
        if after is None or before is None:
            return False
        if crosses_midnight:
            return start <= after or before < end
        return start <= after and before < end

    return test


def _read(value: Value, text: str, zone: tzinfo) -> Moment:
    return read_at(value, text, lambda written: read_moment(written, zone))
