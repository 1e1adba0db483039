"""Tests of numbers, durations and sizes: comparisons, ranges, lists."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from evtools.filters.tokens import Mistake, Value
from evtools.text import parse_duration, parse_size, sanitize

Number: TypeAlias = int | float
NumberTest: TypeAlias = Callable[[Number], bool]
#: Reads one end of a range; raises ValueError with a message for the user.
Reader: TypeAlias = Callable[[str], Number]
T = TypeVar("T")

COMPARISONS: Final = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NUMBER = re.compile(r"-?(?:\d+|\d*\.\d+)(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_WHOLE = re.compile(r"-?\d+")
# In `field.size>10M` the unit tells what is meant: capitals are sizes.
_SIZE = re.compile(r"[\d.]+(?:[KMGT]i?B?|B)")


def read_number(text: str) -> Number:
    """Return the number that `3`, `-1.5` or `1e6` is."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    raise ValueError(f'"{sanitize(text)}" is no number')


def read_duration(text: str) -> float:
    """Return the seconds of a duration, which may have a minus sign."""
    if text.startswith("-"):
        return -parse_duration(text[1:])
    return parse_duration(text)


def read_any(text: str) -> Number:
    """Return a number, the seconds of a duration or the bytes of a size."""
    if _NUMBER.fullmatch(text):
        return read_number(text)
    if _SIZE.fullmatch(text):
        return parse_size(text)
    try:
        return read_duration(text)
    except ValueError:
        raise ValueError(
            f'"{sanitize(text)}" is no number, duration (500ms, 1h30m) or size (64K)'
        ) from None


def comparison(sign: str, value: Value, read: Reader) -> NumberTest:
    """Test for numbers that compare so with `value`."""
    compare, limit = COMPARISONS[sign], read_at(value, value.text, read)
    return lambda number: compare(number, limit)


def within(values: Sequence[Value], read: Reader) -> NumberTest:
    """Test for numbers that are one of `values` or in one of their ranges.

    A range `a..b` has both ends in it; `a..` and `..b` are open.
    """
    spans = [_span(value, read) for value in values]
    if len(spans) == 1:
        low, high = spans[0]
        return lambda number: low <= number <= high
    return lambda number: any(low <= number <= high for low, high in spans)


def _span(value: Value, read: Reader) -> tuple[Number, Number]:
    low, dots, high = split_range(value)
    if not dots:
        number = read_at(value, low, read)
        return number, number
    ends = (
        read_at(value, low, read) if low else float("-inf"),
        read_at(value, high, read) if high else float("inf"),
    )
    if ends[0] > ends[1]:
        raise Mistake("the range ends before it begins", value.position, value.length)
    return ends


def split_range(value: Value) -> tuple[str, str, str]:
    """Return both ends of `a..b` and the dots, which are empty for a single value."""
    low, dots, high = value.text.partition("..")
    if dots and not low and not high:
        raise Mistake("a range needs an end", value.position, value.length)
    return low, dots, high


def read_at(value: Value, text: str, read: Callable[[str], T]) -> T:
    """Read `text`, a part of `value`; what is wrong with it is told with its place."""
    try:
        return read(text)
    except ValueError as error:
        raise Mistake(str(error), value.position, value.length) from error
