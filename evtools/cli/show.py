"""What --show-config prints."""

import json
import re
from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Any, Final

import click

from evtools.cli.command import Sources, sources_of
from evtools.cli.connecting import (
    CONNECTION_FIELDS,
    FIELDS,
    broker_origin,
    merged_pairs,
    transport_options,
)
from evtools.cli.options import Option
from evtools.cli.params import DURATION_OR_NONE, PAIRS, TextFile
from evtools.text import hide_credentials, sanitize
from evtools.transport import ConnectionSettings
from evtools.transport.url import mask_options

_WIDEST_VALUE = 44


def show_config(ctx: click.Context, settings: ConnectionSettings) -> str:
    """Return every setting with its origin, aligned, secrets masked.

    The values are written as in the settings file; `-` means not set.
    """
    rows = [
        (option.name or "", _value(ctx, option, settings), _origin(ctx, option))
        for option in ctx.command.params
        if isinstance(option, Option) and option.in_file
    ]
    names = max(len(name) for name, _, _ in rows)
    values = min(_WIDEST_VALUE, max(len(value) for _, value, _ in rows))
    sources = sources_of(ctx)
    return "\n".join(
        (
            f"# settings file: {sanitize(str(sources.config or 'none'))}",
            *(
                f"{name:<{names}} = {value:<{values}}  # {origin}"
                for name, value, origin in rows
            ),
            *_keys(ctx, sources),
        )
    )


def _keys(ctx: click.Context, sources: Sources) -> Iterator[str]:
    """Yield evtop's keys that are not the built-in ones, as a table."""
    if sources.keys and ctx.command.name == "evtop":
        yield "[keys]"
        for command, keys in sources.keys.items():
            yield f"{_key(command)} = {_toml(keys)}  # {sanitize(str(sources.config))}"


def _value(ctx: click.Context, option: Option, settings: ConnectionSettings) -> str:
    name = option.name or ""
    field = FIELDS.get(name, name)
    if name == "broker":
        return _toml(settings.masked())
    if option.type in PAIRS:
        broker = name == "broker_option"
        pairs = transport_options(ctx) if broker else merged_pairs(ctx, name)
        return hide_credentials(_toml(mask_options(pairs)))
    if option.type is DURATION_OR_NONE and ctx.params[name] is None:
        return _toml("none")
    if option.shared and field in CONNECTION_FIELDS:
        return _toml(getattr(settings, field) or ctx.params[name])
    value = ctx.params[name]
    # A camera may be named with the URL of its database.
    shown = _toml(value.path if isinstance(value, TextFile) else value)
    return hide_credentials(shown)


def _origin(ctx: click.Context, option: Option) -> str:
    if option.name == "broker":
        return sanitize(broker_origin(ctx))
    return sanitize(sources_of(ctx).origin(ctx, option.name or ""))


_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _toml(value: Any) -> str:
    """Write a value as TOML does, on one line."""
    write = next((write for types, write in _WRITERS if isinstance(value, types)), str)
    return sanitize(write(value))


def _table(value: dict[str, Any]) -> str:
    inner = ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items())
    return f"{{{inner}}}"


def _list(value: list[Any] | tuple[Any, ...]) -> str:
    return f"[{', '.join(map(_toml, value))}]"


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


def _key(key: Any) -> str:
    text = str(key)
    return text if _BARE.fullmatch(text) else json.dumps(text)
