"""evtools config: the settings of all tools, and a first settings file."""

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from textwrap import TextWrapper
from typing import Any, Final

import click

from evtools.cli import types
from evtools.cli.command import ARGUMENTS, ToolCommand, hide_secrets
from evtools.cli.config import sources_of
from evtools.cli.options import FLAG, GROUPS, Option, file_options
from evtools.cli.show_config import aligned, head, keys_of, rows_of, toml, toml_key
from evtools.cli.tools import TOOLS, command

_HELP: Final = """\
Print every setting and where it comes from: first those of all tools, then what each
tool has in addition, or set differently.

\b
Examples:
  evtools config
  evtools config --profile prod
  evtools config --default > ~/.config/evtools/evtools.toml

For one tool, including the options of its command line: evtop --show-config.
"""
_EPILOG: Final = (
    "Passwords are masked; the value of an option that is not set is -."
    " evtools.toml(5) describes the settings file."
)
#: The tools with settings of their own.
_CONFIGURED: Final = ("top", "dump", "cam")


def run(ctx: click.Context) -> int:
    if ctx.params["default"]:
        click.echo(settings_file(), nl=False)
        return 0
    from evtools.cli import logs
    from evtools.cli.connection import connection_settings

    logs.set_up("evtools config", {"debug": ctx.params["debug"]})
    for warning in sources_of(ctx).warnings:
        logging.getLogger(__name__).warning(warning)
    settings = connection_settings(ctx)
    hide_secrets(sys.argv, [each.urls for each in settings])
    common = rows_of(ctx, settings)
    lines = [head(ctx), *aligned(common)]
    stdin = sys.stdin
    typed = [each.url for each in ctx.params["broker"] if each.via.endswith("(stdin)")]
    for name in _CONFIGURED:
        if typed:  # it has been read already
            sys.stdin = io.TextIOWrapper(io.BytesIO("\n".join(typed).encode()))
        try:
            words = list(ctx.meta[ARGUMENTS])
            with command(name).make_context(TOOLS[name].program, words) as tool:
                rows = rows_of(tool, connection_settings(tool))
        finally:
            sys.stdin = stdin
        lines += ["", f"[{tool.command.name}]"]
        lines += [*aligned([row for row in rows if row not in common]), *keys_of(tool)]
    click.echo("\n".join(lines))
    return 0


_FILE_HEAD: Final = """\
# Settings of evtop, evdump, evcam and evtools doctor; see evtools.toml(5).
#
# Remove the # in front of a setting to set it.  Its value here is the default, or an
# example if there is none.  evtools config prints the effective settings.\
"""
_FILE_KEYS: Final = """\

# Keys of evtop: commands, and the key or keys for each; [] removes them.
[keys]
"""
_FILE_TAIL: Final = """\

# A profile, selected with --profile NAME, overrides the settings above.  It may have
# tables of its own, such as [profile.NAME.evdump].
#
# [profile.NAME]
# broker = "redis://localhost:6379/0"

# Celery's names for settings work, too: here, or at the top.
#
# [celery]
# broker_url = "redis://localhost:6379/0"
"""
_wrap: Final = TextWrapper(width=82, break_on_hyphens=False).wrap
#: Examples for options without a default, by type and by metavar.
# fmt: off
_EXAMPLES: Final[Mapping[Any, Any]] = {
    types.BROKER: "amqp://guest@localhost//", types.COUNT: 100, types.DURATION: "10s",
    types.FANOUT_PREFIX: "/{db}.", types.FILTER: "state:FAILURE", types.GROUP: "celery",
    types.POSITIVE_DURATION: "10s", types.RATE: "10/m", types.REGEX: "Error", types.SIZE: "100M",
    types.SPEED: "1x", types.UMASK: "027", types.USER: "celery", types.WHOLE: 1,
    "FILE": "/path/to/file", "DIR": "/path/to/folder", "HOST:PORT": "127.0.0.1:9808",
}
# fmt: on


def settings_file() -> str:
    """Return a settings file in which everything can be set and nothing is."""
    from evtools.top.keys import BINDINGS

    tools = [command(name) for name in _CONFIGURED]
    shared = [each for each in file_options(tools[0]) if each.shared]
    lines = [_FILE_HEAD]
    for option in sorted(shared, key=lambda each: GROUPS.index(each.group)):
        lines += _commented(option)
    for tool in tools:
        lines += ["", f"[{tool.name}]"]
        for option in file_options(tool):
            lines += [] if option.shared else _commented(option)
    lines.append(_FILE_KEYS)
    for binding in BINDINGS:
        lines += [f"# {binding.help}", f"#{toml_key(binding.command)} = {toml(binding.keys)}"]
    return "\n".join((*lines, _FILE_TAIL))


def _commented(option: Option) -> Iterator[str]:
    yield ""
    yield from (f"# {line}" for line in _wrap(option.help or ""))
    # Its default, or an example; click has a value of its own for options without a default.
    value = option.get_default(click.Context(click.Command("evtools")))
    if option.type in types.PAIRS:
        value = {}
    elif option.multiple:
        value = []
    elif not isinstance(value, bool | int | float | str):
        metavar = option.metavar or ""
        choices = getattr(option.type, "choices", None)
        example = _EXAMPLES.get(option.type, _EXAMPLES.get(metavar, metavar))
        value = True if option.is_flag else choices[0] if choices else example
    yield f"#{option.name} = {toml(value)}"


_DEFAULT: Final = Option(
    "Common", "--default", "Print a settings file with every setting in a comment, and its"
    " default.", FLAG, envvar=(), in_file=False,
)  # fmt: skip
evconfig: Final = ToolCommand("evconfig", run, [_DEFAULT], help=_HELP, epilog=_EPILOG)
