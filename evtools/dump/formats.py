"""Events as bytes for stdout: for people (text, pretty, templates) and for programs."""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from evtools.dump.options import DumpOptions, Output, Timestamps
from evtools.errors import UsageError
from evtools.text import (
    BoundedPattern,
    clip,
    csv_cell,
    human_duration,
    sanitize,
    sanitize_lines,
    width,
)
from evtools.wire import GAP, EnvelopeWriter, Event, encode_line, envelope, group_from, iso_utc

_UNKNOWN: Final = "-"
#: A mark that the sender's "..." cannot be mistaken for.
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
#: The columns that each style takes; the longer times of odd events stand out.
_TIMESTAMP_COLS: Final[Mapping[Timestamps, int]] = {
    "local": 12, "utc": 13, "iso": 27, "epoch": 17, "delta": 9, "start": 9, "none": 0
}  # fmt: skip
#: Escape sequences to print before and after.
_Style: TypeAlias = tuple[str, str]
_PLAIN: Final[_Style] = ("", "")


class Formatter:
    """Turns the events of one stream into bytes; it may remember earlier ones."""

    #: What stands before the first event.
    header = b""

    def __init__(self, options: DumpOptions) -> None:
        self.options = options
        #: The second that was shown last, and its time of day.
        self._second: int | None = None
        self._time_of_day = ""
        #: What differences of time are to: the event before, or the first one.
        self._before: float | None = None

    def show_clusters(self, names: Sequence[str], *, replays: bool) -> None:
        """Take in, before the first event, which clusters have names; more may come up later.

        `replays` says that these are the names in a recording.
        """

    def format(self, event: Event) -> bytes:
        """Return the event with its newline; never raise."""
        raise NotImplementedError

    def format_all(self, events: Iterable[Event]) -> bytes:
        """Return the events, each with its newline; never raise."""
        return b"".join(map(self.format, events))

    def footer(self) -> bytes:
        """Return what stands after the last event, with its newline."""
        return b""

    def style(self, style: str) -> _Style:
        """Return the escape sequences of a style, none where there is no colour."""
        return ansi_style(style) if self.options.colour else _PLAIN

    def timestamp(self, event: Event) -> str:
        """Return the time of the event as `--ts` has it, `-` if it is not known."""
        style = self.options.timestamps
        if style == "none":
            return ""
        moment = _moment_of(event)
        if moment is None:
            return _UNKNOWN
        if style == "iso":
            return iso_utc(moment) or _UNKNOWN
        if style == "epoch":
            return f"{moment:.6f}"
        if style in ("delta", "start"):
            before = moment if self._before is None else self._before
            if self._before is None or style == "delta":
                self._before = moment
            return f"{moment - before:+.3f}"
        second, millis = divmod(round(moment * 1000), 1000)
        if second != self._second:
            try:
                broken_down = time.gmtime(second) if style == "utc" else time.localtime(second)
                self._time_of_day = time.strftime("%H:%M:%S", broken_down)
            except (ValueError, OverflowError, OSError):
                return _UNKNOWN  # the zone or the rounding led out of the calendar
            self._second = second
        return f"{self._time_of_day}.{millis:03d}{'Z' if style == 'utc' else ''}"


@cache
def ansi_style(style: str) -> _Style:
    """Return the escape sequences around text in a rich style such as `bold red`."""
    # Nothing from the wire ever passes through rich: its
    # markup would let a task's argument restyle the terminal, and its console wraps lines.
    from rich.color import ColorSystem  # noqa: PLC0415  (only with colours)
    from rich.style import Style  # noqa: PLC0415  (only with colours)

    # The sixteen colours that every theme has set up to be readable.
    rendered = Style.parse(style).render("\0", color_system=ColorSystem.STANDARD)
    before, _, after = rendered.partition("\0")
    return before, after


# --- values and sentences ---------------------------------------------------------

#: Celery's class for an exception that crossed a process border with its traceback; it says
#: nothing, and the real one ends the traceback.
_WRAPPED: Final = "ExceptionWithTraceback()"
#: Events that end an attempt without its runtime.
_ENDS: Final = frozenset({"task-failed", "task-retried", "task-revoked"})


def as_text(value: Any) -> str:
    """Return a string as it is, not sanitised; else JSON."""
    return value if isinstance(value, str) else encode_line(value).decode()


def clipped(text: str, cols: int | None) -> str:
    """Return a text sanitised and cut at `cols` columns, None for all of it."""
    if cols is None:
        return sanitize(text)
    # Escaping only lengthens, so what is far beyond the edge can go first.
    near = sanitize(text[: 4 * cols])
    return clip(near if len(text) <= 4 * cols else near + _CUT, cols, _CUT)


def number_of(value: Any) -> float | None:
    """Return a finite number as a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _moment_of(event: Event) -> float | None:
    # When it was sent, or else received; what is no number, or beyond the calendar, is ignored.
    for name in ("timestamp", "local_received"):
        moment = event.get(name)
        if iso_utc(moment) is not None:
            return float(moment)
    return None


def _real_exception(event: Event) -> Any:
    # A task that hit its hard time limit is reported with an empty wrapper.
    exception, traceback = event.get("exception"), event.get("traceback")
    if exception == _WRAPPED and isinstance(traceback, str):
        return traceback.rstrip().rpartition("\n")[2].strip() or exception
    return exception


def runtime_of(event: Event) -> float | None:
    """Return how long the task of an event ran, in seconds; None if that is not known.

    Celery sends it for successes only; for others it is the time since the start.
    """
    runtime = number_of(event.get("runtime"))
    if runtime is not None or event.type not in _ENDS:
        return runtime
    started, ended = number_of(event.joined.get("started")), number_of(event.get("timestamp"))
    if started is None or ended is None or ended < started:
        return None
    return round(ended - started, 6)


def _cluster_of(event: Event) -> Any:
    # The name of its cluster; else the event itself may have such a field.
    return event.cluster or event.get("cluster")


def _gap_sentence(event: Event) -> str:
    # What a gap record means, not sanitised.
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
    why = "" if reason is None else f": {as_text(reason)}"
    return f"{length} without events{why}" + (f" ({shown('error')})" if event.get("error") else "")


class JsonFormatter(Formatter):
    """JSON Lines: every event in its envelope, as recordings have it."""

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self.format_all = EnvelopeWriter().lines  # type: ignore[method-assign]

    def format(self, event: Event) -> bytes:
        return self.format_all([event])


class RawFormatter(Formatter):
    """The event alone as JSON, one a line, with nothing joined and nothing computed."""

    def format(self, event: Event) -> bytes:
        return encode_line(event.as_dict()) + b"\n"


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
        line = envelope(sent, event.joined, event.cluster or "")
        if "v" not in sent:
            del line["v"]
        pairs = []
        for key, value in line.items():
            text = as_text(value)
            if isinstance(value, str):
                is_clear = _BARE.fullmatch(text) and not _AMBIGUOUS.fullmatch(text)
                bare = is_clear and text.isprintable()
            else:
                bare = not isinstance(value, list | dict)
            shown = text if bare else encode_line(text).decode()
            pairs.append(f"{_NO_KEY.sub('_', sanitize(key)) or '_'}={shown}")
        return " ".join(pairs).encode() + b"\n"


_OWN_COLUMNS: Final = ("type", "hostname", "uuid", "name", "args", "kwargs", "retries", "queue")
#: The header.  `ts` is ISO 8601 in UTC; `runtime` is in seconds; `exception` is the real
#: one; `fields` is a JSON object with all the rest.  `cluster` follows where one has a name.
CSV_COLUMNS: Final = ("ts", *_OWN_COLUMNS, "runtime", "result", "exception", "fields")


class CsvFormatter(Formatter):
    """RFC 4180 with fixed columns, except that lines end as in all other formats.

    The column `cluster` is there only where one has a name, for programs that know the others;
    a name that comes up later, in a recording, is in `fields`.

    Line breaks and control characters inside a value are escaped, so an event is one line.
    A text that a spreadsheet would run as a formula has an apostrophe before it.
    """

    header = ",".join(CSV_COLUMNS).encode() + b"\n"
    _has_cluster = False

    def show_clusters(self, names: Sequence[str], *, replays: bool) -> None:  # noqa: ARG002
        self._has_cluster = bool(names)
        columns = (*CSV_COLUMNS, "cluster") if names else CSV_COLUMNS
        self.header = ",".join(columns).encode() + b"\n"

    def format(self, event: Event) -> bytes:
        moment, exception = _moment_of(event), _real_exception(event)
        placed = {*_OWN_COLUMNS, "runtime", "result"}
        if event.get("exception") == exception:
            placed.add("exception")
        fields = (*event.as_dict().items(), *event.joined.items())
        rest = {name: value for name, value in fields if name not in placed}
        if event.cluster and not self._has_cluster:
            rest.setdefault("cluster", event.cluster)
        values = [
            None if moment is None else iso_utc(moment),
            *map(event.get, _OWN_COLUMNS),
            event.get("runtime", runtime_of(event)),
            event.get("result"),
            exception,
            encode_line(rest).decode(),
        ]
        if self._has_cluster:
            values.append(event.cluster or None)
        cells = [
            "" if value is None else csv_cell(as_text(value), is_number=not isinstance(value, str))
            for value in values
        ]
        return ",".join(cells).encode() + b"\n"


_LABEL_COLS_MAX: Final = 30
_PRETTY_COLS: Final = 1000


class PrettyFormatter(Formatter):
    """A title with the fields below it, and an empty line between events.

    A field that was joined from an earlier event says so.  Tracebacks keep their lines.
    """

    def format(self, event: Event) -> bytes:
        return "".join([f"{line}\n" for line in self._lines(event)]).encode() + b"\n"

    def _lines(self, event: Event) -> Iterator[str]:
        max_cols = None if self.options.full else _PRETTY_COLS
        before, after = self.style("bold")
        title = f"{before}{clipped(event.type, max_cols)}{after}"
        yield f"{title}  {self.timestamp(event)}  {event.cluster or ''}".rstrip()
        if event.is_gap:
            yield f"  {clipped(_gap_sentence(event), max_cols)}"
        fields = event.as_dict()
        del fields["type"]
        rows = [(name, value, "") for name, value in fields.items()]
        rows += [(name, value, "  (joined)") for name, value in event.joined.items()]
        labels = [clipped(name, max_cols) for name, _, _ in rows]
        cols = min(max(map(width, labels), default=0), _LABEL_COLS_MAX)
        exception = _real_exception(event)
        if exception != event.get("exception"):
            rows.append(("exception", exception, "  (from traceback)"))
            labels.append("exception")
        before, after = self.style("dim")
        for label, (name, value, note) in zip(labels, rows, strict=True):
            start = f"  {before}{label}{' ' * (cols - width(label))}{after}"
            if name == "traceback" and isinstance(value, str) and "\n" in value:
                yield start
                for line in sanitize_lines(value).rstrip().split("\n"):
                    yield f"      {line}".rstrip()
            else:
                yield f"{start}  {clipped(as_text(value), max_cols)}{note}".rstrip()


class _Kind(NamedTuple):
    # How a known type of event is shown: its word and style, the fields that say what
    # happened, and those that are shown with their name.
    word: str
    style: str
    detail: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


_KINDS: Final[Mapping[str, _Kind]] = {
    "task-sent": _Kind("SENT", "blue", (), ("queue",)),
    "task-received": _Kind("RECV", "cyan"),
    "task-started": _Kind("START", "yellow"),
    "task-succeeded": _Kind("OK", "green", ("result",)),
    "task-failed": _Kind("FAIL", "bold red", ("exception",)),
    "task-retried": _Kind("RETRY", "magenta", ("exception",)),
    "task-revoked": _Kind("REVOKE", "bold magenta", (), ("terminated", "signum", "expired")),
    "task-rejected": _Kind("REJECT", "bold red", (), ("requeue",)),
    "task-cancelled": _Kind("CANCEL", "bold magenta"),
    "worker-online": _Kind("online", "bold green", ("sw_ident", "sw_ver", "sw_sys")),
    "worker-heartbeat": _Kind("beat", "dim", (), ("active", "processed", "loadavg")),
    "worker-offline": _Kind("offline", "bold red"),
    GAP: _Kind("GAP", "bold yellow"),
}  # fmt: skip

_WORD_COLS: Final = 6
_HOST_COLS_MAX: Final = 30
_TYPE_COLS_MAX: Final = 40
_NAME_COLS_MAX: Final = 100
_UUID_COLS: Final = 36
_UUID_COLS_SHORT: Final = 8
#: What a value may take, by verbosity.
_VALUE_COLS: Final = (80, 400, 4000)
_VERY_VERBOSE: Final = 2

#: Celery cuts the reprs it sends at 1024 characters; a few less after cutting.
_SENDERS_CUT_FROM: Final = 1000
_SENDERS_CUT: Final = " (cut by sender)"

#: Fields with a place of their own in every line, and in those of tasks.
_PLACED: Final = frozenset({"type", "hostname", "traceback"})
_TASK_PLACED: Final = _PLACED | {"uuid", "name", "args", "kwargs", "runtime"}
#: What concerns the protocol more than the reader.
_PROTOCOL: Final = frozenset(
    ("timestamp", "local_received", "utcoffset", "pid", "clock", "sent", "received", "started")
)
_EMPTY_ARGUMENTS: Final[tuple[Any, ...]] = ("", "()", "[]", "{}", [], {}, None)

#: A piece of a line; nothing in it is left to escape.
_Piece: TypeAlias = tuple[str, _Style]


class TextFormatter(Formatter):
    """Write time, word, worker, task, and what happened to it.

    The column of worker names grows with the longest one seen, up to a limit.  That of clusters is
    there once one of several, or of a recording, has a name, and also grows.  With `-vv`
    a traceback is in the line, or below it where `multiline` is set.  Raise UsageError for
    an expression to highlight that cannot be parsed.
    """

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._verbosity = min(max(options.verbosity, 0), _VERY_VERBOSE)
        self._cols = None if options.full else _VALUE_COLS[self._verbosity]
        try:
            highlight = BoundedPattern(options.highlight) if options.highlight else None
        except ValueError as error:
            problem = f"--highlight {options.highlight}: {error}"
            raise UsageError(problem, "give a regular expression") from None
        self._highlight = highlight if options.colour else None
        self._host_cols = self._cluster_cols = 0
        self._knows_cluster = False
        very_verbose = self._verbosity == _VERY_VERBOSE and not options.quiet
        self._traceback_in_line = very_verbose and not options.multiline
        self._traceback_below = very_verbose and options.multiline

    def show_clusters(self, names: Sequence[str], *, replays: bool) -> None:
        # That all comes from the only one that is watched need not be said in each line.
        self._knows_cluster = len(names) == 1 and not replays
        if not self._knows_cluster:
            self._cluster_cols = max(map(len, names), default=0)

    def format(self, event: Event) -> bytes:
        pieces = self._line(event)
        if self._highlight is not None:
            pieces = self._highlighted(list(pieces), self._highlight)
        # A blank at the end is litter, and its style is invisible.
        line = "".join([f"{style[0]}{text}{style[1]}" for text, style in pieces]).rstrip()
        traceback = event.get("traceback") if self._traceback_below else None
        if traceback is not None:
            for below in sanitize_lines(as_text(traceback)).rstrip().split("\n"):
                line += f"\n    {below}".rstrip(" ")
        return line.encode() + b"\n"

    def _line(self, event: Event) -> Iterator[_Piece]:
        kind = _KINDS.get(event.type)
        style = self.style(kind.style) if kind else _PLAIN
        cluster = ""
        if self._cluster_cols or event.cluster:
            cluster = self._cluster(event)
        if self.options.quiet:
            yield cluster, _PLAIN
            yield self._clipped(event.type, _TYPE_COLS_MAX), style
            name = event.get("name")
            subject = event.get("hostname") if name is None else name
            if event.is_gap:
                yield " " + self._value(_gap_sentence(event)), _PLAIN
            elif subject is not None:
                yield " " + self._clipped(as_text(subject), _NAME_COLS_MAX), _PLAIN
            return
        timestamp, cols = self.timestamp(event), _TIMESTAMP_COLS[self.options.timestamps]
        if cols:
            yield timestamp.rjust(cols) + " ", self.style("dim")
        yield cluster, _PLAIN
        word = kind.word if kind else self._clipped(event.type, _TYPE_COLS_MAX)
        yield word.ljust(_WORD_COLS) + " ", style
        if event.is_gap:
            yield self._value(_gap_sentence(event)), style
            return
        hostname = event.get("hostname")
        host = "-" if hostname is None else self._clipped(as_text(hostname), _NAME_COLS_MAX)
        if (host_cols := width(host)) <= _HOST_COLS_MAX:
            self._host_cols = max(self._host_cols, host_cols)
        yield host + " " * (self._host_cols - host_cols), _PLAIN
        is_task = event.get("uuid", UNSET) is not UNSET or group_from(event.type) == "task"
        if is_task:
            yield from self._task(event)
        if kind is not None and (details := self._details(event, kind)):
            is_beat = event.type == "worker-heartbeat"
            yield f"  {details}", self.style("dim") if is_beat else _PLAIN
        if self._verbosity or kind is None:
            placed = _TASK_PLACED if is_task else _PLACED
            yield from self._rest(event, placed.union(kind.detail, kind.named) if kind else placed)

    def _cluster(self, event: Event) -> str:
        # The column, if there is one; a name is plain text, and may first come up now.
        if self._knows_cluster:
            return ""
        name = event.cluster or _UNKNOWN
        self._cluster_cols = max(self._cluster_cols, len(name))
        return name.ljust(self._cluster_cols) + " "

    def _task(self, event: Event) -> Iterator[_Piece]:
        name, uuid = event.get("name"), event.get("uuid")
        shown = "?" if name is None else self._clipped(as_text(name), _NAME_COLS_MAX)
        yield "  " + shown, self.style("bold")
        if uuid is not None:
            text = as_text(uuid)
            if self._cols is not None and len(text) == _UUID_COLS and text[_UUID_COLS_SHORT] == "-":
                text = text[:_UUID_COLS_SHORT]
            yield f"[{self._clipped(text, _UUID_COLS)}]", _PLAIN
        for arguments in (event.get("args"), event.get("kwargs")):
            if arguments not in _EMPTY_ARGUMENTS:
                yield " " + self._value(arguments), _PLAIN
        seconds = runtime_of(event)
        if seconds is not None:
            yield " " + human_duration(seconds), self.style("cyan")

    def _details(self, event: Event, kind: _Kind) -> str:
        # What happened; what is null says nothing.
        shown = []
        for name in kind.detail:
            value = _real_exception(event) if name == "exception" else event.get(name)
            if value is not None:
                shown.append(self._value(value))
        for name in kind.named:
            value, label = event.get(name), name
            if name == "loadavg":
                value, label = value[0] if isinstance(value, list) and value else value, "load"
            if value is not None and value is not False:
                shown.append(f"{label}={self._value(value)}")
        return " ".join(shown)

    def _rest(self, event: Event, placed: frozenset[str]) -> Iterator[_Piece]:
        # What has no place of its own, by name.
        if self._verbosity < _VERY_VERBOSE:
            placed |= _PROTOCOL
        uuid = event.get("uuid")
        fields = [*event.as_dict().items(), *event.joined.items()]
        shown = [(name, value) for name, value in fields if name not in placed]
        if self._traceback_in_line:
            shown.append(("traceback", event.get("traceback")))
        for name, value in shown:
            if value is not None and not (name == "root_id" and value == uuid):
                yield f"  {self._clipped(name, _TYPE_COLS_MAX)}=", self.style("dim")
                yield self._value(value), _PLAIN

    def _value(self, value: Any) -> str:
        text = as_text(value)
        cut = len(text) >= _SENDERS_CUT_FROM and "..." in text[-6:]
        return clipped(text, self._cols) + (_SENDERS_CUT if cut else "")

    def _clipped(self, text: str, cols: int) -> str:
        return clipped(text, None if self._cols is None else cols)

    def _highlighted(self, pieces: list[_Piece], pattern: BoundedPattern) -> Iterator[_Piece]:
        # A match is looked for in the line as it is seen, across pieces.
        line = "".join([text for text, _ in pieces])
        matched = pattern.spans(line)
        position = 0
        for text, style in pieces:
            end = position + len(text)
            for first, last in matched:
                start, stop = max(first, position), min(last, end)
                if start < stop:
                    yield line[position:start], style
                    yield line[start:stop], self.style("reverse")
                    position = stop
            yield line[position:end], style
            position = end


# --- templates ----------------------------------------------------------------------

_PART: Final = re.compile(
    r"(?P<brace>\{\{|\}\})|\{(?P<field>[^{}]*)\}|(?P<escape>\\[nt\\])|(?P<stray>[{}])"
)
_FIELD: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<json>!j)?(?::(?P<spec>.*))?", re.DOTALL
)
_SPEC: Final = re.compile(
    r"(?:(?P<fill>[^{}])?(?P<align>[<>^]))?(?P<width>\d{1,4})?"
    r"(?:\.(?P<precision>\d{1,3}))?(?P<kind>[sdf])?"
)
#: What stands for itself in a template.
_LITERALS: Final = {"{{": "{", "}}": "}", "\\n": "\n", "\\t": "\t", "\\\\": "\\"}
_GRAMMAR: Final = (
    "a field is {name}, {name:8} cut at 8 columns, {name:<30} filled up to 30,\n"
    "{runtime:.3f} with 3 decimals or {args!j} as JSON; write {{ for a brace"
)


class TemplateError(UsageError):
    """A template cannot be parsed: `text`, with the mistake at column `position` (from 0)."""

    def __init__(self, message: str, *, text: str, position: int) -> None:
        super().__init__(f"bad template at column {position + 1}: {message}", _GRAMMAR)
        self.text, self.position = text, position


class TemplateFormatter(Formatter):
    r"""Fill the event's own and joined fields into a template.

    `ts` is the time as `--ts` has it, `runtime` is worked out for failures too, `exception` is the
    real one, `cluster` the name given to it.  What is unknown or null is `-`.  A template reads
    fields and nothing else: no attributes, no code.  Values are escaped and add no lines; `\n` and
    `\t` in the template itself are taken literally.  A gap is a sentence, whatever the template.
    """

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        #: Texts, and what makes a text of an event.
        self._parts: list[str | Callable[[Event], str]] = []
        text, end = options.template, 0
        for match in _PART.finditer(text):
            self._parts.append(text[end : match.start()])
            end = match.end()
            if match["stray"]:
                problem = f'"{match["stray"]}" without its other half'
                raise TemplateError(problem, text=text, position=match.start())
            literal = _LITERALS.get(match[0])
            self._parts.append(self._field(match, text) if literal is None else literal)
        self._parts.append(text[end:])

    def format(self, event: Event) -> bytes:
        if event.is_gap:
            which = f" {event.cluster}:" if event.cluster else ""
            line = f"{self.timestamp(event)} {GAP}{which} {sanitize(_gap_sentence(event))}".lstrip()
        else:
            line = "".join([part if isinstance(part, str) else part(event) for part in self._parts])
        return line.encode() + b"\n"

    def _field(self, match: re.Match[str], text: str) -> Callable[[Event], str]:
        inside, position = match["field"], match.start("field")
        field = _FIELD.fullmatch(inside)
        if field is None:
            problem = f'"{sanitize(inside)}" is no field' if inside else "empty field"
            raise TemplateError(problem, text=text, position=position)
        spec = _SPEC.fullmatch(field["spec"] or "")
        if spec is None:
            problem = f'"{sanitize(field["spec"])}" is no format'
            raise TemplateError(problem, text=text, position=position + field.start("spec"))
        name, as_json = field["name"], bool(field["json"])
        special: dict[str, Callable[[Event], Any]] = {
            "ts": self.timestamp,
            "runtime": lambda event: event.get("runtime", runtime_of(event)),
            "exception": _real_exception,
            "cluster": _cluster_of,
        }
        read: Callable[[Event], Any] = special.get(name, lambda event: event.get(name))
        return lambda event: _filled(read(event), spec, as_json=as_json)


def _filled(value: Any, spec: re.Match[str], *, as_json: bool) -> str:
    if as_json:
        text = encode_line(value).decode()
    elif value is None:
        text = _UNKNOWN
    elif spec["kind"] in ("d", "f") and (amount := number_of(value)) is not None:
        places = 0 if spec["kind"] == "d" else int(spec["precision"] or 6)
        text = f"{amount:.{places}f}"
    else:
        text = sanitize(as_text(value))
        if spec["precision"] and spec["kind"] != "f":
            text = clip(text, int(spec["precision"]), "")
    if not spec["width"]:
        return text
    # Cut at the width where there is no alignment, filled up to it where there is.
    cols = int(spec["width"])
    if not spec["align"]:
        return clip(text, cols, "")
    missing = max(0, cols - width(text))
    left = {"<": 0, ">": missing, "^": missing // 2}[spec["align"]]
    fill = spec["fill"] or " "
    return fill * left + text + fill * (missing - left)


# --- traces --------------------------------------------------------------------------

#: What is kept of runs: those that go on, those that have ended and may have children, tasks that
#: wait, children whose parent goes on; and how many processes and threads there may be.
_OPEN_MAX: Final = 20_000
_REMEMBERED_MAX: Final = 100_000
_TRACKS_MAX: Final = 20_000
_SLOTS_MAX: Final = 5000
_TRACE_CHARS: Final = 1000
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    # The state, and the colour among those that the format has names for.
    "task-succeeded": ("SUCCESS", "good"), "task-failed": ("FAILURE", "terrible"),
    "task-retried": ("RETRY", "bad"), "task-revoked": ("REVOKED", "grey"),
    "task-rejected": ("REJECTED", "grey"), "task-cancelled": ("CANCELLED", "grey"),
}  # fmt: skip
_TRACE_FIELDS: Final = (
    "uuid", "args", "kwargs", "result", "exception", "queue", "retries", "eta", "root_id",
    "parent_id",
)  # fmt: skip
#: Cluster and id of a task.
_TaskKey: TypeAlias = tuple[str, str]


class _Track:
    # A thread of the trace: up to when it is taken, in microseconds, and by a run that goes on.
    __slots__ = ("end", "is_taken", "tid")

    def __init__(self, tid: int) -> None:
        self.tid, self.end, self.is_taken = tid, -math.inf, False


class _Process:
    # A worker, or a queue, with its own thread and those that tasks run in: numbered, and by the
    # pid of the process of the pool where an event of the task has it.
    __slots__ = ("children", "own", "pid", "slots", "worker_pid")

    def __init__(self, pid: int, own: int) -> None:
        self.pid, self.own = pid, own
        self.slots: list[_Track] = []
        self.children: dict[int, _Track] = {}
        self.worker_pid: int | None = None


class _Run:
    # One that goes on: when it began, where, by which event; the runs that it called and that
    # have ended, each with its place and when it was sent.
    __slots__ = ("called", "event", "process", "start", "track")

    def __init__(self, event: Event, start: int, process: _Process, track: _Track) -> None:
        self.event, self.start, self.process, self.track = event, start, process, track
        self.called: list[tuple[int, int, int, int]] = []


class TraceFormatter(Formatter):
    """Chrome's Trace Event Format, as JSON: for Perfetto and others.

    Workers and queues are processes, the processes of a pool threads: those that an event of a
    task names by its pid, else as many as are needed so that no two runs overlap.  Runs are
    complete events, waits asynchronous ones of the queue, and flows lead from a run to those that
    it called.  Times are those of the senders' clocks.  A trace that breaks off is one, too: the
    last bracket is optional.
    """

    header = b'[{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"evdump"}}\n'

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._lines: list[bytes] = []
        self._ids = count(2)
        self._processes: dict[tuple[str, str, str], _Process] = {}
        self._tracks = 0
        self._runs: OrderedDict[_TaskKey, _Run] = OrderedDict()
        #: Of runs that have ended: pid, tid, start and end.
        self._ended: OrderedDict[_TaskKey, tuple[int, int, int, int]] = OrderedDict()
        #: The last events of tasks that have not started.
        self._waiting: OrderedDict[_TaskKey, Event] = OrderedDict()
        #: The pids that tasks have sent events of their own from: which may come before those of
        #: their worker, that waits for more to send.
        self._pids: OrderedDict[_TaskKey, int] = OrderedDict()
        self._called = self._left_out = 0
        self._latest = 0

    def format(self, event: Event) -> bytes:
        if (at := _microseconds(_moment_of(event))) is not None:
            self._latest = max(self._latest, at)
            self._take(event, at)
        return self._taken()

    def footer(self) -> bytes:
        for key in list(self._runs):
            self._give_up(key)
        for event in self._waiting.values():
            self._wait(event, None)
        if self._left_out:
            name = f"{self._left_out} runs or arrows left out: too many at once"
            self._emit(name=name, ph="i", s="g", ts=self._latest, pid=1, tid=1)
        return self._taken() + b"]\n"

    def _taken(self) -> bytes:
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def _emit(self, **fields: Any) -> None:
        self._lines.append(b"," + encode_line(fields) + b"\n")

    # --- events ---------------------------------------------------------------------

    def _take(self, event: Event, at: int) -> None:
        kind, key = event.type, (event.cluster or "", event.uuid)
        if event.is_gap:
            name = f"{event.cluster or ''} {_gap_sentence(event)}".strip()
            self._emit(name=name, cat="gap", ph="i", s="g", ts=at, pid=1, tid=1)
        elif kind in ("task-sent", "task-received") and event.uuid:
            self._waiting[key] = event
            if len(self._waiting) > _REMEMBERED_MAX:
                self._wait(self._waiting.popitem(last=False)[1], None)
        elif kind == "task-started" and event.uuid:
            self._start(event, key, at)
        elif kind in _OUTCOMES and event.uuid:
            self._end(event, key, at)
        elif kind == "worker-heartbeat":
            process = self._worker(event)
            process.worker_pid = event.pid
            if event.active is not None:
                values = {"active": event.active}
                self._emit(name="tasks", ph="C", ts=at, pid=process.pid, args=values)
        else:
            self._note(event, key, at)

    def _note(self, event: Event, key: _TaskKey, at: int) -> None:
        # Of a worker that begins or ends, of a task what it says of itself.
        process = self._worker(event)
        if event.type == "worker-online":
            process.worker_pid = event.pid
        elif event.uuid and event.pid is not None:
            self._pids[key] = event.pid
            if len(self._pids) > _REMEMBERED_MAX:
                self._pids.popitem(last=False)
        self._emit(
            name=event.type, cat="event", ph="i", s="p", ts=at, pid=process.pid, tid=process.own,
            args=self._arguments(event, *event.extra),
        )  # fmt: skip

    def _start(self, event: Event, key: _TaskKey, at: int) -> None:
        if key in self._runs:  # delivered again: nobody saw the end
            self._finish(key, self._runs[key].event, at, "end not seen", "grey")
        process = self._worker(event)
        process.worker_pid = event.pid if process.worker_pid is None else process.worker_pid
        if (track := self._slot(process, at)) is None:
            self._left_out += 1
            return
        track.is_taken = True
        self._runs[key] = _Run(event, at, process, track)
        self._wait(event, at)
        self._waiting.pop(key, None)
        if len(self._runs) > _OPEN_MAX:
            self._give_up(next(iter(self._runs)))

    def _end(self, event: Event, key: _TaskKey, at: int) -> None:
        state, colour = _OUTCOMES[event.type]
        self._waiting.pop(key, None)
        run = self._runs.get(key)
        elsewhere = run is not None and event.hostname not in ("", run.event.hostname)
        if run is None or elsewhere:
            seconds = None if elsewhere else runtime_of(event)
            process = self._worker(event)
            start = at - round(max(0.0, min(seconds or 0.0, at / 1e6)) * 1e6)
            shown = self._ended.get(key)
            # A failure at the hard time limit is reported twice: the run is there already.
            if seconds is None or (shown and shown[0] == process.pid and start < shown[3]):
                self._emit(
                    name=f"{_task_name(event)}: {state}", cat=f"task,{state}", ph="i", s="p", ts=at,
                    pid=process.pid, tid=process.own, args=self._arguments(event),
                )  # fmt: skip
                return
            if (track := self._slot(process, start)) is None:
                self._left_out += 1
                return
            self._runs[key] = _Run(event, start, process, track)
            self._wait(event, start)
        self._finish(key, event, at, state, colour)

    def _finish(self, key: _TaskKey, event: Event, at: int, state: str, colour: str) -> None:
        run = self._runs.pop(key)
        track, end = run.track, max(run.start, at)
        track.is_taken = False
        pid = self._pids.pop(key, run.process.worker_pid)
        if pid != run.process.worker_pid and (child := self._child(run.process, pid)) is not None:
            track = child if child.end <= run.start else track
        track.end = end
        self._emit(
            name=_task_name(event), cat=f"task,{state}", ph="X", ts=run.start, dur=end - run.start,
            pid=run.process.pid, tid=track.tid, cname=colour,
            args={"state": state, **self._arguments(event)},
        )  # fmt: skip
        self._link(key, run, track, end)

    def _give_up(self, key: _TaskKey) -> None:
        # What has not ended has a beginning only, and its thread to itself.
        run = self._runs.pop(key)
        self._emit(
            name=_task_name(run.event), cat="task,STARTED", ph="B", ts=run.start,
            pid=run.process.pid, tid=run.track.tid,
            args={"state": "STARTED", **self._arguments(run.event)},
        )  # fmt: skip
        self._link(key, run, run.track, max(run.start, self._latest) + 1)

    def _wait(self, event: Event, start: int | None) -> None:
        # From the sending, or the receipt, to the start, if there was one and clocks agree.
        own = {"task-sent": "sent", "task-received": "received"}.get(event.type)
        times = {name: number_of(event.joined.get(name)) for name in ("sent", "received")}
        if own is not None:
            times[own] = _moment_of(event)
        begin = min(filter(None, map(_microseconds, times.values())), default=None)
        if begin is None or (start is not None and start <= begin):
            return
        name = event.get("queue")
        queue = self._process("queue", event, "(unknown)" if name is None else as_text(name))
        place = {"cat": "wait", "id": f"0x{next(self._ids):x}", "pid": queue.pid, "tid": queue.own}
        task = _task_name(event)
        args = {"uuid": event.uuid, "eta": event.get("eta"), "retries": event.get("retries")}
        self._emit(name=task, ph="b", ts=begin, args=args, **place)
        if start is not None:
            self._emit(name=task, ph="e", ts=start, **place)

    # --- places ---------------------------------------------------------------------

    def _worker(self, event: Event) -> _Process:
        name = event.get("hostname")
        return self._process("worker", event, "(unknown)" if name is None else as_text(name))

    def _process(self, kind: str, event: Event, name: str) -> _Process:
        key = (kind, event.cluster or "", name[:_TRACE_CHARS])
        if key not in self._processes and len(self._processes) >= _TRACKS_MAX:
            key = (kind, "", "(others)")
        process = self._processes.get(key)
        if process is None:
            process = self._processes[key] = _Process(next(self._ids), next(self._ids))
            words = f"queue {key[2]}" if kind == "queue" else key[2]
            place = {"ph": "M", "pid": process.pid, "tid": process.own}
            shown = {"name": f"{key[1]} {words}".strip()}
            self._emit(name="process_name", args=shown, **place)
            self._emit(name="thread_name", args={"name": kind}, **place)
            order = {"sort_index": 1 if kind == "queue" else 2}
            self._emit(name="process_sort_index", args=order, **place)
        return process

    def _slot(self, process: _Process, start: int) -> _Track | None:
        # The first one that is free, None if there are too many.
        for track in process.slots:
            if not track.is_taken and track.end <= start:
                return track
        if len(process.slots) >= _SLOTS_MAX:
            return None
        made = self._new_track(process, f"slot {len(process.slots) + 1}")
        process.slots += [made] if made is not None else []
        return made

    def _child(self, process: _Process, pid: int | None) -> _Track | None:
        if pid is None:
            return None
        if pid not in process.children:
            track = self._new_track(process, f"pool process {pid}")
            if track is None:
                return None
            process.children[pid] = track
        return process.children[pid]

    def _new_track(self, process: _Process, name: str) -> _Track | None:
        if self._tracks >= _TRACKS_MAX:
            return None
        self._tracks += 1
        track = _Track(next(self._ids))
        place = {"ph": "M", "pid": process.pid, "tid": track.tid}
        self._emit(name="thread_name", args={"name": name}, **place)
        return track

    # --- parents and children ---------------------------------------------------------

    def _link(self, key: _TaskKey, run: _Run, track: _Track, end: int) -> None:
        # Both ends of an arrow must have their places.
        parent = (key[0], _text_or_none(run.event.get("parent_id")) or "")
        sent = _microseconds(number_of(run.event.joined.get("sent")))
        called = (run.process.pid, track.tid, run.start, run.start if sent is None else sent)
        place = (run.process.pid, track.tid, run.start, end)
        self._called -= len(run.called)
        for each in run.called:
            self._arrow(place, each)
        if parent in self._ended:
            self._arrow(self._ended[parent], called)
        elif parent in self._runs:
            if self._called < _REMEMBERED_MAX:
                self._runs[parent].called.append(called)
                self._called += 1
            else:
                self._left_out += 1
        self._ended[key] = place
        self._ended.move_to_end(key)
        if len(self._ended) > _REMEMBERED_MAX:
            self._ended.popitem(last=False)

    def _arrow(self, caller: tuple[int, int, int, int], called: tuple[int, int, int, int]) -> None:
        # It leaves within the run, and leads to a beginning; not back, where clocks differ.
        sent = max(caller[2], min(called[3], called[2], caller[3] - 1))
        if sent <= called[2]:
            flow = {"name": "calls", "cat": "calls", "id": next(self._ids)}
            self._emit(ph="s", ts=sent, pid=caller[0], tid=caller[1], **flow)
            self._emit(ph="f", bp="e", ts=called[2], pid=called[0], tid=called[1], **flow)

    def _arguments(self, event: Event, *more: str) -> dict[str, Any]:
        values = {name: event.get(name) for name in (*_TRACE_FIELDS, *more)}
        if values["exception"] is not None:
            values["exception"] = _real_exception(event)
        shown = {name: value for name, value in values.items() if value is not None}
        if self.options.full:
            return shown
        return {
            name[:_TRACE_CHARS]: value if number_of(value) is not None else _cut(as_text(value))
            for name, value in shown.items()
        }


def _cut(text: str) -> str:
    return text if len(text) <= _TRACE_CHARS else text[: _TRACE_CHARS - 1] + _CUT


def _task_name(event: Event) -> str:
    name = event.get("name")
    return "(unknown)" if name is None else _cut(as_text(name))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _microseconds(moment: float | None) -> int | None:
    # Of a moment within the calendar, and after 1970.
    return None if moment is None or iso_utc(moment) is None or moment <= 0 else round(moment * 1e6)


FORMATS: Final[Mapping[Output, type[Formatter]]] = {
    "text": TextFormatter, "json": JsonFormatter, "pretty": PrettyFormatter, "csv": CsvFormatter,
    "logfmt": LogfmtFormatter, "raw": RawFormatter, "template": TemplateFormatter,
    "trace": TraceFormatter,
}  # fmt: skip
