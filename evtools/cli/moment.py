"""Moments as people write them: 10m ago, 14:30, 2026-11-20T14:00Z."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

GRAMMAR = "14:30, 10m (ago), 2026-11-20, 2026-11-20T14:00Z or epoch seconds"

_TIME_OF_DAY = re.compile(r"\d\d?:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_AGO = re.compile(r"\s*ago\s*$")
#: Smaller numbers are seconds ago; this is March 1973.
_EPOCH_MIN = 1e8


class LocalZone(tzinfo):
    """The zone of this machine, summer time and all."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """Return what local time is ahead of UTC at `dt`."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> None:
        """Say nothing about summer time; the offset has it."""
        del dt

    def tzname(self, dt: datetime | None) -> str:
        """Return a name for messages."""
        del dt
        return "local"

    def fromutc(self, dt: datetime) -> datetime:
        """Return the local time of a UTC time."""
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def parse_moment(text: str, now: float) -> float | time:
    """Return UTC epoch seconds, `now` being in them, too, or a time of day.

    Without a zone, times are local.  Raise ValueError with a message for the user.
    """
    text = text.strip()
    try:
        if _NUMBER.fullmatch(text) and float(text) >= _EPOCH_MIN:
            return float(text)
        if _TIME_OF_DAY.fullmatch(text):
            hours, _, rest = text.partition(":")
            return time.fromisoformat(f"{hours:0>2}:{rest}")
        if "-" in text:
            return datetime.fromisoformat(text).timestamp()
        return now - _duration(_AGO.sub("", text))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f'"{text}" is no time (use {GRAMMAR})') from None


def _duration(text: str) -> float:
    from evtools.text import parse_duration  # noqa: PLC0415  (start-up time)

    return parse_duration(text)
