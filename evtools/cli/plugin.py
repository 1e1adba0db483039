"""The tools as subcommands of celery: `celery -A proj evdump`."""

import sys
from typing import Any

import click

from evtools.cli.dump_command import DumpCommand
from evtools.cli.dump_command import evdump as standalone
from evtools.cli.failure import fail, guard
from evtools.errors import EvtoolsError


class Plugin(DumpCommand):
    """evdump, with its own way to fail inside another program's command line."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse; end the program when a settings file or application is wrong."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except EvtoolsError as error:
            sys.exit(fail("evdump", error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run evdump and end with its status."""

        def body() -> int:
            return int(super(Plugin, self).invoke(ctx) or 0)

        ctx.exit(guard("evdump", body, debug=bool(ctx.params.get("debug"))))


evdump = Plugin(
    "evdump",
    callback=standalone.callback,
    params=standalone.params,
    help=standalone.help,
    epilog=standalone.epilog,
    context_settings=standalone.context_settings,
)
