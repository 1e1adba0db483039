"""The evtop command: options in, TopOptions and ConnectionSettings out."""

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from evtools.cli import params
from evtools.cli.command import ToolCommand, sources_of
from evtools.cli.options import option, shared_options
from evtools.top.choices import OUTPUTS, THEMES, TIME_STYLES, VIEWS, WINDOWS

_HELP: Final = """\
Watch a Celery cluster live: its tasks, task types, workers, queues, events
and errors, and act on them.

\b
Examples:
  evtop -b redis://localhost:6379/0
  evtop --view errors --window 1h
  evtop 'state:failure name:proj.*'      slow or failed; mind the quotes
  evtop -B --view types -o json          one look as text, for programs
  evtop --check worker=celery@web-1 --consuming mail --max-idle 5m

Press ? for the keys. FILTERs are joined by blanks; evfilter(7) describes them.
"""

_EPILOG: Final = (
    "Every option can be set in the environment (EVTOOLS_READ_ONLY=1,"
    " EVTOP_THEME=light) and in the settings file; --show-config tells what is"
    " in force. evtop(1), evfilter(7) and evtools.toml(5) tell more."
)


def _own(*names: str, group: str, **attributes: Any) -> Callable[[Any], Any]:
    return option("EVTOP", *names, group=group, **attributes)


class TopCommand(ToolCommand):
    """evtop, with its own groups of options."""

    groups = (
        *("Common", "Screen", "Batch", "Check", "Recording"),
        *("Broker", "TLS", "Events", "Output", "Settings", "Other"),
    )


@click.command(
    "evtop",
    cls=TopCommand,
    help=_HELP,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@shared_options
@_own(
    *("--view",),
    group="Common",
    type=click.Choice(VIEWS),
    default="tasks",
    metavar="NAME",
    help="Begin with this view: tasks, types, workers, queues, events or errors."
    "  [tasks]",
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
    help="Draw with ASCII characters only.  [if the locale is not UTF-8]",
)
@_own(
    *("--mouse",),
    group="Screen",
    is_flag=True,
    help="Take clicks and the wheel; the terminal then selects text with Shift.",
)
@_own(
    *("--max-tasks",),
    group="Screen",
    type=params.COUNT,
    default=100_000,
    metavar="N",
    help="Remember so many tasks; finished ones are forgotten first.  [100000]",
)
@_own(
    *("--max-memory",),
    group="Screen",
    type=params.SIZE,
    default=256 * 1024 * 1024,
    help="Memory for tasks and workers; what exceeds it is forgotten.  [256M]",
)
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
@_own(
    *("--json", "json_output"),
    group="Batch",
    is_flag=True,
    in_file=False,
    envvar=(),
    help="The same as -o json.",
)
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
@_own(
    *("-r", "--read"),
    group="Recording",
    in_file=False,
    metavar="FILE",
    help="Replay a recording instead of watching a broker; -: stdin.",
)
@_own(
    *("--speed",),
    group="Recording",
    type=params.SPEED,
    help="Replay -r at 1x, 10x, ... or max.  [1x; with -B: max]",
)
@_own(
    *("-S", "--since"),
    group="Recording",
    in_file=False,
    type=params.MOMENT,
    help="Of -r, skip what is older: 10m, 14:30, 2026-11-20T14:00Z.",
)
@_own(
    *("-U", "--until"),
    group="Recording",
    in_file=False,
    type=params.MOMENT,
    help="Of -r, end at what is younger.",
)
@_own(
    *("--log-file",),
    group="Other",
    metavar="FILE",
    help="Log into FILE, also what was done to the cluster and by whom."
    "  [~/.local/state/evtools/evtop.log]",
)
@_own(
    *("--demo",),
    group="Other",
    is_flag=True,
    in_file=False,
    help="Show a simulated cluster; no broker is needed.",
)
@click.pass_context
def evtop(ctx: click.Context, /, **_values: Any) -> int:
    """Watch a Celery cluster live."""
    from evtools.cli.connecting import connection_settings  # noqa: PLC0415  (ditto)
    from evtools.cli.title import hide_secrets  # noqa: PLC0415  (start-up time)
    from evtools.cli.topping import top_options  # noqa: PLC0415  (start-up time)
    from evtools.transport import check_transport  # noqa: PLC0415  (start-up time)

    log = _set_up(ctx)
    settings = connection_settings(ctx)
    hide_secrets(sys.argv, settings.urls)
    if ctx.params["show_config"]:
        from evtools.cli.show import show_config  # noqa: PLC0415  (start-up time)

        click.echo(show_config(ctx, settings))
        return 0
    options = top_options(ctx)
    if not (options.read or options.demo):
        check_transport(settings)
    if "pickle" in settings.accept:
        log.warning("pickled events are decoded, as far as they are harmless")
    return _run(options, settings)


def _set_up(ctx: click.Context) -> Any:
    import logging  # noqa: PLC0415  (start-up time)

    from evtools.cli import logs  # noqa: PLC0415  (start-up time)

    values = ctx.params
    how = {
        "verbosity": values["verbose"],
        "quiet": values["quiet"],
        "debug": values["debug"],
    }
    on_screen = not (values["batch"] or values["check"] or values["show_config"])
    if values["log_file"] or on_screen:
        logs.set_up_file("evtop", values["log_file"], **how)
    else:
        logs.set_up("evtop", **how)
    log = logging.getLogger(__name__)
    for warning in sources_of(ctx).warnings:
        log.warning(warning)
    return log


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
