"""The doctor's command: options in, DoctorOptions and ConnectionSettings out."""

import os
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import params, recurring
from evtools.cli.colour import wants_colour
from evtools.cli.command import ToolCommand
from evtools.cli.options import option, shared_options
from evtools.doctor.options import OUTPUTS
from evtools.errors import UsageError

if TYPE_CHECKING:
    from evtools.doctor.options import DoctorOptions

_HELP: Final = """\
Find out why evtop, evdump or evcam show nothing: look at the way to the broker,
the login, the event exchange and the workers, and say what to type.

\b
Examples:
  evtools doctor -b redis://localhost:6379/0
  evtools doctor -b amqps://me@rabbit-1// --tls-ca ca.pem --read-only
  evtools doctor --fix                   remove what dead monitors have left
  evtools doctor -o json | jq .worst

QUEUEs are names of event queues to look at, and with --fix to delete: RabbitMQ
does not list them to us.
"""

_EPILOG: Final = (
    "The status is 0 if all is well or merely noteworthy, 3 with a warning, 4 with a"
    " problem. The doctor takes the options, environment and settings file of the"
    " other tools, and uses what concerns the connection. evtools(1) tells more."
)


_PREFIX: Final = "EVDOCTOR"
# What changes a broker shall stand on the command line, and nowhere else.
_own = partial(option, prefix=_PREFIX, envvar=(), in_file=False)


@click.command("evdoctor", cls=ToolCommand, help=_HELP, epilog=_EPILOG)
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@shared_options
@_own(
    *("-o", "--output"),
    group="Common",
    type=click.Choice(OUTPUTS),
    default="text",
    metavar="FORMAT",
    help="text, or json: one object with all findings.  [text]",
)
@_own(
    *("--wait",),
    group="Common",
    type=params.POSITIVE_DURATION,
    default=6.0,
    help="Listen for events for so long; less than two heartbeats of the workers"
    " tell little.  [6s]",
)
@_own(
    *("--fix",),
    group="Common",
    is_flag=True,
    help="Remove event queues, lists and bindings that nobody reads, after asking.",
)
@_own(*("--yes",), group="Common", is_flag=True, help="With --fix: do not ask.")
@recurring.json_output(prefix=_PREFIX)
@click.pass_context
def evdoctor(ctx: click.Context, /, **_values: Any) -> int:
    """Find out why nothing shows."""
    import logging  # noqa: PLC0415  (start-up time)

    from evtools.cli import logs  # noqa: PLC0415  (start-up time)
    from evtools.cli.beginning import begin  # noqa: PLC0415  (start-up time)

    values = ctx.params
    # Libraries complain about what the findings say better; of settings none does.
    logs.set_up("evtools doctor", verbosity=0, quiet=True, debug=values["debug"])
    settings = begin(ctx, level=logging.ERROR)
    if settings is None:
        return 0
    options = doctor_options(values)
    from evtools.doctor.app import run  # noqa: PLC0415  (start-up time)

    return run(options, settings)


def doctor_options(values: dict[str, Any]) -> "DoctorOptions":
    """Return what the parsed command line asks for.

    Raise UsageError for options that make no sense together, and where there
    is nobody to ask.
    """
    from evtools.doctor.options import DoctorOptions  # noqa: PLC0415  (start-up time)

    if values["fix"] and values["read_only"]:
        raise UsageError("--fix and --read-only exclude each other", "leave one of them out")
    if values["yes"] and not values["fix"]:
        raise UsageError("--yes means nothing without --fix", "add --fix")
    if values["fix"] and not (values["yes"] or _can_ask()):
        raise UsageError(
            "--fix asks before it removes, and there is no terminal to ask on",
            "look at what it would remove without --fix, then add --yes",
        )
    on_terminal = sys.stdout.isatty()
    return DoctorOptions(
        wait=values["wait"],
        queues=values["queues"],
        fix=values["fix"],
        confirm=_agree if values["yes"] else _ask,
        output="json" if values["json_output"] else values["output"],
        colour=wants_colour(values["color"], os.environ, is_terminal=on_terminal),
        cols=shutil.get_terminal_size().columns if on_terminal else 0,
        quiet=values["quiet"],
        verbose=bool(values["verbose"]),
    )


def _agree(question: str) -> bool:
    del question
    return True


def _can_ask() -> bool:
    """Return whether somebody sees the question, and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> bool:
    from evtools.text import sanitize  # noqa: PLC0415  (start-up time)

    try:
        return click.confirm(sanitize(question), default=False, err=True)
    except click.Abort as end:
        click.echo(err=True)  # the cursor still stands behind the question
        if isinstance(end.__context__, EOFError):
            return False
        raise
