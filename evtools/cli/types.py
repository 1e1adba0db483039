"""Types of option values: which texts are accepted, and what they become."""

import re
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

if TYPE_CHECKING:
    from evtools.clock import Clock

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

_ROUTING_KEY_MAX_BYTES: Final = 255
_BROKER_MAX_BYTES: Final = 64 * 1024
_SPEED: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*[xX]?", re.ASCII)
#: Values as they are written in the settings of an application.
_PYTHON_VALUES: Final = {"True": True, "False": False, "None": None}
_SWITCHES: Final = {
    "on": True, "true": True, "yes": True, "off": False, "false": False, "no": False,
}  # fmt: skip
_TIMESTAMP_FORMS: Final = "14:30, 10m (ago), 2026-11-20, 2026-11-20T14:00Z or epoch seconds"
_TIME_OF_DAY: Final = re.compile(
    r"\d\d?:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
#: The name of a cluster, and its broker.
_NAMED: Final = re.compile(r"([^=:/@;?]+)=(?!=)(.*)", re.DOTALL)
#: Smaller numbers are seconds ago; this is March 1973.
_EPOCH_MIN: Final = 1e8


class Broker(NamedTuple):
    """A broker URL; `via` is where it was read from, if not the command line.

    `path` is the absolute name of a file: a daemon changes its working directory later.
    `cluster` is the name that the user gave it, as in prod=URL.
    """

    url: str
    via: str = ""
    path: str = ""
    cluster: str = ""


class TextFile(NamedTuple):
    """A file and its content."""

    path: str
    text: str


class Parsed(ParamType):
    """A value that a function makes of the text.

    The function raises ValueError with a message for the user, to which `hint` is added.  A
    value of the settings file that is not text is taken unchanged if it is one of `kinds`.
    """

    def __init__(
        self, name: str, parse: Callable[[str], Any], *kinds: type[Any], hint: str = ""
    ) -> None:
        self.name = name
        self.kinds = kinds
        self._parse = parse
        self._hint = hint and f" ({hint})"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                return self._parse(value)
            except ValueError as error:
                self.fail(f"{error}{self._hint}", param, ctx)
        if not isinstance(value, self.kinds):
            self.fail(f"{value!r} is not the right type of value", param, ctx)
        return value


class Lines(Parsed):
    """Files or URLs; in the environment one a line, as they may contain anything else."""

    envvar_list_splitter = "\n"

    def split_envvar_value(self, rv: str) -> list[str]:
        # A variable that was read from a file may end with a line break.
        return [line for line in super().split_envvar_value(rv) if line.strip()] or [rv]


# --- numbers and times --------------------------------------------------------------


def _duration(text: str) -> float:
    from evtools.text import parse_duration

    return parse_duration(text)


def _positive(text: str) -> float:
    seconds = _duration(text)
    if seconds <= 0:
        raise ValueError("it must be longer than zero")
    return seconds


def _size(text: str) -> int:
    from evtools.text import parse_size

    return parse_size(text)


def _speed(text: str) -> float:
    if text.strip().lower() == "max":
        return float("inf")
    match = _SPEED.fullmatch(text.strip())
    factor = float(match.group(1)) if match else 0.0
    if factor <= 0:
        raise ValueError(f'invalid speed "{text}" (use 1x, 10x, 0.5x or max)')
    return factor


def _percent(text: str) -> float:
    number = text.strip().removesuffix("%").rstrip()
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number, re.ASCII):
        raise ValueError(f'invalid percentage "{text}" (use 5, 5% or 0.5%)')
    return float(number) / 100


def _confidence(text: str) -> float:
    share = _percent(text)
    if not 0.5 <= share < 1:  # noqa: PLR2004  (a coin is as sure)
        raise ValueError("it must be at least 50% and less than 100%")
    return share


def _umask(text: str) -> int:
    if not re.fullmatch(r"(0o)?[0-7]{1,4}", text.strip(), re.ASCII):
        raise ValueError(f'invalid mask "{text}" (use octal digits, as in 027)')
    return int(text, 8)


class LocalZone(tzinfo):
    """The local time zone of this machine, including daylight saving time."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _dt: datetime | None, /) -> None:
        """Return nothing: the offset includes it."""

    def tzname(self, _dt: datetime | None, /) -> str:
        return "local"

    def fromutc(self, dt: datetime) -> datetime:
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def parse_timestamp(text: str, clock: "Clock | None" = None) -> float | time:
    """Return UTC epoch seconds, or a time of day for 14:30.

    10m (ago) is by the `clock`.  Without a zone, times are local.  Raise ValueError with a
    message for the user.
    """
    from evtools.clock import SystemClock

    text = text.strip()
    try:
        if _NUMBER.fullmatch(text) and float(text) >= _EPOCH_MIN:
            return float(text)
        if _TIME_OF_DAY.fullmatch(text):
            hours, _, rest = text.partition(":")
            return time.fromisoformat(f"{hours:0>2}:{rest}")
        if "-" in text:
            return datetime.fromisoformat(text).timestamp()
        return (clock or SystemClock()).wall() - _duration(re.sub(r"\s*ago$", "", text))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f'invalid time "{text}" (use {_TIMESTAMP_FORMS})') from None


# --- texts and files ----------------------------------------------------------------


def _check(text: str) -> tuple[str, str]:
    # What is checked, and its name: a worker, an alert, or all alerts.
    kind, equals, name = text.partition("=")
    if not equals and text.strip():
        return ("alerts", "") if text == "alerts" else ("worker", text)
    if kind not in ("worker", "alert") or not name:
        raise ValueError("write worker=NAME, as in worker=celery@web-1, alert=NAME or alerts")
    return kind, name


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # Not quoted: it may be half of a secret.
        raise ValueError("write NAME=VALUE")
    return key.strip(), value


def _key_value(text: str) -> tuple[str, Any]:
    import json

    key, value = _pair(text)
    try:
        return key, _PYTHON_VALUES[value] if value in _PYTHON_VALUES else json.loads(value)
    except ValueError:
        return key, value


def _routing_key(text: str) -> str:
    words = text.split(".")
    if not all(words) or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text!r} is not a routing key (words separated by dots)")
    if any(("*" in word or "#" in word) and len(word) > 1 for word in words):
        raise ValueError(f"{text!r}: * and # replace whole words, as in task.*")
    if "-" in text:
        raise ValueError(f"{text!r} matches no event: write {text.replace('-', '.')!r}")
    if len(text.encode()) > _ROUTING_KEY_MAX_BYTES:
        raise ValueError(f"longer than {_ROUTING_KEY_MAX_BYTES} bytes")
    return text


def _fanout_prefix(text: str) -> bool | str:
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    try:
        text.format(db=0)
    except (KeyError, IndexError, ValueError):
        raise ValueError(f"{text!r}: only {{db}} may be in braces") from None
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"bad regular expression: {error}") from None
    return text


def split_name(text: str) -> tuple[str, str]:
    """Return the name in front of a broker, as in prod=URL, "" if there is none, and the rest."""
    named = _NAMED.fullmatch(text)
    return (named[1].strip(), named[2]) if named else ("", text)


def _broker(text: str) -> Broker:
    name, address = split_name(text)
    if name:
        from evtools.wire import is_cluster_name

        if not is_cluster_name(name):
            raise ValueError(
                f"{name!r} cannot be the name of a cluster: it may have letters, digits, _ . and -,"
                " begins with a letter or digit, and has 64 characters at the most"
            )
        if not address.strip():
            raise ValueError("a name without a broker: write NAME=URL, as in prod=redis://host/0")
        return _located(address.strip())._replace(cluster=name)
    return _located(text)


def _located(text: str) -> Broker:
    if text == "-":
        return Broker(read_url("-"), "-b - (stdin)")
    if text.startswith("@"):
        from pathlib import Path

        path = Path(text[1:]).expanduser()
        whole = str(path.absolute())
        return Broker(read_url(whole), f"-b @{path}", whole)
    return Broker(_one_line(text))


def _one_line(text: str) -> str:
    text = text.strip()
    if not text or "\n" in text:
        raise ValueError("there must be one line with the URL")
    if any(split_name(part)[0] for part in text.split(";")):
        # Not quoted: it may be a part of a password.
        raise ValueError(
            "a name stands only in front, as in prod=URL or prod=@FILE: give each cluster in an"
            " option, or a line of the variable, of its own; a semicolon is between brokers to fail"
            " over to"
        )
    return text


def read_url(path: str) -> str:
    """Return the broker URL in a file, or on the first line of stdin; raise ValueError."""
    return _one_line(_content(path, _BROKER_MAX_BYTES))


def _content(path: str, limit: int = -1) -> str:
    # Of a file, or of stdin, from which a limit takes one line.
    from pathlib import Path

    from evtools.text import decode_text

    stdin = sys.stdin.buffer if path == "-" else None
    try:
        if stdin is None:
            with Path(path).expanduser().open("rb") as file:
                content = file.read(limit)
        else:
            content = stdin.read() if limit < 0 else stdin.readline(limit)
        return decode_text(content)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        name = path if stdin is None else "stdin"
        raise ValueError(f"{name}: not text in UTF-8 or UTF-16") from None


# fmt: off
BROKER            = Lines("URL", _broker)
COMMAND           = Parsed("CMD", lambda text: tuple(shlex.split(text)),
                           hint="quote it as for a shell")
CONFIDENCE        = Parsed("PERCENT", _confidence, float)
COUNT             = click.IntRange(min=1)
DURATION          = Parsed("DUR", _duration, float, int)
DURATION_OR_NONE  = Parsed("DUR", lambda text: None if text.strip().lower() == "none"
                           else _duration(text), float, int)
FANOUT_PREFIX     = Parsed("TEXT", _fanout_prefix, bool)
FILTER            = Parsed("FILTER", str)
FILTER_FILE       = Parsed("FILE", lambda path: TextFile(path, _content(path)),
                           hint="-F takes a file; the filter itself needs no option")
FREQUENCY         = Parsed("DUR", _positive, float, int,
                           hint="-F is the frequency, as in celery events; a filter: --filter")
GROUP             = Parsed("GROUP", str, int)
KEYVALUE          = Parsed("NAME=VALUE", _key_value, tuple, list)
PAIR              = Parsed("NAME=VALUE", _pair, tuple, list)
PERCENT           = Parsed("PERCENT", _percent, float)
POSITIVE_DURATION = Parsed("DUR", _positive, float, int)
RATE              = Parsed("RATE", str, int, float)
RECORDING         = Lines("FILE", str)
REDACTION         = Parsed("PATTERN", str)
REGEX             = Parsed("RE", _regex)
ROUTING_KEY       = Parsed("KEY", _routing_key)
SIZE              = Parsed("SIZE", _size, int)
SPEED             = Parsed("SPEED", _speed, float, int)
TEXT_FILE         = Parsed("FILE", lambda path: TextFile(path, _content(path)))
TIMESTAMP         = Parsed("TIME", parse_timestamp)
UMASK             = Parsed("MASK", _umask, int)
USER              = Parsed("USER", str, int)
WHOLE             = click.IntRange(min=0)
CHECK             = Parsed("worker=NAME", _check)
# fmt: on
#: Tables in the settings file.
PAIRS: Final = (PAIR, KEYVALUE)
