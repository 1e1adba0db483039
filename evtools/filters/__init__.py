"""The filter language, one for all tools; evfilter(7) describes it."""

from evtools.errors import FilterError
from evtools.filters.explain import caret, shell_trap
from evtools.filters.fields import EVENT_FIELDS, Field, FieldTable, Kind
from evtools.filters.filter import Filter, all_of, compile_filter, exclude
from evtools.filters.tokens import quote

__all__ = [
    "EVENT_FIELDS",
    "Field",
    "FieldTable",
    "Filter",
    "FilterError",
    "Kind",
    "all_of",
    "caret",
    "compile_filter",
    "exclude",
    "quote",
    "shell_trap",
]
