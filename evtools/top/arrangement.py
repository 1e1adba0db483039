"""A table as the options want it: filtered, sorted, with the columns asked for."""

from evtools.errors import UsageError
from evtools.top.options import TopOptions
from evtools.top.table import TableModel


def arrange(table: TableModel, options: TopOptions) -> None:
    """Filter and sort `table` and choose its columns.

    Raise FilterError for a filter that cannot be read, and UsageError for a
    column that the table does not have.
    """
    if options.filter:
        table.set_filter(options.filter)
    if options.sort:
        name = options.sort.removeprefix("-")
        _require(table, name, "--sort")
        table.sort_by(name)
        if options.sort != name:
            table.invert()
    for name in options.columns:
        _require(table, name, "--columns")
    if options.columns:
        table.choose_columns(options.columns)


def _require(table: TableModel, name: str, flag: str) -> None:
    names = [column.name for column in table.columns]
    if name not in names:
        raise UsageError(
            f"{flag}: the view {table.name} has no column {name!r}", f"it has {', '.join(names)}"
        )
