"""evtools report: its options, from the command line to ReportOptions."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import command, types
from evtools.cli.options import Option, build, complete, selection, span
from evtools.errors import UsageError

if TYPE_CHECKING:
    from evtools.report.app import ReportOptions

_HELP: Final = """\
Write one HTML page about recordings, for people who were not there: throughput
and failures over time, latencies, the slowest task types and tasks, failures in
groups with a traceback, workers, queues and gaps.

\b
Examples:
  evtools report day.json.gz -o report.html
  evtools report 'rec-*.jsonl' -S 14:30 -U 15:00 -o incident.html
  evtools report --filter 'name:shop.*' day.json.gz | gzip > shop.html.gz

FILEs are recordings of evdump -w or evtop -w, patterns for several, or - for
stdin; sqlite:FILE and postgres:URL are databases of evcam. The page loads nothing
from a network, and needs no JavaScript.
"""
_EPILOG: Final = (
    "The settings file and the environment count for --redact and the like. See also"
    " evtools(1), evdump(1) and evfilter(7)."
)
_GROUPS: Final = ("Common", "Selection", "Output", "Settings", "Other")
_TOP_MAX: Final = 1000
# About one page, and not all of them.
_option: Final = partial(Option, envvar=(), in_file=False)

# fmt: off
_OPTIONS: Final = (
    _option("Common", "-o --output FILE", "Write the page to FILE, which is replaced if it is"
            " there; - for stdout.", shown="stdout, if that is no terminal"),
    _option("Common", "--title TEXT", "Title of the page.", shown="the name of the recording"),
    *span("Common", "", _option),
    _option("Selection", "--filter", "Count only events that match; see evfilter(7). Repeatable.",
            types.FILTER, multiple=True),
    *selection("Selection", _option),
    _option("Output", "--top N", "Rows of a table; how many more there are is said.",
            click.IntRange(1, _TOP_MAX), default=30),
)
# fmt: on


def run(ctx: click.Context) -> int:
    from evtools.cli import logs

    logs.set_up("evtools report", ctx.params)
    command.setup(ctx, level="info")
    options = build_options(ctx.params)
    from evtools.report import app

    return app.run(options)


def build_options(values: Mapping[str, Any]) -> "ReportOptions":
    """Return the ReportOptions of a parsed command line.

    Raise UsageError where there is no recording, or no place for the page.
    """
    from evtools.report.app import ReportOptions

    if not values["files"]:
        raise UsageError("no recording is named", "as in: evtools report day.jsonl -o report.html")
    output = values["output"]
    if not output and sys.stdout.isatty():
        raise UsageError("the page needs a file", "add -o report.html")
    command.check_span(values)
    texts = (*values["filter"], command.file_filter(values["filter_file"]))
    return build(
        ReportOptions,
        values,
        output=output or "-",
        filters=tuple(text for text in texts if text.strip()),
        excludes=values["exclude"],
        zone=types.LocalZone(),
        colour_stderr=command.wants_colour(values["color"], sys.stderr),
    )


_FILES: Final = click.Argument(
    ["files"], nargs=-1, type=types.RECORDING, metavar="FILE...", shell_complete=complete
)
evreport: Final = command.ToolCommand(
    "evreport", run, [_FILES, *_OPTIONS], groups=_GROUPS, help=_HELP, epilog=_EPILOG
)
