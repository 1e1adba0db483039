"""The usual kinds of columns: names, counts, rates, durations, shares."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

from evtools.filters import Kind
from evtools.text import human_count, human_duration, human_rate
from evtools.top.columns import UNKNOWN, Column, Lens

#: What returns a value of a subject at a time, or the name of its attribute.
Value: TypeAlias = Callable[[Any, float], Any] | str

_UUID_CHARS: Final = 8
_UUID_LENGTH: Final = 36
_FIGURE: Final[dict[str, Any]] = {"align": "right", "descending": True}


def known(say: Callable[[Any], str]) -> Callable[[Any, Lens], str]:
    """Return what says a value by `say`, and `-` where there is none."""
    return lambda value, _: UNKNOWN if value is None else say(value)


def short_uuid(value: str) -> str:
    """Return enough of a task's id to tell it from others."""
    if len(value) == _UUID_LENGTH and value[_UUID_CHARS] == "-":
        return value[:_UUID_CHARS]
    return value


def percent(share: float | None) -> float | None:
    """Return a share (0 to 1) in per cent."""
    return None if share is None else 100.0 * share


def _column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    if not isinstance(value, str):
        return Column(name, title, about, value=value, **more)
    get = attrgetter(value)
    return Column(
        name, title, about, value=lambda subject, _: get(subject), attribute=value, **more
    )


def name_column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    """Return a column of names, which keep both of their ends."""
    usual = {"kind": Kind.TEXT, "elide": True, "flex": 1, "max_cols": 80}
    return _column(name, title, about, value, **{"cols": 12, **usual, **more})


def id_column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    """Return a column of task ids, shortened."""
    usual = {"kind": Kind.ID, "brief": short_uuid}
    return _column(name, title, about, value, **{"cols": 8, **usual, **more})


def text_column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    """Return a column of texts, of which the start matters."""
    return _column(name, title, about, value, **{"cols": 12, "kind": Kind.TEXT, **more})


def _figure(kind: Kind, say: Callable[[Any], str]) -> Callable[..., Column]:
    def column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
        usual = {"cols": max(6, len(title)), "kind": kind, "say": known(say)}
        return _column(name, title, about, value, **{**usual, **_FIGURE, **more})

    return column


count_column = _figure(Kind.NUMBER, human_count)
rate_column = _figure(Kind.NUMBER, human_rate)
duration_column = _figure(Kind.DURATION, human_duration)
percent_column = _figure(Kind.NUMBER, "{:.2f}".format)


def time_column(name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    """Return a column of moments: ages, or times of day."""
    usual = {"cols": 8, "kind": Kind.TIME, "say": lambda value, lens: lens.moment(value), **_FIGURE}
    return _column(name, title, about, value, **{**usual, **more})
