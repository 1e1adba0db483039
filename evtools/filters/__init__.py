"""The filter language, one for all tools; evfilter(7) describes it."""

from evtools.errors import FilterError
from evtools.filters.explain import caret, shell_trap
from evtools.filters.fields import EVENT_FIELDS, Field, FieldTable, Kind
from evtools.filters.filter import Filter, all_of, compile_filter, exclude
from evtools.filters.regexes import check_time
from evtools.filters.task_fields import TASK_FIELDS, running_since, task_fields
from evtools.filters.tokens import quote, quote_pattern

__all__ = [
    "EVENT_FIELDS",
    "TASK_FIELDS",
    "Field",
    "FieldTable",
    "Filter",
    "FilterError",
    "Kind",
    "all_of",
    "caret",
    "check_time",
    "compile_filter",
    "exclude",
    "quote",
    "quote_pattern",
    "running_since",
    "shell_trap",
    "task_fields",
]
