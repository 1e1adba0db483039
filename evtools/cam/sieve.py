"""What of the events reaches the state: no secrets, and only the tasks asked for."""

from collections.abc import Callable, Iterable
from datetime import tzinfo

from evtools.filters import all_of, compile_filter
from evtools.wire import EventFields, Joiner, Record
from evtools.wire.redact import redactor


class Sieve:
    """Redact events, and let those of other tasks fall through.

    An event of a task is asked with what earlier events told of that task.
    Workers always pass, as tasks mean little without them.  Raise FilterError
    or UsageError for what cannot be read.
    """

    def __init__(
        self,
        filters: Iterable[str] = (),
        redact: Iterable[str] = (),
        *,
        zone: tzinfo,
        now: Callable[[], float],
    ) -> None:
        texts = [text for text in filters if text.strip()]
        compiled = [compile_filter(text, zone=zone, now=now) for text in texts]
        self._filter = all_of(*compiled) if compiled else None
        self._redact = redactor(redact)
        self._joiner = Joiner()
        self._asked = self._passed = 0

    def take(self, events: list[EventFields]) -> list[EventFields]:
        """Return what is left of events, which are changed in place."""
        if self._redact is not None:
            for event in events:
                self._redact(event)
        if self._filter is None:
            return events
        records = [Record(event) for event in events]
        self._joiner.join(records)
        matches = self._filter.matches
        left: list[EventFields] = []
        for record in records:
            if record.event["type"].startswith("task-"):
                self._asked += 1
                if not matches(record):
                    continue
                self._passed += 1
            left.append(record.event)
        return left

    def notes(self) -> list[str]:
        """Return why no event of a task has passed, if that is so."""
        if self._filter is None or self._passed or not self._asked:
            return []
        head = f"--filter let none of {self._asked} events of tasks through"
        return [head, *self._filter.unknown(), *self._filter.hints()]
