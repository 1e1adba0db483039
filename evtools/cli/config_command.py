"""evtools config: the settings of all tools, and a first settings file."""

import io
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import TextWrapper
from typing import Any, Final

import click

from evtools.cli import types
from evtools.cli.command import ARGUMENTS, ToolCommand, hide_secrets
from evtools.cli.config import sources_of
from evtools.cli.options import FLAG, GROUPS, Option
from evtools.cli.show_config import aligned, file_options, head, keys_of, rows_of, toml, toml_key
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

    logs.set_up("evtools config", {"debug": ctx.params["debug"]})
    for warning in sources_of(ctx).warnings:
        logging.getLogger(__name__).warning(warning)
    for line in _of_all_tools(ctx):
        click.echo(line)
    return 0


def _of_all_tools(ctx: click.Context) -> Iterator[str]:
    from evtools.cli.connection import connection_settings

    settings = connection_settings(ctx)
    hide_secrets(sys.argv, settings.urls)
    common = rows_of(ctx, settings)
    yield head(ctx)
    yield from aligned(common)
    for name in _CONFIGURED:
        with _context(name, ctx) as tool:
            rows = rows_of(tool, connection_settings(tool))
            yield ""
            yield f"[{tool.command.name}]"
            yield from aligned([row for row in rows if row not in common])
            yield from keys_of(tool)


@contextmanager
def _context(name: str, ctx: click.Context) -> Iterator[click.Context]:
    """Parse the arguments of `ctx` as a tool would."""
    arguments, stdin = list(ctx.meta[ARGUMENTS]), sys.stdin
    broker = ctx.params["broker"]
    if broker and broker.via.endswith("(stdin)"):
        # It has been read already.
        sys.stdin = io.TextIOWrapper(io.BytesIO(broker.url.encode()))
    try:
        with command(name).make_context(TOOLS[name].program, arguments) as tool:
            yield tool
    finally:
        sys.stdin = stdin


# --- a first settings file ----------------------------------------------------------

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
_EXAMPLES: Final[Mapping[Any, Any]] = {
    types.BROKER: "amqp://guest@localhost//",
    types.COUNT: 100,
    types.DURATION: "10s",
    types.FANOUT_PREFIX: "/{db}.",
    types.FILTER: "state:FAILURE",
    types.POSITIVE_DURATION: "10s",
    types.GROUP: "celery",
    types.RATE: "10/m",
    types.REGEX: "Error",
    types.SIZE: "100M",
    types.SPEED: "1x",
    types.UMASK: "027",
    types.USER: "celery",
    types.WHOLE: 1,
    "FILE": "/path/to/file",
    "DIR": "/path/to/folder",
    "HOST:PORT": "127.0.0.1:9808",
}


def settings_file() -> str:
    """Return a settings file in which everything can be set and nothing is."""
    from evtools.top.keys import BINDINGS

    tools = [command(name) for name in _CONFIGURED]
    lines = [_FILE_HEAD]
    for group in GROUPS:
        shared = (each for each in file_options(tools[0]) if each.shared and each.group == group)
        lines += _commented(shared)
    for tool in tools:
        lines += ["", f"[{tool.name}]"]
        lines += _commented(each for each in file_options(tool) if not each.shared)
    lines.append(_FILE_KEYS)
    for binding in BINDINGS:
        lines += [f"# {binding.help}", f"#{toml_key(binding.command)} = {toml(binding.keys)}"]
    return "\n".join((*lines, _FILE_TAIL))


def _commented(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        yield ""
        yield from (f"# {line}" for line in _wrap(option.help or ""))
        yield f"#{option.name} = {toml(_example(option))}"


def _example(option: Option) -> Any:
    """Return the default of an option, or an example."""
    if option.type in types.PAIRS:
        return {}
    if option.multiple:
        return []
    default = option.get_default(click.Context(click.Command("evtools")))
    # click has a value of its own for options without a default.
    if isinstance(default, bool | int | float | str):
        return default
    if option.is_flag:
        return True
    metavar = option.metavar or ""
    example = _EXAMPLES.get(option.type, _EXAMPLES.get(metavar, metavar))
    return next(iter(getattr(option.type, "choices", ())), example)


_DEFAULT: Final = Option(
    "Common", "--default", FLAG, envvar=(), in_file=False,
    help="Print a settings file with every setting in a comment, and its default.",
)  # fmt: skip
evconfig: Final = ToolCommand("evconfig", run, [_DEFAULT], help=_HELP, epilog=_EPILOG)
