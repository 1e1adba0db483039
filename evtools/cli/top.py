"""evtop: its options, from the command line to TopOptions."""

import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import command, types
from evtools.cli.options import (
    BROKER_VARIABLES,
    FILTERS,
    FLAG,
    Option,
    build,
    is_typed,
    memory,
    replay,
)
from evtools.errors import UsageError
from evtools.top import options as choices

if TYPE_CHECKING:
    from evtools.alerts import Rule
    from evtools.transport import ConnectionSettings

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
  evtop --check alerts                   those of the settings file

Press ? for the keys. Several FILTERs are joined by blanks; see evtools help
filter and evfilter(7).
"""
_GROUPS: Final = (
    "Common", "Screen", "Batch", "Check", "Recording",
    "Broker", "TLS", "Events", "Output", "Settings", "Other",
)  # fmt: skip

# fmt: off
_OPTIONS: Final = (
    Option("Common", "--view NAME", "First view: CHOICES.", choices.VIEWS,
           shown="overview from 100 columns on, else tasks"),
    Option("Common", "-F --filter", "Show only what matches this filter, like a FILTER argument.",
           types.FILTER),
    Option("Common", "-d --delay", "Refresh interval; with -B, collection time; with --check, how"
           " long to wait for a heartbeat.", types.POSITIVE_DURATION, shown="1s; 5s; 10s"),
    Option("Common", "--sort COLUMN", "Sort by this column; -COLUMN reverses the order.",
           shown="newest first"),
    Option("Common", "--window SPAN", "Time window for rates and percentiles: CHOICES.",
           choices.WINDOWS, default="5m"),
    Option("Screen", "--columns LIST", "Columns of the first view, separated by commas; kwargs.NAME"
           " is an argument, field.NAME another field.", shown="as many as fit"),
    Option("Screen", "--ts STYLE", "Times as CHOICES.", choices.TIME_STYLES, default="age"),
    Option("Screen", "--theme NAME", "Colours: dark, light, cb (for the colour-blind) or mono.",
           choices.THEMES, default="dark"),
    Option("Screen", "--ascii", "Use ASCII characters only.",
           FLAG, shown="if the locale is not UTF-8"),
    Option("Screen", "--mouse", "Handle clicks and the wheel; the terminal then selects text with"
           " Shift.", FLAG),
    *memory("Screen"),
    Option("Screen", "--no-ask", "Ask the workers nothing about their tasks, pools and queues;"
           " actions still reach them.", FLAG),
    Option("Screen", "--broker-stats/--no-broker-stats", "Ask the broker about the queues in view:"
           " how long they are, and who consumes them; on Redis also for RedBeat's schedule.",
           default=True),
    Option("Screen", "--redbeat-key-prefix TEXT", "Prefix of RedBeat's keys in Redis, as"
           " set for beat.", shown="redbeat:"),
    Option("Batch", "-B --batch", "Print the view as text, without a screen, and exit.",
           FLAG, in_file=False),
    Option("Batch", "-n --iterations N", "Number of iterations, one every -d; 0 = unlimited.",
           types.WHOLE, shown="1"),
    Option("Batch", "-o --output FORMAT", "table, csv or json (one object per line).",
           choices.OUTPUTS, shown="table"),
    Option("Batch", "--json json_output", "Same as -o json.", FLAG, envvar=(), in_file=False),
    Option("Batch", "--expect", "Exit with status 1 unless a row matches this filter.",
           types.FILTER),
    Option("Check", "--check worker=NAME", "Report in one line, and by a Nagios exit status,"
           " whether this worker is alive; alert=NAME or alerts: whether alerts of the settings"
           " file fire. Repeatable.", types.CHECK, in_file=False, multiple=True),
    Option("Check", "--consuming QUEUE", "Critical unless the worker consumes this queue."
           " Repeatable.", multiple=True),
    Option("Check", "--max-idle", "Critical unless it processes a task within this time.",
           types.POSITIVE_DURATION),
    Option("Recording", "-w --write FILE", "Record the events to FILE while watching (.gz and .zst"
           " compress)."),
    Option("Recording", "--history FILE", "Keep the last events in FILE, and start with those that"
           " are there."),
    Option("Recording", "--history-size", "Room for --history on disk; the oldest events go first.",
           types.SIZE, default="64M"),
    *replay(speed="1x; with -B: max"),
    Option("Other", "--log-file FILE", "Log to FILE, including every action on the cluster and who"
           " took it.", shown="~/.local/state/evtools/evtop.log"),
    Option("Other", "--demo", "Use a simulated cluster; needs no broker.", FLAG, in_file=False),
)
# fmt: on

#: Options that require another one.
_NEEDS: Final = {
    "batch": ("iterations", "output", "json_output", "expect"), "check": ("consuming", "max_idle"),
    "read": ("speed", "since", "until"), "history": ("history_size",),
}  # fmt: skip
_EXCLUSIVE: Final = (
    ("read", "demo"), ("read", "check"), ("batch", "check"),
    ("read", "write"), ("check", "write"),
)  # fmt: skip
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h)?", re.ASCII)


def run(ctx: click.Context) -> int:
    from evtools.cli import logs
    from evtools.cli.connection import one_cluster
    from evtools.transport import check_transport

    values = ctx.params
    on_screen = not (values["batch"] or values["check"] or values["show_config"])
    to_file = values["log_file"] or on_screen
    handler = logs.file_handler("evtop", values["log_file"]) if to_file else None
    logs.set_up("evtop", values, handler)
    clusters = command.setup(ctx)
    options = build_options(ctx)
    if not (options.read or options.demo):
        for settings in clusters:
            check_transport(settings)
    # Each is imported only when it is used.
    if options.check is not None:
        from evtools.top import check

        return check.run(options, one_cluster(clusters, "--check is about"))
    if options.batch:
        from evtools.top import batch

        return batch.run(options, clusters)
    from evtools.cli.config import sources_of
    from evtools.top import app

    sources = sources_of(ctx)

    def save(changes: choices.Settings, profile: str) -> str:
        from evtools.cli.config_command import change_settings

        return change_settings(sources.path, changes, profile)

    settings_file = choices.SettingsFile(
        sources.profiles, partial(_profile, ctx), save, values["profile"] or ""
    )
    return app.run(options, clusters, settings_file)


#: Options that a profile takes the place of when it is switched to.
_OF_PROFILE: Final = (
    "broker", "broker_command", "app", "read", "demo", "speed", "since", "until", "write",
    "history",
)  # fmt: skip


def _profile(
    ctx: click.Context, name: str
) -> "tuple[choices.TopOptions, Sequence[ConnectionSettings]]":
    """Return what the command line of `ctx` would have meant with this profile and no broker."""
    from evtools.cli.connection import connection_settings
    from evtools.transport import check_transport

    for variable in filter(os.environ.get, BROKER_VARIABLES):
        hint = "start evtop without it to switch among them"
        raise UsageError(f"{variable} takes the place of the broker of a profile", hint)
    words = [*ctx.meta[command.ARGUMENTS], "--profile", name]
    other = click.Context(evtop, info_name=ctx.info_name, parent=ctx.parent)
    other.meta[command.WITHOUT] = _OF_PROFILE
    with other.scope(cleanup=False):
        try:
            evtop.parse_args(other, words)
        except click.UsageError as error:
            raise UsageError(error.format_message()) from None
        clusters = connection_settings(other)
        for settings in clusters:
            check_transport(settings)
        return build_options(other), clusters


def _first_view(values: Mapping[str, Any], *, with_screen: bool) -> choices.View:
    # Who filters, sorts or chooses columns means the tasks.
    about_tasks = any(values[name] for name in ("filters", "filter", "sort", "columns"))
    if not with_screen or about_tasks:
        return "tasks"
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stdout.fileno()).columns >= choices.OVERVIEW_COLS:
            return "overview"
    return "tasks"


def build_options(ctx: click.Context) -> choices.TopOptions:
    """Return the TopOptions of a parsed command line.

    Raise UsageError for options that make no sense together, and without a terminal for a screen.
    """
    from evtools.cli.config import sources_of
    from evtools.cli.version import speaks_utf8

    values, sources = ctx.params, sources_of(ctx)
    command.check_conflicts(ctx, _NEEDS, _EXCLUSIVE)
    if values["write"] == "-":
        raise UsageError("evtop does not record to stdout", "give a file: -w FILE")
    with_screen = not (values["batch"] or values["check"])
    for stream, name in ((sys.stdout, "stdout"), (sys.stdin, "stdin")):
        if with_screen and not stream.isatty():
            raise UsageError(
                f"{name} is not a terminal", "for plain output use: evtop -B or evdump"
            )
    output = values["output"] or "table"
    if values["read"] and values["broker_stats"] and is_typed(ctx, "broker_stats"):
        raise command.excluding("--read", "--broker-stats")
    if values["json_output"]:
        if output != "json" and is_typed(ctx, "output"):
            raise command.excluding(f"-o {output}", "--json")
        output = "json"
    for name in ("read", "batch", "check"):
        if values[name] and values["history"]:
            # In the settings file it is for the screen.
            if is_typed(ctx, "history"):
                raise command.excluding(command.flag(name), "--history")
            values["history"] = None
    if values["history_size"] < choices.HISTORY_MIN_BYTES:
        raise UsageError("--history-size is too small", "the minimum is 1M; the default is 64M")
    alerts = tuple(rule for rule, _ in sources.tables.get("alert", {}).values())
    return build(
        choices.TopOptions,
        values,
        view=values["view"] or _first_view(values, with_screen=with_screen),
        filter=_filter(values),
        columns=tuple(filter(None, map(str.strip, (values["columns"] or "").split(",")))),
        refresh=_refresh(values),
        ask=not values["no_ask"],
        colour=command.wants_colour(values["color"], sys.stdout),
        ascii=values["ascii"] or (with_screen and not speaks_utf8()),
        time_style=values["ts"],
        zone=types.LocalZone(),
        keys=sources.keys,
        colours={style: value for style, (value, _) in sources.tables.get("colours", {}).items()},
        programs=tuple(program for program, _ in sources.tables.get("command", {}).values()),
        alerts=alerts,
        arranged=_arranged(sources.tables),
        speed=values["speed"] or (float("inf") if values["batch"] else 1.0),
        output=output,
        check=_check(ctx, alerts) if values["check"] else None,
    )


def _check(ctx: click.Context, alerts: "Sequence[Rule]") -> choices.Check:
    values = ctx.params
    rules, wanted = {rule.name: rule for rule in alerts}, dict[str, None]()
    for kind, name in values["check"]:
        if kind == "worker":
            continue
        if not rules:
            hint = "an [alert.NAME] in the settings file is one; see evtools.toml(5)"
            raise UsageError("--check: there are no alerts", hint)
        if kind == "alert" and name not in rules:
            near = difflib.get_close_matches(name, rules, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rules)}"
            raise UsageError(f"--check: there is no alert {name}", hint)
        wanted |= dict.fromkeys([name] if kind == "alert" else rules)
    workers = dict.fromkeys(name for kind, name in values["check"] if kind == "worker")
    for name in ("consuming", "max_idle"):
        if not workers and is_typed(ctx, name):
            raise UsageError(f"{command.flag(name)} requires --check worker=NAME")
    found, refresh = tuple(rules[name] for name in wanted), _refresh(values)
    # Long enough for what has to last, once it can be seen.
    more = max((rule.hold for rule in found), default=0.0) if values["delay"] is None else 0.0
    return choices.Check(
        workers=tuple(workers), queues=tuple(dict.fromkeys(values["consuming"])),
        max_idle=values["max_idle"], alerts=found,
        watch=refresh + more if found else 0.0,
    )  # fmt: skip


def _arranged(tables: Mapping[str, Mapping[str, Any]]) -> tuple[choices.Arrangement, ...]:
    found = []
    for view in choices.VIEWS:
        if setting := tables.get("sort", {}).get(view):
            found.append(choices.Arrangement(setting.origin, view, sort=setting.value))
        if setting := tables.get("columns", {}).get(view):
            names = tuple(setting.value)
            found.append(choices.Arrangement(setting.origin, view, columns=names))
    return tuple(found)


def _filter(values: Mapping[str, Any]) -> str:
    option = values["filter"] or ""
    # -F is a file in evdump, and a frequency in evcam and in Celery.
    if _NUMBER.fullmatch(option):
        hint = f"the refresh interval is -d {option}; to search for the text: -F '\"{option}\"'"
        raise UsageError(f"-F {option}: -F is a filter here", hint)
    if ("." in option or "/" in option) and os.path.isfile(option):  # noqa: PTH113
        hint = f'to read it from the file: -F "$(cat {option})"'
        raise UsageError(f"-F {option}: that is a file, and -F is a filter here", hint)
    typed = command.filter_of(values["filters"], reading=bool(values["read"]))
    if typed.strip() and option.strip():
        return f"({typed}) ({option})"
    return typed if typed.strip() else option.strip() and option


def _refresh(values: Mapping[str, Any]) -> float:
    delay, batch, check = values["delay"], values["batch"], values["check"]
    if delay is None:
        return 5.0 if batch else 10.0 if check else 1.0
    if not (batch or check) and delay < (least := choices.REFRESH_MIN):
        raise UsageError(f"--delay: {delay:g}s is too short", f"the minimum is {least:g}s")
    return float(delay)


_VARIABLES: Final = "EVTOOLS_READ_ONLY=1, EVTOP_THEME=light"
evtop: Final = command.ToolCommand(
    "evtop", run, [FILTERS, *_OPTIONS], groups=_GROUPS, help=_HELP, variables=_VARIABLES
)
#: `celery -A proj evtop`.
celery_command = command.Plugin(evtop)
