"""The filter language on one page, made from its own tables, and mistakes in filters, shown."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Final

from evtools.errors import FilterError
from evtools.filters.compile import operators_of
from evtools.filters.fields import (
    ALIASES,
    DUE,
    EVENT_FIELDS,
    PREFIXES,
    STATE_GROUPS,
    STATES,
    TASK_FIELDS,
    Kind,
)
from evtools.text import sanitize, width

#: A filter, and its meaning.
EXAMPLES: Final[Mapping[str, str]] = {
    "charge eur": "contains both words; AND between them is optional",
    "invoice OR receipt": "contains either",
    "state:bad -name:proj.beat.*": "the first holds and the second does not; - is NOT",
    "(email OR report) urgent": "parentheses group",
    "state:failure,retry runtime>2": "one of several values; a comparison",
    "runtime:500ms..2s": "a range; 2.. and ..2 are open",
    "received>14:30": "a time of day; or 2026-11-20T14:00Z",
    "kwargs:currency=eur": "the argument has this value",
    'exc:"connection refused"': "literal text",
    "has:parent": "the field is there",
    "failed /refused|timeout/": "a state as a word; a regular expression",
}
#: The syntax of other tools that is understood.
DIALECTS: Final[Mapping[str, str]] = {
    'state == "FAILURE" && runtime > 5': "and or not, && || !, in any case",
    "state in (FAILURE, RETRY)": "SQL: in, not in, like 'x%', is, is null, between",
    '{state="FAILURE", name=~"tasks.*"}': "PromQL; =~ is not anchored",
    'select(.kwargs.user == "42")': "jq, without pipes and functions",
    "state:(FAILURE OR RETRY) runtime:[1 TO 5]": "Lucene; _exists_:name is has:name",
}
#: What the operators test.
MEANINGS: Final[Mapping[str, str]] = {
    ":": "contains (ids: starts with; numbers: equals; with * or ?: whole value matches)",
    "=": "equals exactly",
    "!=": "is known, and does not equal",
    "~": "matches this regular expression somewhere",
    "!~": "is known, and does not match it",
    ">": "is greater than",
    ">=": "is at least",
    "<": "is less than",
    "<=": "is at most",
}
_COLS: Final = 78
_HEAD: Final = """\
A filter is a list of terms, all of which must match: words to find, or a
field, an operator and a value. Quote it in the shell.
"""


def page() -> str:
    """Return the page: lines of at most 80 columns."""
    states = {"(all)": STATES, **STATE_GROUPS}
    sections: dict[str, Mapping[str, str]] = {
        "Examples": EXAMPLES,
        "Syntax of other tools": DIALECTS,
        "Operators": MEANINGS,
        "States and groups of them": {
            group: " ".join(state.lower() for state in STATES if state in members)
            for group, members in states.items()
        }
        | {DUE: "received, and its ETA has not come (tasks in evtop)"},
    }
    fields: dict[str, dict[str, str]] = {}
    for field in {**TASK_FIELDS, **EVENT_FIELDS}.values():
        rows = fields.setdefault(f"Fields that take {' '.join(operators_of(field.kind))}", {})
        rows[field.name] = field.about + ("" if field.name in EVENT_FIELDS else " (tasks in evtop)")
        if field.kind is Kind.OTHER:
            long, short = (f"{prefix}NAME" for prefix in PREFIXES)
            rows[long] = f"any other field of an event; also {short}"
    aliases: dict[str, str] = {}
    for alias, name in ALIASES.items():
        aliases[name] = f"{aliases[name]}, {alias}" if name in aliases else alias
    lines = [_HEAD]
    for title, section in {**sections, **fields, "Other names of fields": aliases}.items():
        cols = max(map(len, section))
        lines.append(title.upper())
        for left, right in section.items():
            first, *more = wrap(right, _COLS - cols - 4)
            lines.append(f"  {left:<{cols}}  {first}")
            lines += [f"  {'':<{cols}}  {line}" for line in more]
        lines.append("")
    return "\n".join((*lines, "See evfilter(7) for more."))


#: The number of characters of a long filter that are shown on either side of a mistake.
_CONTEXT_CHARS: Final = 36


def caret(error: FilterError) -> str:
    """Return the filter, or the part around the mistake, and below it carets: two lines.

    Both are indented by two blanks and safe for a terminal.
    """
    text, start, end = error.text, error.position, error.position + error.length
    before, wrong, after = text[:start], text[start:end], text[end:]
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
    if ">" not in operators_of(field.kind):
        advice = f"quote the filter; to search for the word itself write any:{field.name}"
    else:
        example = "14:30" if field.kind is Kind.TIME else "2"
        name = field.name
        advice = f"quote the filter, '{name}>{example}', or write {name}:{example}.."
    return f'did the shell take your ">"? {advice}'
