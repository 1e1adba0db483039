"""Alerts: [alert.NAME] in the settings file, and whether what one watches for is there.

Nothing here knows where rows come from: who has them asks the filter of an alert about each, and
says what matched.  Events are counted here, by the second.  What is run then is for evcam.
"""

import copy
import difflib
import math
import shlex
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import urlsplit

from evtools.errors import ConfigError, Fail, FilterError, check_table
from evtools.filters import EVENT_FIELDS, FieldTable, Filter, compile_filter, task_fields
from evtools.rows import row_fields
from evtools.text import elide_middle, human_age, human_duration, parse_duration, sanitize
from evtools.wire import Event

View: TypeAlias = Literal["tasks", "types", "workers", "queues", "errors", "events"]
Level: TypeAlias = Literal["critical", "warning"]
Group: TypeAlias = Literal["failure", "type", "worker", "row", "none"]
What: TypeAlias = Literal["fired", "resolved"]

VIEWS: Final[tuple[View, ...]] = get_args(View)
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
# fmt: off
#: What evcam can tell apart in each view; by the first of these it does by default.
GROUPS: Final[Mapping[View, tuple[Group, ...]]] = {
    "events": ("failure", "type", "worker", "none"), "tasks": ("none", "type", "worker"),
    **dict.fromkeys(("types", "workers", "queues", "errors"), ("row", "none")),
}
# fmt: on
#: Over which the figures of rows can be.
WINDOWS: Final = ("1m", "5m", "15m", "1h", "all")
#: The longest that events are counted over, and that something must hold, in seconds.
SPAN_MAX: Final = 3600.0
HOLD_MAX: Final = 86_400.0
#: How long one run of a program or one request may take by default, and at most, in seconds.
_TIMEOUT, _TIMEOUT_MAX = 30.0, 600.0
_COOLDOWN: Final = 300.0
#: How many programs and URLs an alert may have.
HOOKS_MAX: Final = 10
COUNT_MAX: Final = 1_000_000
# fmt: off
#: The keys of a table, and the types of flags and of lines of text.
_KEYS: Final[Mapping[str, object]] = {
    "view": str, "filter": str, "window": None, "count": int, "for": None, "bell": bool,
    "level": str, "message": str, "group": str, "first_seen": bool, "cooldown": None, "run": None,
    "webhook": None, "headers": str, "timeout": None,
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

    The rest is for evcam.  It tells apart what matches by `group`, of failures only those that the
    alert has not matched before if `first_seen`, and says the same once in `cooldown` seconds.
    `run` are command lines, `webhook` URLs or files with one (@FILE), to which requests have
    `headers`; each may take `timeout` seconds.
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
    group: Group = "failure"
    first_seen: bool = False
    cooldown: float = _COOLDOWN
    run: tuple[tuple[str, ...], ...] = ()
    webhook: tuple[str, ...] = ()
    headers: str = ""
    timeout: float = _TIMEOUT

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

    def notices(self) -> dict[str, Any]:
        """Return what is in force of the rest, without anything that may be a secret."""
        headers = self.headers if self.headers.startswith("@") else "**" if self.headers else ""
        return {
            "group": self.group, "first_seen": self.first_seen, "cooldown": f"{self.cooldown:g}s",
            "run": [shlex.join(words) for words in self.run],
            "webhook": list(map(masked_webhook, self.webhook)), "headers": headers,
            "timeout": f"{self.timeout:g}s",
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

    Raise ConfigError, with the key, for any mistake in it.
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
        **_notices(fail, view, table, count=count),
    )  # fmt: skip
    rule.compile(fields_of_view(view, lambda _: 0.0), now=lambda: 0.0)
    return rule


def fields_of_view(view: View, now: Callable[[Any], float]) -> FieldTable:
    """Return the fields of filters on the rows of a view; `now` is the time that a row is of."""
    if view == "events":
        return EVENT_FIELDS
    return task_fields(now) if view == "tasks" else row_fields(view, now)


def _notices(fail: Fail, view: View, table: Mapping[str, Any], *, count: int) -> dict[str, Any]:
    # What evcam does with it.
    first_seen = table.get("first_seen", False)
    if first_seen and view != "events":
        fail("first_seen", "is about events", "leave out view")
    groups = GROUPS[view]
    group = table.get("group", "none" if groups[0] == "row" and count > 1 else groups[0])
    if group not in groups:
        fail("group", f'{view} have no group "{group}"', f"there are {', '.join(groups)}")
    if first_seen and group != "failure":
        fail("first_seen", 'is about kinds of failures: group = "failure"', "leave out group")
    if group == "row" and count > 1:
        fail("count", "rows are notified one by one", 'write group = "none" to count them')
    runs, webhooks = _runs(fail, table.get("run")), _webhooks(fail, table.get("webhook", ()))
    if len(runs) + len(webhooks) > HOOKS_MAX:
        fail("run" if runs else "webhook", f"an alert may have {HOOKS_MAX} of these")
    headers = table.get("headers", "")
    if headers and not webhooks:
        fail("headers", "are those of a webhook, and there is none")
    timeout = _seconds(fail, "timeout", table.get("timeout", _TIMEOUT), _TIMEOUT_MAX)
    if not timeout:
        fail("timeout", "must be above 0")
    return {
        "group": group, "first_seen": first_seen, "run": runs, "webhook": webhooks,
        "headers": headers, "timeout": timeout,
        "cooldown": _seconds(fail, "cooldown", table.get("cooldown", _COOLDOWN), HOLD_MAX),
    }  # fmt: skip


def _runs(fail: Fail, value: Any) -> tuple[tuple[str, ...], ...]:
    # A command line as for a shell, a list of its words as in [command.NAME], or several of these.
    is_list = isinstance(value, list | tuple) and bool(value)
    is_several = is_list and all(isinstance(one, list | tuple) for one in value)
    found = []
    for given in value if is_several else [] if value is None else [value]:
        words = given
        if isinstance(given, str):
            words = split_command(given, fail)
        if not (words and isinstance(words, list | tuple) and words[0]) or not all(
            isinstance(one, str) and "\0" not in one for one in words
        ):
            hint = 'as in run = "notify.sh --team web", or a list of its words'
            fail("run", "must be a command line", hint)
        found.append(tuple(words))
    return tuple(found)


def split_command(text: str, fail: Fail) -> list[str]:
    """Return the words of a command line, quoted as for a shell; `fail` if it cannot be split."""
    try:
        return shlex.split(text)
    except ValueError as error:
        fail("run", f"{str(error).lower()}: {sanitize(text)}", "quote it as for a shell")


def _webhooks(fail: Fail, value: Any) -> tuple[str, ...]:
    # URLs, which may have secrets, or files with one.
    texts = [value] if isinstance(value, str) else value
    if not (isinstance(texts, list | tuple) and all(isinstance(one, str) for one in texts)):
        fail("webhook", "must be a URL or a list of them", "or @FILE with one")
    for text in texts:
        if not (text.startswith("@") and len(text) > 1) and not is_http(text):
            fail("webhook", "is no URL of HTTP", "write it as in https://host/path, or @FILE")
    return tuple(texts)


def is_http(url: str) -> bool:
    """Return whether a text is a URL of HTTP."""
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and is_port
    return is_one and url.isascii() and url.isprintable() and " " not in url


def masked_webhook(url: str) -> str:
    """Return a webhook without its user, password, path and query, each of which may be a secret.

    A file's name is returned as it is.
    """
    if url.startswith("@"):
        return sanitize(url)
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    hidden = "/**" if parts.path.strip("/") or parts.query else ""
    return sanitize(f"{parts.scheme}://{host}{hidden}")


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

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known that could make it fire or resolve."""
        return not (self._seconds or self.fires or self.since is not None)

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


# --- events and their tasks ---------------------------------------------------------------

#: The fields that an event takes from its task, as earlier events reported them.
_JOINED: Final = (
    "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires", "queue",
    "exchange", "routing_key", "sent", "received", "started",
)  # fmt: skip


class _OfTask(Mapping[str, Any]):
    """The fields of an event's task, looked up only when needed."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getitem__(self, name: str) -> Any:
        value = self._task.get(name) if name in _JOINED else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Any:
        return (name for name in _JOINED if self._task.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def with_task(event: Event, task: Any) -> Event:
    """Return an event with what is known of its task, for as long as nobody keeps it."""
    # The event itself would keep the task after the state has forgotten it.
    record = copy.copy(event)
    record.known = _OfTask(task)
    return record
