"""evtools doctor: its options, from the command line to DoctorOptions."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import command, types
from evtools.cli.options import FLAG, Option, build
from evtools.errors import UsageError

if TYPE_CHECKING:
    from evtools.doctor.context import DoctorOptions

_HELP: Final = """\
Diagnose why evtop, evdump or evcam show nothing: check the network, the login,
the event exchange and the workers, and print the commands that help.

\b
Examples:
  evtools doctor -b redis://localhost:6379/0
  evtools doctor -b amqps://me@rabbit-1// --tls-ca ca.pem --read-only
  evtools doctor --fix                   remove what dead monitors left behind
  evtools doctor -o json | jq .worst

QUEUEs are names of event queues to examine, and with --fix to delete: RabbitMQ
does not list them.
"""
_EPILOG: Final = (
    "The exit status is 0 if all is well or merely noteworthy, 3 with a warning, 4 with a"
    " problem. The doctor takes the options, environment and settings file of the"
    " other tools, and uses those about the connection. See also evtools(1)."
)
# Options that change a broker must be typed on the command line.
_option: Final = partial(Option, envvar=(), in_file=False)

# fmt: off
_OPTIONS: Final = (
    _option("Common", "-o --output FORMAT", "text, or json: one object with all findings.",
            ("text", "json"), default="text"),
    _option("Common", "--wait", "How long to wait for events; less than two heartbeats of the"
            " workers shows little.", types.POSITIVE_DURATION, default="6s"),
    _option("Common", "--fix", "Remove event queues, lists and bindings without a reader, after"
            " asking.", FLAG),
    _option("Common", "--yes", "With --fix: do not ask.", FLAG),
    _option("Output", "--json json_output", "Same as -o json.", FLAG),
)
# fmt: on


def run(ctx: click.Context) -> int:
    from evtools.cli import logs

    # Libraries complain about what the findings explain better.
    logs.set_up("evtools doctor", {"quiet": True, "debug": ctx.params["debug"]})
    from evtools.cli.connection import one_cluster

    settings = one_cluster(command.setup(ctx, level="error"), "the doctor examines")
    options = build_options(ctx.params)
    from evtools.doctor import app

    return app.run(options, settings)


def build_options(values: Mapping[str, Any]) -> "DoctorOptions":
    """Return the DoctorOptions of a parsed command line.

    Raise UsageError for options that make no sense together, and without a terminal to ask on.
    """
    import shutil

    from evtools.doctor.context import DoctorOptions

    if values["fix"] and values["read_only"]:
        raise command.excluding("--fix", "--read-only")
    if values["yes"] and not values["fix"]:
        raise UsageError("--yes requires --fix", "add --fix")
    if values["fix"] and not (values["yes"] or (sys.stdin.isatty() and sys.stderr.isatty())):
        hint = "look at what it would remove without --fix, then add --yes"
        raise UsageError("--fix asks before it removes anything, which needs a terminal", hint)
    return build(
        DoctorOptions,
        values,
        confirm=(lambda _: True) if values["yes"] else _ask,
        output="json" if values["json_output"] else values["output"],
        colour=command.wants_colour(values["color"], sys.stdout),
        cols=shutil.get_terminal_size().columns if sys.stdout.isatty() else 0,
        verbose=bool(values["verbose"]),
    )


def _ask(question: str) -> bool:
    from evtools.text import sanitize

    try:
        return click.confirm(sanitize(question), default=False, err=True)
    except click.Abort as end:
        click.echo(err=True)  # the cursor is still behind the question
        if isinstance(end.__context__, EOFError):
            return False
        raise


_QUEUES: Final = click.Argument(["queues"], nargs=-1, metavar="[QUEUE]...")
evdoctor: Final = command.ToolCommand(
    "evdoctor", run, [_QUEUES, *_OPTIONS], help=_HELP, epilog=_EPILOG
)
