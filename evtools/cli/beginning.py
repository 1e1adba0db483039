"""What the tools do first, alike: warn, hide secrets, show what is set."""

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import click

from evtools.cli.command import sources_of
from evtools.cli.connecting import connection_settings
from evtools.cli.show import show_config
from evtools.cli.title import hide_secrets
from evtools.transport import ConnectionSettings

Maker: TypeAlias = Callable[[click.Context], ConnectionSettings]

_log: Final = logging.getLogger(__name__)


def begin(
    ctx: click.Context,
    make: Maker = connection_settings,
    *,
    secrets: Iterable[str] = (),
    level: int = logging.WARNING,
) -> ConnectionSettings | None:
    """Return the connection settings that `make` reads from the command line.

    None if there is nothing more to do: they were to be shown, and have been.
    What is doubtful about them is logged at `level`; their passwords and
    `secrets` are taken from the process list.  Raise what `make` does.
    """
    for warning in sources_of(ctx).warnings:
        _log.log(level, warning)
    settings = make(ctx)
    hide_secrets(sys.argv, settings.urls, secrets)
    if ctx.params["show_config"]:
        click.echo(show_config(ctx, settings))
        return None
    if "pickle" in settings.accept:
        _log.log(level, "pickled events are decoded, as far as they are harmless")
    return settings
