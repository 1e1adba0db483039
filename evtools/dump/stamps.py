"""When an event happened, in the ways of `--ts`."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from evtools.dump.choices import Timestamps
from evtools.wire import Event, iso_utc

UNKNOWN: Final = "-"

#: How many columns each way takes; the longer stamps of odd times stand out.
_COLS: Final[Mapping[Timestamps, int]] = {
    "local": len("14:56:32.103"),
    "utc": len("14:56:32.103Z"),
    "iso": len("2026-11-20T14:56:32.103655Z"),
    "epoch": len("1795186532.103655"),
    "delta": len("+0000.000"),
    "start": len("+0000.000"),
    "none": 0,
}

_MILLIS: Final = 1000
_MICROS: Final = 1_000_000


class Stamps:
    """Say when events happened: by the sender's clock, else when we got them.

    The differences (`delta`, `start`) are to the event stamped before and to
    the first one.  `zone` is for `local`; None is the zone of this machine.
    """

    def __init__(self, timestamps: Timestamps, zone: tzinfo | None = None) -> None:
        ways: Mapping[Timestamps, Callable[[float], str]] = {
            "local": self._local,
            "utc": self._utc,
            "iso": lambda moment: iso_utc(moment) or UNKNOWN,
            "epoch": "{:.6f}".format,
            "delta": self._delta,
            "start": self._start,
            "none": lambda _: "",
        }
        self._say = ways[timestamps]
        self._unknown = UNKNOWN if timestamps != "none" else ""
        self._zone = zone
        self._second: int | None = None
        self._clock = ""
        self._before: float | None = None
        self._first: float | None = None
        #: Columns of a usual stamp.
        self.cols = _COLS[timestamps]

    def stamp(self, event: Event) -> str:
        """Return the time of the event, or `-`."""
        moment = moment_of(event)
        if moment is None:
            return self._unknown
        try:
            return self._say(moment)
        except (ValueError, OverflowError, OSError):
            # The zone or the rounding led out of the calendar.
            return UNKNOWN

    def _local(self, moment: float) -> str:
        return self._time_of_day(moment, self._zone)

    def _utc(self, moment: float) -> str:
        return self._time_of_day(moment, UTC) + "Z"

    def _time_of_day(self, moment: float, zone: tzinfo | None) -> str:
        second, millis = divmod(round(moment * _MILLIS), _MILLIS)
        if second != self._second:
            self._second, self._clock = second, _clock(second, zone)
        return f"{self._clock}.{millis:03d}"

    def _delta(self, moment: float) -> str:
        before, self._before = self._before, moment
        return f"{moment - (moment if before is None else before):+.3f}"

    def _start(self, moment: float) -> str:
        if self._first is None:
            self._first = moment
        return f"{moment - self._first:+.3f}"


def moment_of(event: Event) -> float | None:
    """Return when an event happened, in UTC epoch seconds, if it says so.

    A timestamp that is no number, or beyond the calendar, counts for nothing.
    """
    for name in ("timestamp", "local_received"):
        moment: Any = event.get(name)
        if iso_utc(moment) is not None:
            return float(moment)
    return None


def _clock(second: int, zone: tzinfo | None) -> str:
    if zone is None:
        return time.strftime("%H:%M:%S", time.localtime(second))
    return datetime.fromtimestamp(second, zone).strftime("%H:%M:%S")
