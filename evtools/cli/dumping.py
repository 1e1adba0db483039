"""From evdump's command line to DumpOptions."""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final, TextIO

import click

from evtools.cli.colour import wants_colour
from evtools.cli.contradictions import (
    BACKWARDS,
    RECORDED_DEMO,
    Contradiction,
    Values,
    both,
    flag,
    is_typed,
    refuse,
    refuse_lone,
    refuse_rivals,
)
from evtools.cli.filter_words import filter_of
from evtools.cli.moment import LocalZone
from evtools.cli.params import TextFile
from evtools.dump.choices import Output, Timestamps
from evtools.dump.options import MAX_SPEED, DumpOptions
from evtools.errors import UsageError

#: What tcpdump's -t, -tt, -ttt, ... stand for here.
_COUNTED_TIMESTAMPS: Final[tuple[Timestamps, ...]] = (*("none", "epoch", "delta", "iso", "start"),)

#: Who reads times in UTC also writes them so in filters.
_UTC_TIMESTAMPS: Final = ("utc", "iso")

#: Options handed on under their own name.
_SAME: Final = (
    *("heartbeats", "redact", "count", "timeout", "idle", "since", "until", "demo", "read"),
    *("line_buffered", "full", "quiet", "stats"),
)
#: Options that are texts; None becomes "".
_TEXTS: Final = ("expect", "write", "highlight")

_ROTATION: Final = ("rotate_size", "rotate_every", "rotate_keep")

#: Options that mean something only with another one.
_NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "read": ("speed", "since", "until"),
    "write": _ROTATION,
}
#: Of each pair a command line has one.
_RIVALS: Final = (("ts", "ts_count"), ("json_output", "template"), ("json_output", "template_file"))
_CONTRADICTIONS: Final = (
    RECORDED_DEMO,
    BACKWARDS,
    Contradiction(
        lambda v: bool(v["print"] and v["write"] == "-"),
        "--print and -w - exclude each other",
        "both would write to stdout",
    ),
    Contradiction(
        lambda v: bool(v["rotate_keep"] and not (v["rotate_size"] or v["rotate_every"])),
        "--rotate-keep needs --rotate-size or --rotate-every",
        "nothing says when to begin a new file",
    ),
    both("template", "template_file"),
)
#: Options that ask for an output format, the strongest first.
_IMPLIED: Final[Mapping[str, Output]] = {
    "json_output": "json",
    "template": "template",
    "template_file": "template",
}


def dump_options(ctx: click.Context) -> DumpOptions:
    """Return what the parsed command line of `ctx` asks for.

    Raise UsageError for options that make no sense together.
    """
    values = ctx.params
    refuse_lone(ctx, _NEEDS)
    refuse_rivals(ctx, _RIVALS)
    refuse(values, _CONTRADICTIONS)
    same: dict[str, Any] = {name: values[name] for name in _SAME}
    same |= {name: values[name] or "" for name in _TEXTS}
    same |= _rotation(ctx)
    timestamps = _timestamps(values)
    return DumpOptions(
        **same,
        filters=_filters(values),
        excludes=values["exclude"],
        speed=MAX_SPEED if values["speed"] is None else float(values["speed"]),
        print=values["print"] or not values["write"],
        output=_output(ctx),
        template=values["template"] or _content(values["template_file"]),
        timestamps=timestamps,
        zone=UTC if timestamps in _UTC_TIMESTAMPS else LocalZone(),
        colour=_colour(values, sys.stdout),
        colour_stderr=_colour(values, sys.stderr),
        verbosity=values["verbose"],
    )


def _rotation(ctx: click.Context) -> Values:
    """Return how to rotate; who typed it for stdout is told by the recorder."""
    to_file = ctx.params["write"] != "-"
    return {name: ctx.params[name] for name in _ROTATION if to_file or is_typed(ctx, name)}


def _filters(values: Values) -> tuple[str, ...]:
    file = "\n".join(
        line
        for line in _content(values["filter_file"]).splitlines()
        if not line.lstrip().startswith("#")
    )
    typed = filter_of(values["filters"], reading=bool(values["read"]))
    return tuple(text for text in (typed, file.strip()) if text.strip())


def _content(file: TextFile | None) -> str:
    return file.text if file else ""


def _output(ctx: click.Context) -> Output:
    chosen: Output | None = ctx.params["output"]
    for name, implied in _IMPLIED.items():
        if not ctx.params[name]:
            continue
        if not is_typed(ctx, "output") or chosen == implied:
            return implied
        if is_typed(ctx, name):
            raise UsageError(
                f"-o {chosen} and {flag(name)} exclude each other", "leave one of them out"
            )
    if chosen == "template":
        raise UsageError(
            "-o template needs --template TEXT or -T FILE",
            "as in: --template '{ts} {type} {name}[{uuid:8}]'",
        )
    return chosen or ("text" if sys.stdout.isatty() else "json")


def _timestamps(values: Values) -> Timestamps:
    count: int = values["ts_count"]
    if count:
        return _COUNTED_TIMESTAMPS[min(count, len(_COUNTED_TIMESTAMPS)) - 1]
    style: Timestamps | None = values["ts"]
    return style or "local"


def _colour(values: Values, stream: TextIO) -> bool:
    return wants_colour(values["color"], os.environ, is_terminal=stream.isatty())
