"""Text for people: one event per line, what matters first."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.dump.paint import PLAIN, Paint, paint
from evtools.dump.stamps import Stamps
from evtools.dump.wording import failure, gap_sentence, runtime, said, short_uuid
from evtools.text import BoundedPattern, clip, human_duration, sanitize, sanitize_lines, width
from evtools.wire import GAP, Event, group_from


class _Kind(NamedTuple):
    """How a known type of event is shown."""

    word: str
    style: str
    #: Which fields say what happened, without their names.
    detail: tuple[str, ...] = ()
    #: Which fields say it with their names, or another name.
    named: Mapping[str, str] = {}


_LOAD: Final = {"active": "active", "processed": "processed", "loadavg": "load"}
_VERSION: Final = ("sw_ident", "sw_ver", "sw_sys")

_KINDS: Final[Mapping[str, _Kind]] = {
    "task-sent": _Kind("SENT", "blue", (), {"queue": "queue"}),
    "task-received": _Kind("RECV", "cyan"),
    "task-started": _Kind("START", "yellow"),
    "task-succeeded": _Kind("OK", "green", ("result",)),
    "task-failed": _Kind("FAIL", "bold red", ("exception",)),
    "task-retried": _Kind("RETRY", "magenta", ("exception",)),
    "task-revoked": _Kind(
        "REVOKE",
        "bold magenta",
        (),
        {"terminated": "terminated", "signum": "signum", "expired": "expired"},
    ),
    "task-rejected": _Kind("REJECT", "bold red", (), {"requeue": "requeue"}),
    "task-cancelled": _Kind("CANCEL", "bold magenta"),
    "worker-online": _Kind("online", "bold green", _VERSION),
    "worker-heartbeat": _Kind("beat", "dim", (), _LOAD),
    "worker-offline": _Kind("offline", "bold red"),
    GAP: _Kind("GAP", "bold yellow"),
}

_WORD_COLS: Final = 6
_HOST_COLS_MAX: Final = 30
_TYPE_COLS_MAX: Final = 40
_NAME_COLS_MAX: Final = 100
_UUID_COLS_MAX: Final = 36

#: What a value may take, by verbosity.
_VALUE_COLS: Final = (80, 400, 4000)
#: A mark that the sender's "..." cannot be mistaken for.
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"

#: Celery cuts the reprs it sends at 1024 characters; a few less after cutting.
_SENDERS_CUT_FROM: Final = 1000
_SENDERS_CUT: Final = " (cut by sender)"

#: What has its own place in every line, and in those of tasks.
_PLACED: Final = frozenset({"type", "hostname", "traceback"})
_TASK_PLACED: Final = _PLACED | {"uuid", "name", "args", "kwargs", "runtime"}
#: What concerns the protocol more than the reader.
_PROTOCOL: Final = frozenset(
    {
        *("timestamp", "local_received", "utcoffset", "pid", "clock"),
        *("sent", "received", "started"),
    }
)
_EMPTY_ARGUMENTS: Final[tuple[Any, ...]] = ("", "()", "[]", "{}", [], {}, None)

_VERY_VERBOSE: Final = 2

#: A piece of a line; nothing in it is left to escape.
_Piece: TypeAlias = tuple[str, Paint]


class TextFormatter(Formatter):
    """Write time, word, worker, task, and what happened to it.

    The column of worker names grows with the longest one seen, up to a limit.
    """

    def __init__(self, options: FormatOptions) -> None:
        self._stamps = Stamps(options.timestamps, options.zone)
        self._verbosity = min(max(options.verbosity, 0), _VERY_VERBOSE)
        self._quiet = options.quiet
        self._cols = None if options.full else _VALUE_COLS[self._verbosity]
        self._multiline = options.multiline
        self._colour = options.colour
        self._highlight = options.highlight if options.colour else None
        self._host_cols = 0

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, event: Event) -> bytes:
        """Return one line; with `-vv` and `multiline` a traceback below it."""
        pieces = list(self._quiet_line(event) if self._quiet else self._line(event))
        if self._highlight is not None:
            pieces = list(_highlighted(pieces, self._highlight))
        line = "".join([f"{paint[0]}{text}{paint[1]}" for text, paint in pieces])
        # The paint of a blank is invisible, a blank at the end is litter.
        return line.rstrip().encode() + b"\n" + self._traceback_below(event)

    # --- the line ---------------------------------------------------------------

    def _quiet_line(self, event: Event) -> Iterator[_Piece]:
        kind = event.type
        yield self._clipped(kind, _TYPE_COLS_MAX), self._paint_of(kind)
        if kind == GAP:
            yield " " + self._value(gap_sentence(event)), PLAIN
            return
        name = event.get("name")
        subject = event.get("hostname") if name is None else name
        if subject is not None:
            yield " " + self._clipped(said(subject), _NAME_COLS_MAX), PLAIN

    def _line(self, event: Event) -> Iterator[_Piece]:
        stamp = self._stamps.stamp(event)
        if self._stamps.cols:
            yield stamp.rjust(self._stamps.cols) + " ", self._paint("dim")
        type_ = event.type
        kind = _KINDS.get(type_)
        word = kind.word if kind else self._clipped(type_, _TYPE_COLS_MAX)
        yield word.ljust(_WORD_COLS) + " ", self._paint_of(type_)
        if type_ == GAP:
            yield self._value(gap_sentence(event)), self._paint_of(type_)
            return
        yield self._host(event), PLAIN
        dim = self._paint("dim") if type_ == "worker-heartbeat" else PLAIN
        is_task = event.get("uuid", UNSET) is not UNSET or group_from(type_) == "task"
        if is_task:
            yield from self._task(event)
        yield from ((f"  {text}", dim) for text in self._details(event, kind))
        if self._verbosity or kind is None:
            placed = _TASK_PLACED if is_task else _PLACED
            if kind is not None:
                placed = placed.union(kind.detail, kind.named)
            yield from self._rest(event, placed)

    def _host(self, event: Event) -> str:
        hostname = event.get("hostname")
        text = "-" if hostname is None else self._clipped(said(hostname), _NAME_COLS_MAX)
        if width(text) <= _HOST_COLS_MAX:
            self._host_cols = max(self._host_cols, width(text))
        return text + " " * (self._host_cols - width(text))

    def _task(self, event: Event) -> Iterator[_Piece]:
        name, uuid = event.get("name"), event.get("uuid")
        known = "?" if name is None else self._clipped(said(name), _NAME_COLS_MAX)
        yield "  " + known, self._paint("bold")
        if uuid is not None:
            shown = said(uuid) if self._cols is None else short_uuid(uuid)
            yield f"[{self._clipped(shown, _UUID_COLS_MAX)}]", PLAIN
        for arguments in (event.get("args"), event.get("kwargs")):
            if arguments not in _EMPTY_ARGUMENTS:
                yield " " + self._value(arguments), PLAIN
        seconds = runtime(event)
        if seconds is not None:
            yield " " + human_duration(seconds), self._paint("cyan")

    def _details(self, event: Event, kind: _Kind | None) -> Iterator[str]:
        if kind is None:
            return
        if "exception" in kind.detail:
            exception = failure(event)
            if exception is not None:
                yield self._value(exception)
            return
        values = [event.get(name) for name in kind.detail]
        told = [self._value(value) for value in values if value is not None]
        told += [
            f"{label}={self._value(_briefly(event.get(name)))}"
            for name, label in kind.named.items()
            if event.get(name) is not None and event.get(name) is not False
        ]
        if told:
            yield " ".join(told)

    def _rest(self, event: Event, placed: frozenset[str]) -> Iterator[_Piece]:
        """Name what has no place of its own; what is null says nothing."""
        if self._verbosity < _VERY_VERBOSE:
            placed |= _PROTOCOL
        uuid = event.get("uuid")
        fields = event.as_dict()  # in the order that a recording has, too
        for name, value in (*fields.items(), *event.joined.items()):
            if name in placed or value is None or (name == "root_id" and value == uuid):
                continue
            yield f"  {self._clipped(name, _TYPE_COLS_MAX)}=", self._paint("dim")
            yield self._value(value), PLAIN
        traceback = event.get("traceback")
        if self._inline_traceback and traceback is not None:
            yield "  traceback=", self._paint("dim")
            yield self._value(traceback), PLAIN

    @property
    def _inline_traceback(self) -> bool:
        return self._verbosity == _VERY_VERBOSE and not self._multiline

    def _traceback_below(self, event: Event) -> bytes:
        traceback = event.get("traceback")
        if (
            traceback is None
            or self._quiet
            or self._inline_traceback
            or self._verbosity < _VERY_VERBOSE
        ):
            return b""
        lines = sanitize_lines(said(traceback)).rstrip().split("\n")
        return "".join([f"    {line}".rstrip() + "\n" for line in lines]).encode()

    # --- its parts ----------------------------------------------------------------

    def _value(self, value: Any) -> str:
        text = said(value)
        cut = len(text) >= _SENDERS_CUT_FROM and "..." in text[-6:]
        return self._clipped(text, self._cols or 0) + (_SENDERS_CUT if cut else "")

    def _clipped(self, text: str, cols: int) -> str:
        if self._cols is None:
            return sanitize(text)
        # Escaping only lengthens, so what is far beyond the edge can go first.
        near = sanitize(text[: 4 * cols])
        return clip(near if len(text) <= 4 * cols else near + _CUT, cols, _CUT)

    def _paint_of(self, type_: str) -> Paint:
        kind = _KINDS.get(type_)
        return self._paint(kind.style) if kind else PLAIN

    def _paint(self, style: str) -> Paint:
        return paint(style) if self._colour else PLAIN


def make(options: FormatOptions) -> TextFormatter:
    """Make the format."""
    return TextFormatter(options)


def _briefly(value: Any) -> Any:
    """Return the first of several load averages, anything else as it is."""
    return value[0] if isinstance(value, list) and value else value


def _highlighted(pieces: list[_Piece], pattern: BoundedPattern) -> Iterator[_Piece]:
    """Cut the pieces where the pattern matches and reverse what it matched.

    A match is looked for in the line as it is seen, across pieces.
    """
    line = "".join([text for text, _ in pieces])
    matched = pattern.spans(line)
    position = 0
    for text, painted in pieces:
        end = position + len(text)
        for first, last in matched:
            start, stop = max(first, position), min(last, end)
            if start < stop:
                yield line[position:start], painted
                yield line[start:stop], paint("reverse")
                position = stop
        yield line[position:end], painted
        position = end
