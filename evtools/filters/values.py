"""Tests of values: text, states, numbers, durations, times, keyword arguments."""

import difflib
import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from math import inf
from typing import Final, TypeAlias, TypeVar

from evtools.filters.fields import STATE_GROUPS, STATE_NAMES, STATES, Kind
from evtools.filters.grammar import Mistake, Value
from evtools.text import parse_duration, parse_size, sanitize

T = TypeVar("T")
TextTest: TypeAlias = Callable[[str], bool]
Number: TypeAlias = int | float
NumberTest: TypeAlias = Callable[[Number], bool]


def any_of(tests: Sequence[Callable[[T], bool]]) -> Callable[[T], bool]:
    """Return the test for values that pass one of `tests`."""
    if len(tests) == 1:
        return tests[0]
    return lambda subject: any(test(subject) for test in tests)


# --- text -----------------------------------------------------------------------
#
# A wildcard is a wildcard only outside quotes, and a set such as [1-3] only next to
# one: `args:[1` is an everyday search.

_WILDCARD = re.compile(r"[*?]")
_SPECIAL = re.compile(r"[*?\[]")


def is_glob(value: Value) -> bool:
    """Return whether `value` has wildcards, and so must match a whole text."""
    return not value.literal and _WILDCARD.search(value.text) is not None


def contains(value: Value, kind: Kind) -> TextTest:
    """Return the test for texts with `value` in them, as `:` has it, in any case."""
    text = value.text.casefold()
    if not text:
        hint = 'a field that is empty is =""'
        raise Mistake("every text contains the empty one", value.position, value.length, hint)
    if kind is Kind.PAIRS and (is_pair := pair_test(value)):
        return is_pair
    if is_glob(value):
        return glob(value.text)
    if kind in (Kind.ID, Kind.IDS):
        return lambda subject: subject.casefold().startswith(text)
    return lambda subject: text in subject.casefold()


def equals(value: Value, kind: Kind) -> TextTest:
    """Return the test for exactly `value`, and of exceptions, for that class.

    Celery sends their repr, ValueError('x'); some have their module before the class.
    """
    text = value.text
    if is_glob(value):
        return glob(text)
    if kind is not Kind.EXCEPTION:
        return lambda subject: subject == text

    def raises(subject: str) -> bool:
        name = subject.partition("(")[0]
        return text in (subject, name, name.rpartition(".")[2])

    return raises


def glob(pattern: str) -> TextTest:
    """Return the test for texts that match wildcards as a whole, in any case."""
    stem = pattern[:-1]
    if pattern.endswith("*") and not _SPECIAL.search(stem):
        start = stem.casefold()
        return lambda subject: subject.casefold().startswith(start)
    match = re.compile(fnmatch.translate(pattern), re.IGNORECASE).match
    return lambda subject: match(subject) is not None


def states_of(value: Value) -> frozenset[str]:
    """Return the states that a name, a short name, a group or a glob stands for.

    Raise Mistake for anything else: a misspelt state would never match anything.
    """
    name = value.text.lower()
    if name in STATE_GROUPS:
        return STATE_GROUPS[name]
    if name in STATE_NAMES:
        return frozenset({STATE_NAMES[name]})
    if is_glob(value) and (matching := fnmatch.filter(STATES, value.text.upper())):
        return frozenset(matching)
    close = difflib.get_close_matches(name, [*STATE_NAMES, *STATE_GROUPS], 1)
    guess = f' (did you mean "{close[0]}"?)' if close else ""
    raise Mistake(
        f'unknown state "{sanitize(value.text)}"{guess}',
        value.position,
        value.length,
        f"states are {' '.join(STATES).lower()}; groups are {' '.join(STATE_GROUPS)}",
    )


# --- numbers, durations, sizes --------------------------------------------------

COMPARISONS: Final = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NUMBER = re.compile(r"-?(?:\d+|\d*\.\d+)(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_WHOLE = re.compile(r"-?\d+")
# In `field.size>10M` the unit shows what is meant: capitals are sizes.
_SIZE = re.compile(r"[\d.]+(?:[KMGT]i?B?|B)")


def parse_number(text: str) -> Number:
    """Parse `3`, `-1.5` or `1e6`."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    raise ValueError(f'"{sanitize(text)}" is not a number')


def parse_signed_duration(text: str) -> float:
    """Parse a duration into seconds; it may be negative."""
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def parse_quantity(text: str) -> Number:
    """Parse a number, a duration (into seconds) or a size (into bytes)."""
    if _NUMBER.fullmatch(text):
        return parse_number(text)
    if _SIZE.fullmatch(text):
        return parse_size(text)
    try:
        return parse_signed_duration(text)
    except ValueError:
        raise ValueError(
            f'"{sanitize(text)}" is not a number, duration (500ms, 1h30m) or size (64K)'
        ) from None


def number_test(sign: str, values: Sequence[Value], parse: Callable[[str], Number]) -> NumberTest:
    """Return the test for numbers that compare with the value, or are among several.

    A range `a..b` includes both ends; `a..` and `..b` are open.
    """
    if sign not in COMPARISONS:
        return any_of([_number_range(value, parse) for value in values])
    compare, limit = COMPARISONS[sign], _parse_at(values[0], values[0].text, parse)
    return lambda number: compare(number, limit)


def _number_range(value: Value, parse: Callable[[str], Number]) -> NumberTest:
    start, dots, end = _split_range(value)
    low = _parse_at(value, start, parse) if start or not dots else -inf
    if not dots:
        return lambda number: number == low
    high = _parse_at(value, end, parse) if end else inf
    if low > high:
        raise Mistake("the range ends before it begins", value.position, value.length)
    return lambda number: low <= number <= high


def _split_range(value: Value) -> tuple[str, str, str]:
    low, dots, high = value.text.partition("..")
    if dots and not low and not high:
        raise Mistake("a range needs an end", value.position, value.length)
    return low, dots, high


def _parse_at(value: Value, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise Mistake(str(error), value.position, value.length) from error


# --- times ----------------------------------------------------------------------
#
# A time without a date is a time of day and matches on every day: a recording of last
# night reads the same in the morning, and nothing here needs a clock.  A range that
# ends before it begins crosses midnight.
#
# A written time stands for all of the minute, second or day it names when it is tested
# with `:` or `=` or ends a range; comparisons take its first instant, so that > and <=
# are each other's opposite.

_TIME_GRAMMAR: Final = "use 14:30, 14:30:05, 2026-11-20 or 2026-11-20T14:00Z"
_DAY: Final = 86400.0
_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)(?:[Tt ]|(?=$)))?"
    r"(?:(?P<hour>\d\d?):(?P<minute>\d\d)(?P<second>:\d\d(?:[.,]\d{1,6})?)?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True, slots=True)
class _Moment:
    """A written time: from `start` up to, but not including, `end`.

    Both are epoch seconds, or seconds of the day in `zone` if there is one.
    """

    start: float
    end: float
    zone: tzinfo | None = None

    def on_scale(self, epoch: Number) -> float | None:
        """Return `epoch` in the unit of start and end; None if there is no such time."""
        if self.zone is None:
            return epoch
        try:
            local = datetime.fromtimestamp(epoch, self.zone)
        except (OverflowError, ValueError, OSError):
            return None
        return local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6


def time_test(sign: str, values: Sequence[Value], zone: tzinfo) -> NumberTest:
    """Return the test for times (epoch seconds) that compare with the value, or are in one."""
    if sign not in COMPARISONS:
        return any_of([_time_range(value, zone) for value in values])
    moment = _parse_moment(values[0], values[0].text, zone)
    compare, limit = COMPARISONS[sign], moment.start

    def test(epoch: Number) -> bool:
        reading = moment.on_scale(epoch)
        return reading is not None and compare(reading, limit)

    return test


def _time_range(value: Value, zone: tzinfo) -> NumberTest:
    low, dots, high = _split_range(value)
    first = _parse_moment(value, low or high, zone)
    last = _parse_moment(value, high or low, zone)
    if (first.zone is None) != (last.zone is None):
        message = "one end of the range has a date and the other has none"
        raise Mistake(message, value.position, value.length)
    start = first.start if low else -inf
    end = last.end if high or not dots else inf
    crosses_midnight = start >= end
    if crosses_midnight and first.zone is None:
        raise Mistake("the range ends before it begins", value.position, value.length)

    def test(epoch: Number) -> bool:
        after, before = first.on_scale(epoch), last.on_scale(epoch)
        if after is None or before is None:
            return False
        if crosses_midnight:
            return start <= after or before < end
        return start <= after and before < end

    return test


def _parse_moment(value: Value, text: str, zone: tzinfo) -> _Moment:
    match = _TIME.fullmatch(text)
    if not match or not (match["date"] or match["hour"]):
        message = f'invalid time "{sanitize(text)}" ({_TIME_GRAMMAR})'
        raise Mistake(message, value.position, value.length)
    try:
        return _moment(match, zone)
    except (ValueError, OverflowError):
        message = f'there is no time "{sanitize(text)}" ({_TIME_GRAMMAR})'
        raise Mistake(message, value.position, value.length) from None


def _moment(match: re.Match[str], zone: tzinfo) -> _Moment:
    hour, minute = int(match["hour"] or 0), int(match["minute"] or 0)
    second = float((match["second"] or ":0")[1:].replace(",", "."))
    time(hour, minute, int(second))  # raises ValueError if there is no such time
    if (written := match["zone"]) in ("Z", "z"):
        zone = UTC
    elif written:
        offset = timedelta(hours=int(written[1:3]), minutes=int(written[-2:]))
        zone = timezone(-offset if written[0] == "-" else offset)
    since_midnight = hour * 3600.0 + minute * 60.0 + second
    # It stands for as long as the last part that was written.
    length = 60.0 if match["hour"] else _DAY
    if match["second"]:
        digits = len(match["second"]) - len(":00.")
        length = 10.0**-digits if digits > 0 else 1.0
    if not match["date"]:
        return _Moment(since_midnight, since_midnight + length, zone)
    day = datetime.fromisoformat(match["date"]).replace(tzinfo=zone)
    wall = day + timedelta(seconds=since_midnight)
    return _Moment(wall.timestamp(), (wall + timedelta(seconds=length)).timestamp())


# --- keyword arguments ----------------------------------------------------------
#
# Keyword arguments travel as the repr of a dict, cut at 1024 characters by the sender,
# and with reprs of anything in it: ast.literal_eval fails on half of them and can be
# made to eat all memory.  A scanner that only knows quotes and brackets finds the
# outermost pairs of all, JSON included, in linear time.

#: The number of characters of the text that are scanned.
PAIRS_MAX_CHARS: Final = 65536

_PAIR = re.compile(r"\s*([\w.-]+)\s*=(.*)", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^'\"\[\](){},:]+|.", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\'\"])")
_QUOTES = re.compile(r"[\\'\"]")


def pair_test(value: Value) -> TextTest | None:
    """Test for keyword arguments with the pair `key=value`, in any case.

    The value may have wildcards.  Return None if `value` is not a pair.
    """
    match = _PAIR.fullmatch(value.text)
    if not match:
        return None
    key, wanted = match[1].casefold(), match[2].strip().casefold()
    is_wanted = glob(wanted) if is_glob(value) else lambda found: found == wanted
    # What no escape can be part of stands in the text as it is.
    needle = "" if is_glob(value) or _QUOTES.search(wanted) else wanted

    def test(kwargs: str) -> bool:
        kwargs = kwargs[:PAIRS_MAX_CHARS].casefold()
        if key not in kwargs or needle not in kwargs:
            return False
        return any(
            name == key and (is_wanted(_unquoted(found)) or is_wanted(found))
            for name, found in pairs(kwargs)
        )

    return test


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield keys, without their quotes, and values of the repr of a dict.

    A last pair that was cut off is left out: its value is not known.
    """
    depth = start = 0
    key: str | None = None
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "'\"":
            return
        ends = depth == 1 and piece in ",)]}"
        if piece in "{[(":
            depth += 1
            start = match.end() if depth == 1 else start
        elif piece in ")]}":
            depth -= 1
        elif depth == 1 and piece == ":" and key is None:
            key, start = _unquoted(text[start : match.start()].strip()), match.end()
        if ends:
            if key is not None:
                yield key, text[start : match.start()].strip()
            key, start = None, match.end()


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return _ESCAPE.sub(r"\1", text[1:-1])
    return text
