"""One event a line for people: `text`, what matters first, and templates of the user's."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from evtools.dump.formats import (
    PLAIN,
    UNKNOWN,
    Formatter,
    Style,
    TimestampFormatter,
    ansi_style,
    as_text,
    clipped,
    gap_sentence,
    number_of,
    real_exception,
    runtime_of,
)
from evtools.dump.options import DumpOptions
from evtools.errors import UsageError
from evtools.text import BoundedPattern, clip, human_duration, sanitize, sanitize_lines, width
from evtools.wire import GAP, Event, encode_line, group_from


class _Kind(NamedTuple):
    """How a known type of event is shown."""

    word: str
    style: str
    #: The fields that say what happened, without their names.
    detail: tuple[str, ...] = ()
    #: Those that are shown with a name, and which.
    named: Mapping[str, str] = {}


_LOAD: Final = {"active": "active", "processed": "processed", "loadavg": "load"}
_REVOKED: Final = {"terminated": "terminated", "signum": "signum", "expired": "expired"}
_VERSION: Final = ("sw_ident", "sw_ver", "sw_sys")

# fmt: off
_KINDS: Final[Mapping[str, _Kind]] = {
    "task-sent": _Kind("SENT", "blue", (), {"queue": "queue"}),
    "task-received": _Kind("RECV", "cyan"),
    "task-started": _Kind("START", "yellow"),
    "task-succeeded": _Kind("OK", "green", ("result",)),
    "task-failed": _Kind("FAIL", "bold red", ("exception",)),
    "task-retried": _Kind("RETRY", "magenta", ("exception",)),
    "task-revoked": _Kind("REVOKE", "bold magenta", (), _REVOKED),
    "task-rejected": _Kind("REJECT", "bold red", (), {"requeue": "requeue"}),
    "task-cancelled": _Kind("CANCEL", "bold magenta"),
    "worker-online": _Kind("online", "bold green", _VERSION),
    "worker-heartbeat": _Kind("beat", "dim", (), _LOAD),
    "worker-offline": _Kind("offline", "bold red"),
    GAP: _Kind("GAP", "bold yellow"),
}
# fmt: on

_WORD_COLS: Final = 6
_HOST_COLS_MAX: Final = 30
_TYPE_COLS_MAX: Final = 40
_NAME_COLS_MAX: Final = 100
_UUID_COLS: Final = 36
_UUID_COLS_SHORT: Final = 8

#: What a value may take, by verbosity.
_VALUE_COLS: Final = (80, 400, 4000)

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

_VERY_VERBOSE: Final = 2

#: A piece of a line; nothing in it is left to escape.
_Piece: TypeAlias = tuple[str, Style]


class TextFormatter(Formatter):
    """Write time, word, worker, task, and what happened to it.

    The column of worker names grows with the longest one seen, up to a limit.  With `-vv`
    a traceback is in the line, or below it where `multiline` is set.  Raise UsageError for
    an expression to highlight that cannot be parsed.
    """

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._timestamps = TimestampFormatter(options.timestamps)
        self._verbosity = min(max(options.verbosity, 0), _VERY_VERBOSE)
        self._cols = None if options.full else _VALUE_COLS[self._verbosity]
        try:
            highlight = BoundedPattern(options.highlight) if options.highlight else None
        except ValueError as error:
            problem = f"--highlight {options.highlight}: {error}"
            raise UsageError(problem, "give a regular expression") from None
        self._highlight = highlight if options.colour else None
        self._host_cols = 0
        very_verbose = self._verbosity == _VERY_VERBOSE and not options.quiet
        self._traceback_in_line = very_verbose and not options.multiline
        self._traceback_below = very_verbose and options.multiline

    def format(self, event: Event) -> bytes:
        pieces = list(self._quiet_line(event) if self.options.quiet else self._line(event))
        if self._highlight is not None:
            pieces = list(_highlighted(pieces, self._highlight))
        # A blank at the end is litter, and its style is invisible.
        line = "".join([f"{style[0]}{text}{style[1]}" for text, style in pieces]).rstrip()
        traceback = event.get("traceback") if self._traceback_below else None
        if traceback is not None:
            for below in sanitize_lines(as_text(traceback)).rstrip().split("\n"):
                line += f"\n    {below}".rstrip(" ")
        return line.encode() + b"\n"

    def _quiet_line(self, event: Event) -> Iterator[_Piece]:
        yield self._clipped(event.type, _TYPE_COLS_MAX), self._style_of(event.type)
        if event.is_gap:
            yield " " + self._value(gap_sentence(event)), PLAIN
            return
        name = event.get("name")
        subject = event.get("hostname") if name is None else name
        if subject is not None:
            yield " " + self._clipped(as_text(subject), _NAME_COLS_MAX), PLAIN

    def _line(self, event: Event) -> Iterator[_Piece]:
        timestamp = self._timestamps.format(event)
        if self._timestamps.cols:
            yield timestamp.rjust(self._timestamps.cols) + " ", self.style("dim")
        kind = _KINDS.get(event.type)
        word = kind.word if kind else self._clipped(event.type, _TYPE_COLS_MAX)
        yield word.ljust(_WORD_COLS) + " ", self._style_of(event.type)
        if event.is_gap:
            yield self._value(gap_sentence(event)), self._style_of(event.type)
            return
        yield self._host(event), PLAIN
        is_task = event.get("uuid", UNSET) is not UNSET or group_from(event.type) == "task"
        if is_task:
            yield from self._task(event)
        details = "" if kind is None else self._details(event, kind)
        if details:
            is_beat = event.type == "worker-heartbeat"
            yield f"  {details}", self.style("dim") if is_beat else PLAIN
        if self._verbosity or kind is None:
            placed = _TASK_PLACED if is_task else _PLACED
            if kind is not None:
                placed = placed.union(kind.detail, kind.named)
            yield from self._rest(event, placed)

    def _host(self, event: Event) -> str:
        hostname = event.get("hostname")
        text = "-" if hostname is None else self._clipped(as_text(hostname), _NAME_COLS_MAX)
        if width(text) <= _HOST_COLS_MAX:
            self._host_cols = max(self._host_cols, width(text))
        return text + " " * (self._host_cols - width(text))

    def _task(self, event: Event) -> Iterator[_Piece]:
        name, uuid = event.get("name"), event.get("uuid")
        shown = "?" if name is None else self._clipped(as_text(name), _NAME_COLS_MAX)
        yield "  " + shown, self.style("bold")
        if uuid is not None:
            text = as_text(uuid)
            if self._cols is not None and len(text) == _UUID_COLS and text[_UUID_COLS_SHORT] == "-":
                text = text[:_UUID_COLS_SHORT]
            yield f"[{self._clipped(text, _UUID_COLS)}]", PLAIN
        for arguments in (event.get("args"), event.get("kwargs")):
            if arguments not in _EMPTY_ARGUMENTS:
                yield " " + self._value(arguments), PLAIN
        seconds = runtime_of(event)
        if seconds is not None:
            yield " " + human_duration(seconds), self.style("cyan")

    def _details(self, event: Event, kind: _Kind) -> str:
        """Return what happened; what is null says nothing."""
        if "exception" in kind.detail:
            values = [real_exception(event)]
        else:
            values = [event.get(name) for name in kind.detail]
        shown = [self._value(value) for value in values if value is not None]
        for name, label in kind.named.items():
            value = event.get(name)
            if name == "loadavg" and isinstance(value, list) and value:
                value = value[0]
            if value is not None and value is not False:
                shown.append(f"{label}={self._value(value)}")
        return " ".join(shown)

    def _rest(self, event: Event, placed: frozenset[str]) -> Iterator[_Piece]:
        """Name what has no place of its own."""
        if self._verbosity < _VERY_VERBOSE:
            placed |= _PROTOCOL
        uuid = event.get("uuid")
        fields = [*event.as_dict().items(), *event.joined.items()]
        shown = [
            (name, value)
            for name, value in fields
            if name not in placed and not (name == "root_id" and value == uuid)
        ]
        if self._traceback_in_line:
            shown.append(("traceback", event.get("traceback")))
        for name, value in shown:
            if value is not None:
                yield f"  {self._clipped(name, _TYPE_COLS_MAX)}=", self.style("dim")
                yield self._value(value), PLAIN

    def _value(self, value: Any) -> str:
        text = as_text(value)
        cut = len(text) >= _SENDERS_CUT_FROM and "..." in text[-6:]
        return clipped(text, self._cols) + (_SENDERS_CUT if cut else "")

    def _clipped(self, text: str, cols: int) -> str:
        return clipped(text, None if self._cols is None else cols)

    def _style_of(self, kind: str) -> Style:
        return self.style(_KINDS[kind].style) if kind in _KINDS else PLAIN


def _highlighted(pieces: list[_Piece], pattern: BoundedPattern) -> Iterator[_Piece]:
    """Cut the pieces where the pattern matches and reverse what it matched.

    A match is looked for in the line as it is seen, across pieces.
    """
    line = "".join([text for text, _ in pieces])
    matched = pattern.spans(line)
    position = 0
    for text, style in pieces:
        end = position + len(text)
        for first, last in matched:
            start, stop = max(first, position), min(last, end)
            if start < stop:
                yield line[position:start], style
                yield line[start:stop], ansi_style("reverse")
                position = stop
        yield line[position:end], style
        position = end


# --- templates ----------------------------------------------------------------------

_PART: Final = re.compile(
    r"(?P<brace>\{\{|\}\})|\{(?P<field>[^{}]*)\}|(?P<escape>\\[nt\\])"
    r"|(?P<stray>[{}])"
)
_FIELD: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<json>!j)?(?::(?P<spec>.*))?", re.DOTALL
)
_SPEC: Final = re.compile(
    r"(?:(?P<fill>[^{}])?(?P<align>[<>^]))?(?P<width>\d{1,4})?"
    r"(?:\.(?P<precision>\d{1,3}))?(?P<kind>[sdf])?"
)
_ESCAPES: Final = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}

_GRAMMAR: Final = (
    "a field is {name}, {name:8} cut at 8 columns, {name:<30} filled up to 30,\n"
    "{runtime:.3f} with 3 decimals or {args!j} as JSON; write {{ for a brace"
)

_Part: TypeAlias = Callable[[Event], str]


class TemplateError(UsageError):
    """A template cannot be parsed: `text`, with the mistake at column `position` (from 0)."""

    def __init__(self, message: str, *, text: str, position: int) -> None:
        super().__init__(f"bad template at column {position + 1}: {message}", _GRAMMAR)
        self.text = text
        self.position = position


class TemplateFormatter(Formatter):
    r"""Fill the event's own and joined fields into a template.

    `ts` is the time as `--ts` has it, `runtime` is worked out for failures
    too, `exception` is the real one.  What is unknown or null is `-`.  A
    template reads fields and nothing else: no attributes, no code.  Values
    are escaped and add no lines; `\n` and `\t` in the template itself are
    taken literally.  A gap is a sentence, whatever the template.
    """

    def __init__(self, options: DumpOptions) -> None:
        super().__init__(options)
        self._timestamps = TimestampFormatter(options.timestamps)
        self._parts = list(self._parse(options.template))

    def format(self, event: Event) -> bytes:
        if event.is_gap:
            timestamp = self._timestamps.format(event)
            line = f"{timestamp} {GAP} {sanitize(gap_sentence(event))}".lstrip()
        else:
            line = "".join([part(event) for part in self._parts])
        return line.encode() + b"\n"

    def _parse(self, text: str) -> Iterator[_Part]:
        end = 0
        for match in _PART.finditer(text):
            yield _literal(text[end : match.start()])
            end = match.end()
            if match["stray"]:
                problem = f'"{match["stray"]}" without its other half'
                raise TemplateError(problem, text=text, position=match.start())
            if match["brace"]:
                yield _literal(match["brace"][0])
            elif match["escape"]:
                yield _literal(_ESCAPES[match["escape"]])
            else:
                yield self._field(match["field"], text, match.start() + 1)
        yield _literal(text[end:])

    def _field(self, inside: str, text: str, position: int) -> _Part:
        field = _FIELD.fullmatch(inside)
        if field is None:
            problem = f'"{sanitize(inside)}" is no field' if inside else "empty field"
            raise TemplateError(problem, text=text, position=position)
        spec = _SPEC.fullmatch(field["spec"] or "")
        if spec is None:
            problem = f'"{sanitize(field["spec"])}" is no format'
            raise TemplateError(problem, text=text, position=position + field.start(3))
        name = field["name"]
        special: dict[str, Callable[[Event], Any]] = {
            "ts": self._timestamps.format,
            "runtime": lambda event: event.get("runtime", runtime_of(event)),
            "exception": real_exception,
        }
        read: Callable[[Event], Any] = special.get(name, lambda event: event.get(name))
        if field["json"]:
            return lambda event: _fitted(encode_line(read(event)).decode(), spec)
        return lambda event: _fitted(_amount(read(event), spec), spec)


def _literal(text: str) -> _Part:
    return lambda _: text


def _amount(value: Any, spec: re.Match[str]) -> str:
    if value is None:
        return UNKNOWN
    amount = number_of(value)
    if amount is not None and spec["kind"] in ("d", "f"):
        places = 0 if spec["kind"] == "d" else int(spec["precision"] or 6)
        return f"{amount:.{places}f}"
    text = sanitize(as_text(value))
    if spec["precision"] and spec["kind"] != "f":
        return clip(text, int(spec["precision"]), "")
    return text


def _fitted(text: str, spec: re.Match[str]) -> str:
    """Cut at the width when there is no alignment, fill up to it when there is."""
    if not spec["width"]:
        return text
    cols = int(spec["width"])
    if not spec["align"]:
        return clip(text, cols, "")
    fill = spec["fill"] or " "
    missing = max(0, cols - width(text))
    left = {"<": 0, ">": missing, "^": missing // 2}[spec["align"]]
    return fill * left + text + fill * (missing - left)
