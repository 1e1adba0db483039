"""The tools as subcommands of celery: `celery -A proj evtop`."""

import sys
from typing import Any

import click

from evtools.cli.cam_command import evcam as standalone_evcam
from evtools.cli.command import ToolCommand
from evtools.cli.dump_command import evdump as standalone_evdump
from evtools.cli.failure import fail, guard
from evtools.cli.top_command import evtop as standalone_evtop
from evtools.errors import EvtoolsError


class Plugin(ToolCommand):
    """A tool with its own way to fail inside another program's command line."""

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
            sys.exit(fail(str(self.name), error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the tool and end with its status."""

        def body() -> int:
            return int(super(Plugin, self).invoke(ctx) or 0)

        ctx.exit(guard(str(self.name), body, debug=bool(ctx.params.get("debug"))))


def _of(standalone: ToolCommand) -> Plugin:
    return Plugin(
        standalone.name,
        groups=standalone.groups,
        callback=standalone.callback,
        params=standalone.params,
        help=standalone.help,
        epilog=standalone.epilog,
    )


evcam = _of(standalone_evcam)
evdump = _of(standalone_evdump)
evtop = _of(standalone_evtop)
