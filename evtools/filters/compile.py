"""Filters: compiled to one predicate over events or tasks, and combined."""

import difflib
import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import reduce
from math import inf, nextafter
from typing import Any, Final, TypeAlias

from evtools.errors import FilterError
from evtools.filters.fields import (
    ALIASES,
    DUE,
    EVENT_FIELDS,
    STATE_GROUPS,
    STATE_NAMES,
    STATES,
    TOO_SHORT,
    Field,
    FieldTable,
    Kind,
    find,
    find_or_refuse,
    is_argument,
)
from evtools.filters.grammar import (
    OPERATORS,
    PATTERN_OPERATORS,
    Mistake,
    Node,
    Term,
    Value,
    parse,
    quote,
)
from evtools.text import BoundedPattern, parse_duration, parse_size, sanitize

Predicate: TypeAlias = Callable[[Any], bool]
Number: TypeAlias = int | float

_COMPARISONS: Final[Mapping[str, Callable[[Number, Number], bool]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le
}  # fmt: skip
#: Where the language is described.
_SEE: Final = "evtools help filter lists the fields"
_EQUALITY: Final = (":", "=", "!=")
_NUMBERS: Final = (Kind.NUMBER, Kind.DURATION, Kind.TIME, Kind.AGE)


def operators_of(kind: Kind) -> Sequence[str]:
    """Return the operators that fields of a kind take."""
    if kind in _NUMBERS:
        return (*_EQUALITY, *_COMPARISONS)
    several = {Kind.OTHER: OPERATORS, Kind.PRESENCE: (":",)}
    return several.get(kind, (*_EQUALITY, *PATTERN_OPERATORS))


@dataclass(slots=True)
class _Count:
    # What one term of a filter found unknown in the subjects it was applied to.
    field: Field
    known: bool = False
    unknown: int = 0
    search: BoundedPattern | None = None


class Filter:
    """A test of events, or of the subjects that its table of fields is about.

    `matches(subject)` never raises, whatever JSON the fields hold.  `text` is the filter
    as it was written.  Not to be shared by threads: it counts.
    """

    __slots__ = ("_counts", "_meant", "matches", "text")

    def __init__(
        self,
        text: str,
        matches: Predicate,
        counts: Iterable[_Count] = (),
        meant: Iterable[str] = (),
    ) -> None:
        self.text = text
        # The closure itself, not a method around it: this is the hot path.
        self.matches: Predicate = matches
        self._counts, self._meant = tuple(counts), tuple(meant)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"

    @property
    def drifts(self) -> bool:
        """Whether time alone may change the answer."""
        return any(count.field.drifts for count in self._counts)

    def hints(self) -> list[str]:
        """Return what may have been meant instead, for when nothing matches."""
        return [*dict.fromkeys(self._meant), _SEE] if self._meant else []

    def unknown(self, subjects: str = "events") -> list[str]:
        """Return notes on fields unknown in all `subjects` that should have them, and timeouts."""
        notes: dict[str, None] = {}
        for count in self._counts:
            name = sanitize(count.field.name)
            if count.unknown and not count.known:
                why = f" ({count.field.reason})" if count.field.reason else ""
                notes[f"{name}: unknown for 100% of {subjects}{why}"] = None
            if count.search and (number := count.search.timeouts):
                what = f"{number} texts were not searched to their end (it took too long)"
                notes[f"{name}: {what}"] = None
        return list(notes)


def compile_filter(
    text: str,
    *,
    fields: FieldTable = EVENT_FIELDS,
    zone: tzinfo = UTC,
    now: Callable[[], float] | None = None,
) -> Filter:
    """Compile a filter, see evfilter(7); the empty one matches everything.

    Times are in `zone` unless they have their own.  `now` returns the epoch seconds that ages are
    counted from; without it `age` is refused.  Raise FilterError with the place of the mistake.
    """
    names = {*fields, *(alias for alias, name in ALIASES.items() if name in fields)}
    compiler = _Compiler(fields, zone, now)
    try:
        matches = compiler.build(parse(text, names))
    except Mistake as mistake:
        at, length = mistake.position, mistake.length
        message = f"bad filter at column {at + 1}: {mistake.message}"
        hint = f"{mistake.hint}; {_SEE}" if mistake.hint else _SEE
        raise FilterError(message, hint, text=text, position=at, length=length) from None
    return Filter(text, matches, compiler.counts, compiler.meant)


def all_of(*filters: Filter) -> Filter:
    """Return the filter for what matches all of `filters`; of none, everything."""
    return Filter(
        " ".join(f"({each.text})" for each in filters if each.text.strip()),
        _all([each.matches for each in filters]),
        [count for each in filters for count in each._counts],  # noqa: SLF001  (its own class)
        [hint for each in filters for hint in each._meant],  # noqa: SLF001
    )


def exclude(filters: Iterable[Filter]) -> Filter:
    """Return the filter for what matches none of `filters`."""
    filters = tuple(filters)
    return Filter(
        " ".join(f"NOT ({each.text})" for each in filters),
        _not(_any([each.matches for each in filters])),
        [count for each in filters for count in each._counts],  # noqa: SLF001
    )


def _any(tests: Sequence[Predicate]) -> Predicate:
    def passes(subject: Any) -> bool:
        for test in tests:  # noqa: SIM110  (in half the time)
            if test(subject):
                return True
        return False

    return tests[0] if len(tests) == 1 else passes


def _all(tests: Sequence[Predicate]) -> Predicate:
    def both(first: Predicate, second: Predicate) -> Predicate:
        return lambda subject: first(subject) and second(subject)

    return reduce(both, tests) if tests else lambda _: True


def _not(test: Predicate) -> Predicate:
    return lambda subject: not test(subject)


#: By the type of a field's value, the test of it; of another type it is unknown.
_Tests: TypeAlias = dict[type, Callable[[Any], bool | None]]


class _Compiler:
    # Makes closures, which never raise, of a tree; raises Mistake for what does not fit the
    # fields.  `meant` is what may have been meant instead.

    def __init__(self, fields: FieldTable, zone: tzinfo, now: Callable[[], float] | None) -> None:
        self.fields, self.zone, self.now = fields, zone, now
        self.counts: list[_Count] = []
        self.meant: list[str] = []

    def build(self, node: Node) -> Predicate:
        if isinstance(node, Term):
            return self._term(node) if node.name else self._word(node)
        tests = [self.build(child) for child in node.children]
        if node.operator == "NOT":
            return _not(tests[0])
        return (_any if node.operator == "OR" else _all)(tests)

    def _word(self, term: Term) -> Predicate:
        value, found = term.values[0], self._term(replace(term, name="any"))
        if value.literal:
            return found
        name, state = value.text.lower(), self.fields.get("state")
        if state and name in STATE_NAMES and name not in TOO_SHORT:
            get, meant = state.get, STATE_NAMES[name]
            return lambda subject: get(subject) == meant or found(subject)
        if not _is_glob(value):
            word, instead = sanitize(value.text), ""
            if state and (name in STATE_NAMES or name in STATE_GROUPS):
                instead = f"; for the state: state:{word}"
            elif field := find(value.text, self.fields):
                instead = f"; for the field: {field.name}:VALUE"
            self.meant.append(f'"{word}" was searched for as text{instead}')
        return found

    def _term(self, term: Term) -> Predicate:
        if term.name.lower().startswith(("kwargs.", "args.")):
            return self._argument(term)
        if term.operator in ("=", "!=") and is_argument(term.name, self.fields):
            name = f"kwargs.{term.name}"
            self.meant.append(f"{term.name} is no field, and was looked for as {name}")
            return self._argument(replace(term, name=name))
        field = find_or_refuse(term, term.name, self.fields)
        wanted = not term.operator.startswith("!")
        self._check_operator(term, field)
        if field.kind is Kind.PRESENCE:
            return _any([self._present(value) for value in term.values])
        get: Callable[[Any], Any] = field.get
        if field.kind is Kind.STATE and term.operator not in PATTERN_OPERATORS:
            return self._state(term, field, wanted=wanted)
        if field.kind is Kind.AGE:
            if (now := self.now) is None:
                raise term.mistake("ages need a clock")
            since = get
            get = lambda subject: None if (at := since(subject)) is None else now() - at  # noqa: E731
        count = _Count(field)
        self.counts.append(count)
        if field.kind not in (Kind.TEXTS, Kind.IDS):
            return _counted(get, self._tests(term, count), count, wanted=wanted)
        is_found = _texts_test(term, count)

        def matches_any(subject: Any) -> bool:
            for text in get(subject):
                if isinstance(text, str) and is_found(text):
                    return wanted
            return not wanted

        return matches_any

    def _state(self, term: Term, field: Field, *, wanted: bool) -> Predicate:
        get, due = field.get, self.fields.get(DUE)
        others = [value for value in term.values if due is None or value.text.lower() != DUE]
        states = frozenset[str]().union(*map(_states_of, others))
        if due is None or len(others) == len(term.values):
            states = states if wanted else frozenset(STATES) - states
            return lambda subject: get(subject) in states
        # Only this one changes with time alone.
        self.counts.append(_Count(due))
        left = due.get

        def matches(subject: Any) -> bool:
            state = get(subject)
            found = state in states or (state == "RECEIVED" and left(subject) is not None)
            return state is not None and found is wanted

        return matches

    def _check_operator(self, term: Term, field: Field) -> None:
        sign, operators = term.operator, operators_of(field.kind)
        if sign not in operators:
            name, hint = sanitize(term.name), f"use one of {' '.join(operators)}"
            message = f'"{sign}" does not go with {name}, which is {field.kind.value}'
            raise term.mistake(message, hint, length=term.length + len(sign))
        if len(term.values) > 1 and sign in _COMPARISONS:
            raise term.values[1].mistake(f'"{sign}" compares with one value, not with a list')

    def _tests(self, term: Term, count: _Count) -> _Tests:
        kind, sign = count.field.kind, term.operator
        tests: _Tests = {}
        if kind in _NUMBERS or sign in _COMPARISONS:
            numbers = [_number_test(sign, value, kind, self.zone) for value in term.values]
            return dict.fromkeys((int, float), _any(numbers))
        tests[str] = _texts_test(term, count)
        if kind is not Kind.OTHER:
            if sign == "=" and not any(map(_is_glob, term.values)):
                value = term.values[0]
                written = quote(value.text) if value.literal else value.text
                part = sanitize(f"{term.name}:{written}")
                self.meant.append(f"= is exact, case included; to find a part: {part}")
        elif sign in _EQUALITY:
            numbers = []
            for value in term.values:
                with suppress(Mistake):
                    numbers.append(_number_test(sign, value, kind, self.zone))
            truths = frozenset(value.text.lower() for value in term.values)
            tests |= dict.fromkeys((int, float), _any(numbers))
            tests[bool] = lambda found: str(found).lower() in truths
            tests |= dict.fromkeys((list, dict), lambda _: None)  # known, and never a match
        return tests

    def _present(self, value: Value) -> Predicate:
        field = find_or_refuse(value, value.text, self.fields)
        if field.kind in (Kind.TEXTS, Kind.IDS, Kind.PRESENCE):
            raise value.mistake(f'"{field.name}" is several fields; has: takes one')
        get = field.get
        return lambda subject: (found := get(subject)) is not None and found != ""

    def _argument(self, term: Term) -> Predicate:
        # One of the arguments: `kwargs.user_id=42`, as jq writes it.
        owner, _, key = term.name.partition(".")
        text = sanitize(term.values[0].text)
        if owner.lower() == "args" or term.operator not in _EQUALITY:
            message = f'"{sanitize(term.name)}{term.operator}" cannot test an argument'
            hint = f"write kwargs:{sanitize(key)}={text}"
            hint = f"args:{text} finds text in them" if owner == "args" else hint
            raise term.mistake(message, hint, length=term.length + len(term.operator))
        if term.operator == ":":
            wanted = [Value(f"{key}=*{value.text}*") for value in term.values]
        else:
            wanted = [Value(f"{key}={value.text}", value.literal) for value in term.values]
        found = self._term(replace(term, name=owner, operator=":", values=tuple(wanted)))
        return _not(found) if term.operator == "!=" else found


def _counted(get: Callable[[Any], Any], tests: _Tests, count: _Count, *, wanted: bool) -> Predicate:
    is_found, applies = tests.get(str), count.field.applies

    def matches(subject: Any) -> bool:
        value = get(subject)
        test = tests.get(type(value))
        if test is None or value != value:  # noqa: PLR0124  (NaN)
            count.unknown += applies(subject)
            return False
        count.known = True
        return test(value) is wanted

    if is_found is None or len(tests) > 1:
        return matches

    def matches_text(subject: Any) -> bool:  # the same in less time
        value = get(subject)
        if not isinstance(value, str):
            count.unknown += applies(subject)
            return False
        count.known = True
        return is_found(value) is wanted

    return matches_text


# --- text, states -----------------------------------------------------------------
#
# A wildcard is a wildcard only outside quotes, and a set such as [1-3] only next to
# one: `args:[1` is an everyday search.


def _texts_test(term: Term, count: _Count) -> Predicate:
    if term.operator not in PATTERN_OPERATORS:
        kind = count.field.kind
        return _any([_text_test(term.operator, value, kind) for value in term.values])
    value = term.values[0]
    try:
        count.search = BoundedPattern(value.text)
    except ValueError as error:
        hint = "a pattern runs to the next blank, parentheses included, unless quoted"
        raise value.mistake(str(error), hint) from error
    return count.search.found_in


def _is_glob(value: Value) -> bool:
    return not value.literal and ("*" in value.text or "?" in value.text)


def _text_test(sign: str, value: Value, kind: Kind) -> Predicate:
    text, part = value.text, value.text.casefold()
    if sign == ":" and not text:
        raise value.mistake("every text contains the empty one", 'a field that is empty is =""')
    if sign == ":" and kind is Kind.PAIRS and (is_pair := _pair_test(value)):
        return is_pair
    if _is_glob(value):
        return _glob(text)
    if sign == ":":
        if kind in (Kind.ID, Kind.IDS):
            return lambda subject: subject.casefold().startswith(part)
        return lambda subject: part in subject.casefold()
    if kind is not Kind.EXCEPTION:
        return lambda subject: subject == text

    # Celery sends the repr, ValueError('x'); some have their module before the class.
    def raises(subject: str) -> bool:
        name = subject.partition("(")[0]
        return text in (subject, name, name.rpartition(".")[2])

    return raises


def _glob(pattern: str) -> Predicate:
    # Wildcards match a text as a whole, in any case.
    if pattern.endswith("*") and not re.search(r"[*?\[]", pattern[:-1]):
        start = pattern[:-1].casefold()
        return lambda subject: subject.casefold().startswith(start)
    match = re.compile(fnmatch.translate(pattern), re.IGNORECASE).match
    return lambda subject: match(subject) is not None


def _states_of(value: Value) -> frozenset[str]:
    # A name, a short name, a group or a glob; a misspelt state would never match anything.
    name = value.text.lower()
    if name in STATE_GROUPS:
        return STATE_GROUPS[name]
    if name in STATE_NAMES:
        return frozenset({STATE_NAMES[name]})
    if _is_glob(value) and (matching := fnmatch.filter(STATES, value.text.upper())):
        return frozenset(matching)
    close = difflib.get_close_matches(name, [*STATE_NAMES, *STATE_GROUPS], 1)
    guess = f' (did you mean "{close[0]}"?)' if close else ""
    hint = f"states are {' '.join(STATES).lower()}; groups are {' '.join(STATE_GROUPS)}"
    raise value.mistake(f'unknown state "{sanitize(value.text)}"{guess}', hint)


# --- numbers, durations, sizes, times ---------------------------------------------
#
# A time without a date matches on every day: a recording of last night reads the same in the
# morning.  A range of them that ends before it begins crosses midnight.  A written time stands
# for all of the minute, second or day it names with `:` or `=` or where it ends a range;
# comparisons take its first instant, so that > and <= are each other's opposite.

_NUMBER = re.compile(r"-?(?:\d+|\d*\.\d+)(?:e[+-]?\d{1,3})?", re.IGNORECASE)
# In `field.size>10M` the unit shows what is meant: capitals are sizes.
_SIZE = re.compile(r"[\d.]+(?:[KMGT]i?B?|B)")
_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)(?:[Tt ]|(?=$)))?"
    r"(?:(?P<hour>\d\d?):(?P<minute>\d\d)(?P<second>:\d\d(?:[.,]\d{1,6})?)?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?"
)

#: The first and the last instant or number that a text stands for; of times of day, in
#: seconds of the day in a zone.
_Span: TypeAlias = tuple[Number, Number, tzinfo | None]


def _number_test(sign: str, value: Value, kind: Kind, zone: tzinfo) -> Predicate:
    # A range `a..b` includes both ends; `a..` and `..b` are open.
    low, dots, high = value.text, "", ""
    if sign not in _COMPARISONS:
        low, dots, high = value.text.partition("..")
    if dots and not low and not high:
        raise value.mistake("a range needs an end")
    try:
        first, _, start_zone = _parse_span(low or high, kind, zone)
        _, last, end_zone = _parse_span(high or low, kind, zone)
    except ValueError as error:
        raise value.mistake(str(error)) from error
    if (start_zone is None) != (end_zone is None):
        raise value.mistake("one end of the range has a date and the other has none")
    first = -inf if dots and not low else first
    last = inf if dots and not high else last
    compare, is_reversed = _COMPARISONS.get(sign), first > last
    if start_zone is None or end_zone is None:
        if compare is not None:
            return lambda number: compare(number, first)
        if is_reversed:
            raise value.mistake("the range ends before it begins")
        return lambda number: first <= number <= last

    def matches_time_of_day(epoch: Number) -> bool:
        try:
            start = _seconds_of_day(epoch, start_zone)
            end = start if end_zone is start_zone else _seconds_of_day(epoch, end_zone)
        except (OverflowError, ValueError, OSError):
            return False  # there is no such time
        if compare is not None:
            return compare(start, first)
        if is_reversed:
            return first <= start or end <= last
        return first <= start and end <= last

    return matches_time_of_day


def _seconds_of_day(epoch: Number, zone: tzinfo) -> float:
    local = datetime.fromtimestamp(epoch, zone)
    return local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6


def _parse_span(text: str, kind: Kind, zone: tzinfo) -> _Span:
    number: Number
    if kind is Kind.TIME:
        return _parse_time(text, zone)
    if kind in (Kind.NUMBER, Kind.OTHER) and _NUMBER.fullmatch(text):
        number = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    elif kind is Kind.NUMBER:
        raise ValueError(f'"{sanitize(text)}" is not a number')
    elif kind is Kind.OTHER and _SIZE.fullmatch(text):
        number = parse_size(text)
    else:
        try:
            number = -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)
        except ValueError as error:
            units = "duration (500ms, 1h30m) or size (64K)"
            other = f'"{sanitize(text)}" is not a number, {units}'
            raise ValueError(other if kind is Kind.OTHER else str(error)) from None
    return number, number, None


def _parse_time(text: str, zone: tzinfo) -> _Span:
    match = _TIME.fullmatch(text)
    valid = "use 14:30, 14:30:05, 2026-11-20 or 2026-11-20T14:00Z"
    if not match or not (match["date"] or match["hour"]):
        raise ValueError(f'invalid time "{sanitize(text)}" ({valid})')
    hour, minute = int(match["hour"] or 0), int(match["minute"] or 0)
    second = float((match["second"] or ":0")[1:].replace(",", "."))
    since_midnight = hour * 3600.0 + minute * 60.0 + second
    # It stands for as long as the last part that was written.
    length = 60.0 if match["hour"] else 86400.0
    if match["second"]:
        digits = len(match["second"]) - len(":00.")
        length = 10.0**-digits if digits > 0 else 1.0
    written = match["zone"]
    try:
        time(hour, minute, int(second))  # raises ValueError if there is no such time
        if written in ("Z", "z"):
            zone = UTC
        elif written:
            offset = timedelta(hours=int(written[1:3]), minutes=int(written[-2:]))
            zone = timezone(-offset if written[0] == "-" else offset)
        if not match["date"]:
            return since_midnight, nextafter(since_midnight + length, -inf), zone
        day = datetime.fromisoformat(match["date"]).replace(tzinfo=zone)
        wall = day + timedelta(seconds=since_midnight)
        end = (wall + timedelta(seconds=length)).timestamp()
        return wall.timestamp(), nextafter(end, -inf), None
    except (ValueError, OverflowError):
        raise ValueError(f'there is no time "{sanitize(text)}" ({valid})') from None


# --- keyword arguments ----------------------------------------------------------
#
# They travel as the repr of a dict, cut at 1024 characters by the sender, with reprs of anything
# in it: ast.literal_eval fails on half of them and can be made to eat all memory.  A scanner of
# quotes and brackets finds the outermost pairs of all, JSON included, in linear time.

#: The number of characters of the text that are scanned.
PAIRS_MAX_CHARS: Final = 65536
#: The same where an argument is to be shown, which happens for many rows at once.
_SHOWN_MAX_CHARS: Final = 8192

_ESCAPE = re.compile(r"\\([\\'\"])")
_PAIR = re.compile(r"\s*([\w.-]+)\s*=(.*)", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^'\"\[\](){},:]+|.", re.DOTALL)


def _pair_test(value: Value) -> Predicate | None:
    # For keyword arguments with the pair `key=value`, in any case; None for what is no pair.
    match = _PAIR.fullmatch(value.text)
    if not match:
        return None
    key, wanted = match[1].casefold(), match[2].strip().casefold()
    is_wanted = _glob(wanted) if _is_glob(value) else lambda found: found == wanted
    # What no escape can be part of stands in the text as it is.
    needle = "" if _is_glob(value) or re.search(r"[\\'\"]", wanted) else wanted

    def test(kwargs: str) -> bool:
        kwargs = kwargs[:PAIRS_MAX_CHARS].casefold()
        if key not in kwargs or needle not in kwargs:
            return False
        found = [value for name, value in pairs(kwargs) if name == key]
        return any(is_wanted(_unquoted(value)) or is_wanted(value) for value in found)

    return test


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield keys without quotes and values of the repr of a dict, but for a last one cut off."""
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


def argument(kwargs: object, name: str) -> object:
    """Return a keyword argument of that name, in any case, as it is shown; None if unknown.

    `kwargs` is a dict or, as Celery sends it, the repr of one, of which the beginning is searched:
    a text in it comes without its quotes.
    """
    wanted = name.casefold()
    if isinstance(kwargs, dict):
        return next((kwargs[key] for key in kwargs if str(key).casefold() == wanted), None)
    if not isinstance(kwargs, str) or wanted not in (text := kwargs[:_SHOWN_MAX_CHARS]).casefold():
        return None
    found = (value for key, value in pairs(text) if key.casefold() == wanted)
    return next((_unquoted(value) for value in found), None)


def argument_names(kwargs: object) -> Iterable[str]:
    """Return the names of keyword arguments, as far as `argument` finds them."""
    if isinstance(kwargs, dict):
        return map(str, kwargs)
    return [key for key, _ in pairs(kwargs[:_SHOWN_MAX_CHARS])] if isinstance(kwargs, str) else ()


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return _ESCAPE.sub(r"\1", text[1:-1])
    return text
