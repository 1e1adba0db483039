"""What an action asks before it is carried out, and which answers are good."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from evtools.text import parse_duration, sanitize

_NAME_MAX_BYTES: Final = 255
_PROCESSES_MAX: Final = 1000
_SHOWN_CHARS: Final = 40
#: As Celery reads it: tasks per second, or per the unit given.
_RATE: Final = re.compile(r"\d{1,9}(?:\.\d{1,6})?(?:/[smh])?", re.ASCII)

SIGNALS: Final = ("SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "SIGUSR1")


@dataclass(frozen=True, slots=True)
class Argument:
    """One question of a dialog.

    `name` is the argument's name in the command, `title` what is asked, and
    `about` how to answer.  `parse` makes the value of the answer or raises
    ValueError with a message for the user.  With `choices` one of them is
    taken, the first by default.
    """

    name: str
    title: str
    about: str
    parse: Callable[[str], Any]
    default: str = ""
    choices: tuple[str, ...] = ()


def _shown(text: str) -> str:
    return f'"{sanitize(text[:_SHOWN_CHARS])}"'


def rate(text: str) -> str:
    """Return a rate limit as Celery's workers read it."""
    text = text.strip()
    if _RATE.fullmatch(text) is None:
        raise ValueError(f"{_shown(text)} is no rate (use 10/s, 100/m, 5/h; 0: none)")
    return text


def limit(text: str) -> float | None:
    """Return a time limit in seconds, None for no limit."""
    if not text.strip():
        return None
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError("a limit must be longer than nothing (empty: no limit)")
    return seconds


def processes(text: str) -> int:
    """Return a number of processes, 1 at least."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal()) or _int(text) < 1:
        raise ValueError(f"{_shown(text)} is no whole number above zero")
    if _int(text) > _PROCESSES_MAX:
        raise ValueError(f"{_PROCESSES_MAX} is the most at once")
    return int(text)


def least_processes(text: str) -> int:
    """Return a number of processes that may be none."""
    return 0 if text.strip() == "0" else processes(text)


def _int(text: str) -> int:
    return int(text[:_NAME_MAX_BYTES])


def queue(text: str) -> str:
    """Return the name of a queue."""
    return _name(text, "a queue")


def node(text: str) -> str:
    """Return the name of a worker."""
    name = _name(text, "a worker")
    if "@" not in name:
        raise ValueError(f"{_shown(name)} is no worker (use celery@web-1)")
    return name


def _name(text: str, what: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError(f"{_shown(text)} is no name of {what}")
    if len(text.encode()) > _NAME_MAX_BYTES:
        raise ValueError(f"longer than {_NAME_MAX_BYTES} bytes")
    return text


def signal_name(text: str) -> str:
    """Return one of the signals that may be sent."""
    name = text.strip().upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name not in SIGNALS:
        raise ValueError(f"{_shown(text)} is none of {', '.join(SIGNALS)}")
    return name
