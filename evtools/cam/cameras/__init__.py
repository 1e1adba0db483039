"""The cameras that come with evcam: one module each, which do not know each other."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class BuiltIn(NamedTuple):
    """A camera that `-c NAME` or `-c NAME:VALUE` means.

    `where` is its class.  `value` is the option that VALUE stands for.  An
    option that is a path may be followed by others: `NAME:FILE?keep=30d&...`.
    """

    where: str
    what: str
    value: str
    #: Whether options may follow after a question mark.
    has_query: bool = True


#: By name.
BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "sqlite": BuiltIn(
        "evtools.cam.cameras.sqlite:SQLite",
        "tasks, attempts and workers as tables in a file",
        "path",
    ),
    "postgres": BuiltIn(
        "evtools.cam.cameras.postgres:Postgres",
        "the same tables in PostgreSQL, which several evcams may share",
        "url",
        # It has a query of its own.
        has_query=False,
    ),
    "jsonl": BuiltIn(
        "evtools.cam.cameras.jsonl:JSONL", "one snapshot a line, in files that are rotated", "path"
    ),
    "prometheus": BuiltIn(
        "evtools.cam.prometheus:Prometheus",
        "counters, gauges and histograms, over HTTP or for node_exporter",
        "path",
    ),
}
