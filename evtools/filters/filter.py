"""Filters: compiled, combined, and asked what they could not see."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, tzinfo
from typing import Any, Final

from evtools.errors import FilterError
from evtools.filters.fields import ALIASES, EVENT_FIELDS, FieldTable
from evtools.filters.grammar import parse
from evtools.filters.predicates import Clock, Context, Predicate, Tally, all_hold, build, one_holds
from evtools.filters.tokens import Mistake
from evtools.text import sanitize

#: Where the language is described.
SEE: Final = "evtools help filter lists the fields"


class Filter:
    """A test of events, or of whatever its table of fields is about.

    `matches(subject)` never raises, whatever JSON the fields hold.  `text` is
    the filter as it was written.  Not for use by several threads: it counts.
    """

    __slots__ = ("_doubts", "matches", "tallies", "text")

    def __init__(
        self,
        text: str,
        matches: Predicate,
        tallies: Iterable[Tally] = (),
        doubts: Iterable[str] = (),
    ) -> None:
        self.text = text
        # The closure itself, not a method around it: this is the hot path.
        self.matches: Callable[[Any], bool] = matches
        self.tallies = tuple(tallies)
        self._doubts = tuple(doubts)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"

    @property
    def drifts(self) -> bool:
        """Whether the answer may change with time, while a subject does not."""
        return any(tally.field.drifts for tally in self.tallies)

    def doubts(self) -> list[str]:
        """Return what may have been meant otherwise, for when nothing matches."""
        if not self._doubts:
            return []
        return [*dict.fromkeys(self._doubts), SEE]

    def unknown(self, subjects: str = "events") -> list[str]:
        """Return notes on what this filter could not see, one line each.

        A field that none of the subjects could tell, though they are of the sort
        that may, matched nothing; a text too long to be searched may have been
        missed.  Both are worth telling once.
        """
        notes = (_notes(tally, subjects) for tally in self.tallies)
        return list(dict.fromkeys(note for some in notes for note in some))


def compile_filter(
    text: str, *, fields: FieldTable = EVENT_FIELDS, zone: tzinfo = UTC, now: Clock | None = None
) -> Filter:
    """Read a filter, see evfilter(7); the empty one matches everything.

    Times are in `zone` unless they say otherwise.  `now` returns the epoch
    seconds that ages are counted from; without it `age` is refused.  Raises
    FilterError with the place of the mistake.
    """
    try:
        context = Context(fields, zone, now)
        matches = build(parse(text, _names(fields)), context)
    except Mistake as mistake:
        raise FilterError(
            f"bad filter at column {mistake.position + 1}: {mistake.message}",
            f"{mistake.hint}; {SEE}" if mistake.hint else SEE,
            text=text,
            position=mistake.position,
            length=mistake.length,
        ) from None
    return Filter(text, matches, context.tallies, context.doubts)


def _names(fields: FieldTable) -> set[str]:
    """Return the names that fields may be called by."""
    return {*fields, *(alias for alias, name in ALIASES.items() if name in fields)}


def all_of(*filters: Filter) -> Filter:
    """Return the filter for what matches all of `filters`; of none, everything."""
    text = " ".join(f"({each.text})" for each in filters if each.text.strip())
    return Filter(
        text,
        all_hold([each.matches for each in filters]),
        _tallies(filters),
        [doubt for each in filters for doubt in each._doubts],  # noqa: SLF001  (ours)
    )


def exclude(filters: Iterable[Filter]) -> Filter:
    """Return the filter for what matches none of `filters`."""
    filters = tuple(filters)
    drops = one_holds([each.matches for each in filters])
    text = " ".join(f"NOT ({each.text})" for each in filters)
    return Filter(text, lambda subject: not drops(subject), _tallies(filters))


def _tallies(filters: Iterable[Filter]) -> list[Tally]:
    return [tally for each in filters for tally in each.tallies]


def _notes(tally: Tally, subjects: str) -> Iterator[str]:
    name, reason = sanitize(tally.field.name), tally.field.reason
    if tally.unknown and not tally.known:
        yield f"{name}: unknown for 100% of {subjects}" + (f" ({reason})" if reason else "")
    for search in tally.searches:
        if search.cut:
            yield (
                f"{name}: {search.cut} texts were not searched to their end "
                f"(a line is searched up to {search.line_chars} characters)"
            )
