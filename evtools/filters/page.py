"""The filter language on one page, made from its own tables."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Final

from evtools.filters.fields import ALIASES, EVENT_FIELDS, PREFIXES, Field, Kind
from evtools.filters.predicates import operators_of
from evtools.filters.states import STATE_GROUPS, STATES
from evtools.filters.task_fields import TASK_FIELDS
from evtools.filters.tokens import OPERATORS

#: A filter, and what it is for.
EXAMPLES: Final[Mapping[str, str]] = {
    "charge eur": "both are found in it; and may stand between",
    "invoice OR receipt": "one of them is",
    "state:bad -name:proj.beat.*": "one holds, the other does not; or NOT",
    "(email OR report) urgent": "parentheses group",
    "state:failure,retry runtime>2": "one of several values; a comparison",
    "runtime:500ms..2s": "a range; 2.. and ..2 are open",
    "received>14:30": "a time of day; or 2026-11-20T14:00Z",
    "kwargs:currency=eur": "the argument has this value",
    'exc:"connection refused"': "text as it is",
    "has:parent": "the field is there",
    "failed /refused|timeout/": "a state as a word; a regular expression",
}
#: How others write it, and what that is here.
DIALECTS: Final[Mapping[str, str]] = {
    'state == "FAILURE" && runtime > 5': "and or not, && || !, in any case",
    "state in (FAILURE, RETRY)": "SQL: in, not in, like 'x%', is, is null, between",
    '{state="FAILURE", name=~"tasks.*"}': "PromQL; =~ finds, it is not anchored",
    'select(.kwargs.user == "42")': "jq, without pipes and functions",
    "state:(FAILURE OR RETRY) runtime:[1 TO 5]": "Lucene; _exists_:name is has:name",
}
#: What the operators ask.
MEANINGS: Final[Mapping[str, str]] = {
    ":": "contains; with * and ? all of it is; an id begins with; a number is",
    "=": "is exactly",
    "!=": "is known, and is not",
    "~": "has a match of this regular expression",
    "!~": "is known, and has no match of it",
    ">": "is more",
    ">=": "is more, or the same",
    "<": "is less",
    "<=": "is less, or the same",
}
_COLS: Final = 78
_HEAD: Final = """\
A filter is a list of terms, all of which must match: words to find, or a
field, an operator and a value. Quote it in the shell.
"""


def page() -> str:
    """Return the page: lines of at most 80 columns."""
    lines = [
        *(_HEAD, *_section("Examples", EXAMPLES)),
        *_section("As others write it", DIALECTS),
        *_section("Operators", {sign: MEANINGS[sign] for sign in OPERATORS}),
        *_section("States and groups of them", _states()),
    ]
    for operators, rows in _fields().items():
        lines += _section(f"Fields that go with {operators}", rows)
    lines += _section("Other names of fields", _aliases())
    return "\n".join((*lines, "evfilter(7) tells more."))


def _section(title: str, rows: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, rows))
    yield title.upper()
    for left, right in rows.items():
        first, *more = wrap(right, _COLS - width - 4)
        yield f"  {left:<{width}}  {first}"
        yield from (f"  {'':<{width}}  {line}" for line in more)
    yield ""


def _states() -> dict[str, str]:
    def listed(states: Iterable[str]) -> str:
        return " ".join(states).lower()

    return {"(all)": listed(STATES)} | {
        group: listed(state for state in STATES if state in states)
        for group, states in STATE_GROUPS.items()
    }


def _fields() -> dict[str, dict[str, str]]:
    """Return what the fields are, by the operators that go with them."""
    fields = {**TASK_FIELDS, **EVENT_FIELDS}
    found: dict[str, dict[str, str]] = {}
    for field in fields.values():
        rows = found.setdefault(" ".join(operators_of(field.kind)), {})
        rows[field.name] = _told(field)
    others = found[" ".join(operators_of(Kind.OTHER))]
    long, short = (f"{prefix}NAME" for prefix in PREFIXES)
    others[long] = f"any other field of an event; also {short}"
    return found


def _aliases() -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        found.setdefault(name, []).append(alias)
    return {name: ", ".join(aliases) for name, aliases in found.items()}


def _told(field: Field) -> str:
    where = "" if field.name in EVENT_FIELDS else " (tasks in evtop)"
    return f"{field.about}{where}"
