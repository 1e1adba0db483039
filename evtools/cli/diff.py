"""evtools diff: its options, from the command line to DiffOptions."""

from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from evtools.cli import types
from evtools.cli.options import FLAG, Option, build
from evtools.cli.tools import CONTEXT
from evtools.errors import UsageError

_HELP: Final = """\
Compare two recordings of evdump -w: which types of tasks run slower, fail more or are
retried more in AFTER than in BEFORE, beyond what is chance?

\b
Examples:
  evtools diff monday.jsonl.gz tuesday.jsonl.gz
  evtools diff 'before-*.jsonl.zst' 'after-*.jsonl.zst'
  evtools diff --at 14:30 day.jsonl.gz        one recording, before and after a deploy
  evtools diff -S 9:00 -U 10:00 monday.jsonl.gz tuesday.jsonl.gz
  evtools diff old.jsonl new.jsonl --only worse && deploy

Each is a file, a quoted pattern of several, - for stdin, or sqlite:FILE or postgres:URL
that evcam wrote.
"""
_EPILOG: Final = (
    "The exit status is 0 if nothing is worse, 1 if something is, 2 for what cannot be read or"
    " compared. See also evtools(1), which says what is compared, how, and what can be found."
)


def _files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    return [CompletionItem(incomplete, type="file")]


_RECORDINGS: Final = click.Argument(
    ["recordings"], nargs=-1, type=types.RECORDING, metavar="BEFORE AFTER", shell_complete=_files
)
# fmt: off
_OPTIONS: Final = (
    Option("Common", "-o --output FORMAT", "CHOICES.", ("text", "json", "csv"),
           default="text"),
    Option("Common", "--json json_output", "Same as -o json.", FLAG),
    Option("Common", "--at", "Compare what one recording has before and after this time: 14:30 (of"
           " the recording), 10m (ago), 2026-11-20T14:00Z.", types.TIMESTAMP),
    Option("Common", "-S --since", "Leave out what was received before this time, of the day of"
           " each recording.", types.TIMESTAMP),
    Option("Common", "-U --until", "Leave out what was received after this time.",
           types.TIMESTAMP),
    Option("Common", "--filter", "Compare only tasks whose events match; see evfilter(7)."
           " Repeatable.", types.FILTER, multiple=True),
    Option("Common", "--confidence", "How sure to be of what is reported.", types.CONFIDENCE,
           default="95%"),
    Option("Common", "--min-change", "Do not report smaller changes, as a share of what was"
           " before.", types.PERCENT, default="5%"),
    Option("Common", "--only", "List only types that are CHOICES.",
           ("worse", "better", "changed"), shown="all"),
    Option("Common", "-q --quiet", "Print warnings only, beside the comparison.", FLAG),
    Option("Common", "--debug", "Show tracebacks.", FLAG),
)
# fmt: on


def run(**values: Any) -> int:
    recordings = values["recordings"]
    if values["at"] is None and len(recordings) != 2:  # noqa: PLR2004
        problem = f"two recordings are compared, not {len(recordings)}"
        hint = (
            "quote patterns: evtools diff 'before-*.jsonl' 'after-*.jsonl';\n"
            "or cut one recording in two: --at TIME"
        )
        raise UsageError(problem, hint)
    if not recordings:
        raise UsageError("--at cuts a recording in two, but there is none", "give a FILE")
    from evtools import diff

    options = build(
        diff.DiffOptions,
        values,
        filters=values["filter"],
        output="json" if values["json_output"] else values["output"],
        zone=types.LocalZone(),
    )
    return diff.run(options)


evdiff: Final = click.Command(
    "evdiff", dict(CONTEXT), run, [_RECORDINGS, *_OPTIONS], help=_HELP, epilog=_EPILOG
)
