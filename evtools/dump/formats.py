"""Events as bytes for stdout: json, raw, logfmt, csv, pretty, and what the others share."""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from evtools.dump.options import DumpOptions, Timestamps
from evtools.text import clip, csv_cell, human_duration, sanitize, sanitize_lines, width
from evtools.wire import EnvelopeWriter, Event, encode_line, envelope, iso_utc

UNKNOWN: Final = "-"
#: A mark that the sender's "..." cannot be mistaken for.
CUT: Final = "\N{HORIZONTAL ELLIPSIS}"


class Formatter:
    """Turns the events of one stream into bytes; it may remember earlier ones."""

    #: What stands before the first event.
    header = b""

    def __init__(self, options: DumpOptions) -> None:
        self.options = options

    def format(self, event: Event) -> bytes:
        """Return the event with its newline; never raise."""
        raise NotImplementedError

    def style(self, style: str) -> "Style":
        """Return the escape sequences of a style, none where there is no colour."""
        return ansi_style(style) if self.options.colour else PLAIN

    def format_all(self, events: Iterable[Event]) -> bytes:
        """Return the events, each with its newline; never raise."""
        return b"".join(map(self.format, events))


class JsonFormatter(Formatter):
    """JSON Lines: every event in its envelope, as recordings have it."""

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._writer = EnvelopeWriter()

    def format(self, event: Event) -> bytes:
        return self.format_all([event])

    def format_all(self, events: Iterable[Event]) -> bytes:
        return self._writer.lines(events)


class RawFormatter(Formatter):
    """The event alone as JSON, one a line, with nothing joined and nothing computed."""

    def format(self, event: Event) -> bytes:
        return encode_line(event.as_dict()) + b"\n"


# --- logfmt -----------------------------------------------------------------------

#: What needs no quotes: nothing that reads as a separator or an escape.
_BARE: Final = re.compile(r'[^\s"=\\]+')
#: Strings that would read as something else without quotes.
_AMBIGUOUS: Final = re.compile(r"null|true|false|[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_NO_KEY: Final = re.compile(r'[\s"=\\]')


class LogfmtFormatter(Formatter):
    """The envelope as `key=value` pairs, in its order and without its version.

    Numbers, `true`, `false` and `null` are bare.  Strings are bare where that is clear and
    quoted like JSON where not; lists and objects are quoted JSON.
    """

    def format(self, event: Event) -> bytes:
        sent = event.as_dict()
        line = envelope(sent, event.joined)
        if "v" not in sent:
            del line["v"]
        pairs = [
            f"{_NO_KEY.sub('_', sanitize(key)) or '_'}={_logfmt_value(value)}"
            for key, value in line.items()
        ]
        return " ".join(pairs).encode() + b"\n"


def _logfmt_value(value: Any) -> str:
    text = as_text(value)
    if isinstance(value, str):
        bare = _BARE.fullmatch(text) and text.isprintable() and not _AMBIGUOUS.fullmatch(text)
    else:
        bare = not isinstance(value, list | dict)
    return text if bare else encode_line(text).decode()


# --- csv --------------------------------------------------------------------------

_OWN_COLUMNS: Final = ("type", "hostname", "uuid", "name", "args", "kwargs", "retries", "queue")
#: The header.  `ts` is ISO 8601 in UTC; `runtime` is in seconds; `exception` is the real
#: one; `fields` is a JSON object with all the rest.
CSV_COLUMNS: Final = ("ts", *_OWN_COLUMNS, "runtime", "result", "exception", "fields")


class CsvFormatter(Formatter):
    """RFC 4180 with fixed columns, except that lines end as in all other formats.

    Line breaks and control characters inside a value are escaped, so an event is one line.
    A text that a spreadsheet would run as a formula has an apostrophe before it.
    """

    header = ",".join(CSV_COLUMNS).encode() + b"\n"

    def format(self, event: Event) -> bytes:
        moment = moment_of(event)
        exception = real_exception(event)
        placed = {*_OWN_COLUMNS, "runtime", "result"}
        if event.get("exception") == exception:
            placed.add("exception")
        fields = (*event.as_dict().items(), *event.joined.items())
        cells = (
            None if moment is None else iso_utc(moment),
            *map(event.get, _OWN_COLUMNS),
            event.get("runtime", runtime_of(event)),
            event.get("result"),
            exception,
            encode_line({name: value for name, value in fields if name not in placed}).decode(),
        )
        return ",".join(map(_cell, cells)).encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell(as_text(value), is_number=not isinstance(value, str))


# --- pretty -----------------------------------------------------------------------

_LABEL_COLS_MAX: Final = 30
_VALUE_COLS: Final = 1000


class PrettyFormatter(Formatter):
    """A title with the fields below it, and an empty line between events.

    A field that was joined from an earlier event says so.  Tracebacks keep their lines.
    """

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._timestamps = TimestampFormatter(options.timestamps)
        self._cols = None if options.full else _VALUE_COLS

    def format(self, event: Event) -> bytes:
        return "".join([f"{line}\n" for line in self._lines(event)]).encode() + b"\n"

    def _lines(self, event: Event) -> Iterator[str]:
        before, after = self.style("bold")
        title = f"{before}{clipped(event.type, self._cols)}{after}"
        yield f"{title}  {self._timestamps.format(event)}".rstrip()
        if event.is_gap:
            yield f"  {clipped(gap_sentence(event), self._cols)}"
        fields = event.as_dict()
        del fields["type"]
        rows = [(name, value, "") for name, value in fields.items()]
        rows += [(name, value, "  (joined)") for name, value in event.joined.items()]
        labels = [clipped(name, self._cols) for name, _, _ in rows]
        cols = min(max(map(width, labels), default=0), _LABEL_COLS_MAX)
        exception = real_exception(event)
        if exception != event.get("exception"):
            rows.append(("exception", exception, "  (from traceback)"))
        for row in rows:
            yield from self._field(*row, cols=cols)

    def _field(self, name: str, value: Any, note: str, *, cols: int) -> Iterator[str]:
        label = clipped(name, self._cols)
        before, after = self.style("dim")
        start = f"  {before}{label}{' ' * (cols - width(label))}{after}"
        if name == "traceback" and isinstance(value, str) and "\n" in value:
            yield start
            for line in sanitize_lines(value).rstrip().split("\n"):
                yield f"      {line}".rstrip()
        else:
            yield f"{start}  {clipped(as_text(value), self._cols)}{note}".rstrip()


# --- values and sentences ---------------------------------------------------------

#: Celery's class for an exception that crossed a process border with its traceback; it says
#: nothing, and the real one ends the traceback.
_WRAPPED: Final = "ExceptionWithTraceback()"
#: Events that end an attempt without its runtime.
_ENDS: Final = frozenset({"task-failed", "task-retried", "task-revoked"})


def as_text(value: Any) -> str:
    """Return a value as text, not sanitised: a string as it is, else as JSON."""
    return value if isinstance(value, str) else encode_line(value).decode()


def clipped(text: str, cols: int | None) -> str:
    """Return a text sanitised and cut at `cols` columns, None for all of it."""
    if cols is None:
        return sanitize(text)
    # Escaping only lengthens, so what is far beyond the edge can go first.
    near = sanitize(text[: 4 * cols])
    return clip(near if len(text) <= 4 * cols else near + CUT, cols, CUT)


def number_of(value: Any) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def real_exception(event: Event) -> Any:
    """Return the exception of a failed task, the real one where it is known.

    A task that hit its hard time limit is reported with an empty wrapper.
    """
    exception, traceback = event.get("exception"), event.get("traceback")
    if exception == _WRAPPED and isinstance(traceback, str):
        return traceback.rstrip().rpartition("\n")[2].strip() or exception
    return exception


def runtime_of(event: Event) -> float | None:
    """Return how long a task ran, in seconds, if that is known.

    Celery sends it for successes only; for others it is the time since the start.
    """
    runtime = number_of(event.get("runtime"))
    if runtime is not None or event.type not in _ENDS:
        return runtime
    started, ended = number_of(event.joined.get("started")), number_of(event.get("timestamp"))
    if started is None or ended is None or ended < started:
        return None
    return round(ended - started, 6)


def gap_sentence(event: Event) -> str:
    """Return what a gap record means, not sanitised."""

    def shown(name: str, unknown: str = "?") -> str:
        value = event.get(name)
        return unknown if value is None else as_text(value)

    reason = event.get("reason")
    if reason == "worker":
        return f"~{shown('missed')} tasks of {shown('hostname', 'some worker')} not seen"
    if reason == "buffer":
        return f"{shown('dropped')} events dropped: the buffer was full"
    duration = number_of(event.get("duration"))
    length = "some time" if duration is None else human_duration(duration)
    why = f": {as_text(reason)}" if reason is not None else ""
    error = f" ({shown('error')})" if event.get("error") else ""
    return f"{length} without events{why}{error}"


# --- times ------------------------------------------------------------------------

_MILLIS: Final = 1000
#: The columns that each style takes; the longer times of odd events stand out.
_TIMESTAMP_COLS: Final[Mapping[Timestamps, int]] = {
    "local": len("14:56:32.103"),
    "utc": len("14:56:32.103Z"),
    "iso": len("2026-11-20T14:56:32.103655Z"),
    "epoch": len("1795186532.103655"),
    "delta": len("+0000.000"),
    "start": len("+0000.000"),
    "none": 0,
}


def moment_of(event: Event) -> float | None:
    """Return when an event was sent, or else received, in UTC epoch seconds.

    A timestamp that is no number, or beyond the calendar, is ignored.
    """
    for name in ("timestamp", "local_received"):
        moment = event.get(name)
        if iso_utc(moment) is not None:
            return float(moment)
    return None


class TimestampFormatter:
    """The time of an event in one of the styles of `--ts`.

    The differences (`delta`, `start`) are to the event before and to the first one.
    """

    def __init__(self, style: Timestamps) -> None:
        #: Columns of a usual time.
        self.cols = _TIMESTAMP_COLS[style]
        self._style = style
        self._second: int | None = None
        self._clock = ""
        self._before: float | None = None

    def format(self, event: Event) -> str:
        """Return the time of the event, `-` if it is not known."""
        if self._style == "none":
            return ""
        moment = moment_of(event)
        if moment is None:
            return UNKNOWN
        try:
            return self._shown(moment)
        except (ValueError, OverflowError, OSError):
            # The zone or the rounding led out of the calendar.
            return UNKNOWN

    def _shown(self, moment: float) -> str:
        style = self._style
        if style == "iso":
            return iso_utc(moment) or UNKNOWN
        if style == "epoch":
            return f"{moment:.6f}"
        if style in ("delta", "start"):
            before = moment if self._before is None else self._before
            if self._before is None or style == "delta":
                self._before = moment
            return f"{moment - before:+.3f}"
        second, millis = divmod(round(moment * _MILLIS), _MILLIS)
        if second != self._second:
            broken_down = time.gmtime(second) if style == "utc" else time.localtime(second)
            self._second, self._clock = second, time.strftime("%H:%M:%S", broken_down)
        return f"{self._clock}.{millis:03d}{'Z' if style == 'utc' else ''}"


# --- colours ----------------------------------------------------------------------

#: What to print before and after.
Style: TypeAlias = tuple[str, str]
PLAIN: Style = ("", "")


@cache
def ansi_style(style: str) -> Style:
    """Return the escape sequences of a rich style such as `bold red`.

    Nothing from the wire ever passes through rich: its markup would let a task's argument
    restyle the terminal, and its console wraps lines.
    """
    from rich.color import ColorSystem  # noqa: PLC0415  (only with colours)
    from rich.style import Style as RichStyle  # noqa: PLC0415  (only with colours)

    # The sixteen colours that every theme has set up to be readable.
    rendered = RichStyle.parse(style).render("\0", color_system=ColorSystem.STANDARD)
    before, _, after = rendered.partition("\0")
    return before, after
