"""Expressions compiled to closures over a subject."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final, TypeAlias, TypeGuard

from evtools.filters import numbers, times
from evtools.filters.fields import AMBIGUOUS, PREFIXES, Field, FieldTable, Getter, Kind, find, guess
from evtools.filters.grammar import And, Everything, Node, Not, Or, Term, Word
from evtools.filters.numbers import COMPARISONS, NumberTest
from evtools.filters.pairs import pair_test
from evtools.filters.regexes import LineSearch, PatternRefused
from evtools.filters.states import STATE_GROUPS, STATE_NAMES, STATES, state_of_word, states_of
from evtools.filters.texts import (
    TextTest,
    any_of,
    contains,
    equals,
    glob,
    is_glob,
    raises,
    starts_with,
)
from evtools.filters.tokens import OPERATORS, PATTERN_OPERATORS, QUOTE_IT, Mistake, Value
from evtools.text import sanitize

Predicate: TypeAlias = Callable[[Any], bool]
Clock: TypeAlias = Callable[[], float]
Builder: TypeAlias = Callable[[Term, Field, "Context"], Predicate]

_NEGATIVE: Final = ("!=", "!~")
_EQUALITY: Final = (":", "=", "!=")
_ON_TEXT: Final = (*_EQUALITY, *PATTERN_OPERATORS)
_ON_NUMBERS: Final = (*_EQUALITY, *COMPARISONS)


class Tally:
    """What one term of a filter could not see of the subjects it was asked about."""

    __slots__ = ("field", "known", "searches", "unknown")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.known = False
        self.unknown = 0
        self.searches: list[LineSearch] = []

    def miss(self, subject: Any) -> bool:
        """Count a subject whose field is not known; returns that it does not match."""
        if self.field.applies(subject):
            self.unknown += 1
        return False


@dataclass(frozen=True, slots=True)
class Context:
    """What a filter is compiled against.

    `tallies` collects one per term; `doubts` collects what may be meant otherwise,
    for when nothing matches.
    """

    fields: FieldTable
    zone: tzinfo
    now: Clock | None
    tallies: list[Tally] = dataclasses.field(default_factory=list)
    doubts: list[str] = dataclasses.field(default_factory=list)

    def tally(self, field: Field) -> Tally:
        """Return a new tally for `field`."""
        self.tallies.append(Tally(field))
        return self.tallies[-1]


def build(node: Node, context: Context) -> Predicate:
    """Compile an expression.

    Raises Mistake for fields that do not exist and values that do not fit them.
    The predicate never raises, whatever JSON the fields hold.
    """
    match node:
        case Everything():
            return all_hold([])
        case Not(child):
            return _neither(build(child, context))
        case And(children):
            return all_hold([build(child, context) for child in children])
        case Or(children):
            return one_holds([build(child, context) for child in children])
        case _:
            return _build_term(node, context)


def all_hold(predicates: Sequence[Predicate]) -> Predicate:
    """Return the predicate that all of `predicates` hold; asked in their order."""
    if not predicates:
        return lambda _: True
    return functools.reduce(_both, predicates)


def one_holds(predicates: Sequence[Predicate]) -> Predicate:
    """Return the predicate that one of `predicates` holds; asked in their order."""
    if not predicates:
        return lambda _: False
    return functools.reduce(_either, predicates)


def _neither(predicate: Predicate) -> Predicate:
    return lambda subject: not predicate(subject)


def _both(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) and second(subject)


def _either(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) or second(subject)


# --- terms ----------------------------------------------------------------------


def _build_term(term: Term | Word, context: Context) -> Predicate:
    if isinstance(term, Word):
        return _build_word(term.value, context)
    if term.name.lower().startswith(_ARGUMENTS):
        return _argument_term(term, context)
    field = _field(term.name, context.fields, term.position, len(term.name))
    builder, operators = _BUILDERS[field.kind]
    if term.operator not in operators:
        raise Mistake(
            f'"{term.operator}" does not go with {sanitize(term.name)}, '
            f"which is {field.kind.value}",
            term.position,
            len(term.name) + len(term.operator),
            f"use one of {' '.join(operators)}",
        )
    if len(term.values) > 1 and term.operator in COMPARISONS:
        raise Mistake(
            f'"{term.operator}" compares with one value, not with a list',
            term.values[1].position,
            term.values[1].length,
        )
    return builder(term, field, context)


def _build_word(value: Value, context: Context) -> Predicate:
    """Compile a bare word: text, and the state of that name if there is one."""
    found = _build_term(Term("any", ":", (value,), value.position), context)
    if value.literal:
        return found
    if "state" in context.fields and (state := state_of_word(value.text)):
        get = context.fields["state"].get
        return lambda subject: get(subject) == state or found(subject)
    if not is_glob(value):
        context.doubts.append(_doubt(value, context.fields))
    return found


def _doubt(value: Value, fields: FieldTable) -> str:
    """Return what to tell of a word that may have been meant otherwise."""
    word = sanitize(value.text)
    name = value.text.lower()
    meant = ""
    if "state" in fields and name in (*STATE_NAMES, *STATE_GROUPS):
        meant = f"; for the state: state:{word}"
    elif field := find(value.text, fields):
        meant = f"; for the field: {field.name}:VALUE"
    return f'"{word}" was searched for as text{meant}'


#: kwargs.key=value, as jq and others write it.
_ARGUMENTS: Final = ("kwargs.", "args.")


def _argument_term(term: Term, context: Context) -> Predicate:
    """Compile a term on one of the arguments: `kwargs.user_id=42`."""
    owner, _, key = term.name.partition(".")
    value = sanitize(term.values[0].text)
    if owner.lower() == "args" or term.operator not in _EQUALITY:
        pair = f"kwargs:{sanitize(key)}={value}"
        raise Mistake(
            f'"{sanitize(term.name)}{term.operator}" is no test of an argument',
            term.position,
            len(term.name) + len(term.operator),
            f"args:{value} finds text in them" if owner == "args" else f"write {pair}",
        )
    if term.operator == ":":
        wanted = [Value(f"{key}=*{value.text}*") for value in term.values]
    else:
        wanted = [Value(f"{key}={v.text}", v.literal) for v in term.values]
    pairs = Term(owner.lower(), ":", tuple(wanted), term.position)
    found = _build_term(pairs, context)
    return _neither(found) if term.operator == "!=" else found


def _field(name: str, fields: FieldTable, position: int, length: int) -> Field:
    """Return the field called `name`."""
    field = find(name, fields)
    if field:
        return field
    shown = sanitize(name)
    if name.lower() in AMBIGUOUS:
        raise Mistake(f'"{shown}" may be several fields', position, length, AMBIGUOUS[name.lower()])
    close = guess(name, fields)
    meant = f' (did you mean "{close}"?)' if close else ""
    raise Mistake(
        f'unknown field "{shown}"{meant}',
        position,
        length,
        f"an argument is kwargs:{shown}=VALUE, another field of an event"
        f" {PREFIXES[0]}{shown}; {QUOTE_IT}",
    )


def _text_term(term: Term, field: Field, context: Context) -> Predicate:
    tally = context.tally(field)
    get, test, wanted = field.get, _text_test(term, tally), _is_positive(term)
    if term.operator == "=" and not any(map(is_glob, term.values)):
        shown = sanitize(f"{term.name}:{term.values[0]}")
        context.doubts.append(f"= is exact, case included; to find a part: {shown}")

    def matches(subject: Any) -> bool:
        text = get(subject)
        if not isinstance(text, str):
            return tally.miss(subject)
        tally.known = True
        return test(text) is wanted

    return matches


def _texts_term(term: Term, field: Field, context: Context) -> Predicate:
    """Compile a term on a field that is several texts."""
    tally = context.tally(field)
    get, test, wanted = field.get, _text_test(term, tally), _is_positive(term)

    def matches(subject: Any) -> bool:
        texts = get(subject)
        assert isinstance(texts, tuple)
        for text in texts:
            if isinstance(text, str) and test(text):
                return wanted
        return not wanted

    return matches


def _state_term(term: Term, field: Field, context: Context) -> Predicate:
    if term.operator in PATTERN_OPERATORS:
        return _text_term(term, field, context)
    states = frozenset[object]().union(*map(states_of, term.values))
    if not _is_positive(term):
        states = frozenset(STATES) - states
    get = field.get
    return lambda subject: get(subject) in states


def _ordered_term(term: Term, field: Field, context: Context) -> Predicate:
    test = _number_test(term, field.kind, context.zone)
    tally = context.tally(field)
    get, wanted = field.get, _is_positive(term)

    def matches(subject: Any) -> bool:
        number = get(subject)
        if not _is_number(number):
            return tally.miss(subject)
        tally.known = True
        return test(number) is wanted

    return matches


def _age_term(term: Term, field: Field, context: Context) -> Predicate:
    now, get = context.now, field.get
    if now is None:
        raise Mistake("there is no clock to tell an age by", term.position, len(term.name))

    def age(subject: Any) -> float | None:
        since = get(subject)
        return now() - since if isinstance(since, float) else None

    return _ordered_term(term, dataclasses.replace(field, get=age), context)


def _other_term(term: Term, field: Field, context: Context) -> Predicate:
    """Compile a term on a field that may be text, a number or a truth value."""
    if term.operator in PATTERN_OPERATORS:
        return _text_term(term, field, context)
    if term.operator in COMPARISONS:
        return _ordered_term(term, field, context)
    tally = context.tally(field)
    is_text, is_number = _text_test(term, tally), _loose_number_test(term.values)
    truths = frozenset(value.text.lower() for value in term.values)
    get, wanted = field.get, _is_positive(term)

    def matches(subject: Any) -> bool:
        value = get(subject)
        if value is None:
            return tally.miss(subject)
        tally.known = True
        if isinstance(value, str):
            return is_text(value) is wanted
        if _is_number(value):
            return is_number(value) is wanted
        return isinstance(value, bool) and (str(value).lower() in truths) is wanted

    return matches


def _presence_term(term: Term, _: Field, context: Context) -> Predicate:
    getters = [_present(value, context.fields) for value in term.values]
    return one_holds([_is_there(get) for get in getters])


def _present(value: Value, fields: FieldTable) -> Getter:
    """Return the getter of the field that `has:` names."""
    field = _field(value.text, fields, value.position, value.length)
    if field.kind in (Kind.TEXTS, Kind.IDS, Kind.PRESENCE):
        raise Mistake(
            f'"{field.name}" is several fields; has: takes one', value.position, value.length
        )
    return field.get


def _is_there(get: Getter) -> Predicate:
    return lambda subject: (value := get(subject)) is not None and value != ""


_BUILDERS: Final[Mapping[Kind, tuple[Builder, Sequence[str]]]] = {
    Kind.TEXT: (_text_term, _ON_TEXT),
    Kind.EXCEPTION: (_text_term, _ON_TEXT),
    Kind.ID: (_text_term, _ON_TEXT),
    Kind.PAIRS: (_text_term, _ON_TEXT),
    Kind.TEXTS: (_texts_term, _ON_TEXT),
    Kind.IDS: (_texts_term, _ON_TEXT),
    Kind.STATE: (_state_term, _ON_TEXT),
    Kind.NUMBER: (_ordered_term, _ON_NUMBERS),
    Kind.DURATION: (_ordered_term, _ON_NUMBERS),
    Kind.TIME: (_ordered_term, _ON_NUMBERS),
    Kind.AGE: (_age_term, _ON_NUMBERS),
    Kind.OTHER: (_other_term, OPERATORS),
    Kind.PRESENCE: (_presence_term, (":",)),
}


def operators_of(kind: Kind) -> Sequence[str]:
    """Return the operators that go with a kind of field."""
    return _BUILDERS[kind][1]


# --- what terms test ------------------------------------------------------------


def _is_positive(term: Term) -> bool:
    return term.operator not in _NEGATIVE


def _text_test(term: Term, tally: Tally) -> TextTest:
    if term.operator in PATTERN_OPERATORS:
        return _pattern_test(term.values[0], tally)
    kind = tally.field.kind
    if term.operator == ":":
        return any_of([_colon_test(value, kind) for value in term.values])
    return any_of([_equal_test(value, kind) for value in term.values])


def _equal_test(value: Value, kind: Kind) -> TextTest:
    if is_glob(value):
        return glob(value.text)
    if kind is Kind.EXCEPTION:
        return raises(value.text)
    return equals([value.text])


def _pattern_test(value: Value, tally: Tally) -> TextTest:
    try:
        search = LineSearch(value.text)
    except PatternRefused as error:
        hint = "a pattern runs to the next blank, parentheses included, unless quoted"
        raise Mistake(str(error), value.position, value.length, hint) from error
    tally.searches.append(search)
    return search


def _colon_test(value: Value, kind: Kind) -> TextTest:
    if not value.text:
        raise Mistake(
            "every text contains the empty one",
            value.position,
            value.length,
            'a field that is empty is =""',
        )
    if kind is Kind.PAIRS and (is_pair := pair_test(value)):
        return is_pair
    if is_glob(value):
        return glob(value.text)
    if kind in (Kind.ID, Kind.IDS):
        return starts_with(value.text)
    return contains(value.text)


_READERS: Final = {
    Kind.NUMBER: numbers.read_number,
    Kind.DURATION: numbers.read_duration,
    Kind.AGE: numbers.read_duration,
    Kind.OTHER: numbers.read_any,
}


def _number_test(term: Term, kind: Kind, zone: tzinfo) -> NumberTest:
    compares, value = term.operator in COMPARISONS, term.values[0]
    if kind is Kind.TIME and compares:
        return times.comparison(term.operator, value, zone)
    if kind is Kind.TIME:
        return times.within(term.values, zone)
    if compares:
        return numbers.comparison(term.operator, value, _READERS[kind])
    return numbers.within(term.values, _READERS[kind])


def _loose_number_test(values: Sequence[Value]) -> NumberTest:
    """Test for numbers among those of `values` that are numbers or ranges."""
    tests = []
    for value in values:
        with contextlib.suppress(Mistake):
            tests.append(numbers.within([value], numbers.read_any))
    return lambda number: any(test(number) for test in tests)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is a number; truth values and NaN are none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (isinstance(value, float) and math.isnan(value))
    )
