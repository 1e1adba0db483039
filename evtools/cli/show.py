"""What --show-config prints."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple

import click

from evtools.cli.command import sources_of
from evtools.cli.connecting import (
    CONNECTION_FIELDS,
    FIELDS,
    broker_origin,
    merged_pairs,
    transport_options,
)
from evtools.cli.options import Option
from evtools.cli.params import COMMAND, DURATION_OR_NONE, PAIRS, TextFile
from evtools.text import hide_credentials, sanitize
from evtools.transport import ConnectionSettings
from evtools.transport.url import mask_options

_WIDEST_VALUE = 44


class Row(NamedTuple):
    """A setting: name, value as in the settings file, and where it comes from."""

    name: str
    value: str
    origin: str


def show_config(ctx: click.Context, settings: ConnectionSettings) -> str:
    """Return every setting with its origin, aligned, secrets masked.

    The values are written as in the settings file; `-` means not set.
    """
    return "\n".join((head(ctx), *aligned(rows(ctx, settings)), *keys(ctx)))


def head(ctx: click.Context) -> str:
    """Return which settings file there is."""
    return f"# settings file: {sanitize(str(sources_of(ctx).config or 'none'))}"


def rows(ctx: click.Context, settings: ConnectionSettings) -> list[Row]:
    """Return every setting, secrets masked."""
    return [
        Row(option.name or "", _value(ctx, option, settings), _origin(ctx, option))
        for option in ctx.command.params
        if isinstance(option, Option) and option.in_file
    ]


def aligned(rows: Sequence[Row]) -> list[str]:
    """Return settings as lines."""
    names = max((len(row.name) for row in rows), default=0)
    values = min(_WIDEST_VALUE, max((len(row.value) for row in rows), default=0))
    return [f"{row.name:<{names}} = {row.value:<{values}}  # {row.origin}" for row in rows]


def keys(ctx: click.Context) -> Iterator[str]:
    """Yield evtop's keys that are not the built-in ones, as a table."""
    sources = sources_of(ctx)
    if sources.keys and ctx.command.name == "evtop":
        origin = sanitize(str(sources.config))
        yield "[keys]"
        for command, names in sources.keys.items():
            yield f"{toml_key(command)} = {toml(names)}  # {origin}"


def _value(ctx: click.Context, option: Option, settings: ConnectionSettings) -> str:
    name = option.name or ""
    field = FIELDS.get(name, name)
    if name == "broker":
        return toml(settings.masked())
    if option.type in PAIRS:
        broker = name == "broker_option"
        pairs = transport_options(ctx) if broker else merged_pairs(ctx, name)
        return hide_credentials(toml(mask_options(pairs)))
    if option.type is COMMAND and ctx.params[name]:
        return hide_credentials(toml(shlex.join(ctx.params[name])))
    if option.type is DURATION_OR_NONE and ctx.params[name] is None:
        return toml("none")
    if option.shared and field in CONNECTION_FIELDS:
        return toml(getattr(settings, field) or ctx.params[name])
    value = ctx.params[name]
    # A camera may be named with the URL of its database.
    shown = toml(value.path if isinstance(value, TextFile) else value)
    return hide_credentials(shown)


def _origin(ctx: click.Context, option: Option) -> str:
    if option.name == "broker":
        return sanitize(broker_origin(ctx))
    return sanitize(sources_of(ctx).origin(ctx, option.name or ""))


_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def toml(value: Any) -> str:
    """Write a value as TOML does, on one line; `-` for None."""
    write = next((write for types, write in _WRITERS if isinstance(value, types)), str)
    return sanitize(write(value))


def _table(value: dict[str, Any]) -> str:
    inner = ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items())
    return f"{{{inner}}}"


def _list(value: list[Any] | tuple[Any, ...]) -> str:
    return f"[{', '.join(map(toml, value))}]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


#: The first that fits is taken: a bool is an int, too.
_WRITERS: Final[tuple[tuple[type[Any] | UnionType, Callable[[Any], str]], ...]] = (
    (NoneType, lambda _: "-"),
    (dict, _table),
    (list | tuple, _list),
    (bool, lambda value: str(value).lower()),
    (str, _text),
    (float, lambda value: f"{value:g}"),
)


def toml_key(key: Any) -> str:
    """Write a key as TOML does."""
    text = str(key)
    return text if _BARE.fullmatch(text) else json.dumps(text)
