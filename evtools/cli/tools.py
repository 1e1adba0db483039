"""The tools of evtools and the topics of its help: names, purpose, where they are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import click


class Tool(NamedTuple):
    """A tool: how users call it, `module:attribute` of its command, its purpose."""

    program: str
    command: str
    purpose: str


#: For every command; Celery's has no -h.
CONTEXT: Final = {"help_option_names": ["-h", "--help"]}

# fmt: off
TOOLS: Final = {
    "top": Tool("evtop", "evtools.cli.top:evtop", "live view of the cluster, full screen"),
    "cam": Tool("evcam", "evtools.cli.cam:evcam", "periodic snapshots of the cluster's state"),
    "dump": Tool("evdump", "evtools.cli.dump:evdump", "every event, for people or as JSON Lines"),
    "diff": Tool("evtools diff", "evtools.cli.diff:evdiff",
                 "did tasks get slower, or fail more, between two recordings?"),
    "doctor": Tool("evtools doctor", "evtools.cli.doctor:evdoctor", "diagnose missing events"),
    "report": Tool("evtools report", "evtools.cli.report:evreport",
                   "one HTML page about recordings"),
    "config": Tool("evtools config", "evtools.cli.config_command:evconfig",
                   "show effective settings, or write a first settings file"),
    "completion": Tool("evtools completion", "evtools.cli.completion:completion",
                       "shell completion scripts"),
    "selftest": Tool("evtools selftest", "evtools.cli.selftest:selftest",
                     "check this installation"),
}
TOPICS: Final = {
    "filter": "the filter language, on one page",
    "keys": "the keys of evtop",
}
# fmt: on


def command(name: str) -> "click.Command":
    """Return the click command of a tool; it is imported only now."""
    module, _, attribute = TOOLS[name].command.partition(":")
    found: Any = getattr(import_module(module), attribute)
    return found  # type: ignore[no-any-return]


def family(program: str) -> str:
    """Return the program that a tool belongs to: evtools, for evtools doctor."""
    return program.partition(" ")[0]
