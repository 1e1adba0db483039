"""--show-config, evtools config, and a first settings file."""

import io
import json
import logging
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from evtools.cli import types
from evtools.cli.command import ARGUMENTS, SHARED, ToolCommand, hide_secrets
from evtools.cli.config import merged_pairs, origin, sources_of
from evtools.cli.options import FLAG, GROUPS, Option
from evtools.cli.tools import TOOLS, command
from evtools.text import hide_credentials, sanitize

if TYPE_CHECKING:
    from evtools.transport import ConnectionSettings

_VALUE_MAX_COLS: Final = 44
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Row(NamedTuple):
    """A setting: name, value as in the settings file, and where it comes from."""

    name: str
    value: str
    origin: str


def show_config(ctx: click.Context, settings: "ConnectionSettings") -> str:
    """Return every setting with its origin, aligned, with secrets masked.

    The values are written as in the settings file; `-` means not set.
    """
    return "\n".join((_head(ctx), *_aligned(_rows(ctx, settings)), *_keys(ctx)))


def _head(ctx: click.Context) -> str:
    return f"# settings file: {sanitize(str(sources_of(ctx).path or 'none'))}"


def _rows(ctx: click.Context, settings: "ConnectionSettings") -> list[Row]:
    from evtools.cli.connection import broker_origin

    rows = []
    for option in _options(ctx.command):
        name = option.name or ""
        place = broker_origin(ctx) if name == "broker" else origin(ctx, name)
        rows.append(Row(name, _value(ctx, option, settings), sanitize(place)))
    return rows


def _options(tool: click.Command) -> list[Option]:
    """Return the options that can be in the settings file."""
    return [each for each in tool.params if isinstance(each, Option) and each.in_file]


def _aligned(rows: Sequence[Row]) -> list[str]:
    names = max((len(row.name) for row in rows), default=0)
    values = min(_VALUE_MAX_COLS, max((len(row.value) for row in rows), default=0))
    return [f"{row.name:<{names}} = {row.value:<{values}}  # {row.origin}" for row in rows]


def _keys(ctx: click.Context) -> Iterator[str]:
    """Yield the keys of evtop that are not the built-in ones, as a table."""
    sources = sources_of(ctx)
    if sources.keys and ctx.command.name == "evtop":
        yield "[keys]"
        for name, keys in sources.keys.items():
            yield f"{_toml_key(name)} = {toml(keys)}  # {sanitize(str(sources.path))}"


def _value(ctx: click.Context, option: Option, settings: "ConnectionSettings") -> str:
    from evtools.cli.connection import FIELDS, transport_options
    from evtools.transport.url import mask_options

    name = option.name or ""
    value = ctx.params[name]
    if name == "broker":
        return toml(settings.masked())
    if option.type in types.PAIRS:
        is_broker = name == "broker_option"
        value = mask_options(transport_options(ctx) if is_broker else merged_pairs(ctx, name))
    elif option.type is types.COMMAND and value:
        value = shlex.join(value)
    elif option.type is types.DURATION_OR_NONE and value is None:
        value = "none"
    elif option.shared and name in FIELDS:
        value = getattr(settings, FIELDS[name]) or value
    elif isinstance(value, types.TextFile):
        value = value.path
    return hide_credentials(toml(value))  # a camera may be the URL of a database


def toml(value: Any) -> str:
    """Return a value as TOML has it, on one line; `-` for None."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml_key(key)} = {toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else sanitize(json.dumps(value, ensure_ascii=False, default=str))


def _toml_key(key: Any) -> str:
    text = str(key)
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text)


# --- evtools config -----------------------------------------------------------------

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


@click.command(
    "evconfig",
    cls=ToolCommand,
    params=[
        *SHARED,
        Option(
            "Common",
            "--default",
            FLAG,
            "Print a settings file with every setting in a comment, and its default.",
            prefix="EVCONFIG",
            envvar=(),
            in_file=False,
        ),
    ],
    help=_HELP,
    epilog=_EPILOG,
)
@click.pass_context
def evconfig(ctx: click.Context, /, **values: Any) -> int:
    """Print every setting and where it comes from."""
    if values["default"]:
        click.echo(settings_file(), nl=False)
        return 0
    from evtools.cli import logs

    logs.set_up("evtools config", verbose=0, quiet=False, debug=values["debug"])
    for warning in sources_of(ctx).warnings:
        logging.getLogger(__name__).warning(warning)
    for line in _of_all_tools(ctx):
        click.echo(line)
    return 0


def _of_all_tools(ctx: click.Context) -> Iterator[str]:
    from evtools.cli.connection import connection_settings

    settings = connection_settings(ctx)
    hide_secrets(sys.argv, settings.urls)
    common = _rows(ctx, settings)
    yield _head(ctx)
    yield from _aligned(common)
    for name in _CONFIGURED:
        with _context(name, ctx) as tool:
            rows = _rows(tool, connection_settings(tool))
            yield ""
            yield f"[{tool.command.name}]"
            yield from _aligned([row for row in rows if row not in common])
            yield from _keys(tool)


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
        shared = (each for each in _options(tools[0]) if each.shared and each.group == group)
        lines += _commented(shared)
    for tool in tools:
        lines += ["", f"[{tool.name}]"]
        lines += _commented(each for each in _options(tool) if not each.shared)
    lines.append(_FILE_KEYS)
    for binding in BINDINGS:
        lines += [f"# {binding.help}", f"#{_toml_key(binding.command)} = {toml(binding.keys)}"]
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
