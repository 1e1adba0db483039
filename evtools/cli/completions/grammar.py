"""What may stand on our command lines, told without click."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Final, Literal, TypeAlias

import click

from evtools.cam.cameras import BUILT_IN
from evtools.cli import params
from evtools.cli.entry import TOOLS, command
from evtools.filters import EVENT_FIELDS, TASK_FIELDS

Kind: TypeAlias = Literal["words", "files", "folders", "users", "groups"]

#: What an option takes, by what its help calls it.
_KINDS: Final[Mapping[str, Kind]] = {
    "FILE": "files",
    "DIR": "folders",
    "USER": "users",
    "GROUP": "groups",
}
_WHAT_COLS: Final = 72


@dataclass(frozen=True, slots=True)
class Value:
    """What takes a place: what it is called, its kind, and the words it may be.

    Words are all there is of kind "words", and may be none: then nothing is
    completed.  One that ends in a colon or a slash goes on.
    """

    called: str
    kind: Kind = "words"
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """The names of an option that mean the same, and its value if it takes one."""

    names: tuple[str, ...]
    what: str
    value: Value | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A tool, by its name as an argument and as users call it."""

    name: str
    program: str
    what: str
    flags: tuple[Flag, ...]
    rest: Value | None

    @property
    def alone(self) -> bool:
        """Whether it is a program of its own."""
        return " " not in self.program

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments of evtools that mean it."""
        return (self.name, self.program) if self.alone else (self.name,)


def programs() -> tuple[Program, ...]:
    """Return all tools."""
    return tuple(
        of_command(name, tool.program, tool.what, command(name)) for name, tool in TOOLS.items()
    )


def of_command(name: str, program: str, what: str, source: click.Command) -> Program:
    """Return what may follow one tool."""
    context = click.Context(source, **source.context_settings)
    listed = source.get_params(context)
    arguments = [each for each in listed if isinstance(each, click.Argument)]
    flags = [
        flag
        for each in listed
        if isinstance(each, click.Option) and not each.hidden
        for flag in _flags(name, each)
    ]
    rest = _value(name, arguments[0]) if arguments else None
    return Program(name, program, what, tuple(flags), rest)


def _flags(tool: str, option: click.Option) -> Iterator[Flag]:
    what = first_clause(option.help or "")
    takes_one = not (option.is_flag or option.count)
    value = _value(tool, option) if takes_one else None
    repeatable = option.multiple or option.count
    yield Flag(tuple(option.opts), what, value, repeatable)
    if option.secondary_opts:
        yield Flag(tuple(option.secondary_opts), f"not {option.opts[0]}")


def first_clause(text: str) -> str:
    """Return what a help text begins with, on a line."""
    return shorten(re.split(r"\.?  \[|\. |; |\.$", text)[0], _WHAT_COLS, placeholder=" ...")


def _value(tool: str, param: click.Parameter) -> Value:
    called = param.make_metavar(click.Context(click.Command(tool)))
    called = called.strip("[].") if isinstance(param, click.Argument) else called
    if isinstance(param.type, click.Choice):
        return Value(called, words=tuple(map(str, param.type.choices)))
    if param.type is params.FILTER or param.name == "filters":
        return Value(called, words=_fields(tool))
    words = _WORDS.get(param.name or "", _none)
    return Value(called, _KINDS.get(called, "words"), tuple(words()))


def _fields(tool: str) -> tuple[str, ...]:
    table = TASK_FIELDS if tool == "top" else EVENT_FIELDS
    return tuple(f"{name}:" for name in table)


def _none() -> Sequence[str]:
    return ()


def _columns() -> Sequence[str]:
    from evtools.top.model import Model  # noqa: PLC0415  (rarely needed)

    views = Model().views.values()
    return sorted({column.name for view in views for column in view.columns})


#: What an option takes that anything may be given to, by its name.
_WORDS: Final[Mapping[str, Callable[[], Sequence[str]]]] = {
    "broker": lambda: ("redis://", "rediss://", "sentinel://", "amqp://", "amqps://"),
    "camera": lambda: tuple(BUILT_IN),
    "sort": _columns,
    "speed": lambda: ("1x", "10x", "max"),
}
