"""What was on a recording, good and bad."""

from collections.abc import Iterable
from typing import Any, Final, TypeGuard

from evtools.transport.source import Statistics
from evtools.wire import GAP, Defect, EventFields, Record

_SAMPLE_BYTES: Final = 200
#: Beyond any span of time, and still exact as a float.
_TOO_LARGE: Final = 10**15


class Tally:
    """Count what a tape had so far."""

    def __init__(self) -> None:
        self.good = 0
        self._bad = 0
        self._events = 0
        self._gaps = 0
        self._gap_seconds = 0.0
        self._dropped = 0
        self._missed = 0
        self._defects: dict[str, Defect] = {}

    def defect(self, kind: str, line: bytes, detail: str, *, is_whole: bool = True) -> None:
        """Count a line that is no event, or what was lost of one that is.

        The first of each kind is a sample.
        """
        self._bad += is_whole
        defect = self._defects.setdefault(
            kind, Defect(kind, line[:_SAMPLE_BYTES], detail, 0, len(line))
        )
        defect.count += 1

    def count(self, records: Iterable[Record]) -> None:
        """Count what is handed out."""
        for record in records:
            if record.event["type"] == GAP:
                self._count_gap(record.event)
            else:
                self._events += 1

    def _count_gap(self, event: EventFields) -> None:
        match event.get("reason"):
            case "buffer":
                self._dropped += _whole(event.get("dropped"))
            case "worker":
                self._missed += _whole(event.get("missed"))
            case _:
                self._gaps += 1
                duration: Any = event.get("duration")
                self._gap_seconds += duration if _is_seconds(duration) else 0.0

    def statistics(self, *, connected: bool) -> Statistics:
        """Return the counters."""
        return Statistics(
            events=self._events,
            messages=self.good + self._bad,
            dropped=self._dropped,
            gaps=self._gaps,
            gap_seconds=self._gap_seconds,
            missed=self._missed,
            connected=connected,
            defects=tuple(self._defects.values()),
        )


def _is_seconds(value: Any) -> TypeGuard[float]:
    return value.__class__ in (float, int) and abs(value) < _TOO_LARGE


def _whole(value: Any) -> int:
    return value if value.__class__ is int else 0
