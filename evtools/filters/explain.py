"""What to tell people whose filter went wrong."""

from typing import Final

from evtools.errors import FilterError
from evtools.filters.fields import EVENT_FIELDS, FieldTable, Kind
from evtools.text import sanitize, width

_INDENT: Final = "  "
#: How much of a long filter is shown on either side of the mistake.
_CONTEXT_CHARS: Final = 36
_ELLIPSIS: Final = ".."
_TEXTUAL: Final = (Kind.TEXT, Kind.EXCEPTION, Kind.ID, Kind.STATE, Kind.PAIRS, Kind.TEXTS, Kind.IDS)


def caret(error: FilterError) -> str:
    """Return the filter and, below it, carets under the mistake: two lines.

    Both are indented by two blanks and fit for a terminal.  A long filter is
    shown around the mistake only.
    """
    end = error.position + error.length
    before = error.text[: error.position]
    wrong = error.text[error.position : end]
    after = error.text[end:]
    if len(before) > _CONTEXT_CHARS:
        before = _ELLIPSIS + before[-_CONTEXT_CHARS:]
    if len(wrong) > _CONTEXT_CHARS:
        wrong, after = wrong[:_CONTEXT_CHARS] + _ELLIPSIS, ""
    if len(after) > _CONTEXT_CHARS:
        after = after[:_CONTEXT_CHARS] + _ELLIPSIS
    before, wrong, after = sanitize(before), sanitize(wrong), sanitize(after)
    carets = " " * width(before) + "^" * max(1, width(wrong))
    return f"{_INDENT}{before}{wrong}{after}\n{_INDENT}{carets}"


def shell_trap(
    argument: str, *, stdout_is_file: bool, fields: FieldTable = EVENT_FIELDS
) -> str | None:
    """Return a warning if the shell may have taken the filter's `>`.

    `evdump runtime>2` runs `evdump runtime` and writes a file called `2`: the
    argument is then a bare field name and stdout a regular file.
    """
    field = fields.get(argument.strip().lower())
    if field is None or not stdout_is_file:
        return None
    if field.kind in _TEXTUAL or field.kind is Kind.PRESENCE:
        return (
            f'did the shell take your ">"? quote the filter; '
            f"to search for the word itself write any:{field.name}"
        )
    example = "14:30" if field.kind is Kind.TIME else "2"
    return (
        f"did the shell take your \">\"? quote the filter, '{field.name}>{example}', "
        f"or write {field.name}:{example}.."
    )
