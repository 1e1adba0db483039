"""Errors: failures that differ only in details, as one row."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from evtools.filters import Kind, quote, quote_pattern
from evtools.state import OTHERS, UNKNOWN, Statistics
from evtools.top.cells import (
    count_column,
    known,
    name_column,
    rate_column,
    text_column,
    time_column,
)
from evtools.top.columns import Column
from evtools.top.detail import Detail, paragraph
from evtools.top.listing import Listing

#: What joins the parts of a group to its key; no part has it.
_JOINT: Final = "\0"
#: How the variable parts of a message are blanked.
_BLANK: Final = "*"
#: So much of a message goes into a filter.
_MESSAGE_CHARS: Final = 200


def _workers(names: Iterable[str]) -> str:
    some = sorted(names)
    return some[0] if len(some) == 1 else str(len(some))


def _kind(group: Any, _: float) -> str:
    return f"{group.exception}: {group.message}" if group.message else group.exception


COLUMNS: Final = (
    count_column("count", "COUNT", "how often", lambda row, _: row.count),
    rate_column("rate", "RATE", "how often per second", lambda row, _: row.rate),
    time_column("first", "FIRST", "when it was first seen", lambda row, _: row.first),
    time_column("last", "LAST", "when it was last seen", lambda row, _: row.last),
    name_column(
        "workers",
        "WORKERS",
        "where: the worker, or how many",
        lambda row, _: sorted(row.workers),
        say=known(_workers),
        order=lambda row, _: len(row.workers),
        kind=Kind.OTHER,
        cols=8,
        max_cols=24,
        from_cols=100,
        descending=True,
    ),
    name_column("name", "TASK", "the type of task", lambda row, _: row.task, cols=16),
    text_column(
        "exc", "EXCEPTION", "what was raised, * for its variable parts", _kind, cols=20, flex=3
    ),
)


class ErrorsView(Listing):
    """One row for each kind of failure."""

    name = "errors"
    title = "Errors"
    noun = "errors"
    default_sort = "count"

    def __init__(self, statistics: Statistics, now: Callable[[], float]) -> None:
        self._statistics = statistics
        super().__init__(now)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns there are, in their order."""
        return COLUMNS

    def _read(self) -> Iterable[tuple[str, Any]]:
        for group in self._statistics.failures(self.lens.window, self.lens.now):
            yield _JOINT.join((group.task, group.exception, group.message)), group

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (all rows are alike)
        """Return the style of a failure."""
        return "failure"

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks that failed so, as far as they are remembered."""
        group = self.subject(key)
        if group is None or group.task == OTHERS:
            return None
        name = "-has:name" if group.task == UNKNOWN else f"name={quote(group.task)}"
        if not group.sample.startswith(group.exception):
            # The event had a wrapper, and its traceback the exception itself.
            return "tasks", f"{name} tb:{quote(group.exception)}"
        parts = [group.exception, *group.message[:_MESSAGE_CHARS].split(_BLANK)]
        pattern = "^" + ".*".join(map(_escaped, filter(None, parts)))
        return "tasks", f"{name} exc~{quote_pattern(pattern)}"

    def values(self, key: str) -> Mapping[str, str]:
        """Return what of a row can be kept or excluded."""
        group = self.subject(key)
        if group is None:
            return {}
        return {"name": group.task, "exc": _kind(group, 0.0)}

    def detail(self, key: str) -> Detail | None:
        """Return all that is known of a kind of failure."""
        detail, group = super().detail(key), self.subject(key)
        if detail is None or group is None:
            return None
        sample = ("sample", *(f"  {line}" for line in paragraph(group.sample)))
        where = ("workers", *(f"  {name}" for name in _lines(group.workers)))
        info = (*detail.sections["Info"], "", *sample, "", *where)
        title = f"{_shown(group.task)} {_shown(group.exception)}"
        return Detail(title, (), {**detail.sections, "Info": info})


def _escaped(text: str) -> str:
    """Return a pattern for a text; blanks need no escape."""
    return re.escape(text).replace("\\ ", " ")


def _lines(names: Iterable[str]) -> list[str]:
    return [line for name in sorted(names) for line in paragraph(name)]


def _shown(text: str) -> str:
    return paragraph(text)[0]
