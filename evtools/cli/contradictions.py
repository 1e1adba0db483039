"""Options that make no sense together, or without another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import click
from click.core import ParameterSource

from evtools.errors import UsageError

Values: TypeAlias = Mapping[str, Any]


class Contradiction(NamedTuple):
    """When the values of the options are wrong, what to say, and what to do."""

    is_wrong: Callable[[Values], bool]
    message: str
    hint: str


def both(left: str, right: str, hint: str = "leave one of them out") -> Contradiction:
    """Return that two options, by their names, exclude each other."""
    return Contradiction(
        lambda values: bool(values[left] and values[right]),
        f"{flag(left)} and {flag(right)} exclude each other",
        hint,
    )


def refuse(values: Values, contradictions: Iterable[Contradiction]) -> None:
    """Raise UsageError for the first of `contradictions` that is there."""
    for is_wrong, message, hint in contradictions:
        if is_wrong(values):
            raise UsageError(message, hint)


def refuse_rivals(ctx: click.Context, pairs: Iterable[tuple[str, str]]) -> None:
    """Raise UsageError for the first of `pairs` of which both were typed.

    Where only one was, it goes before what the other has from elsewhere.
    """
    for left, right in pairs:
        if is_typed(ctx, left) and is_typed(ctx, right):
            _, message, hint = both(left, right)
            raise UsageError(message, hint)


def refuse_lone(ctx: click.Context, needs: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError for an option that was typed without the one it is about.

    `needs` has the latter, then the former.  The environment and the settings
    file may set what only some runs need.
    """
    for needed, names in needs.items():
        for name in names:
            if not ctx.params[needed] and is_typed(ctx, name):
                raise UsageError(
                    f"{flag(name)} means nothing without {flag(needed)}",
                    f"add {flag(needed)}, or leave out {flag(name)}",
                )


def is_typed(ctx: click.Context, name: str) -> bool:
    """Return whether an option stands on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


#: Options that are not spelt as they are named.
_SPELT: Final[Mapping[str, str]] = {"json_output": "--json", "ts_count": "-t"}


def flag(name: str) -> str:
    """Return an option as users write it."""
    return _SPELT.get(name) or "--" + name.replace("_", "-")


def _is_backwards(values: Values) -> bool:
    since, until = values["since"], values["until"]
    if isinstance(since, float) and isinstance(until, float):
        return until <= since
    return since is not None and since == until


BACKWARDS: Final = Contradiction(
    _is_backwards, "--until is before --since", "both are moments; 10m means ten minutes ago"
)
RECORDED_DEMO: Final = both("read", "demo", "a recording is no simulation")
