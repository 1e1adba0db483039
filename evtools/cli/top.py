"""evtop: its options, from the command line to TopOptions."""

import os
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import types
from evtools.cli.command import (
    SHARED,
    ToolCommand,
    build,
    check_conflicts,
    filter_of,
    plugin,
    setup,
    wants_colour,
)
from evtools.cli.options import (
    FILTERS,
    FLAG,
    Option,
    demo_option,
    is_typed,
    json_option,
    memory_options,
    recording_options,
)
from evtools.errors import UsageError
from evtools.top.options import OUTPUTS, THEMES, TIME_STYLES, VIEWS, WINDOWS

if TYPE_CHECKING:
    from evtools.top.options import Check, TopOptions

_HELP: Final = """\
Watch a Celery cluster live: its tasks, task types, workers, queues, events
and errors, and act on them.

\b
Examples:
  evtop -b redis://localhost:6379/0
  evtop --view errors --window 1h
  evtop 'state:failure name:proj.*'      failed tasks of proj; mind the quotes
  evtop -B --view types -o json          one snapshot as text, for programs
  evtop --check worker=celery@web-1 --consuming mail --max-idle 5m

Press ? for the keys. Several FILTERs are joined by blanks; see evtools help
filter and evfilter(7).
"""
_EPILOG: Final = (
    "Every option can be set in the environment (EVTOOLS_READ_ONLY=1,"
    " EVTOP_THEME=light) and in the settings file; --show-config prints the"
    " effective settings. See also evtop(1), evfilter(7) and evtools.toml(5)."
)
_GROUPS: Final = (
    "Common", "Screen", "Batch", "Check", "Recording",
    "Broker", "TLS", "Events", "Output", "Settings", "Other",
)  # fmt: skip
_PREFIX: Final = "EVTOP"
_opt = partial(Option, prefix=_PREFIX)

# fmt: off
_OPTIONS: Final = (
    _opt("Common", "--view", VIEWS, default="tasks", metavar="NAME", help="First view: CHOICES."),
    _opt("Common", "-F --filter", types.FILTER,
         help="Show only what matches this filter, like a FILTER argument."),
    _opt("Common", "-d --delay", types.POSITIVE_DURATION, shown="1s; 5s; 10s",
         help="Refresh interval; with -B, collection time; with --check, how long to wait for a"
              " heartbeat."),
    _opt("Common", "--sort", metavar="COLUMN", shown="newest first",
         help="Sort by this column; -COLUMN reverses the order."),
    _opt("Common", "--window", WINDOWS, default="5m", metavar="SPAN",
         help="Time window for rates and percentiles: CHOICES."),
    _opt("Screen", "--columns", metavar="LIST", shown="as many as fit",
         help="Columns of the first view, separated by commas."),
    _opt("Screen", "--ts", TIME_STYLES, default="age", metavar="STYLE", help="Times as CHOICES."),
    _opt("Screen", "--theme", THEMES, default="dark", metavar="NAME",
         help="Colours: dark, light, cb (for the colour-blind) or mono."),
    _opt("Screen", "--ascii", FLAG, shown="if the locale is not UTF-8",
         help="Use ASCII characters only."),
    _opt("Screen", "--mouse", FLAG,
         help="Handle clicks and the wheel; the terminal then selects text with Shift."),
    *memory_options(_PREFIX, "Screen"),
    _opt("Screen", "--broker-stats", FLAG, help="Also ask the broker for the length of queues."),
    _opt("Batch", "-B --batch", FLAG, in_file=False,
         help="Print the view as text, without a screen, and exit."),
    _opt("Batch", "-n --iterations", types.WHOLE, metavar="N", shown="1",
         help="Number of iterations, one every -d; 0 = unlimited."),
    _opt("Batch", "-o --output", OUTPUTS, metavar="FORMAT", shown="table",
         help="table, csv or json (one object per line)."),
    json_option(_PREFIX, "Batch"),
    _opt("Batch", "--expect", types.FILTER,
         help="Exit with status 1 unless a row matches this filter."),
    _opt("Check", "--check", types.WORKER, in_file=False, multiple=True, metavar="worker=NAME",
         help="Report in one line, and by a Nagios exit status, whether this worker is alive."
              " Repeatable."),
    _opt("Check", "--consuming", multiple=True, metavar="QUEUE",
         help="Critical unless the worker consumes this queue. Repeatable."),
    _opt("Check", "--max-idle", types.POSITIVE_DURATION,
         help="Critical unless it processes a task within this time."),
    _opt("Recording", "-w --write", metavar="FILE",
         help="Record the events to FILE while watching (.gz and .zst compress)."),
    *recording_options(_PREFIX, speed="1x; with -B: max"),
    _opt("Other", "--log-file", metavar="FILE", shown="~/.local/state/evtools/evtop.log",
         help="Log to FILE, including every action on the cluster and who took it."),
    demo_option(_PREFIX),
)
# fmt: on

#: Options that require another one.
_NEEDS: Final = {
    "batch": ("iterations", "output", "json_output", "expect"),
    "check": ("consuming", "max_idle"),
    "read": ("speed", "since", "until"),
}
_EXCLUSIVE: Final = (
    ("read", "demo"),
    ("read", "check"),
    ("batch", "check"),
    ("read", "broker_stats"),
    ("read", "write"),
    ("check", "write"),
)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h)?", re.ASCII)


@click.command(
    "evtop",
    cls=ToolCommand,
    groups=_GROUPS,
    params=[FILTERS, *SHARED, *_OPTIONS],
    help=_HELP,
    epilog=_EPILOG,
)
@click.pass_context
def evtop(ctx: click.Context, /, **values: Any) -> int:
    """Watch a Celery cluster live."""
    from evtools.cli import logs
    from evtools.transport import check_transport

    on_screen = not (values["batch"] or values["check"] or values["show_config"])
    if values["log_file"] or on_screen:
        logs.set_up("evtop", values, logs.file_handler("evtop", values["log_file"]))
    else:
        logs.set_up("evtop", values)
    settings = setup(ctx)
    if settings is None:
        return 0
    options = build_options(ctx)
    if not (options.read or options.demo):
        check_transport(settings)
    # Each is imported only when it is used.
    if options.check is not None:
        from evtools.top.check import run as check

        return check(options, settings)
    if options.batch:
        from evtools.top.batch import run as batch

        return batch(options, settings)
    from evtools.top.app import run

    status: int = run(options, settings)
    return status


def build_options(ctx: click.Context) -> "TopOptions":
    """Return the TopOptions of a parsed command line.

    Raise UsageError for options that make no sense together, and without a terminal
    for a screen.
    """
    from evtools.cli.config import sources_of
    from evtools.cli.version import speaks_utf8
    from evtools.top.options import TopOptions

    values = ctx.params
    check_conflicts(ctx, _NEEDS, _EXCLUSIVE)
    if values["write"] == "-":
        raise UsageError("evtop does not record to stdout", "give a file: -w FILE")
    check = _check(values)
    with_screen = not (values["batch"] or check)
    for stream, name in ((sys.stdout, "stdout"), (sys.stdin, "stdin")):
        if with_screen and not stream.isatty():
            raise UsageError(
                f"{name} is not a terminal", "for plain output use: evtop -B or evdump"
            )
    return build(
        TopOptions,
        values,
        filter=_filter(values),
        columns=tuple(filter(None, map(str.strip, (values["columns"] or "").split(",")))),
        refresh=_refresh(values["delay"], batch=values["batch"], check=bool(check)),
        colour=wants_colour(values["color"], sys.stdout),
        ascii=values["ascii"] or (with_screen and not speaks_utf8()),
        time_style=values["ts"],
        zone=types.LocalZone(),
        keys=sources_of(ctx).keys,
        speed=values["speed"] or (float("inf") if values["batch"] else 1.0),
        output=_output(ctx),
        check=check,
    )


def _check(values: Mapping[str, Any]) -> "Check | None":
    from evtools.top.options import Check

    if not values["check"]:
        return None
    return Check(
        workers=tuple(dict.fromkeys(values["check"])),
        queues=tuple(dict.fromkeys(values["consuming"])),
        max_idle=values["max_idle"],
    )


def _filter(values: Mapping[str, Any]) -> str:
    option = values["filter"] or ""
    # -F is a file in evdump, and a frequency in evcam and in Celery.
    if _NUMBER.fullmatch(option):
        raise UsageError(
            f"-F {option}: -F is a filter here",
            f"the refresh interval is -d {option}; to search for the text: -F '\"{option}\"'",
        )
    if ("." in option or "/" in option) and os.path.isfile(option):  # noqa: PTH113
        raise UsageError(
            f"-F {option}: that is a file, and -F is a filter here",
            f'to read it from the file: -F "$(cat {option})"',
        )
    texts = [filter_of(values["filters"], reading=bool(values["read"])), option]
    texts = [text for text in texts if text.strip()]
    return texts[0] if len(texts) == 1 else " ".join(f"({text})" for text in texts)


def _refresh(delay: float | None, *, batch: bool, check: bool) -> float:
    from evtools.top.options import REFRESH_MIN

    if delay is None:
        return 5.0 if batch else 10.0 if check else 1.0
    if not (batch or check) and delay < REFRESH_MIN:
        raise UsageError(f"--delay: {delay:g}s is too short", f"the minimum is {REFRESH_MIN:g}s")
    return float(delay)


def _output(ctx: click.Context) -> Any:
    chosen = ctx.params["output"] or "table"
    if not ctx.params["json_output"]:
        return chosen
    if chosen != "json" and is_typed(ctx, "output"):
        raise UsageError(f"-o {chosen} and --json exclude each other", "leave one of them out")
    return "json"


#: `celery -A proj evtop`.
celery_command = plugin(evtop)
