"""The evtop command: options in, TopOptions and ConnectionSettings out."""

from functools import partial
from typing import Any, Final

import click

from evtools.cli import params, recurring
from evtools.cli.command import ToolCommand
from evtools.cli.options import option, shared_options
from evtools.top.choices import OUTPUTS, THEMES, TIME_STYLES, VIEWS, WINDOWS

_HELP: Final = """\
Watch a Celery cluster live: its tasks, task types, workers, queues, events
and errors, and act on them.

\b
Examples:
  evtop -b redis://localhost:6379/0
  evtop --view errors --window 1h
  evtop 'state:failure name:proj.*'      failed tasks of proj; mind the quotes
  evtop -B --view types -o json          one look as text, for programs
  evtop --check worker=celery@web-1 --consuming mail --max-idle 5m

Press ? for the keys. FILTERs are joined by blanks; evtools help filter and
evfilter(7) describe them.
"""

_EPILOG: Final = (
    "Every option can be set in the environment (EVTOOLS_READ_ONLY=1,"
    " EVTOP_THEME=light) and in the settings file; --show-config tells what is"
    " in force. evtop(1), evfilter(7) and evtools.toml(5) tell more."
)


_PREFIX: Final = "EVTOP"
_own = partial(option, prefix=_PREFIX)


@click.command(
    "evtop",
    cls=ToolCommand,
    groups=(
        *("Common", "Screen", "Batch", "Check", "Recording"),
        *("Broker", "TLS", "Events", "Output", "Settings", "Other"),
    ),
    help=_HELP,
    epilog=_EPILOG,
)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@shared_options
@_own(
    *("--view",),
    group="Common",
    type=click.Choice(VIEWS),
    default="tasks",
    metavar="NAME",
    help="Begin with this view: tasks, types, workers, queues, events or errors.  [tasks]",
)
@_own(
    *("-F", "--filter"),
    group="Common",
    type=params.FILTER,
    help="Show what this filter matches, as a FILTER argument does.",
)
@_own(
    *("-d", "--delay"),
    group="Common",
    type=params.POSITIVE_DURATION,
    help="Draw the screen so often; with -B, listen so long; with --check, wait"
    " so long for a heartbeat.  [1s; 5s; 10s]",
)
@_own(
    *("--sort",),
    group="Common",
    metavar="COLUMN",
    help="Sort by this column; -COLUMN: the other way round.  [newest first]",
)
@_own(
    *("--window",),
    group="Common",
    type=click.Choice(WINDOWS),
    default="5m",
    metavar="SPAN",
    help="What rates and percentiles are of: 1m, 5m, 15m, 1h or all.  [5m]",
)
@_own(
    *("--columns",),
    group="Screen",
    metavar="LIST",
    help="Columns of the first view, with commas between them.  [what fits]",
)
@_own(
    *("--ts",),
    group="Screen",
    type=click.Choice(TIME_STYLES),
    default="age",
    metavar="STYLE",
    help="Times as age, local or utc.  [age]",
)
@_own(
    *("--theme",),
    group="Screen",
    type=click.Choice(THEMES),
    default="dark",
    metavar="NAME",
    help="Colours: dark, light, cb (for the colour-blind) or mono.  [dark]",
)
@_own(
    *("--ascii",),
    group="Screen",
    is_flag=True,
    help="Draw with ASCII characters only.  [if the locale names no UTF-8]",
)
@_own(
    *("--mouse",),
    group="Screen",
    is_flag=True,
    help="Take clicks and the wheel; the terminal then selects text with Shift.",
)
@recurring.max_tasks(prefix=_PREFIX, group="Screen")
@recurring.max_memory(prefix=_PREFIX, group="Screen")
@_own(
    *("--broker-stats",),
    group="Screen",
    is_flag=True,
    help="Ask the broker how long the queues are, too.",
)
@_own(
    *("-B", "--batch"),
    group="Batch",
    is_flag=True,
    in_file=False,
    help="Print the view as text, without a screen, and end.",
)
@_own(
    *("-n", "--iterations"),
    group="Batch",
    type=params.WHOLE,
    metavar="N",
    help="Print so often, every -d; 0: for ever.  [1]",
)
@_own(
    *("-o", "--output"),
    group="Batch",
    type=click.Choice(OUTPUTS),
    metavar="FORMAT",
    help="table, csv or json (one object per line).  [table]",
)
@recurring.json_output(prefix=_PREFIX, group="Batch")
@_own(
    *("--expect",),
    group="Batch",
    type=params.FILTER,
    help="End with status 1 unless a row matched this filter.",
)
@_own(
    *("--check",),
    group="Check",
    in_file=False,
    multiple=True,
    type=params.WORKER,
    help="Tell in one line, and by a status as Nagios has it, whether this"
    " worker is alive. Repeatable.",
)
@_own(
    *("--consuming",),
    group="Check",
    multiple=True,
    metavar="QUEUE",
    help="Critical unless the worker consumes this queue. Repeatable.",
)
@_own(
    *("--max-idle",),
    group="Check",
    type=params.POSITIVE_DURATION,
    help="Critical unless it processes a task within this time; we wait for it.",
)
@_own(
    *("-w", "--write"),
    group="Recording",
    metavar="FILE",
    help="Record the events into FILE while watching (.gz and .zst compress).",
)
@recurring.read(*("-r", "--read"), prefix=_PREFIX)
@_own(
    *("--speed",),
    group="Recording",
    type=params.SPEED,
    help="Replay -r at 1x, 10x, ... or max.  [1x; with -B: max]",
)
@recurring.since(prefix=_PREFIX)
@recurring.until(prefix=_PREFIX)
@_own(
    *("--log-file",),
    group="Other",
    metavar="FILE",
    help="Log into FILE, also what was done to the cluster and by whom."
    "  [~/.local/state/evtools/evtop.log]",
)
@recurring.demo(prefix=_PREFIX)
@click.pass_context
def evtop(ctx: click.Context, /, **_values: Any) -> int:
    """Watch a Celery cluster live."""
    from evtools.cli.beginning import begin  # noqa: PLC0415  (start-up time)
    from evtools.cli.topping import top_options  # noqa: PLC0415  (start-up time)
    from evtools.transport import check_transport  # noqa: PLC0415  (start-up time)

    _set_up_logs(ctx.params)
    settings = begin(ctx)
    if settings is None:
        return 0
    options = top_options(ctx)
    if not (options.read or options.demo):
        check_transport(settings)
    return _run(options, settings)


def _set_up_logs(values: dict[str, Any]) -> None:
    from evtools.cli import logs  # noqa: PLC0415  (start-up time)

    how = logs.wanted(values)
    on_screen = not (values["batch"] or values["check"] or values["show_config"])
    if values["log_file"] or on_screen:
        logs.set_up_file("evtop", values["log_file"], **how)
    else:
        logs.set_up("evtop", **how)


def _run(options: Any, settings: Any) -> int:
    """Run what was asked for; each is imported only when it is."""
    if options.check is not None:
        from evtools.top.check import run as check  # noqa: PLC0415  (ditto)

        return check(options, settings)
    if options.batch:
        from evtools.top.batch import run as batch  # noqa: PLC0415  (ditto)

        return batch(options, settings)
    from evtools.top.app import run  # noqa: PLC0415  (start-up time)

    status: int = run(options, settings)
    return status
