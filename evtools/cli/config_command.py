"""The config command: what is set for all tools, and a settings file to begin with."""

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from evtools.cli.command import Sources, ToolCommand, sources_of
from evtools.cli.entry import TOOLS, command
from evtools.cli.options import option, shared_options

_HELP: Final = """\
Print each setting and where it comes from: those of all tools first, then what
each tool has besides, or has otherwise.

\b
Examples:
  evtools config
  evtools config --profile prod
  evtools config --default > ~/.config/evtools/evtools.toml

For one tool, and with its own options: evtop --show-config.
"""

_EPILOG: Final = (
    "Passwords are masked, and an option that is not set has the value -."
    " evtools.toml(5) describes the settings file."
)
_ARGUMENTS: Final = "evtools.arguments"
#: The tools with settings of their own.
_CONFIGURED: Final = ("top", "dump", "cam")


class ConfigCommand(ToolCommand):
    """The command; it remembers its arguments, for the tools to parse."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as each tool does."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def _sources(self, ctx: click.Context, given: Mapping[str, Any]) -> Sources:
        """Read nothing for a new file: the one that is there may be broken."""
        return Sources() if "default" in given else super()._sources(ctx, given)


@click.command("evconfig", cls=ConfigCommand, help=_HELP, epilog=_EPILOG)
@shared_options
@option(
    "--default",
    prefix="EVCONFIG",
    group="Common",
    envvar=(),
    in_file=False,
    is_flag=True,
    help="Print a settings file that has every setting in a comment, and its default.",
)
@click.pass_context
def evconfig(ctx: click.Context, /, **values: Any) -> int:
    """Print each setting and where it comes from."""
    if values["default"]:
        from evtools.cli.settings_file import settings_file  # noqa: PLC0415  (ditto)

        click.echo(settings_file(), nl=False)
        return 0
    from evtools.cli import logs  # noqa: PLC0415  (start-up time)

    logs.set_up("evtools config", verbosity=0, quiet=False, debug=values["debug"])
    for warning in sources_of(ctx).warnings:
        logging.getLogger(__name__).warning(warning)
    for line in _lines(ctx):
        click.echo(line)
    return 0


def _lines(ctx: click.Context) -> Iterator[str]:
    from evtools.cli import show  # noqa: PLC0415  (start-up time)
    from evtools.cli.connecting import connection_settings  # noqa: PLC0415  (ditto)
    from evtools.cli.title import hide_secrets  # noqa: PLC0415  (start-up time)

    settings = connection_settings(ctx)
    hide_secrets(sys.argv, settings.urls)
    common = show.rows(ctx, settings)
    yield show.head(ctx)
    yield from show.aligned(common)
    for name in _CONFIGURED:
        with _context(name, ctx) as tool:
            rows = show.rows(tool, connection_settings(tool))
            yield ""
            yield f"[{tool.command.name}]"
            yield from show.aligned([row for row in rows if row not in common])
            yield from show.keys(tool)


@contextmanager
def _context(name: str, ctx: click.Context) -> Iterator[click.Context]:
    """Parse our arguments as a tool would."""
    arguments, stdin = list(ctx.meta[_ARGUMENTS]), sys.stdin
    broker = ctx.params["broker"]
    if broker and broker.via.endswith("(stdin)"):
        # It is read once for all.
        sys.stdin = io.TextIOWrapper(io.BytesIO(broker.url.encode()))
    try:
        with command(name).make_context(TOOLS[name].program, arguments) as tool:
            yield tool
    finally:
        sys.stdin = stdin
