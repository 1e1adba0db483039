"""Durations, ages, rates, counts and sizes for columns, and their way back."""

import math
import re
from collections.abc import Sequence
from typing import Final

from evtools.text.fit import clip
from evtools.text.sanitize import sanitize

# Every `human_*` function accepts any number (NaN is `?`, infinities are `inf`
# and `-inf`), never raises, and states the columns its result never exceeds.

UNKNOWN: Final = "?"

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_YEAR: Final = 365 * _DAY

# Spans below a minute: up to where (there rounding reaches the next form), the
# factor, the form.
_SHORT_SPANS: Final = (
    (0.000_05, 0, "{:.0f}ms"),
    (0.000_95, 1000, "{:.1f}ms"),
    (0.999_5, 1000, "{:.0f}ms"),
    (9.995, 1, "{:.2f}s"),
    (59.5, 1, "{:.1f}s"),
)
# Spans of two units: up to where, and the units with their seconds.
_LONG_SPANS: Final = (
    (_HOUR, _MINUTE, "m", 1, "s"),
    (_DAY, _HOUR, "h", _MINUTE, "m"),
    (100 * _DAY, _DAY, "d", _HOUR, "h"),
)
_LONGEST_IN_DAYS: Final = 100_000 * _DAY
_LONGEST_IN_YEARS: Final = 10_000 * _YEAR

_DURATION_COLS: Final = 6
# From here on, rounding adds a digit.
_ONE_DIGIT: Final = 9.95
_THREE_DIGITS: Final = 999.5
_FOUR_DIGITS: Final = 9999.5
_SLOWEST_RATE: Final = 0.1

#: Units of a duration, longest first, in seconds.
UNITS: Final = {"d": _DAY, "h": _HOUR, "m": _MINUTE, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(
    "".join(rf"(?:(\d{{1,15}}(?:\.\d{{1,9}})?){unit})?" for unit in UNITS), re.ASCII
)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
DURATION_GRAMMAR: Final = "10, 10s, 500ms, 5m, 2h, 1d or 1h30m"

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([KMGT]?)(?:I?B)?", re.ASCII | re.IGNORECASE)
_SIZE_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE_GRAMMAR: Final = "100, 64K, 10M or 1.5G; K is 1024"

_COUNT_SUFFIXES: Final = ("k", "M", "G", "T", "P", "E")
_SIZE_SUFFIXES: Final = ("K", "M", "G", "T", "P", "E")
_LONGEST_SHOWN: Final = 40


# --- for people -----------------------------------------------------------------


def human_duration(seconds: float) -> str:
    """Return a span such as `6ms`, `1.04s`, `2m14s`, `3h05m`, `4d02h`.

    At most 6 columns.  Negative spans show their largest unit only where the
    sign would make a seventh.
    """
    seconds = _finite(seconds)
    if not math.isfinite(seconds):
        return _odd(seconds)
    text = _span(abs(seconds))
    return text if seconds >= 0 or not text.strip("0ms.") else _negative(text)


def human_age(seconds: float) -> str:
    """Return an age in whole seconds: `0s`, `58s`, `1m09s`, `3h05m`, `4d02h`.

    At most 6 columns.  A negative age is a clock that runs ahead, and is shown.
    """
    seconds = _finite(seconds)
    if not math.isfinite(seconds):
        return _odd(seconds)
    whole = math.floor(abs(seconds))
    return _negative(_clock(whole)) if seconds < 0 and whole else _clock(whole)


def human_rate(per_second: float) -> str:
    """Return a rate: `0/s`, `3.1/s`, `1284/s`, `12k/s`, and `2.0/m`, `0.5/h` if slow.

    At most 6 columns, 7 with a sign or beyond 999E/s.
    """
    rate = _finite(per_second)
    if not math.isfinite(rate):
        return _odd(rate)
    size, sign = abs(rate), "-" if rate < 0 else ""
    if size >= _FOUR_DIGITS:
        return f"{human_count(rate)}/s"
    for per, unit in ((1, "s"), (_MINUTE, "m"), (_HOUR, "h")):
        if size * per >= _SLOWEST_RATE:
            return f"{sign}{_two_digits(size * per)}/{unit}"
    return "0/s" if size == 0 else f"{sign}<0.1/h"


def human_count(number: float) -> str:
    """Return a count: `0`, `999`, `3.6k`, `12k`, `1.2M`.

    At most 4 columns, 5 with a sign; what is beyond 999E is `>999E`, `-999E`.
    """
    return _scaled(number, 1000, ("", *_COUNT_SUFFIXES))


def human_size(size_bytes: float) -> str:
    """Return a size: `512B`, `1.5K`, `64K`, `10M`, `1.5G`; K is 1024.

    At most 4 columns, 5 with a sign; what is beyond 999E is `>999E`, `-999E`.
    """
    return _scaled(size_bytes, 1024, ("B", *_SIZE_SUFFIXES))


def _finite(number: float) -> float:
    """Return `number` as a float; an integer beyond floats is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, 1 if number > 0 else -1)


def _odd(number: float) -> str:
    """Return what stands for a number that is not finite."""
    return UNKNOWN if math.isnan(number) else str(number)


def _negative(text: str) -> str:
    """Return `text` with a sign, in at most 6 columns.

    `23h59m` becomes `-23h`; `>9999y` has no second unit to lose and is `-9999y`.
    """
    if text.startswith(">"):
        return "-" + text[1:]
    if len(text) < _DURATION_COLS:
        return "-" + text
    return "-" + text[: len(text) - 3]


def _span(seconds: float) -> str:
    """Return a positive span."""
    for below, factor, form in _SHORT_SPANS:
        if seconds < below:
            return form.format(seconds * factor)
    return _clock(round(seconds))


def _clock(seconds: int) -> str:
    """Return whole seconds in one or two units."""
    if seconds < _MINUTE:
        return f"{seconds}s"
    for below, long, long_unit, short, short_unit in _LONG_SPANS:
        if seconds < below:
            rest = seconds % long // short
            return f"{seconds // long}{long_unit}{rest:02}{short_unit}"
    if seconds < _LONGEST_IN_DAYS:
        return f"{seconds // _DAY}d"
    return f"{seconds // _YEAR}y" if seconds < _LONGEST_IN_YEARS else ">9999y"


def _two_digits(number: float) -> str:
    """Return a number below 9999.5 as `3.1`, `41` or `1284`."""
    return f"{number:.1f}" if number < _ONE_DIGIT else str(round(number))


def _scaled(number: float, base: int, suffixes: Sequence[str]) -> str:
    """Return `number` with the first suffix that leaves at most three digits."""
    number = _finite(number)
    if not math.isfinite(number):
        return _odd(number)
    sign, number = ("-", -number) if number < 0 else ("", number)
    if number < _THREE_DIGITS:
        whole = round(number)
        return f"{sign if whole else ''}{whole}{suffixes[0]}"
    for suffix in suffixes[1:]:
        number /= base
        if number < _ONE_DIGIT:
            return f"{sign}{number:.1f}{suffix}"
        if number < _THREE_DIGITS:
            return f"{sign}{round(number)}{suffix}"
    return f"{sign or '>'}999{suffixes[-1]}"


# --- from people ----------------------------------------------------------------


def parse_duration(text: str) -> float:
    """Return the seconds that `10`, `10s`, `500ms`, `5m`, `2h`, `1d`, `1h30m` mean.

    Units go from long to short, each at most once.  Raises ValueError with a
    message that shows the grammar.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise ValueError(f"invalid duration {_shown(text)} (use {DURATION_GRAMMAR})")
    pairs = zip(match.groups(), UNITS.values(), strict=True)
    return math.fsum(float(count) * unit for count, unit in pairs if count)


def parse_size(text: str) -> int:
    """Return the bytes that `100`, `64K`, `10M`, `1.5G` mean; K is 1024.

    Letters may be of any case; `B`, `KB` and `KiB` are understood.  Raises
    ValueError with a message that shows the grammar.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"invalid size {_shown(text.strip())} (use {SIZE_GRAMMAR})")
    number, unit = match.groups()
    factor = _SIZE_UNITS[unit.upper()]
    return round(float(number) * factor) if "." in number else int(number) * factor


def _shown(text: str) -> str:
    """Return what the user wrote, in quotes, fit for a message."""
    return f'"{clip(sanitize(text), _LONGEST_SHOWN)}"'
