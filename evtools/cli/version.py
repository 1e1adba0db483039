"""What --version tells."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

from evtools import __version__
from evtools.cli import frozen
from evtools.top.glyphs import speaks_utf8

#: The parts whose versions support asks for.
_PARTS: Final = (
    *("kombu", "amqp", "redis", "hiredis", "click", "rich", "urwid", "msgspec"),
    *("celery", "msgpack", "PyYAML", "zstandard"),
)
#: Distribution: the URL schemes it serves.
TRANSPORTS: Final = {
    "amqp": ("amqp", "amqps", "pyamqp", "librabbitmq"),
    "redis": (
        *("redis", "rediss", "redis+socket", "sentinel"),
        *("valkey", "valkeys", "valkey+socket"),
    ),
    "kombu": ("memory",),
}
#: Terminals that set COLORTERM have so many colours, or more.
_BY_VARIABLE: Final = 256


def line(tool: str) -> str:
    """Return name and version."""
    return f"{tool} {__version__}"


def report(tool: str, *, as_json: bool) -> str:
    """Return the versions of all that matters, for people or for programs."""
    facts = _facts(tool)
    if as_json:
        return json.dumps(facts)
    lines = [line(tool)]
    if facts["build"]:
        lines.append(f"{'build':<11} {_told(facts['build'])}")
    lines += [f"{name:<11} {facts[name]}" for name in ("python", "libc")]
    lines += [f"{name:<11} {version}" for name, version in facts["parts"].items()]
    lines.append(f"{'transports':<11} {' '.join(facts['transports'])}")
    unicode = "yes" if facts["unicode"] else "no"
    lines.append(f"{'terminal':<11} unicode: {unicode} colours: {facts['colours']}")
    return "\n".join(lines)


def parts() -> dict[str, str]:
    """Return the versions of the parts that are here."""
    return {name: version for name in _PARTS if (version := _version(name))}


def transports() -> list[str]:
    """Return the URL schemes that can be used here."""
    return [
        scheme
        for distribution, schemes in TRANSPORTS.items()
        if _version(distribution)
        for scheme in schemes
    ]


def libc() -> str:
    """Return name and version of the C library that runs us."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):  # not glibc
        return "unknown"


def colours(environ: Mapping[str, str]) -> int:
    """Return how many colours the terminal has that `environ` names; 0: unknown."""
    import curses  # noqa: PLC0415  (only some ask)

    try:
        curses.setupterm(environ.get("TERM", ""), 1)
        found = max(0, curses.tigetnum("colors"))
    except curses.error:  # nobody knows such a terminal
        found = 0
    return max(found, _BY_VARIABLE) if environ.get("COLORTERM") else found


def _facts(tool: str) -> dict[str, Any]:
    build = frozen.build()
    build.pop("library", None)  # hundreds of names, for the selftest
    inside = ", embedded" if build else ""
    return {
        "tool": tool,
        "version": __version__,
        "build": build,
        "python": f"{platform.python_version()} ({platform.python_implementation()}{inside})",
        "libc": libc(),
        "parts": parts(),
        "transports": transports(),
        "unicode": speaks_utf8(os.environ),
        "colours": colours(os.environ),
    }


def _told(build: dict[str, Any]) -> str:
    return f"{build['form']} of {build['commit']}, {build['date']}"


@cache
def _versions() -> dict[str, str]:
    """Return the version of each distribution that is here, by its plain name.

    From the names of their folders: importlib.metadata would take longer to be
    imported than all the rest, since it parses mail.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):
            for name in os.listdir(folder or "."):  # noqa: PTH208  (start-up time)
                stem, dot, kind = name.rpartition(".")
                if dot and kind in ("dist-info", "egg-info"):
                    distribution, _, rest = stem.partition("-")
                    version = rest.partition("-")[0]
                    found.setdefault(_plain(distribution), version)
    return found


def _plain(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")


def _version(distribution: str) -> str | None:
    return _versions().get(_plain(distribution)) or None
