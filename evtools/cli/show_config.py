"""--show-config: the effective settings of a tool, and where each comes from."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from evtools.cli import types
from evtools.cli.config import Setting, alerts_of, merged_pairs, origin, sources_of
from evtools.cli.options import Option, file_options
from evtools.text import hide_credentials, sanitize

if TYPE_CHECKING:
    from evtools.transport import ConnectionSettings

_VALUE_MAX_COLS: Final = 44
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def show_config(ctx: click.Context, clusters: "Sequence[ConnectionSettings]") -> str:
    """Return every setting as in the settings file, with its origin and secrets masked."""
    return "\n".join((head(ctx), *aligned(rows_of(ctx, clusters)), *tables_of(ctx)))


def head(ctx: click.Context) -> str:
    return f"# settings file: {sanitize(str(sources_of(ctx).path or 'none'))}"


def rows_of(
    ctx: click.Context, clusters: "Sequence[ConnectionSettings]"
) -> list[tuple[str, str, str]]:
    """Return name, value and origin of each setting."""
    from evtools.cli.connection import broker_origin

    rows = []
    for option in file_options(ctx.command):
        name = option.name or ""
        place = broker_origin(ctx) if name == "broker" else origin(ctx, name)
        rows.append((name, _value(ctx, option, clusters), sanitize(place)))
    return rows


def aligned(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(_VALUE_MAX_COLS, max((len(value) for _, value, _ in rows), default=0))
    return [f"{name:<{names}} = {value:<{values}}  # {place}" for name, value, place in rows]


def tables_of(ctx: click.Context) -> Iterator[str]:
    """Yield what the tables of evtop and evcam in the settings file have, such as [keys]."""
    sources = sources_of(ctx)
    if ctx.command.name == "evcam":
        yield from _alerts(alerts_of(ctx))
    if ctx.command.name != "evtop":
        return
    if sources.keys:
        yield "[keys]"
        for name, keys in sources.keys.items():
            yield f"{toml_key(name)} = {toml(keys)}  # {sanitize(str(sources.path))}"
    for table, settings in sources.tables.items():
        if table == "alert":
            yield from _alerts(settings)
            continue
        if table == "command":
            for name, (program, place) in settings.items():
                yield f"[command.{toml_key(name)}]"
                yield f"run = {toml(program.run)}  # {sanitize(place)}"
            continue
        yield f"[evtop.{table}]"
        for name, (value, place) in settings.items():
            yield f"{toml_key(name)} = {toml(value)}  # {sanitize(place)}"


def _alerts(alerts: Mapping[str, Setting]) -> Iterator[str]:
    for name, (rule, place) in alerts.items():
        yield f"[alert.{toml_key(name)}]"
        for key, value in (rule.settings() | rule.notices()).items():
            yield f"{key} = {hide_credentials(toml(value))}  # {sanitize(place)}"


def _value(ctx: click.Context, option: Option, clusters: "Sequence[ConnectionSettings]") -> str:
    from evtools.cli.connection import transport_options
    from evtools.transport.url import mask_options

    name = option.name or ""
    value = ctx.params[name]
    if name == "broker":
        named = [
            f"{one.cluster}={one.masked()}" if one.cluster else one.masked() for one in clusters
        ]
        return toml(named if len(named) > 1 else named[0])
    if option.type in types.PAIRS:
        is_broker = name == "broker_option"
        value = mask_options(transport_options(ctx) if is_broker else merged_pairs(ctx, name))
    elif option.type is types.COMMAND and value:
        value = shlex.join(value)
    elif option.type is types.DURATION_OR_NONE and value is None:
        value = "none"
    elif name in ("accept", "event_routing_key"):
        value = clusters[0].accept if name == "accept" else clusters[0].routing_keys
    elif isinstance(value, types.TextFile):
        value = value.path
    return hide_credentials(toml(value))  # a camera may be the URL of a database


def toml(value: Any) -> str:
    """Return a value as TOML has it, on one line; `-` for None."""
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else sanitize(json.dumps(value, ensure_ascii=False, default=str))


def toml_key(key: Any) -> str:
    text = str(key)
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text)
