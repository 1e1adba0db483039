"""Alerts: [alert.NAME] in the settings file, and whether what one watches for is there.

Nothing here knows where rows come from: who has them asks the filter of an alert about each, and
says what matched.  Events are counted here, by the second.
"""

import difflib
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from evtools.errors import ConfigError, Fail, FilterError, check_table
from evtools.filters import EVENT_FIELDS, FieldTable, Filter, compile_filter, task_fields
from evtools.text import elide_middle, human_age, human_duration, parse_duration, sanitize
from evtools.wire import Event

View: TypeAlias = Literal["tasks", "types", "workers", "queues", "errors", "events"]
Level: TypeAlias = Literal["critical", "warning"]
What: TypeAlias = Literal["fired", "resolved"]

VIEWS: Final[tuple[View, ...]] = get_args(View)
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
#: Over which the figures of rows can be.
WINDOWS: Final = ("1m", "5m", "15m", "1h", "all")
#: The longest that events are counted over, and that something must hold, in seconds.
SPAN_MAX: Final = 3600.0
HOLD_MAX: Final = 86_400.0
COUNT_MAX: Final = 1_000_000
# fmt: off
#: The keys of a table, and the types of flags and of lines of text.
_KEYS: Final[Mapping[str, object]] = {
    "view": str, "filter": str, "window": None, "count": int, "for": None, "bell": bool,
    "level": str, "message": str,
}
# fmt: on
#: How many of what matched are named, and how much of each name is kept and shown.
NAMES_MAX: Final = 3
_NAME_CHARS: Final = 200
_NAME_COLS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One [alert.NAME]: fires when `filter` matches `count` rows of `view`, or events.

    `place` is its file and table.  `window` is that of the figures of a row, or the time over which
    events are counted, as it was written; "" for tasks.  `hold` (`for` in the file) is how long
    that must last, in seconds.
    """

    name: str
    place: str
    filter: str
    view: View = "events"
    window: str = "5m"
    count: int = 1
    hold: float = 0.0
    bell: bool = True
    level: Level = "critical"
    message: str = ""

    @property
    def span(self) -> float:
        """The window in seconds; infinite for all."""
        return math.inf if self.window in ("", "all") else parse_duration(self.window)

    @property
    def about(self) -> str:
        """What it is about in words of the user, fit to be shown."""
        return sanitize(self.message or self.filter)

    def settings(self) -> dict[str, Any]:
        """Return what is in force, as the settings file has it."""
        window = {"window": self.window} if self.window else {}
        return {
            "view": self.view, "filter": self.filter, **window, "count": self.count,
            "for": f"{self.hold:g}s", "bell": self.bell, "level": self.level,
            "message": self.message,
        }  # fmt: skip

    def compile(self, fields: FieldTable, **how: Any) -> Filter:
        """Return the filter on rows with these fields; raise ConfigError for a mistake in it."""
        try:
            return compile_filter(self.filter, fields=fields, **how)
        except FilterError as error:
            # Those of rows are in no help.
            columns = f"{self.view} have {', '.join(fields)}"
            hint = error.hint if self.view in ("tasks", "events") else columns
            raise ConfigError(f"{self.place}.filter: {error.message}", hint) from None


def parse_rule(name: str, place: str, table: Mapping[str, Any]) -> Rule:
    """Return the rule of a table of the settings file, which `place` names.

    Raise ConfigError, with the key, for any mistake in it; but fields of rows other than tasks and
    events are known to those only that have such rows, who `compile` it.
    """
    fail = check_table(name, place, table, _KEYS)
    wanted, view = table.get("filter", ""), table.get("view", "events")
    if not wanted.strip():
        fail("filter", "must say what to look for", 'as in filter = "state:failure name:billing.*"')
    _choice(fail, "view", view, VIEWS)
    _choice(fail, "level", level := table.get("level", "critical"), LEVELS)
    count = table.get("count", 1)
    if type(count) is not int or not 1 <= count <= COUNT_MAX:
        fail("count", f"must be a whole number from 1 to {COUNT_MAX:,}")
    rule = Rule(
        name=name, place=place, filter=wanted, view=view, window=_window(fail, view, table),
        count=count, hold=_seconds(fail, "for", table.get("for", 0), HOLD_MAX),
        bell=table.get("bell", True), level=level, message=table.get("message", ""),
    )  # fmt: skip
    if view in ("tasks", "events"):
        fields = EVENT_FIELDS if view == "events" else task_fields(lambda _: 0.0)
        rule.compile(fields, now=lambda: 0.0)
    return rule


def _choice(fail: Fail, key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        fail(key, f'there is no {key} "{value}"', hint)


def _window(fail: Fail, view: View, table: Mapping[str, Any]) -> str:
    if view == "tasks":
        if "window" in table:
            fail("window", "tasks have none", 'a filter can say it: filter = "... age<5m"')
        return ""
    window = table.get("window", "5m")
    if view != "events":
        if window not in WINDOWS:
            fail("window", f"must be one of {', '.join(WINDOWS)} for {view}")
        return str(window)
    if _seconds(fail, "window", window, SPAN_MAX) < 1:
        fail("window", "must be a second at least")
    return window if isinstance(window, str) else f"{window:g}s"


def _seconds(fail: Fail, key: str, value: Any, most: float) -> float:
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds <= most:
        fail(key, f"must be a time of up to {human_duration(most)}", f'as in {key} = "1m"')
    return seconds


# --- whether it is there ------------------------------------------------------------------


class Change(NamedTuple):
    """What has become of an alert; `text` is a sentence about it, fit to be shown."""

    alert: "Alert"
    what: What
    text: str


class Alert:
    """A rule, and whether what it watches for is there.

    `chosen` is its filter, on what `look` is given.  It fires once when what it watches for has
    been there for as long as it must, and resolves when that is there no more.  Times are UTC epoch
    seconds and never go back.
    """

    def __init__(self, rule: Rule, chosen: Filter) -> None:
        self.rule, self.filter = rule, chosen
        #: Since when it is there, None while it is not; and whether it fires.
        self.since: float | None = None
        self.fires = False
        #: How many rows or events matched, and the names of some, as they were sent.
        self.matched = 0
        self.names: tuple[str, ...] = ()
        #: Whether it was looked for at all.
        self.looked = False
        #: Events that matched, of each second, and the names that came last, with their times.
        self._seconds: deque[tuple[float, int]] = deque()
        self._named: OrderedDict[str, float] = OrderedDict()

    def take(self, event: Event) -> None:
        """Count an event that matched."""
        at = float(event.local_received or 0.0)
        second = at // 1
        if self._seconds and self._seconds[-1][0] >= second:
            second, count = self._seconds.pop()
            self._seconds.append((second, count + 1))
        else:
            self._seconds.append((second, 1))
            # Bounded also while nobody looks.
            self._expire(at)
        name = event.get("name")
        name = name if isinstance(name, str) and name else event.hostname or event.type
        self._named[name := name[:_NAME_CHARS]] = at
        self._named.move_to_end(name)
        if len(self._named) > NAMES_MAX + 1:
            self._named.popitem(last=False)

    def _expire(self, now: float) -> None:
        began = (now - self.rule.span) // 1
        while self._seconds and self._seconds[0][0] < began:
            self._seconds.popleft()

    def look_at_events(self, now: float) -> Change | None:
        """Return what has become of it by the events of its window."""
        self._expire(now)
        began = now - self.rule.span
        names = [name for name, at in reversed(self._named.items()) if at >= began]
        return self.look(sum(count for _, count in self._seconds), names, now)

    def look(self, matched: int, names: Iterable[str], now: float) -> Change | None:
        """Return what has become of it, now that so many rows match; `names` are of some."""
        self.looked, there = True, matched >= self.rule.count
        before, fired = self.since, self.fires
        if there:
            self.matched = matched
            # One more than is shown says that there are more.
            self.names = tuple(name[:_NAME_CHARS] for name in islice(names, NAMES_MAX + 1))
            self.since = now if before is None else min(before, now)
            self.fires = fired or now - self.since >= self.rule.hold
        else:
            self.matched, self.names, self.since, self.fires = matched, (), None, False
        name = self.rule.name
        if self.fires and not fired:
            return Change(self, "fired", f"alert {name} fired: {self.rule.about}: {self.found()}")
        if fired and not self.fires:
            age = human_age(max(0.0, now - (before or now)))
            return Change(self, "resolved", f"alert {name} resolved after {age}: {self.rule.about}")
        return None

    def interrupt(self) -> None:
        """Know that nobody looks for a while: what has to last begins anew."""
        if not self.fires:
            self.since = None

    def found(self) -> str:
        """Return what matched, fit to be shown: `2 types, mail.send, web.get`."""
        names = [elide_middle(sanitize(name), _NAME_COLS) for name in self.names[:NAMES_MAX]]
        if self.matched == 1 and names:
            return names[0]
        plural = "s" if self.matched != 1 else ""
        more = ["..."] if len(self.names) > NAMES_MAX else []
        return ", ".join([f"{self.matched} {self.rule.view[:-1]}{plural}", *names, *more])


def take_events(
    alerts: Sequence[Alert], events: Iterable[Event], record_of: Callable[[Event], Event]
) -> None:
    """Have alerts on events count those that match; `record_of` adds what is known of its task."""
    takers = [(alert.filter.matches, alert.take) for alert in alerts]
    for event in events if takers else ():
        record = record_of(event)
        for matches, take in takers:
            if matches(record):
                take(record)
