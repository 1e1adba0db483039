"""Filters: compiled to one predicate over events or tasks, combined, and explained."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import reduce
from typing import Any, Final, TypeAlias, TypeGuard

from evtools.errors import FilterError
from evtools.filters import values
from evtools.filters.fields import (
    ALIASES,
    AMBIGUOUS,
    EVENT_FIELDS,
    PREFIXES,
    STATE_GROUPS,
    STATE_NAMES,
    STATES,
    TOO_SHORT,
    Field,
    FieldTable,
    Kind,
    find,
    guess,
)
from evtools.filters.grammar import (
    OPERATORS,
    PATTERN_OPERATORS,
    QUOTE_IT,
    And,
    Mistake,
    Node,
    Not,
    Or,
    Term,
    Value,
    parse,
    quote,
)
from evtools.filters.values import COMPARISONS, NumberTest, TextTest, any_of, is_glob
from evtools.text import BoundedPattern, sanitize, width

Predicate: TypeAlias = Callable[[Any], bool]

#: Where the language is described.
_SEE: Final = "evtools help filter lists the fields"
_EQUALITY: Final = (":", "=", "!=")
_ON_TEXT: Final = (*_EQUALITY, *PATTERN_OPERATORS)
_ON_NUMBERS: Final = (*_EQUALITY, *COMPARISONS)


class Filter:
    """A test of events, or of the subjects that its table of fields is about.

    `matches(subject)` never raises, whatever JSON the fields hold.  `text` is the filter
    as it was written.  Not to be shared by threads: it counts.
    """

    __slots__ = ("matches", "meant", "terms", "text")

    def __init__(
        self,
        text: str,
        matches: Predicate,
        terms: "Iterable[_TermCount]" = (),
        hints: Iterable[str] = (),
    ) -> None:
        self.text = text
        # The closure itself, not a method around it: this is the hot path.
        self.matches: Predicate = matches
        self.terms = tuple(terms)
        self.meant = tuple(hints)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"

    @property
    def drifts(self) -> bool:
        """Whether time alone may change the answer."""
        return any(term.field.drifts for term in self.terms)

    def hints(self) -> list[str]:
        """Return what may have been meant instead, for when nothing matches."""
        return [*dict.fromkeys(self.meant), _SEE] if self.meant else []

    def unknown(self, subjects: str = "events") -> list[str]:
        """Return notes on fields that were unknown in all `subjects` that should have them.

        Texts that were not searched to their end are noted, too.
        """
        return list(dict.fromkeys(note for term in self.terms for note in term.notes(subjects)))


class _TermCount:
    """What one term of a filter found unknown in the subjects it was applied to."""

    __slots__ = ("field", "known", "searches", "unknown")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.known = False
        self.unknown = 0
        self.searches: list[BoundedPattern] = []

    def miss(self, subject: Any) -> bool:
        """Count a subject whose field is unknown; return False, as it does not match."""
        self.unknown += self.field.applies(subject)
        return False

    def notes(self, subjects: str) -> list[str]:
        name, reason = sanitize(self.field.name), self.field.reason
        notes = [
            f"{name}: {search.timeouts} texts were not searched to their end (it took too long)"
            for search in self.searches
            if search.timeouts
        ]
        if self.unknown and not self.known:
            why = f" ({reason})" if reason else ""
            notes.insert(0, f"{name}: unknown for 100% of {subjects}{why}")
        return notes


def compile_filter(
    text: str,
    *,
    fields: FieldTable = EVENT_FIELDS,
    zone: tzinfo = UTC,
    now: Callable[[], float] | None = None,
) -> Filter:
    """Compile a filter, see evfilter(7); the empty one matches everything.

    Times are in `zone` unless they have their own.  `now` returns the epoch seconds that
    ages are counted from; without it `age` is refused.  Raise FilterError with the place
    of the mistake.
    """
    names = {*fields, *(alias for alias, name in ALIASES.items() if name in fields)}
    compiler = _Compiler(fields, zone, now)
    try:
        matches = compiler.build(parse(text, names))
    except Mistake as mistake:
        raise FilterError(
            f"bad filter at column {mistake.position + 1}: {mistake.message}",
            f"{mistake.hint}; {_SEE}" if mistake.hint else _SEE,
            text=text,
            position=mistake.position,
            length=mistake.length,
        ) from None
    return Filter(text, matches, compiler.terms, compiler.hints)


def all_of(*filters: Filter) -> Filter:
    """Return the filter for what matches all of `filters`; of none, everything."""
    return Filter(
        " ".join(f"({each.text})" for each in filters if each.text.strip()),
        _all([each.matches for each in filters]),
        [term for each in filters for term in each.terms],
        [hint for each in filters for hint in each.meant],
    )


def exclude(filters: Iterable[Filter]) -> Filter:
    """Return the filter for what matches none of `filters`."""
    filters = tuple(filters)
    return Filter(
        " ".join(f"NOT ({each.text})" for each in filters),
        _not(_any([each.matches for each in filters])),
        [term for each in filters for term in each.terms],
    )


def _all(predicates: Sequence[Predicate]) -> Predicate:
    def both(first: Predicate, second: Predicate) -> Predicate:
        return lambda subject: first(subject) and second(subject)

    return reduce(both, predicates) if predicates else lambda _: True


def _any(predicates: Sequence[Predicate]) -> Predicate:
    def either(first: Predicate, second: Predicate) -> Predicate:
        return lambda subject: first(subject) or second(subject)

    return reduce(either, predicates) if predicates else lambda _: False


def _not(predicate: Predicate) -> Predicate:
    return lambda subject: not predicate(subject)


# --- the compiler ---------------------------------------------------------------


class _Compiler:
    """Makes closures of a tree; raises Mistake for what does not fit the fields.

    The predicates never raise.  `terms` collects the counts of each term, `hints` what
    may have been meant instead.
    """

    def __init__(self, fields: FieldTable, zone: tzinfo, now: Callable[[], float] | None) -> None:
        self.fields, self.zone, self.now = fields, zone, now
        self.terms: list[_TermCount] = []
        self.hints: list[str] = []

    def build(self, node: Node) -> Predicate:
        match node:
            case Not(child):
                return _not(self.build(child))
            case And(children):
                return _all([self.build(child) for child in children])
            case Or(children):
                return _any([self.build(child) for child in children])
            case Term(is_word=True):
                return self._word(node)
            case Term():
                return self._term(node)

    def _word(self, term: Term) -> Predicate:
        value, found = term.values[0], self._term(term)
        if value.literal:
            return found
        name, has_state = value.text.lower(), "state" in self.fields
        if has_state and name in STATE_NAMES and name not in TOO_SHORT:
            get, state = self.fields["state"].get, STATE_NAMES[name]
            return lambda subject: get(subject) == state or found(subject)
        if not is_glob(value):
            word, meant = sanitize(value.text), ""
            if has_state and (name in STATE_NAMES or name in STATE_GROUPS):
                meant = f"; for the state: state:{word}"
            elif field := find(value.text, self.fields):
                meant = f"; for the field: {field.name}:VALUE"
            self.hints.append(f'"{word}" was searched for as text{meant}')
        return found

    def _term(self, term: Term) -> Predicate:
        if term.name.lower().startswith(("kwargs.", "args.")):
            return self._argument(term)
        field = self._field(term.name, term.position, len(term.name))
        build, operators = _BUILDERS[field.kind]
        if term.operator not in operators:
            raise Mistake(
                f'"{term.operator}" does not go with {sanitize(term.name)}, '
                f"which is {field.kind.value}",
                term.position,
                len(term.name) + len(term.operator),
                f"use one of {' '.join(operators)}",
            )
        if len(term.values) > 1 and term.operator in COMPARISONS:
            message = f'"{term.operator}" compares with one value, not with a list'
            raise Mistake(message, term.values[1].position, term.values[1].length)
        return build(self, term, field)

    def _argument(self, term: Term) -> Predicate:
        """Compile a term on one of the arguments: `kwargs.user_id=42`, as jq writes it."""
        owner, _, key = term.name.partition(".")
        text = sanitize(term.values[0].text)
        if owner.lower() == "args" or term.operator not in _EQUALITY:
            pair = f"kwargs:{sanitize(key)}={text}"
            raise Mistake(
                f'"{sanitize(term.name)}{term.operator}" cannot test an argument',
                term.position,
                len(term.name) + len(term.operator),
                f"args:{text} finds text in them" if owner == "args" else f"write {pair}",
            )
        if term.operator == ":":
            wanted = [Value(f"{key}=*{value.text}*") for value in term.values]
        else:
            wanted = [Value(f"{key}={value.text}", value.literal) for value in term.values]
        found = self._term(Term(owner, ":", tuple(wanted), term.position))
        return _not(found) if term.operator == "!=" else found

    def _field(self, name: str, position: int, length: int) -> Field:
        if field := find(name, self.fields):
            return field
        shown = sanitize(name)
        if hint := AMBIGUOUS.get(name.lower()):
            raise Mistake(f'"{shown}" may be several fields', position, length, hint)
        close = guess(name, self.fields)
        meant = f' (did you mean "{close}"?)' if close else ""
        raise Mistake(
            f'unknown field "{shown}"{meant}',
            position,
            length,
            f"an argument is kwargs:{shown}=VALUE, another field of an event"
            f" {PREFIXES[0]}{shown}; {QUOTE_IT}",
        )

    def _count(self, field: Field) -> _TermCount:
        self.terms.append(_TermCount(field))
        return self.terms[-1]

    # --- by the kind of the field ---------------------------------------------

    def text(self, term: Term, field: Field) -> Predicate:
        count = self._count(field)
        get, test, wanted = field.get, _text_test(term, count), _is_positive(term)
        if term.operator == "=" and not any(map(is_glob, term.values)):
            value = term.values[0]
            written = quote(value.text) if value.literal else value.text
            part = sanitize(f"{term.name}:{written}")
            self.hints.append(f"= is exact, case included; to find a part: {part}")

        def matches(subject: Any) -> bool:
            text = get(subject)
            if not isinstance(text, str):
                return count.miss(subject)
            count.known = True
            return test(text) is wanted

        return matches

    def texts(self, term: Term, field: Field) -> Predicate:
        get, test, wanted = field.get, _text_test(term, self._count(field)), _is_positive(term)

        def matches(subject: Any) -> bool:
            texts = get(subject)
            assert isinstance(texts, tuple)
            for text in texts:
                if isinstance(text, str) and test(text):
                    return wanted
            return not wanted

        return matches

    def state(self, term: Term, field: Field) -> Predicate:
        if term.operator in PATTERN_OPERATORS:
            return self.text(term, field)
        states = frozenset[object]().union(*map(values.states_of, term.values))
        if not _is_positive(term):
            states = frozenset(STATES) - states
        get = field.get
        return lambda subject: get(subject) in states

    def ordered(self, term: Term, field: Field) -> Predicate:
        if field.kind is Kind.TIME:
            test = values.time_test(term.operator, term.values, self.zone)
        else:
            test = values.number_test(term.operator, term.values, _PARSERS[field.kind])
        get, wanted, count = field.get, _is_positive(term), self._count(field)

        def matches(subject: Any) -> bool:
            number = get(subject)
            if not _is_number(number):
                return count.miss(subject)
            count.known = True
            return test(number) is wanted

        return matches

    def age(self, term: Term, field: Field) -> Predicate:
        now, get = self.now, field.get
        if now is None:
            raise Mistake("ages need a clock", term.position, len(term.name))

        def age(subject: Any) -> float | None:
            since = get(subject)
            return now() - since if isinstance(since, float) else None

        return self.ordered(term, replace(field, get=age))

    def other(self, term: Term, field: Field) -> Predicate:
        """Compile a term on a field that may be text, a number or a truth value."""
        if term.operator in PATTERN_OPERATORS:
            return self.text(term, field)
        if term.operator in COMPARISONS:
            return self.ordered(term, field)
        count = self._count(field)
        is_text, number_tests = _text_test(term, count), list[NumberTest]()
        for value in term.values:
            with contextlib.suppress(Mistake):
                number_tests.append(values.number_test(":", [value], values.parse_quantity))
        truths = frozenset(value.text.lower() for value in term.values)
        get, wanted = field.get, _is_positive(term)

        def matches(subject: Any) -> bool:
            found = get(subject)
            if found is None:
                return count.miss(subject)
            count.known = True
            if isinstance(found, str):
                return is_text(found) is wanted
            if _is_number(found):
                return any(test(found) for test in number_tests) is wanted
            return isinstance(found, bool) and (str(found).lower() in truths) is wanted

        return matches

    def presence(self, term: Term, _: Field) -> Predicate:
        return _any([self._present(value) for value in term.values])

    def _present(self, value: Value) -> Predicate:
        field = self._field(value.text, value.position, value.length)
        if field.kind in (Kind.TEXTS, Kind.IDS, Kind.PRESENCE):
            message = f'"{field.name}" is several fields; has: takes one'
            raise Mistake(message, value.position, value.length)
        get = field.get
        return lambda subject: (found := get(subject)) is not None and found != ""


# fmt: off
#: By the kind of a field, what compiles a term on it and the operators it takes.
_BUILDERS: Final[
    Mapping[Kind, tuple[Callable[[_Compiler, Term, Field], Predicate], Sequence[str]]]
] = {
    Kind.TEXT: (_Compiler.text, _ON_TEXT),
    Kind.EXCEPTION: (_Compiler.text, _ON_TEXT),
    Kind.ID: (_Compiler.text, _ON_TEXT),
    Kind.PAIRS: (_Compiler.text, _ON_TEXT),
    Kind.TEXTS: (_Compiler.texts, _ON_TEXT),
    Kind.IDS: (_Compiler.texts, _ON_TEXT),
    Kind.STATE: (_Compiler.state, _ON_TEXT),
    Kind.NUMBER: (_Compiler.ordered, _ON_NUMBERS),
    Kind.DURATION: (_Compiler.ordered, _ON_NUMBERS),
    Kind.TIME: (_Compiler.ordered, _ON_NUMBERS),
    Kind.AGE: (_Compiler.age, _ON_NUMBERS),
    Kind.OTHER: (_Compiler.other, OPERATORS),
    Kind.PRESENCE: (_Compiler.presence, (":",)),
}
# fmt: on
_PARSERS: Final = {
    Kind.NUMBER: values.parse_number,
    Kind.DURATION: values.parse_signed_duration,
    Kind.AGE: values.parse_signed_duration,
    Kind.OTHER: values.parse_quantity,
}


def operators_of(kind: Kind) -> Sequence[str]:
    """Return the operators that fields of a kind take."""
    return _BUILDERS[kind][1]


def _is_positive(term: Term) -> bool:
    return term.operator not in ("!=", "!~")


def _text_test(term: Term, count: _TermCount) -> TextTest:
    if term.operator not in PATTERN_OPERATORS:
        test = values.contains if term.operator == ":" else values.equals
        return any_of([test(value, count.field.kind) for value in term.values])
    value = term.values[0]
    try:
        pattern = BoundedPattern(value.text)
    except ValueError as error:
        hint = "a pattern runs to the next blank, parentheses included, unless quoted"
        raise Mistake(str(error), value.position, value.length, hint) from error
    count.searches.append(pattern)
    return pattern.found_in


def _is_number(value: object) -> TypeGuard[int | float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (isinstance(value, float) and math.isnan(value))
    )


# --- for messages ---------------------------------------------------------------

#: The number of characters of a long filter that are shown on either side of a mistake.
_CONTEXT_CHARS: Final = 36


def caret(error: FilterError) -> str:
    """Return the filter and, below it, carets under the mistake: two lines.

    Both are indented by two blanks and safe for a terminal.  Of a long filter only the
    part around the mistake is shown.
    """
    end = error.position + error.length
    before, wrong, after = (
        error.text[: error.position],
        error.text[error.position : end],
        error.text[end:],
    )
    if len(before) > _CONTEXT_CHARS:
        before = ".." + before[-_CONTEXT_CHARS:]
    if len(wrong) > _CONTEXT_CHARS:
        wrong, after = wrong[:_CONTEXT_CHARS] + "..", ""
    if len(after) > _CONTEXT_CHARS:
        after = after[:_CONTEXT_CHARS] + ".."
    before, wrong, after = sanitize(before), sanitize(wrong), sanitize(after)
    carets = " " * width(before) + "^" * max(1, width(wrong))
    return f"  {before}{wrong}{after}\n  {carets}"


def shell_trap(argument: str) -> str | None:
    """Return a hint if the shell may have taken the filter's `>`, None otherwise.

    `evdump runtime>2` runs `evdump runtime` and writes a file called `2`: the argument is
    then a bare field name, and stdout a regular file.
    """
    field = EVENT_FIELDS.get(argument.strip().lower())
    if field is None:
        return None
    if operators_of(field.kind) is not _ON_NUMBERS:
        return (
            f'did the shell take your ">"? quote the filter; '
            f"to search for the word itself write any:{field.name}"
        )
    example = "14:30" if field.kind is Kind.TIME else "2"
    return (
        f"did the shell take your \">\"? quote the filter, '{field.name}>{example}', "
        f"or write {field.name}:{example}.."
    )
