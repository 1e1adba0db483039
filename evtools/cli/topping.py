"""From evtop's command line to TopOptions."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from evtools.cli.colour import wants_colour
from evtools.cli.command import sources_of
from evtools.cli.contradictions import (
    BACKWARDS,
    RECORDED_DEMO,
    Contradiction,
    Values,
    both,
    is_typed,
    refuse,
    refuse_lone,
)
from evtools.cli.filter_words import filter_of
from evtools.cli.moment import LocalZone
from evtools.errors import UsageError
from evtools.top.choices import Output
from evtools.top.options import REFRESH_MIN, Check, TopOptions

#: Options handed on under their own name.
_SAME: Final = (
    *("view", "window", "redact", "theme", "ascii", "mouse", "max_tasks"),
    *("max_memory", "broker_stats", "read_only", "since", "until", "demo"),
    *("batch", "quiet", "read"),
)
#: Options that are texts; None becomes "".
_TEXTS: Final = ("sort", "expect", "write")
#: How long -d is when it is not given, in seconds.
_SCREEN_DELAY, _BATCH_DELAY, _CHECK_DELAY = 1.0, 5.0, 10.0

#: Options that mean something only with another one.
_NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "batch": ("iterations", "output", "json_output", "expect"),
    "check": ("consuming", "max_idle"),
    "read": ("speed", "since", "until"),
}
_CONTRADICTIONS: Final = (
    RECORDED_DEMO,
    both("read", "check"),
    both("batch", "check"),
    both("read", "broker_stats"),
    both("read", "write"),
    both("check", "write"),
    Contradiction(
        lambda v: v["write"] == "-", "evtop does not record to stdout", "give a file: -w FILE"
    ),
    BACKWARDS,
)


def top_options(ctx: click.Context) -> TopOptions:
    """Return what the parsed command line of `ctx` asks for.

    Raise UsageError for options that make no sense together, and where there
    is no terminal for a screen.
    """
    values = ctx.params
    refuse_lone(ctx, _NEEDS)
    refuse(values, _CONTRADICTIONS)
    check = _check(values)
    batch = bool(values["batch"])
    if not (batch or check):
        _require_terminal()
    same: dict[str, Any] = {name: values[name] for name in _SAME}
    same |= {name: values[name] or "" for name in _TEXTS}
    colour = wants_colour(values["color"], os.environ, is_terminal=sys.stdout.isatty())
    return TopOptions(
        **same,
        filter=_filter(values),
        columns=_columns(values["columns"] or ""),
        refresh=_delay(values, batch=batch, check=check),
        colour=colour,
        time_style=values["ts"],
        zone=LocalZone(),
        keys=sources_of(ctx).keys,
        speed=_speed(values),
        iterations=1 if values["iterations"] is None else values["iterations"],
        output=_output(ctx),
        check=check,
    )


def _require_terminal() -> None:
    for stream, name in ((sys.stdout, "stdout"), (sys.stdin, "stdin")):
        if not stream.isatty():
            raise UsageError(
                f"{name} is not a terminal", "for plain output use: evtop -B or evdump"
            )


def _check(values: Values) -> Check | None:
    if not values["check"]:
        return None
    return Check(
        workers=tuple(dict.fromkeys(values["check"])),
        queues=tuple(dict.fromkeys(values["consuming"])),
        max_idle=values["max_idle"],
    )


def _filter(values: Values) -> str:
    _refuse_other_meanings(values["filter"] or "")
    texts = [filter_of(values["filters"], reading=bool(values["read"])), values["filter"] or ""]
    texts = [text for text in texts if text.strip()]
    return texts[0] if len(texts) == 1 else " ".join(f"({text})" for text in texts)


def _refuse_other_meanings(text: str) -> None:
    """Refuse what -F is in evdump, a file, and in evcam and Celery, a frequency."""
    if _NUMBER.fullmatch(text):
        raise UsageError(
            f"-F {text}: -F is a filter here",
            f"how often to draw is -d {text}; to search for the text: -F '\"{text}\"'",
        )
    if ("." in text or "/" in text) and os.path.isfile(text):  # noqa: PTH113  (start-up time)
        raise UsageError(
            f"-F {text}: that is a file, and -F is a filter here",
            f'take it from the file with -F "$(cat {text})"',
        )


_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h)?", re.ASCII)


def _output(ctx: click.Context) -> Output:
    values = ctx.params
    chosen: Output = values["output"] or "table"
    if not values["json_output"]:
        return chosen
    if chosen != "json" and is_typed(ctx, "output"):
        raise UsageError(f"-o {chosen} and --json exclude each other", "leave one of them out")
    return "json"


def _columns(text: str) -> tuple[str, ...]:
    return tuple(name for name in map(str.strip, text.split(",")) if name)


def _delay(values: Values, *, batch: bool, check: Check | None) -> float:
    given = values["delay"]
    if batch or check:
        default = _BATCH_DELAY if batch else _CHECK_DELAY
        return float(default if given is None else given)
    if given is not None and given < REFRESH_MIN:
        raise UsageError(f"--delay: {given:g}s is too short", f"the shortest is {REFRESH_MIN:g}s")
    return float(_SCREEN_DELAY if given is None else given)


def _speed(values: Values) -> float:
    if values["speed"] is not None:
        return float(values["speed"])
    return float("inf") if values["batch"] else 1.0
