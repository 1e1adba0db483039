"""Types of option values: what may be written and what it becomes."""

import json
import re
import sys
from collections.abc import Callable
from datetime import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from evtools.cli.moment import parse_moment

_ROUTING_KEY_MAX_BYTES = 255
_BROKER_MAX_BYTES = 64 * 1024


class Broker(NamedTuple):
    """A broker URL; `via` says where it stood, if not on the command line.

    `path` is the file that it was read from, by its whole name: a daemon has
    another directory later.
    """

    url: str
    via: str = ""
    path: str = ""


class TextFile(NamedTuple):
    """A file that was named, and what is in it."""

    path: str
    text: str


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType


class Parsed(ParamType):
    """A value that a function makes of the text.

    The function raises ValueError with a message for the user.  A value that
    is no text, from the settings file, is taken as it is if it is of `kinds`.
    """

    def __init__(self, name: str, parse: Callable[[str], Any], *kinds: type[Any]) -> None:
        self.name = name
        self._parse = parse
        self.kinds = kinds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value; fail as click does."""
        if not isinstance(value, str):
            if isinstance(value, self.kinds):
                return value
            self.fail(f"{value!r} is not the right type of value", param, ctx)
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _duration(text: str) -> float:
    from evtools.text import parse_duration  # noqa: PLC0415  (start-up time)

    return parse_duration(text)


def _positive_duration(text: str) -> float:
    seconds = _duration(text)
    if seconds <= 0:
        raise ValueError("it must be longer than nothing")
    return seconds


def _duration_or_none(text: str) -> float | None:
    return None if text.strip().lower() == "none" else _duration(text)


def _size(text: str) -> int:
    from evtools.text import parse_size  # noqa: PLC0415  (start-up time)

    return parse_size(text)


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f'"{text}" is no whole number above zero')
    return int(text)


def _whole(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f'"{text}" is no whole number')
    return int(text)


def _worker(text: str) -> str:
    kind, equals, name = text.partition("=")
    if not equals and text.strip():
        return text
    if kind != "worker" or not name:
        raise ValueError("write worker=NAME, as in worker=celery@web-1")
    return name


_SPEED = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*[xX]?", re.ASCII)


def _speed(text: str) -> float:
    if text.strip().lower() == "max":
        return float("inf")
    match = _SPEED.fullmatch(text.strip())
    factor = float(match.group(1)) if match else 0.0
    if factor <= 0:
        raise ValueError(f'"{text}" is no speed (use 1x, 10x, 0.5x or max)')
    return factor


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # Not quoted: it may be half of a secret.
        raise ValueError("write NAME=VALUE")
    return key.strip(), value


class Recordings(Parsed):
    """Files; in the environment one a line, as a name may have any other mark."""

    envvar_list_splitter = "\n"


_PYTHONS: Final[dict[str, Any]] = {"True": True, "False": False, "None": None}


def _key_value(text: str) -> tuple[str, Any]:
    key, value = _pair(text)
    if value in _PYTHONS:  # as it stands in the settings of an application
        return key, _PYTHONS[value]
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _umask(text: str) -> int:
    if not re.fullmatch(r"(0o)?[0-7]{1,4}", text.strip(), re.ASCII):
        raise ValueError(f'"{text}" is no mask (use octal digits, as in 027)')
    return int(text, 8)


def _routing_key(text: str) -> str:
    words = text.split(".")
    if not all(words) or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text!r} is no routing key: words with dots between them")
    if any(("*" in word or "#" in word) and len(word) > 1 for word in words):
        raise ValueError(f"{text!r}: * and # stand for whole words, as in task.*")
    if "-" in text:
        raise ValueError(f"{text!r} matches no event: write {text.replace('-', '.')!r}")
    if len(text.encode()) > _ROUTING_KEY_MAX_BYTES:
        raise ValueError(f"longer than {_ROUTING_KEY_MAX_BYTES} bytes")
    return text


_SWITCHES = {"on": True, "true": True, "yes": True, "off": False, "false": False} | {"no": False}


def _fanout_prefix(text: str) -> bool | str:
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    try:
        text.format(db=0)
    except (KeyError, IndexError, ValueError):
        raise ValueError(f"{text!r}: only {{db}} may stand in braces") from None
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"bad regular expression: {error}") from None
    return text


def _broker(text: str) -> Broker:
    if text == "-":
        line = sys.stdin.buffer.readline(_BROKER_MAX_BYTES)
        return Broker(_address(_decoded("stdin", line)), "-b - (stdin)")
    if text.startswith("@"):
        from pathlib import Path  # noqa: PLC0415  (start-up time)

        path = Path(text[1:]).expanduser()
        whole = str(path.absolute())
        return Broker(address_in(whole), f"-b @{path}", whole)
    return Broker(_address(text))


def address_in(path: str) -> str:
    """Return the broker URL in a file; raise ValueError."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (start-up time)
            content = file.read(_BROKER_MAX_BYTES)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return _address(_decoded(path, content))


def _address(text: str) -> str:
    text = text.strip()
    if not text or "\n" in text:
        raise ValueError("there must be one line with the URL")
    return text


def _command(text: str) -> tuple[str, ...]:
    import shlex  # noqa: PLC0415  (start-up time)

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{str(error).lower()}; quote it as for a shell") from None


def _moment(text: str) -> float | time:
    from evtools.clock import SystemClock  # noqa: PLC0415  (start-up time)

    return parse_moment(text, SystemClock().wall())


def _text_file(text: str) -> TextFile:
    """Return a file with its content; `-` is stdin."""
    from pathlib import Path  # noqa: PLC0415  (start-up time)

    try:
        is_stdin = text == "-"
        content = sys.stdin.buffer.read() if is_stdin else Path(text).expanduser().read_bytes()
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror}") from None
    return TextFile(text, _decoded("stdin" if is_stdin else text, content))


def _filter_file(text: str) -> TextFile:
    """Return a file with a filter; to other tools -F means something else."""
    try:
        return _text_file(text)
    except ValueError as error:
        raise ValueError(f"{error} (-F takes a file; the filter itself needs no option)") from None


def _frequency(text: str) -> float:
    """Return what evcam's -F is, as that of celery events; of others it is a filter."""
    try:
        return _positive_duration(text)
    except ValueError as error:
        raise ValueError(
            f"{error} (-F is the frequency, as in celery events; a filter: --filter)"
        ) from None


def _decoded(name: str, content: bytes) -> str:
    from evtools.text import decode_text  # noqa: PLC0415  (start-up time)

    try:
        return decode_text(content)
    except UnicodeDecodeError:
        raise ValueError(f"{name}: it is no text in UTF-8 or UTF-16") from None


COUNT = Parsed("N", _count, int)
WHOLE = Parsed("N", _whole, int)
WORKER = Parsed("worker=NAME", _worker)
DURATION = Parsed("DUR", _duration, float, int)
POSITIVE_DURATION = Parsed("DUR", _positive_duration, float, int)
DURATION_OR_NONE = Parsed("DUR", _duration_or_none, float, int)
SIZE = Parsed("SIZE", _size, int)
SPEED = Parsed("SPEED", _speed, float, int)
MOMENT = Parsed("TIME", _moment)
RECORDING = Recordings("FILE", str)
PAIR = Parsed("NAME=VALUE", _pair, tuple, list)
KEYVALUE = Parsed("NAME=VALUE", _key_value, tuple, list)
#: What is a table in the settings file.
PAIRS = (PAIR, KEYVALUE)
ROUTING_KEY = Parsed("KEY", _routing_key)
FANOUT_PREFIX = Parsed("TEXT", _fanout_prefix, bool)
REGEX = Parsed("RE", _regex)
REDACTION = Parsed("PATTERN", str)
BROKER = Parsed("URL", _broker)
COMMAND = Parsed("CMD", _command)
FREQUENCY = Parsed("DUR", _frequency, float, int)
TEXT_FILE = Parsed("FILE", _text_file)
FILTER_FILE = Parsed("FILE", _filter_file)
FILTER = Parsed("FILTER", str)
RATE = Parsed("RATE", str, int, float)
USER = Parsed("USER", str, int)
GROUP = Parsed("GROUP", str, int)
UMASK = Parsed("MASK", _umask, int)
