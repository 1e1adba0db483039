"""The evdump command: options in, DumpOptions and ConnectionSettings out."""

from functools import partial
from typing import Any, Final

import click

from evtools.cli import params, recurring
from evtools.cli.command import ToolCommand
from evtools.cli.options import option, shared_options
from evtools.dump.choices import OUTPUTS, TIMESTAMPS

_HELP: Final = """\
Print the events of a Celery cluster as they happen: for people on a terminal,
as JSON Lines into a pipe or a file.

\b
Examples:
  evdump -b redis://localhost:6379/0
  evdump 'state:failure runtime>2'       slow failures; mind the quotes
  evdump 'type:task-*' | jq -r .name     JSON in a pipe
  evdump -w day.json.gz                  record, and later:
  evdump -r day.json.gz -S 14:30 worker:celery@web-1

FILTERs are joined by blanks; evtools help filter and evfilter(7) describe them.
"""

_EPILOG: Final = (
    "Every option can be set in the environment (EVTOOLS_HEARTBEAT=30s,"
    " EVDUMP_OUTPUT=json) and in the settings file; --show-config tells what is"
    " in force. evdump(1), evfilter(7) and evtools.toml(5) tell more."
)


_PREFIX: Final = "EVDUMP"
_own = partial(option, prefix=_PREFIX)


@click.command(
    "evdump",
    cls=ToolCommand,
    groups=(
        *("Common", "Selection", "Output", "Recording"),
        *("Broker", "TLS", "Events", "Settings", "Other"),
    ),
    help=_HELP,
    epilog=_EPILOG,
)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@shared_options
@_own(
    *("-o", "--output"),
    group="Common",
    type=click.Choice(OUTPUTS),
    metavar="FORMAT",
    help="text, json, pretty, logfmt, csv, raw or template.  [text on a terminal, json otherwise]",
)
@_own(
    *("-c", "--count"), group="Common", type=params.COUNT, metavar="N", help="End after N events."
)
@_own(
    *("-w", "--write"),
    group="Common",
    metavar="FILE",
    help="Record into FILE (.gz and .zst compress; strftime's % sequences"
    " are filled in) and print nothing; -: stdout.",
)
@recurring.read(*("-r", "--read"), prefix=_PREFIX, group="Common")
@_own(
    *("-x", "--exclude"),
    group="Selection",
    multiple=True,
    type=params.FILTER,
    help="Leave out what this filter matches. Repeatable.",
)
@_own(
    *("-F", "--filter-file"),
    group="Selection",
    type=params.FILTER_FILE,
    metavar="FILE",
    help="Take a filter from FILE; lines that begin with # are comments.",
)
@_own(
    *("--heartbeats/--no-heartbeats",),
    group="Selection",
    default=True,
    help="Show the heartbeats of workers, or leave them out.  [heartbeats]",
)
@_own(
    *("--timeout",),
    group="Selection",
    type=params.POSITIVE_DURATION,
    help="End after this time; with -c not yet reached, with status 124.",
)
@_own(
    *("--idle",),
    group="Selection",
    type=params.POSITIVE_DURATION,
    help="End when nothing has come for this time.",
)
@_own(
    *("--expect",),
    group="Selection",
    type=params.FILTER,
    help="End with status 1 unless an event matched this filter.",
)
@recurring.json_output(prefix=_PREFIX)
@_own(
    *("--template",),
    group="Output",
    metavar="TEXT",
    help="One line for an event, such as '{ts} {type} {name}[{uuid:8}]'.",
)
@_own(
    *("-T", "--template-file"),
    group="Output",
    type=params.TEXT_FILE,
    metavar="FILE",
    help="Take the template from FILE.",
)
@_own(
    *("--ts",),
    group="Output",
    type=click.Choice(TIMESTAMPS),
    metavar="STYLE",
    help="Times in text: local, utc, iso, epoch, delta (since the event"
    " before), start (since the first) or none.  [local]",
)
@_own(
    *("-t", "ts_count"),
    group="Output",
    count=True,
    in_file=False,
    envvar=(),
    help="As in tcpdump: -t none, -tt epoch, -ttt delta, -tttt iso, -ttttt start.",
)
@_own(
    *("--full",),
    group="Output",
    is_flag=True,
    help="Do not shorten arguments, results and tracebacks.",
)
@_own(
    *("-H", "--highlight"),
    group="Output",
    type=params.REGEX,
    help="Make what this regular expression matches stand out.",
)
@_own(
    *("-l", "--line-buffered"),
    group="Output",
    is_flag=True,
    help="Write each event at once, into a file, too.",
)
@_own(
    *("--stats",),
    group="Output",
    type=click.Choice(["text", "json"]),
    default="text",
    metavar="FORMAT",
    help="The summary at the end, on stderr: text or json.  [text]",
)
@_own(
    *("--print",),
    group="Recording",
    is_flag=True,
    help="Print the events, too, while -w records them.",
)
@_own(
    *("--rotate-size",),
    group="Recording",
    type=params.SIZE,
    help="Begin a new file when this one is so large.",
)
@_own(
    *("--rotate-every",),
    group="Recording",
    type=params.POSITIVE_DURATION,
    help="Begin a new file when this one is so old.",
)
@_own(
    *("--rotate-keep",),
    group="Recording",
    type=params.COUNT,
    metavar="N",
    help="Keep the N newest files, delete older ones.",
)
@_own(
    *("--speed",),
    group="Recording",
    type=params.SPEED,
    help="Replay -r at 1x, 10x, ... or max.  [max]",
)
@recurring.since(prefix=_PREFIX)
@recurring.until(prefix=_PREFIX)
@recurring.demo(prefix=_PREFIX)
@click.pass_context
def evdump(ctx: click.Context, /, **_values: Any) -> int:
    """Print the events of a Celery cluster as they happen."""
    from evtools.cli import logs  # noqa: PLC0415  (start-up time)
    from evtools.cli.beginning import begin  # noqa: PLC0415  (start-up time)
    from evtools.cli.dumping import dump_options  # noqa: PLC0415  (start-up time)
    from evtools.transport import check_transport  # noqa: PLC0415  (start-up time)

    logs.set_up("evdump", **logs.wanted(ctx.params))
    settings = begin(ctx)
    if settings is None:
        return 0
    options = dump_options(ctx)
    if not (options.read or options.demo):
        check_transport(settings)
    from evtools.dump.app import run  # noqa: PLC0415  (start-up time)

    status: int = run(options, settings)
    return status
