"""Lines after a template of the user's."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from evtools.dump.formats import (
    UNKNOWN,
    FormatOptions,
    Formatter,
    TimestampFormatter,
    as_text,
    gap_sentence,
    number_of,
    real_exception,
    runtime_of,
)
from evtools.errors import UsageError
from evtools.text import clip, sanitize, width
from evtools.wire import GAP, Event, encode_line

_PIECE: Final = re.compile(
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

_Piece: TypeAlias = Callable[[Event], str]


class TemplateError(UsageError):
    """A template cannot be read.

    `text` is the whole template, `position` the column of the mistake (from 0).
    """

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

    def __init__(self, options: FormatOptions) -> None:
        super().__init__(options)
        self._timestamps = TimestampFormatter(options.timestamps, options.zone)
        self._pieces = list(self._parse(options.template))

    def format(self, event: Event) -> bytes:
        if event.is_gap:
            timestamp = self._timestamps.format(event)
            line = f"{timestamp} {GAP} {sanitize(gap_sentence(event))}".lstrip()
        else:
            line = "".join([piece(event) for piece in self._pieces])
        return line.encode() + b"\n"

    def _parse(self, text: str) -> Iterator[_Piece]:
        end = 0
        for match in _PIECE.finditer(text):
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

    def _field(self, inside: str, text: str, position: int) -> _Piece:
        field = _FIELD.fullmatch(inside)
        if field is None:
            problem = f'"{sanitize(inside)}" is no field' if inside else "empty field"
            raise TemplateError(problem, text=text, position=position)
        spec = _SPEC.fullmatch(field["spec"] or "")
        if spec is None:
            problem = f'"{sanitize(field["spec"])}" is no format'
            raise TemplateError(problem, text=text, position=position + field.start(3))
        read = self._reader(field["name"])
        if field["json"]:
            return lambda event: _fitted(encode_line(read(event)).decode(), spec)
        return lambda event: _fitted(_as_text(read(event), spec), spec)

    def _reader(self, name: str) -> Callable[[Event], Any]:
        special: dict[str, Callable[[Event], Any]] = {
            "ts": self._timestamps.format,
            "runtime": lambda event: event.get("runtime", runtime_of(event)),
            "exception": real_exception,
        }
        return special.get(name, lambda event: event.get(name))


def _literal(text: str) -> _Piece:
    return lambda _: text


def _as_text(value: Any, spec: re.Match[str]) -> str:
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
