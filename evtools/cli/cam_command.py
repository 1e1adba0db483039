"""The evcam command: options in, CamOptions and ConnectionSettings out."""

from functools import partial
from typing import Any, Final

import click

from evtools.cam.choices import ERRANDS, LOG_FORMATS, LOG_LEVELS
from evtools.cli import params, recurring
from evtools.cli.command import ToolCommand
from evtools.cli.options import option, shared_options

_HELP: Final = """\
Hand the state of a Celery cluster to a camera, at an interval, for months.

\b
Examples:
  evcam -c sqlite:/var/lib/evcam/tasks.db -b redis://localhost:6379/0
  evcam -c mod.Camera --detach --maxrate 10/m --pidfile /run/evcam.pid
  evcam -c prometheus --listen 127.0.0.1:9808
  evcam -c jsonl:shots.jsonl --once      one period, one shot
  evcam stop --pidfile /run/evcam.pid    end it, and wait until it is gone

\b
Cameras are your own classes (mod.Camera), and these:
  sqlite, postgres                       tasks and workers as tables
  jsonl                                  one snapshot a line
  prometheus                             metrics

\b
In place of running, evcam can be asked:
  status   whether the evcam of --pidfile runs
  stop     to end it
  check    whether camera and broker would work
"""

_EPILOG: Final = (
    "Every option can be set in the environment (EVTOOLS_BROKER_URL=...,"
    " EVCAM_PIDFILE=...) and in the settings file; --show-config tells what is"
    " in force. evcam(1), evfilter(7) and evtools.toml(5) tell more."
)


_PREFIX: Final = "EVCAM"
_own = partial(option, prefix=_PREFIX)


@click.command(
    "evcam",
    cls=ToolCommand,
    groups=(
        *("Common", "Camera", "Process", "Log", "Recording"),
        *("Broker", "TLS", "Events", "Output", "Settings", "Other"),
    ),
    help=_HELP,
    epilog=_EPILOG,
)
@click.argument("errand", required=False, type=click.Choice(ERRANDS), metavar="[status|stop|check]")
@shared_options
@_own(
    *("-c", "--camera"),
    group="Common",
    metavar="CAMERA",
    help="Camera: mod.Camera or mod:Camera, or a built-in one, sqlite, postgres,"
    " jsonl or prometheus, with :PLACE after it.",
)
@_own(
    *("-F", "--freq", "--frequency"),
    group="Common",
    type=params.FREQUENCY,
    default=1.0,
    help="Shoot so often.  [1s]",
)
@_own(
    *("-r", "--maxrate"),
    group="Common",
    type=params.RATE,
    help="Shoot at most so often: 10/m, 100/s, 2/h.",
)
@_own(
    *("-d", "--detach"),
    group="Common",
    is_flag=True,
    help="Run in the background; return when events come in, or why not.",
)
@_own(
    *("--camera-option",),
    group="Camera",
    type=params.PAIR,
    multiple=True,
    help="An option of the camera itself, such as keep=30d. Repeatable.",
)
@_own(
    *("--pythonpath",),
    group="Camera",
    metavar="DIR",
    multiple=True,
    help="Look for the camera's module here, too, after the working directory. Repeatable.",
)
@_own(
    *("--cleanup-freq",),
    group="Camera",
    type=params.DURATION,
    default=3600.0,
    help="Let the camera tidy up so often; 0: never.  [1h]",
)
@_own(
    *("--warm-up",),
    group="Camera",
    type=params.DURATION,
    default=2.0,
    help="Mark shots as incomplete for so long after the start, and for as long as"
    " the workers take to send heartbeats.  [2s]",
)
@_own(
    *("--max-failures",),
    group="Camera",
    type=params.COUNT,
    metavar="N",
    help="End with status 70 after so many failures in a row.  [never]",
)
@_own(
    *("--once",),
    group="Camera",
    is_flag=True,
    in_file=False,
    help="Wait one period, shoot once, and end.",
)
@_own(
    *("--test",),
    group="Camera",
    is_flag=True,
    in_file=False,
    help="Wait one period, print what would be written, and end.",
)
@_own(
    *("--allow-insecure-camera",),
    group="Camera",
    is_flag=True,
    help="As root, load a camera's code even where others can write it.",
)
@_own(
    *("--pidfile",),
    group="Process",
    metavar="FILE",
    help="Write our process number into FILE, and lock it: there is one evcam per pidfile.",
)
@_own(
    *("--uid",),
    group="Process",
    type=params.USER,
    help="Become this user, by name or number, for good; with its groups.",
)
@_own(
    *("--gid",),
    group="Process",
    type=params.GROUP,
    help="Become a member of this group.  [the user's own]",
)
@_own(
    *("--umask",),
    group="Process",
    type=params.UMASK,
    help="Make files with this mask, in octal, such as 027.  [as it is]",
)
@_own(
    *("--workdir",),
    group="Process",
    metavar="DIR",
    help="Run in this directory; other paths and the camera are looked up there."
    "  [where it is started]",
)
@_own(
    *("--executable",),
    group="Process",
    metavar="FILE",
    help="With --detach, the Python, or the binary, to run with.  [the same]",
)
@_own(
    *("--ready-timeout",),
    group="Process",
    type=params.DURATION,
    default=30.0,
    help="Count as started after this time even if there is no broker yet.  [30s]",
)
@_own(
    *("--shutdown-timeout",),
    group="Process",
    type=params.DURATION,
    default=10.0,
    help="Time for the last shot when asked to end.  [10s]",
)
@_own(
    *("--listen",),
    group="Process",
    metavar="HOST:PORT",
    help="Serve /livez, /readyz, /status and /metrics here; without HOST on this"
    " machine only, with * at all addresses.",
)
@_own(
    *("-f", "--logfile"),
    group="Log",
    metavar="FILE",
    help="Log into FILE, which logrotate may move away.  [stderr; with --detach:"
    " /var/log/evcam.log, or ~/.local/state/evtools/evcam.log]",
)
@_own(
    *("-l", "--loglevel"),
    group="Log",
    type=click.Choice([*LOG_LEVELS], case_sensitive=False),
    metavar="LEVEL",
    help="Log from this level on: DEBUG, INFO, WARNING, ERROR or CRITICAL.  [INFO]",
)
@_own(
    *("--log-format",),
    group="Log",
    type=click.Choice(LOG_FORMATS),
    metavar="FORMAT",
    help="text, json or journal.  [text; journal where stderr is systemd's]",
)
@recurring.read("--read", prefix=_PREFIX)
@_own(
    *("--speed",),
    group="Recording",
    type=params.SPEED,
    help="Replay --read at 1x, 10x, ... or max.  [max]",
)
@recurring.since(prefix=_PREFIX)
@recurring.until(prefix=_PREFIX)
@recurring.demo(
    prefix=_PREFIX,
    group="Recording",
    help="Take pictures of a simulated cluster; no broker is needed.",
)
@_own(
    *("--filter",),
    group="Events",
    type=params.FILTER,
    multiple=True,
    help="Let only events into the state that match, as evfilter(7) has it. Repeatable.",
)
@_own(
    *("--queue",),
    group="Events",
    metavar="NAME",
    help="RabbitMQ: share the queue NAME with other evcams; each event goes to one of them.",
)
@recurring.max_tasks(prefix=_PREFIX, group="Events")
@recurring.max_memory(prefix=_PREFIX, group="Events")
@click.pass_context
def evcam(ctx: click.Context, /, **_values: Any) -> int:
    """Hand the state of a Celery cluster to a camera."""
    from evtools.cli import logs  # noqa: PLC0415  (start-up time)
    from evtools.cli.beginning import begin  # noqa: PLC0415  (start-up time)
    from evtools.cli.camming import cam_options, cam_settings, secrets  # noqa: PLC0415

    values = ctx.params
    logs.set_up("evcam", **logs.wanted(values))
    settings = begin(ctx, cam_settings, secrets=secrets(values))
    if settings is None:
        return 0
    return _run(ctx, cam_options(ctx), settings)


def _run(ctx: click.Context, options: Any, settings: Any) -> int:
    """Do what was asked for; each is imported only when it is."""
    errand = ctx.params["errand"]
    if errand is not None:
        from evtools.cam.errands import run as run_errand  # noqa: PLC0415  (ditto)
        from evtools.text import hide_credentials  # noqa: PLC0415  (ditto)

        answer = run_errand(errand, options, settings)
        click.echo(hide_credentials(answer.text))
        return int(answer.status)
    from evtools.cam.process import run  # noqa: PLC0415  (start-up time)
    from evtools.cli.rereading import Rereading  # noqa: PLC0415  (start-up time)

    return run(options, settings, reread=Rereading(ctx))
