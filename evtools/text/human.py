"""Durations, ages, rates, counts and sizes for columns, and back."""

import math
import re
from collections.abc import Sequence
from typing import Final

from evtools.text.sanitize import clip, sanitize

# Every `human_*` function accepts any number (NaN is `?`, infinities are `inf` and
# `-inf`), never raises, and states the columns its result never exceeds.

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_YEAR: Final = 365 * _DAY

# fmt: off
#: Spans below a minute: the limit (where rounding reaches the next form), factor, format.
_SHORT_SPANS: Final = (
    (0.000_05, 0, "{:.0f}ms"), (0.000_95, 1000, "{:.1f}ms"), (0.999_5, 1000, "{:.0f}ms"),
    (9.995, 1, "{:.2f}s"), (59.5, 1, "{:.1f}s"),
)
#: Spans of two units: the limit, and the units with their seconds.
_LONG_SPANS: Final = (
    (_HOUR, _MINUTE, "m", 1, "s"),
    (_DAY, _HOUR, "h", _MINUTE, "m"),
    (100 * _DAY, _DAY, "d", _HOUR, "h"),
)
# fmt: on
_DURATION_COLS: Final = 6
# From here on, rounding adds a digit.
_ONE_DIGIT: Final = 9.95
_THREE_DIGITS: Final = 999.5
_FOUR_DIGITS: Final = 9999.5

#: Units of a duration, longest first, in seconds.
_UNITS: Final = {"d": _DAY, "h": _HOUR, "m": _MINUTE, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"\d{1,15}(?:\.\d{1,9})?"
_DURATION: Final = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _UNITS), re.ASCII)
_SECONDS: Final = re.compile(_NUMBER, re.ASCII)
_SIZE: Final = re.compile(rf"({_NUMBER})([KMGT]?)(?:I?B)?", re.ASCII | re.IGNORECASE)


def human_duration(seconds: float) -> str:
    """Return a span such as `6ms`, `1.04s`, `2m14s`, `3h05m`, `4d02h`, of at most 6 columns."""
    if odd := _odd(seconds):
        return odd
    size = abs(seconds)
    for below, factor, form in _SHORT_SPANS:
        if size < below:
            text = form.format(size * factor)
            break
    else:
        text = _clock(round(size))
    return _negative(text) if seconds < 0 and text.strip("0ms.") else text


def human_age(seconds: float) -> str:
    """Return an age in whole seconds: `0s`, `1m09s`, `3h05m`, `-2s`; at most 6 columns."""
    if odd := _odd(seconds):
        return odd
    whole = math.floor(abs(seconds))
    return _negative(_clock(whole)) if seconds < 0 and whole else _clock(whole)


def human_rate(per_second: float) -> str:
    """Return a rate: `3.1/s`, `12k/s`, `0.5/h`; at most 6 columns, 7 with a sign or `>`."""
    if odd := _odd(per_second):
        return odd
    size, sign = abs(per_second), "-" if per_second < 0 else ""
    if size >= _FOUR_DIGITS:
        return f"{human_count(per_second)}/s"
    for per, unit in ((1, "s"), (_MINUTE, "m"), (_HOUR, "h")):
        number = size * per
        if number >= 0.1:  # noqa: PLR2004  (the least that is shown)
            text = f"{number:.1f}" if number < _ONE_DIGIT else str(round(number))
            return f"{sign}{text}/{unit}"
    return "0/s" if size == 0 else f"{sign}<0.1/h"


def human_count(number: float) -> str:
    """Return a count: `999`, `3.6k`, `12k`, `>999E`; at most 4 columns, 5 with a sign."""
    return _scaled(number, 1000, " kMGTPE")


def human_size(size_bytes: float) -> str:
    """Return a size: `512B`, `1.5K`, `64K`, `>999E`, K being 1024; columns as for counts."""
    return _scaled(size_bytes, 1024, "BKMGTPE")


def _odd(number: float) -> str:
    # What stands for a number that is not finite, "" for others.
    try:
        return "" if math.isfinite(number) else "?" if math.isnan(number) else str(number)
    except OverflowError:  # an integer beyond all floats
        return "inf" if number > 0 else "-inf"


def _negative(text: str) -> str:
    # `23h59m` becomes `-23h`; `>9999y` has no second unit to lose and becomes `-9999y`.
    if text.startswith(">"):
        return "-" + text[1:]
    return "-" + (text if len(text) < _DURATION_COLS else text[: len(text) - 3])


def _clock(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds}s"
    for below, long, long_unit, short, short_unit in _LONG_SPANS:
        if seconds < below:
            rest = seconds % long // short
            return f"{seconds // long}{long_unit}{rest:02}{short_unit}"
    if seconds < 100_000 * _DAY:
        return f"{seconds // _DAY}d"
    return f"{seconds // _YEAR}y" if seconds < 10_000 * _YEAR else ">9999y"


def _scaled(number: float, base: int, suffixes: str) -> str:
    if odd := _odd(number):
        return odd
    sign, number = ("-", -number) if number < 0 else ("", number)
    if number < _THREE_DIGITS:
        whole = round(number)
        return f"{sign if whole else ''}{whole}{suffixes[0]}".rstrip()
    for suffix in suffixes[1:]:
        number /= base
        if number < _THREE_DIGITS:
            text = f"{number:.1f}" if number < _ONE_DIGIT else str(round(number))
            return f"{sign}{text}{suffix}"
    return f"{sign or '>'}999{suffixes[-1]}"


#: What is less is nothing on a scale.
_LEAST: Final = 1e-9


def scale_end(most: float, steps: Sequence[float] = (1, 2, 5)) -> float:
    """Return where a scale of values up to `most` ends: at one of `steps` and zeros, not below."""
    if most <= 0 or not math.isfinite(most):
        return 1.0
    most = max(most, _LEAST)
    unit = 10.0 ** math.floor(math.log10(most))
    return next((unit * step for step in steps if most <= unit * step * (1 + 1e-9)), 10 * unit)


def parse_duration(text: str) -> float:
    """Parse `10`, `500ms`, `5m` or `1h30m` into seconds; raise ValueError that shows how."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not match or not text:
        shown = clip(sanitize(text), 40)
        raise ValueError(f'invalid duration "{shown}" (use 10, 10s, 500ms, 5m, 2h, 1d or 1h30m)')
    pairs = zip(match.groups(), _UNITS.values(), strict=True)
    return math.fsum(float(count) * unit for count, unit in pairs if count)


def parse_size(text: str) -> int:
    """Parse `100`, `64K`, `10MiB` or `1.5g` into bytes; raise ValueError that shows how."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        shown = clip(sanitize(text.strip()), 40)
        raise ValueError(f'invalid size "{shown}" (use 100, 64K, 10M or 1.5G; K is 1024)')
    number, unit = match.groups()
    factor = 1 << 10 * " KMGT".index(unit.upper() or " ")
    return round(float(number) * factor) if "." in number else int(number) * factor
