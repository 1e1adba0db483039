"""What a format is, and which there are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from importlib import import_module
from typing import Final, Protocol, cast

from evtools.dump.choices import Output, Timestamps
from evtools.text import BoundedPattern
from evtools.wire import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """How events shall look; each format takes from it what it knows.

    `zone` is None for the zone of this machine.  `multiline` allows `text` to
    put a traceback on lines of its own.  `highlight` marks what it matches,
    where there is colour.  `template` is for the format of that name.
    """

    colour: bool = False
    verbosity: int = 0
    quiet: bool = False
    timestamps: Timestamps = "local"
    zone: tzinfo | None = None
    full: bool = False
    multiline: bool = False
    highlight: BoundedPattern | None = None
    template: str = ""


class Formatter(Protocol):
    """Turn events into bytes for stdout.

    A formatter may remember the event before (for time differences, column
    widths), so every stream has its own.
    """

    def header(self) -> bytes:
        """Return what stands before the first event; mostly nothing."""
        ...

    def format(self, event: Event) -> bytes:
        """Return the event with its newline; never raise."""
        ...

    def format_all(self, events: Iterable[Event]) -> bytes:
        """Return the events, each with its newline; never raise."""
        return b"".join([self.format(event) for event in events])


class _Module(Protocol):
    def make(self, options: FormatOptions) -> Formatter: ...


#: The module of every format, imported on use; each has a `make(options)`.
FORMATS: Final[Mapping[Output, str]] = {
    "text": "evtools.dump.formats.text",
    "json": "evtools.dump.formats.json",
    "pretty": "evtools.dump.formats.pretty",
    "logfmt": "evtools.dump.formats.logfmt",
    "csv": "evtools.dump.formats.csv",
    "raw": "evtools.dump.formats.raw",
    "template": "evtools.dump.formats.template",
}


def make_formatter(name: Output, options: FormatOptions) -> Formatter:
    """Make the formatter called `name`.

    Raises `TemplateError` when `options.template` is needed and cannot be read.
    """
    module = cast("_Module", import_module(FORMATS[name]))
    return module.make(options)
