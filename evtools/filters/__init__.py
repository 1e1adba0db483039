"""The filter language, one for all tools; evfilter(7) describes it."""

from evtools.errors import FilterError
from evtools.filters.compile import (
    Filter,
    all_of,
    argument,
    argument_names,
    compile_filter,
    exclude,
)
from evtools.filters.fields import (
    EVENT_FIELDS,
    TASK_FIELDS,
    Field,
    FieldTable,
    Kind,
    due_in,
    running_since,
    task_fields,
)
from evtools.filters.grammar import quote, quote_pattern
from evtools.filters.help import caret, shell_trap

__all__ = [
    "EVENT_FIELDS", "TASK_FIELDS", "Field", "FieldTable", "Filter", "FilterError", "Kind",
    "all_of", "argument", "argument_names", "caret", "compile_filter", "due_in", "exclude",
    "quote", "quote_pattern", "running_since", "shell_trap", "task_fields",
]  # fmt: skip
