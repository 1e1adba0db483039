"""Statements in SQL, made from tables."""

from collections.abc import Iterator, Mapping, Sequence

from evtools.cam.ledger.packing import needed
from evtools.cam.ledger.store import Expired
from evtools.cam.ledger.tables import TABLES, Kind, Table


def quote(name: str) -> str:
    """Return a name as SQL has it."""
    return f'"{name}"'


def listed(names: Sequence[str]) -> str:
    """Return names as SQL has a list of them."""
    return ", ".join(map(quote, names))


class Dialect:
    """How one database says it: its types, and its sign for a parameter.

    `schema` is where the tables are, "" where there are no schemas.
    `locked` is what keeps rows that others hold out of a selection.
    """

    def __init__(
        self, types: Mapping[Kind, str], parameter: str, *, schema: str = "", locked: str = ""
    ) -> None:
        self._types = types
        self._parameter = parameter
        self._schema = schema
        self._locked = locked

    def place(self, table: Table) -> str:
        """Return a table's name, with its schema."""
        prefix = f"{quote(self._schema)}." if self._schema else ""
        return prefix + quote(table.name)

    def creation(self) -> Iterator[str]:
        """Yield what makes all tables and indexes."""
        for table in TABLES:
            columns = [
                f"{quote(name)} {self._types[kind]}" + (" NOT NULL" if name in table.key else "")
                for name, kind in table.columns.items()
            ]
            columns.append(f"PRIMARY KEY ({listed(table.key)})")
            columns += [
                f"FOREIGN KEY ({listed(owner.key)}) REFERENCES {self.place(owner)} "
                "ON DELETE CASCADE"
                for owner in TABLES
                if owner.name == table.owner
            ]
            yield f"CREATE TABLE {self.place(table)} ({', '.join(columns)})"
            for index in table.indexes:
                name = quote("_".join((table.name, *index)))
                yield f"CREATE INDEX {name} ON {self.place(table)} ({listed(index)})"

    def selection(self, table: Table, condition: str, also: str = "") -> str:
        """Return what selects the keys of rows and what was heard of them.

        `also` is selected after that.
        """
        columns = listed(needed(table)) + (f", {also}" if also else "")
        return f"SELECT {columns} FROM {self.place(table)} {condition}"  # noqa: S608

    def replacement(self, table: Table, source: str) -> str:
        """Return what writes the rows of `source`, over those with their keys.

        The source is VALUES or SELECT.
        """
        new = ", ".join(
            f"{quote(name)} = excluded.{quote(name)}"
            for name in table.columns
            if name not in table.key
        )
        return (
            f"INSERT INTO {self.place(table)} "
            f"({listed(list(table.columns))}) {source} "
            f"ON CONFLICT ({listed(table.key)}) DO UPDATE SET {new}"
        )

    def expiry(self, expired: Expired) -> str:
        """Return what removes old rows; parameters are the moment and the limit."""
        table, column = expired.table, quote(expired.column)
        keys, place = listed(table.key), self.place(expired.table)
        condition = f"{column} < {self._parameter}"
        if expired.successes_only:
            condition += """ AND "state" = 'SUCCESS'"""
        old = (
            f"SELECT {keys} FROM {place} WHERE {condition} "  # noqa: S608  (our names)
            f"ORDER BY {column} LIMIT {self._parameter}{self._locked}"
        )
        return f"DELETE FROM {place} WHERE ({keys}) IN ({old})"  # noqa: S608

    def boundary(self, table: Table, column: str) -> str:
        """Return what selects a row by its number, the greatest `column` first."""
        return (
            f"SELECT {quote(column)} FROM {self.place(table)} "  # noqa: S608
            f"ORDER BY {quote(column)} DESC LIMIT 1 OFFSET {self._parameter}"
        )
