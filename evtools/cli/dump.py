"""evdump: its options, from the command line to DumpOptions."""

import sys
from datetime import UTC
from typing import Any, Final

import click

from evtools.cli import command, types
from evtools.cli.options import FILTERS, FLAG, Option, build, is_typed, replay, selection
from evtools.dump.options import OUTPUTS, TABLE_OUTPUTS, TABLES, TIMESTAMPS, DumpOptions
from evtools.errors import UsageError

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
  evdump -r day.json.gz -z by:name -o text    counts, rates, percentiles

Several FILTERs are joined by blanks; see evtools help filter and evfilter(7).
"""
_GROUPS: Final = (
    "Common", "Selection", "Output", "Recording", "Broker", "TLS", "Events", "Settings", "Other",
)  # fmt: skip
_READ, *_REPLAY = replay(group="Common")

# fmt: off
_OPTIONS: Final = (
    Option("Common", "-o --output FORMAT", "CHOICES.",
           OUTPUTS, shown="text on a terminal, json otherwise"),
    Option("Common", "-z --table by:WHAT", "Instead of the events print, at the end, how many there"
           " were, their rates, failures, p50, p95, p99 and max of run and wait: CHOICES."
           " type is that of the event, name that of the task. Repeatable.",
           tuple(f"by:{each}" for each in TABLES), multiple=True, in_file=False),
    Option("Common", "-c --count N", "Exit after N events.", types.COUNT),
    Option("Common", "-w --write FILE", "Record to FILE (.gz and .zst compress; strftime's %"
           " sequences are replaced) instead of printing; - for stdout."),
    _READ,
    *selection("Selection"),
    Option("Selection", "--heartbeats/--no-heartbeats", "Show or leave out the heartbeats of"
           " workers.", default=True),
    Option("Selection", "--timeout", "Exit after this time; with status 124 if -c was not reached.",
           types.POSITIVE_DURATION),
    Option("Selection", "--idle", "Exit when no event has arrived for this time.",
           types.POSITIVE_DURATION),
    Option("Selection", "--expect", "Exit with status 1 unless an event matches this filter.",
           types.FILTER),
    Option("Output", "--json json_output", "Same as -o json.", FLAG, envvar=(), in_file=False),
    Option("Output", "--template TEXT", "Format of one line per event, such as '{ts} {type}"
           " {name}[{uuid:8}]'."),
    Option("Output", "-T --template-file FILE", "Read the template from FILE.", types.TEXT_FILE),
    Option("Output", "--ts STYLE", "Times in text: local, utc, iso, epoch, delta (since the"
           " previous event), start (since the first one) or none.", TIMESTAMPS, shown="local"),
    Option("Output", "-t ts_count", "As in tcpdump: -t none, -tt epoch, -ttt delta, -tttt iso,"
           " -ttttt start.", count=True, in_file=False, envvar=()),
    Option("Output", "--full", "Do not shorten arguments, results and tracebacks.", FLAG),
    Option("Output", "-H --highlight", "Highlight matches of this regular expression.",
           types.REGEX),
    Option("Output", "-l --line-buffered", "Write each event at once, even to a file.", FLAG),
    Option("Output", "--stats FORMAT", "Format of the summary at the end, on stderr: CHOICES.",
           ("text", "json"), default="text"),
    Option("Recording", "--print", "Also print the events while recording with -w.", FLAG),
    Option("Recording", "--rotate-size", "Rotate at this size.", types.SIZE),
    Option("Recording", "--rotate-every", "Rotate after this time.", types.POSITIVE_DURATION),
    Option("Recording", "--rotate-keep N", "Keep the N newest files, delete older ones.",
           types.COUNT),
    Option("Recording", "--rotate-exec", "Run this program, without a shell, on each finished file:"
           " with its path in place of {} or as last argument.", types.COMMAND),
    *_REPLAY,
    Option("Other", "--demo", "Use a simulated cluster; needs no broker.", FLAG, in_file=False),
)
# fmt: on

#: What tcpdump's -t, -tt, -ttt, ... mean here.
_COUNTED_TIMESTAMPS: Final = ("none", "epoch", "delta", "iso", "start")
_ROTATION: Final = ("rotate_size", "rotate_every", "rotate_keep", "rotate_exec")
_NEEDS: Final = {"read": ("speed", "since", "until"), "write": _ROTATION}
_EXCLUSIVE: Final = (("read", "demo"), ("template", "template_file"))
#: A command line has one of each pair; the settings file and environment may have both.
_RIVALS: Final = (("ts", "ts_count"), ("json_output", "template"), ("json_output", "template_file"))
#: Options that imply an output format, the strongest first.
_IMPLIED: Final = {"json_output": "json", "template": "template", "template_file": "template"}


def run(ctx: click.Context) -> int:
    from evtools.cli import logs
    from evtools.transport import check_transport

    logs.set_up("evdump", ctx.params)
    clusters = command.setup(ctx)
    options = build_options(ctx)
    if not (options.read or options.demo):
        for settings in clusters:
            check_transport(settings)
    from evtools.dump import app

    return app.run(options, clusters)


def build_options(ctx: click.Context) -> DumpOptions:
    """Return the DumpOptions of a parsed command line.

    Raise UsageError for options that make no sense together.
    """
    values = ctx.params
    command.check_conflicts(ctx, _NEEDS, _EXCLUSIVE)
    for left, right in _RIVALS:
        if is_typed(ctx, left) and is_typed(ctx, right):
            raise command.excluding(command.flag(left), command.flag(right))
    if values["print"] and values["write"] == "-":
        raise UsageError("--print and -w - exclude each other", "both would write to stdout")
    if values["table"]:
        _check_table(ctx)
    for name in ("rotate_keep", "rotate_exec"):
        if values[name] and not (values["rotate_size"] or values["rotate_every"]):
            hint = "otherwise no new file is ever started"
            raise UsageError(f"{command.flag(name)} needs --rotate-size or --rotate-every", hint)
    if values["write"] == "-":
        # stdout is not rotated; typing it there is an error of the recorder.
        values = values | {name: None for name in _ROTATION if not is_typed(ctx, name)}
    file = command.file_filter(values["filter_file"])
    typed = command.filter_of(values["filters"], reading=bool(values["read"]))
    count = min(values["ts_count"], len(_COUNTED_TIMESTAMPS))
    timestamps = _COUNTED_TIMESTAMPS[count - 1] if count else values["ts"] or "local"
    return build(
        DumpOptions,
        values,
        filters=tuple(text for text in (typed, file) if text.strip()),
        excludes=values["exclude"],
        print=values["print"] or not (values["write"] or values["table"]),
        output=_output(ctx),
        tables=tuple(dict.fromkeys(each.removeprefix("by:") for each in values["table"])),
        template=values["template"] or _content(values["template_file"]),
        timestamps=timestamps,
        zone=UTC if timestamps in ("utc", "iso") else types.LocalZone(),
        colour=command.wants_colour(values["color"], sys.stdout),
        colour_stderr=command.wants_colour(values["color"], sys.stderr),
        multiline=sys.stdout.isatty(),
        verbosity=values["verbose"],
    )


def _content(file: types.TextFile | None) -> str:
    return file.text if file else ""


def _check_table(ctx: click.Context) -> None:
    values = ctx.params
    if values["print"]:
        raise command.excluding("--print", "-z")
    if values["write"] == "-":
        raise UsageError("-z and -w - exclude each other", "both would write to stdout")
    for name in ("template", "template_file"):
        if is_typed(ctx, name):
            raise command.excluding(command.flag(name), "-z")
    if is_typed(ctx, "output") and values["output"] not in TABLE_OUTPUTS:
        hint = f"-z prints {', '.join(TABLE_OUTPUTS[:-1])} or {TABLE_OUTPUTS[-1]}"
        raise UsageError(f"-o {values['output']} and -z exclude each other", hint)


def _output(ctx: click.Context) -> Any:
    chosen = ctx.params["output"]
    if ctx.params["table"] and not ctx.params["json_output"]:
        if chosen in TABLE_OUTPUTS:
            return chosen
        return "text" if sys.stdout.isatty() else "json"
    for name, implied in _IMPLIED.items():
        if not ctx.params[name]:
            continue
        if not is_typed(ctx, "output") or chosen == implied:
            return implied
        if is_typed(ctx, name):
            raise command.excluding(f"-o {chosen}", command.flag(name))
    if chosen == "template":
        hint = "as in: --template '{ts} {type} {name}[{uuid:8}]'"
        raise UsageError("-o template needs --template TEXT or -T FILE", hint)
    return chosen or ("text" if sys.stdout.isatty() else "json")


_VARIABLES: Final = "EVTOOLS_HEARTBEAT=30s, EVDUMP_OUTPUT=json"
evdump: Final = command.ToolCommand(
    "evdump", run, [FILTERS, *_OPTIONS], groups=_GROUPS, help=_HELP, variables=_VARIABLES
)
#: `celery -A proj evdump`.
celery_command = command.Plugin(evdump)
