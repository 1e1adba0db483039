"""evcam: its options, from the command line to CamOptions."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import click

from evtools.cam.options import COMMANDS, LOG_FORMATS, LOG_LEVELS, VIEWS, CamOptions
from evtools.cli import command, types
from evtools.cli.options import FLAG, Option, build, memory, replay
from evtools.errors import UsageError

_HELP: Final = """\
Take periodic snapshots of a Celery cluster.

\b
Examples:
  evcam -c sqlite:/var/lib/evcam/tasks.db -b redis://localhost:6379/0
  evcam -c mod.Camera --detach --maxrate 10/m --pidfile /run/evcam.pid
  evcam -c prometheus --listen 127.0.0.1:9808
  evcam -c jsonl:shots.jsonl --once      one interval, one snapshot
  evcam --on state:failure --run 'mail -s failed ops'
  evcam stop --pidfile /run/evcam.pid    stop it, and wait for its end

\b
Cameras are your own classes (mod.Camera), and these:
  sqlite, postgres                       tasks and workers as tables
  clickhouse                             these and all events
  jsonl                                  one snapshot per line
  prometheus                             metrics
  otlp                                   traces and metrics for OpenTelemetry

\b
Commands, instead of running:
  status   report whether the evcam of --pidfile is running
  stop     stop it
  check    check that the camera and the broker work
"""
_GROUPS: Final = (
    "Common", "Camera", "Alerts", "Process", "Log", "Recording",
    "Broker", "TLS", "Events", "Output", "Settings", "Other",
)  # fmt: skip
_COMMAND: Final = click.Argument(
    ["command"], required=False, type=click.Choice(COMMANDS), metavar="[status|stop|check]"
)

#: Of an alert: their values are taken in the order in which they were typed.
_alert = partial(Option, "Alerts", multiple=True, in_file=False, envvar=())

# fmt: off
_OPTIONS: Final = (
    Option("Common", "-c --camera CAMERA", "Camera: mod.Camera or mod:Camera, or a built-in one,"
           " sqlite, postgres, clickhouse, jsonl, prometheus or otlp, with :PLACE after it."),
    Option("Common", "-F --freq --frequency", "Snapshot interval.", types.FREQUENCY, default="1s"),
    Option("Common", "-r --maxrate", "Maximum snapshot rate: 10/m, 100/s, 2/h.", types.RATE),
    Option("Common", "-d --detach", "Run in the background; return once events arrive, or report"
           " why none do.", FLAG),
    Option("Camera", "--camera-option", "Option of the camera itself, such as keep=30d."
           " Repeatable.", types.PAIR, multiple=True),
    Option("Camera", "--pythonpath DIR", "Also search here for the camera's module, after the"
           " working directory. Repeatable.", multiple=True),
    Option("Camera", "--cleanup-freq", "Interval between cleanups; 0 disables.",
           types.DURATION, default="1h"),
    Option("Camera", "--warm-up", "Mark snapshots as incomplete for this long after the start, and"
           " until the workers have sent heartbeats.", types.DURATION, default="2s"),
    Option("Camera", "--max-failures N", "Exit with 70 after N consecutive failures.",
           types.COUNT, shown="never"),
    Option("Camera", "--once", "Wait one interval, take one snapshot, and exit.",
           FLAG, in_file=False),
    Option("Camera", "--test", "Wait one interval, print what would be written, and exit.",
           FLAG, in_file=False),
    Option("Camera", "--allow-insecure-camera", "As root, load a camera's code even if others can"
           " write it.", FLAG),
    _alert("--on FILTER", "Alert when an event, or a row of --view, matches; see evfilter(7). The"
           " options below belong to the --on before them. Repeatable.", types.FILTER),
    _alert("--run CMD", "Run this program, without a shell, when it fires and when it resolves,"
           " with JSON on stdin. Repeatable."),
    _alert("--webhook URL|@FILE", "Send that JSON to this URL by POST. Repeatable."),
    _alert("--view NAME", f"What is looked at: {', '.join(VIEWS)}.", shown="events"),
    _alert("--count N", "How many events or rows must match.", shown="1"),
    _alert("--over DUR", "Time over which they are counted, or of the figures of a row: 1m, 5m,"
           " 15m, 1h, all.", shown="5m"),
    _alert("--for DUR", "How long that must last.", shown="0"),
    _alert("--group NAME", "What has a notice of its own: each failure (kind of failure), type,"
           " worker or row; or none.", shown="failure; of rows row; of tasks none"),
    Option("Alerts", "--first-seen", "Only kinds of failures that were not seen before.",
           count=True, in_file=False, envvar=()),
    _alert("--cooldown DUR", "How long the same does not fire again.", shown="5m"),
    _alert("--headers", "Headers of --webhook: NAME=VALUE, separated by commas, or @FILE."),
    _alert("--hook-timeout DUR", "Time limit of one run or request.", shown="30s"),
    Option("Process", "--pidfile FILE", "Write the process id to FILE, and lock it: one evcam per"
           " pidfile."),
    Option("Process", "--uid", "Drop privileges to this user and its groups.", types.USER),
    Option("Process", "--gid", "Switch to this group.", types.GROUP, shown="the user's"),
    Option("Process", "--umask", "File creation umask, in octal, such as 027.",
           types.UMASK, shown="inherited"),
    Option("Process", "--workdir DIR", "Working directory; relative paths and the camera are"
           " resolved there.", shown="the current one"),
    Option("Process", "--executable FILE", "With --detach, the Python interpreter or the binary to"
           " run with.", shown="the same"),
    Option("Process", "--ready-timeout", "Report ready after this time even if the broker is"
           " unreachable.", types.DURATION, default="30s"),
    Option("Process", "--shutdown-timeout", "Time limit for the last snapshot when stopping.",
           types.DURATION, default="10s"),
    Option("Process", "--listen HOST:PORT", "Serve /livez, /readyz, /status and /metrics here;"
           " without HOST on this machine only, with * on all addresses."),
    Option("Log", "-f --logfile FILE", "Log to FILE; logrotate may move it away.",
           shown="stderr; with --detach: /var/log/evcam.log, or ~/.local/state/evtools/evcam.log"),
    Option("Log", "-l --loglevel LEVEL", "Minimum level to log: DEBUG, INFO, WARNING, ERROR or"
           " CRITICAL.", click.Choice([*LOG_LEVELS], case_sensitive=False), shown="INFO"),
    Option("Log", "--log-format FORMAT", "CHOICES.",
           LOG_FORMATS, shown="text; journal where stderr is systemd's"),
    *replay("--read"),
    Option("Recording", "--demo", "Use a simulated cluster; needs no broker.", FLAG, in_file=False),
    Option("Events", "--filter", "Keep only events that match; see evfilter(7). Repeatable.",
           types.FILTER, multiple=True),
    Option("Events", "--queue NAME", "RabbitMQ: share the queue NAME with other evcams; each event"
           " goes to one of them."),
    *memory("Events"),
)
# fmt: on

_NEEDS: Final = {"read": ("speed", "since", "until")}
_EXCLUSIVE: Final = (("read", "demo"), ("read", "queue"))
#: Commands about an evcam that is running, however it was started.
_ABOUT_ANOTHER: Final = ("status", "stop")
#: Options that are texts, and may be numbers in the settings file.
_NUMBERS: Final = ("maxrate", "uid", "gid")


def run(ctx: click.Context) -> int:
    from evtools.cli import logs
    from evtools.transport import check_transport

    word = ctx.params["command"]
    logs.set_up("evcam", ctx.params)
    clusters = command.setup(ctx, secrets=secrets(ctx.params))
    options = build_options(ctx)
    if not (options.read or options.demo or word in _ABOUT_ANOTHER):
        for settings in clusters:
            check_transport(settings)
    if word in _ABOUT_ANOTHER:
        from evtools.cam.daemon import control

        status, text = control(word, options)
    else:
        from evtools.cam import app

        if word is None:
            from evtools.cli.config import reloader

            return app.run(options, clusters, reread=reloader(ctx, level_of))
        status, text = 0, app.check(options, clusters)
    from evtools.text import hide_credentials

    click.echo(hide_credentials(text))
    return status


def build_options(ctx: click.Context) -> CamOptions:
    """Return the CamOptions of a parsed command line; raise UsageError for conflicting options."""
    from evtools.cli.config import alerts_of, merged_pairs

    values = ctx.params
    alerts = tuple(each.value for each in alerts_of(ctx).values())
    if values["command"] not in _ABOUT_ANOTHER:
        _check(ctx, has_hooks=any(rule.run or rule.webhook for rule in alerts))
    texts = {name: str(values[name]) for name in _NUMBERS if values[name] is not None}
    return build(
        CamOptions,
        values,
        **texts,
        camera_options=merged_pairs(ctx, "camera_option"),
        filters=values["filter"],
        zone=types.LocalZone(),
        loglevel=level_of(values),
        alerts=alerts,
    )


def _check(ctx: click.Context, *, has_hooks: bool) -> None:
    from evtools.cam.schedule import rate

    values = ctx.params
    command.check_conflicts(ctx, _NEEDS, _EXCLUSIVE)
    is_on_stream = (values["logfile"] or "").startswith("/dev/std")
    # fmt: off
    for is_wrong, text, hint in (
        (not (values["camera"] or has_hooks), "no camera given",
         ("name one with -c: mod.Camera, sqlite, postgres, clickhouse, jsonl, prometheus, otlp;"
          " or say what to run on what: --on state:failure --run notify.sh")),
        (not values["camera"] and (values["once"] or values["test"]),
         "--once and --test are about a camera", "name one with -c"),
        (values["detach"] and (values["once"] or values["test"]),
         "--detach excludes --once and --test", "leave --detach out"),
        (values["detach"] and "-" in values["read"], "--detach and --read - exclude each other",
         "a process in the background has no stdin"),
        (values["detach"] and is_on_stream, "--detach needs a regular log file",
         "a process in the background has no stdout and no stderr"),
    ):
        if is_wrong:
            raise UsageError(text, hint)
    # fmt: on
    if values["maxrate"]:
        rate(values["maxrate"])


def level_of(values: Mapping[str, Any]) -> int:
    """Return the level of the logging module that the options ask for."""
    default = "WARNING" if values["quiet"] else "INFO"
    if values["debug"] or values["verbose"]:
        default = "DEBUG"
    return LOG_LEVELS[(values["loglevel"] or default).upper()]


def secrets(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the passwords that the camera was given, also those in URLs."""
    from evtools.transport.url import is_secret

    texts = [values["camera"] or ""]
    for name, value in values["camera_option"]:
        if is_secret(name) or name == "headers":
            yield str(value)
        texts.append(str(value))
    texts += values["webhook"]
    yield from filter(None, values["headers"])
    for text in values["webhook"]:
        # Its path is a password, often.
        yield text.partition("://")[2].partition("/")[2]
    for text in texts:
        credentials, at, _ = text.partition("://")[2].rpartition("@")
        if at:
            yield credentials.partition(":")[2]


evcam: Final = command.ToolCommand(
    "evcam",
    run,
    [_COMMAND, *_OPTIONS],
    groups=_GROUPS,
    help=_HELP,
    variables="EVTOOLS_BROKER_URL=..., EVCAM_PIDFILE=...",
)
#: `celery -A proj evcam`.
celery_command = command.Plugin(evcam)
