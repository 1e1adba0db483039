"""A camera's own options: from text to what its constructor says they are."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from evtools.errors import UsageError
from evtools.text import parse_duration, parse_size, sanitize

#: What every camera is made with; they have options of their own.
STANDARD: Final = ("state", "freq", "maxrate", "cleanup_freq", "timer", "app")

#: For annotations of cameras: `30d`, and `10M`.
Seconds: TypeAlias = Annotated[float, parse_duration]
Bytes: TypeAlias = Annotated[int, parse_size]

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f'"{text}" is neither yes nor no')
    return word in _TRUE


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'"{text}" is no whole number') from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'"{text}" is no number') from None


_CONVERTERS: Final[Mapping[Any, Callable[[str], Any]]] = {
    bool: _flag,
    int: _whole,
    float: _number,
    Path: Path,
    str: str,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a camera's constructor takes.

    `options` are its own, with what converts each from text; `required` those
    without a default; `standard` those of STANDARD that it takes.  `is_open`
    says that it takes any other name, too.
    """

    options: Mapping[str, Callable[[str], Any]]
    required: frozenset[str]
    standard: frozenset[str]
    is_open: bool


def signature_of(make: Callable[..., Any]) -> Signature:
    """Return what a camera's class, or a function that makes one, takes.

    What a constructor hands on as `**kwargs` is what those of its bases take.
    """
    found: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    is_open = True
    for function in _constructors(make):
        parameters = inspect.signature(function).parameters.values()
        hints = _hints(function) | hints
        for parameter in parameters:
            found.setdefault(parameter.name, parameter)
        is_open = any(each.kind is each.VAR_KEYWORD for each in parameters)
        if not is_open:
            break
    own = {
        name: parameter
        for name, parameter in found.items()
        if name not in {*STANDARD, "self"}
        and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    return Signature(
        {name: _converter(_kind(own[name], hints)) for name in own},
        frozenset(n for n, each in own.items() if each.default is each.empty),
        frozenset(STANDARD) if is_open else frozenset(STANDARD) & found.keys(),
        is_open,
    )


def converted(given: Mapping[str, Any], signature: Signature, camera: str) -> dict[str, Any]:
    """Return options as the constructor wants them.

    Raise UsageError for an unknown one, a missing one, or a bad value.
    """
    options = {}
    for name, value in given.items():
        convert = signature.options.get(name)
        if convert is None and (name in STANDARD or not signature.is_open):
            raise _unknown(name, signature, camera)
        try:
            options[name] = _convert(value, convert or str)
        except (ValueError, TypeError) as error:
            raise UsageError(f"--camera-option {sanitize(name)}: {sanitize(str(error))}") from None
    missing = sorted(signature.required - options.keys())
    if missing:
        raise UsageError(
            f"camera {camera} needs {missing[0]}",
            f"give it with --camera-option {missing[0]}=VALUE",
        )
    return options


def _convert(value: Any, convert: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):  # of a settings file
        return convert(",".join(map(str, value)))
    return convert(str(value).lower() if isinstance(value, bool) else str(value))


def _unknown(name: str, signature: Signature, camera: str) -> UsageError:
    if name in STANDARD:
        return UsageError(
            f"--camera-option {name} cannot be given",
            f"use --{name.replace('_', '-')}" if name not in {"state", "app"} else "",
        )
    known = ", ".join(signature.options) or "none"
    return UsageError(f"camera {camera} has no option {sanitize(name)}", f"it has: {known}")


def _constructors(make: Callable[..., Any]) -> list[Callable[..., Any]]:
    if not isinstance(make, type):
        return [make]
    own = [vars(kind)["__init__"] for kind in make.__mro__ if "__init__" in vars(kind)]
    return [function for function in own if function is not object.__init__]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001  (names that only a type checker knows)
        return {}


def _kind(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """Return what a parameter is, by its annotation or else by its default."""
    if parameter.name in hints:
        return hints[parameter.name]
    return type(parameter.default)


def _converter(kind: Any) -> Callable[[str], Any]:
    """Return what makes a value of a kind from text; texts stay as they are."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return next((each for each in arguments[1:] if callable(each)), str)
    if origin in {Union, UnionType}:
        return _converter(next(each for each in arguments if each is not NoneType))
    if origin is Literal:
        return _one_of(arguments)
    if origin in {tuple, list, frozenset, set}:
        return _several(origin, _converter(arguments[0]))
    return _CONVERTERS.get(kind, str)


def _one_of(choices: tuple[Any, ...]) -> Callable[[str], Any]:
    by_text = {str(choice): choice for choice in choices}

    def convert(text: str) -> Any:
        if text not in by_text:
            raise ValueError(f'"{text}" is not one of {", ".join(by_text)}')
        return by_text[text]

    return convert


def _several(kind: Any, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def split(text: str) -> Any:
        return kind(convert(part.strip()) for part in text.split(",") if part.strip())

    return split
