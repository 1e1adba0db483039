"""From evdump's command line to DumpOptions."""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Final, TextIO

import click
from click.core import ParameterSource

from evtools.cli.colour import wants_colour
from evtools.cli.filter_words import filter_of
from evtools.cli.moment import LocalZone
from evtools.cli.params import TextFile
from evtools.dump.choices import Output, Timestamps
from evtools.dump.options import MAX_SPEED, DumpOptions
from evtools.errors import UsageError

#: What tcpdump's -t, -tt, -ttt, ... stand for here.
_COUNTED_TIMESTAMPS: Final[tuple[Timestamps, ...]] = (
    *("none", "epoch", "delta", "iso", "start"),
)

#: Who reads times in UTC also writes them so in filters.
_UTC_TIMESTAMPS: Final = ("utc", "iso")

#: Options handed on under their own name.
_SAME: Final = (
    *("heartbeats", "redact", "count", "timeout", "idle", "since", "until", "demo"),
    *("rotate_size", "rotate_every", "rotate_keep", "line_buffered", "full"),
    *("quiet", "stats"),
)
#: Options that are texts; None becomes "".
_TEXTS: Final = ("expect", "read", "write", "highlight")

_ROTATION: Final = ("rotate_size", "rotate_every", "rotate_keep")

_Values = Mapping[str, Any]


def dump_options(ctx: click.Context) -> DumpOptions:
    """Return what the parsed command line of `ctx` asks for.

    Raise UsageError for options that make no sense together.
    """
    values = ctx.params
    for is_wrong, message, hint in _CONTRADICTIONS:
        if is_wrong(values):
            raise UsageError(message, hint)
    same: dict[str, Any] = {name: values[name] for name in _SAME}
    same |= {name: values[name] or "" for name in _TEXTS}
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


def _filters(values: _Values) -> tuple[str, ...]:
    file = "\n".join(
        line
        for line in _content(values["filter_file"]).splitlines()
        if not line.lstrip().startswith("#")
    )
    typed = filter_of(values["filters"])
    return tuple(text for text in (typed, file.strip()) if text.strip())


def _content(file: TextFile | None) -> str:
    return file.text if file else ""


def _output(ctx: click.Context) -> Output:
    values = ctx.params
    chosen: Output | None = values["output"]
    by_flag = ctx.get_parameter_source("output") is ParameterSource.COMMANDLINE
    wanted = _implied(values)
    if wanted is not None:
        if by_flag and chosen != wanted:
            raise UsageError(
                f"-o {chosen} and {_SHORTHANDS[wanted]} exclude each other",
                "leave one of them out",
            )
        return wanted
    if chosen == "template":
        raise UsageError(
            "-o template needs --template TEXT or -T FILE",
            "as in: --template '{ts} {type} {name}[{uuid:8}]'",
        )
    return chosen or ("text" if sys.stdout.isatty() else "json")


def _implied(values: _Values) -> Output | None:
    """Return the output format that another option asks for."""
    if values["json_output"]:
        return "json"
    if values["template"] or values["template_file"]:
        return "template"
    return None


_SHORTHANDS: Final[Mapping[str, str]] = {"json": "--json", "template": "--template"}


def _timestamps(values: _Values) -> Timestamps:
    count: int = values["ts_count"]
    if count:
        return _COUNTED_TIMESTAMPS[min(count, len(_COUNTED_TIMESTAMPS)) - 1]
    style: Timestamps | None = values["ts"]
    return style or "local"


def _colour(values: _Values, stream: TextIO) -> bool:
    return wants_colour(values["color"], os.environ, is_terminal=stream.isatty())


def _any_of(values: _Values, *names: str) -> bool:
    return any(values[name] is not None for name in names)


def _is_backwards(values: _Values) -> bool:
    return _any_of(values, "since") and (
        values["until"] is not None and values["until"] <= values["since"]
    )


#: When it is wrong, what to say, and what to do.
_CONTRADICTIONS: Final[tuple[tuple[Callable[[_Values], bool], str, str], ...]] = (
    (
        lambda v: bool(v["read"] and v["demo"]),
        "--read and --demo exclude each other",
        "a recording is no simulation",
    ),
    (
        lambda v: not v["read"] and _any_of(v, "speed", "since", "until"),
        "--speed, --since and --until are for recordings only",
        "give one with -r FILE",
    ),
    (
        _is_backwards,
        "--until is before --since",
        "both are moments; 10m means ten minutes ago",
    ),
    (
        lambda v: bool(v["print"] and v["write"] == "-"),
        "--print and -w - exclude each other",
        "both would write to stdout",
    ),
    (
        lambda v: v["write"] in (None, "-") and _any_of(v, *_ROTATION),
        "--rotate-size, --rotate-every and --rotate-keep need a file to rotate",
        "give one with -w FILE",
    ),
    (
        lambda v: _any_of(v, "rotate_keep") and not _any_of(v, *_ROTATION[:2]),
        "--rotate-keep needs --rotate-size or --rotate-every",
        "nothing says when to begin a new file",
    ),
    (
        lambda v: bool(v["template"] and v["template_file"]),
        "--template and --template-file exclude each other",
        "leave one of them out",
    ),
    (
        lambda v: bool(v["json_output"] and (v["template"] or v["template_file"])),
        "--json and --template exclude each other",
        "leave one of them out",
    ),
    (
        lambda v: bool(v["ts"] and v["ts_count"]),
        "--ts and -t exclude each other",
        "leave one of them out",
    ),
)
